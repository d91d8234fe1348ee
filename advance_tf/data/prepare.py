"""Conversion of images and recordings of other formats to ADVANCE's layout."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import soundfile
from tqdm import tqdm

from advance_tf.data import layout, pairing, recordings
from advance_tf.data.image_conversion import (
    CONVERTED_ENDINGS,
    convert_form,
    convert_image,
)
from advance_tf.data.pairing import Pair
from advance_tf.data.recordings import ClipRule
from advance_tf.files import (
    DISK_ERRORS,
    join_names,
    remove_partial_files,
    replacing,
    visible_files,
)
from advance_tf.locks import lock_folder

SETTINGS = "prepare.json"
# What the lock of the folder is named after.
_LOCK = "prepare"
# Extensions of the recordings that libsndfile reads.
SOUND_ENDINGS = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".aifc", ".au", ".caf", ".w64", ".rf64"),
)
# Outcomes of a pair.
WRITTEN = "written"
UP_TO_DATE = "up to date"
TOO_SHORT = "too short"
BAD = "bad"

# First bytes of the image formats, and the extensions of each format.
_IMAGE_SIGNATURES = {
    b"\xff\xd8\xff": (".jpg", ".jpeg"),
    b"\x89PNG\r\n\x1a\n": (".png",),
    b"BM": (".bmp",),
    b"RIFF": (".webp",),
}
# Bytes that hold the header of a BMP or WebP.
_HEADER_BYTES = 256
# Formats of which the models read some forms only.
_FORMS_ENDINGS = (".bmp", ".webp")
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Summary:
    """The outcome of `prepare_dataset`.

    Attributes:
        outcomes: stem → (outcome, reason); the outcome is "written", "up to date",
            "too short" or "bad"; the reason of a written pair is what is missing of
            a truncated recording, "" for a complete one.
        skipped: reason → unpaired files, as in `layout.Scan`.
        stale: files in `data_dir` whose source pair is gone or in another scene,
            relative to it.
        removed: whether these files were removed.
    """

    outcomes: Mapping[str, tuple[str, str]]
    skipped: Mapping[str, tuple[str, ...]]
    stale: tuple[str, ...] = ()
    removed: bool = False

    def count(self, outcome: str) -> int:
        """The number of pairs with an outcome."""
        return sum(found == outcome for found, _ in self.outcomes.values())

    @property
    def truncated(self) -> dict[str, str]:
        """What is missing of each truncated recording that was written, by stem."""
        return {
            stem: reason
            for stem, (outcome, reason) in self.outcomes.items()
            if outcome == WRITTEN and reason
        }

    @property
    def bad(self) -> list[str]:
        """The problem of each file that cannot be used, one message for each pair."""
        return [reason for outcome, reason in self.outcomes.values() if outcome == BAD]

    def to_text(self) -> str:
        """The numbers of pairs, and what was left out, as text for a terminal."""
        lines = [
            f"{outcome + ':':12} {self.count(outcome):6} pairs"
            for outcome in (WRITTEN, UP_TO_DATE, TOO_SHORT, BAD)
        ]
        if self.truncated:
            names = join_names(list(self.truncated))
            lines.append(f"truncated: {len(self.truncated)} recordings: {names}")
        if self.skipped:
            lines.append(f"left out: {layout.describe(self.skipped)}")
        if self.stale:
            done = "removed" if self.removed else "kept"
            lines.append(
                f"without a source: {len(self.stale)} files, {done}: "
                f"{join_names(self.stale)}"
            )
        return "\n".join(lines)


def prepare_dataset(
    image_dir: str | pathlib.Path,
    sound_dir: str | pathlib.Path,
    data_dir: str | pathlib.Path,
    rule: ClipRule,
    *,
    allow_missing: bool = False,
    allow_truncated: bool = False,
    remove_stale: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> Summary:
    r"""Converts images and recordings to ADVANCE's layout.

    Writes vision/<scene>/<stem>.* and sound/<scene>/<stem>.wav: images are copied, or
    become PNG where models do not read their format (see `convert_image`) or their form
    of BMP or WebP (see `convert_form`); sounds become mono 16-bit WAV. A pair whose
    source files are unchanged is not written again, so that a second call resumes an
    interrupted one. If a file of a pair cannot be used, neither of its files is in
    `data_dir` afterwards.

    Args:
        image_dir: folder with <scene>/<stem>.jpg, .png, .bmp, .webp, .tif, .jp2 or
            .gif.
        sound_dir: folder with <scene>/<stem>.flac, .ogg, .mp3, .wav, …
        data_dir: new folder, or one that an earlier call wrote with the same rule.
        rule: conversion of each recording.
        allow_missing: leave out unpaired and empty files instead of raising an error.
        allow_truncated: convert what is there of a recording that ends before its
            header states; without it such a recording is bad.
        remove_stale: remove the files of `data_dir` whose source pair is gone or in
            another scene; without it they are listed, and remain pairs of the data
            set.
        workers: number of threads; None for one thread per core.
        progress: show a progress bar.

    Returns:
        The outcome of every pair; a bad file does not stop the conversion.

    Raises:
        ValueError: the folders do not pair, `data_dir` contains other files or was
            written with a different rule, or another process prepares it.
        OSError: the disk is full or read-only.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = pathlib.Path(folder)
        ...     for name in ("images/lake", "sounds/lake"):
        ...         (root / name).mkdir(parents=True)
        ...     _ = (root / "images/lake/00001.jpg").write_bytes(b"\xff\xd8\xff")
        ...     sound = root / "sounds/lake/00001.flac"
        ...     soundfile.write(sound, np.zeros(48_000), 16_000)
        ...     summary = prepare_dataset(
        ...         root / "images", root / "sounds", root / "data", ClipRule(),
        ...         progress=False,
        ...     )
        ...     rate_hz = soundfile.info(root / "data/sound/lake/00001.wav").samplerate
        >>> summary.count("written"), summary.bad, rate_hz
        (1, [], 16000)
    """
    images, sounds = pathlib.Path(image_dir), pathlib.Path(sound_dir)
    root = pathlib.Path(data_dir)
    found = layout.pair_folders(
        images,
        sounds,
        image_endings=(*pairing.IMAGE_ENDINGS, *CONVERTED_ENDINGS),
        sound_endings=SOUND_ENDINGS,
        allow_missing=allow_missing,
    )
    _check_target(root, rule)
    with lock_folder(root, _LOCK):
        _begin(root, rule)
        outcomes = _convert_pairs(
            found.pairs, images, sounds, root, rule, allow_truncated, workers, progress
        )
        stale = tuple(_stale_files(root, found.pairs))
        if remove_stale:
            for name in stale:
                (root / name).unlink()
    return Summary(outcomes, found.skipped, stale, remove_stale)


def _stale_files(root: pathlib.Path, pairs: Sequence[Pair]) -> Iterator[str]:
    """The media files in `root` that are of none of the pairs."""
    kept = {(pair.scene, pair.stem) for pair in pairs}
    endings = {"vision": pairing.IMAGE_ENDINGS, "sound": pairing.SOUND_ENDINGS}
    for folder, own in endings.items():
        for path, _ in visible_files(root / folder) if (root / folder).is_dir() else ():
            file = pathlib.Path(path)
            if file.suffix.lower() in own and (file.parent.name, file.stem) not in kept:
                yield file.relative_to(root).as_posix()


def _convert_pairs(
    pairs: Sequence[Pair],
    images: pathlib.Path,
    sounds: pathlib.Path,
    root: pathlib.Path,
    rule: ClipRule,
    allow_truncated: bool,
    workers: int | None,
    progress: bool,
) -> dict[str, tuple[str, str]]:
    """Writes all pairs; returns outcome and reason by stem."""

    def convert(pair: Pair) -> tuple[str, str]:
        return _convert_pair(
            images / pair.image,
            sounds / pair.sound,
            root,
            pair,
            lambda sound, path: recordings.write_wav(
                sound, path, rule, allow_truncated=allow_truncated
            ),
        )

    executor = concurrent.futures.ThreadPoolExecutor(workers or os.cpu_count())
    try:
        return {
            pair.stem: outcome
            for pair, outcome in tqdm(
                zip(pairs, executor.map(convert, pairs), strict=True),
                desc="preparing",
                total=len(pairs),
                unit="pair",
                disable=None if progress else True,
            )
        }
    finally:
        executor.shutdown(cancel_futures=True)


def _settings_text(rule: ClipRule) -> str:
    return json.dumps(dataclasses.asdict(rule), indent=2, sort_keys=True) + "\n"


def _parse(text: str) -> Any:
    """The value of a JSON text; None for a text that is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def _check_target(root: pathlib.Path, rule: ClipRule) -> None:
    """Raises ValueError if the folder cannot be used."""
    settings, expected = root / SETTINGS, _settings_text(rule)
    if settings.exists():
        received = settings.read_text(encoding="utf-8", errors="replace")
        # As values: versions before 0.2 wrote 10 for 10.0.
        if _parse(received) != dataclasses.asdict(rule):
            raise ValueError(
                f"{root} must be prepared with a single rule; it was written with "
                f"{' '.join(received.split())}, received {' '.join(expected.split())}. "
                "Use the same rule or another `data_dir`."
            )
    elif root.is_dir() and {path.name for path in root.iterdir()} - {f"{_LOCK}.lock"}:
        raise ValueError(
            f"{root} must be empty, or written by `advance prepare`; it contains other "
            "files, which could be overwritten. Use another `data_dir`."
        )


def _begin(root: pathlib.Path, rule: ClipRule) -> None:
    """Records the rule in `root`, which this process has locked."""
    # Another process may have begun before the lock.
    _check_target(root, rule)
    if not (root / SETTINGS).exists():
        with replacing(root / SETTINGS) as temporary:
            temporary.write_text(_settings_text(rule), encoding="utf-8")
    remove_partial_files(root, depth=2)


def _convert_pair(
    image: pathlib.Path,
    sound: pathlib.Path,
    root: pathlib.Path,
    pair: Pair,
    write_sound: Callable[[pathlib.Path, pathlib.Path], str],
) -> tuple[str, str]:
    """Writes one pair; returns its outcome and the reason, "" for none."""
    convert = _conversion(image)
    ending = ".png" if convert else image.suffix.lower()
    image_copy = root / "vision" / pair.scene / f"{pair.stem}{ending}"
    sound_copy = root / "sound" / pair.scene / f"{pair.stem}.wav"
    outcome, reason, current = WRITTEN, "", image
    try:
        if _is_current(sound, sound_copy) and _is_current(image, image_copy):
            return UP_TO_DATE, ""
        if image.suffix.lower() not in CONVERTED_ENDINGS:
            _check_image(image)
        current = sound
        reason = _write(sound, sound_copy, lambda path: write_sound(sound, path))
        current = image
        write = convert or shutil.copyfile
        _write(image, image_copy, lambda path: write(image, path))
    except recordings.TooShortError as error:
        outcome, reason = TOO_SHORT, str(error)
    except (ValueError, soundfile.SoundFileError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        outcome, reason = BAD, f"{current}: {error}"
        if isinstance(error, recordings.RateError):
            reason += " with `rate_hz`"
    if outcome != WRITTEN:
        # An unpaired file in the folder would be an error for every command.
        sound_copy.unlink(missing_ok=True)
    for other_ending in pairing.IMAGE_ENDINGS:
        other = image_copy.with_name(pair.stem + other_ending)
        if outcome != WRITTEN or other_ending != ending:
            other.unlink(missing_ok=True)
    return outcome, reason


def _conversion(
    image: pathlib.Path,
) -> Callable[[pathlib.Path, pathlib.Path], None] | None:
    """The function that converts an image; None for one that is copied."""
    ending = image.suffix.lower()
    if ending in CONVERTED_ENDINGS:
        return convert_image
    if ending not in _FORMS_ENDINGS:
        return None
    # TensorFlow is loaded only for these formats.
    import tensorflow as tf

    from advance_tf.features.image_header import form_problem

    try:
        with image.open("rb") as file:
            start = file.read(_HEADER_BYTES)
    except OSError:
        # The check of the copied image raises it again.
        return None
    is_read = not form_problem(tf.constant(start)).numpy()
    return None if is_read else convert_form


def _is_current(source: pathlib.Path, copy: pathlib.Path) -> bool:
    """Whether `copy` was written from the current `source`: the times are equal."""
    return copy.exists() and copy.stat().st_mtime_ns == source.stat().st_mtime_ns


def _write(
    source: pathlib.Path, copy: pathlib.Path, write: Callable[[pathlib.Path], _T]
) -> _T:
    """Writes `copy` atomically, with the modification time of its source."""
    times = source.stat()
    with replacing(copy) as temporary:
        result = write(temporary)
        os.utime(temporary, ns=(times.st_atime_ns, times.st_mtime_ns))
    return result


def _check_image(path: pathlib.Path) -> None:
    """Raises ValueError unless the content of the file matches its extension."""
    with path.open("rb") as file:
        start = file.read(12)
    for prefix, endings in _IMAGE_SIGNATURES.items():
        if start.startswith(prefix) and (prefix != b"RIFF" or start[8:] == b"WEBP"):
            if path.suffix.lower() in endings:
                return
            raise ValueError(
                f"the image must have the extension {endings[0]} of its format; "
                f"received {path.suffix}. Rename it"
            )
    raise ValueError(
        f"the image must be JPEG, PNG, BMP or WebP; it begins with {start[:4]!r}. "
        "Convert it"
    )
