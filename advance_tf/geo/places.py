"""Prediction at places, and over a raster at regular steps."""

import collections
import dataclasses
import itertools
import logging
import math
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile
from tqdm import tqdm

from advance_tf import labels
from advance_tf.data.pairing import SOUND_ENDINGS
from advance_tf.data.places import nearest_places
from advance_tf.extras import requires_extra
from advance_tf.files import replacing
from advance_tf.geo.build import write_jpeg
from advance_tf.geo.imagery import Imagery, Tile, grid_of_places
from advance_tf.geo.recordings import Recording, Rejection
from advance_tf.geo.results import PlaceResult
from advance_tf.inference.examples import Example
from advance_tf.inference.model import Model
from advance_tf.inference.prediction import UNKNOWN, Prediction

if TYPE_CHECKING:
    from affine import Affine

_log = logging.getLogger(__name__)

# Classes of a raster: 0 is no prediction, 1 to 13 the scenes in their order, 14 an
# answer that is rejected.
NO_CLASS = 0
_CLASSES = (*labels.scenes(), UNKNOWN)
_COLORS = (*labels.SCENE_COLORS, labels.UNKNOWN_COLOR)
CONFIDENCE = "_confidence.tif"


@dataclasses.dataclass(frozen=True)
class TileSettings:
    """How images are cut from rasters for prediction.

    Attributes:
        ground_metres: side of the square in metres: that of the training images.
        pixels: side of the image.
        max_missing: largest share of an image without data.
    """

    ground_metres: float = 256.0
    pixels: int = 512
    max_missing: float = 0.02

    def __post_init__(self) -> None:
        """Raises ValueError for values that are out of range."""
        if not (self.ground_metres > 0 and self.pixels >= 1):
            raise ValueError(
                "ground_metres must be greater than 0 and `pixels` at least 1; received"
                f" {self.ground_metres:g} and {self.pixels}."
            )


def predict_places(
    model: Model,
    recordings: Sequence[Recording],
    imagery: Imagery | None = None,
    tiles: TileSettings | None = None,
    *,
    rejections: Sequence[Rejection] = (),
    top: int = 5,
    batch_size: int = 16,
    tile_dir: str | pathlib.Path | None = None,
    sha256: str = "",
    progress: bool = False,
) -> Iterator[PlaceResult]:
    """Predicts the scene of each place from its sound and its image.

    Args:
        model: a loaded model.
        recordings: sounds, images or both with coordinates; a row without an image
            gets the one of `imagery` at its place.
        imagery: open rasters, None to use images of the rows only.
        tiles: how images are cut.
        rejections: rows that `read_recordings` refused; they become results with
            their reason.
        top: number of events to keep.
        batch_size: places in memory at once.
        tile_dir: folder to write the images that were cut, None not to.
        sha256: hash of the model, for the results.
        progress: show a progress bar on a terminal.

    Yields:
        One result for each recording, then one for each rejection.
    """
    settings = tiles or TileSettings()
    numbered = enumerate(
        tqdm(recordings, "places", unit="place", disable=None if progress else True)
    )
    while batch := list(itertools.islice(numbered, batch_size)):
        prepared = [
            _example(model, one, number, imagery, settings, tile_dir)
            for number, one in batch
        ]
        examples = [one[0] for one in prepared if isinstance(one[0], Example)]
        answers = model.predict_batch(examples, batch_size=batch_size)
        for (_, recording), (example, image, source) in zip(
            batch, prepared, strict=True
        ):
            place = (recording.latitude, recording.longitude)
            given = {"image": image, "sound": recording.file, "image_source": source}
            if isinstance(example, str):
                yield PlaceResult(
                    recording.name, example, *place, **given, model_sha256=sha256
                )
            else:
                answer = next(answers)
                yield dataclasses.replace(
                    _result(recording.name, answer, place, top),
                    **given,
                    model_sha256=sha256,
                )
    for rejection in rejections:
        yield PlaceResult(rejection.name, rejection.reason, model_sha256=sha256)


def _example(
    model: Model,
    recording: Recording,
    number: int,
    imagery: Imagery | None,
    settings: TileSettings,
    tile_dir: str | pathlib.Path | None,
) -> tuple[Example | str, str, str]:
    """The example or why there is none, the path and the source of its image."""
    image: Any = recording.image or None
    path, source = recording.image, ""
    try:
        if image is None and imagery is not None and model.uses("image"):
            tile = imagery.tile(
                *(recording.latitude, recording.longitude),
                *(settings.ground_metres, settings.pixels),
            )
            source = tile.source
            if problem := _tile_problem(tile, settings):
                return problem, "", source
            image = tile.image
            if tile_dir is not None:
                path = str(pathlib.Path(tile_dir) / f"{number:06d}.jpg")
                with replacing(pathlib.Path(path)) as temporary:
                    write_jpeg(temporary, tile.image)
        sound = read_sound(recording.file) if recording.file else None
        return Example(recording.name, image, sound), path, source
    except (ValueError, OSError, soundfile.SoundFileError) as error:
        return str(error), path, source


def _tile_problem(tile: Tile, settings: TileSettings) -> str:
    if tile.missing >= 1:
        return "no raster covers the place"
    if tile.missing > settings.max_missing:
        return f"{tile.missing:.1%} of the image has no data"
    return ""


def read_sound(path: str) -> Any:
    """A sound that a model reads: a WAV file by its path, another one decoded.

    Args:
        path: a file in a format of libsndfile.

    Returns:
        The path of a WAV file; else samples, float32 [n, channels], and the rate.

    Raises:
        soundfile.SoundFileError: the file cannot be read.
    """
    if pathlib.Path(path).suffix.lower() in SOUND_ENDINGS:
        return path
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    return samples, rate_hz


def _result(
    name: str, answer: Prediction, place: tuple[float, float], top: int
) -> PlaceResult:
    probabilities = answer.scene_probs
    return PlaceResult(
        *(name, answer.status, *place),
        scene=answer.scene,
        confidence=answer.confidence if answer.ok else math.nan,
        probabilities=probabilities,
        events=answer.events[:top],
        reason=answer.reason,
    )


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
    progress: bool = False,
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
    nearest, sounds = _sounds_of(places.reshape(-1, 2), recordings, sound_metres)
    classes = np.zeros(rows * columns, np.uint8)
    confidence = np.full(rows * columns, np.nan, np.float32)
    used, refused = 0, collections.Counter[str]()

    def examples() -> Iterator[tuple[int, Example]]:
        cells = places.reshape(-1, 2).tolist()
        for cell, place in enumerate(
            tqdm(cells, "cells", unit="cell", disable=None if progress else True)
        ):
            latitude, longitude = place
            tile = imagery.tile(
                latitude, longitude, settings.ground_metres, settings.pixels
            )
            if not _tile_problem(tile, settings):
                sound = sounds.get(nearest[cell])
                yield cell, Example(str(cell), tile.image, sound)

    scenes = {scene: number for number, scene in enumerate(_CLASSES, start=1)}
    for answer in _answers(model, examples(), batch_size):
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


def _answers(
    model: Model, cells: Iterable[tuple[int, Example]], batch_size: int
) -> Iterator[Prediction]:
    yield from model.predict_batch(
        (example for _, example in cells), batch_size=batch_size, events=False
    )


def _sounds_of(
    places: np.ndarray, recordings: Sequence[Recording], metres: float
) -> tuple[list[int], dict[int, Any]]:
    """Index of the nearest recording of each place, -1 for none, and its sound."""
    usable = {index: one for index, one in enumerate(recordings) if one.file}
    sounds: dict[int, Any] = {}
    while True:
        nearest = _nearest(places, usable, metres)
        waiting = sorted(set(nearest) - {-1} - sounds.keys())
        for index in waiting:
            path = usable[index].file
            try:
                # The header of a WAV file, which the model reads.
                soundfile.info(path)
                sounds[index] = read_sound(path)
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
