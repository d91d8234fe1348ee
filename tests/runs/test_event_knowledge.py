"""Event knowledge of other clips than those of the run."""

import dataclasses

import numpy as np
import pytest

from advance_tf.config import FeatureConfig
from advance_tf.data.advance import AdvanceDataset
from advance_tf.runs.event_knowledge import find_or_compute_knowledge
from advance_tf.runs.training import train
from advance_tf.teacher.knowledge import (
    compute_knowledge,
    load_knowledge,
    save_knowledge,
)
from tests.teacher.factories import StatisticTeacher
from tests.training import factories

HALF = FeatureConfig(image_size=32, clip_seconds=0.5)


@pytest.fixture(scope="module")
def dataset(fabricated_advance):
    manifest = factories.build_manifest(fabricated_advance, pairs=1)
    return AdvanceDataset(manifest, fabricated_advance)


def test_knowledge_of_other_clips_is_refused(dataset, tmp_path):
    computed = compute_knowledge(
        StatisticTeacher(), dataset, tmp_path / "knowledge", HALF, progress=False
    )
    loaded = load_knowledge(tmp_path / "knowledge", dataset.manifest)
    assert computed.clip == loaded.clip == (16_000, 0.5)
    config = dataset.configure(factories.build_config("", "kl_audio"))
    message = "of the clips of the run, 1 s; it is of 0.5 s. Use"
    with pytest.raises(ValueError, match=message):
        train(config, dataset, tmp_path / "run", knowledge=computed)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match=message):
        find_or_compute_knowledge(tmp_path / "knowledge", dataset.manifest, config)


def test_knowledge_of_another_rate_is_used(dataset, tmp_path):
    """A teacher at 16 kHz, a run at 32 kHz."""
    teacher = StatisticTeacher()
    teacher.sample_rate_hz = 16_000
    second = FeatureConfig(image_size=32, clip_seconds=1.0, sample_rate_hz=32_000)
    computed = compute_knowledge(teacher, dataset, tmp_path, second, progress=False)
    assert computed.clip == (16_000, 1.0)
    config = dataset.configure(factories.build_config("", "kl_audio"))
    config = dataclasses.replace(config, features=second)
    found = find_or_compute_knowledge(tmp_path, dataset.manifest, config)
    np.testing.assert_array_equal(found.posteriors, computed.posteriors)
    # The same clips at 16 kHz have the same key.
    again = dataclasses.replace(second, sample_rate_hz=16_000)
    scored = teacher.scored_clips
    compute_knowledge(teacher, dataset, tmp_path, again, progress=False)
    assert teacher.scored_clips == scored == len(dataset.manifest.pairs)


def test_knowledge_without_a_stated_clip_is_used(dataset, tmp_path):
    known = dataclasses.replace(
        factories.build_scene_knowledge(dataset.manifest), clip=None
    )
    save_knowledge(tmp_path, known, "0" * 16)
    config = dataset.configure(factories.build_config("", "kl_audio"))
    found = find_or_compute_knowledge(tmp_path, dataset.manifest, config)
    assert found.clip is None
    np.testing.assert_array_equal(found.posteriors, known.posteriors)
