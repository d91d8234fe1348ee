"""Brings foreign images and recordings into ADVANCE's layout, once."""

import concurrent.futures
import dataclasses
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping

import soundfile
from tqdm import tqdm

from advance_tf.data import layout, recording
from advance_tf.data.layout import Pair
from advance_tf.data.recording import ClipRule
from advance_tf.files import replacing

SETTINGS = "prepare.json"
SOUND_ENDINGS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"),
)
WRITTEN = "written"
UP_TO_DATE = "up to date"
TOO_SHORT = "too short"
BAD = "bad"

# First bytes of what the image decoder reads, by the ending that they belong to.
_IMAGE_STARTS = {
    b"\xff\xd8\xff": (".jpg", ".jpeg"),
    b"\x89PNG\r\n\x1a\n": (".png",),
    b"BM": (".bmp",),
    b"RIFF": (".webp",),
}
_DISK_FAULTS = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the pairs.

    Attributes:
        outcomes: stem → (written | up to date | too short | bad, why).
        skipped: reason → files that did not pair, as in `layout.Scan`.
    """

    outcomes: Mapping[str, tuple[str, str]]
    skipped: Mapping[str, tuple[str, ...]]

    def count(self, outcome: str) -> int:
        """How many pairs came out as `outcome`."""
        return sum(own == outcome for own, _ in self.outcomes.values())

    @property
    def bad(self) -> list[str]:
        """What is wrong with each file that could not be used."""
        return [why for own, why in self.outcomes.values() if own == BAD]


def prepare(
    image_dir: str | pathlib.Path,
    sound_dir: str | pathlib.Path,
    data_dir: str | pathlib.Path,
    rule: ClipRule,
    *,
    allow_missing: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Summary:
    """Writes vision/<scene>/<stem>.* and sound/<scene>/<stem>.wav.

    Images are copied as they are, sounds become mono 16-bit WAV. A pair whose
    files have not changed since it was written is left alone, so a stopped run
    goes on where it was. A pair with a bad file is in neither folder afterwards.

    Args:
        image_dir: folder with <scene>/<stem>.jpg, .png, .bmp or .webp.
        sound_dir: folder with <scene>/<stem>.flac, .ogg, .mp3, .wav, ...
        data_dir: new folder, or one that an earlier run wrote with this rule.
        rule: what is done to each recording.
        allow_missing: leave out what does not pair, instead of refusing it.
        workers: threads; default: one for each core.
        progress: show a progress bar.

    Returns:
        What became of every pair; one bad file does not stop the others.

    Raises:
        ValueError: the folders do not pair, or `data_dir` holds something else
            or was written with another rule.
        OSError: the disk is full or read-only.
    """
    images, sounds = pathlib.Path(image_dir), pathlib.Path(sound_dir)
    root = pathlib.Path(data_dir)
    found = layout.pair_folders(images, sounds, SOUND_ENDINGS, allow_missing)
    _claim(root, rule)

    def convert(pair: Pair) -> tuple[str, str]:
        return _convert(images / pair.image, sounds / pair.sound, root, pair, rule)

    executor = concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count())
    try:
        outcomes = {
            pair.stem: outcome
            for pair, outcome in tqdm(
                zip(found.pairs, executor.map(convert, found.pairs), strict=True),
                desc="preparing",
                total=len(found.pairs),
                unit="pair",
                disable=not progress,
            )
        }
    finally:
        executor.shutdown(cancel_futures=True)
    return Summary(outcomes, found.skipped)


def _claim(root: pathlib.Path, rule: ClipRule) -> None:
    """Makes `root` ours, or raises ValueError when it is something else's."""
    settings = root / SETTINGS
    wanted = json.dumps(dataclasses.asdict(rule), indent=2, sort_keys=True) + "\n"
    if settings.exists():
        received = settings.read_text(encoding="utf-8")
        if received != wanted:
            raise ValueError(
                f"{root} must be prepared with one rule throughout; it was begun with "
                f"{' '.join(received.split())}, received {' '.join(wanted.split())}. "
                "Use the same flags or another --data_dir."
            )
    elif root.is_dir() and any(root.iterdir()):
        raise ValueError(
            f"{root} must be new, or a folder that this program wrote; it holds other "
            "files, which could be overwritten. Use another --data_dir."
        )
    else:
        with replacing(settings) as temporary:
            temporary.write_text(wanted, encoding="utf-8")
    # Left by a run that was killed while it wrote.
    for leftover in root.glob("*/*/*-partial.*"):
        leftover.unlink()


def _convert(
    image: pathlib.Path,
    sound: pathlib.Path,
    root: pathlib.Path,
    pair: Pair,
    rule: ClipRule,
) -> tuple[str, str]:
    """Writes one pair; returns its outcome and what is wrong with it."""
    ending = image.suffix.lower()
    image_copy = root / "vision" / pair.scene / f"{pair.stem}{ending}"
    sound_copy = root / "sound" / pair.scene / f"{pair.stem}.wav"
    outcome, why, at_hand = WRITTEN, "", image
    try:
        if _is_current(sound, sound_copy) and _is_current(image, image_copy):
            return UP_TO_DATE, ""
        _check_image(image)
        at_hand = sound
        _write(sound, sound_copy, lambda path: recording.write_wav(sound, path, rule))
        at_hand = image
        _write(image, image_copy, lambda path: shutil.copyfile(image, path))
    except recording.TooShortError as error:
        outcome, why = TOO_SHORT, str(error)
    except (ValueError, soundfile.SoundFileError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            raise
        outcome, why = BAD, f"{at_hand}: {error}"
    if outcome != WRITTEN:
        # Half a pair, or one of an earlier version, would stop every program.
        sound_copy.unlink(missing_ok=True)
    for other_ending in layout.IMAGE_ENDINGS:
        other = image_copy.with_name(pair.stem + other_ending)
        if outcome != WRITTEN or other_ending != ending:
            other.unlink(missing_ok=True)
    return outcome, why


def _is_current(source: pathlib.Path, copy: pathlib.Path) -> bool:
    """Whether `copy` was made from `source` as it is: it bears its time."""
    return copy.exists() and copy.stat().st_mtime_ns == source.stat().st_mtime_ns


def _write(
    source: pathlib.Path, copy: pathlib.Path, write: Callable[[pathlib.Path], object]
) -> None:
    """Makes `copy` whole or not at all, with the time of its source."""
    times = source.stat()
    with replacing(copy) as temporary:
        write(temporary)
        os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))


def _check_image(path: pathlib.Path) -> None:
    """Raises ValueError unless the file begins as its ending says."""
    with path.open("rb") as file:
        start = file.read(12)
    for prefix, endings in _IMAGE_STARTS.items():
        if start.startswith(prefix) and (prefix != b"RIFF" or start[8:] == b"WEBP"):
            if path.suffix.lower() in endings:
                return
            raise ValueError(f"the image must end in {endings[0]}, as its content says")
    raise ValueError(
        f"the image must be JPEG, PNG, BMP or WebP; it begins with {start[:4]!r}"
    )
