"""Pairs as a run reads them, with its activation maps."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats
from advance_tf.training.workdir import Run
from advance_tf.visualization.cam import ActivationMaps, Maps

_SHOWN_PIXELS = 320


@dataclasses.dataclass(frozen=True, eq=False)
class Looked:
    """Pairs as a run reads them, with its maps.

    Attributes:
        log_mel_db: float32 [n, frames, mel_bins] in dB.
        maps: of the wanted scenes, see `cam.Maps`.
    """

    log_mel_db: np.ndarray
    maps: Maps


def look(
    run: Run,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    scenes: Sequence[int] | np.ndarray,
) -> Looked:
    """Reads pairs as evaluation does and maps a scene in each.

    Args:
        run: loaded.
        pairs: at least one; all in one batch.
        data_dir: folder of the data set.
        scenes: int [n], the scene to map in each.

    Returns:
        Their log-mels and maps.

    Raises:
        ValueError: a file cannot be read.
    """
    features = run.config.features
    with media_errors(pairs, data_dir, features):
        inputs, _ = next(iter(make_dataset(pairs, data_dir, features, len(pairs))))
    stats = load_stats(features)
    decibel = inputs["log_mel"].numpy() * stats.std_db + stats.mean_db
    activation = ActivationMaps(run.recognizer, run.config.model.modality)
    return Looked(decibel, activation(inputs, np.asarray(scenes, np.int64)))


def shown_image(path: pathlib.Path, side: int = _SHOWN_PIXELS) -> np.ndarray:
    """An image file for the eye: uint8 [side, side, 3], finer than the model's."""
    contents = tf.io.read_file(str(path))
    return decode_image(contents, side, str(path)).numpy().astype(np.uint8)


def scene_indices(pairs: Sequence[Pair]) -> np.ndarray:
    """The true scenes of pairs, int64 [n]."""
    return np.array([labels.scenes().index(pair.scene) for pair in pairs], np.int64)
