"""Whole runs: resume, repetition, best weights, every objective and precision."""

import csv
import dataclasses

import keras
import numpy as np
import pytest

from advance_tf.config import TransferConfig
from advance_tf.training import callbacks, recognition, runtime, workdir
from advance_tf.training.recognition import make_datasets, train_recognizer
from tests.training import runs


def state(folder):
    """Every variable of the checkpoint, and the log without its clock."""
    with np.load(folder / callbacks.CHECKPOINT) as stored:
        arrays = {name: stored[name] for name in stored.files}
    with (folder / callbacks.LOG).open(newline="") as file:
        rows = [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(file)
        ]
    return arrays, rows


def train(folder, config, manifest, knowledge=None):
    folder.mkdir(exist_ok=True)
    progress = train_recognizer(
        config, manifest, folder, knowledge=knowledge, scores=runs.scores()
    )
    return progress, *state(folder)


@pytest.fixture(scope="module")
def made(fabricated_advance):
    manifest = runs.manifest(fabricated_advance)
    return fabricated_advance, manifest, runs.knowledge(manifest)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """Four epochs in one go, with dropout, augmentation and a drop of the rate."""
    folder = tmp_path_factory.mktemp("whole")
    config = runs.config(made[0], "event", epochs=4)
    return folder, config, *train(folder, config, made[1], made[2])


def assert_same_state(found, expected):
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)
    assert found[2] == expected[2]


def test_a_killed_run_goes_on_to_the_same_end(made, whole, tmp_path, monkeypatch):
    """Killed between log and checkpoint of the third of four epochs.

    Weights, Adam, dropout's seeds, order, augmentation, best score and log.
    """
    _, config, *expected = whole
    saved = callbacks.save_state

    def killed(path, trainer, progress):
        if progress.epochs == 3:
            raise KeyboardInterrupt
        saved(path, trainer, progress)

    monkeypatch.setattr(callbacks, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, config, made[1], made[2])
    assert len(state(tmp_path)[1]) == 3
    monkeypatch.setattr(callbacks, "save_state", saved)
    assert_same_state(train(tmp_path, config, made[1], made[2]), expected)


def test_the_log_has_the_dropped_rate_and_learning_shows(whole):
    rows = whole[4]
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, [0.003, 0.003, 0.003, 0.0003], rtol=1e-6)
    assert float(rows[-1]["scene_loss"]) < float(rows[0]["scene_loss"])


def test_seeds_decide_the_first_weights(made, whole):
    def kernel(seed):
        runtime.start(dataclasses.replace(whole[1].training, seed=seed))
        trainer = recognition.build_trainer(whole[1], made[2], ())
        return trainer.model.get_layer("image_tower").get_layer("conv1").kernel.numpy()

    np.testing.assert_array_equal(kernel(5), kernel(5))
    assert np.abs(kernel(5) - kernel(6)).max() > 0.01


def test_a_finished_run_is_left_as_it_is(made, whole):
    folder, config, progress, arrays, _ = whole
    before = (folder / callbacks.CHECKPOINT).stat().st_mtime_ns
    again = train(folder, config, made[1], made[2])
    assert again[0] == progress
    assert (folder / callbacks.CHECKPOINT).stat().st_mtime_ns == before
    assert again[1].keys() == arrays.keys()


def test_the_best_weights_are_those_of_the_best_validation_score(made, whole):
    folder, config, progress, _, rows = whole
    scores = [float(row["val_f_score"]) for row in rows]
    assert progress.best_epoch == 1 + int(np.argmax(scores))
    assert progress.best_score == pytest.approx(max(scores))
    trainer = recognition.build_trainer(config, made[2], runs.scores())
    trainer.model.load_weights(folder / callbacks.BEST_WEIGHTS)
    _, validation = make_datasets(config, made[1], made[2])
    found = trainer.evaluate(validation, return_dict=True, verbose=0)
    assert found["f_score"] == pytest.approx(max(scores), abs=1e-6)


def test_a_checkpoint_of_another_model_is_refused(made, whole, tmp_path):
    (tmp_path / callbacks.CHECKPOINT).write_bytes(
        (whole[0] / callbacks.CHECKPOINT).read_bytes()
    )
    model = dataclasses.replace(whole[1].model, image_width=3)
    config = dataclasses.replace(whole[1], model=model)
    with pytest.raises(ValueError, match="must hold the state of this model"):
        train(tmp_path, config, made[1], made[2])
    (tmp_path / callbacks.CHECKPOINT).write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="must be a whole file"):
        train(tmp_path, whole[1], made[1], made[2])


OBJECTIVES = [
    TransferConfig(transfer="none"),
    TransferConfig(transfer="event", beta=0.0),
    *(
        TransferConfig(transfer=name, scene_weight=weight)
        for name in (
            "sq_audio",
            "kl_audio",
            "sq_audiovisual",
            "kl_audiovisual",
            "event",
        )
        for weight in (0.0, 1.0)
    ),
]


def one_step(made, transfer):
    """The losses of one step without dropout, untraced, which is quicker once."""
    config = runs.config(made[0], transfer)
    model = dataclasses.replace(config.model, dropout=0.0)
    config = dataclasses.replace(config, model=model)
    known = None if transfer.transfer == "none" else made[2]
    trainer = recognition.build_trainer(config, known, runs.scores())
    trainer.run_eagerly = True
    batches, _ = make_datasets(config, made[1], known)
    inputs, targets = next(iter(batches))
    return trainer.train_on_batch(inputs, targets, return_dict=True)


@pytest.mark.parametrize("transfer", OBJECTIVES, ids=repr)
def test_every_objective_takes_a_step(made, transfer):
    logs = one_step(made, transfer)
    assert all(np.isfinite(value) for value in logs.values())
    assert ("scene_loss" in logs) == (transfer.scene_weight > 0)
    assert ("relevance_loss" in logs) == (
        transfer.transfer == "event" and transfer.beta > 0
    )


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_takes_a_step_near_that_of_float32(made, policy):
    transfer = TransferConfig(transfer="kl_audiovisual")
    keras.utils.set_random_seed(0)
    expected = one_step(made, transfer)["loss"]
    keras.mixed_precision.set_global_policy(policy)
    try:
        keras.utils.set_random_seed(0)
        found = one_step(made, transfer)["loss"]
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert found == pytest.approx(expected, rel=0.1)


def test_patience_stops_a_run_that_stands_still(made, tmp_path):
    config = runs.config(made[0], epochs=6, patience=2, learning_rate=1e-12)
    progress, _, rows = train(tmp_path, config, made[1])
    assert progress.epochs == len(rows) == progress.best_epoch + 2 < 6


def test_a_loss_that_is_not_finite_keeps_the_epoch_before(made, whole, tmp_path):
    for path in whole[0].iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = runs.with_training(whole[1], epochs=5, learning_rate=1e30)
    with pytest.raises(ValueError, match="must stay finite; received nan"):
        train(tmp_path, broken, made[1], made[2])
    for name, contents in before.items():
        assert (tmp_path / name).read_bytes() == contents


def test_a_split_that_is_too_small_is_refused(made):
    config = runs.config(made[0], batch_size=64)
    with pytest.raises(ValueError, match="training split must have at least 64"):
        make_datasets(config, made[1], None)


def test_a_run_is_loaded_with_its_best_weights_and_labels(made, whole):
    folder, config, *_ = whole
    manifest = dataclasses.replace(made[1], protocol="pair")
    manifest.save(folder / workdir.MANIFEST)
    workdir.write_config(folder, config, manifest, label="synthetic data")
    run = workdir.load_run(folder)
    assert run.config == config
    assert run.label.startswith("synthetic data; leaky")
    trainer = recognition.build_trainer(config, made[2], ())
    trainer.model.load_weights(folder / callbacks.BEST_WEIGHTS)
    _, validation = make_datasets(config, made[1], None)
    inputs, _ = next(iter(validation))
    np.testing.assert_array_equal(
        run.recognizer(inputs)["scene_logits"], trainer.model(inputs)["scene_logits"]
    )
