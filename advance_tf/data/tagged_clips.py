"""Clips tagged with AudioSet events: tags, and conversion of recordings."""

import csv
import dataclasses
import logging
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import soundfile
from tqdm import tqdm

from advance_tf import labels
from advance_tf.csv_tables import read_cells, read_table
from advance_tf.data.recordings import ClipRule, TooShortError, write_wav
from advance_tf.data.splits import hash_key
from advance_tf.files import DISK_ERRORS, join_names, replacing

_log = logging.getLogger(__name__)
# File name of the tags in a folder of clips.
TAGS = "tags.csv"
# Accepted column names of a CSV of recordings and their classes.
FILE_COLUMNS = ("file", "filename", "clip")
CLASS_COLUMNS = ("esc50_class", "category", "class")
_COLUMNS = ["clip", "labels"]
_ENDINGS = (".wav", ".WAV")


@dataclasses.dataclass(frozen=True)
class TaggedClip:
    """A clip and its events.

    Attributes:
        path: path relative to the folder of the clips.
        events: indices of AudioSet's events, 0 to 526, sorted.
    """

    path: str
    events: tuple[int, ...]


def _event_indices() -> dict[str, int]:
    """Event index by mid and by display name, in lower case."""
    events = labels.events()
    return {event.name.lower(): event.index for event in events} | {
        event.mid.lower(): event.index for event in events
    }


def parse_labels(text: str) -> tuple[int, ...]:
    """Parses a list of mids or display names.

    Some of AudioSet's display names contain commas ("Male speech, man speaking"):
    the longest sequence of parts that is a name is used.

    Args:
        text: mids or display names, separated by commas.

    Returns:
        Sorted event indices, 0 to 526.

    Raises:
        ValueError: a part is neither a mid nor the name of an event.

    Example:
        >>> parse_labels("Male speech, man speaking, /m/09x0r")
        (0, 1)
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
                f"527 events; received {parts[start]!r} in {text!r}. The events are "
                "listed in assets/events.csv."
            )
    return tuple(sorted(found))


def _read_rows(path: pathlib.Path) -> Iterator[tuple[int, list[str], str]]:
    """Line, possible file names and labels of each row, for both CSV formats."""
    lines = list(read_cells(path))
    if lines and lines[0][1][:2] == _COLUMNS:
        for line, values in read_table(path).rows:
            yield line, [values["clip"]], values["labels"]
        return
    # The comments of AudioSet's lists have commas of their own.
    segments = [(line, row) for line, row in lines if not row[0].startswith("#")]
    other = [line for line, row in segments if len(row) != 4]
    if not segments or other:
        where = f"{path}, line {other[0]}," if other else f"{path}"
        raise ValueError(
            f"{where} must have the columns clip,labels, or be a segment list of "
            "AudioSet (YTID, start_seconds, end_seconds, positive_labels); "
            f"received {lines[0][1] if lines else 'an empty file'}. "
            "`advance prepare-clips` writes such a file."
        )
    for line, (identifier, start, _, mids) in segments:
        stems = (identifier, f"Y{identifier}", f"{identifier}_{start}")
        names = [stem + ending for stem in stems for ending in _ENDINGS]
        yield line, names, mids


def read_tags(
    path: str | pathlib.Path,
    clips_dir: str | pathlib.Path,
    *,
    allow_missing: bool = False,
) -> tuple[TaggedClip, ...]:
    """Reads the tagged clips of a CSV file.

    Args:
        path: CSV file with the header clip,labels (labels: mids or display names,
            separated by commas), or one of AudioSet's segment lists, whose clips are
            <YTID>.wav, Y<YTID>.wav or <YTID>_<start>.wav.
        clips_dir: folder of the WAV files.
        allow_missing: leave out clips that are not in the folder instead of raising
            an error.

    Returns:
        The clips in the order of the file, with paths relative to the folder.

    Raises:
        ValueError: a clip is missing or has two rows, a label is unknown, or no clip
            remains.

    Example:
        >>> import tempfile
        >>> from advance_tf.data.synthetic.pairs import write_tagged_clips
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tagged_clips(folder, clips=3, progress=False)
        ...     clips = read_tags(f"{folder}/tags.csv", folder)
        >>> len(clips), clips[0].path
        (3, 'clip_0000.wav')
    """
    folder = pathlib.Path(clips_dir)
    found, missing = [], []
    lines: dict[str, int] = {}
    for line, names, text in _read_rows(pathlib.Path(path)):
        present = [name for name in names if (folder / name).is_file()]
        if not present:
            missing.append(names[0])
            continue
        clip = present[0]
        if clip in lines:
            raise ValueError(
                f"{path}, line {line}: a clip may have one row; {clip!r} is in line "
                f"{lines[clip]} too. Remove one of them."
            )
        lines[clip] = line
        try:
            found.append(TaggedClip(clip, parse_labels(text)))
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
    if missing and not allow_missing:
        raise ValueError(
            f"Every clip of {path} must be in {folder}; {len(missing)} are not: "
            f"{join_names(missing)}. Add them, or leave them out with "
            "`allow_missing=True`."
        )
    if not found:
        raise ValueError(
            f"{path} must list at least one clip in {folder}; it lists none. Check the "
            "folder."
        )
    return tuple(found)


def hold_out(
    clips: Sequence[TaggedClip], share: float, seed: int = 0
) -> tuple[tuple[TaggedClip, ...], tuple[TaggedClip, ...]]:
    """Splits clips into training and validation.

    The selection does not depend on the platform or the order of the clips.

    Args:
        clips: at least two clips.
        share: fraction for validation, in (0, 1); rounded, at least one clip in each
            part.
        seed: seed of the selection.

    Returns:
        Training and validation clips, each in the order of `clips`.

    Raises:
        ValueError: there are fewer than two clips.

    Example:
        >>> clips = [TaggedClip(f"{n}.wav", (n,)) for n in range(5)]
        >>> training, validation = hold_out(clips, share=0.2)
        >>> len(training), len(validation)
        (4, 1)
    """
    if len(clips) < 2:
        raise ValueError(
            f"clips must contain at least two clips; received {len(clips)}. Add clips."
        )
    paths = {clip.path for clip in clips}
    count = min(max(1, round(share * len(clips))), len(clips) - 1)
    held_out = set(sorted(paths, key=lambda path: hash_key(seed, path))[:count])
    return (
        tuple(clip for clip in clips if clip.path not in held_out),
        tuple(clip for clip in clips if clip.path in held_out),
    )


def write_tags(path: pathlib.Path, rows: Iterable[tuple[str, str]]) -> None:
    """Writes a CSV file that `read_tags` reads, atomically.

    Args:
        path: file to write.
        rows: file name and labels of each clip; labels are mids, separated by commas.
    """
    with replacing(path) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *rows])


def _find_column(
    path: pathlib.Path, columns: Iterable[str], accepted: Sequence[str]
) -> str:
    """The first accepted column name; raises ValueError if there is none."""
    for name in accepted:
        if name in columns:
            return name
    raise ValueError(
        f"{path} must have one of the columns {', '.join(accepted)}; received "
        f"{', '.join(columns)}. Rename the column in the first line."
    )


def read_classes(path: str | pathlib.Path) -> list[tuple[str, str]]:
    """Reads the file and the class of each recording.

    Args:
        path: CSV file with a column of files (file, filename or clip) and one of
            classes (esc50_class, category or class), such as that of ESC-50.

    Returns:
        (file, class) in the order of the rows.

    Raises:
        ValueError: a column is missing, or there are no rows.
    """
    path = pathlib.Path(path)
    columns, rows = read_table(path)
    if not rows:
        raise ValueError(
            f"{path} must list at least one recording; it lists none. Add rows."
        )
    file_column = _find_column(path, columns, FILE_COLUMNS)
    class_column = _find_column(path, columns, CLASS_COLUMNS)
    return [(row.values[file_column], row.values[class_column]) for row in rows]


def read_class_events(path: str | pathlib.Path | None = None) -> dict[str, str]:
    """Reads the AudioSet events of each class.

    Args:
        path: CSV file with a column of classes and a column `events` (mids or
            display names, separated by commas); None for the map of ESC-50 in the
            assets.

    Returns:
        Class → mids, separated by commas.

    Raises:
        ValueError: a column is missing or an event is unknown.

    Example:
        >>> read_class_events()["sea_waves"]
        '/m/05kq4,/m/034srq'
    """
    path = pathlib.Path(path) if path else labels.asset_path("esc50_events.csv")
    columns, rows = read_table(path)
    if not rows or "events" not in columns:
        raise ValueError(
            f"{path} must have a column of classes and a column events; received "
            f"{', '.join(columns) if rows else 'no rows'}. Name the columns in the "
            "first line."
        )
    column = _find_column(path, columns, CLASS_COLUMNS)
    events = labels.events()
    found = {}
    for line, row in rows:
        try:
            indices = parse_labels(row["events"])
        except ValueError as error:
            raise ValueError(f"{path}, line {line}: {error}") from error
        found[row[column]] = ",".join(events[index].mid for index in indices)
    return found


def prepare_clips(
    recordings: list[tuple[str, str]],
    sound_dir: str | pathlib.Path,
    class_events: Mapping[str, str],
    data_dir: str | pathlib.Path,
    *,
    allow_truncated: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Converts recordings to mono 16-bit WAV and writes tags.csv for pretraining.

    Args:
        recordings: file and class of each recording, see `read_classes`.
        sound_dir: folder of the files, in any format that libsndfile reads.
        class_events: class → mids, see `read_class_events`.
        data_dir: folder to write to; a recording in a subfolder keeps it.
        allow_truncated: convert recordings that end before their header states.
        progress: show a progress bar.

    Returns:
        File → problem, for each file that cannot be read; all others are written.

    Raises:
        ValueError: a class has no events in `class_events`, or two recordings would
            become the same clip.
    """
    unknown = sorted({name for _, name in recordings} - set(class_events))
    if unknown:
        raise ValueError(
            f"Every class must have events in `class_events`; {join_names(unknown)} "
            "have none. Add them."
        )
    folder = pathlib.Path(data_dir)
    targets = _clip_paths([name for name, _ in recordings])
    rows, bad, truncated = [], {}, []
    for (name, class_name), target in tqdm(
        zip(recordings, targets, strict=True),
        "clips",
        total=len(recordings),
        unit="clip",
        disable=None if progress else True,
    ):
        try:
            with replacing(folder / target) as temporary:
                missing = write_wav(
                    pathlib.Path(sound_dir) / name,
                    temporary,
                    ClipRule(min_seconds=0),
                    allow_truncated=allow_truncated,
                )
        except (OSError, ValueError, TooShortError, soundfile.SoundFileError) as error:
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                raise
            bad[name] = str(error)
        else:
            rows.append((target, class_events[class_name]))
            truncated += [name] if missing else []
    if truncated:
        _log.warning(
            "%d recordings end before their header states: %s",
            len(truncated),
            join_names(truncated),
        )
    write_tags(folder / TAGS, rows)
    return bad


def _clip_paths(names: Sequence[str]) -> list[str]:
    """The path of each recording's clip; ValueError if two would be the same."""
    targets = []
    sources: dict[str, str] = {}
    for name in names:
        path = pathlib.PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(
                "A recording must be named by its path below `sound_dir`; received "
                f"{name!r}. Remove the leading folders."
            )
        target = path.with_suffix(".wav").as_posix()
        # Two names that differ in case are one file on some systems.
        key = target.casefold()
        if key in sources:
            raise ValueError(
                f"Every recording must have a clip of its own; {sources[key]!r} and "
                f"{name!r} would both be written to {target}. Rename or remove one."
            )
        sources[key] = name
        targets.append(target)
    return targets
