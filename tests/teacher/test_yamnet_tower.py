"""YAMNet in Keras as teacher."""

import numpy as np

from advance_tf.config import FeatureConfig
from advance_tf.models.backbones.yamnet_network import build_yamnet, event_indices
from advance_tf.teacher.models import (
    SMALLEST_SCORE,
    score_logits,
    teacher_features,
)
from advance_tf.teacher.yamnet_tower import YamnetTowerTeacher
from tests.models.backbones.test_yamnet import random_weights, set_weights

FEATURES = FeatureConfig(clip_seconds=0.975)


def test_a_run_may_have_another_rate(yamnet_file):
    features = FeatureConfig(clip_seconds=0.975, sample_rate_hz=32_000)
    teacher = YamnetTowerTeacher(yamnet_file, features)
    assert teacher_features(teacher, features).clip_samples == 15_600
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 15_600)).astype(np.float32)
    expected = YamnetTowerTeacher(yamnet_file, FEATURES)
    np.testing.assert_array_equal(teacher.logits(clips), expected.logits(clips))
    assert teacher.sha256 == expected.sha256


def test_scores_are_those_of_the_covered_events(yamnet_file):
    teacher = YamnetTowerTeacher(yamnet_file, FEATURES)
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 15_600)).astype(np.float32)
    found = teacher.logits(clips)
    tower = set_weights(build_yamnet(15_600, "scores"), random_weights())
    expected = score_logits(tower(clips))
    assert found.shape == (2, 527)
    np.testing.assert_allclose(found[:, event_indices()], expected, atol=1e-3)
    covered = np.isin(np.arange(527), event_indices())
    np.testing.assert_array_equal(teacher.event_mask, covered)
    assert (found[:, ~covered] == score_logits(SMALLEST_SCORE)).all()
