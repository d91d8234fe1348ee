"""Recordings of any format that libsndfile reads → mono 16-bit WAV."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Iterable, Iterator

import numpy as np
import soundfile
import soxr

RATES_HZ = (8_000, 192_000)
_BLOCK_SAMPLES = 1 << 16
# An MP3 without a header says its length to within two of its frames only.
_CODEC_SAMPLES = 2 * 1152


class TooShortError(Exception):
    """The recording is shorter than the rule allows."""


@dataclasses.dataclass(frozen=True)
class ClipRule:
    """How a recording becomes a sound of the layout (Section 3 of the paper).

    Attributes:
        rate_hz: rate to resample to; 0: the recording's own.
        min_seconds: shorter recordings are dropped; ADVANCE: 2.
        clip_seconds: ADVANCE: 10. A recording that is no longer is repeated
            until it is, then a random piece of this length is cut out.
            0: the whole recording, which is repeated or cut when it is read.
        seed: of the random cut, together with the stem.
    """

    rate_hz: int = 0
    min_seconds: float = 2.0
    clip_seconds: float = 0.0
    seed: int = 0

    def __post_init__(self):
        low, high = RATES_HZ
        if self.rate_hz and not low <= self.rate_hz <= high:
            raise ValueError(
                f"--rate_hz must be 0 or from {low} to {high}; received {self.rate_hz}."
            )
        for name in ("min_seconds", "clip_seconds"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise ValueError(
                    f"--{name} must be finite and at least 0; received {value}."
                )


def write_wav(source: pathlib.Path, path: pathlib.Path, rule: ClipRule) -> None:
    """Writes a recording as mono 16-bit WAV, block by block (MP3: at once).

    The channels are averaged; resampling is soxr's at high quality; a sample x
    becomes round(32768 x), limited to 16 bits, so that 16-bit mono without
    resampling stays what it was.

    An MP3 of variable bit rate that lacks its header frame is only as long as
    libsndfile estimates; encode such files anew.

    Args:
        source: the recording.
        path: the WAV file to write.
        rule: rate, shortest length and cut.

    Raises:
        TooShortError: the recording is shorter than `rule.min_seconds`.
        ValueError: its rate is outside 8 to 192 kHz, it is cut off, empty or
            not finite.
        soundfile.SoundFileError: libsndfile cannot read it.
    """
    with soundfile.SoundFile(source) as sound:
        rate_hz = rule.rate_hz or sound.samplerate
        if not RATES_HZ[0] <= rate_hz <= RATES_HZ[1]:
            raise ValueError(
                f"the rate must be from {RATES_HZ[0]} to {RATES_HZ[1]} Hz; it is "
                f"{rate_hz} Hz. Give --rate_hz"
            )
        seconds = sound.frames / sound.samplerate
        if not sound.frames:
            raise ValueError("the recording must hold samples; it holds none")
        if seconds < rule.min_seconds:
            raise TooShortError(
                f"{source}: must last {rule.min_seconds:g} s; it lasts {seconds:.2f} s"
            )
        with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_16", format="WAV") as wav:
            blocks = _clip_blocks(sound, rule, source.stem)
            for block in _resampled(blocks, sound.samplerate, rate_hz):
                wav.write(_to_int16(block))


def _clip_blocks(sound, rule: ClipRule, stem: str) -> Iterator[np.ndarray]:
    """The mono blocks of what the rule keeps of a recording."""
    clip_samples = round(rule.clip_seconds * sound.samplerate)
    blocks = _mono_blocks(sound)
    if not clip_samples:
        return blocks
    offset = _unit_interval(f"{rule.seed}:{stem}")
    if sound.frames > clip_samples:
        start = round(offset * (sound.frames - clip_samples))
        return _cut(blocks, start, start + clip_samples)
    once = np.concatenate(list(blocks))
    repeated = np.tile(once, clip_samples // len(once) + 1)
    start = round(offset * (len(repeated) - clip_samples))
    return _cut([repeated], start, start + clip_samples)


def _cut(blocks: Iterable[np.ndarray], start: int, stop: int) -> Iterator[np.ndarray]:
    """Samples `start` to `stop` of blocks in a row."""
    position = 0
    for block in blocks:
        yield block[max(start - position, 0) : max(stop - position, 0)]
        position += len(block)
        if position >= stop:
            return


def _unit_interval(key: str) -> float:
    """A number in [0, 1) drawn by a hash, the same on every machine."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def _mono_blocks(sound) -> Iterator[np.ndarray]:
    """A whole recording, float32 [n] a block, averaged over the channels.

    soundfile seeks after every read, and libsndfile's seeking in MP3 garbles the
    samples that follow. Such a recording is therefore one block, and none is
    entered in its middle.
    """
    block_samples = sound.frames if sound.format == "MP3" else _BLOCK_SAMPLES
    missing = sound.frames
    while missing:
        block = sound.read(min(missing, block_samples), "float32", always_2d=True)
        if not len(block) and missing <= _CODEC_SAMPLES:
            return
        if not len(block):
            raise ValueError(
                f"the recording must hold as many samples as it says; {missing} are "
                "missing at its end"
            )
        if not np.isfinite(block).all():
            raise ValueError("the recording must hold finite samples only")
        missing -= len(block)
        yield block.mean(axis=1)


def _resampled(
    blocks: Iterator[np.ndarray], source_hz: int, target_hz: int
) -> Iterator[np.ndarray]:
    if source_hz == target_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(source_hz, target_hz, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _to_int16(block: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(block * 32768.0), -32768, 32767).astype(np.int16)
