"""Hearing every pair once: centre cut, order, resumption, errors, reuse."""

import numpy as np
import pytest

from advance_tf.config import FeatureConfig
from advance_tf.teacher import soft_labels as module
from advance_tf.teacher.knowledge import load_knowledge, sigmoid
from advance_tf.teacher.lesson import summary, teach
from advance_tf.teacher.soft_labels import compute_soft_labels, soft_labels_key
from tests.teacher.made import (
    EVENTS,
    StatisticTeacher,
    expected_logits,
    made_manifest,
    write_sounds,
)

FEATURES = FeatureConfig(clip_seconds=0.5)
MANIFEST = made_manifest()
PAIRS = MANIFEST.pairs
QUIET = {"batch_size": 5, "progress": False}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    write_sounds(folder, MANIFEST, seconds=1.0)
    return folder


@pytest.fixture(scope="module")
def expected():
    """Logits of the central half second of each second."""
    clips = []
    for index in range(len(PAIRS)):
        samples = 3000 * np.random.default_rng(index).normal(size=16_000)
        whole = samples.clip(-32768, 32767).astype("<i2") / 32768
        clips.append(whole[4000:12000])
    return expected_logits(clips)


def test_every_pair_is_heard_at_its_centre_in_order(data_dir, expected):
    teacher = StatisticTeacher()
    heard = compute_soft_labels(teacher, PAIRS, data_dir, FEATURES, **QUIET)
    assert heard.dtype == np.float32
    np.testing.assert_allclose(heard, expected, rtol=1e-4)
    assert teacher.heard == len(PAIRS)


def test_an_interrupted_hearing_goes_on(data_dir, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART_PAIRS", 10)
    options = {**QUIET, "parts_dir": tmp_path / "parts"}
    broken = StatisticTeacher(fail_after=25)
    with pytest.raises(KeyboardInterrupt):
        compute_soft_labels(broken, PAIRS, data_dir, FEATURES, **options)
    kept = sorted(path.name for path in (tmp_path / "parts").iterdir())
    assert kept == ["00000000.npy", "00000010.npy"]
    teacher = StatisticTeacher()
    heard = compute_soft_labels(teacher, PAIRS, data_dir, FEATURES, **options)
    assert teacher.heard == len(PAIRS) - 20
    np.testing.assert_allclose(heard, expected, rtol=1e-4)
    again = StatisticTeacher()
    compute_soft_labels(again, PAIRS, data_dir, FEATURES, **options)
    assert again.heard == 0


@pytest.mark.parametrize(
    "contents", [b"", b"no array", np.zeros((3, EVENTS)), np.zeros((0, EVENTS), "f")]
)
def test_broken_parts_are_refused(data_dir, tmp_path, contents):
    path = tmp_path / "00000000.npy"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        np.save(path, contents)
    options = {**QUIET, "parts_dir": tmp_path}
    with pytest.raises(ValueError, match="Remove the folder that it is in"):
        compute_soft_labels(StatisticTeacher(), PAIRS, data_dir, FEATURES, **options)


def test_parts_of_more_pairs_are_refused(data_dir, tmp_path):
    np.save(tmp_path / "00000000.npy", np.zeros((3, EVENTS), np.float32))
    options = {**QUIET, "parts_dir": tmp_path}
    with pytest.raises(ValueError, match="more than 2 rows"):
        compute_soft_labels(
            StatisticTeacher(), PAIRS[:2], data_dir, FEATURES, **options
        )


def test_bad_sounds_and_bad_logits_name_the_file(data_dir, tmp_path):
    with pytest.raises(ValueError, match=PAIRS[0].sound):
        compute_soft_labels(StatisticTeacher(), PAIRS, tmp_path, FEATURES, **QUIET)

    class Nan(StatisticTeacher):
        def logits(self, waveforms):
            found = super().logits(waveforms)
            found[2, 3] = np.nan if self.heard == 10 else 0
            return found

    with pytest.raises(ValueError, match=f"those of {PAIRS[7].sound} are not"):
        compute_soft_labels(Nan(), PAIRS, data_dir, FEATURES, **QUIET)

    class Narrow(StatisticTeacher):
        def logits(self, waveforms):
            return super().logits(waveforms)[:, :521]

    with pytest.raises(ValueError, match=r"logits \[5, 527\]; received \[5, 521\]"):
        compute_soft_labels(Narrow(), PAIRS, data_dir, FEATURES, **QUIET)


def test_the_key_changes_with_all_that_is_heard():
    features = FeatureConfig()
    keys = {
        soft_labels_key("a", "b", features),
        soft_labels_key("c", "b", features),
        soft_labels_key("a", "c", features),
        soft_labels_key("a", "b", FeatureConfig(clip_seconds=5.0)),
        soft_labels_key("a", "b", FeatureConfig(sample_rate_hz=22_050)),
    }
    assert len(keys) == 5
    same = FeatureConfig(image_size=64)
    assert soft_labels_key("a", "b", features) == soft_labels_key("a", "b", same)


def lesson(teacher, data_dir, knowledge_dir, manifest=MANIFEST):
    return teach(teacher, manifest, data_dir, FEATURES, knowledge_dir, **QUIET)


def test_a_second_lesson_hears_nothing(data_dir, expected, tmp_path):
    first, second = StatisticTeacher(), StatisticTeacher()
    taught = lesson(first, data_dir, tmp_path)
    again = lesson(second, data_dir, tmp_path)
    assert (first.heard, second.heard) == (len(PAIRS), 0)
    np.testing.assert_allclose(taught.teacher_logits, expected, rtol=1e-4)
    np.testing.assert_array_equal(again.posteriors, taught.posteriors)
    loaded = load_knowledge(tmp_path, MANIFEST)
    np.testing.assert_array_equal(loaded.posteriors, taught.posteriors)
    np.testing.assert_allclose(
        loaded.targets_for(PAIRS)["soft_labels"], sigmoid(expected), rtol=1e-4
    )


def test_teachers_and_manifests_take_turns_without_hearing_again(data_dir, tmp_path):
    other_splits = type(MANIFEST)(PAIRS, MANIFEST.splits[::-1], "site", 1)

    def other_teacher():
        teacher = StatisticTeacher()
        teacher.sha256 = "d" * 64
        return teacher

    lesson(StatisticTeacher(), data_dir, tmp_path)
    lesson(other_teacher(), data_dir, tmp_path)
    lesson(StatisticTeacher(), data_dir, tmp_path, other_splits)
    for teacher, manifest in (
        (other_teacher(), MANIFEST),
        (StatisticTeacher(), other_splits),
        (StatisticTeacher(), MANIFEST),
    ):
        lesson(teacher, data_dir, tmp_path, manifest)
        assert teacher.heard == 0
        loaded = load_knowledge(tmp_path, manifest)
        assert loaded.teacher_sha256 == teacher.sha256


def test_a_lesson_that_lost_its_posteriors_makes_them_again(data_dir, tmp_path):
    taught = lesson(StatisticTeacher(), data_dir, tmp_path)
    (tmp_path / "posteriors.npz").unlink()
    teacher = StatisticTeacher()
    lesson(teacher, data_dir, tmp_path)
    assert teacher.heard == 0
    loaded = load_knowledge(tmp_path, MANIFEST)
    np.testing.assert_array_equal(loaded.posteriors, taught.posteriors)


def test_an_interrupted_lesson_goes_on_and_clears_up(data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_PART_PAIRS", 10)
    with pytest.raises(KeyboardInterrupt):
        lesson(StatisticTeacher(fail_after=30), data_dir, tmp_path)
    teacher = StatisticTeacher()
    lesson(teacher, data_dir, tmp_path)
    assert teacher.heard == len(PAIRS) - 30
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".npz", ".npz"]


def test_damaged_soft_labels_are_refused(data_dir, tmp_path):
    lesson(StatisticTeacher(), data_dir, tmp_path)
    (path,) = tmp_path.glob("soft_labels-*.npz")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"must be a whole file.*Remove it"):
        lesson(StatisticTeacher(), data_dir, tmp_path)


def test_the_summary_names_what_stands_out(data_dir, tmp_path):
    knowledge = lesson(StatisticTeacher(), data_dir, tmp_path)
    posteriors = np.full_like(knowledge.posteriors, 0.25)
    posteriors[12, 0] = 0.75
    object.__setattr__(knowledge, "posteriors", posteriors)
    lines = summary(knowledge, top=1).splitlines()
    assert len(lines) == 13
    assert lines[12].split() == ["train", "station:", "Speech", "0.750"]
