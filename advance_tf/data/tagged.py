"""Clips tagged with sound events, to pretrain the audio tower on."""

import csv
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from advance_tf import labels

_ENDINGS = (".wav", ".WAV")
_NAMED_AT_MOST = 10


@dataclasses.dataclass(frozen=True)
class TaggedClip:
    """A recording and the indices of the events that are heard in it."""

    path: str
    events: tuple[int, ...]


def _event_indices() -> dict[str, int]:
    """Index by mid and by display name, in lower case."""
    events = labels.events()
    return {event.name.lower(): event.index for event in events} | {
        event.mid.lower(): event.index for event in events
    }


def parse_labels(text: str) -> tuple[int, ...]:
    """The events of a list of mids or display names.

    AudioSet's display names hold commas themselves ("Bleat" but also "Male
    speech, man speaking"), so the longest run of parts that is a name wins.

    Args:
        text: mids or names with commas between them.

    Returns:
        Sorted indices in 0..526.

    Raises:
        ValueError: a part is neither a mid nor the name of an event.
    """
    indices = _event_indices()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = set()
    start = 0
    while start < len(parts):
        for stop in range(len(parts), start, -1):
            index = indices.get(", ".join(parts[start:stop]).lower())
            if index is not None:
                found.add(index)
                start = stop
                break
        else:
            raise ValueError(
                "A label must be the mid or the display name of one of AudioSet's "
                f"527 events; received {parts[start]!r} in {text!r}. The list is "
                "assets/events.csv."
            )
    return tuple(sorted(found))


def _rows(path: pathlib.Path) -> Iterable[tuple[list[str], str]]:
    """Candidate file names and labels of each row, for both CSV forms."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, skipinitialspace=True))
    if rows and rows[0][:2] == ["clip", "labels"]:
        for row in rows[1:]:
            yield [row[0]], row[1]
        return
    segments = [row for row in rows if row and not row[0].startswith("#")]
    if not segments or any(len(row) != 4 for row in segments):
        raise ValueError(
            f"{path} must have the columns clip,labels, or be a segment list of "
            "AudioSet (YTID, start_seconds, end_seconds, positive_labels); "
            f"received {rows[0] if rows else 'an empty file'}."
        )
    for identifier, start, _, mids in segments:
        stems = (identifier, f"Y{identifier}", f"{identifier}_{start}")
        yield [stem + ending for stem in stems for ending in _ENDINGS], mids


def read_tags(
    path: str | pathlib.Path,
    clips_dir: str | pathlib.Path,
    *,
    allow_missing: bool = False,
) -> tuple[TaggedClip, ...]:
    """The tagged clips of a CSV.

    Args:
        path: CSV with the header clip,labels (labels: mids or display names
            with commas between them), or one of AudioSet's own segment lists,
            whose clips are <YTID>.wav, Y<YTID>.wav or <YTID>_<start>.wav.
        clips_dir: folder of the WAV files.
        allow_missing: leave out clips that are not in the folder, instead of
            refusing them.

    Returns:
        The clips in the order of the file, with paths relative to the folder.

    Raises:
        ValueError: a clip is missing, a label unknown, or nothing is left.
    """
    folder = pathlib.Path(clips_dir)
    found, missing = [], []
    for names, text in _rows(pathlib.Path(path)):
        present = [name for name in names if (folder / name).is_file()]
        if present:
            found.append(TaggedClip(present[0], parse_labels(text)))
        else:
            missing.append(names[0])
    if missing and not allow_missing:
        raise ValueError(
            f"Every clip of {path} must lie in {folder}; {len(missing)} do not: "
            f"{', '.join(missing[:_NAMED_AT_MOST])}. Add them or give "
            "--allow_missing."
        )
    if not found:
        raise ValueError(f"{path} names no clip that lies in {folder}.")
    return tuple(found)


def hold_out(
    clips: Sequence[TaggedClip], share: float, seed: int = 0
) -> tuple[tuple[TaggedClip, ...], tuple[TaggedClip, ...]]:
    """Draws validation clips, independent of platform and file order.

    Args:
        clips: at least two.
        share: in (0, 1), rounded, at least one clip on each side.
        seed: of the draw.

    Returns:
        Training and validation clips, each in the order of `clips`.

    Raises:
        ValueError: there are fewer than two clips.
    """
    if len(clips) < 2:
        raise ValueError(f"At least two clips are needed; received {len(clips)}.")
    draw = {
        clip.path: hashlib.sha256(f"{seed}:{clip.path}".encode()).hexdigest()
        for clip in clips
    }
    count = min(max(1, round(share * len(clips))), len(clips) - 1)
    chosen = set(sorted(draw, key=draw.__getitem__)[:count])
    return (
        tuple(clip for clip in clips if clip.path not in chosen),
        tuple(clip for clip in clips if clip.path in chosen),
    )


def multi_hot(clips: Sequence[TaggedClip]) -> np.ndarray:
    """The events of clips as targets.

    Args:
        clips: n tagged clips.

    Returns:
        float32 [n, 527], 1 where the event is heard.
    """
    targets = np.zeros((len(clips), len(labels.events())), np.float32)
    for row, clip in enumerate(clips):
        targets[row, list(clip.events)] = 1
    return targets


def balanced_weights(targets: np.ndarray) -> np.ndarray:
    """Sampling weights under which rare events are heard as often as common ones.

        w_n ∝ Σ_i t_ni / Σ_m t_mi

    Args:
        targets: [n, events], 0 or 1.

    Returns:
        float64 [n] with a sum of 1.

    Raises:
        ValueError: no clip has an event.
    """
    counts = targets.sum(0)
    shares = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    weights = np.asarray(targets @ shares, np.float64)
    if not weights.sum():
        raise ValueError("At least one clip must have an event; received none.")
    return weights / weights.sum()
