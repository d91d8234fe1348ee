"""Event knowledge: statistics of the training pairs, computed once and resumed."""

import dataclasses

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data import resumable_rows
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.pairing import Pair
from advance_tf.locks import lock_folder
from advance_tf.metrics.probabilities import sigmoid
from advance_tf.teacher import soft_labels
from advance_tf.teacher.knowledge import compute_knowledge, load_knowledge
from tests.teacher.factories import (
    MASK,
    StatisticTeacher,
    arrays_of,
    create_knowledge,
    create_manifest,
    random_logits,
    write_sounds,
)

MANIFEST = create_manifest()
PAIRS = MANIFEST.pairs
LOGITS = random_logits(MANIFEST)
TRAINING = np.array(MANIFEST.splits) == "training"
FEATURES = FeatureConfig(clip_seconds=0.5)


def knowledge_of(logits=LOGITS, manifest=MANIFEST):
    return create_knowledge(manifest, logits)


def test_posteriors_are_the_means_of_the_training_pairs():
    knowledge = knowledge_of()
    for index, scene in enumerate(labels.scenes()):
        own = TRAINING & np.array([pair.scene == scene for pair in MANIFEST.pairs])
        assert own.sum() == 2
        soft = 1 / (1 + np.exp(-np.float64(LOGITS[own])))
        expected = soft.mean(axis=0) * MASK
        np.testing.assert_allclose(knowledge.posteriors[index], expected, rtol=1e-6)
        lengths = [np.linalg.norm(d[index]) for d in knowledge.relevances.values()]
        np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_test_and_validation_pairs_do_not_affect_the_posteriors():
    other = np.where(TRAINING[:, None], LOGITS, 50 * random_logits(MANIFEST, 1))
    before, after = knowledge_of(), knowledge_of(other)
    np.testing.assert_array_equal(before.posteriors, after.posteriors)
    for mode, directions in before.relevances.items():
        np.testing.assert_array_equal(directions, after.relevance(mode))
    moved = np.where(~TRAINING[:, None], LOGITS, random_logits(MANIFEST, 1))
    assert np.abs(knowledge_of(moved).posteriors - before.posteriors).max() > 0.1


def test_scenes_of_test_pairs_do_not_affect_the_posteriors():
    scenes = labels.scenes()
    pairs = [
        pair if training else dataclasses.replace(pair, scene=scenes[0])
        for pair, training in zip(MANIFEST.pairs, TRAINING, strict=True)
    ]
    relabelled = dataclasses.replace(MANIFEST, pairs=tuple(pairs))
    np.testing.assert_array_equal(
        knowledge_of(manifest=relabelled).posteriors, knowledge_of().posteriors
    )


def test_events_that_the_teacher_does_not_cover_are_zero():
    changed = np.where(MASK, LOGITS, np.float32(30))
    for name, rows in arrays_of(knowledge_of(changed)).items():
        if name != "logits":
            assert not rows[:, ~MASK].any()
            np.testing.assert_array_equal(rows, arrays_of(knowledge_of())[name])


def test_targets_follow_the_order_of_the_pairs():
    chosen = [MANIFEST.pairs[index] for index in (9, 2, 30)]
    targets = knowledge_of().targets_for(chosen)
    np.testing.assert_array_equal(targets["teacher_logits"], LOGITS[[9, 2, 30]])
    expected = 1 / (1 + np.exp(-np.float64(LOGITS[[9, 2, 30]])))
    np.testing.assert_allclose(targets["soft_labels"], expected, rtol=1e-6)
    assert {rows.dtype.name for rows in targets.values()} == {"float32"}


def test_a_pair_without_soft_labels_is_named():
    unknown = Pair("99999", "beach", "99999", "a.jpg", "a.wav")
    with pytest.raises(ValueError, match=r"1 have none, the first is beach/99999"):
        knowledge_of().targets_for([MANIFEST.pairs[0], unknown])
    same_stem = dataclasses.replace(MANIFEST.pairs[0], scene="lake")
    with pytest.raises(ValueError, match="first is lake/"):
        knowledge_of().targets_for([same_stem])


def test_an_unknown_or_undefined_relevance_is_rejected():
    with pytest.raises(
        ValueError, match="^relevance must be one of gram, centered_pca"
    ):
        knowledge_of().relevance("pca")
    equal = knowledge_of(np.repeat(LOGITS[:1], len(LOGITS), axis=0))
    equal.relevance("gram")
    message = r"soft labels of airport, beach.* are all equal.*`relevance='gram'`"
    with pytest.raises(ValueError, match=message):
        equal.relevance("centered_pca")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    write_sounds(folder, MANIFEST, seconds=1.0)
    return folder


def compute(teacher, data_dir, knowledge_dir, manifest=MANIFEST):
    dataset = AdvanceDataset(manifest, data_dir)
    options = {"batch_size": 5, "progress": False}
    return compute_knowledge(teacher, dataset, knowledge_dir, FEATURES, **options)


def test_stored_soft_labels_are_reused(data_dir, tmp_path):
    first, second = StatisticTeacher(), StatisticTeacher()
    computed = compute(first, data_dir, tmp_path)
    reused = compute(second, data_dir, tmp_path)
    assert (first.scored_clips, second.scored_clips) == (len(PAIRS), 0)
    expected = soft_labels.compute_soft_labels(
        StatisticTeacher(), PAIRS, data_dir, FEATURES, progress=False
    )
    np.testing.assert_allclose(computed.teacher_logits, expected, rtol=1e-6)
    np.testing.assert_array_equal(reused.posteriors, computed.posteriors)
    loaded = load_knowledge(tmp_path, MANIFEST)
    np.testing.assert_array_equal(loaded.posteriors, computed.posteriors)
    np.testing.assert_array_equal(
        loaded.targets_for(PAIRS)["soft_labels"], sigmoid(computed.teacher_logits)
    )


def test_soft_labels_of_several_teachers_and_manifests_are_kept(data_dir, tmp_path):
    other_splits = type(MANIFEST)(PAIRS, MANIFEST.splits[::-1], "site", 1)

    def other_teacher():
        teacher = StatisticTeacher()
        teacher.sha256 = "d" * 64
        return teacher

    compute(StatisticTeacher(), data_dir, tmp_path)
    compute(other_teacher(), data_dir, tmp_path)
    compute(StatisticTeacher(), data_dir, tmp_path, other_splits)
    for teacher, manifest in (
        (other_teacher(), MANIFEST),
        (StatisticTeacher(), other_splits),
        (StatisticTeacher(), MANIFEST),
    ):
        compute(teacher, data_dir, tmp_path, manifest)
        assert teacher.scored_clips == 0
        loaded = load_knowledge(tmp_path, manifest)
        assert loaded.teacher_sha256 == teacher.sha256


def test_missing_posteriors_are_computed_from_stored_soft_labels(data_dir, tmp_path):
    computed = compute(StatisticTeacher(), data_dir, tmp_path)
    (tmp_path / "posteriors.npz").unlink()
    teacher = StatisticTeacher()
    compute(teacher, data_dir, tmp_path)
    assert teacher.scored_clips == 0
    loaded = load_knowledge(tmp_path, MANIFEST)
    np.testing.assert_array_equal(loaded.posteriors, computed.posteriors)


def test_an_interrupted_computation_is_resumed_and_chunks_are_removed(
    data_dir, tmp_path, monkeypatch
):
    monkeypatch.setattr(resumable_rows, "CHUNK_ROWS", 10)
    with pytest.raises(KeyboardInterrupt):
        compute(StatisticTeacher(fail_after=30), data_dir, tmp_path)
    teacher = StatisticTeacher()
    compute(teacher, data_dir, tmp_path)
    assert teacher.scored_clips == len(PAIRS) - 30
    assert sorted(path.suffix for path in tmp_path.glob("*.npz*")) == [".npz", ".npz"]


def test_damaged_soft_labels_are_rejected(data_dir, tmp_path):
    compute(StatisticTeacher(), data_dir, tmp_path)
    (path,) = tmp_path.glob("soft_labels-*.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"must be a complete file.*Remove it"):
        compute(StatisticTeacher(), data_dir, tmp_path)


def test_one_process_at_a_time_computes_in_a_folder(data_dir, tmp_path):
    teacher = StatisticTeacher()
    with lock_folder(tmp_path, "computation"):
        with pytest.raises(ValueError, match="One computation at a time may use"):
            compute(teacher, data_dir, tmp_path)
    assert teacher.scored_clips == 0
    assert {path.name for path in tmp_path.iterdir()} == {"computation.lock"}
