"""The two-tower recognizer and the audio tagger, built functionally."""

import keras
import tensorflow as tf
from keras import layers

from advance_tf import labels
from advance_tf.config import TRANSFERS, FeatureConfig, ModelConfig
from advance_tf.models.resnet import build_resnet


@keras.saving.register_keras_serializable("advance_tf")
class SingleZero(layers.Layer):
    """One example of zeros in place of a batch: [B, ...] → [1, ...]."""

    def call(self, inputs):
        """Zeros of the shape and type of one example."""
        shape = tf.concat([[1], tf.shape(inputs)[1:]], axis=0)
        return tf.ensure_shape(tf.zeros(shape, inputs.dtype), (1, *inputs.shape[1:]))

    def compute_output_shape(self, input_shape):
        """The input's shape with a batch of one."""
        return (1, *input_shape[1:])


@keras.saving.register_keras_serializable("advance_tf")
class RepeatOver(layers.Layer):
    """One embedding for every example of a batch: [1, D], [B, ...] → [B, D]."""

    def call(self, embedding, batch):
        """The embedding, repeated."""
        return tf.repeat(embedding, tf.shape(batch)[0], axis=0)

    def compute_output_shape(self, embedding_shape, batch_shape):
        """The batch's size with the embedding's length."""
        return (batch_shape[0], embedding_shape[-1])


def build_towers(
    model: ModelConfig, features: FeatureConfig
) -> tuple[keras.Model, keras.Model]:
    """The image tower N_v and the audio tower N_a.

    Args:
        model: depths and widths.
        features: sizes of the inputs.

    Returns:
        `image_tower` and `audio_tower`, each from a map to an embedding.
    """
    side = features.image_size
    image_tower = build_resnet(
        model.image_depth, model.image_width, (side, side, 3), name="image_tower"
    )
    audio_tower = build_resnet(
        model.audio_depth,
        model.audio_width,
        (features.frames, features.mel_bins, 1),
        first_stride=1,
        name="audio_tower",
    )
    return image_tower, audio_tower


def _embed(tower: keras.Model, inputs, in_use: bool, name: str):
    """The tower's embedding of a batch, or of zeros when it is not in use.

    All examples of a batch of zeros are the same, and so are their batch-norm
    statistics and the sum of their gradients: one stands for all.
    """
    if in_use:
        return tower(inputs)
    zero = SingleZero(name=f"{name}_zero")(inputs)
    return RepeatOver(name=f"{name}_repeat")(tower(zero), inputs)


def _head(embedding, outputs: int, name: str):
    """A dense layer to logits, in float32 whatever the precision."""
    return layers.Dense(outputs, dtype="float32", name=name)(embedding)


def build_recognizer(
    model: ModelConfig, features: FeatureConfig, transfer: str = "none"
) -> keras.Model:
    """The recognizer: towers, concatenation N_{v+a}, heads f_s and f_e.

    Args:
        model: towers, modality and dropout. Under modality "image" or "sound"
            the other input is zeros, inside the model.
        features: sizes of the inputs.
        transfer: decides the event head: on N_a for sq_audio and kl_audio, on
            N_{v+a} for sq_audiovisual and kl_audiovisual, else none.

    Returns:
        A model of {"image": [B, S, S, 3] 0..255, "log_mel": [B, frames,
        mel_bins] normalized} → {"scene_logits": [B, 13]} and, as `transfer`
        asks, "audio_event_logits" or "audiovisual_event_logits" [B, 527], all
        float32.

    Raises:
        ValueError: the transfer is not known.
    """
    if transfer not in TRANSFERS:
        raise ValueError(
            f"transfer must be one of {', '.join(TRANSFERS)}; received {transfer!r}."
        )
    side = features.image_size
    image = keras.Input((side, side, 3), name="image")
    log_mel = keras.Input((features.frames, features.mel_bins), name="log_mel")
    image_tower, audio_tower = build_towers(model, features)
    channel = layers.Reshape((features.frames, features.mel_bins, 1), name="channel")
    seen = _embed(image_tower, image, model.modality != "sound", "image")
    heard = _embed(audio_tower, channel(log_mel), model.modality != "image", "audio")
    joined = layers.Concatenate(name="joined")([seen, heard])
    if model.dropout:
        joined = layers.Dropout(model.dropout, name="dropout")(joined)
    outputs = {"scene_logits": _head(joined, len(labels.scenes()), "scene_head")}
    events = len(labels.events())
    if transfer.endswith("_audio"):
        outputs["audio_event_logits"] = _head(heard, events, "audio_event_head")
    if transfer.endswith("_audiovisual"):
        outputs["audiovisual_event_logits"] = _head(
            joined, events, "audiovisual_event_head"
        )
    return keras.Model({"image": image, "log_mel": log_mel}, outputs, name="recognizer")


def build_audio_tagger(model: ModelConfig, features: FeatureConfig) -> keras.Model:
    """The audio tower with an event head: f_e(a, N_a), pretrained as the teacher.

    Args:
        model: audio depth, width and dropout.
        features: sizes of the input.

    Returns:
        A model of {"log_mel": [B, frames, mel_bins]} → {"event_logits": [B, 527]}.
    """
    log_mel = keras.Input((features.frames, features.mel_bins), name="log_mel")
    channel = layers.Reshape((features.frames, features.mel_bins, 1), name="channel")
    tower = build_towers(model, features)[1]
    embedding = tower(channel(log_mel))
    if model.dropout:
        embedding = layers.Dropout(model.dropout, name="dropout")(embedding)
    logits = _head(embedding, len(labels.events()), "audio_event_head")
    return keras.Model(
        {"log_mel": log_mel}, {"event_logits": logits}, name="audio_tagger"
    )


def build_image_classifier(
    model: ModelConfig, features: FeatureConfig, classes: int
) -> keras.Model:
    """The image tower with a head of its own classes, to pretrain it.

    Args:
        model: image depth, width and dropout.
        features: size of the input.
        classes: number of classes.

    Returns:
        A model of {"image": [B, S, S, 3]} → {"class_logits": [B, classes]}.
    """
    side = features.image_size
    image = keras.Input((side, side, 3), name="image")
    embedding = build_towers(model, features)[0](image)
    if model.dropout:
        embedding = layers.Dropout(model.dropout, name="dropout")(embedding)
    logits = _head(embedding, classes, "image_class_head")
    return keras.Model(
        {"image": image}, {"class_logits": logits}, name="image_classifier"
    )
