"""Soft labels: central clip, order, resumption, errors and keys."""

from typing import ClassVar

import numpy as np
import pytest

from advance_tf.config import FeatureConfig
from advance_tf.data import resumable_rows
from advance_tf.teacher.soft_labels import compute_soft_labels, soft_labels_key
from tests.teacher.factories import (
    EVENTS,
    StatisticTeacher,
    create_manifest,
    expected_logits,
    write_sounds,
)

FEATURES = FeatureConfig(clip_seconds=0.5)
MANIFEST = create_manifest()
PAIRS = MANIFEST.pairs
OPTIONS = {"batch_size": 5, "progress": False}


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
        recording = samples.clip(-32768, 32767).astype("<i2") / 32768
        clips.append(recording[4000:12000])
    return expected_logits(clips)


def test_the_central_clip_of_every_pair_is_scored_in_order(data_dir, expected):
    teacher = StatisticTeacher()
    received = compute_soft_labels(teacher, PAIRS, data_dir, FEATURES, **OPTIONS)
    assert received.dtype == np.float32
    np.testing.assert_allclose(received, expected, rtol=1e-4)
    assert teacher.scored_clips == len(PAIRS)


def test_a_teacher_scores_clips_at_its_own_rate(data_dir, expected):
    class Measuring(StatisticTeacher):
        lengths: ClassVar = set()

        def logits(self, waveforms):
            self.lengths.add(waveforms.shape[1])
            return super().logits(waveforms)

    class At16kHz(Measuring):
        sample_rate_hz = 16_000

    features = FeatureConfig(clip_seconds=0.5, sample_rate_hz=32_000, mel_max_hz=15e3)
    received = compute_soft_labels(At16kHz(), PAIRS, data_dir, features, **OPTIONS)
    np.testing.assert_allclose(received, expected, rtol=1e-4)
    assert Measuring.lengths == {8_000}
    compute_soft_labels(Measuring(), PAIRS[:2], data_dir, features, **OPTIONS)
    assert Measuring.lengths == {8_000, 16_000}


def test_an_interrupted_computation_is_resumed(
    data_dir, expected, tmp_path, monkeypatch
):
    monkeypatch.setattr(resumable_rows, "CHUNK_ROWS", 10)
    options = {**OPTIONS, "chunks_dir": tmp_path / "chunks"}
    interrupted = StatisticTeacher(fail_after=25)
    with pytest.raises(KeyboardInterrupt):
        compute_soft_labels(interrupted, PAIRS, data_dir, FEATURES, **options)
    chunks = sorted(path.name for path in (tmp_path / "chunks").iterdir())
    assert chunks == ["00000000.npy", "00000010.npy"]
    teacher = StatisticTeacher()
    received = compute_soft_labels(teacher, PAIRS, data_dir, FEATURES, **options)
    assert teacher.scored_clips == len(PAIRS) - 20
    np.testing.assert_allclose(received, expected, rtol=1e-4)
    complete = StatisticTeacher()
    compute_soft_labels(complete, PAIRS, data_dir, FEATURES, **options)
    assert complete.scored_clips == 0


@pytest.mark.parametrize(
    "contents", [b"", b"no array", np.zeros((3, EVENTS)), np.zeros((0, EVENTS), "f")]
)
def test_invalid_chunks_are_rejected(data_dir, tmp_path, contents):
    path = tmp_path / "00000000.npy"
    if isinstance(contents, bytes):
        path.write_bytes(contents)
    else:
        np.save(path, contents)
    options = {**OPTIONS, "chunks_dir": tmp_path}
    with pytest.raises(ValueError, match="Remove its folder and run `advance teach`"):
        compute_soft_labels(StatisticTeacher(), PAIRS, data_dir, FEATURES, **options)


def test_chunks_of_more_pairs_are_rejected(data_dir, tmp_path):
    np.save(tmp_path / "00000000.npy", np.zeros((3, EVENTS), np.float32))
    options = {**OPTIONS, "chunks_dir": tmp_path}
    with pytest.raises(ValueError, match="more than 2 rows"):
        compute_soft_labels(
            StatisticTeacher(), PAIRS[:2], data_dir, FEATURES, **options
        )


def test_invalid_sounds_and_logits_name_the_file(data_dir, tmp_path):
    with pytest.raises(ValueError, match=PAIRS[0].sound):
        compute_soft_labels(StatisticTeacher(), PAIRS, tmp_path, FEATURES, **OPTIONS)

    class NanTeacher(StatisticTeacher):
        def logits(self, waveforms):
            logits = super().logits(waveforms)
            logits[2, 3] = np.nan if self.scored_clips == 10 else 0
            return logits

    with pytest.raises(ValueError, match=f"those of {PAIRS[7].sound} are not"):
        compute_soft_labels(NanTeacher(), PAIRS, data_dir, FEATURES, **OPTIONS)

    class NarrowTeacher(StatisticTeacher):
        def logits(self, waveforms):
            return super().logits(waveforms)[:, :521]

    with pytest.raises(ValueError, match=r"logits \[5, 527\]; received \[5, 521\]"):
        compute_soft_labels(NarrowTeacher(), PAIRS, data_dir, FEATURES, **OPTIONS)


def test_the_key_changes_with_teacher_manifest_and_clip():
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
