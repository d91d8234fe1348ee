"""Prediction over a raster: the scene of each cell of a grid, as GeoTIFF."""

import collections
import dataclasses
import functools
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from tqdm import tqdm

from advance_tf import labels
from advance_tf.data.places import nearest_places
from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.geo.imagery import Imagery, grid_of_places
from advance_tf.geo.places import TileSettings, read_sound, tile_problem
from advance_tf.geo.recordings import Recording
from advance_tf.inference.examples import Example
from advance_tf.inference.model import Model
from advance_tf.inference.prediction import UNKNOWN

if TYPE_CHECKING:
    from affine import Affine

_log = logging.getLogger(__name__)

# Classes of a raster: 0 is no prediction, 1 to 13 the scenes in their order, 14 an
# answer that is rejected.
NO_CLASS = 0
_CLASSES = (*labels.scenes(), UNKNOWN)
_COLORS = (*labels.SCENE_COLORS, labels.UNKNOWN_COLOR)
CONFIDENCE = "_confidence.tif"
# Neighbouring cells have the same recording.
_SOUNDS_IN_MEMORY = 8


@dataclasses.dataclass(frozen=True, eq=False)
class SceneRaster:
    """Scenes over a raster.

    Attributes:
        classes: uint8 [rows, columns], 0 for no prediction, 1 to 13 for the scenes,
            14 for "unknown".
        confidence: float32 [rows, columns], NaN for no prediction.
        crs: coordinate system of rasterio.
        transform: from column and row to coordinates.
        with_sound: number of cells that a recording near by was used for.
        refused: reason → number of cells with data whose prediction it prevented.
    """

    classes: np.ndarray
    confidence: np.ndarray
    crs: Any
    transform: "Affine"
    with_sound: int
    refused: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def predicted(self) -> int:
        """Number of cells with a prediction."""
        return int((self.classes != NO_CLASS).sum())


def predict_raster(
    model: Model,
    imagery: Imagery,
    stride_metres: float,
    tiles: TileSettings | None = None,
    *,
    recordings: Sequence[Recording] = (),
    sound_metres: float = 500.0,
    batch_size: int = 16,
    progress: bool = True,
) -> SceneRaster:
    """Predicts the scene around each cell of a grid over a raster.

    Args:
        model: a loaded model that uses the image.
        imagery: open rasters; the grid is over the first one.
        stride_metres: side of a cell.
        tiles: how images are cut around the centre of a cell.
        recordings: soundscapes; a cell uses the nearest one that can be read.
        sound_metres: largest distance of a recording that a cell uses; others are
            predicted from the image alone.
        batch_size: cells in memory at once.
        progress: show a progress bar on a terminal.

    Returns:
        Classes and confidences; none where the image has no data.

    Raises:
        ValueError: the model does not use the image, or the raster is smaller than
            one cell.
    """
    if not model.uses("image"):
        raise ValueError(
            "A prediction over a raster needs a model that uses the image; received "
            f"one with `modality` {model.modality}."
        )
    settings = tiles or TileSettings()
    crs, transform, places = grid_of_places(imagery, stride_metres)
    rows, columns = places.shape[:2]
    sounding = recordings if model.uses("sound") else ()
    nearest, sounds = _sounds_of(places.reshape(-1, 2), sounding, sound_metres)
    read = functools.lru_cache(maxsize=_SOUNDS_IN_MEMORY)(read_sound)
    classes = np.zeros(rows * columns, np.uint8)
    confidence = np.full(rows * columns, np.nan, np.float32)
    used, refused = 0, collections.Counter[str]()

    def examples() -> Iterator[Example]:
        cells = places.reshape(-1, 2).tolist()
        for cell, place in enumerate(
            tqdm(cells, "cells", unit="cell", disable=None if progress else True)
        ):
            latitude, longitude = place
            try:
                tile = imagery.tile(
                    latitude, longitude, settings.ground_metres, settings.pixels
                )
            except ValueError as error:
                _log.warning("%s", error)
                refused["the imagery cannot be read"] += 1
                continue
            if not tile_problem(tile, settings):
                path = sounds.get(nearest[cell])
                sound = None if path is None else read(path)
                yield Example(str(cell), tile.image, sound)

    scenes = {scene: number for number, scene in enumerate(_CLASSES, start=1)}
    for answer in model.predict_batch(examples(), batch_size=batch_size, events=False):
        cell = int(answer.name)
        if not answer.ok:
            refused[answer.status] += 1
            continue
        classes[cell] = scenes[answer.scene]
        confidence[cell] = answer.confidence
        used += nearest[cell] >= 0
    shape = (rows, columns)
    return SceneRaster(
        *(classes.reshape(shape), confidence.reshape(shape), crs, transform, used),
        refused=dict(refused),
    )


def _sounds_of(
    places: np.ndarray, recordings: Sequence[Recording], metres: float
) -> tuple[list[int], dict[int, str]]:
    """Index of the nearest recording of each place, -1 for none, and its file."""
    usable = {index: one for index, one in enumerate(recordings) if one.file}
    sounds: dict[int, str] = {}
    while True:
        nearest = _nearest(places, usable, metres)
        waiting = sorted(set(nearest) - {-1} - sounds.keys())
        for index in waiting:
            path = usable[index].file
            try:
                # The header of a WAV file, which the model reads.
                soundfile.info(path)
                read_sound(path)
                sounds[index] = path
            except (OSError, soundfile.SoundFileError) as error:
                _log.warning("The recording %s is left out. %s", path, error)
                del usable[index]
        if sounds.keys() >= set(waiting):
            return nearest, sounds


def _nearest(
    places: np.ndarray, recordings: Mapping[int, Recording], metres: float
) -> list[int]:
    """Index of the nearest recording of each place, -1 beyond the distance."""
    own = [(index, one.latitude, one.longitude) for index, one in recordings.items()]
    if not own:
        return [-1] * len(places)
    table = np.array(own)
    found, distance = nearest_places(places, table[:, 1:])
    indices = table[found, 0].astype(int)
    return [
        int(index) if away <= metres else -1
        for index, away in zip(indices, distance, strict=True)
    ]


def write_scene_raster(
    result: SceneRaster,
    path: str | pathlib.Path,
    tags: dict[str, str] | None = None,
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes classes and confidences as cloud-optimized GeoTIFFs.

    A GeoTIFF has a colour table only with a single band, so that the confidence is a
    file of its own, `<name>_confidence.tif`.

    Args:
        result: classes and confidences.
        path: file of the classes, `<name>.tif`: uint8 with a colour table, 0 is no
            data; its tags `class_1` to `class_14` name the classes.
        tags: further tags of both files.

    Returns:
        The paths of both files.

    Raises:
        ImportError: the extra `geo` is not installed.
    """
    with requires_extra("geo"):
        import rasterio
    path = pathlib.Path(path)
    names = {f"class_{k}": name for k, name in enumerate(_CLASSES, start=1)}
    table = {
        number: (*bytes.fromhex(color.removeprefix("#")), 255)
        for number, color in enumerate(_COLORS, start=1)
    }
    height, width = result.classes.shape
    profile = {
        **{"driver": "COG", "height": height, "width": width, "count": 1},
        **{"crs": result.crs, "transform": result.transform, "compress": "deflate"},
    }
    beside = path.with_name(path.stem + CONFIDENCE)
    with replacing(path) as temporary:
        given = profile | {"dtype": "uint8", "nodata": NO_CLASS}
        # Reduced copies of classes must not average them.
        with rasterio.open(
            temporary, "w", **given, overview_resampling="nearest"
        ) as raster:
            raster.write(result.classes, 1)
            raster.write_colormap(1, {NO_CLASS: (0, 0, 0, 0)} | table)
            raster.update_tags(**names, **(tags or {}))
    with replacing(beside) as temporary:
        given = profile | {"dtype": "float32", "nodata": math.nan}
        with rasterio.open(temporary, "w", **given) as raster:
            raster.write(result.confidence, 1)
            raster.update_tags(**(tags or {}))
    return path, beside


def summary(result: SceneRaster) -> str:
    """Number of cells of each scene of a raster, as text."""
    counts = np.bincount(result.classes.ravel(), minlength=len(_CLASSES) + 1)
    lines = [
        f"{scene:20} {count:6} cells"
        for scene, count in zip(_CLASSES, counts[1:].tolist(), strict=True)
        if count
    ]
    refused = sum(result.refused.values())
    lines.append(
        f"{result.classes.size} cells = {result.predicted} answered + "
        f"{counts[0] - refused} without data + {refused} refused; {result.with_sound} "
        "with a sound"
    )
    lines += [f"refused: {count} cells: {why}" for why, count in result.refused.items()]
    return "\n".join(lines)
