"""The map of places: one HTML file without external resources, and its data."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile
import tensorflow as tf

from advance_tf import labels
from advance_tf.csv_tables import read_cells
from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.geo.projection import longitude_range
from advance_tf.geo.results import PlaceResult
from advance_tf.inference.prediction import UNKNOWN
from advance_tf.reporting.media import data_uri, jpeg_uri, sound_uri

with requires_extra("report"):
    import jinja2

TEMPLATE = "map.html.j2"
# Events and digits of a probability in the page.
_EVENTS, _DIGITS = 5, 4
_IMAGE_PIXELS = 320
# Longest sound in the page.
_SOUND_SECONDS = 10.0


@dataclasses.dataclass(frozen=True, eq=False)
class Background:
    """An image below the places.

    Attributes:
        image: uint8 [H, W, 4], RGB and opacity, in equal steps of degrees.
        bounds: west, south, east and north in degrees; east is more than 180 for an
            image across the 180th meridian.
    """

    image: np.ndarray
    bounds: tuple[float, float, float, float]

    def uri(self) -> str:
        """The image as a PNG in a data URI."""
        return data_uri("image/png", tf.io.encode_png(self.image).numpy())


@dataclasses.dataclass(frozen=True, eq=False)
class PlaceMap:
    """The values that the template of the map shows.

    Attributes:
        places: the places as JSON values.
        scenes: names of the scenes, and "unknown".
        colors: colour of each scene.
        counts: number of places of each scene.
        json: all data as JSON, safe inside an HTML script element.
    """

    places: list[dict[str, Any]]
    scenes: tuple[str, ...]
    colors: tuple[str, ...]
    counts: list[int]
    json: str


def place_map(
    results: Sequence[PlaceResult],
    *,
    background: Background | None = None,
    media_limit: int = 100,
    media_folder: str | pathlib.Path = "",
    notes: Sequence[Sequence[str]] = (),
) -> PlaceMap:
    """Computes the data of a map.

    Args:
        results: rows; those without a scene or without coordinates are left out.
        background: an image below the places; the world's coastline is always drawn.
        media_limit: number of places, evenly chosen, whose image and sound are in
            the page; others show their probabilities only.
        media_folder: folder that relative paths of media begin at.
        notes: lines to show with each of `results`.

    Returns:
        The data.

    Raises:
        ValueError: no row has coordinates and a scene.
    """
    names = (*labels.scenes(), UNKNOWN)
    colors = (*labels.SCENE_COLORS, labels.UNKNOWN_COLOR)
    known = {scene: index for index, scene in enumerate(names)}
    shown = [
        (one, list(notes[index]) if notes else [])
        for index, one in enumerate(results)
        if one.scene in known
        and math.isfinite(one.latitude)
        and math.isfinite(one.longitude)
    ]
    if not shown:
        raise ValueError(
            "A map needs places with coordinates and a scene; received none in "
            f"{len(results)} rows. Predict recordings with coordinates, see "
            "`advance predict`."
        )
    wanted = set(
        np.linspace(0, len(shown) - 1, min(media_limit, len(shown))).astype(int)
    )
    places: list[dict[str, Any]] = []
    for index, (one, lines) in enumerate(shown):
        place: dict[str, Any] = {
            "name": one.name,
            "lat": round(one.latitude, 6),
            "lon": round(one.longitude, 6),
            "scene": known[one.scene],
            "confidence": _rounded(one.confidence),
            "probs": [_rounded(one.probabilities[s]) for s in labels.scenes()]
            if one.probabilities
            else [],
            "events": [[name, _rounded(p)] for name, p in one.events[:_EVENTS]],
        }
        if one.reason:
            lines.insert(0, f"unknown: {one.reason}")
        if lines:
            place["notes"] = lines
        if index in wanted:
            folder = pathlib.Path(media_folder)
            place |= {"image": picture_uri(folder, one.image)}
            place |= {"sound": clip_uri(folder, one.sound)}
        places.append(place)
    latitudes = [place["lat"] for place in places]
    west, east = longitude_range([place["lon"] for place in places])
    values = {
        "scenes": names,
        "colors": colors,
        "places": places,
        "bounds": (west, min(latitudes), east, max(latitudes)),
        "coastline": _coastline(),
        "background": {"image": background.uri(), "bounds": background.bounds}
        if background
        else None,
    }
    counts = [0] * len(known)
    for place in places:
        counts[place["scene"]] += 1
    return PlaceMap(places, names, colors, counts, script_json(values))


def _rounded(value: float) -> float | None:
    return round(float(value), _DIGITS) if math.isfinite(value) else None


def script_json(values: Any) -> str:
    r"""JSON that is safe inside an HTML script element.

    Args:
        values: values that JSON can hold.

    Returns:
        The text, in which no `<` can end the element.

    >>> script_json({"name": "</script>"})
    '{"name":"\\u003c/script>"}'
    """
    text = json.dumps(
        values, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    for letter in "<\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _coastline() -> list[list[float]]:
    """Rings of the world's land, each a list of longitude and latitude in turn."""
    rings: dict[str, list[float]] = {}
    for _, cells in list(read_cells(labels.asset_path("coastline.csv")))[1:]:
        rings.setdefault(cells[0], []).extend(map(float, cells[1:]))
    return list(rings.values())


def picture_uri(folder: pathlib.Path, name: str, pixels: int = _IMAGE_PIXELS) -> str:
    """A reduced image as JPEG in a data URI.

    Args:
        folder: folder that a relative path begins at.
        name: path of a JPEG, PNG, BMP or WebP file, "" for none.
        pixels: side of the image.

    Returns:
        The data URI; "" without a file that can be read.
    """
    if not name or not (folder / name).is_file():
        return ""
    try:
        contents = tf.io.read_file(str(folder / name))
        image = tf.io.decode_image(contents, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError:
        return ""
    small = tf.image.resize(image, (pixels, pixels), "area")
    return jpeg_uri(tf.cast(tf.round(small), tf.uint8))


def clip_uri(folder: pathlib.Path, name: str) -> str:
    """The first 10 s of a sound in a data URI.

    Args:
        folder: folder that a relative path begins at.
        name: path of a sound, "" for none.

    Returns:
        The data URI; "" without a file that can be read.
    """
    if not name or not (folder / name).is_file():
        return ""
    try:
        with soundfile.SoundFile(folder / name) as sound:
            frames = round(_SOUND_SECONDS * sound.samplerate)
            samples = sound.read(frames, "float32", always_2d=True).mean(axis=1)
            return sound_uri(samples, sound.samplerate)
    except soundfile.SoundFileError:
        return ""


def environment() -> "jinja2.Environment":
    """The templates of the pages, in which every value is escaped."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(labels.asset_path(TEMPLATE).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_map(
    results: Sequence[PlaceResult],
    output: str | pathlib.Path,
    *,
    title: str = "Map",
    chips: dict[str, str] | None = None,
    notice: str = "",
    credits: str = "",
    **data: Any,
) -> PlaceMap:
    """Writes a map as one HTML file.

    Args:
        results: rows, see `place_map`.
        output: HTML file.
        title: heading of the page.
        chips: facts below the heading, name → value.
        notice: remark about the data, "" for none.
        credits: line below the map.
        **data: further arguments of `place_map`.

    Returns:
        The data of the map.

    Raises:
        ValueError: no row has coordinates and a scene.
    """
    shown = place_map(results, **data)
    page = environment().get_template(TEMPLATE)
    values = {"title": title, "chips": chips or {}, "notice": notice, "map": shown}
    with replacing(pathlib.Path(output)) as temporary:
        temporary.write_text(page.render(values, credits=credits), encoding="utf-8")
    return shown
