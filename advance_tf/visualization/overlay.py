"""Activation maps laid over what they are of, as pixels."""

import numpy as np
import tensorflow as tf

FOR = (214, 40, 30)
AGAINST = (30, 90, 220)
_STRONGEST = 0.8
# Grey levels of what lies below a map: neither end hides a colour.
_DARKEST, _BRIGHTEST = 35, 235


def _interpolation(cells: int, size: int, shown: int) -> np.ndarray:
    """Weights [shown, cells] of each cell at each shown pixel.

    A cell is `stride` samples wide, the smallest power of two that `cells` of
    cover the input. Padding is alike on both sides, so that the receptive field
    of cell i is centred on sample i · stride, not on (i + ½) · stride.
    """
    stride = 2 ** np.ceil(np.log2(size / cells))
    samples = (np.arange(shown) + 0.5) * size / shown - 0.5
    places = np.clip(samples / stride, 0, cells - 1)
    units = np.eye(cells)
    return np.stack([np.interp(places, np.arange(cells), unit) for unit in units], 1)


def upsample(activation, size: tuple[int, int], shown: tuple[int, int]) -> np.ndarray:
    """A map at the places where the tower looked, bilinear in between.

    Args:
        activation: [h, w], M of one example.
        size: height and width of the tower's input, or frames and mel bands.
        shown: height and width of the picture of that input.

    Returns:
        float64 [*shown], within the range of the map.
    """
    activation = np.asarray(activation, np.float64)
    rows = _interpolation(activation.shape[0], size[0], shown[0])
    columns = _interpolation(activation.shape[1], size[1], shown[1])
    return rows @ activation @ columns.T


def image_picture(image) -> np.ndarray:
    """An image in grey of middle levels: every colour on it is a map's.

    Args:
        image: [H, W, 3], levels 0..255.

    Returns:
        uint8 [H, W, 3].
    """
    return _grey(np.asarray(image, np.float64) @ (0.299, 0.587, 0.114) / 255)


def _grey(brightness: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of a brightness in [0, 1]."""
    levels = _DARKEST + (_BRIGHTEST - _DARKEST) * brightness
    return np.repeat(np.rint(levels)[..., None], 3, axis=-1).astype(np.uint8)


def log_mel_picture(log_mel_db, shown: tuple[int, int]) -> np.ndarray:
    """A log-mel spectrogram in grey: time to the right, frequency upward.

    Args:
        log_mel_db: [frames, mel_bins] in dB; the darkest grey is its minimum, the
            brightest its maximum.
        shown: height and width in pixels.

    Returns:
        uint8 [*shown, 3].
    """
    decibel = np.asarray(log_mel_db, np.float32)
    span = max(float(np.ptp(decibel)), 1e-6)
    upward = ((decibel - decibel.min()) / span).T[::-1, :, None]
    resized = tf.image.resize(upward, shown, "bilinear", antialias=True)
    return _grey(resized.numpy()[..., 0])


def largest(activations) -> float:
    """The common scale of maps: the largest |M| of all, 1 where all are zero."""
    return max((float(np.abs(map_).max()) for map_ in activations), default=0) or 1.0


def overlay(picture, activation, scale: float) -> np.ndarray:
    """A map over a picture: red speaks for the scene, blue against it.

    The colour covers 0.8 · |M| / scale of the picture, so that what says nothing
    stays grey. One scale for several maps makes them comparable.

    Args:
        picture: uint8 [H, W, 3].
        activation: [H, W], the map at every pixel.
        scale: |M| of full colour, for example of `largest`.

    Returns:
        uint8 [H, W, 3].
    """
    share = np.clip(np.asarray(activation) / scale, -1, 1)[..., None]
    cover = _STRONGEST * np.abs(share)
    color = np.where(share > 0, np.array(FOR), np.array(AGAINST))
    return np.rint((1 - cover) * picture + cover * color).astype(np.uint8)


def image_overlay(image, activation, size: int, scale: float) -> np.ndarray:
    """The map M_v over its image.

    Args:
        image: [H, W, 3], levels 0..255, at any resolution.
        activation: [h, w].
        size: side of the tower's input in pixels.
        scale: |M| of full colour.

    Returns:
        uint8 [H, W, 3].
    """
    shown = np.shape(image)[:2]
    wide = upsample(activation, (size, size), (shown[0], shown[1]))
    return overlay(image_picture(image), wide, scale)


def log_mel_overlay(
    log_mel_db, activation, shown: tuple[int, int], scale: float
) -> np.ndarray:
    """The map M_a over its log-mel spectrogram.

    Args:
        log_mel_db: [frames, mel_bins] in dB.
        activation: [t, f].
        shown: height and width in pixels.
        scale: |M| of full colour.

    Returns:
        uint8 [*shown, 3], time to the right, frequency upward.
    """
    wide = upsample(activation, np.shape(log_mel_db), shown[::-1])
    return overlay(log_mel_picture(log_mel_db, shown), wide.T[::-1], scale)
