"""The pull of events, against the divergences it is the difference of."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.studies.evidence import event_pulls, find_evidence
from advance_tf.teacher.knowledge import EventKnowledge


def divergence(y, p):
    return y * np.log(y / p) + (1 - y) * np.log((1 - y) / (1 - p))


def test_a_pull_is_a_difference_of_divergences():
    y, p, q = np.random.default_rng(0).uniform(0.01, 0.99, (3, 50))
    expected = divergence(y, p) - divergence(y, q)
    np.testing.assert_allclose(event_pulls(y, p, q), expected, atol=1e-12)
    np.testing.assert_allclose(event_pulls(y, q, p), -expected, atol=1e-12)
    assert event_pulls([0.9], [0.1], [0.8])[0] > 0
    assert np.isfinite(event_pulls([0.5, 0.5], [0.0, 1.0], [1.0, 0.0])).all()


@pytest.fixture
def knowledge():
    rng = np.random.default_rng(1)
    mask = np.arange(527) != 3
    return EventKnowledge(
        keys=(("beach", "00001"), ("lake", "00002")),
        teacher_logits=rng.normal(size=(2, 527)).astype(np.float32),
        event_mask=mask,
        posteriors=np.where(mask, rng.uniform(0.01, 0.9, (13, 527)), 0).astype("f4"),
        relevances={},
        teacher="random",
        teacher_sha256="",
        manifest_sha256="",
    )


def test_evidence_is_of_the_pair_and_of_known_events(knowledge):
    knowledge.teacher_logits[1, 3] = 9.0
    lake, beach = (labels.scenes().index(name) for name in ("lake", "beach"))
    found = find_evidence(knowledge, Pair("00002", "lake", "00002", "", ""), beach)
    y = 1 / (1 + np.exp(-knowledge.teacher_logits[1].astype(np.float64)))
    pulls = event_pulls(y, knowledge.posteriors[lake], knowledge.posteriors[beach])
    pulls[3] = 0
    y[3] = 0
    loudest = np.argsort(-y)[:5]
    names = [labels.events()[place].name for place in loudest]
    assert [event.name for event in found.heard] == names
    first = found.heard[0]
    assert first.heard == pytest.approx(y[loudest[0]], rel=1e-5)
    assert first.in_true == pytest.approx(knowledge.posteriors[lake, loudest[0]])
    assert first.in_predicted == pytest.approx(knowledge.posteriors[beach, loudest[0]])
    assert first.pull == pytest.approx(pulls[loudest[0]], rel=1e-4)
    rest = [place for place in np.argsort(-np.abs(pulls)) if place not in loudest]
    assert [event.name for event in found.telling] == [
        labels.events()[place].name for place in rest[:3]
    ]
    assert found.total == pytest.approx(pulls.sum(), rel=1e-4)
