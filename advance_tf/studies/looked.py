"""Pairs as a run reads them, with its activation maps."""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import Pair
from advance_tf.data.media import media_errors
from advance_tf.features.image import decode_image
from advance_tf.features.log_mel import load_stats
from advance_tf.training.workdir import Run
from advance_tf.visualization.cam import ActivationMaps, Maps

_SHOWN_PIXELS = 320
# Pairs in a batch at most, so that their number decides no memory.
_AT_ONCE = 8


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
    """Reads pairs as evaluation does and maps scenes in each.

    Args:
        run: loaded.
        pairs: at least one.
        data_dir: folder of the data set.
        scenes: int [n], the scene to map in each, or [n, k], several in each.

    Returns:
        Their log-mels and maps, made in one pass through the model.

    Raises:
        ValueError: a file cannot be read.
    """
    features = run.config.features
    size = min(_AT_ONCE, run.config.training.batch_size)
    wanted = np.asarray(scenes, np.int64)
    activation = ActivationMaps(run.recognizer, run.config.model.modality)
    found: list[Maps] = []
    log_mels: list[np.ndarray] = []
    with media_errors(pairs, data_dir, features):
        for inputs, _ in make_dataset(pairs, data_dir, features, size):
            start = len(found) * size
            found.append(activation(inputs, wanted[start : start + size]))
            log_mels.append(inputs["log_mel"].numpy())
    stats = load_stats(features)
    decibel = np.concatenate(log_mels) * stats.std_db + stats.mean_db
    return Looked(decibel, _joined(found))


def _joined(batches: Sequence[Maps]) -> Maps:
    """The maps of all batches as those of one."""
    first = batches[0]
    rows = ("image", "log_mel", "image_logits", "sound_logits", "scene_probs")
    return dataclasses.replace(
        first,
        **{
            name: np.concatenate([getattr(maps, name) for maps in batches])
            for name in rows
            if getattr(first, name) is not None
        },
    )


def shown_image(path: pathlib.Path, side: int = _SHOWN_PIXELS) -> np.ndarray:
    """An image file for the eye: uint8 [side, side, 3], finer than the model's."""
    contents = tf.io.read_file(str(path))
    return decode_image(contents, side, str(path)).numpy().astype(np.uint8)
