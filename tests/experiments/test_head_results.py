"""Results of heads: compared with settings, split, weights files and teacher."""

import dataclasses
import hashlib
import json

import pytest

from advance_tf.checksums import replacing_checked
from advance_tf.data.manifest import make_manifest
from advance_tf.experiments.head_results import is_trained, read_result, write_result
from advance_tf.experiments.scheduler import RESULT
from advance_tf.runs.workdir import KNOWLEDGE
from advance_tf.teacher.knowledge import save_knowledge
from advance_tf.training.checkpoint import Progress
from tests.experiments.factories import open_small_study
from tests.experiments.test_frozen_heads import FROZEN
from tests.training.factories import build_scene_knowledge


@pytest.fixture
def study(tmp_path, fabricated_advance):
    weights = tmp_path / "audio.npz"
    weights.write_bytes(b"first")
    return open_small_study(
        tmp_path, fabricated_advance, audio_weights=str(weights), **FROZEN
    )


def test_results_belong_to_weights_files_and_teacher(study, tmp_path):
    manifest = make_manifest(study.config.data)
    known = build_scene_knowledge(manifest)
    save_knowledge(study.workdir / KNOWLEDGE, known, "0" * 16)
    recipes = ("table1_event", "table1_both", "table1_image")
    jobs = [study.job(recipe, 0) for recipe in recipes]

    def trained():
        return [is_trained(job, manifest) for job in jobs]

    assert trained() == [False] * 3
    for job in jobs:
        write_result(job, manifest, Progress(3, 2, 0.5))
    assert trained() == [True] * 3
    stored = read_result(jobs[0])
    first = hashlib.sha256(b"first").hexdigest()
    assert stored["initial_weights"] == {"audio": first}
    assert stored["teacher_sha256"] == known.teacher_sha256
    assert (stored["epochs"], stored["best_epoch"], stored["best_score"]) == (3, 2, 0.5)
    # The image tower alone has other weights.
    (tmp_path / "audio.npz").write_bytes(b"replaced")
    assert trained() == [False, False, True]
    (tmp_path / "audio.npz").write_bytes(b"first")
    assert trained() == [True] * 3
    other = dataclasses.replace(known, teacher_sha256="1" * 64)
    save_knowledge(study.workdir / KNOWLEDGE, other, "1" * 16)
    assert trained() == [False, True, True]


def test_results_of_earlier_versions_state_neither(study, tmp_path):
    manifest, job = make_manifest(study.config.data), study.job("table1_both", 0)
    write_result(job, manifest, Progress(3, 2, 0.5))
    stored = read_result(job)
    for name in ("initial_weights", "teacher_sha256"):
        del stored[name]
    with replacing_checked(job.workdir / RESULT) as temporary:
        temporary.write_text(json.dumps(stored))
    (tmp_path / "audio.npz").write_bytes(b"replaced")
    assert is_trained(job, manifest)
