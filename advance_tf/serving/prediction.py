"""What a recognizer says of one example, and how that is shown."""

import dataclasses
import json

import numpy as np

Ranking = tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What the model says of one example.

    Attributes:
        name: of the example.
        image: path of the image or None.
        sound: path of the sound or None.
        scenes: names and probabilities, best first.
        events: names and probabilities, best first; empty without events.
        event_source: where the event probabilities come from, "" without.
        notes: what a reader must know to read it rightly.
    """

    name: str
    image: str | None
    sound: str | None
    scenes: Ranking
    events: Ranking
    event_source: str
    notes: tuple[str, ...]


def best(names, probs: np.ndarray, top: int, known=None) -> Ranking:
    """The most probable names.

    Args:
        names: n names.
        probs: [n] probabilities.
        top: how many to return.
        known: [n] bool, others are left out; None for all.

    Returns:
        Names and probabilities, best first.
    """
    order = np.argsort(-probs, kind="stable")
    if known is not None:
        order = order[known[order]]
    return tuple((names[k], float(probs[k])) for k in order[:top])


def json_line(prediction: Prediction, label: str = "") -> str:
    """A prediction as one line of JSON.

    Args:
        prediction: of `Predictor.predict`.
        label: what must be said of the model's data.

    Returns:
        The fields of `Prediction`, `scenes` and `events` as lists of `name` and
        `probability`, and `label`.
    """
    values = dataclasses.asdict(prediction)
    for kind in ("scenes", "events"):
        values[kind] = [{"name": n, "probability": p} for n, p in values[kind]]
    return json.dumps(values | {"label": label}, ensure_ascii=False)


def text(prediction: Prediction) -> str:
    """A prediction for the terminal, without a newline at its end.

    Args:
        prediction: of `Predictor.predict`.

    Returns:
        The name, then lines of percent and name, then the notes.
    """
    lines = [prediction.name]
    for title, ranking in (
        ("scenes", prediction.scenes),
        ("events", prediction.events),
    ):
        if ranking:
            source = prediction.event_source if title == "events" else ""
            lines.append(f"  {title}{': ' + source if source else ''}")
            lines += [f"  {100 * prob:7.2f} %  {name}" for name, prob in ranking]
    lines += [f"  note: {note}" for note in prediction.notes]
    return "\n".join(lines)
