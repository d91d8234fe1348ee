"""The prediction of one example, as Python values, JSON and text."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

OK = "ok"
# The scene of an answer that is rejected.
UNKNOWN = "unknown"
Ranking = tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Scenes and events of one example, or why it cannot be read.

    Attributes:
        name: name of the example.
        status: "ok", or why the example cannot be read; then scenes and events
            are empty.
        scenes: every scene with its probability, most probable first.
        events: every event that the teacher covers with its probability, most
            probable first; empty where the model predicts none.
        event_source: where the event probabilities come from, "" without events.
        notes: limits of this prediction, such as a missing input.
        image: path of the image, None for none or an image in memory.
        sound: path of the sound, None for none or a sound in memory.
        label: notice about the training data, shown in reports, "" for none.
        reason: why the scene is "unknown", several reasons separated by "; "; "" for
            a scene that is not.

    Example:
        >>> answer = Prediction("a", scenes=(("beach", 0.75), ("lake", 0.25)))
        >>> answer.scene, answer.scene_probs["beach"]
        ('beach', 0.75)
        >>> print(answer.to_text(top=1))
        a
          scenes
            75.00 %  beach
        >>> answer.to_dict(top=1)["scenes"]
        [{'name': 'beach', 'probability': 0.75}]
    """

    name: str
    status: str = OK
    scenes: Ranking = ()
    events: Ranking = ()
    event_source: str = ""
    notes: tuple[str, ...] = ()
    image: str | None = None
    sound: str | None = None
    label: str = ""
    reason: str = ""

    @property
    def confidence(self) -> float:
        """The probability of the most probable scene in [0, 1], 0 without scenes."""
        return self.scenes[0][1] if self.scenes else 0.0

    @property
    def ok(self) -> bool:
        """Whether `status` is "ok"."""
        return self.status == OK

    @property
    def scene(self) -> str:
        """The most probable scene; "unknown" where there is a `reason`.

        "" for an example that cannot be read.
        """
        if self.reason:
            return UNKNOWN
        return self.scenes[0][0] if self.scenes else ""

    @property
    def scene_probs(self) -> dict[str, float]:
        """Scene → probability in [0, 1], most probable first."""
        return dict(self.scenes)

    @property
    def event_probs(self) -> dict[str, float]:
        """Event → probability in [0, 1], most probable first."""
        return dict(self.events)

    def to_dict(self, top: int | None = None) -> dict[str, Any]:
        """The fields as plain values, ready for JSON.

        Args:
            top: number of scenes and of events to keep; None for all.

        Returns:
            The fields, `scene` and `confidence`; `scenes` and `events` are lists of
            `name` and `probability`.
        """
        values = dataclasses.asdict(self)
        for kind in ("scenes", "events"):
            ranking = getattr(self, kind)[:top]
            values[kind] = [{"name": n, "probability": p} for n, p in ranking]
        return values | {
            "scene": self.scene,
            "confidence": self.confidence,
            "notes": list(self.notes),
        }

    def to_json(self, top: int | None = None) -> str:
        """`to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(top), ensure_ascii=False)

    def to_text(self, top: int | None = 5) -> str:
        """The prediction as text for a terminal, without a final newline.

        Args:
            top: number of scenes and of events to show; None for all.

        Returns:
            The name, a line of percentage and name for each scene and event, and
            the notes; or the name and the status.
        """
        lines = [self.name]
        if not self.ok:
            return f"{self.name}\n  status: {self.status}"
        if self.reason:
            lines.append(f"  scene: {UNKNOWN} ({self.reason})")
        for title, ranking in (("scenes", self.scenes), ("events", self.events)):
            if ranking:
                source = self.event_source if title == "events" else ""
                lines.append(f"  {title}{': ' + source if source else ''}")
                lines += [f"  {100 * p:7.2f} %  {name}" for name, p in ranking[:top]]
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def rank(
    names: Sequence[str], probs: np.ndarray, known: np.ndarray | None = None
) -> Ranking:
    """Sorts names by their probabilities.

    Args:
        names: n names.
        probs: [n] probabilities.
        known: bool [n], False for a name to leave out; None for all names.

    Returns:
        Names and probabilities, most probable first.

    >>> rank(["beach", "lake", "forest"], np.array([0.25, 0.5, 0.25]))
    (('lake', 0.5), ('beach', 0.25), ('forest', 0.25))
    """
    order = np.argsort(-probs, kind="stable")
    if known is not None:
        order = order[known[order]]
    return tuple((names[k], float(probs[k])) for k in order)
