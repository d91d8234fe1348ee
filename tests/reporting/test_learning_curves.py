"""Learning curves as coordinates in a panel."""

import numpy as np
import pytest

from advance_tf.reporting.learning_curves import (
    HEIGHT,
    WIDTH,
    curve_panels,
    term_rows,
)


def log(**columns):
    epochs = len(next(iter(columns.values())))
    return {"epoch": np.arange(1.0, epochs + 1), "seconds": np.ones(epochs)} | {
        name: np.array(values, float) for name, values in columns.items()
    }


def test_points_match_the_ticks():
    (panel,) = curve_panels(log(loss=[2.0, 1.0, 0.5], val_loss=[2.0, np.nan, 1.0]))
    training, validation = panel.lines
    assert (training.split, validation.split) == ("training", "validation")
    assert [x for x, _ in validation.points] == [panel.left, panel.right]
    down = {float(text): place for place, text in panel.y_ticks}
    top, low = max(down), min(down)
    for (_, place), value in zip(training.points, [2.0, 1.0, 0.5], strict=True):
        share = (value - low) / (top - low)
        expected = panel.bottom - share * (panel.bottom - panel.top)
        assert place == pytest.approx(expected, abs=0.06)
    assert panel.last == {"training": 0.5, "validation": 1.0}
    for x, y in (*training.points, *validation.points):
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_equal_quantities_share_a_panel_and_learning_rate_is_last():
    panels = curve_panels(
        log(learning_rate=[1e-3, 1e-4], accuracy=[0.5, 0.6], recall=[0.5, 0.6])
    )
    assert [panel.name for panel in panels] == ["accuracy, recall", "learning_rate"]
    rate = panels[1]
    assert rate.last == {"training": pytest.approx(1e-4)}
    assert [text for _, text in rate.y_ticks] == ["1e-04", "1e-03"]
    ends = [y for _, y in rate.lines[0].points]
    assert ends == [rate.top, rate.bottom]


def test_one_epoch_and_quantities_without_numbers():
    panels = curve_panels(log(loss=[1.0], val_loss=[np.nan], other=[np.nan]))
    assert [panel.name for panel in panels] == ["loss"]
    assert panels[0].lines[0].points[0][0] == panels[0].left
    assert [text for _, text in panels[0].x_ticks] == ["1"]


@pytest.mark.parametrize(
    "loss",
    [
        [1e-12, 2e-12],
        [0, 1e-11],
        [3e-10, 4e-10],
        [0.4999999, 0.5],
        [0.49999999, 0.5],
        [123456.7, 123456.8],
        [-1e-9, 1e-9],
        [0, 0],
        [2.5e-7, 2.5e-7],
        [0.1, 0.3],
    ],
)
def test_tick_texts_are_distinct_and_short(loss):
    (panel,) = curve_panels(log(loss=loss))
    texts = [text for _, text in panel.y_ticks]
    places = [place for place, _ in panel.y_ticks]
    assert len(set(texts)) == len(texts) >= 2
    assert max(map(len, texts)) <= 8
    numbers = [float(text) for text in texts]
    assert numbers == sorted(numbers)
    assert numbers[0] <= min(loss)
    assert max(loss) <= numbers[-1] * (1 + 1e-9)
    assert places == sorted(places, reverse=True)
    for (_, place), value in zip(panel.lines[0].points, loss, strict=True):
        share = (value - numbers[0]) / (numbers[-1] - numbers[0])
        expected = panel.bottom - share * (panel.bottom - panel.top)
        assert place == pytest.approx(expected, abs=0.06)


def term_log():
    return log(
        loss=[2.0, 1.0],
        scene_loss=[1.9, 0.9],
        scene_value=[1.9, 0.9],
        scene_weight=[1.0, 1.0],
        scene_share_scene_logits=[0.99, 0.8],
        scene_share_image_tower=[np.nan, 0.7],
        transfer_loss=[0.1, 0.1],
        transfer_value=[1.0, 1.0],
        transfer_weight=[0.1, 0.1],
        transfer_share_scene_logits=[0.01, 0.2],
        transfer_share_image_tower=[np.nan, 0.3],
    )


def test_terms_are_listed_with_the_shares_of_the_first_and_the_last_epoch():
    scene, transfer = term_rows(term_log())
    assert (scene.name, scene.weight, scene.value) == ("scene", 1.0, 0.9)
    assert scene.shares == {"scene logits": (0.99, 0.8), "image tower": (0.7, 0.7)}
    assert (transfer.name, transfer.weight, transfer.value) == ("transfer", 0.1, 1.0)
    assert term_rows(log(loss=[1.0])) == []


def test_values_weights_and_the_share_of_the_scene_term_have_no_panel():
    names = [name for panel in curve_panels(term_log()) for name in [panel.name]]
    assert names == [
        "loss",
        "scene_loss",
        "transfer_loss",
        "transfer_share_scene_logits",
        "transfer_share_image_tower",
    ]
