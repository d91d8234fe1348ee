"""Factories: an untrained recognizer as source and as run, and encoded pairs."""

import io
import pathlib
import types

import keras
import numpy as np
import soundfile
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TransferConfig,
)
from advance_tf.data.manifest import make_manifest
from advance_tf.data.synthetic.pairs import LABEL, write_pairs
from advance_tf.models.recognizer import build_recognizer
from advance_tf.runs.workdir import MANIFEST, Run, load_run, write_config
from advance_tf.serving.inference_model import Source
from advance_tf.serving.parity import EncodedPair
from advance_tf.training.callbacks import BEST_WEIGHTS

FEATURES = FeatureConfig(image_size=32)


def knowledge():
    """Posteriors of a teacher that does not cover the first two events."""
    rng = np.random.default_rng(5)
    mask = np.ones(len(labels.events()), bool)
    mask[:2] = False
    posteriors = rng.uniform(0, 1, (13, len(mask))).astype(np.float32)
    posteriors[:, :2] = np.nan
    return types.SimpleNamespace(posteriors=posteriors, event_mask=mask)


def model_config(**given) -> ModelConfig:
    """The towers of every recognizer of these tests."""
    return ModelConfig(
        image_depth=18, audio_depth=18, image_width=4, audio_width=4, **given
    )


def create_source(transfer="kl_audiovisual", modality="both", **given) -> Source:
    """An untrained recognizer whose batch norms and heads are not trivial."""
    keras.utils.set_random_seed(3)
    recognizer = build_recognizer(model_config(modality=modality), FEATURES, transfer)
    rng = np.random.default_rng(4)
    for layer in (recognizer.get_layer(f"{t}_tower") for t in ("image", "audio")):
        for norm in layer.layers:
            if hasattr(norm, "moving_mean"):
                size = norm.gamma.shape
                norm.gamma.assign(rng.uniform(0.5, 1.0, size))
                norm.beta.assign(rng.normal(0, 0.3, size))
                norm.moving_mean.assign(rng.normal(0, 0.3, size))
    # The input of the first convolution reaches 255.
    first = recognizer.get_layer("image_tower").get_layer("bn1")
    first.moving_variance.assign(np.full(first.gamma.shape, 1e4))
    return Source(recognizer, FEATURES, modality=modality, **given)


def create_pairs(count=4, seed=0) -> list[EncodedPair]:
    """Noise as JPEG files of several sizes and WAV files of 1 to 3 s at 22,050 Hz."""
    pairs = []
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        blocks = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        image = blocks.repeat(5 + number, 0).repeat(6, 1)
        sound = io.BytesIO()
        waveform = rng.normal(0, 0.1, 22_050 * (1 + number % 3))
        soundfile.write(sound, waveform, 22_050, format="WAV", subtype="PCM_16")
        encoded = tf.io.encode_jpeg(image).numpy()
        pairs.append(EncodedPair(encoded, sound.getvalue()))
    return pairs


def create_run(folder: pathlib.Path, transfer="kl_audiovisual", **given) -> Run:
    """A run whose recognizer is that of `create_source`, on synthetic pairs."""
    source = create_source(transfer, **given)
    write_pairs(folder / "data", sites_per_scene=2)
    config = Config(
        data=DataConfig(data_dir=str(folder / "data")),
        features=FEATURES,
        model=model_config(modality=source.modality),
        transfer=TransferConfig(transfer=transfer),
    )
    manifest = make_manifest(config.data)
    manifest.save(folder / MANIFEST)
    write_config(folder, config, manifest, label=LABEL)
    source.recognizer.save_weights(folder / BEST_WEIGHTS)
    return load_run(folder)
