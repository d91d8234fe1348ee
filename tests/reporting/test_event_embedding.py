"""t-SNE of generated clusters, its figure, and the files of the projector."""

import csv

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from advance_tf import labels
from advance_tf.reporting import event_embedding
from advance_tf.reporting.event_embedding import write_projector

METADATA = {"stem": ["00001", "00002_1"], "scene": ["lake", "a\tb\nc"]}


def _clusters(each=20, events=527, seed=0):
    """Two distant clusters of event probabilities."""
    rng = np.random.default_rng(seed)
    centres = rng.random((2, events))
    true = np.repeat([0, 1], each)
    noise = rng.normal(scale=0.02, size=(2 * each, events))
    return (centres[true] + noise).clip(0, 1).astype(np.float32), true


def test_distant_clusters_stay_separate():
    probs, true = _clusters()
    points = event_embedding.embed(probs, seed=0)
    assert points.shape == (40, 2)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    same = true[:, None] == true[None]
    assert distances[same].max() < distances[~same].min()


def test_equal_seeds_give_equal_coordinates():
    probs, _ = _clusters()
    first = event_embedding.embed(probs, seed=3)
    np.testing.assert_array_equal(first, event_embedding.embed(probs, seed=3))


def test_few_pairs_use_a_smaller_perplexity():
    for n in (4, 5, 13):
        points = event_embedding.embed(_clusters()[0][:n], seed=0)
        assert points.shape == (n, 2)
        assert np.isfinite(points).all()


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        (np.zeros((3, 527)), r"at least 4 pairs; received \(3, 527\)"),
        (np.zeros(5), r"received \(5,\)"),
        (np.full((5, 4), np.nan), "must be finite"),
        (np.full((5, 4), 0.25), "the same events for all 5 pairs"),
    ],
)
def test_embed_rejects_unusable_probabilities(probs, message):
    with pytest.raises(ValueError, match=message):
        event_embedding.embed(probs, seed=0)


def test_figure_has_every_pair_in_its_scene():
    points = np.arange(8.0).reshape(4, 2)
    figure = event_embedding.embedding_figure(
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


def _config(folder):
    text = (folder / "projector_config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, ProjectorConfig())


def test_projector_files_restore_all_values(tmp_path):
    probs = np.random.default_rng(0).random((2, 7)).astype(np.float32)
    write_projector(tmp_path, probs, METADATA, label='synthetic; ü: "x"')
    (found,) = _config(tmp_path).embeddings
    assert list(found.tensor_shape) == [2, 7]
    assert found.tensor_name == 'event probabilities (synthetic; ü: "x")'
    tensors = np.loadtxt(tmp_path / found.tensor_path, np.float32, delimiter="\t")
    np.testing.assert_array_equal(tensors, probs)
    with (tmp_path / found.metadata_path).open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    assert rows == [["stem", "scene"], ["00001", "lake"], ["00002_1", "a b c"]]


def test_equal_values_give_equal_bytes(tmp_path):
    probs = np.random.default_rng(0).random((2, 7)).astype(np.float32)
    for name in "ab":
        write_projector(tmp_path / name, probs, METADATA)
    files = [sorted((tmp_path / name).iterdir()) for name in "ab"]
    assert len(files[0]) == 3
    for first, second in zip(*files, strict=True):
        assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    assert _config(tmp_path / "a").embeddings[0].tensor_name == "event probabilities"


@pytest.mark.parametrize(
    "metadata", [{}, {"stem": ["a", "b"]}, {"stem": ["a", "b"], "scene": ["a"]}]
)
def test_projector_rejects_mismatched_metadata(tmp_path, metadata):
    with pytest.raises(ValueError, match="two or more columns of 2 texts"):
        write_projector(tmp_path / "new", np.zeros((2, 3)), metadata)
    assert not (tmp_path / "new").exists()
