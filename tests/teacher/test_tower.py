"""Our own audio tower as a teacher."""

import keras
import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize
from advance_tf.models.recognizer import build_audio_tagger
from advance_tf.teacher.tower import TowerTeacher

FEATURES = FeatureConfig(clip_seconds=1.0)


@pytest.fixture(scope="module")
def tagger():
    keras.utils.set_random_seed(0)
    return build_audio_tagger(ModelConfig(audio_depth=18, audio_width=4), FEATURES)


def test_logits_are_those_of_the_tagger_on_the_log_mel(tagger):
    teacher = TowerTeacher(tagger, FEATURES, "e" * 64)
    waves = np.float32(np.random.default_rng(0).normal(0, 0.1, (3, 16_000)))
    before = [variable.numpy() for variable in tagger.variables]
    received = teacher.logits(waves)
    log_mel = normalize(log_mel_db(waves, FEATURES), load_stats(FEATURES))
    expected = tagger({"log_mel": log_mel}, training=False)["event_logits"]
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-5)
    assert received.shape == (3, 527)
    assert np.ptp(received, axis=0).max() > 1e-3
    for variable, old in zip(tagger.variables, before, strict=True):
        np.testing.assert_array_equal(variable, old)
    assert teacher.event_mask.shape == (527,)
    assert teacher.event_mask.all()


def test_the_hash_changes_with_weights_and_hearing_only(tagger, tmp_path):
    def sha256(weights="e" * 64, **settings):
        features = FeatureConfig(clip_seconds=1.0, **settings)
        return TowerTeacher(tagger, features, weights).sha256

    stats = tmp_path / "stats.csv"
    rows = [f"{index},{-10 - index},{8}" for index in range(64)]
    stats.write_text("\n".join(["mel_bin,mean_db,std_db", *rows]) + "\n")
    hashes = [
        sha256(),
        sha256("f" * 64),
        sha256(window_samples=800),
        sha256(mel_max_hz=7600.0),
        sha256(log_mel_stats=str(stats)),
    ]
    moved = tmp_path / "moved.csv"
    moved.write_bytes(stats.read_bytes())
    stats.write_text(stats.read_text().replace(",8", ",9"))
    hashes.append(sha256(log_mel_stats=str(stats)))
    assert len(set(hashes)) == 6
    assert sha256(log_mel_stats=str(moved)) == hashes[4]
    assert sha256(image_size=64) == sha256()
