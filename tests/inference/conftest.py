"""One recognizer with a mask and a calibration, in every format."""

import dataclasses
import pathlib
from typing import Any

import keras
import numpy as np
import pytest

from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TransferConfig,
)
from advance_tf.data.manifest import make_manifest
from advance_tf.data.synthetic.pairs import LABEL, write_pairs
from advance_tf.inference.loading import load_model
from advance_tf.inference.predictor import Predictor
from advance_tf.models.embedding_distance import fit_distance
from advance_tf.models.recognizer import build_recognizer
from advance_tf.runs.calibration import StoredCalibration
from advance_tf.runs.workdir import MANIFEST, load_run, write_config
from advance_tf.serving.export import (
    export_litert,
    export_onnx,
    export_saved_model,
)
from advance_tf.training.callbacks import BEST_WEIGHTS
from tests.built_once import build_once

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)
RATE_HZ = 16_000
TEMPERATURES = {"both": 2.0, "image": 3.0, "sound": 0.5}
TRANSFER = "kl_audiovisual"


def noise_image(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(8, 0).repeat(8, 1)


def noise_sound(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(0, 0.1, RATE_HZ).astype(np.float32)


def write_masked_run(folder: pathlib.Path) -> None:
    """An untrained run with a mask, normalization and a calibration."""
    keras.utils.set_random_seed(1)
    write_pairs(folder / "data", sites_per_scene=2)
    model = ModelConfig(
        modality="both",
        image_depth=18,
        audio_depth=18,
        image_width=4,
        audio_width=4,
        modality_dropout=0.5,
        normalize_embeddings=True,
    )
    config = Config(
        data=DataConfig(data_dir=str(folder / "data")),
        features=FEATURES,
        model=model,
        transfer=TransferConfig(transfer=TRANSFER),
    )
    recognizer = build_recognizer(model, FEATURES, TRANSFER)
    predictor = Predictor(recognizer, FEATURES)
    inputs = predictor.inputs(
        np.stack([noise_image(k) for k in range(24)]),
        np.stack([noise_sound(k) for k in range(24)]),
    )
    found = predictor.embed(inputs)
    rng = np.random.default_rng(2)
    for kind, tower in (("image", "image"), ("sound", "audio")):
        # A wide normalization: the towers are not trained, and other inputs are far
        # from these.
        recognizer.get_layer(f"{tower}_normalization").adapt(20 * found[kind])
        absent = recognizer.get_layer(f"{tower}_absent")
        absent.set_weights([rng.normal(size=absent.weights[0].shape)])
    # Logits of about 1, so that no probability is 0 by rounding.
    for name in ("scene_head", "audiovisual_event_head"):
        head = recognizer.get_layer(name)
        head.set_weights([0.2 * array for array in head.get_weights()])
    manifest = make_manifest(config.data)
    manifest.save(folder / MANIFEST)
    write_config(folder, config, manifest, label=LABEL)
    recognizer.save_weights(folder / BEST_WEIGHTS)
    distances = {}
    for kind, values in found.items():
        fitted = fit_distance(values, np.arange(24) % 3, rank=4)
        # Example 0 is within the threshold, a tenfold louder or brighter one is not.
        within = float(fitted(values[:1]).numpy()[0])
        distances[kind] = dataclasses.replace(fitted, threshold=2 * within)
    StoredCalibration(TEMPERATURES, {}, distances, 60).save(folder)


def write_masked_run_and_exports(folder: pathlib.Path) -> None:
    """The run and the versions of its exports, each in a folder of its own."""
    (folder / "run").mkdir()
    write_masked_run(folder / "run")
    run = load_run(folder / "run")
    # Each export compares its probabilities with those of the run.
    export_saved_model(run, folder / "saved_model")
    export_litert(run, folder / "litert")
    export_onnx(run, folder / "onnx")


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> dict[str, Any]:
    """The model of a run, of its exports, and the folder of the run."""
    folder = build_once(tmp_path_factory, "masked", write_masked_run_and_exports)
    (lite,) = (folder / "litert").glob("1/*.tflite")
    return {
        "folder": folder / "run",
        "run": load_model(folder / "run"),
        # The folder of the versions, and the file itself.
        "saved_model": load_model(folder / "saved_model"),
        "litert": load_model(lite),
        "onnx": load_model(folder / "onnx"),
    }
