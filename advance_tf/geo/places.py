"""Prediction at places, from their sounds and images."""

import dataclasses
import itertools
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import soundfile
from tqdm import tqdm

from advance_tf.data.pairing import SOUND_ENDINGS
from advance_tf.files import replacing
from advance_tf.geo.build import write_jpeg
from advance_tf.geo.imagery import Imagery, Tile
from advance_tf.geo.recordings import Recording, Rejection
from advance_tf.geo.results import PlaceResult
from advance_tf.inference.examples import Example
from advance_tf.inference.model import Model
from advance_tf.inference.prediction import Prediction


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
    progress: bool = True,
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
            if problem := tile_problem(tile, settings):
                return problem, "", source
            image = tile.image
            if tile_dir is not None:
                path = str(pathlib.Path(tile_dir) / f"{number:06d}.jpg")
                with replacing(pathlib.Path(path)) as temporary:
                    write_jpeg(temporary, tile.image)
        # A sound that the model does not use must not refuse a place with an image.
        used = recording.file and (model.uses("sound") or image is None)
        sound = read_sound(recording.file) if used else None
        return Example(recording.name, image, sound), path, source
    except (ValueError, OSError, soundfile.SoundFileError) as error:
        return str(error), path, source


def tile_problem(tile: Tile, settings: TileSettings) -> str:
    """Why an image cannot be predicted, "" for one that can."""
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
