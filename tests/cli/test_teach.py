"""`advance teach` with a small tower as teacher."""

import keras
import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.data.manifest import Manifest
from advance_tf.models.recognizer import build_audio_tagger
from advance_tf.models.weights import TowerMetadata, save_tower
from advance_tf.teacher.knowledge import load_knowledge
from tests.commands import run_command


def teach(*flags):
    """Exit status, standard output and standard error."""
    return run_command("teach", "--clip_seconds=1", *flags)


@pytest.fixture(scope="module")
def tower(tmp_path_factory):
    keras.utils.set_random_seed(1)
    model = ModelConfig(audio_depth=10, audio_width=4)
    tagger = build_audio_tagger(model, FeatureConfig(clip_seconds=1.0))
    path = tmp_path_factory.mktemp("weights") / "tower.npz"
    save_tower(
        path,
        tagger.get_layer("audio_tower"),
        TowerMetadata("audio", 10, 4),
        tagger.get_layer("audio_event_head"),
    )
    return path


def test_soft_labels_are_computed_once(fabricated_advance, tower, tmp_path):
    flags = [f"--data_dir={fabricated_advance}", f"--workdir={tmp_path}"]
    status, printed, error = teach(*flags, f"--teacher={tower}", "--batch_size=32")
    assert status == 0, error
    assert "train station:" in printed
    assert f"130 pairs is in {tmp_path / 'event_knowledge'}" in printed
    manifest = Manifest.load(tmp_path / "manifest.csv")
    knowledge = load_knowledge(tmp_path / "event_knowledge", manifest)
    assert knowledge.teacher == "tower"
    training = np.array(manifest.splits) == "training"
    beaches = np.array([pair.scene == "beach" for pair in manifest.pairs])
    soft = knowledge.targets_for(manifest.pairs)["soft_labels"]
    np.testing.assert_allclose(
        knowledge.posteriors[1], soft[training & beaches].mean(axis=0), rtol=1e-5
    )
    (stored,) = (tmp_path / "event_knowledge").glob("soft_labels-*.npz")
    before = stored.stat().st_mtime_ns
    status, again, error = teach(*flags, f"--teacher={tower}")
    assert (status, again) == (0, printed), error
    assert stored.stat().st_mtime_ns == before


def test_missing_flags_are_named(fabricated_advance, tower, tmp_path):
    data, work = f"--data_dir={fabricated_advance}", f"--workdir={tmp_path}"
    for flags, message in (
        ([data, f"--teacher={tower}"], "--workdir must name"),
        ([work, f"--teacher={tower}"], "--data_dir must name"),
        ([data, work], "--teacher must be an existing file"),
    ):
        status, _, error = teach(*flags)
        assert status == 1
        assert message in error
    assert not list(tmp_path.iterdir())


def test_processes_share_the_soft_labels(fabricated_advance, tower, tmp_path):
    common = [f"--data_dir={fabricated_advance}", f"--teacher={tower}"]
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    assert teach(*common, f"--workdir={alone}")[0] == 0
    flags = [*common, f"--workdir={shared}"]
    # 130 pairs are one part: that of the first process.
    status, printed, error = teach(*flags, "--shard=1/2")
    assert status == 0, error
    assert "1 of others" in printed
    status, printed, error = teach(*flags, "--shard=0/2")
    assert status == 0, error
    assert "Event knowledge of 130 pairs" in printed
    first, second = (
        load_knowledge(
            folder / "event_knowledge", Manifest.load(folder / "manifest.csv")
        )
        for folder in (alone, shared)
    )
    np.testing.assert_array_equal(first.teacher_logits[:], second.teacher_logits[:])
    np.testing.assert_array_equal(first.posteriors, second.posteriors)
