"""Images, sounds and streams → the inputs of an exported model, in NumPy.

The functions compute the inputs of training; a test compares them with
`advance_tf.features`.
"""

import functools
import math
import os
import pathlib
import struct
from typing import BinaryIO

import numpy as np
import soundfile
from PIL import Image

# Of a model whose metadata state no other.
SAMPLE_RATE_HZ, MAX_PIXELS = 16_000, 64_000_000
MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 8_000, 192_000, 8
# `read_image` has a limit of its own, which Pillow's must not undercut.
Image.MAX_IMAGE_PIXELS = None
_IMAGE_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
# The filter of training: zero crossings on each side, the shape parameter of its Kaiser
# window, the centre of its transition band as a fraction of the Nyquist frequency.
_CROSSINGS, _KAISER_BETA, _CUTOFF = 64, 9.5, 0.9525
# Outputs of the filter that one matrix product computes.
_GROUP = 64
# Largest magnitude of a sample, as in training; full scale is 1.
MAX_SAMPLE = 65_536
_BLOCK_FRAMES = 1 << 16
# Sizes that encoders write to a pipe, where the size is unknown.
UNKNOWN_SIZES = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0x7FFFFFF0)


def _windowed_sinc(offsets: np.ndarray, ratio: float) -> np.ndarray:
    """The filter at offsets in input samples, float32."""
    scaled = offsets * ratio
    root = np.sqrt(np.clip(1 - np.square(scaled / _CROSSINGS), 0, 1))
    window = np.i0(_KAISER_BETA * root) / np.i0(_KAISER_BETA)
    window *= np.abs(scaled) < _CROSSINGS
    return (_CUTOFF * ratio * np.sinc(_CUTOFF * scaled) * window).astype(np.float32)


def _rates(rate_hz: int, target_hz: int) -> tuple[int, int, int]:
    """Outputs and inputs of a period, and the inputs on each side of an output."""
    divisor = math.gcd(rate_hz, target_hz)
    up, down = target_hz // divisor, rate_hz // divisor
    return up, down, math.ceil(_CROSSINGS * max(1, down / up))


# Enough for the rates of recorders; the long filters of other rates are recomputed.
@functools.lru_cache(maxsize=8)
def _filter(
    rate_hz: int, target_hz: int, start: int, stop: int
) -> tuple[int, np.ndarray]:
    """First input of outputs start to stop, and their matrix [inputs, outputs]."""
    up, down, reach = _rates(rate_hz, target_hz)
    whole, rest = np.divmod(np.arange(start, stop) * down, up)
    taps = np.arange(whole[-1] - whole[0] + 2 * reach + 1)
    distances = (taps[:, None] - reach) - (whole - whole[0] + rest / up)
    return int(whole[0]), _windowed_sinc(distances, min(1.0, up / down))


def resample(
    waveform: np.ndarray, rate_hz: int, target_hz: int = SAMPLE_RATE_HZ
) -> np.ndarray:
    """Resamples a waveform: convolution with a Kaiser-windowed sinc.

        y[m] = Σ_n x[n] h(m · rate / target − n)

    Args:
        waveform: float32 [n].
        rate_hz: its sampling rate.
        target_hz: rate of the result, `sample_rate_hz` of the metadata.

    Returns:
        float32 [ceil(n · target / rate)]; samples outside the waveform are 0.
    """
    if rate_hz == target_hz:
        return waveform
    up, down, reach = _rates(rate_hz, target_hz)
    count = -(-len(waveform) * up // down)
    repeats = -(-_GROUP // up)
    period, step = up * repeats, down * repeats
    periods = -(-count // period)
    end = (periods + 1) * step - len(waveform) + reach + 1
    padded = np.pad(waveform.astype(np.float32), (reach, end))
    resampled = np.empty((periods, period), np.float32)
    for start in range(0, min(period, count), _GROUP):
        stop = min(start + _GROUP, period)
        first, matrix = _filter(rate_hz, target_hz, start, stop)
        inputs = first + np.arange(periods)[:, None] * step + np.arange(len(matrix))
        resampled[:, start:stop] = padded[inputs] @ matrix
    return resampled.reshape(-1)[:count]


def _clip_start(samples: int, clip_samples: int) -> int:
    """First sample of the central clip; computed in float32, as in training."""
    slack = max(samples - clip_samples, 0)
    return min(int(np.float32(0.5) * np.float32(slack + 1)), slack)


def fit_clip(waveform: np.ndarray, clip_samples: int) -> np.ndarray:
    """Repeats a shorter waveform, takes the centre of a longer one.

    Args:
        waveform: float32 [n], n ≥ 1.
        clip_samples: samples of the clip.

    Returns:
        float32 [clip_samples].
    """
    start = _clip_start(len(waveform), clip_samples)
    repeated = np.tile(waveform, -(-clip_samples // len(waveform)))
    return repeated[start : start + clip_samples]


def _centre_frames(
    frames: int, rate_hz: int, clip_samples: int, target_hz: int
) -> tuple[int, int, int]:
    """First and last frame that the clip depends on, and outputs before the clip.

    Only these frames of a long recording are read.
    """
    up, down, reach = _rates(rate_hz, target_hz)
    start = _clip_start(-(-frames * up // down), clip_samples)
    # Complete periods, so that the outputs keep their positions between the inputs.
    periods = max(0, start // up - -(-reach // down))
    end = (start + clip_samples) * down // up + reach + 1
    return periods * down, min(frames, end), start - periods * up


def _check_complete(path: pathlib.Path) -> None:
    """Raises ValueError for a WAV file with fewer bytes than its header states."""
    length = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(12)
        if start[:4] != b"RIFF" or start[8:] != b"WAVE":
            return
        while len(header := file.read(8)) == 8:
            tag, size = struct.unpack("<4sI", header)
            if tag == b"data":
                if size not in UNKNOWN_SIZES and file.tell() + size > length:
                    raise ValueError("it is truncated: bytes of its header are missing")
                return
            file.seek(size + size % 2, os.SEEK_CUR)


def read_sound(
    path: pathlib.Path, clip_samples: int, sample_rate_hz: int = SAMPLE_RATE_HZ
) -> np.ndarray:
    """The clip of a sound file, as in training.

    Args:
        path: WAV, or another format that libsndfile reads; 8 to 192 kHz, 1 to 8
            channels, which are averaged.
        clip_samples: samples of the clip.
        sample_rate_hz: rate of the clip, that of the model.

    Returns:
        float32 [clip_samples], in [-1, 1] for PCM.

    Raises:
        ValueError, OSError, RuntimeError: the file cannot be read.
    """
    _check_complete(path)
    with soundfile.SoundFile(path) as sound:
        rate_hz = sound.samplerate
        check_stream(rate_hz, sound.channels)
        _check_samples(sound)
        first, last, before = _centre_frames(
            sound.frames, rate_hz, clip_samples, sample_rate_hz
        )
        # A seek in MP3 corrupts the samples that follow in libsndfile: it is read from
        # its start, in one call.
        skipped = first if sound.format == "MP3" else 0
        if not skipped:
            sound.seek(first)
        frames = sound.read(last - first + skipped, dtype="float32", always_2d=True)
        frames = frames[skipped:]
    if not len(frames):
        raise ValueError("it holds no sample")
    resampled = resample(to_mono(frames), rate_hz, sample_rate_hz)
    return fit_clip(resampled[before:][:clip_samples], clip_samples)


def _check_samples(sound: soundfile.SoundFile) -> None:
    """Raises ValueError for samples beyond float32's spectra, in the whole file."""
    if sound.subtype not in ("FLOAT", "DOUBLE"):
        return
    for block in sound.blocks(_BLOCK_FRAMES, dtype="float32", always_2d=True):
        # The comparison is False for NaN.
        if not (np.abs(block) <= MAX_SAMPLE).all():
            raise ValueError(
                f"it has a sample that is NaN, infinite or beyond ±{MAX_SAMPLE}"
            )


def to_mono(frames: np.ndarray) -> np.ndarray:
    """The mean over channels, [n, channels] → [n]."""
    return frames.mean(axis=1, dtype=np.float32)


def check_stream(rate_hz: int, channels: int) -> None:
    """Raises ValueError for a rate or number of channels that is not supported."""
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise ValueError(
            f"its rate must be {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz; received {rate_hz}"
        )
    if not 1 <= channels <= MAX_CHANNELS:
        raise ValueError(f"it must have 1 to {MAX_CHANNELS} channels; has {channels}")


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(np.float32(1) - x, np.float32(0))


def _keys_cubic(x: np.ndarray) -> np.ndarray:
    """The bicubic filter of Keys with a = -0.5, for x ≥ 0."""
    x = x.astype(np.float32)
    near = ((np.float32(1.5) * x - np.float32(2.5)) * x) * x + np.float32(1)
    far = ((np.float32(-0.5) * x + np.float32(2.5)) * x - np.float32(4)) * x
    far = far + np.float32(2)
    return np.where(x < 1, near, np.where(x < 2, far, np.float32(0)))


# Interpolation → filter and its radius.
_FILTERS = {"bilinear": (_triangle, 1), "bicubic": (_keys_cubic, 2)}


def _filter_weights(
    inputs: int, outputs: int, method: str
) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights, [outputs, span] each, of the inputs of every output.

    Computed in float32, as in TensorFlow: a level halfway between two integers must
    be rounded in the same direction.
    """
    kernel, radius = _FILTERS[method]
    one, half = np.float32(1), np.float32(0.5)
    scale = one / (np.float32(outputs) / np.float32(inputs))
    width = max(scale, one)
    reach = np.float32(radius) * width
    centres = (np.arange(outputs, dtype=np.float32) + half) * scale
    first = np.clip(np.ceil(centres - reach - half), 0, inputs - 1).astype(int)
    last = np.clip(np.floor(centres + reach - half), 0, inputs - 1).astype(int)
    places = first[:, None] + np.arange((last - first).max() + 1)
    distances = places.astype(np.float32) + half - centres[:, None]
    weights = kernel(np.abs(distances * (one / width)))
    weights[places > last[:, None]] = 0
    total = np.zeros(outputs, np.float32)
    for column in weights.T:
        total += column
    return np.minimum(places, inputs - 1), weights * (one / total)[:, None]


def _resize_rows(image: np.ndarray, rows: int, method: str) -> np.ndarray:
    if method == "nearest":
        scale = np.float32(len(image)) / np.float32(rows)
        centres = (np.arange(rows, dtype=np.float32) + np.float32(0.5)) * scale
        return image[np.minimum(centres.astype(int), len(image) - 1)]
    if len(image) == rows:
        return image.astype(np.float32)
    resized = np.zeros((rows, *image.shape[1:]), np.float32)
    places, weights = _filter_weights(len(image), rows, method)
    for place, weight in zip(places.T, weights.T, strict=True):
        resized += weight[:, None, None] * image[place].astype(np.float32)
    return resized


def resize_image(
    image: np.ndarray, image_size: int, method: str = "bicubic"
) -> np.ndarray:
    """Resizes an image to a square with antialiasing and rounds to integers.

    Args:
        image: uint8 [H, W, 3].
        image_size: S in pixels.
        method: "bicubic", "bilinear" or "nearest".

    Returns:
        uint8 [S, S, 3]; the aspect ratio is not kept.
    """
    tall = _resize_rows(image, image_size, method)
    wide = _resize_rows(tall.swapaxes(0, 1), image_size, method).swapaxes(0, 1)
    return np.clip(np.round(wide), 0, 255).astype(np.uint8)


def read_image(
    path: pathlib.Path,
    image_size: int,
    method: str = "bicubic",
    *,
    jpeg_scaling: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """The image of a JPEG, PNG, BMP or WebP file; EXIF rotation is not applied.

    Args:
        path: of the file.
        image_size: S in pixels.
        method: interpolation, `image_resize` of the metadata.
        jpeg_scaling: decode a JPEG at 1/2, 1/4 or 1/8 of its size where both sides
            are then at least S.
        max_pixels: largest number of pixels, compared before the image is decoded.

    Returns:
        uint8 [S, S, 3], RGB.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    with Image.open(path, formats=_IMAGE_FORMATS) as picture:
        width, height = picture.size
        if width * height > max_pixels:
            raise ValueError(
                f"it must have at most {max_pixels} pixels; has {width} x {height}"
            )
        if jpeg_scaling:
            # Without effect on the other formats.
            picture.draft(None, (image_size, image_size))
        if picture.mode.startswith("I"):
            # The upper eight of 16 bits, as in TensorFlow.
            levels = (np.asarray(picture).astype(np.int64) >> 8).astype(np.uint8)
            levels = np.repeat(levels[..., None], 3, axis=-1)
        else:
            levels = np.asarray(picture.convert("RGB"))
        return resize_image(levels, image_size, method)


def windows(stream: BinaryIO, rate_hz: int, channels: int, every: int, kept: int):
    """Windows of the last frames of a PCM stream.

    Args:
        stream: signed 16-bit little-endian PCM, channels interleaved.
        rate_hz: frames in a second; at most so many are read at a time.
        channels: of a frame.
        every: frames from one window to the next.
        kept: frames of a window at most.

    Yields:
        Number of frames received, and the last of them, float32 [≤ kept, channels].
        A stream shorter than `every` yields one window with all frames.
    """
    last = np.zeros((0, channels), np.float32)
    received, due = 0, every
    while True:
        raw = stream.read(min(rate_hz, due - received) * 2 * channels)
        complete = raw[: len(raw) // (2 * channels) * 2 * channels]
        frames = np.frombuffer(complete, "<i2").reshape(-1, channels)
        last = np.concatenate([last, frames.astype(np.float32) / 32_768])[-kept:]
        received += len(frames)
        if received == due or (not frames.size and 0 < received < every):
            yield received, last
            due += every
        if not frames.size:
            return
