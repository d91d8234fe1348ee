"""The distance against the covariance and its inverse written out."""

import numpy as np

from advance_tf.models.embedding_distance import fit_distance


def test_distance_is_that_of_the_inverse_covariance():
    rng = np.random.default_rng(0)
    scenes = np.arange(60) % 3
    values = rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6)) + 5 * scenes[:, None]
    distance = fit_distance(values, scenes, rank=2)
    z = (values - values.mean(0)) / values.std(0)
    means = np.stack([z[scenes == k].mean(0) for k in range(3)])
    within = z - means[scenes]
    covariance = within.T @ within / (60 - 3)
    eigenvalues, vectors = np.linalg.eigh(covariance)
    rest = eigenvalues[:4].mean()
    variances = np.concatenate([np.full(4, rest), eigenvalues[4:]])
    inverse = vectors @ np.diag(1 / variances) @ vectors.T
    others = rng.normal(size=(5, 6)) * 4
    offsets = ((others - values.mean(0)) / values.std(0))[:, None] - means
    squares = np.einsum("nkd,de,nke->nk", offsets, inverse, offsets)
    expected = np.sqrt(squares.min(1) / 6)
    found = distance(others.astype(np.float32)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_threshold_is_a_quantile_of_other_pairs_and_constants_are_no_error():
    rng = np.random.default_rng(1)
    values = rng.normal(size=(50, 4))
    values[:, 3] = 2.0
    others = rng.normal(size=(30, 4))
    others[:, 3] = 2.0
    distance = fit_distance(values, np.zeros(50)).with_threshold(others, 0.9)
    found = distance(others.astype(np.float32)).numpy()
    assert distance.threshold == np.sort(found)[27]
    assert np.isfinite(found).all()
    single = fit_distance(np.ones((5, 3)), np.zeros(5))
    assert np.isfinite(single(np.zeros((1, 3), np.float32)).numpy()).all()
