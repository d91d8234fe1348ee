"""Predictions as text and as JSON."""

import json

import numpy as np

from advance_tf.serving.prediction import Prediction, best, json_line, text

_PREDICTION = Prediction(
    name="forest/00001",
    image="a.jpg",
    sound=None,
    scenes=(("forest", 0.75), ("lake", 0.125)),
    events=(("Bird", 0.5),),
    event_source="event head",
    notes=("no sound given",),
)


def test_best_first_and_only_what_is_known():
    probs = np.array([0.1, 0.6, 0.3, 0.6])
    assert best("abcd", probs, 3) == (("b", 0.6), ("d", 0.6), ("c", 0.3))
    known = np.array([True, False, True, False])
    assert best("abcd", probs, 3, known) == (("c", 0.3), ("a", 0.1))


def test_text():
    assert text(_PREDICTION).splitlines() == [
        "forest/00001",
        "  scenes",
        "    75.00 %  forest",
        "    12.50 %  lake",
        "  events: event head",
        "    50.00 %  Bird",
        "  note: no sound given",
    ]


def test_json_is_one_line():
    line = json_line(_PREDICTION, "synthetic data")
    assert "\n" not in line
    assert json.loads(line) == {
        "name": "forest/00001",
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
