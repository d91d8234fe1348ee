"""The effect of each setting of authors_code.flags and paper.flags.

The expected values are computed here in float64 from the equations of the paper
or the step of the authors' optimizer.
"""

import dataclasses

import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA

from advance_tf import labels
from advance_tf.config import Config
from advance_tf.config_io import replace_fields
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.experiments.recipes import read_recipe
from advance_tf.labels import asset_path
from advance_tf.losses.objective import build_objective
from advance_tf.teacher.knowledge import build_knowledge
from advance_tf.training.optimizer import build_optimizer, learning_rate_at
from tests.losses import expected

RNG = np.random.default_rng(11)
EVENTS, SCENES, B = 527, 13, 6
TEACHER = RNG.normal(-3, 2, (B, EVENTS)).astype(np.float32)
SOFT = (1 / (1 + np.exp(-TEACHER.astype(np.float64)))).astype(np.float32)
EVENT_LOGITS = RNG.normal(-3, 2, (B, EVENTS)).astype(np.float32)
SCENE_LOGITS = RNG.normal(size=(B, SCENES)).astype(np.float32)
SCENE = RNG.integers(SCENES, size=B)
POSTERIORS = RNG.beta(0.3, 6, (SCENES, EVENTS))
DIRECTIONS = np.abs(RNG.normal(size=(SCENES, EVENTS)))


def recipe(name, **more):
    values = read_recipe(asset_path(f"recipes/{name}"))
    return replace_fields(Config(), values | more)


AUTHORS, PAPER = "authors_code.flags", "paper.flags"
OVER_EVENTS = {AUTHORS: np.mean, PAPER: np.sum}


def objective(name, transfer):
    config = recipe(name, transfer=transfer)
    return build_objective(config.transfer, posteriors=POSTERIORS, relevance=DIRECTIONS)


@pytest.mark.parametrize("name", OVER_EVENTS)
@pytest.mark.parametrize(
    ("transfer", "term", "target", "output", "per_event"),
    [
        (
            "kl_audio",
            "transfer",
            SOFT,
            EVENT_LOGITS,
            expected.binary_kl_from_logits(np.float64(SOFT), np.float64(EVENT_LOGITS)),
        ),
        (
            "sq_audiovisual",
            "transfer",
            TEACHER,
            EVENT_LOGITS,
            (np.float64(EVENT_LOGITS) - TEACHER) ** 2,
        ),
        (
            "event",
            "event_kl",
            SOFT,
            SCENE_LOGITS,
            expected.compound_kl(
                np.float64(SOFT), np.float64(SCENE_LOGITS), POSTERIORS
            ),
        ),
    ],
)
def test_event_reduction_is_the_mean_of_the_code_and_the_sum_of_the_paper(
    name, transfer, term, target, output, per_event
):
    found = objective(name, transfer)[term]
    reduced = OVER_EVENTS[name](per_event, axis=1)
    np.testing.assert_allclose(found.loss.call(target, output), reduced, rtol=1e-5)
    assert found.weight == 0.1
    # The mean over the batch with the weight of the objective (Eq. 2).
    total = found.weight * found.loss(target, output)
    assert float(total) == pytest.approx(0.1 * reduced.mean(), rel=1e-5)


@pytest.mark.parametrize("transfer", ["kl_audio", "sq_audio", "event"])
def test_the_sum_with_a_527th_of_alpha_is_the_codes_objective(transfer):
    code = objective(AUTHORS, transfer)
    transfer_config = recipe(PAPER, transfer=transfer).transfer
    alpha = transfer_config.alpha / EVENTS
    paper = build_objective(
        dataclasses.replace(transfer_config, alpha=alpha, beta=0.001 * EVENTS),
        posteriors=POSTERIORS,
        relevance=DIRECTIONS,
    )
    targets = {"scene": SCENE, "soft_labels": SOFT, "teacher_logits": TEACHER}
    outputs = {"scene_logits": SCENE_LOGITS, "audio_event_logits": EVENT_LOGITS}
    totals = [
        sum(
            term.weight * float(term.loss(targets[term.target], outputs[term.output]))
            for term in terms.values()
        )
        for terms in (code, paper)
    ]
    assert totals[0] == pytest.approx(totals[1], rel=1e-6)


def random_knowledge():
    """Knowledge of three training pairs and a test pair of each scene; soft labels."""
    pairs, splits = [], []
    for number, scene in enumerate(labels.scenes()):
        for k in range(4):
            stem = f"{number * 4 + k:05d}"
            pairs.append(Pair(stem, scene, stem, f"{stem}.jpg", f"{stem}.wav"))
            splits.append("training" if k < 3 else "test")
    logits = RNG.normal(-3, 2, (len(pairs), EVENTS)).astype(np.float32)
    manifest = Manifest(tuple(pairs), tuple(splits), "site", 0)
    mask = np.ones(EVENTS, bool)
    knowledge = build_knowledge(manifest, logits, mask, "random", "0" * 64)
    probs = 1 / (1 + np.exp(-logits.astype(np.float64)))
    training = np.array(splits) == "training"
    return knowledge, probs[training].reshape(SCENES, 3, EVENTS)


def test_relevance_is_the_gram_of_the_paper_and_the_centred_pca_of_the_code():
    knowledge, rows = random_knowledge()
    paper = knowledge.relevance(recipe(PAPER).transfer.relevance)
    code = knowledge.relevance(recipe(AUTHORS).transfer.relevance)
    for k in range(SCENES):
        vectors = np.linalg.eigh(rows[k].T @ rows[k])[1]
        gram = vectors[:, -1] * np.sign(vectors[:, -1].sum())
        np.testing.assert_allclose(paper[k], gram, atol=1e-5)
        component = PCA(1).fit(rows[k]).components_[0]
        # The sign of a principal component is arbitrary.
        component *= np.sign(component @ code[k])
        np.testing.assert_allclose(code[k], component, atol=1e-5)
    assert paper.min() > -1e-6
    assert code.min() < -1e-3


@pytest.mark.parametrize("name", OVER_EVENTS)
def test_weight_decay_is_l2_inside_adam_on_every_parameter(name):
    training = recipe(name, weight_decay=0.5, learning_rate=0.01).training
    optimizer = build_optimizer(training)
    kernel = keras.Variable(np.full((2, 2), 3.0, np.float32), name="kernel")
    bias = keras.Variable(np.full(2, -2.0, np.float32), name="bias")
    zeros = [keras.ops.zeros((2, 2)), keras.ops.zeros(2)]
    optimizer.apply(zeros, [kernel, bias])
    # Adam's first step is the rate times the sign of gradient + decay · weight.
    np.testing.assert_allclose(kernel.numpy(), 3.0 - 0.01, rtol=1e-5)
    np.testing.assert_allclose(bias.numpy(), -2.0 + 0.01, rtol=1e-5)


def test_decoupled_decay_scales_by_one_minus_rate_times_decay():
    training = recipe(
        AUTHORS,
        weight_decay=0.5,
        learning_rate=0.01,
        weight_decay_mode="decoupled",
    ).training
    kernel = keras.Variable(np.full((2, 2), 3.0, np.float32))
    build_optimizer(training).apply([keras.ops.zeros((2, 2))], [kernel])
    np.testing.assert_allclose(kernel.numpy(), 3.0 * (1 - 0.01 * 0.5), rtol=1e-6)


def rates_of_the_code(epochs):
    """The rate in each epoch: it is lowered at the end of epochs 30, 60 and 90."""
    rates, rate = [], 1e-5
    for epoch in range(epochs):
        rates.append(rate)
        if epoch in (30, 60, 90):
            rate *= 0.1
    return rates


def test_the_rate_of_each_epoch_is_that_of_the_code_and_constant_in_the_paper():
    code, paper = recipe(AUTHORS).training, recipe(PAPER).training
    found = [learning_rate_at(code, epoch) for epoch in range(120)]
    np.testing.assert_allclose(found, rates_of_the_code(120), rtol=1e-9)
    default = [learning_rate_at(Config().training, epoch) for epoch in range(120)]
    assert default == found
    assert {learning_rate_at(paper, epoch) for epoch in range(120)} == {1e-5}


def test_the_authors_recipe_sets_everything_that_their_scripts_set():
    """Also where it equals a default; the values are those of bayes_transfer.py."""
    values = read_recipe(asset_path(f"recipes/{AUTHORS}"))
    scripts = {
        "learning_rate": 1e-5,
        "weight_decay": 1e-4,
        "batch_size": 64,
        "epochs": 2000,
        "patience": 5,
        "alpha": 0.1,
        "beta": 0.001,
        "precision": "float32",
        "optimizer": "adam",
        "sampling": "fixed",
        "keep_last_batch": True,
        "augmentation": "levels",
        "image_resize": "bicubic",
        "image_size": 256,
        "initialization": "authors",
        "image_depth": 101,
        "audio_depth": 50,
        "test_epochs": True,
    }
    assert {name: values.get(name) for name in scripts} == scripts
    # All of training but the seed, the hardware and what frozen towers need, all of
    # the objective but what the row of a table decides.
    config = Config()
    for group, left in (
        (config.training, {"seed", "strategy", "momentum", "cached_views"}),
        (config.transfer, {"transfer", "scene_weight"}),
    ):
        names = {field.name for field in dataclasses.fields(group)}
        assert names - values.keys() == left


def test_each_recipe_sets_every_setting():
    """Recipes do not depend on the defaults, which may change."""
    settings = ("event_reduction", "relevance", "weight_decay_mode", "drop_epochs")
    for name in OVER_EVENTS:
        text = asset_path(f"recipes/{name}").read_text(encoding="utf-8")
        for setting in settings:
            assert f"--{setting}=" in text, f"{name} lacks --{setting}"
