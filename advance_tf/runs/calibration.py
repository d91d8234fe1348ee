"""The calibration of a run: temperatures, and distances from its training pairs."""

import dataclasses
import io
import json
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from advance_tf.checksums import replacing_checked, verify
from advance_tf.config import Config
from advance_tf.data.manifest import Manifest
from advance_tf.files import DAMAGED_FILE_ERRORS
from advance_tf.metrics.calibration import (
    MIN_SAMPLES,
    TemperatureFit,
    fit_temperature,
)
from advance_tf.metrics.probabilities import softmax
from advance_tf.models.embedding_distance import EmbeddingDistance, fit_distance
from advance_tf.models.heads import heads_model, takes_mask, with_mask
from advance_tf.training.activations import stored_embeddings, trains_on_stored
from advance_tf.training.frozen import embedding_folder

CALIBRATION = "calibration.npz"
# Inputs of an answer → mask of image and sound.
MASKS: Mapping[str, tuple[float, float]] = {
    "both": (1.0, 1.0),
    "image": (1.0, 0.0),
    "sound": (0.0, 1.0),
}
_TOWERS = {"image": "image", "sound": "audio"}
_ARRAYS = ("mean", "scale", "scene_means", "directions", "weights")


@dataclasses.dataclass(frozen=True, eq=False)
class StoredCalibration:
    """What turns logits into calibrated answers, or "unknown".

    Attributes:
        temperatures: "both", "image" and "sound" → T of answers from these inputs; 1
            where the fit was refused.
        refusals: the same → why there is no fit, "" where there is one.
        distances: "image" and "sound" → distance of an embedding from the training
            pairs, with its threshold; without towers that are not in use.
        pairs: number of validation pairs.

    >>> stored = StoredCalibration({"both": 2.0, "image": 1.5, "sound": 3.0})
    >>> stored.row_temperatures([[1, 1], [0, 1]]).tolist()
    [2.0, 3.0]
    """

    temperatures: Mapping[str, float]
    refusals: Mapping[str, str] = dataclasses.field(default_factory=dict)
    distances: Mapping[str, EmbeddingDistance] = dataclasses.field(default_factory=dict)
    pairs: int = 0

    def row_temperatures(self, present: npt.ArrayLike) -> np.ndarray:
        """The temperature of each row of a batch.

        Args:
            present: [n, 2], 1 for an input that is there: image, sound.

        Returns:
            float64 [n].
        """
        of_mask = {mask: self.temperatures[name] for name, mask in MASKS.items()}
        rows = np.asarray(present, np.float64).tolist()
        return np.array([of_mask.get((a, b), 1.0) for a, b in rows])

    def summary(self) -> str:
        """The temperature or why there is none, as a line for a terminal."""
        reasons = sorted({text for text in self.refusals.values() if text})
        fitted = ", ".join(f"{k} {t:.2f}" for k, t in self.temperatures.items())
        if reasons:
            return f"Calibration: {' '.join(reasons)}"
        return f"Temperature, fitted on {self.pairs} validation pairs: {fitted}."

    def to_bytes(self) -> bytes:
        """The calibration as the contents of an .npz file."""
        arrays: dict[str, Any] = {
            f"{kind}_{name}": getattr(distance, name)
            for kind, distance in self.distances.items()
            for name in _ARRAYS
        }
        settings = {
            "temperatures": dict(self.temperatures),
            "refusals": dict(self.refusals),
            "pairs": self.pairs,
            "distances": {
                kind: {"residual": each.residual, "threshold": each.threshold}
                for kind, each in self.distances.items()
            },
        }
        buffer = io.BytesIO()
        np.savez(buffer, settings=np.array(json.dumps(settings)), **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, contents: bytes) -> "StoredCalibration":
        """The calibration of the result of `to_bytes`.

        Raises:
            ValueError: the contents are damaged.
        """
        try:
            with np.load(io.BytesIO(contents), allow_pickle=False) as stored:
                settings = json.loads(str(stored["settings"]))
                distances = {
                    kind: EmbeddingDistance(
                        *(stored[f"{kind}_{name}"] for name in _ARRAYS), **own
                    )
                    for kind, own in settings["distances"].items()
                }
            return cls(
                {name: float(settings["temperatures"][name]) for name in MASKS},
                dict(settings["refusals"]),
                distances,
                int(settings["pairs"]),
            )
        except DAMAGED_FILE_ERRORS as error:
            raise ValueError(f"the calibration is damaged: {error}") from error

    def save(self, workdir: pathlib.Path) -> None:
        """Writes calibration.npz to the work directory of a run."""
        with replacing_checked(workdir / CALIBRATION) as temporary:
            temporary.write_bytes(self.to_bytes())


def read_calibration(workdir: pathlib.Path) -> StoredCalibration | None:
    """Reads the calibration of a run.

    Args:
        workdir: folder of the run.

    Returns:
        The calibration; None for a run of a version before 0.2.0, or one whose
        training has not ended.

    Raises:
        ValueError: the file is damaged.
    """
    path = workdir / CALIBRATION
    if not path.exists():
        return None
    verify(path)
    try:
        return StoredCalibration.from_bytes(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path} must be the calibration of the run; {error}. Remove it and resume "
            "the run with `advance fit`, which fits it again."
        ) from error


def uncalibrated(pairs: int = 0) -> StoredCalibration:
    """The calibration of a run with too few validation pairs: T is 1.

    >>> uncalibrated(3).temperatures["both"]
    1.0

    Args:
        pairs: number of validation pairs.

    Returns:
        Temperatures of 1, the reason, and no distances.
    """
    text = (
        f"temperature not fitted, T = 1 is kept: the fit needs at least {MIN_SAMPLES} "
        f"validation pairs; the run has {pairs}."
    )
    ones, texts = dict.fromkeys(MASKS, 1.0), dict.fromkeys(MASKS, text)
    return StoredCalibration(ones, texts, pairs=pairs)


def fit_calibration(
    recognizer: keras.Model,
    config: Config,
    manifest: Manifest,
    workdir: str | pathlib.Path,
) -> StoredCalibration:
    """Fits temperatures and thresholds on the validation pairs of a run.

    The towers are run once on training and validation pairs; with frozen towers their
    stored embeddings are read. With modality_dropout each set of inputs has a
    temperature of its own. No test pair is used.

    Args:
        recognizer: the model with its best weights, in float32.
        config: configuration of the run.
        manifest: pairs and splits.
        workdir: folder of the run.

    Returns:
        The calibration. With fewer than 50 validation pairs all temperatures are 1,
        there are no distances, and the refusals state it.

    Raises:
        ValueError: a file cannot be read.
    """
    splits = np.array(manifest.splits)
    count = int((splits == "validation").sum())
    if count < MIN_SAMPLES:
        return uncalibrated(count)
    rows = np.flatnonzero(np.isin(splits, ("training", "validation")))
    training = splits[rows] == "training"
    # Not augmented; 0 stays 0, with which no activations are stored.
    views = min(1, config.training.cached_views)
    single = dataclasses.replace(config.training, cached_views=views)
    with tempfile.TemporaryDirectory() as temporary:
        frozen = trains_on_stored(config)
        embeddings = stored_embeddings(
            recognizer,
            dataclasses.replace(config, training=single),
            manifest.pairs,
            embedding_folder(config, workdir) if frozen else temporary,
            rows=rows.tolist(),
        )
    scenes = embeddings.scenes
    modality = config.model.modality
    distances = {}
    for kind, tower in _TOWERS.items():
        if modality in ("both", kind):
            values = embeddings.views(tower)[0]
            distance = fit_distance(values[training], scenes[training])
            distances[kind] = distance.with_threshold(values[~training])
    validation = embeddings.rows(np.flatnonzero(~training))
    heads = heads_model(recognizer)
    has_mask = takes_mask(heads)
    fits: dict[str, TemperatureFit] = {}
    for name, mask in MASKS.items():
        if has_mask or not fits:
            inputs = with_mask(heads, validation, mask)
            outputs = heads(inputs)
            probs = softmax(np.asarray(outputs["scene_logits"]))
            fits[name] = fit_temperature(probs, scenes[~training])
        else:
            fits[name] = fits["both"]
    return StoredCalibration(
        {name: fit.temperature for name, fit in fits.items()},
        {name: fit.refusal for name, fit in fits.items()},
        distances,
        count,
    )
