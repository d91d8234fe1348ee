"""What a tower minimizes before it meets a scene."""

import keras

from advance_tf.losses.transfer import Term


def class_objective() -> dict[str, Term]:
    """Cross-entropy of image classes: "class" against "class_logits"."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return {"class": Term(loss, "class", "class_logits", 1.0)}


def event_objective() -> dict[str, Term]:
    """Binary cross-entropy, the mean over 527 events: "events" against
    "event_logits"."""
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    return {"events": Term(loss, "events", "event_logits", 1.0)}
