"""Students of tiny teachers: targets, losses, resumption and the folder of the run."""

import dataclasses
import json

import numpy as np
import pytest

from advance_tf.checksums import replacing_checked
from advance_tf.config import TransferConfig
from advance_tf.data import resumable_rows
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.experiments import distillation
from advance_tf.inference import stored_outputs
from advance_tf.metrics.probabilities import sigmoid, softmax
from advance_tf.models.heads import embedding_model
from advance_tf.runs import workdir as workdir_module
from advance_tf.runs.calibration import StoredCalibration
from advance_tf.runs.training import prepare
from advance_tf.runs.workdir import load_run
from advance_tf.training import distillation as student
from advance_tf.training import runtime
from advance_tf.training.distillation import DistillationSettings
from tests.training import factories

SETTINGS = DistillationSettings(3.0, soft_scene_weight=0.5, embedding_weight=0.25)


@pytest.fixture(autouse=True, scope="module")
def _tiny_recognizers():
    with factories.tiny_towers(student, workdir_module):
        yield


def write_teacher(folder, data, manifest, seed, transfer="none"):
    """A run of random weights."""
    config = factories.build_config(data, transfer, seed=seed)
    runtime.start(config.training)
    setup = prepare(folder, start=config, manifest=manifest)
    recognizer = factories.build_tiny(config.model, config.features, transfer)
    folder.mkdir()
    with replacing_checked(folder / "best.weights.h5") as temporary:
        recognizer.save_weights(temporary)
    setup.write()
    return load_run(folder)


@pytest.fixture(scope="module")
def manifest(fabricated_advance):
    return factories.build_manifest(fabricated_advance, pairs=2)


@pytest.fixture(scope="module")
def teachers(fabricated_advance, manifest, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teachers")
    return [
        write_teacher(
            folder / str(seed), fabricated_advance, manifest, seed, "kl_audiovisual"
        )
        for seed in (1, 2)
    ]


@pytest.fixture(scope="module")
def targets(teachers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    return distillation.teacher_targets(
        teachers, SETTINGS, folder, events=True, progress=False
    )


@pytest.fixture(scope="module")
def outputs(teachers, manifest):
    """Logits and embeddings of each teacher for all pairs, computed directly."""
    pairs = manifest.pairs_of("training") + manifest.pairs_of("validation")
    found = []
    for run in teachers:
        files = PairFiles(pairs, run.data_dir, run.config.features)
        ((inputs, _),) = make_dataset(files, 99)
        logits = run.recognizer.predict_on_batch(inputs)
        found.append(logits | embedding_model(run.recognizer).predict_on_batch(inputs))
    return found


def test_scenes_and_events_are_means_over_the_teachers(targets, outputs):
    scenes = np.mean([softmax(o["scene_logits"] / 3.0) for o in outputs], axis=0)
    found = np.asarray(targets.columns["soft_scenes"])
    np.testing.assert_allclose(found, scenes, atol=1e-5)
    events = np.mean([sigmoid(o["audiovisual_event_logits"]) for o in outputs], axis=0)
    found = np.asarray(targets.columns["soft_labels"])
    np.testing.assert_allclose(found, events, atol=1e-5)


def test_the_logits_of_a_teacher_are_calibrated(teachers, outputs, tmp_path):
    calibration = StoredCalibration({"both": 0.25, "image": 1.0, "sound": 1.0})
    runs = [dataclasses.replace(teachers[0], calibration=calibration), teachers[1]]
    found = distillation.teacher_targets(
        runs, SETTINGS, tmp_path, events=False, progress=False
    )
    divisors = (3.0 * 0.25, 3.0)
    scenes = [
        softmax(own["scene_logits"] / divisor)
        for own, divisor in zip(outputs, divisors, strict=True)
    ]
    soft = np.asarray(found.columns["soft_scenes"])
    np.testing.assert_allclose(soft, np.mean(scenes, axis=0), atol=1e-5)


@pytest.mark.parametrize("tower", ["image", "audio"])
def test_embeddings_are_standardized_over_the_training_pairs(targets, outputs, tower):
    parts = []
    for own in outputs:
        values = own[tower].astype(np.float64)
        training = values[: 2 * 13]
        variance = np.maximum(training.var(0), 1e-2 * training.var(0).mean())
        parts.append((values - training.mean(0)) / np.sqrt(variance))
    found = np.asarray(targets.columns[f"{tower}_embedding"])
    np.testing.assert_allclose(found, np.concatenate(parts, axis=1), atol=2e-3)


def test_targets_follow_the_order_of_the_pairs(targets, manifest):
    pairs = manifest.pairs_of("training")[::-1][:5]
    found = targets.targets_for(pairs)["soft_scenes"]
    rows = [targets.keys.index(pair.key) for pair in pairs]
    expected = np.asarray(targets.columns["soft_scenes"])[rows]
    np.testing.assert_array_equal(np.asarray(found), expected)


def test_outputs_are_computed_once_and_resumed(
    teachers, manifest, tmp_path, monkeypatch
):
    run, pairs = teachers[0], manifest.pairs_of("training")

    def compute():
        found = stored_outputs.compute_outputs(
            run, pairs, tmp_path, batch_size=4, progress=False
        )
        return np.asarray(found.scene_logits)

    monkeypatch.setattr(resumable_rows, "CHUNK_ROWS", 8)
    sizes = []
    append = stored_outputs.ResumableRows.append

    def interrupted(self, rows):
        if len(sizes) == 4:
            raise KeyboardInterrupt
        sizes.append(len(rows))
        append(self, rows)

    monkeypatch.setattr(stored_outputs.ResumableRows, "append", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compute()
    sizes.clear()
    sizes.extend([0] * 5)
    complete = compute()
    # Four batches of four pairs were written before.
    assert sum(sizes) == len(pairs) - 16
    monkeypatch.setattr(stored_outputs, "make_dataset", None)
    np.testing.assert_array_equal(compute(), complete)
    (path,) = tmp_path.glob("*.npy")
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=f"{path.name} is damaged: its SHA-256"):
        compute()
    path.unlink()
    chunk = tmp_path / path.stem / "00000000.npy"
    chunk.parent.mkdir()
    chunk.write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"must contain outputs of .*the command"):
        compute()


def test_the_loss_is_the_weighted_sum(targets, teachers, manifest):
    config = factories.build_config(
        teachers[0].data_dir, TransferConfig("kl_audiovisual", alpha=0.01)
    )
    trainer, recognizer = student.build_student(config, SETTINGS, targets)
    pairs = manifest.pairs_of("validation")
    files = PairFiles(pairs, teachers[0].data_dir, config.features)
    ((inputs, truth),) = make_dataset(files, 99, targets=targets.targets_for(pairs))
    truth = {name: np.asarray(values, np.float64) for name, values in truth.items()}
    found = trainer.model.predict_on_batch(inputs)
    logits = found["scene_logits"].astype(np.float64)
    probs = softmax(logits / 3.0)
    soft = truth["soft_scenes"]
    events = sigmoid(found["audiovisual_event_logits"].astype(np.float64))
    labels = truth["soft_labels"]
    binary = labels * np.log(labels / events)
    binary += (1 - labels) * np.log((1 - labels) / (1 - events))
    scene = -np.log(softmax(logits))[range(13), truth["scene"].astype(int)]
    expected = scene.mean() + 0.01 * binary.sum(1).mean()
    expected += 0.5 * 9 * (soft * np.log(soft / probs)).sum(1).mean()
    for tower in ("image", "audio"):
        difference = found[f"{tower}_match"] - truth[f"{tower}_embedding"]
        expected += 0.25 * (difference**2).mean()
    logs = trainer.test_on_batch(inputs, truth, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-4)
    assert recognizer.output.keys() == {"scene_logits", "audiovisual_event_logits"}


def test_a_student_is_a_run_of_its_teachers(teachers, tmp_path):
    folders = [run.workdir for run in teachers]
    start = factories.build_config("", epochs=1)
    run = distillation.distill(
        folders[:1], tmp_path, start=start, settings=SETTINGS, progress=False
    )
    assert run.manifest.sha256 == teachers[0].manifest.sha256
    assert run.config.data.data_dir == str(teachers[0].data_dir)
    assert run.recognizer.output.keys() == {"scene_logits"}
    recorded = json.loads((tmp_path / "distillation.json").read_text())
    assert recorded["settings"] == dataclasses.asdict(SETTINGS)
    header, row = (tmp_path / "log.csv").read_text().splitlines()[:2]
    logged = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(logged["soft_scene_value"]) > 0
    assert float(logged["image_match_share_image_tower"]) > 0
    with pytest.raises(ValueError, match="resumed with the teachers"):
        distillation.distill(folders, tmp_path, progress=False)
    with pytest.raises(ValueError, match="resumed with the teachers"):
        distillation.distill(
            folders[:1], tmp_path, settings=DistillationSettings(), progress=False
        )
    # A field that is not given keeps its value.
    part = {"embedding_weight": SETTINGS.embedding_weight}
    assert distillation.distill(folders[:1], tmp_path, settings=part, progress=False)
    (tmp_path / "checksums.json").unlink()
    (tmp_path / "distillation.json").write_text("{}")
    with pytest.raises(ValueError, match="'settings' is missing. Restore it, or use"):
        distillation.distill(folders[:1], tmp_path, progress=False)


def test_settings_are_final_after_the_first_epoch(teachers, tmp_path):
    other = dataclasses.replace(SETTINGS, temperature=5.0)
    distillation._write_settings(tmp_path, teachers[:1], SETTINGS)
    for runs in (teachers, teachers[:1]):
        assert distillation._combine_settings(tmp_path, runs, other) == other
    distillation._write_settings(tmp_path, teachers[:1], other)
    (tmp_path / "best.weights.h5").write_bytes(b"of the first epoch")
    assert distillation._combine_settings(tmp_path, teachers[:1], None) == other
    # What is wrong in given settings is none of the file.
    with pytest.raises(ValueError, match="^temperature must be greater than 0"):
        distillation._combine_settings(tmp_path, teachers[:1], {"temperature": -1.0})
    with pytest.raises(ValueError, match="resumed with the teachers and the settings"):
        distillation._combine_settings(tmp_path, teachers[:1], SETTINGS)


def test_teachers_of_two_splits_are_refused(teachers, fabricated_advance, tmp_path):
    other = factories.build_manifest(fabricated_advance, pairs=1)
    stranger = dataclasses.replace(teachers[1], manifest=other)
    with pytest.raises(ValueError, match="teachers must be runs of one split"):
        distillation.distill([teachers[0], stranger], tmp_path)
    with pytest.raises(ValueError, match="received none"):
        distillation.distill([], tmp_path)
    assert not list(tmp_path.iterdir())


def test_events_need_a_teacher_that_has_them(fabricated_advance, manifest, tmp_path):
    run = write_teacher(tmp_path / "a", fabricated_advance, manifest, 3)
    with pytest.raises(ValueError, match="neither an event head nor event knowledge"):
        distillation.teacher_targets(
            [run], SETTINGS, tmp_path, events=True, progress=False
        )


def test_the_compound_loss_is_not_for_students(targets, teachers):
    config = factories.build_config(teachers[0].data_dir, "event")
    with pytest.raises(ValueError, match="for a student; received 'event'"):
        student.student_terms(config, SETTINGS, targets)


def test_test_scores_are_logged_and_cached_views_are_refused(teachers, tmp_path):
    folders = [teachers[0].workdir]
    start = factories.build_config("", epochs=1, test_epochs=True)
    # The teacher was trained on files that have been moved since.
    moved = dataclasses.replace(teachers[0], data_dir=tmp_path / "before")
    distillation.distill(
        [moved],
        tmp_path / "a",
        {"data_dir": str(teachers[0].data_dir)},
        start=start,
        settings=SETTINGS,
        progress=False,
    )
    header = (tmp_path / "a" / "log.csv").read_text().splitlines()[0]
    assert {"val_f_score", "test_f_score"} <= set(header.split(","))
    start = factories.build_config("", cached_views=4)
    with pytest.raises(ValueError, match="cached_views must be left out .*received 4"):
        distillation.distill(folders, tmp_path / "b", start=start, progress=False)
    assert not (tmp_path / "b").exists()


def test_a_loss_of_the_teacher_without_effect_is_named(teachers, tmp_path, caplog):
    weak = dataclasses.replace(SETTINGS, soft_scene_weight=1e-9)
    distillation.distill(
        [teachers[0].workdir],
        tmp_path,
        start=factories.build_config("", epochs=1),
        settings=weak,
        progress=False,
    )
    assert "with the `soft_scene_weight` of the run: it has no" in caplog.text
