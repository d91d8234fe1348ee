"""Recordings of named classes → WAV clips tagged with AudioSet's events."""

import csv
import pathlib
from collections.abc import Mapping

import soundfile
from tqdm import tqdm

from advance_tf import labels
from advance_tf.data.recording import ClipRule, TooShortError, write_wav
from advance_tf.data.tagged import parse_labels
from advance_tf.files import replacing

FILE_COLUMNS = ("file", "filename", "clip")
CLASS_COLUMNS = ("esc50_class", "category", "class")
TAGS = "tags.csv"


def _column(path: pathlib.Path, row: Mapping[str, str], known) -> str:
    for name in known:
        if name in row:
            return name
    raise ValueError(
        f"{path} must have one of the columns {', '.join(known)}; received "
        f"{', '.join(row)}."
    )


def read_classes(path: str | pathlib.Path) -> list[tuple[str, str]]:
    """File and class of each recording.

    Args:
        path: CSV with a column of files (file, filename or clip) and one of
            classes (esc50_class, category or class), as ESC-50's own.

    Returns:
        (file, class) in the order of the CSV.

    Raises:
        ValueError: a column is missing, or there are no rows.
    """
    path = pathlib.Path(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows:
        raise ValueError(f"{path} must name at least one recording; it names none.")
    file_column = _column(path, rows[0], FILE_COLUMNS)
    class_column = _column(path, rows[0], CLASS_COLUMNS)
    return [(row[file_column], row[class_column]) for row in rows]


def read_class_events(path: str | pathlib.Path | None = None) -> dict[str, str]:
    """AudioSet's mids of each class.

    Args:
        path: CSV with the columns of a class and `events` (mids or display
            names with commas between them); None for ESC-50's in the assets.

    Returns:
        Class → mids with commas between them.

    Raises:
        ValueError: a column is missing or an event unknown.
    """
    path = pathlib.Path(path) if path else labels.asset_path("esc50_events.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    if not rows or "events" not in rows[0]:
        raise ValueError(f"{path} must have a column of classes and one of events.")
    column = _column(path, rows[0], CLASS_COLUMNS)
    events = labels.events()
    return {
        row[column]: ",".join(events[i].mid for i in parse_labels(row["events"]))
        for row in rows
    }


def prepare_clips(
    recordings: list[tuple[str, str]],
    sound_dir: str | pathlib.Path,
    class_events: Mapping[str, str],
    data_dir: str | pathlib.Path,
    *,
    progress: bool = True,
) -> dict[str, str]:
    """Writes each recording as mono 16-bit WAV, and tags.csv for `pretrain`.

    Args:
        recordings: (file, class) of each.
        sound_dir: folder of the files, of any format libsndfile reads.
        class_events: class → mids.
        data_dir: folder to write.
        progress: show a bar.

    Returns:
        File → what was wrong with it; the others are written.

    Raises:
        ValueError: a class has no events in the map.
    """
    unknown = sorted({name for _, name in recordings} - set(class_events))
    if unknown:
        raise ValueError(
            f"Every class must have its events in the map; {', '.join(unknown[:10])} "
            "have none. Give a map of your own with --class_events."
        )
    folder = pathlib.Path(data_dir)
    rows, bad = [], {}
    for name, kind in tqdm(recordings, "clips", unit="clip", disable=not progress):
        target = f"{pathlib.Path(name).stem}.wav"
        try:
            with replacing(folder / target) as temporary:
                write_wav(
                    pathlib.Path(sound_dir) / name, temporary, ClipRule(min_seconds=0)
                )
        except (OSError, ValueError, TooShortError, soundfile.SoundFileError) as error:
            bad[name] = str(error)
        else:
            rows.append([target, class_events[kind]])
    with replacing(folder / TAGS) as temporary:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([["clip", "labels"], *rows])
    return bad
