"""Tower weights as files: what fits is loaded whole, what does not is refused."""

import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models import weights
from advance_tf.models.recognizer import build_audio_tagger, build_recognizer
from advance_tf.models.resnet import build_resnet

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)
AUDIO = weights.TowerMetadata("audio", 18, 2)
MODEL = ModelConfig(image_depth=18, audio_depth=18, image_width=2, audio_width=2)


@pytest.fixture
def tagger_file(tmp_path):
    """A tagger with weights that are not those of its initialisation."""
    tagger = build_audio_tagger(MODEL, FEATURES)
    rng = np.random.default_rng(0)
    for variable in tagger.variables:
        variable.assign(rng.uniform(0.5, 1.5, variable.shape))
    path = tmp_path / "tagger.npz"
    head = tagger.get_layer("audio_event_head")
    weights.save_tower(path, tagger.get_layer("audio_tower"), AUDIO, head)
    return path, tagger


def changed(path, change):
    """The file with its arrays changed."""
    arrays, metadata = weights.read_weights(path)
    change(arrays)
    weights.save_arrays(path, arrays, metadata)


def test_a_tagger_is_built_again_from_its_file(tagger_file):
    path, tagger = tagger_file
    again = weights.load_audio_tagger(path, FEATURES)
    x = {"log_mel": np.random.default_rng(1).normal(size=(2, 20, 64)).astype("f")}
    np.testing.assert_array_equal(again(x)["event_logits"], tagger(x)["event_logits"])
    assert weights.read_weights(path)[1].outputs == 527


def test_a_tower_takes_the_body_and_leaves_the_head(tagger_file):
    path, tagger = tagger_file
    recognizer = build_recognizer(MODEL, FEATURES)
    seen = [v.numpy() for v in recognizer.get_layer("image_tower").variables]
    config = ModelConfig(**{**vars(MODEL), "audio_weights": str(path)})
    weights.load_pretrained(recognizer, config)
    expected = tagger.get_layer("audio_tower").variables
    found = recognizer.get_layer("audio_tower").variables
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        recognizer.get_layer("image_tower").variables, seen, strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        (weights.TowerMetadata("image", 18, 2), "Give it as --audio_weights"),
        (weights.TowerMetadata("audio", 34, 2), "--audio_depth=18"),
        (weights.TowerMetadata("audio", 18, 4), "--audio_width=2"),
    ],
)
def test_the_wrong_tower_depth_or_width_is_refused(tagger_file, wanted, named):
    tower = build_resnet(18, 2, (20, 64, 1), 1)
    with pytest.raises(ValueError, match=named):
        weights.load_tower(tagger_file[0], tower, wanted)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda a: a.pop("bn1/gamma"), "missing: bn1/gamma"),
        (lambda a: a.update(extra=np.zeros(2)), "too many: extra"),
        (
            lambda a: a.update({"conv1/kernel": np.zeros((7, 7, 1, 3))}),
            r"conv1/kernel is \(7, 7, 1, 3\)",
        ),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(tagger_file, change, named):
    changed(tagger_file[0], change)
    tower = build_resnet(18, 2, (20, 64, 1), 1)
    before = [variable.numpy() for variable in tower.variables]
    with pytest.raises(ValueError, match=named):
        weights.load_tower(tagger_file[0], tower, AUDIO)
    for variable, value in zip(tower.variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def test_a_missing_broken_or_foreign_file_is_named(tmp_path):
    with pytest.raises(ValueError, match="must exist; it does not"):
        weights.read_weights(tmp_path / "none.npz")
    (tmp_path / "broken.npz").write_bytes(b"PK\x03\x04 cut off")
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    for name in ("broken.npz", "foreign.npz"):
        with pytest.raises(ValueError, match="must be a file of tower weights"):
            weights.read_weights(tmp_path / name)


def test_a_tower_without_a_head_is_no_teacher(tmp_path):
    tower = build_resnet(18, 2, (20, 64, 1), 1, name="audio_tower")
    weights.save_tower(tmp_path / "tower.npz", tower, AUDIO)
    with pytest.raises(ValueError, match="must have a head of 527 events"):
        weights.load_audio_tagger(tmp_path / "tower.npz", FEATURES)


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must be written to \.npz"):
        weights.save_arrays(tmp_path / "tower.h5", {}, AUDIO)


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert weights.file_sha256(tmp_path / "a").startswith("ba7816bf8f01cfea")
