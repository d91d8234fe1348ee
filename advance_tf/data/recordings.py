"""Conversion of recordings that libsndfile reads to mono 16-bit WAV."""

import dataclasses
import errno
import hashlib
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from advance_tf.config import MAX_RATE_HZ, MAX_SAMPLE, MIN_RATE_HZ
from advance_tf.config_fields import store_floats
from advance_tf.data.truncation import missing_end

_BLOCK_SAMPLES = 1 << 16
# The length of an MP3 without a header frame is known to within two of its frames.
_LENGTH_TOLERANCE_SAMPLES = 2 * 1152
_TRUNCATED = "Copy or download it again, or set `allow_truncated=True`"


class TooShortError(Exception):
    """The recording is shorter than `ClipRule.min_seconds`."""


class RateError(ValueError):
    """The sampling rate of the recording is outside 8 to 192 kHz."""


@dataclasses.dataclass(frozen=True)
class ClipRule:
    """Settings of the conversion of a recording to a clip (Section 3 of the paper).

    Attributes:
        rate_hz: sampling rate to resample to, 8,000 to 192,000 Hz; 0 keeps the rate
            of the recording.
        min_seconds: shorter recordings are dropped; 2 in ADVANCE.
        clip_seconds: length of a random cut in seconds; 10 in ADVANCE. A shorter
            recording is repeated until it is longer. 0 keeps the complete recording,
            which is repeated or cut when it is read.
        seed: seed of the random cut, used together with the stem.

    Raises:
        ValueError: a value is out of range.
    """

    rate_hz: int = 0
    min_seconds: float = 2.0
    clip_seconds: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        store_floats(self)
        if self.rate_hz and not MIN_RATE_HZ <= self.rate_hz <= MAX_RATE_HZ:
            raise ValueError(
                f"rate_hz must be 0 or from {MIN_RATE_HZ} to {MAX_RATE_HZ}; received "
                f"{self.rate_hz}."
            )
        for name in ("min_seconds", "clip_seconds"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"{name} must be finite and at least 0; received {value}."
                )


def write_wav(
    source: pathlib.Path,
    path: pathlib.Path,
    rule: ClipRule,
    *,
    allow_truncated: bool = False,
) -> str:
    """Writes a recording as mono 16-bit WAV.

    The channels are averaged; soxr resamples at high quality; a sample x becomes
    round(32768 x), clipped to 16 bits, so that a 16-bit mono recording that is not
    resampled is preserved exactly. Recordings are processed in blocks, except MP3.

    libsndfile estimates the length of an MP3 of variable bit rate that lacks its
    header frame; samples beyond the estimate are lost. Encode such files again.

    Args:
        source: the recording.
        path: the WAV file to write.
        rule: sampling rate, minimum length and cut.
        allow_truncated: convert what is there of a recording that ends before its
            header states.

    Returns:
        What is missing at the end of a truncated recording; "" for a complete one.

    Raises:
        TooShortError: the recording is shorter than `rule.min_seconds`.
        RateError: the sampling rate is outside 8 to 192 kHz.
        ValueError: the recording is truncated, empty or not finite.
        soundfile.SoundFileError: libsndfile cannot read the file.
        OSError: the file cannot be written, with an errno of `files.DISK_ERRORS` if the
            disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     source = pathlib.Path(folder) / "stereo.flac"
        ...     soundfile.write(source, np.zeros((88_200, 2)), 44_100)
        ...     path = pathlib.Path(folder) / "mono.wav"
        ...     _ = write_wav(source, path, ClipRule(rate_hz=16_000, clip_seconds=10))
        ...     samples, rate_hz = soundfile.read(path)
        >>> samples.shape, rate_hz
        ((160000,), 16000)
    """
    missing = missing_end(source)
    if missing and not allow_truncated:
        raise ValueError(f"the recording must be complete; {missing}. {_TRUNCATED}")
    with soundfile.SoundFile(source) as sound:
        rate_hz = rule.rate_hz or sound.samplerate
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise RateError(
                f"the sampling rate must be from {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz; it "
                f"is {rate_hz} Hz. Resample it"
            )
        recording, stated = _open(source, sound, allow_truncated), sound.frames
        if not recording.frames:
            raise ValueError("the recording must contain samples; it has none")
        seconds = recording.frames / sound.samplerate
        if seconds < rule.min_seconds:
            raise TooShortError(
                f"{source}: the recording must last {rule.min_seconds:g} s; it lasts "
                f"{seconds:.2f} s"
            )
        clip_samples = round(rule.clip_seconds * sound.samplerate)
        offset = _unit_interval(f"{rule.seed}:{source.stem}")
        blocks = _clip_blocks(recording, clip_samples, offset)
        _write(path, _resampled(blocks, sound.samplerate, rate_hz), rate_hz)
    if not missing and recording.frames < stated - _LENGTH_TOLERANCE_SAMPLES:
        missing = f"{stated - recording.frames} samples are missing at the end"
    return missing


def _write(path: pathlib.Path, blocks: Iterable[np.ndarray], rate_hz: int) -> None:
    """Writes blocks of samples; OSError if the disk is full."""
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="WAV") as wav:
        for block in blocks:
            samples = _to_int16(block)
            try:
                wav.write(samples)
            except soundfile.SoundFileError as error:
                # The error of libsndfile is the same as that of a damaged file.
                if shutil.disk_usage(path.parent).free < 2 * samples.nbytes:
                    raise OSError(
                        errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent)
                    ) from error
                raise


class _Recording(NamedTuple):
    """The mono blocks of a recording, float32 [n] each, and the sum of all n."""

    blocks: Iterator[np.ndarray]
    frames: int


def _open(
    source: pathlib.Path, sound: soundfile.SoundFile, allow_truncated: bool
) -> _Recording:
    if not allow_truncated:
        return _Recording(_mono_blocks(sound), sound.frames)
    # How much is there of a truncated recording is known when it has been read. It is
    # opened twice, because the blocks of hours of sound exceed the memory.
    with soundfile.SoundFile(source) as again:
        frames = sum(map(len, _mono_blocks(again, allow_truncated=True)))
    return _Recording(_mono_blocks(sound, allow_truncated=True), frames)


def _clip_blocks(
    recording: _Recording, clip_samples: int, offset: float
) -> Iterator[np.ndarray]:
    """The mono blocks of a cut of `clip_samples`; of everything where that is 0."""
    if not clip_samples:
        return recording.blocks
    if recording.frames > clip_samples:
        start = round(offset * (recording.frames - clip_samples))
        return _cut(recording.blocks, start, start + clip_samples)
    once = np.concatenate(list(recording.blocks))
    repeated = np.tile(once, clip_samples // len(once) + 1)
    start = round(offset * (len(repeated) - clip_samples))
    return _cut([repeated], start, start + clip_samples)


def _cut(blocks: Iterable[np.ndarray], start: int, stop: int) -> Iterator[np.ndarray]:
    """Samples `start` to `stop` of consecutive blocks."""
    position = 0
    for block in blocks:
        yield block[max(start - position, 0) : max(stop - position, 0)]
        position += len(block)
        if position >= stop:
            return


def _unit_interval(key: str) -> float:
    """A pseudo-random number in [0, 1) from a hash, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def _mono_blocks(
    sound: soundfile.SoundFile, *, allow_truncated: bool = False
) -> Iterator[np.ndarray]:
    """The recording in blocks, float32 [n] each, averaged over the channels.

    soundfile seeks after every read, and a seek in MP3 corrupts the samples that
    follow in libsndfile. An MP3 is therefore a single block, read from its start.
    """
    # Small blocks lose less of the end of a truncated recording.
    block_samples = _BLOCK_SAMPLES >> 4 if allow_truncated else _BLOCK_SAMPLES
    if sound.format == "MP3":
        block_samples = sound.frames
    missing = sound.frames
    while missing:
        try:
            block = sound.read(min(missing, block_samples), "float32", always_2d=True)
        except soundfile.SoundFileError:
            # libsndfile stops in the frame of FLAC that is cut off.
            if allow_truncated and missing < sound.frames:
                return
            raise
        if not len(block) and (allow_truncated or missing <= _LENGTH_TOLERANCE_SAMPLES):
            return
        if not len(block):
            raise ValueError(
                "the recording must have as many samples as its header states; "
                f"{missing} are missing at the end. {_TRUNCATED}"
            )
        # Comparisons with NaN are False.
        if not (np.abs(block) <= MAX_SAMPLE).all():
            raise ValueError(
                f"the recording must have finite samples within ±{MAX_SAMPLE:.0f} "
                "only; full scale is 1"
            )
        missing -= len(block)
        yield block.mean(axis=1)


def _resampled(
    blocks: Iterator[np.ndarray], source_hz: int, target_hz: int
) -> Iterator[np.ndarray]:
    """Blocks at another sampling rate, resampled as one stream."""
    if source_hz == target_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_hz, target_hz, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _to_int16(block: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16, clipped."""
    return np.clip(np.rint(block * 32768.0), -32768, 32767).astype(np.int16)
