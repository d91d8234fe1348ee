"""Texts and pictures of the figure of activation maps."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from advance_tf.config import FeatureConfig
from advance_tf.features.mel import mel_to_hz
from advance_tf.models.backbones.contract import CellCentres
from advance_tf.reporting import activation_map_figure as module
from advance_tf.reporting import overlay
from advance_tf.reporting.activation_map_figure import Row, View, cam_figure
from advance_tf.reporting.canvas import png

FEATURES = FeatureConfig(image_size=64, clip_seconds=1.0)


def view(prob=0.83, predicted="beach", image=True, sound=True):
    corner = np.zeros((2, 2))
    corner[0, 0] = 1.0
    late = np.zeros((3, 4))
    late[2, 3] = -1.0
    return View(
        np.random.default_rng(0).uniform(-80, 0, (40, 64)),
        corner if image else None,
        late if sound else None,
        prob,
        predicted,
    )


def figure(*views, **texts):
    image = np.full((32, 32, 3), 128.0)
    names = [f"runs/{number}" for number in range(len(views))]
    row = Row("00012_1", "beach", image, views)
    return cam_figure(names, [FEATURES] * len(views), [row, row], **texts)


def texts_of(drawn):
    return [text.get_text() for text in drawn.texts]


def test_runs_have_names_and_probabilities():
    texts = texts_of(figure(view(), view(0.1, "lake")))
    assert texts.count("runs/0") == texts.count("runs/1") == 2
    assert texts.count("p(beach) = 0.83") == texts.count("p(beach) = 0.10") == 2
    assert texts.count("predicts lake") == 2
    assert "predicts beach" not in texts
    assert texts.count("00012_1") == texts.count("beach") == 2


def test_label_title_and_note_are_in_order():
    drawn = figure(view(), title="T", note="selected by name", label="synthetic $x$")
    assert texts_of(drawn)[:3] == ["synthetic $x$", "T", "selected by name"]
    assert png(drawn) == png(
        figure(view(), title="T", note="selected by name", label="synthetic $x$")
    )


def test_maps_are_drawn_at_their_positions():
    axes = figure(view()).axes
    image, log_mel = (axes[place].images[0].get_array().astype(int) for place in (2, 3))
    redness = image[..., 0] - image[..., 2]
    assert redness[0, 0] > 100
    assert redness[-1, -1] == redness[0, -1] == redness[-1, 0] == 0
    # The end of the clip and its highest band are at the upper right.
    blueness = log_mel[..., 2] - log_mel[..., 0]
    assert blueness[0, -1] > 100
    assert blueness[-1, 0] == blueness[0, 0] == blueness[-1, -1] == 0


def test_maps_are_drawn_at_the_centres_of_their_cells():
    log_mel_map = np.array([[0.0], [1.0]])
    own = View(np.zeros((40, 64)), np.array([[0.0, 1.0]]), log_mel_map, 0.5, "beach")
    late = (CellCentres(1, 0), CellCentres(16, 40))
    centred = dataclasses.replace(own, centres={"image": late, "log_mel": late[::-1]})
    shown = []
    for view_ in (own, centred):
        axes = figure(view_).axes
        pictures = [axes[k].images[0].get_array().astype(int) for k in (2, 3)]
        shown.append([p[5, :, 0] - p[5, :, 2] for p in pictures])
    # Half of the colour is halfway between two cells: in equal parts at the middle of
    # 32 pixels and of 400.
    full = 0.8 * (overlay.POSITIVE[0] - overlay.POSITIVE[2])
    halfway = [np.argmax(row > full / 2) for row in shown[0]]
    assert halfway == pytest.approx([16, 200], abs=1)
    # At 48 of 64 pixels, and after the 40 frames.
    assert np.argmax(shown[1][0] > full / 2) == pytest.approx(24, abs=1)
    assert shown[1][1].max() == 0


def test_all_maps_of_a_row_share_one_scale():
    large, small = view(), view()
    small.image_map[:] *= 0.25
    axes = figure(large, small).axes
    strong, weak = (
        np.ptp(axes[place].images[0].get_array()[0, 0].astype(int)) for place in (2, 4)
    )
    assert weak == pytest.approx(strong / 4, abs=2)


def test_unused_inputs_are_marked():
    axes = figure(view(image=False), view(sound=False)).axes
    texts = [[text.get_text() for text in own.texts] for own in axes[:6]]
    assert texts == [[], [], ["image not used"], [], [], ["sound not used"]]


def test_frequency_ticks_are_at_their_bands():
    mels = np.linspace(0, 1, FEATURES.mel_bins + 2)
    top_mel = 15 + np.log(8) / (np.log(6.4) / 27)
    for band in (0, 20, 63):
        hz = float(mel_to_hz(mels[band + 1] * top_mel))
        assert module.band_of(hz, FEATURES) == pytest.approx(band, abs=1e-6)
    ticks = figure(view()).axes[1]
    assert [t.get_text() for t in ticks.get_yticklabels()] == [
        *("250 Hz", "1 kHz", "4 kHz")
    ]
    assert [t.get_text() for t in ticks.get_xticklabels()] == ["0 s", "0.5 s", "1 s"]


def test_each_run_shows_the_log_mel_of_its_features():
    other = FeatureConfig(image_size=64, clip_seconds=2.0, mel_bins=32)
    decibel = np.random.default_rng(1).uniform(-80, 0, (80, 32))
    image_only = View(decibel, np.zeros((2, 2)), None, 0.5, "beach")
    row = Row("00012", "beach", np.full((32, 32, 3), 128.0), (view(), image_only))
    axes = cam_figure(["a", "b"], [FEATURES, other], [row]).axes
    drawn = [np.asarray(axes[place].images[0].get_array()) for place in (1, 5)]
    for picture, own in zip(drawn, (view().log_mel_db, decibel), strict=True):
        expected = overlay.grey_log_mel(own, picture.shape[:2])
        np.testing.assert_array_equal(picture, expected)
    assert axes[5].images[0].get_extent() == [0, 2, -0.5, 31.5]
    assert [text.get_text() for text in axes[5].texts] == ["sound not used"]


def test_probabilities_keep_their_significant_digits():
    texts = texts_of(figure(view(0.0031), view(0.99934)))
    assert texts.count("p(beach) = 0.0031") == texts.count("p(beach) = 0.9993") == 2


def test_legend_states_what_is_identified():
    legend = " ".join(texts_of(figure(view()))[-1].split())
    assert "identify only the differences between maps of its scenes" in legend


@pytest.mark.parametrize("runs", [1, 2])
def test_texts_are_within_the_picture(runs):
    drawn = figure(*[view()] * runs, label="long " * 90)
    pixels = Image.open(io.BytesIO(png(drawn)))
    edge = np.asarray(pixels.convert("RGB"))
    for side in (edge[0], edge[-1], edge[:, 0], edge[:, -1]):
        assert (side == 255).all()


def test_rejects_rows_without_a_view_for_each_run():
    row = Row("00012", "beach", np.zeros((8, 8, 3)), (view(),))
    with pytest.raises(ValueError, match=r"received \[1\] views for 2 runs"):
        cam_figure(["a", "b"], [FEATURES] * 2, [row])
    with pytest.raises(ValueError, match="at least one"):
        cam_figure(["a"], [FEATURES], [])
