"""Slaney's mel scale and filters, and their product with spectrograms."""

import functools

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from advance_tf.config import FeatureConfig

# The Slaney scale is linear to 1 kHz and logarithmic above.
_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_LOG_STEP = np.log(6.4) / 27.0
# Adjacent bands whose filters are one dense matrix in `mel_product`.
_GROUP_BANDS = 16


def hz_to_mel(frequency_hz: npt.ArrayLike) -> np.ndarray:
    """Converts frequencies in Hz to Slaney's mel scale.

    >>> hz_to_mel([0, 1000, 6400]).round(3).tolist()
    [0.0, 15.0, 42.0]

    Args:
        frequency_hz: any shape, ≥ 0.

    Returns:
        float64 of the same shape, in mel.
    """
    hz = np.asarray(frequency_hz, np.float64)
    above = np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _HZ_PER_MEL, _BREAK_HZ / _HZ_PER_MEL + above)


def mel_to_hz(mel: npt.ArrayLike) -> np.ndarray:
    """Converts Slaney mels to Hz, the inverse of `hz_to_mel`.

    Args:
        mel: any shape, ≥ 0.

    Returns:
        float64 of the same shape, in Hz.
    """
    mel = np.asarray(mel, np.float64)
    break_mel = _BREAK_HZ / _HZ_PER_MEL
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mel - break_mel, 0))
    return np.where(mel < break_mel, mel * _HZ_PER_MEL, above)


@functools.cache
def mel_matrix(features: FeatureConfig) -> np.ndarray:
    """Returns Slaney's triangular mel filters, each with unit area.

    The matrices of Keras and tf.signal use another scale and no normalization,
    and differ from this one by up to 34 dB.

    >>> mel_matrix(FeatureConfig()).shape
    (2049, 64)

    Args:
        features: `sample_rate_hz`, `fft_length`, `mel_bins`, `mel_min_hz` and
            `mel_max_hz` are used.

    Returns:
        float32 [fft_length // 2 + 1, mel_bins], ≥ 0.

    Source: Slaney, "Auditory Toolbox", 1998, the default of the authors' code.
    """
    # [mel_bins + 2]
    edges = mel_to_hz(
        np.linspace(
            hz_to_mel(features.mel_min_hz),
            hz_to_mel(features.mel_max_hz),
            features.mel_bins + 2,
        )
    )
    bins = np.arange(features.fft_length // 2 + 1)
    frequencies = (bins * features.sample_rate_hz / features.fft_length)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    # [bins, mel_bins]
    rising = (frequencies - lower) / (centre - lower)
    falling = (upper - frequencies) / (upper - centre)
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return (triangles * 2.0 / (upper - lower)).astype(np.float32)


def mel_product(magnitude: tf.Tensor, features: FeatureConfig) -> tf.Tensor:
    """Applies the mel filters to magnitude spectrograms: |STFT(a)| M.

    A filter is zero outside a narrow range of frequencies. The product is computed
    for groups of adjacent bands, each with the bins of its own filters only, which
    leaves out most of the multiplications by zero.

    >>> mel_product(tf.ones((5, 2049)), FeatureConfig()).shape
    TensorShape([5, 64])

    Args:
        magnitude: float32 [..., fft_length // 2 + 1].
        features: settings of the filters.

    Returns:
        float32 [..., mel_bins].
    """
    products = [
        tf.matmul(magnitude[..., first:last], tf.constant(matrix))
        for first, last, matrix in _filter_groups(features)
    ]
    return tf.concat(products, axis=-1)


@functools.cache
def _filter_groups(features: FeatureConfig) -> list[tuple[int, int, np.ndarray]]:
    """First and last bin (exclusive) and filters [bins, bands] of groups of bands."""
    groups = []
    for band in range(0, features.mel_bins, _GROUP_BANDS):
        matrix = mel_matrix(features)[:, band : band + _GROUP_BANDS]
        used = np.flatnonzero(matrix.any(axis=1))
        # With a short transform, no bin may be within the filters of a group.
        first, last = (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
        groups.append((first, last, matrix[first:last]))
    return groups
