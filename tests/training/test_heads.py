"""Heads on embeddings in memory: objectives, sampling, views, the best epoch."""

import dataclasses

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.config import Config, ModelConfig, TrainingConfig, TransferConfig
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.data.sampling import epoch_order
from advance_tf.metrics.scores import confusion_matrix, weighted_scores
from advance_tf.training.embeddings import Embeddings
from advance_tf.training.heads import HeadTrainer, train_heads
from tests.training.factories import build_scene_knowledge
from tests.training.test_optimizer import numpy_adam

SCENES = labels.scenes()
PER_SCENE = 8


@dataclasses.dataclass(frozen=True)
class Data:
    embeddings: Embeddings
    manifest: Manifest

    def rows(self, split):
        return np.flatnonzero(np.array(self.manifest.splits) == split)


@pytest.fixture(scope="module")
def data():
    """Embeddings that depend on the scene: 5 training, 1 validation, 2 test pairs."""
    rng = np.random.default_rng(0)
    pairs = [
        Pair(f"{s}_{k}", scene, f"{s}_{k}", "", "")
        for s, scene in enumerate(SCENES)
        for k in range(PER_SCENE)
    ]
    splits = ["training"] * 5 + ["validation"] + ["test"] * 2
    manifest = Manifest(tuple(pairs), tuple(splits * len(SCENES)), "site", 0)
    arrays = {}
    for name, size in (("image", 6), ("audio", 4)):
        centres = rng.normal(size=(len(SCENES), size)).repeat(PER_SCENE, axis=0)
        noise = rng.normal(size=centres.shape)
        arrays[name] = (10 + 3 * (centres + 0.5 * noise)).astype(np.float32)
    keys = tuple((pair.scene, pair.stem) for pair in pairs)
    return Data(Embeddings(keys, **arrays), manifest)


def build_config(transfer="none", model=None, **training):
    return Config(
        model=ModelConfig(**{"normalize_embeddings": True, **(model or {})}),
        transfer=TransferConfig(transfer=transfer),
        training=TrainingConfig(
            **{"epochs": 3, "batch_size": 13, "learning_rate": 0.03, **training}
        ),
    )


def train(data, config, **settings):
    return train_heads(
        config,
        data.embeddings,
        data.rows("training"),
        data.rows("validation"),
        **settings,
    )


@pytest.mark.parametrize(
    ("class_weights", "sampling"), [("balanced", "shuffled"), ("none", "balanced")]
)
def test_a_linear_head_follows_numpy(data, class_weights, sampling):
    """An epoch of L_s, smoothed, weighted or balanced, with Adam in float64."""
    config = build_config(
        weight_decay=0.01,
        learning_rate=0.01,
        label_smoothing=0.2,
        class_weights=class_weights,
        sampling=sampling,
    )
    # Without some pairs, so that the scenes differ in size.
    rows = data.rows("training")[3:]
    trainer = HeadTrainer(config, data.embeddings, rows, data.rows("validation"))
    head = trainer.trainer.model.get_layer("scene_head")
    start = np.vstack([head.kernel.numpy(), head.bias.numpy()]).astype(np.float64)
    joint = np.hstack([data.embeddings.image, data.embeddings.audio])
    x = (joint - joint[rows].mean(0)) / joint[rows].std(0)
    x = np.hstack([x, np.ones((len(x), 1))])
    scenes = data.embeddings.scenes
    weights, balance = np.ones(13), scenes[rows]
    if sampling == "shuffled":
        weights, balance = len(rows) / (13 * np.bincount(scenes[rows])), None
    order = rows[epoch_order(len(rows), seed=0, epoch=0, balance=balance)]
    w, gradients = start, []
    for batch in order[: len(rows) // 13 * 13].reshape(-1, 13):
        probs = np.exp(x[batch] @ w)
        probs /= probs.sum(axis=1, keepdims=True)
        target = 0.8 * np.eye(13)[scenes[batch]] + 0.2 / 13
        gradients.append(
            x[batch].T @ ((probs - target) * weights[scenes[batch], None]) / 13
        )
        w = numpy_adam(start, gradients, 0.01, 0.01, "l2")
    trainer.train_epoch(0)
    found = np.vstack([head.kernel.numpy(), head.bias.numpy()])
    np.testing.assert_allclose(found, w, atol=2e-5)


def test_scenes_are_balanced_once(data):
    config = build_config(class_weights="balanced", sampling="balanced")
    with pytest.raises(ValueError, match="class_weights must be 'none' with balanced"):
        train(data, config)


TERMS = {
    "none": {"scene_loss"},
    "kl_audio": {"scene_loss", "transfer_loss"},
    "sq_audiovisual": {"scene_loss", "transfer_loss"},
    "event": {"scene_loss", "event_kl_loss", "relevance_loss"},
}


@pytest.mark.parametrize("transfer", TERMS)
def test_the_best_epoch_is_kept(data, transfer):
    knowledge = build_scene_knowledge(data.manifest)
    model = train(data, build_config(transfer), knowledge=knowledge)
    scores = [logs["val_f_score"] for logs in model.history]
    assert model.progress.best_epoch == 1 + int(np.argmax(scores))
    assert len(scores) == model.progress.epochs == 3
    assert TERMS[transfer] <= model.history[0].keys()
    last, first = (model.history[k]["loss"] for k in (-1, 0))
    assert last < first
    rows = data.rows("validation")
    probs = model.scene_probs(rows)
    np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)
    confusion = confusion_matrix(data.embeddings.scenes[rows], probs.argmax(1), 13)
    assert weighted_scores(confusion)["f_score"] == pytest.approx(max(scores), abs=1e-6)


def test_the_scenes_are_recognized(data):
    model = train(data, build_config(epochs=30))
    rows = data.rows("test")
    found = model.logits(rows)["scene_logits"].argmax(axis=1)
    assert (found == data.embeddings.scenes[rows]).mean() > 0.6


def test_the_seed_determines_the_heads(data):
    config = build_config(model={"dropout": 0.3, "head_units": 5}, epochs=2)
    rows = data.rows("test")
    first, second, other = (
        train(data, config, seed=seed).logits(rows)["scene_logits"]
        for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.01


def test_views_are_drawn_for_each_epoch_in_training_alone(data):
    """Views with the number of the view in every feature."""
    plain = data.embeddings
    views = {
        tower: np.stack([plain.views(tower)[0] * 0 + view for view in range(3)])
        for tower in ("image", "audio")
    }
    embeddings = Embeddings(plain.keys, **views)
    trainer = HeadTrainer(
        build_config(), embeddings, data.rows("training"), data.rows("validation")
    )
    drawn = [trainer.batches(epoch)[0] // len(plain) for epoch in range(20)]
    assert {np.unique(views).size for views in drawn} == {3}
    assert (np.bincount(np.ravel(drawn)) > 300).all()
    order = data.rows("training")[epoch_order(65, seed=0, epoch=1)]
    (batches,) = trainer.batches(1)
    np.testing.assert_array_equal(batches.ravel() % len(plain), order)
    inputs, targets = trainer._gather(batches[0])
    np.testing.assert_array_equal(inputs["image"][:, 0], drawn[1][0])
    np.testing.assert_array_equal(targets["scene"], plain.scenes[order[:13]])
    np.testing.assert_array_equal(embeddings.rows([5])["image"], np.zeros((1, 6)))


def test_an_incomplete_batch_is_kept_and_the_order_fixed_on_request(data):
    config = build_config(keep_last_batch=True, sampling="fixed", batch_size=40)
    rows = data.rows("training"), data.rows("validation")
    trainer = HeadTrainer(config, data.embeddings, *rows)
    parts = [trainer.batches(epoch) for epoch in (0, 3)]
    assert [part.shape for part in parts[0]] == [(1, 40), (1, 25)]
    order = rows[0][epoch_order(65, seed=0, epoch=0)]
    for part in parts:
        np.testing.assert_array_equal(np.concatenate(part, axis=None), order)
    trainer.train_epoch(0)
    assert int(trainer.trainer.optimizer.iterations) == 2
    # A batch may be larger than the split.
    config = build_config(keep_last_batch=True, batch_size=100)
    trainer = HeadTrainer(config, data.embeddings, *rows)
    assert [part.shape for part in trainer.batches(0)] == [(1, 65)]


def test_patience_stops_the_training(data):
    model = train(data, build_config(epochs=9, patience=2, learning_rate=1e-9))
    assert model.progress.epochs == model.progress.best_epoch + 2 < 9


def test_what_cannot_be_trained_is_refused(data):
    with pytest.raises(ValueError, match="training split must have at least 66"):
        train(data, build_config(batch_size=66))
    with pytest.raises(ValueError, match="needs posteriors"):
        train(data, build_config("event"))
    keys = (("beach", "unknown"), *data.embeddings.keys[1:])
    other = dataclasses.replace(data.embeddings, keys=keys)
    with pytest.raises(ValueError, match="1 have none, the first is beach/unknown"):
        train_heads(
            build_config("kl_audio"),
            other,
            range(65),
            range(65, 70),
            knowledge=build_scene_knowledge(data.manifest),
        )
    with pytest.raises(ValueError, match="must stay finite"):
        train(data, build_config(learning_rate=1e38))
    with pytest.raises(ValueError, match="same number of views"):
        Embeddings(keys, data.embeddings.image, data.embeddings.audio[1:])
