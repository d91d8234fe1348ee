"""Mel filters: edges, area, and the product in groups of bands."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features import mel


def test_filters_have_unit_area_and_slaney_edges():
    matrix = mel.mel_matrix(FeatureConfig())
    assert matrix.shape == (2049, 64)
    # Area in Hz; the width of a bin is 16000 / 4096 Hz.
    np.testing.assert_allclose(matrix.sum(0)[8:] * 16_000 / 4096, 1, rtol=0.02)
    np.testing.assert_allclose(mel.hz_to_mel([0, 1000, 6400]), [0, 15, 42])
    hz = np.array([0, 440, 1000, 3000, 8000])
    np.testing.assert_allclose(mel.mel_to_hz(mel.hz_to_mel(hz)), hz)


@pytest.mark.parametrize(
    ("settings", "empty"),
    [
        ({}, False),
        ({"mel_bins": 1}, False),
        ({"mel_bins": 37, "mel_min_hz": 300.0, "mel_max_hz": 7000.0}, False),
        # No bin lies within the filters of the first bands.
        ({"mel_bins": 400, "window_samples": 256, "fft_length": 256}, True),
    ],
)
def test_product_equals_the_dense_product(settings, empty):
    features = FeatureConfig(**settings)
    matrix = mel.mel_matrix(features).astype(np.float64)
    assert (~matrix.any(axis=0)[:16]).any() == empty
    rng = np.random.default_rng(0)
    magnitude = rng.gamma(0.1, size=(2, 5, len(matrix))).astype(np.float32)
    found = mel.mel_product(tf.constant(magnitude), features).numpy()
    np.testing.assert_allclose(found, magnitude @ matrix, rtol=1e-5, atol=1e-12)


def test_product_multiplies_few_zeros():
    bins = [(last - first) for first, last, _ in mel._filter_groups(FeatureConfig())]
    # Without the bins at the edges, which two groups share.
    assert 2047 < sum(bins) < 2400
