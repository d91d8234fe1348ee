"""The figure of class activation maps: a row for each pair, a column for each run."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from advance_tf.config import FeatureConfig
from advance_tf.extras import requires_extra
from advance_tf.features.mel import hz_to_mel
from advance_tf.models.backbones.contract import MapCentres
from advance_tf.reporting import overlay
from advance_tf.reporting.canvas import INK, probability

with requires_extra("report"):
    from matplotlib.axes import Axes
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

_DPI = 120
_GREY, _WARNING = "#5a5a5a", "#b3261e"
_TICKS_HZ = (250, 1000, 4000, 16_000)
# Sizes in inches: side of an image, width of a log-mel, gaps within and between the
# columns, and heights of the parts.
_SIDE, _LENGTH, _GAP, _BLOCK_GAP = 1.75, 2.6, 0.5, 0.35
_BLOCK = _SIDE + _GAP + _LENGTH
_HEADER, _FOOTER, _MARGIN = 0.55, 0.3, 0.3
_SCALE = 0.9
# Height and width of a log-mel in pixels.
_LOG_MEL_SHAPE = (256, 400)


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """The prediction and the activation maps of one run for one pair.

    Attributes:
        log_mel_db: [frames, mel_bins] in dB, with the features of the run.
        image_map: M_v of the true scene [h, w]; None when the run does not use the
            image.
        log_mel_map: M_a of the true scene [t, f]; None when the run does not use the
            sound.
        true_prob: probability of the true scene, in [0, 1].
        predicted: name of the most probable scene.
        centres: where the cells of the maps are, see `activation_maps.map_centres`;
            a map that is not in it has equal parts of the input as its cells.
    """

    log_mel_db: np.ndarray
    image_map: np.ndarray | None
    log_mel_map: np.ndarray | None
    true_prob: float
    predicted: str
    centres: Mapping[str, MapCentres] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One pair with the views of all runs.

    Attributes:
        stem: name of the pair.
        scene: its true scene.
        image: [H, W, 3], levels in [0, 255].
        views: one view for each run.
    """

    stem: str
    scene: str
    image: np.ndarray
    views: tuple[View, ...]


def band_of(hz: float, features: FeatureConfig) -> float:
    """Converts a frequency to a position on the axis of mel bands.

    Args:
        hz: frequency in Hz.
        features: the edges and the number of the bands are used.

    Returns:
        0 at the centre of the lowest band, fractions between centres; outside
        [0, mel_bins − 1] for a frequency outside the centres.

    >>> round(band_of(1000.0, FeatureConfig()), 1)
    20.5
    """
    low, high, mel = (
        float(hz_to_mel(edge))
        for edge in (features.mel_min_hz, features.mel_max_hz, hz)
    )
    return (mel - low) / (high - low) * (features.mel_bins + 1) - 1


def cam_figure(
    names: Sequence[str],
    features: Sequence[FeatureConfig],
    rows: Sequence[Row],
    *,
    title: str = "",
    note: str = "",
    label: str = "",
) -> Figure:
    """Draws a row for each pair: image and log-mel, then both with each run's maps.

    Red positions raise the logit of the true scene, blue positions lower it. The
    full colour is the largest |M| of the row: all maps of a pair, for every run,
    image and sound, share one scale, because all are parts of logits. The
    predictions of a run identify only the differences between maps of its scenes,
    see `ActivationMaps`.

    Args:
        names: names of the runs.
        features: features of the runs, for the axes.
        rows: one for each pair, with a view for each run.
        title: title above the rows.
        note: how the pairs were selected, written below the title.
        label: notice about the data, written in a warning colour; "" for none.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: there is no row or no run, or a row lacks a view.
    """
    if not rows or not names or any(len(row.views) != len(names) for row in rows):
        raise ValueError(
            "rows must have at least one row, and each row one view for each run; "
            f"received {[len(row.views) for row in rows]} views for {len(names)} "
            "runs. Add the missing views."
        )
    width = 2 * _MARGIN + (len(names) + 1) * (_BLOCK + _BLOCK_GAP) - _BLOCK_GAP
    lines = _header_lines(width, title, note, label)
    top = _MARGIN + sum(line.height for line in lines)
    row_height = _HEADER + _SIDE + _FOOTER
    height = top + len(rows) * row_height + _SCALE
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    sheet = _Sheet(figure, width, height)
    position = _MARGIN
    for line in lines:
        sheet.text(_MARGIN, position, line.text, va="top", **line.style)
        position += line.height
    for number, row in enumerate(rows):
        _draw_row(sheet, top + number * row_height + _HEADER, names, features, row)
    _draw_scale(sheet, height - _SCALE + 0.2)
    return figure


class _Sheet:
    """A figure whose axes and texts are placed in inches from the top left."""

    def __init__(self, figure: Figure, width: float, height: float) -> None:
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        bottom = 1 - (top + height) / self.height
        box = (left / self.width, bottom, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, **style: Any) -> None:
        merged: dict[str, Any] = {"color": INK, "parse_math": False} | style
        self.figure.text(left / self.width, 1 - top / self.height, text, **merged)


@dataclasses.dataclass(frozen=True)
class _HeaderLine:
    """A text above the rows, with its style and its height in inches."""

    text: str
    style: dict[str, Any]
    height: float


def _header_lines(width: float, title: str, note: str, label: str) -> list[_HeaderLine]:
    texts: tuple[tuple[str, int, float, dict[str, str]], ...] = (
        (label, 10, 0.2, {"color": _WARNING, "fontweight": "bold"}),
        (title, 14, 0.3, {"fontweight": "bold"}),
        (note, 10, 0.2, {"color": _GREY}),
    )
    lines = []
    for text, size, line_height, style in texts:
        if text:
            wrapped = textwrap.fill(text, int(120 * (width - 2 * _MARGIN) / size))
            height = line_height * (wrapped.count("\n") + 1) + 0.08
            lines.append(_HeaderLine(wrapped, style | {"fontsize": size}, height))
    return lines


def _draw_row(
    sheet: _Sheet,
    top: float,
    names: Sequence[str],
    features: Sequence[FeatureConfig],
    row: Row,
) -> None:
    maps = [
        map_
        for view in row.views
        for map_ in (view.image_map, view.log_mel_map)
        if map_ is not None
    ]
    scale = overlay.common_scale(maps)
    left = _MARGIN
    sheet.text(left, top - 0.26, row.scene, fontsize=11, fontweight="bold")
    sheet.text(left, top - 0.08, row.stem, fontsize=9, color=_GREY)
    _draw_image(sheet, left, top, np.asarray(row.image).astype(np.uint8))
    first = overlay.grey_log_mel(row.views[0].log_mel_db, _LOG_MEL_SHAPE)
    _draw_log_mel(sheet, left, top, first, features[0])
    for name, feature, view in zip(names, features, row.views, strict=True):
        left += _BLOCK + _BLOCK_GAP
        sheet.text(left, top - 0.26, name, fontsize=11, fontweight="bold")
        true_prob = f"p({row.scene}) = {probability(view.true_prob)}"
        sheet.text(left, top - 0.08, true_prob, fontsize=9)
        if view.predicted != row.scene:
            error = f"predicts {view.predicted}"
            sheet.text(
                left + _SIDE + _GAP, top - 0.08, error, fontsize=9, color=_WARNING
            )
        image, log_mel = _overlays(row.image, view, feature.image_size, scale)
        _draw_image(sheet, left, top, image, view.image_map is None)
        _draw_log_mel(sheet, left, top, log_mel, feature, view.log_mel_map is None)


def _overlays(
    image: ArrayLike, view: View, size: int, scale: float
) -> tuple[np.ndarray, np.ndarray]:
    """Image and log-mel with the maps of a run, in grey where there is no map."""
    image_picture = overlay.grey_image(image)
    if view.image_map is not None:
        centres = view.centres.get("image")
        image_picture = overlay.image_overlay(
            image, view.image_map, size, scale, centres
        )
    log_mel_picture = overlay.grey_log_mel(view.log_mel_db, _LOG_MEL_SHAPE)
    if view.log_mel_map is not None:
        log_mel_picture = overlay.log_mel_overlay(
            view.log_mel_db,
            view.log_mel_map,
            _LOG_MEL_SHAPE,
            scale,
            view.centres.get("log_mel"),
        )
    return image_picture, log_mel_picture


def _draw_image(
    sheet: _Sheet, left: float, top: float, picture: np.ndarray, unused: bool = False
) -> None:
    axes = sheet.axes(left, top, _SIDE, _SIDE)
    axes.imshow(picture, aspect="auto", interpolation="bilinear")
    axes.set_axis_off()
    if unused:
        _write_unused(axes, "image not used")


def _draw_log_mel(
    sheet: _Sheet,
    left: float,
    top: float,
    picture: np.ndarray,
    features: FeatureConfig,
    unused: bool = False,
) -> None:
    axes = sheet.axes(left + _SIDE + _GAP, top, _LENGTH, _SIDE)
    bands = features.mel_bins
    extent = (0, features.clip_seconds, -0.5, bands - 0.5)
    axes.imshow(picture, aspect="auto", extent=extent, interpolation="bilinear")
    ticks = [hz for hz in _TICKS_HZ if 0 <= band_of(hz, features) <= bands - 1]
    names = [f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz" for hz in ticks]
    axes.set_yticks([band_of(hz, features) for hz in ticks], names, fontsize=7)
    seconds = np.linspace(0, features.clip_seconds, 3)
    axes.set_xticks(seconds, [f"{s:g} s" for s in seconds], fontsize=7)
    axes.tick_params(length=2.5, pad=2, color=_GREY, labelcolor=_GREY)
    axes.spines[:].set_visible(False)
    if unused:
        _write_unused(axes, "sound not used")


def _write_unused(axes: Axes, text: str) -> None:
    axes.text(
        *(0.5, 0.5, text),
        ha="center",
        va="center",
        fontsize=9,
        transform=axes.transAxes,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85},
    )


def _draw_scale(sheet: _Sheet, top: float) -> None:
    """Draws the colours of a map over medium grey, from −1 to 1 of the scale."""
    shares = np.linspace(-1, 1, 255)
    grey = np.full((1, 255, 3), 150, np.uint8)
    colors = overlay.overlay(grey, shares[None], 1.0)[0] / 255
    axes = sheet.axes(_MARGIN, top, 2.2, 0.14)
    bar = LinearSegmentedColormap.from_list("negative to positive", colors, 255)
    axes.imshow(shares[None], cmap=bar, aspect="auto", extent=(-1, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1], ["−max", "0", "+max"], fontsize=8)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    text = (
        "Red raises the logit of the true scene, blue lowers it; max is the largest "
        "value of the row. The predictions of a run identify only the differences "
        "between maps of its scenes."
    )
    left = _MARGIN + 2.6
    wrapped = textwrap.fill(text, int(13 * (sheet.width - left - _MARGIN)))
    sheet.text(left, top - 0.02, wrapped, fontsize=9, color=_GREY, va="top")
