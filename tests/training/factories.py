"""Small configurations, towers, manifests and knowledge for the tests of training."""

import contextlib
import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from advance_tf import labels
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TrainingConfig,
    TransferConfig,
)
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.models.heads import PRESENT, connect_heads, mask_input
from advance_tf.teacher.knowledge import build_knowledge

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)


def build_config(folder, transfer="none", **training):
    """A configuration whose run takes seconds.

    Args:
        folder: of the data set.
        transfer: a `TransferConfig`, or the name of a transfer.
        **training: fields of `TrainingConfig`.
    """
    if not isinstance(transfer, TransferConfig):
        transfer = TransferConfig(transfer=transfer)
    return Config(
        data=DataConfig(data_dir=str(folder)),
        features=FEATURES,
        model=ModelConfig(
            image_depth=10, audio_depth=10, image_width=2, audio_width=2, dropout=0.3
        ),
        transfer=transfer,
        training=TrainingConfig(
            **{
                "epochs": 2,
                "batch_size": 13,
                "learning_rate": 0.003,
                "drop_epochs": (3,),
                "seed": 5,
                **training,
            }
        ),
    )


def build_tiny(model, features, transfer="none"):
    """A recognizer whose towers are a mean and a dense layer, built in milliseconds."""
    side = features.image_size
    image = keras.Input((side, side, 3), name="image")
    log_mel = keras.Input((features.frames, features.mel_bins), name="log_mel")
    maps = {
        "image": (image, layers.Rescaling(1 / 255)),
        "audio": (log_mel, layers.Reshape((features.frames, features.mel_bins, 1))),
    }
    embeddings = {}
    for tower, (given, scaled) in maps.items():
        x = inner = keras.Input(scaled(given).shape[1:])
        x = layers.Conv2D(5, 4, 4, activation="relu", name="conv1")(x)
        x = layers.GlobalAveragePooling2D()(x)
        network = keras.Model(inner, x, name=f"{tower}_tower")
        embeddings[tower] = network(scaled(given))
    present = mask_input(model)
    outputs = connect_heads(
        embeddings["image"], embeddings["audio"], model, transfer, present
    )
    inputs = {"image": image, "log_mel": log_mel}
    if present is not None:
        inputs[PRESENT] = present
    return keras.Model(inputs, outputs, name="recognizer")


@contextlib.contextmanager
def tiny_towers(*modules):
    """Makes modules build `build_tiny` in place of the towers of a configuration."""
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            patch.setattr(module, "build_recognizer", build_tiny)
        yield


def build_manifest(folder, pairs=3) -> Manifest:
    """The first pairs of each scene in training, one each in the other splits."""
    complete = make_manifest(DataConfig(data_dir=str(folder)))
    kept, splits = [], []
    for scene in labels.scenes():
        own = [pair for pair in complete.pairs if pair.scene == scene]
        kept += own[: pairs + 2]
        splits += ["training"] * pairs + ["validation", "test"]
    return Manifest(tuple(kept), tuple(splits), "site", 0)


def build_scene_knowledge(manifest):
    """Event knowledge with soft labels that depend on the scene."""
    rng = np.random.default_rng(0)
    names = labels.scenes()
    of_scene = rng.normal(-3, 2, (len(names), 527))
    logits = np.stack([of_scene[names.index(pair.scene)] for pair in manifest.pairs])
    logits = (logits + rng.normal(0, 0.3, logits.shape)).astype(np.float32)
    mask = np.ones(527, bool)
    mask[[3, 99]] = False
    return build_knowledge(manifest, logits, mask, "random", "0" * 64)


def with_training(config, **changes):
    """The configuration with other training settings."""
    training = dataclasses.replace(config.training, **changes)
    return dataclasses.replace(config, training=training)


def weighted_f(true, predicted):
    """F of each class in NumPy, weighted by the number of its pairs.

    Args:
        true: int [n].
        predicted: int [n].
    """
    f_of = {}
    for number in np.unique(true):
        own, given = true == number, predicted == number
        f_of[number] = 2 * (own & given).sum() / (own.sum() + given.sum())
    return np.mean([f_of[number] for number in true])
