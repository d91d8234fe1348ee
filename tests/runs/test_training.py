"""advance_tf.train: new runs, resumed runs, event knowledge and refused settings."""

import dataclasses
import json

import numpy as np
import pytest

import advance_tf
from advance_tf import labels
from advance_tf.checksums import replacing_checked
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    TrainingConfig,
    TransferConfig,
)
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.synthetic.pairs import LABEL, write_pairs
from advance_tf.features.log_mel import STORED_STATS, LogMelStats, save_stats
from advance_tf.inference import stored_outputs
from advance_tf.inference.evaluation import predict_pairs
from advance_tf.locks import lock_folder
from advance_tf.reporting.evaluation_report import METRICS, write_evaluation
from advance_tf.runs import workdir as workdir_module
from advance_tf.runs.workdir import KNOWLEDGE, load_run
from advance_tf.teacher.knowledge import POSTERIORS, load_knowledge, save_knowledge
from advance_tf.training import recognition
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT, LOG
from tests.training import factories
from tests.training.resumption import read_rows


def build_config(transfer="event", **training):
    """A configuration of one epoch."""
    return Config(
        # The data section is that of the data set.
        data=DataConfig(data_dir="elsewhere", split_protocol="pair"),
        features=FeatureConfig(image_size=32, clip_seconds=1.0),
        transfer=TransferConfig(transfer=transfer),
        training=TrainingConfig(
            **{"epochs": 1, "batch_size": 13, "learning_rate": 1e-3, **training}
        ),
    )


@pytest.fixture(autouse=True, scope="module")
def _tiny_recognizers():
    with factories.tiny_towers(recognition, workdir_module):
        yield


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder, sites_per_scene=4)
    return advance_tf.data.load_advance(
        folder, train_fraction=0.5, validation_fraction=0.25
    )


@pytest.fixture(scope="module")
def knowledge(dataset):
    return factories.build_scene_knowledge(dataset.manifest)


@pytest.fixture(scope="module")
def run(dataset, knowledge, tmp_path_factory):
    """A run of one epoch with transfer "event"; resumed runs are copies of it."""
    workdir = tmp_path_factory.mktemp("event")
    return advance_tf.train(build_config(), dataset, workdir, knowledge=knowledge)


def copy(run, folder):
    """Copies the files of a run, as after moving its folder."""
    for path in run.workdir.rglob("*"):
        if path.is_file():
            target = folder / path.relative_to(run.workdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


def read_files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_times(folder):
    return {path: path.stat().st_mtime_ns for path in read_files(folder)}


def f_of_outputs(run):
    """Weighted F of the recognizer on the test pairs, in NumPy."""
    pairs = run.manifest.pairs_of("test")
    files = PairFiles(pairs, run.data_dir, run.config.features)
    ((inputs, _),) = make_dataset(files, len(pairs))
    logits = run.recognizer.predict_on_batch(inputs)["scene_logits"]
    true = np.array([labels.scenes().index(pair.scene) for pair in pairs])
    return factories.weighted_f(true, logits.argmax(axis=1))


def test_a_run_has_config_manifest_knowledge_and_label(run, dataset, knowledge):
    assert isinstance(run, advance_tf.Run)
    assert run.config == dataset.configure(build_config())
    assert run.manifest.sha256 == dataset.manifest.sha256
    assert run.data_dir == dataset.data_dir
    assert run.label == LABEL
    np.testing.assert_array_equal(run.knowledge.posteriors, knowledge.posteriors)
    stored = load_knowledge(run.workdir / KNOWLEDGE, dataset.manifest)
    np.testing.assert_array_equal(stored.teacher_logits, knowledge.teacher_logits)
    names = {path.name for path in run.workdir.iterdir()}
    assert names >= {"config.json", "manifest.csv", BEST_WEIGHTS, CHECKPOINT, LOG}


def test_the_evaluation_equals_the_stored_metrics(run):
    evaluation = advance_tf.evaluate(run, "test")
    write_evaluation(run, evaluation)
    path = run.workdir / "evaluation" / "test" / METRICS
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert evaluation.weighted_f == pytest.approx(f_of_outputs(run), abs=1e-6)
    assert stored["weighted"]["f_score"]["value"] == evaluation.weighted_f
    assert advance_tf.evaluate(run.workdir, "test").weighted_f == evaluation.weighted_f


def test_the_evaluation_of_the_validation_split_equals_the_log(run):
    (row,) = read_rows(run.workdir)
    found = advance_tf.evaluate(run, "validation").weighted_f
    assert float(row["val_f_score"]) == pytest.approx(found, abs=1e-6)


def test_more_epochs_resume_the_run_with_its_knowledge(
    run, dataset, knowledge, tmp_path
):
    workdir = copy(run, tmp_path / "resumed")
    config = build_config(epochs=2)
    # Of a process that was killed.
    (workdir / "checkpoint-77-partial.npz").write_bytes(b"half")
    resumed = advance_tf.train(config, dataset, workdir)
    assert not (workdir / "checkpoint-77-partial.npz").exists()
    rows = read_rows(workdir)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert rows[0] == read_rows(run.workdir)[0]
    assert resumed.config.training.epochs == 2
    assert resumed.knowledge is not None
    # All epochs are trained, the same knowledge is in the folder.
    before = read_times(workdir)
    advance_tf.train(config, dataset, workdir, knowledge=knowledge)
    after = read_times(workdir)
    # config.json is written again, with the versions in use, and so is its checksum.
    for name in ("config.json", "checksums.json", "run.lock"):
        del before[workdir / name], after[workdir / name]
    assert after == before


def test_other_settings_are_refused_and_change_nothing(
    run, dataset, knowledge, tmp_path
):
    workdir = copy(run, tmp_path / "run")
    before = read_files(workdir)
    other = dataclasses.replace(knowledge, teacher="other", teacher_sha256="1" * 64)
    for config, given, message in (
        (build_config(learning_rate=0.5), None, "learning_rate"),
        (build_config("kl_audio"), other, "transfer"),
        (build_config(epochs=2), other, "resumes with the teacher .* uses 0{16}"),
    ):
        with pytest.raises(ValueError, match=message):
            advance_tf.train(config, dataset, workdir, knowledge=given)
    manifest = dataclasses.replace(
        dataset.manifest, splits=tuple(reversed(dataset.manifest.splits))
    )
    with pytest.raises(ValueError, match="manifest must equal the manifest"):
        other = dataclasses.replace(dataset, manifest=manifest)
        advance_tf.train(build_config(), other, workdir)
    assert read_files(workdir) == before


def test_transfer_needs_knowledge_of_the_same_split(dataset, knowledge, tmp_path):
    with pytest.raises(ValueError, match="knowledge"):
        advance_tf.train(build_config(), dataset, tmp_path / "run")
    other = dataclasses.replace(knowledge, manifest_sha256="0" * 64)
    with pytest.raises(ValueError, match="^knowledge must be computed with the split"):
        advance_tf.train(build_config(), dataset, tmp_path / "run", knowledge=other)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [False, True])
def test_without_transfer_knowledge_is_optional(given, dataset, knowledge, tmp_path):
    run = advance_tf.train(
        build_config("none"), dataset, tmp_path, knowledge=knowledge if given else None
    )
    assert (tmp_path / KNOWLEDGE / POSTERIORS).exists() == given
    assert (run.knowledge is not None) == given
    contents = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert contents["knowledge_dir"] == ""
    assert "event_kl_loss" not in read_rows(tmp_path)[0]
    found = advance_tf.evaluate(run, "test").weighted_f
    assert found == pytest.approx(f_of_outputs(run), abs=1e-6)


def test_one_process_at_a_time_trains_a_run(dataset, knowledge, tmp_path):
    with lock_folder(tmp_path, "run"):
        with pytest.raises(ValueError, match="One run at a time may use .* Wait for"):
            advance_tf.train(build_config(), dataset, tmp_path, knowledge=knowledge)
    # The knowledge of the other process is not replaced.
    assert {path.name for path in tmp_path.iterdir()} == {"run.lock"}


def test_a_run_keeps_its_log_mel_statistics(dataset, tmp_path):
    source, pairs = tmp_path / "stats.csv", dataset.pairs_of("test")
    rng = np.random.default_rng(0)
    save_stats(source, LogMelStats(rng.normal(-40, 5, 64), rng.uniform(10, 20, 64)))
    config = build_config("none")
    features = dataclasses.replace(config.features, log_mel_stats=str(source))
    config = dataclasses.replace(config, features=features)
    trained = advance_tf.train(config, dataset, tmp_path / "run")
    expected = predict_pairs(trained, pairs).scene_probs
    key = stored_outputs._key(trained, pairs)
    save_stats(source, LogMelStats(np.zeros(64), np.ones(64)))
    again = load_run(tmp_path / "run")
    np.testing.assert_array_equal(predict_pairs(again, pairs).scene_probs, expected)
    source.unlink()
    moved = copy(trained, tmp_path / "moved")
    more = build_config("none", epochs=2).training
    # The configuration of the loaded run names the copy.
    more_of_run = dataclasses.replace(trained.config, training=more)
    advance_tf.train(more_of_run, dataset, trained.workdir)
    run = load_run(moved)
    np.testing.assert_array_equal(predict_pairs(run, pairs).scene_probs, expected)
    # Stored outputs have the contents in their key: those of other statistics differ.
    assert stored_outputs._key(run, pairs) == key
    (moved / "checksums.json").unlink()
    save_stats(moved / STORED_STATS, LogMelStats(np.zeros(64), np.ones(64)))
    assert stored_outputs._key(load_run(moved), pairs) != key


def test_the_knowledge_of_another_teacher_is_refused(run, dataset, knowledge, tmp_path):
    workdir = copy(run, tmp_path / "run")
    folder = workdir / KNOWLEDGE
    # As `advance teach` with another teacher.
    other = dataclasses.replace(knowledge, teacher="other", teacher_sha256="1" * 64)
    save_knowledge(folder, other, "1" * 16)
    text = (workdir / "config.json").read_text(encoding="utf-8")
    with replacing_checked(workdir / "config.json") as temporary:
        temporary.write_text(text.replace(str(run.workdir), str(workdir)))
    message = "trained with, of SHA-256 0{16}; .* is from other, 1{16}. Run `advance t"
    with pytest.raises(ValueError, match=message):
        load_run(workdir)
    with pytest.raises(ValueError, match=message):
        advance_tf.train(build_config(epochs=2), dataset, workdir)
    # That of the run is written again.
    again = advance_tf.train(build_config(), dataset, workdir, knowledge=knowledge)
    assert again.knowledge.teacher_sha256 == knowledge.teacher_sha256
