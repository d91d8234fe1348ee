"""Activation maps drawn over images and log-mel spectrograms, as pixels."""

from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from advance_tf.models.backbones.contract import CellCentres, MapCentres, equal_parts

POSITIVE = (214, 40, 30)
NEGATIVE = (30, 90, 220)
_MAX_OPACITY = 0.8
# Grey levels below a map: the colours stay visible at both ends.
_DARKEST, _BRIGHTEST = 35, 235


def _interpolation(
    cells: int, size: int, pixels: int, centres: CellCentres | None
) -> np.ndarray:
    """Weights [pixels, cells] of each cell at each displayed pixel."""
    step, offset = centres or equal_parts(size, cells)
    samples = (np.arange(pixels) + 0.5) * size / pixels - 0.5  # [pixels]
    positions = np.clip((samples - offset) / step, 0, cells - 1)  # [pixels], in cells
    units = np.eye(cells)
    return np.stack(
        [np.interp(positions, np.arange(cells), unit) for unit in units], axis=1
    )


def upsample(
    activation: ArrayLike,
    size: tuple[int, int],
    shape: tuple[int, int],
    centres: MapCentres | None = None,
) -> np.ndarray:
    """Interpolates a map bilinearly between the centres of its receptive fields.

    Args:
        activation: [h, w], M of one example.
        size: height and width of the tower's input, or frames and mel bands.
        shape: height and width of the picture of that input in pixels.
        centres: centres of the rows and columns of the map, see
            `Backbone.map_centres`; None for equal parts of the input.

    Returns:
        float64 [*shape], within the range of the map.

    >>> upsample([[0.0, 1.0]], (1, 4), (1, 4))
    array([[0.  , 0.25, 0.75, 1.  ]])
    """
    activation = np.asarray(activation, np.float64)  # [h, w]
    rows, columns = (
        _interpolation(*axis)
        for axis in zip(
            activation.shape, size, shape, centres or (None, None), strict=True
        )
    )  # [H, h] and [W, w]
    return rows @ activation @ columns.T


def grey_image(image: ArrayLike) -> np.ndarray:
    """Converts an image to medium grey levels, so that only maps have colours.

    Args:
        image: [H, W, 3], levels in [0, 255].

    Returns:
        uint8 [H, W, 3], levels in [35, 235].
    """
    return _grey(np.asarray(image, np.float64) @ (0.299, 0.587, 0.114) / 255)


def _grey(brightness: np.ndarray) -> np.ndarray:
    """Converts a brightness [H, W] in [0, 1] to uint8 [H, W, 3]."""
    levels = _DARKEST + (_BRIGHTEST - _DARKEST) * brightness
    return np.repeat(np.rint(levels)[..., None], 3, axis=-1).astype(np.uint8)


def grey_log_mel(log_mel_db: ArrayLike, shape: tuple[int, int]) -> np.ndarray:
    """Draws a log-mel spectrogram in grey, time to the right, frequency upward.

    Args:
        log_mel_db: [frames, mel_bins] in dB; the darkest grey is its minimum, the
            brightest its maximum.
        shape: height and width in pixels.

    Returns:
        uint8 [*shape, 3], levels in [35, 235].
    """
    decibel = np.asarray(log_mel_db, np.float32)
    span = max(float(np.ptp(decibel)), 1e-6)
    upward = ((decibel - decibel.min()) / span).T[::-1, :, None]  # [F, T, 1]
    resized = tf.image.resize(upward, shape, "bilinear", antialias=True)
    return _grey(resized.numpy()[..., 0])


def common_scale(activations: Iterable[np.ndarray]) -> float:
    """The largest |M| of several maps; 1 where all are zero.

    >>> common_scale([np.array([1.0, -3.0]), np.array([2.0])])
    3.0
    """
    return max((float(np.abs(map_).max()) for map_ in activations), default=0) or 1.0


def overlay(picture: ArrayLike, activation: ArrayLike, scale: float) -> np.ndarray:
    """Draws a map over a picture: red where M > 0, blue where M < 0.

    The opacity of the colour is 0.8 · |M| / scale, so that the picture stays grey
    where M is 0. Maps with one scale are comparable.

    Args:
        picture: uint8 [H, W, 3].
        activation: [H, W], the map at every pixel.
        scale: |M| of the full colour, for example of `common_scale`.

    Returns:
        uint8 [H, W, 3].
    """
    share = np.clip(np.asarray(activation) / scale, -1, 1)[..., None]  # [H, W, 1]
    opacity = _MAX_OPACITY * np.abs(share)
    color = np.where(share > 0, np.array(POSITIVE), np.array(NEGATIVE))
    blend = (1 - opacity) * np.asarray(picture) + opacity * color  # [H, W, 3]
    return np.rint(blend).astype(np.uint8)


def image_overlay(
    image: ArrayLike,
    activation: ArrayLike,
    size: int,
    scale: float,
    centres: MapCentres | None = None,
) -> np.ndarray:
    """Draws the map M_v over its image.

    Args:
        image: [H, W, 3], levels in [0, 255], at any resolution.
        activation: [h, w].
        size: side of the tower's input in pixels.
        scale: |M| of the full colour.
        centres: as for `upsample`.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = np.shape(image)[:2]
    at_pixels = upsample(activation, (size, size), (height, width), centres)
    return overlay(grey_image(image), at_pixels, scale)


def log_mel_overlay(
    log_mel_db: ArrayLike,
    activation: ArrayLike,
    shape: tuple[int, int],
    scale: float,
    centres: MapCentres | None = None,
) -> np.ndarray:
    """Draws the map M_a over its log-mel spectrogram.

    Args:
        log_mel_db: [frames, mel_bins] in dB.
        activation: [t, f].
        shape: height and width in pixels.
        scale: |M| of the full colour.
        centres: as for `upsample`.

    Returns:
        uint8 [*shape, 3], time to the right, frequency upward.
    """
    frames, mel_bins = np.shape(log_mel_db)
    size = (frames, mel_bins)
    at_pixels = upsample(activation, size, shape[::-1], centres)  # [T, F]
    return overlay(grey_log_mel(log_mel_db, shape), at_pixels.T[::-1], scale)
