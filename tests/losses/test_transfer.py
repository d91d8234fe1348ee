"""The objective: its terms, weights and names; and what it refuses."""

import numpy as np
import pytest

from advance_tf.config import TransferConfig
from advance_tf.losses.compound import CompoundEventKL, RelevanceAlignment
from advance_tf.losses.event import EventKL, EventSquaredDistance
from advance_tf.losses.scene import SceneLoss
from advance_tf.losses.transfer import Term, build_objective
from tests.losses import expected

EVENTS = 527
RNG = np.random.default_rng(3)
POSTERIORS = np.float32(RNG.beta(0.4, 8, (13, EVENTS)))
RELEVANCE = np.float32(RNG.random((13, EVENTS)))
MASK = np.arange(EVENTS) % 88 != 5


def objective(**settings):
    return build_objective(
        TransferConfig(**settings),
        posteriors=POSTERIORS,
        relevance=RELEVANCE,
        event_mask=MASK,
    )


def shapes(terms):
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
def test_event_heads_get_the_transfer_that_they_are_named_for(kind, loss, target, head):
    terms = objective(transfer=f"{kind}_{head}", alpha=0.25)
    wanted = (loss, target, f"{head}_event_logits", 0.25)
    assert shapes(terms) == {"scene": SCENE, "transfer": wanted}
    assert (terms["transfer"].loss.event_mask == MASK).all()


def test_event_is_the_sum_of_both_parts():
    wanted = {
        "scene": SCENE,
        "event_kl": (CompoundEventKL, "soft_labels", "scene_logits", 0.5),
        "relevance": (RelevanceAlignment, "scene", "scene_logits", 0.5 * 0.125),
    }
    assert shapes(objective(transfer="event", alpha=0.5, beta=0.125)) == wanted


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
def test_a_term_of_weight_zero_is_absent(settings, names):
    assert set(objective(**settings)) == names


@pytest.mark.parametrize("settings", [{"transfer": "kl_audio"}, {"transfer": "event"}])
def test_the_reduction_over_events_is_passed_on(settings):
    pred = np.float32(RNG.normal(size=(2, 13 if "event" in settings.values() else 527)))
    true = np.float32(RNG.random((2, EVENTS)))
    name = "event_kl" if settings["transfer"] == "event" else "transfer"
    mean = objective(event_reduction="mean", **settings)[name].loss(true, pred)
    total = objective(event_reduction="sum", **settings)[name].loss(true, pred)
    np.testing.assert_allclose(total, mean * MASK.sum(), rtol=1e-6)


def test_the_weighted_sum_is_equation_10():
    terms = objective(transfer="event", alpha=0.1, beta=0.01, scene_weight=0.0)
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
    ).mean()
    second = expected.alignment(
        targets["scene"],
        np.float64(logits),
        np.float64(POSTERIORS)[:, MASK],
        np.float64(RELEVANCE)[:, MASK],
    ).mean()
    assert total == pytest.approx(0.1 * (first + 0.01 * second), rel=1e-5)


def test_event_without_knowledge_names_the_program():
    with pytest.raises(ValueError, match=r"needs posteriors.*advance_tf\.teach"):
        build_objective(TransferConfig(transfer="event"))
    with pytest.raises(ValueError, match=r"needs relevance.*advance_tf\.teach"):
        build_objective(TransferConfig(transfer="event"), posteriors=POSTERIORS)
    terms = build_objective(
        TransferConfig(transfer="event", beta=0.0), posteriors=POSTERIORS
    )
    assert set(terms) == {"scene", "event_kl"}


def test_bad_knowledge_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]; received .* to 1.5"):
        CompoundEventKL(np.full((13, EVENTS), 1.5))
    with pytest.raises(ValueError, match=r"posteriors must be \[scenes, 527\]"):
        CompoundEventKL(np.full((13, 521), 0.5))
    with pytest.raises(ValueError, match="relevance must be finite"):
        RelevanceAlignment(POSTERIORS, np.full((13, EVENTS), np.nan))
    with pytest.raises(ValueError, match=r"only zeros in scenes \[2\]"):
        RelevanceAlignment(POSTERIORS, RELEVANCE * (np.arange(13) != 2)[:, None])
    with pytest.raises(ValueError, match="same scenes; received 13 and 12"):
        RelevanceAlignment(POSTERIORS, RELEVANCE[:12])
    with pytest.raises(ValueError, match="at least one event that counts"):
        EventKL(np.zeros(EVENTS, bool))
    with pytest.raises(ValueError, match="one of mean, sum; received 'max'"):
        EventKL(event_reduction="max")


def test_a_term_cannot_be_changed():
    term = Term(SceneLoss(), "scene", "scene_logits", 1.0)
    with pytest.raises(AttributeError):
        term.weight = 2.0
