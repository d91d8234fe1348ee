"""t-SNE of made clusters, and its picture."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.visualization import embedding


def _clusters(each=20, events=527, seed=0):
    """Two clusters of event probabilities, far from each other."""
    rng = np.random.default_rng(seed)
    centres = rng.random((2, events))
    true = np.repeat([0, 1], each)
    noise = rng.normal(scale=0.02, size=(2 * each, events))
    return (centres[true] + noise).clip(0, 1).astype(np.float32), true


def test_far_clusters_stay_apart():
    probs, true = _clusters()
    points = embedding.embed(probs, seed=0)
    assert points.shape == (40, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    same = true[:, None] == true[None]
    assert distances[same].max() < distances[~same].min()


def test_one_seed_gives_one_picture():
    probs, _ = _clusters()
    first = embedding.embed(probs, seed=3)
    np.testing.assert_array_equal(first, embedding.embed(probs, seed=3))


def test_few_pairs_have_a_smaller_perplexity():
    for n in (4, 5, 13):
        points = embedding.embed(_clusters()[0][:n], seed=0)
        assert points.shape == (n, 2)
        assert np.isfinite(points).all()


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (np.zeros((3, 527)), r"at least 4 pairs; received \(3, 527\)"),
        (np.zeros(5), r"received \(5,\)"),
        (np.full((5, 4), np.nan), "must be finite"),
        (np.full((5, 4), 0.25), "the same events of all 5"),
    ],
)
def test_what_cannot_be_embedded_is_refused(probs, message):
    with pytest.raises(ValueError, match=message):
        embedding.embed(probs, seed=0)


def test_the_picture_has_every_pair_in_its_scene():
    points = np.arange(8.0).reshape(4, 2)
    figure = embedding.embedding_figure(
        points, [5, 0, 5, 12], labels.scenes(), title="a run", label="synthetic"
    )
    (axes,) = figure.axes
    drawn = {c.get_label(): c.get_offsets().tolist() for c in axes.collections}
    assert drawn == {
        "airport  (1)": [[2, 3]],
        "grassland  (2)": [[0, 1], [4, 5]],
        "train station  (1)": [[6, 7]],
    }
    assert axes.get_legend().get_title().get_text() == "scene  (pairs)"
    assert axes.get_title(loc="left") == "a run"
    assert figure.get_suptitle() == "synthetic"
