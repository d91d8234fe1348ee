"""Predictions as text and as JSON."""

import dataclasses
import json

import numpy as np

from advance_tf.inference.prediction import Prediction, rank

_PREDICTION = Prediction(
    name="forest/00001",
    image="a.jpg",
    sound=None,
    scenes=(("forest", 0.75), ("lake", 0.125)),
    events=(("Bird", 0.5),),
    event_source="event head",
    notes=("no sound given",),
)


def test_ranking_is_best_first_and_omits_unknown_names():
    probs = np.array([0.1, 0.6, 0.3, 0.6])
    assert rank("abcd", probs) == (("b", 0.6), ("d", 0.6), ("c", 0.3), ("a", 0.1))
    known = np.array([True, False, True, False])
    assert rank("abcd", probs, known) == (("c", 0.3), ("a", 0.1))


def test_text():
    assert _PREDICTION.to_text().splitlines() == [
        "forest/00001",
        "  scenes",
        "    75.00 %  forest",
        "    12.50 %  lake",
        "  events: event head",
        "    50.00 %  Bird",
        "  note: no sound given",
    ]


def test_json_is_one_line():
    line = dataclasses.replace(_PREDICTION, label="synthetic data").to_json()
    assert "\n" not in line
    assert json.loads(line) == {
        "name": "forest/00001",
        "status": "ok",
        "scene": "forest",
        "confidence": 0.75,
        "reason": "",
        "image": "a.jpg",
        "sound": None,
        "scenes": [
            {"name": "forest", "probability": 0.75},
            {"name": "lake", "probability": 0.125},
        ],
        "events": [{"name": "Bird", "probability": 0.5}],
        "event_source": "event head",
        "notes": ["no sound given"],
        "label": "synthetic data",
    }


def test_top_limits_the_dictionary_only():
    assert _PREDICTION.to_dict(top=1)["scenes"] == [
        {"name": "forest", "probability": 0.75}
    ]
    assert _PREDICTION.scene_probs == {"forest": 0.75, "lake": 0.125}
    assert _PREDICTION.event_probs == {"Bird": 0.5}


def test_an_unreadable_example_has_no_scene():
    bad = Prediction("a", status="a.jpg cannot be decoded")
    assert not bad.ok
    assert bad.scene == ""
    assert bad.scene_probs == {}
    assert "a.jpg cannot be decoded" in bad.to_text()
