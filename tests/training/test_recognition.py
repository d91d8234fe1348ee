"""Complete runs: resume, repetition, best weights, every objective and precision."""

import dataclasses
import json
import pathlib
from typing import NamedTuple

import keras
import numpy as np
import pytest

from advance_tf.config import Config, TransferConfig
from advance_tf.data.manifest import Manifest
from advance_tf.inference.evaluation import evaluate
from advance_tf.reporting.evaluation_report import METRICS, write_evaluation
from advance_tf.runs import workdir
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training import callbacks, recognition, runtime, session
from advance_tf.training.checkpoint import Progress
from advance_tf.training.recognition import make_datasets
from tests.training import factories
from tests.training.resumption import assert_resumed, train, train_until_killed


class Data(NamedTuple):
    folder: pathlib.Path
    manifest: Manifest
    knowledge: EventKnowledge


@pytest.fixture(scope="module")
def data(fabricated_advance):
    manifest = factories.build_manifest(fabricated_advance)
    knowledge = factories.build_scene_knowledge(manifest)
    return Data(fabricated_advance, manifest, knowledge)


class FinishedRun(NamedTuple):
    folder: pathlib.Path
    config: Config
    progress: Progress
    arrays: dict[str, np.ndarray]
    rows: list[dict[str, str]]


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """Four uninterrupted epochs with dropout, augmentation and a rate drop."""
    folder = tmp_path_factory.mktemp("finished")
    config = factories.build_config(data.folder, "event", epochs=4)
    outcome = train(folder, config, data.manifest, data.knowledge)
    return FinishedRun(folder, config, *outcome)


@pytest.fixture
def tiny():
    """Towers of milliseconds, for what does not depend on the towers."""
    with factories.tiny_towers(recognition, workdir):
        yield


def test_a_killed_run_resumes_to_the_same_state(data, finished, tmp_path):
    """Kills a run between log and checkpoint of the third of four epochs.

    Weights, Adam's state, dropout's seeds, order, augmentation, best score and log
    equal those of an uninterrupted run.
    """
    run = tmp_path, finished.config, data.manifest, data.knowledge
    train_until_killed(3, *run)
    assert_resumed(3, (finished.progress, finished.arrays, finished.rows), *run)


def test_the_log_has_the_learning_rates_and_the_loss_decreases(finished):
    rows = finished.rows
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    rates = [float(row["learning_rate"]) for row in rows]
    np.testing.assert_allclose(rates, [0.003, 0.003, 0.003, 0.0003], rtol=1e-6)
    assert float(rows[-1]["scene_loss"]) < float(rows[0]["scene_loss"])


def test_every_epoch_logs_the_share_of_each_term(finished):
    for row in finished.rows:
        for place in ("scene_logits", "image_tower", "audio_tower"):
            found = [
                float(row[f"{name}_share_{place}"])
                for name in ("scene", "event_kl", "relevance")
            ]
            assert min(found) > 0
            assert sum(found) == pytest.approx(1, rel=1e-5)
        assert float(row["relevance_weight"]) == pytest.approx(1e-4)


def test_the_seed_determines_the_initial_weights(data, finished):
    def kernel(seed):
        runtime.start(dataclasses.replace(finished.config.training, seed=seed))
        trainer = recognition.build_trainer(finished.config, data.knowledge)
        return trainer.model.get_layer("image_tower").get_layer("conv1").kernel.numpy()

    np.testing.assert_array_equal(kernel(5), kernel(5))
    assert np.abs(kernel(5) - kernel(6)).max() > 0.01


def test_a_finished_run_is_not_changed(data, finished):
    folder, config, progress, arrays, _ = finished
    before = (folder / callbacks.CHECKPOINT).stat().st_mtime_ns
    repeated = train(folder, config, data.manifest, data.knowledge)
    assert repeated[0] == progress
    assert (folder / callbacks.CHECKPOINT).stat().st_mtime_ns == before
    assert repeated[1].keys() == arrays.keys()


def test_a_run_in_float16_is_resumed_where_auto_is_another_precision(
    data, tiny, tmp_path
):
    config = factories.build_config(data.folder, epochs=1, precision="mixed_float16")
    train(tmp_path, config, data.manifest)
    other = factories.with_training(config, precision="auto", epochs=2)
    assert train(tmp_path, other, data.manifest)[0].epochs == 2
    assert session.run_precision(tmp_path) == "mixed_float16"


def test_the_best_weights_are_those_of_the_best_validation_score(data, finished):
    folder, config, progress, _, rows = finished
    scores = [float(row["val_f_score"]) for row in rows]
    assert progress.best_epoch == 1 + int(np.argmax(scores))
    assert progress.best_score == pytest.approx(max(scores))
    trainer = recognition.build_trainer(config, data.knowledge)
    trainer.model.load_weights(folder / callbacks.BEST_WEIGHTS)
    _, validation = make_datasets(config, data.manifest, data.knowledge)
    found = trainer.evaluate(validation, return_dict=True, verbose=0)
    assert found["f_score"] == pytest.approx(max(scores), abs=1e-6)


def test_a_checkpoint_of_another_model_is_refused(data, finished, tmp_path):
    (tmp_path / callbacks.CHECKPOINT).write_bytes(
        (finished.folder / callbacks.CHECKPOINT).read_bytes()
    )
    model = dataclasses.replace(finished.config.model, image_width=3)
    config = dataclasses.replace(finished.config, model=model)
    with pytest.raises(ValueError, match="must hold the state of this model"):
        train(tmp_path, config, data.manifest, data.knowledge)
    (tmp_path / callbacks.CHECKPOINT).write_bytes(b"PK\x03\x04")
    with pytest.raises(ValueError, match="must be a complete checkpoint"):
        train(tmp_path, finished.config, data.manifest, data.knowledge)


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


@pytest.fixture(scope="module")
def batch(data):
    """The first training batch, with the targets of every objective."""
    config = factories.build_config(data.folder)
    batches, _ = make_datasets(config, data.manifest, data.knowledge)
    return next(iter(batches))


def build_eager(data, transfer, **training):
    """A trainer without dropout; it is eager, which is faster for a few steps."""
    config = factories.build_config(data.folder, transfer, **training)
    model = dataclasses.replace(config.model, dropout=0.0)
    config = dataclasses.replace(config, model=model)
    knowledge = None if config.transfer.transfer == "none" else data.knowledge
    keras.utils.set_random_seed(0)
    trainer = recognition.build_trainer(config, knowledge)
    trainer.run_eagerly = True
    return trainer


def trained_heads(transfer):
    """The heads that the terms of an objective depend on."""
    kind, _, head = transfer.transfer.partition("_")
    event = {f"{head}_event_head"} if kind in ("sq", "kl") else set()
    on_scenes = transfer.scene_weight or transfer.transfer == "event"
    return event | ({"scene_head"} if on_scenes else set())


@pytest.mark.parametrize("transfer", OBJECTIVES, ids=repr)
def test_every_objective_is_minimized(data, batch, tiny, transfer):
    """Five steps on one batch lower the loss and change the heads that are trained."""
    trainer = build_eager(data, transfer, learning_rate=0.01)
    heads = [x for x in trainer.model.layers if x.name.endswith("_head")]
    before = {head.name: head.kernel.numpy() for head in heads}
    losses = []
    for _ in range(5):
        trainer.reset_metrics()
        logs = trainer.train_on_batch(*batch, return_dict=True)
        losses.append(logs["loss"])
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]
    changed = {
        head.name
        for head in heads
        if np.abs(head.kernel.numpy() - before[head.name]).max() > 0.01
    }
    assert changed == trained_heads(transfer)
    assert ("scene_loss" in logs) == (transfer.scene_weight > 0)
    assert ("relevance_loss" in logs) == (
        transfer.transfer == "event" and transfer.beta > 0
    )


def first_step(data, batch):
    """The loss before a step; its gradients, and the changes that it makes."""
    trainer = build_eager(data, "kl_audiovisual", weight_decay=0.0)
    kernels = [v for v in trainer.model.trainable_variables if len(v.shape) > 1]
    before = [kernel.numpy() for kernel in kernels]
    loss = trainer.train_on_batch(*batch, return_dict=True)["loss"]
    changes = [k.numpy() - old for k, old in zip(kernels, before, strict=True)]
    optimizer = trainer.optimizer
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    index = map(optimizer._get_variable_index, kernels)
    moments = [optimizer._momentums[i].numpy() / (1 - optimizer.beta_1) for i in index]
    return loss, moments, changes


@pytest.mark.parametrize(
    ("policy", "rounding"), [("mixed_float16", 2**-11), ("mixed_bfloat16", 2**-8)]
)
def test_a_step_in_mixed_precision_is_near_that_in_float32(
    data, batch, tiny, policy, rounding
):
    """Loss, gradients and changes of every kernel.

    A gradient is the result of about ten operations, each of which rounds: its error
    is within ten roundings of its norm. Adam's first step changes a weight by the rate
    against the sign of its gradient, which rounding changes for the smallest ones: the
    share p of the weights makes a difference of 2 sqrt(p) of the norm, here p < 1/16.
    """
    expected = first_step(data, batch)
    keras.mixed_precision.set_global_policy(policy)
    try:
        found = first_step(data, batch)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert found[0] == pytest.approx(expected[0], rel=10 * rounding)
    for number, bound in ((1, 10 * rounding), (2, 0.5)):
        for own, other in zip(found[number], expected[number], strict=True):
            assert np.linalg.norm(own - other) < bound * np.linalg.norm(other)


def test_towers_have_their_learning_rate(data, batch, tiny):
    """The first step of Adam changes a weight by its rate."""
    trainer = build_eager(
        data,
        "none",
        learning_rate=0.01,
        tower_learning_rate=0.001,
        weight_decay=0.0,
    )
    model = trainer.model
    kernels = [
        model.get_layer("image_tower").get_layer("conv1").kernel,
        model.get_layer("audio_tower").get_layer("conv1").kernel,
        model.get_layer("scene_head").kernel,
    ]
    before = [kernel.numpy() for kernel in kernels]
    trainer.train_on_batch(*batch)
    changes = [
        np.abs(kernel.numpy() - old).max()
        for kernel, old in zip(kernels, before, strict=True)
    ]
    np.testing.assert_allclose(changes, [0.001, 0.001, 0.01], rtol=0.01)


def test_a_run_of_the_authors_recipe_scores_the_test_pairs_of_every_epoch(
    data, tiny, tmp_path
):
    config = factories.build_config(
        data.folder,
        epochs=2,
        batch_size=20,
        sampling="fixed",
        augmentation="levels",
        keep_last_batch=True,
        test_epochs=True,
    )
    dropped = dataclasses.replace(config.model, modality_dropout=0.3)
    config = dataclasses.replace(config, model=dropped)
    training, _ = make_datasets(config, data.manifest, None)
    passes = [[targets["scene"].numpy() for _, targets in training] for _ in range(2)]
    assert [len(batch) for batch in passes[0]] == [20, 19]
    for one, other in zip(*passes, strict=True):
        np.testing.assert_array_equal(one, other)
    images = np.concatenate([inputs["image"].numpy() for inputs, _ in training])
    np.testing.assert_array_equal(images, np.round(images))
    _, _, rows = train(tmp_path / "run", config, data.manifest)
    assert len(rows) == 2
    # The weights of the last epoch on the test pairs.
    best = max(range(2), key=lambda epoch: float(rows[epoch]["val_f_score"]))
    workdir.write_config(tmp_path / "run", config, data.manifest)
    data.manifest.save(tmp_path / "run" / workdir.MANIFEST)
    evaluation = evaluate(workdir.load_run(tmp_path / "run"), "test")
    for score in ("precision", "recall", "f_score"):
        expected = evaluation.weighted[score].value
        assert float(rows[best][f"test_{score}"]) == pytest.approx(expected, abs=1e-6)
    write_evaluation(tmp_path / "run", evaluation, tmp_path / "out")
    details = json.loads((tmp_path / "out" / METRICS).read_text())["details"]
    found = details["over_epochs"]
    own = [float(row["test_recall"]) for row in rows[best:]]
    assert found["best_epoch"] == best + 1
    assert found["mean"]["recall"] == pytest.approx(np.mean(own))
    assert found["deviation"]["recall"] == pytest.approx(np.std(own))


def test_patience_stops_a_run_without_improvement(data, tiny, tmp_path):
    config = factories.build_config(
        data.folder, epochs=6, patience=2, learning_rate=1e-12
    )
    progress, _, rows = train(tmp_path, config, data.manifest)
    assert progress.epochs == len(rows) == progress.best_epoch + 2 < 6


def test_a_loss_that_is_not_finite_keeps_the_previous_epoch(data, finished, tmp_path):
    for path in finished.folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    broken = factories.with_training(finished.config, epochs=5, learning_rate=1e30)
    with pytest.raises(ValueError, match="must stay finite; received nan"):
        train(tmp_path, broken, data.manifest, data.knowledge)
    for name, contents in before.items():
        assert (tmp_path / name).read_bytes() == contents


def test_a_split_that_is_too_small_is_refused(data):
    config = factories.build_config(data.folder, batch_size=64)
    with pytest.raises(ValueError, match="training split must have at least 64"):
        make_datasets(config, data.manifest, None)


def test_a_run_is_loaded_with_its_best_weights_and_labels(data, finished):
    folder, config, *_ = finished
    manifest = dataclasses.replace(data.manifest, protocol="pair")
    manifest.save(folder / workdir.MANIFEST)
    workdir.write_config(folder, config, manifest, label="synthetic data")
    run = workdir.load_run(folder)
    assert run.config == config
    assert run.label.startswith("synthetic data; leaky")
    trainer = recognition.build_trainer(config, data.knowledge)
    trainer.model.load_weights(folder / callbacks.BEST_WEIGHTS)
    _, validation = make_datasets(config, data.manifest, None)
    inputs, _ = next(iter(validation))
    np.testing.assert_array_equal(
        run.recognizer(inputs)["scene_logits"], trainer.model(inputs)["scene_logits"]
    )


@pytest.mark.parametrize("test_epochs", [False, True])
def test_a_fold_has_no_test_pairs_to_score(data, test_epochs):
    config = factories.build_config(data.folder, test_epochs=test_epochs)
    rows = [n for n, split in enumerate(data.manifest.splits) if split != "test"]
    fold = dataclasses.replace(
        data.manifest,
        pairs=tuple(data.manifest.pairs[n] for n in rows),
        splits=tuple(data.manifest.splits[n] for n in rows),
    )
    used = ("training", "validation")
    assert recognition.used_splits(config, fold) == used
    assert recognition.score_test_epochs(config, fold) == []
    complete = (*used, "test") if test_epochs else used
    assert recognition.used_splits(config, data.manifest) == complete
