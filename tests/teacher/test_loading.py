"""Teachers of files, and the teacher that an audio tower starts from."""

import numpy as np
import pytest

from advance_tf.config import Config, FeatureConfig, ModelConfig
from advance_tf.teacher.loading import find_teacher, load_teacher
from advance_tf.teacher.yamnet_tower import YamnetTowerTeacher
from tests.models.backbones.test_yamnet import (
    keras_variables,
    write_h5,
    write_saved_model,
)

FEATURES = FeatureConfig(clip_seconds=0.975)


@pytest.mark.parametrize(
    ("name", "write"), [("yamnet.h5", write_h5), ("yamnet", write_saved_model)]
)
def test_keras_runs_the_published_weights(name, write, tmp_path):
    write(tmp_path / name, keras_variables(np.random.default_rng(4)))
    teacher = load_teacher(tmp_path / name, FEATURES)
    assert isinstance(teacher, YamnetTowerTeacher)
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 15_600)).astype(np.float32)
    found = teacher.logits(clips)
    other = YamnetTowerTeacher(tmp_path / name, FEATURES)
    np.testing.assert_array_equal(found, other.logits(clips))
    assert teacher.sha256 == other.sha256


def test_a_file_of_nothing_known_is_an_error(tmp_path):
    (tmp_path / "yamnet.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match="yamnet"):
        load_teacher(tmp_path / "yamnet.h5", FEATURES)
    with pytest.raises(ValueError, match=r"none\.npz"):
        load_teacher(tmp_path / "none.npz", FEATURES)


def test_teacher_is_the_network_that_the_audio_tower_starts_from(yamnet_file):
    def teacher_of(**settings):
        return find_teacher(Config(features=FEATURES, model=ModelConfig(**settings)))

    found = teacher_of(audio_backbone="yamnet", audio_weights=str(yamnet_file))
    assert isinstance(found, YamnetTowerTeacher)
    assert found.sha256 == YamnetTowerTeacher(yamnet_file, FEATURES).sha256
    assert teacher_of(audio_backbone="yamnet") is None
