"""Posteriors and relevance against NumPy and scikit-learn."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from advance_tf.teacher import posteriors
from advance_tf.teacher.posteriors import (
    centered_pca_direction,
    event_posteriors,
    event_relevance,
    gram_direction,
    summarize_posteriors,
)
from tests.imports import ROOT

RNG = np.random.default_rng(5)
NAMES = ("beach", "forest", "lake")
SOFT = RNG.beta(0.3, 6, (40, 30))
SCENES = RNG.integers(0, 3, 40)
AUTHORS = ROOT / "tests/golden/authors_event_knowledge.npz"


def rows_of_scene(scene):
    return SOFT[np.flatnonzero(np.equal(SCENES, scene))]


def test_posteriors_are_means_by_scene():
    expected = np.zeros((3, 30))
    for scene in range(3):
        rows = [row for row, index in zip(SOFT, SCENES, strict=True) if index == scene]
        expected[scene] = sum(rows) / len(rows)
    received = event_posteriors(np.float32(SOFT), SCENES, NAMES)
    assert received.dtype == np.float64
    np.testing.assert_allclose(received, expected, rtol=1e-6)


@pytest.mark.parametrize("compute", [event_posteriors, event_relevance])
def test_a_scene_without_pairs_has_the_rows_of_all(compute):
    scenes = np.where(SCENES == 1, 2, SCENES)
    received = compute(SOFT, scenes, NAMES)
    (expected,) = compute(SOFT, np.zeros(len(SOFT), int), ["all"])
    np.testing.assert_allclose(received[1], expected, atol=1e-12)
    for scene in (0, 2):
        (own,) = compute(SOFT[scenes == scene], np.zeros(sum(scenes == scene)), ["own"])
        np.testing.assert_allclose(received[scene], own, atol=1e-12)
    with pytest.raises(ValueError, match="must be a training pair .* received none"):
        compute(SOFT[:0], SCENES[:0], NAMES)


@pytest.mark.parametrize("rows", [1, 5, 60])
def test_gram_is_the_eigenvector_of_the_largest_eigenvalue(rows):
    probs = RNG.beta(0.3, 6, (rows, 30))
    values, vectors = np.linalg.eigh(probs.T @ probs)
    direction = gram_direction(probs)
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-12)
    assert direction.min() > -1e-12
    np.testing.assert_allclose(direction, np.abs(vectors[:, -1]), atol=1e-9)
    np.testing.assert_allclose(
        probs.T @ (probs @ direction), values[-1] * direction, atol=1e-9
    )


def test_centered_pca_is_the_first_component_with_the_sign_of_its_furthest_row():
    for seed in range(20):
        probs = np.random.default_rng(seed).beta(0.3, 6, (25, 30))
        direction = centered_pca_direction(probs)
        component = PCA(1, svd_solver="full").fit(probs).components_[0]
        np.testing.assert_allclose(
            direction * np.sign(direction @ component), component, atol=1e-9
        )
        along = (probs - probs.mean(axis=0)) @ direction
        assert along[np.abs(along).argmax()] > 0


def test_both_modes_use_the_rows_of_each_scene_only():
    directions = {"gram": gram_direction, "centered_pca": centered_pca_direction}
    for mode, direction in directions.items():
        received = event_relevance(SOFT, SCENES, NAMES, mode)
        for scene in range(3):
            expected = direction(rows_of_scene(scene))
            np.testing.assert_allclose(received[scene], expected, atol=1e-12)
    with pytest.raises(ValueError, match="one of gram, centered_pca; received 'pca'"):
        event_relevance(SOFT, SCENES, NAMES, "pca")


def test_equal_rows_have_no_principal_component():
    equal = np.repeat(RNG.random((1, 30)), 4, axis=0)
    assert np.isnan(centered_pca_direction(equal)).all()
    np.testing.assert_allclose(
        gram_direction(equal), equal[0] / np.linalg.norm(equal[0]), atol=1e-12
    )


def test_the_authors_vectors_have_unit_length_and_an_arbitrary_sign():
    with np.load(AUTHORS) as authors:
        directions = authors["relevance_centred_pca"].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, rtol=1e-5)
    largest = np.take_along_axis(
        directions, np.abs(directions).argmax(axis=1)[:, None], axis=1
    )
    assert (largest < 0).sum() == 4


def test_summary_lists_the_events_with_the_largest_excess():
    posteriors = np.full((13, 527), 0.25, np.float32)
    posteriors[12, 0] = 0.75
    lines = summarize_posteriors(posteriors, top=1).splitlines()
    assert len(lines) == 13
    assert lines[12].split() == ["train", "station:", "Speech", "0.750"]


def test_many_rows_are_summed_in_blocks(monkeypatch):
    """More rows than events, in several blocks, against NumPy's decomposition."""
    monkeypatch.setattr(posteriors, "BLOCK_ROWS", 7)
    rows = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    exact = np.float64(rows)
    expected = np.abs(np.linalg.svd(exact)[2][0])
    np.testing.assert_allclose(gram_direction(rows), expected, rtol=1e-12)
    centred = exact - exact.mean(axis=0)
    component = np.linalg.svd(centred)[2][0]
    coordinates = centred @ component
    sign = np.sign(coordinates[np.abs(coordinates).argmax()])
    found = centered_pca_direction(rows)
    np.testing.assert_allclose(found, sign * component, rtol=1e-10)
    means = event_posteriors(rows, np.arange(40) % 2, ["beach", "forest"])
    np.testing.assert_allclose(means[1], exact[1::2].mean(axis=0), rtol=1e-14)
