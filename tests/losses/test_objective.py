"""The objective: names, weights and losses of its terms, and invalid settings."""

import numpy as np
import pytest

from advance_tf.config import TransferConfig
from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from advance_tf.losses.event import EventKL, EventSquaredDistance
from advance_tf.losses.objective import Term, build_objective
from advance_tf.losses.scene import SceneLoss
from tests.losses import expected

EVENTS = 527
RNG = np.random.default_rng(3)
POSTERIORS = np.float32(RNG.beta(0.4, 8, (13, EVENTS)))
RELEVANCE = np.float32(RNG.random((13, EVENTS)))
MASK = np.arange(EVENTS) % 88 != 5


def create_objective(**settings):
    return build_objective(
        TransferConfig(**settings),
        posteriors=POSTERIORS,
        relevance=RELEVANCE,
        event_mask=MASK,
    )


def summarize(terms):
    """Term name → class of the loss, target, output and weight."""
    return {
        name: (type(term.loss), term.target, term.output, term.weight)
        for name, term in terms.items()
    }


SCENE = (SceneLoss, "scene", "scene_logits", 1.0)


@pytest.mark.parametrize("head", ["audio", "audiovisual"])
@pytest.mark.parametrize(
    ("kind", "loss", "target"),
    [("sq", EventSquaredDistance, "teacher_logits"), ("kl", EventKL, "soft_labels")],
)
def test_transfer_determines_loss_and_event_head(kind, loss, target, head):
    terms = create_objective(transfer=f"{kind}_{head}", alpha=0.25)
    wanted = (loss, target, f"{head}_event_logits", 0.25)
    assert summarize(terms) == {"scene": SCENE, "transfer": wanted}
    assert (terms["transfer"].loss.event_mask == MASK).all()


def test_event_transfer_has_both_terms():
    wanted = {
        "scene": SCENE,
        "event_kl": (CompoundEventKL, "soft_labels", "scene_logits", 0.5),
        "relevance": (RelevanceAlignment, "scene", "scene_logits", 0.5 * 0.125),
    }
    assert (
        summarize(create_objective(transfer="event", alpha=0.5, beta=0.125)) == wanted
    )


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"transfer": "none"}, {"scene"}),
        ({"transfer": "kl_audio", "alpha": 0.0}, {"scene"}),
        ({"transfer": "event", "beta": 0.0}, {"scene", "event_kl"}),
        ({"transfer": "event", "scene_weight": 0.0}, {"event_kl", "relevance"}),
        ({"transfer": "sq_audiovisual", "scene_weight": 0.0}, {"transfer"}),
    ],
)
def test_term_of_weight_zero_is_left_out(settings, names):
    assert set(create_objective(**settings)) == names


@pytest.mark.parametrize("settings", [{"transfer": "kl_audio"}, {"transfer": "event"}])
def test_event_reduction_is_passed_to_the_loss(settings):
    pred = np.float32(RNG.normal(size=(2, 13 if "event" in settings.values() else 527)))
    true = np.float32(RNG.random((2, EVENTS)))
    name = "event_kl" if settings["transfer"] == "event" else "transfer"
    mean = create_objective(event_reduction="mean", **settings)[name].loss(true, pred)
    total = create_objective(event_reduction="sum", **settings)[name].loss(true, pred)
    np.testing.assert_allclose(total, mean * MASK.sum(), rtol=1e-6)


def test_weighted_sum_is_equation_10():
    terms = create_objective(transfer="event", alpha=0.1, beta=0.01, scene_weight=0.0)
    logits = np.float32(RNG.normal(size=(4, 13)))
    targets = {
        "soft_labels": np.float32(RNG.random((4, EVENTS))),
        "scene": np.array([0, 5, 5, 12]),
    }
    total = sum(
        t.weight * float(t.loss(targets[t.target], logits)) for t in terms.values()
    )
    first = expected.compound_kl(
        np.float64(targets["soft_labels"])[:, MASK],
        np.float64(logits),
        np.float64(POSTERIORS)[:, MASK],
    ).sum(axis=1)
    second = expected.alignment(
        targets["scene"],
        np.float64(logits),
        np.float64(POSTERIORS)[:, MASK],
        np.float64(RELEVANCE)[:, MASK],
    ).mean()
    assert total == pytest.approx(0.1 * (first.mean() + 0.01 * second), rel=1e-5)


def test_event_transfer_without_knowledge_raises():
    with pytest.raises(
        ValueError, match=r"^`transfer=event` needs posteriors.*`advance teach`"
    ):
        build_objective(TransferConfig(transfer="event"))
    with pytest.raises(
        ValueError, match=r"^`transfer=event` needs relevance.*`advance teach`"
    ):
        build_objective(TransferConfig(transfer="event"), posteriors=POSTERIORS)
    terms = build_objective(
        TransferConfig(transfer="event", beta=0.0), posteriors=POSTERIORS
    )
    assert set(terms) == {"scene", "event_kl"}


def test_invalid_settings_of_event_losses_raise():
    with pytest.raises(ValueError, match="select at least one event"):
        EventKL(np.zeros(EVENTS, bool))
    with pytest.raises(ValueError, match=r"received shape \(1, 3\) with 3 selected"):
        EventKL(np.ones((1, 3), bool))
    with pytest.raises(ValueError, match="one of sum, mean; received 'max'"):
        EventKL(event_reduction="max")


def test_term_is_immutable():
    term = Term(SceneLoss(), "scene", "scene_logits", 1.0)
    with pytest.raises(AttributeError):
        term.weight = 2.0
