"""Class activation maps of pairs, one run beside the other."""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from advance_tf.config import FeatureConfig
from advance_tf.features.log_mel import hz_to_mel
from advance_tf.visualization import overlay
from advance_tf.visualization.number_text import probability

_DPI = 120
_INK, _QUIET, _WARNING = "#222222", "#5a5a5a", "#b3261e"
_TICKS_HZ = (250, 1000, 4000, 16_000)
# All in inches.
_SIDE, _LENGTH, _GAP, _BLOCK_GAP = 1.75, 2.6, 0.5, 0.35
_BLOCK = _SIDE + _GAP + _LENGTH
_HEADER, _FOOTER, _MARGIN = 0.55, 0.3, 0.3
_SCALE = 0.9
_SPECTROGRAM = (256, 400)


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """What one run makes of one pair.

    Attributes:
        log_mel_db: [frames, mel_bins] in dB, as the run hears it.
        image_map: M_v of the true scene [h, w], None without looking.
        log_mel_map: M_a of the true scene [t, f], None without listening.
        true_prob: probability of the true scene.
        predicted: name of the most probable scene.
    """

    log_mel_db: np.ndarray
    image_map: np.ndarray | None
    log_mel_map: np.ndarray | None
    true_prob: float
    predicted: str


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One pair and how each run sees it.

    Attributes:
        stem: of the pair.
        scene: its true scene.
        image: [H, W, 3], levels 0..255.
        views: one for each run.
    """

    stem: str
    scene: str
    image: np.ndarray
    views: tuple[View, ...]


def band_of(hz: float, features: FeatureConfig) -> float:
    """The mel band whose centre is at a frequency, fractions in between.

    Args:
        hz: in Hz.
        features: the edges and the number of the bands are read.

    Returns:
        0 at the centre of the lowest band; outside [0, mel_bins − 1] for a
        frequency outside the centres.
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
    """A row per pair: image, log-mel, then both under each run's maps.

    Red positions speak for the true scene, blue ones against it. Full colour is
    the largest |M| of the row: all maps of a pair, of every run, of image and
    of sound, share one scale, since all are parts of logits. Of a run only the
    differences between maps of its scenes are identified, see `ActivationMaps`.

    Args:
        names: of the runs.
        features: of the runs, for the axes.
        rows: one for each pair, with a view for each run.
        title: stands above everything.
        note: how the pairs were chosen; stands below the title.
        label: what must be said of the data, in a colour of warning.

    Returns:
        A figure for `canvas.png`.

    Raises:
        ValueError: there is no row or no run, or a row lacks a view.
    """
    if not rows or not names or any(len(row.views) != len(names) for row in rows):
        raise ValueError(
            "Each row must have one view for each run, at least one; received "
            f"{[len(row.views) for row in rows]} views for {len(names)} runs."
        )
    width = 2 * _MARGIN + (len(names) + 1) * (_BLOCK + _BLOCK_GAP) - _BLOCK_GAP
    heads = _heads(width, title, note, label)
    top = _MARGIN + sum(height for *_, height in heads)
    row_height = _HEADER + _SIDE + _FOOTER
    height = top + len(rows) * row_height + _SCALE
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    place = _Place(figure, width, height)
    at = _MARGIN
    for text, style, lines in heads:
        place.text(_MARGIN, at, text, va="top", **style)
        at += lines
    for number, row in enumerate(rows):
        _draw_row(place, top + number * row_height + _HEADER, names, features, row)
    _draw_scale(place, height - _SCALE + 0.2)
    return figure


class _Place:
    """Axes and text at inches from the left and the top."""

    def __init__(self, figure: Figure, width: float, height: float):
        self.figure, self.width, self.height = figure, width, height

    def axes(self, left: float, top: float, width: float, height: float):
        bottom = 1 - (top + height) / self.height
        box = (left / self.width, bottom, width / self.width, height / self.height)
        return self.figure.add_axes(box)

    def text(self, left: float, top: float, text: str, **given) -> None:
        style: dict[str, Any] = {"color": _INK, "parse_math": False} | given
        self.figure.text(left / self.width, 1 - top / self.height, text, **style)


def _heads(width: float, title: str, note: str, label: str) -> list[tuple]:
    """Text, style and height of what stands above the rows."""
    wanted: tuple[tuple[str, int, float, dict[str, str]], ...] = (
        (label, 10, 0.2, {"color": _WARNING, "fontweight": "bold"}),
        (title, 14, 0.3, {"fontweight": "bold"}),
        (note, 10, 0.2, {"color": _QUIET}),
    )
    found = []
    for text, size, line, style in wanted:
        if text:
            wrapped = textwrap.fill(text, int(120 * (width - 2 * _MARGIN) / size))
            height = line * (wrapped.count("\n") + 1) + 0.08
            found.append((wrapped, style | {"fontsize": size}, height))
    return found


def _draw_row(place: _Place, top: float, names, features, row: Row) -> None:
    maps = [
        map_
        for view in row.views
        for map_ in (view.image_map, view.log_mel_map)
        if map_ is not None
    ]
    scale = overlay.largest(maps)
    left = _MARGIN
    place.text(left, top - 0.26, row.scene, fontsize=11, fontweight="bold")
    place.text(left, top - 0.08, row.stem, fontsize=9, color=_QUIET)
    _draw_image(place, left, top, np.asarray(row.image).astype(np.uint8))
    first = overlay.log_mel_picture(row.views[0].log_mel_db, _SPECTROGRAM)
    _draw_log_mel(place, left, top, first, features[0])
    for name, feature, view in zip(names, features, row.views, strict=True):
        left += _BLOCK + _BLOCK_GAP
        place.text(left, top - 0.26, name, fontsize=11, fontweight="bold")
        shown = f"p({row.scene}) = {probability(view.true_prob)}"
        place.text(left, top - 0.08, shown, fontsize=9)
        if view.predicted != row.scene:
            says = f"predicts {view.predicted}"
            place.text(
                left + _SIDE + _GAP, top - 0.08, says, fontsize=9, color=_WARNING
            )
        seen, heard = _pictures(row.image, view, feature.image_size, scale)
        _draw_image(place, left, top, seen, view.image_map is None)
        _draw_log_mel(place, left, top, heard, feature, view.log_mel_map is None)


def _pictures(image, view: View, size: int, scale: float):
    """The image and the run's own log-mel under its maps, in grey without one."""
    seen = overlay.image_picture(image)
    if view.image_map is not None:
        seen = overlay.image_overlay(image, view.image_map, size, scale)
    heard = overlay.log_mel_picture(view.log_mel_db, _SPECTROGRAM)
    if view.log_mel_map is not None:
        heard = overlay.log_mel_overlay(
            view.log_mel_db, view.log_mel_map, _SPECTROGRAM, scale
        )
    return seen, heard


def _draw_image(place: _Place, left: float, top: float, picture, unused=False) -> None:
    axes = place.axes(left, top, _SIDE, _SIDE)
    axes.imshow(picture, aspect="auto", interpolation="bilinear")
    axes.set_axis_off()
    if unused:
        _write_unused(axes, "image not used")


def _draw_log_mel(
    place: _Place, left: float, top: float, picture, features, unused=False
) -> None:
    axes = place.axes(left + _SIDE + _GAP, top, _LENGTH, _SIDE)
    bands = features.mel_bins
    extent = (0, features.clip_seconds, -0.5, bands - 0.5)
    axes.imshow(picture, aspect="auto", extent=extent, interpolation="bilinear")
    ticks = [hz for hz in _TICKS_HZ if 0 <= band_of(hz, features) <= bands - 1]
    names = [f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz" for hz in ticks]
    axes.set_yticks([band_of(hz, features) for hz in ticks], names, fontsize=7)
    seconds = np.linspace(0, features.clip_seconds, 3)
    axes.set_xticks(seconds, [f"{s:g} s" for s in seconds], fontsize=7)
    axes.tick_params(length=2.5, pad=2, color=_QUIET, labelcolor=_QUIET)
    axes.spines[:].set_visible(False)
    if unused:
        _write_unused(axes, "sound not used")


def _write_unused(axes, text: str) -> None:
    style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85}
    axes.text(
        *(0.5, 0.5, text),
        ha="center",
        va="center",
        fontsize=9,
        transform=axes.transAxes,
        bbox=style,
    )


def _draw_scale(place: _Place, top: float) -> None:
    """The colours of a map over mid grey, from −1 to 1 of the scale."""
    shares = np.linspace(-1, 1, 255)
    grey = np.full((1, 255, 3), 150, np.uint8)
    colors = overlay.overlay(grey, shares[None], 1.0)[0] / 255
    axes = place.axes(_MARGIN, top, 2.2, 0.14)
    bar = LinearSegmentedColormap.from_list("for and against", colors, 255)
    axes.imshow(shares[None], cmap=bar, aspect="auto", extent=(-1, 1, 0, 1))
    axes.set_yticks([])
    axes.set_xticks([-1, 0, 1], ["−max", "0", "+max"], fontsize=8)
    axes.tick_params(length=0, pad=3)
    axes.spines[:].set_visible(False)
    text = (
        "Red speaks for the true scene, blue against it: parts of the scene's logit, "
        "of which max is the largest of the row. What a run predicts identifies only "
        "the differences between maps of its scenes."
    )
    left = _MARGIN + 2.6
    wrapped = textwrap.fill(text, int(13 * (place.width - left - _MARGIN)))
    place.text(left, top - 0.02, wrapped, fontsize=9, color=_QUIET, va="top")
