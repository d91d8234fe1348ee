"""Event probabilities from a head, or from scenes by Eq. 7."""

import types

import numpy as np
import pytest

from advance_tf.inference.events import describe_events, event_probs
from advance_tf.runs.workdir import find_knowledge


def _knowledge(rng):
    mask = np.arange(527) % 100 != 7
    posteriors = rng.random((13, 527)).astype(np.float32)
    posteriors[:, ~mask] = np.nan
    return types.SimpleNamespace(posteriors=posteriors, event_mask=mask)


def test_compound_of_the_scenes():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4, 13)).astype(np.float32)
    knowledge = _knowledge(rng)
    found = event_probs({"scene_logits": logits}, knowledge)
    mask = knowledge.event_mask
    for row in range(4):
        scene_probs = np.exp(logits[row].astype(np.float64))
        scene_probs /= scene_probs.sum()
        expected = sum(scene_probs[k] * knowledge.posteriors[k] for k in range(13))
        np.testing.assert_allclose(found.probs[row][mask], expected[mask], rtol=1e-5)
    assert (found.probs[:, ~mask] == 0).all()
    np.testing.assert_array_equal(found.known, mask)
    assert "Eq. 7" in found.source


@pytest.mark.parametrize("head", ["audio_event_logits", "audiovisual_event_logits"])
def test_a_head_is_preferred_to_the_compound(head):
    rng = np.random.default_rng(1)
    outputs = {"scene_logits": np.zeros((2, 13)), head: rng.normal(size=(2, 527))}
    plain = event_probs(outputs, None)
    np.testing.assert_allclose(plain.probs, 1 / (1 + np.exp(-outputs[head])), rtol=1e-5)
    assert plain.known is None
    assert head in plain.source
    knowledge = _knowledge(rng)
    masked = event_probs(outputs, knowledge)
    np.testing.assert_array_equal(
        masked.probs, np.where(knowledge.event_mask, plain.probs, 0)
    )


def test_without_head_and_posteriors_the_source_states_why():
    found = event_probs({"scene_logits": np.zeros((2, 13))}, None)
    assert found.probs is None
    assert "advance teach" in found.source


def test_knowledge_is_found_where_it_was_or_in_the_workdir(tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    own = run / "event_knowledge"
    own.mkdir(parents=True)
    elsewhere.mkdir()
    assert find_knowledge(run, str(elsewhere)) is None
    (own / "posteriors.npz").touch()
    assert find_knowledge(run, str(elsewhere)) == own
    assert find_knowledge(run, "") == own
    (elsewhere / "posteriors.npz").touch()
    assert find_knowledge(run, str(elsewhere)) == elsewhere


def test_with_two_heads_the_source_is_the_head_in_use():
    sizes = {"scene_logits": 13, "audio_event_logits": 527}
    assert describe_events(sizes, None).from_sound
    both = describe_events(sizes | {"audiovisual_event_logits": 527}, None)
    assert both.source == "event head (audiovisual_event_logits)"
    assert not both.from_sound
