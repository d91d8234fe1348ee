"""Confusion matrices and learning curves, as pixels and texts."""

import io

import numpy as np
import pytest
from PIL import Image

from advance_tf import labels
from advance_tf.reporting import plots
from advance_tf.reporting.canvas import png

_RED = (0xB3, 0x26, 0x1E)


def _pixels(figure):
    picture = Image.open(io.BytesIO(png(figure)))
    return np.asarray(picture.convert("RGB")).astype(int)


def _share_of(pixels, color, distance=40):
    return (np.abs(pixels - color).max(axis=-1) < distance).mean()


def _log(epochs=4):
    epoch = np.arange(1.0, epochs + 1)
    return {
        "epoch": epoch,
        "seconds": epoch,
        "learning_rate": 1e-5 / epoch,
        "loss": 1 / epoch,
        "val_loss": 2 / epoch,
    }


def test_confusion_colours_show_the_counts():
    scenes = labels.scenes()
    diagonal = _pixels(plots.confusion_figure(np.eye(13, dtype=int) * 9, scenes))
    empty = _pixels(plots.confusion_figure(np.zeros((13, 13), int), scenes))
    assert diagonal.shape == empty.shape
    assert min(diagonal.shape[:2]) > 1000
    darkest = (0x08, 0x30, 0x6B)
    # The axes cover most of the picture and a diagonal is 1/13 of them.
    added = _share_of(diagonal, darkest) - _share_of(empty, darkest)
    assert 0.5 / 13 < added < 1 / 13


def test_cells_state_counts_and_percentages():
    matrix = np.array([[3, 1, 0], [0, 999, 1], [0, 0, 0]])
    axes = plots.confusion_figure(matrix, "abc").axes[0]
    written = {}
    for text in axes.texts:
        column, row = text.xy
        written.setdefault((row, column), []).append(text.get_text())
    assert written == {
        (0, 0): ["3", "75 %"],
        (0, 1): ["1", "25 %"],
        (1, 1): ["999", "100 %"],
        (1, 2): ["1", "<1 %"],
    }
    names = [text.get_text() for text in axes.get_yticklabels()]
    assert names == ["a  (4)", "b  (1000)", "c  (0)"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b", "c"]


def test_texts_are_within_the_picture():
    matrix = np.full((13, 13), 4321)
    pixels = _pixels(plots.confusion_figure(matrix, labels.scenes(), title="Title"))
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert (edge == 255).all()


@pytest.mark.parametrize("label", ["synthetic data", "a long label " * 30])
def test_label_is_drawn_in_red(label):
    for draw in (
        lambda **text: plots.confusion_figure(np.eye(5, dtype=int), "abcde", **text),
        lambda **text: plots.curves_figure(_log(), **text),
    ):
        assert _share_of(_pixels(draw(title="x")), _RED, 3) == 0
        labelled = _pixels(draw(title="x", label=label))
        assert _share_of(labelled, _RED, 3) > 0
        assert (labelled[:, [0, -1]] == 255).all()


def test_equal_figures_give_equal_bytes():
    first, second = (
        png(plots.confusion_figure(np.eye(3, dtype=int), "abc")) for _ in "12"
    )
    assert first == second


def test_confusion_rejects_mismatched_names():
    with pytest.raises(ValueError, match=r"\[2, 2\] for 2 scenes; received \(3, 3\)"):
        plots.confusion_figure(np.eye(3), "ab")


def test_read_log(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("epoch,loss,val_loss\n1,2.5,\n2,1.5,3\n")
    log = plots.read_log(path)
    np.testing.assert_array_equal(log["epoch"], [1, 2])
    np.testing.assert_array_equal(log["loss"], [2.5, 1.5])
    np.testing.assert_array_equal(log["val_loss"], [np.nan, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch,loss\n", "at least one line"),
        ("step,loss\n1,2\n", "column 'epoch'"),
        ("epoch,loss\n1,good\n", "must have numbers in all columns.*good"),
    ],
)
def test_read_log_rejects_other_files(tmp_path, text, message):
    path = tmp_path / "log.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        plots.read_log(path)


def test_curves_show_training_and_validation():
    both = _pixels(plots.curves_figure(_log()))
    log = _log()
    del log["val_loss"]
    alone = _pixels(plots.curves_figure(log))
    orange = (0xD9, 0x73, 0x0D)
    assert _share_of(both, orange, 20) > 0
    assert _share_of(alone, orange, 20) == 0
    # A single epoch is drawn as a point.
    one = _pixels(plots.curves_figure(_log(epochs=1)))
    assert _share_of(one, orange, 20) > 0


def test_curves_reject_a_log_without_quantity():
    with pytest.raises(ValueError, match="received epoch, seconds"):
        plots.curves_figure({"epoch": np.ones(1), "seconds": np.ones(1)})
