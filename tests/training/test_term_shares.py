"""Shares of the loss terms in the gradients, against gradients in NumPy."""

import csv
import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import TrainingConfig, TransferConfig
from advance_tf.losses.event import EventKL
from advance_tf.losses.objective import Term, build_objective
from advance_tf.losses.scene import SceneLoss
from advance_tf.training import session
from advance_tf.training.callbacks import RunRecord
from advance_tf.training.term_shares import TermShares, shares, weak_terms
from advance_tf.training.trainer import Trainer

RNG = np.random.default_rng(4)
B, EVENTS, SCENES = 6, 5, 3
WEIGHT = 0.25
INPUTS = {
    "image": np.float32(RNG.normal(size=(B, 4))),
    "log_mel": np.float32(RNG.normal(size=(B, 3))),
}
TARGETS = {
    "scene": np.int32(RNG.integers(SCENES, size=B)),
    "soft_labels": np.float32(RNG.random((B, EVENTS))),
}


def build_model():
    """Two linear towers of two numbers, a scene head and an event head on audio."""
    keras.utils.set_random_seed(0)
    inputs = {name: keras.Input(x.shape[1:], name=name) for name, x in INPUTS.items()}
    image = keras.layers.Dense(2, name="image_tower")(inputs["image"])
    audio = keras.layers.Dense(2, name="audio_tower")(inputs["log_mel"])
    joint = keras.layers.Concatenate(name="joined")([image, audio])
    outputs = {
        "scene_logits": keras.layers.Dense(SCENES, name="scene_head")(joint),
        "audio_event_logits": keras.layers.Dense(EVENTS, name="event_head")(audio),
    }
    return keras.Model(inputs, outputs)


OBJECTIVE = {
    "scene": Term(SceneLoss(), "scene", "scene_logits", 1.0),
    "transfer": Term(
        EventKL(np.ones(EVENTS, bool)), "soft_labels", "audio_event_logits", WEIGHT
    ),
}


def expected_norms(model):
    """Norms by the formulas z − one-hot(t) and σ(u) − y, in float64."""
    outputs = {name: np.float64(x) for name, x in model(INPUTS).items()}
    kernels = {
        name: np.float64(model.get_layer(name).kernel)
        for name in ("scene_head", "event_head")
    }
    exponents = np.exp(outputs["scene_logits"])
    probs = exponents / exponents.sum(1, keepdims=True)
    of_scene = (probs - np.eye(SCENES)[TARGETS["scene"]]) / B
    events = 1 / (1 + np.exp(-outputs["audio_event_logits"]))
    of_events = WEIGHT * (events - TARGETS["soft_labels"]) / B
    scene = of_scene @ kernels["scene_head"].T
    norm = np.linalg.norm
    return {
        "scene": [norm(of_scene), norm(scene[:, :2]), norm(scene[:, 2:])],
        "transfer": [0.0, 0.0, norm(of_events @ kernels["event_head"].T)],
    }


def test_shares_are_those_of_the_analytic_gradients():
    model = build_model()
    before = [variable.numpy() for variable in model.variables]
    callback = TermShares(
        model, OBJECTIVE, (INPUTS, TARGETS), TransferConfig(), warn=False
    )
    logs = {"scene_loss": 2.0, "transfer_loss": 3.0}
    callback.on_epoch_end(0, logs)
    norms = expected_norms(model)
    places = ("scene_logits", "image_tower", "audio_tower")
    for index, place in enumerate(places):
        total = norms["scene"][index] + norms["transfer"][index]
        for name in norms:
            assert logs[f"{name}_share_{place}"] == pytest.approx(
                norms[name][index] / total, rel=1e-5
            )
    assert 0 < logs["transfer_share_audio_tower"] < 1
    assert (logs["transfer_value"], logs["transfer_weight"]) == (12.0, WEIGHT)
    for old, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, variable.numpy())


def test_the_shares_follow_the_weights_of_the_model():
    model = build_model()
    callback = TermShares(
        model, OBJECTIVE, (INPUTS, TARGETS), TransferConfig(), warn=False
    )
    found = []
    for factor in (1.0, 10.0):
        head = model.get_layer("event_head")
        head.kernel.assign(factor * head.kernel)
        logs = {}
        callback.on_epoch_end(0, logs)
        norms = expected_norms(model)
        share = norms["transfer"][2] / (norms["scene"][2] + norms["transfer"][2])
        assert logs["transfer_share_audio_tower"] == pytest.approx(share, rel=1e-5)
        found.append(share)
    assert found[1] > found[0]


def test_without_gradients_the_shares_are_zero():
    assert shares({"scene": [0.0, 0.0, 0.0]})["scene"]["image_tower"] == 0.0


@pytest.mark.parametrize(
    ("name", "of_term", "settings", "words"),
    [
        (
            "event_kl",
            {"scene_logits": 9e-4, "image_tower": 7e-5},
            {"event_reduction": "mean"},
            ("7e-05", "image_tower", "`alpha=0.1`:", "set `event_reduction=sum`"),
        ),
        (
            "event_kl",
            {"scene_logits": 9e-4, "image_tower": 0.5},
            {},
            ("0.0009", "scene_logits", "Raise `alpha`, or search it"),
        ),
        (
            "relevance",
            {"scene_logits": 1e-5, "image_tower": 0.0},
            {"beta": 0.02},
            ("`alpha=0.1` and `beta=0.02`", "Raise `beta`"),
        ),
        (
            "scene",
            {"scene_logits": 1.0, "image_tower": 1e-4},
            {},
            ("0.0001", "image_tower", "Lower `alpha`"),
        ),
        (
            "transfer",
            {"scene_logits": 0.0, "image_tower": 0.0},
            {},
            ("no gradient at scene_logits, image_tower", "its own head only"),
        ),
    ],
)
def test_a_term_without_effect_is_named_with_its_weight_and_a_remedy(
    name, of_term, settings, words
):
    (text,) = weak_terms({name: of_term}, of_term, TransferConfig(**settings))
    assert text.startswith(name)
    for word in words:
        assert word in text


def test_terms_with_a_thousandth_or_more_are_not_named():
    measured = {"event_kl": {"scene_logits": 1e-3, "image_tower": 0.0}}
    assert weak_terms(measured, ["scene_logits", "image_tower"], TransferConfig()) == []


def test_a_run_logs_the_terms_and_warns_once(tmp_path, caplog):
    weak = dataclasses.replace(OBJECTIVE["transfer"], weight=1e-6)
    trainer = Trainer(build_model(), OBJECTIVE | {"transfer": weak})
    config = TrainingConfig(epochs=2)
    session.compile_trainer(trainer, config)
    callback = TermShares(
        trainer.model, trainer.objective, (INPUTS, TARGETS), TransferConfig()
    )
    dataset = tf.data.Dataset.from_tensors((INPUTS, TARGETS))
    with caplog.at_level(logging.WARNING):
        session.fit(
            trainer,
            dataset,
            dataset,
            config,
            tmp_path,
            progress=session.start_or_resume(trainer, tmp_path),
            monitor="val_loss",
            diagnostics=[callback],
        )
    (warning,) = [r for r in caplog.records if "gradient norm" in r.getMessage()]
    assert warning.getMessage().startswith("transfer has ")
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    for row in rows:
        for place in ("scene_logits", "image_tower", "audio_tower"):
            total = sum(float(row[f"{name}_share_{place}"]) for name in OBJECTIVE)
            assert total == pytest.approx(1.0, rel=1e-5)
        assert float(row["transfer_weight"]) == 1e-6
        assert float(row["transfer_value"]) * 1e-6 == pytest.approx(
            float(row["transfer_loss"]), rel=1e-4
        )


def test_an_older_log_keeps_its_columns(tmp_path):
    """A run of a version that logged other quantities can be resumed."""
    (tmp_path / "log.csv").write_text("epoch,seconds,old\n1,2.0,3.0\n")
    record = RunRecord(tmp_path, "val_f_score", progress=session.Progress(epochs=1))
    record.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    record.model.compile("sgd", "mse")
    record._write_log(1, {"new": 0.5})
    with (tmp_path / "log.csv").open() as file:
        first, second = csv.DictReader(file)
    assert (first["old"], first["new"], first["epoch"]) == ("3.0", "", "1")
    assert (second["old"], second["new"], second["epoch"]) == ("", "0.5", "2")


def test_equation_ten_has_both_weights():
    """α β is the weight that the log states for L_E2."""
    posteriors = RNG.random((13, 527))
    terms = build_objective(
        TransferConfig(transfer="event", alpha=0.3, beta=0.2),
        posteriors=posteriors,
        relevance=posteriors,
    )
    assert terms["relevance"].weight == pytest.approx(0.06)
