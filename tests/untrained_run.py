"""A small untrained run on synthetic pairs, for tests of what reads a run."""

import dataclasses
import pathlib
import shutil

import keras
import numpy as np
import pytest

from advance_tf.checksums import replacing_checked
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TransferConfig,
)
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.synthetic.pairs import LABEL, write_pairs
from advance_tf.models.recognizer import build_recognizer
from advance_tf.runs.workdir import CONFIG, KNOWLEDGE, MANIFEST, Run, write_config
from advance_tf.teacher.knowledge import build_knowledge, save_knowledge
from advance_tf.training.callbacks import BEST_WEIGHTS, LOG
from tests.built_once import build_once


def write_run(folder: pathlib.Path, modality: str = "both") -> pathlib.Path:
    """Writes a run split by pair, whose figures have two labels; returns its folder."""
    data_dir = folder / "data"
    write_pairs(data_dir, sites_per_scene=2)
    config = Config(
        data=DataConfig(data_dir=str(data_dir), split_protocol="pair"),
        features=FeatureConfig(image_size=32, clip_seconds=1.0),
        model=ModelConfig(
            modality=modality,
            image_depth=10,
            audio_depth=10,
            image_width=4,
            audio_width=4,
        ),
        transfer=TransferConfig(transfer="event"),
    )
    manifest = make_manifest(config.data)
    manifest.save(folder / MANIFEST)
    write_config(
        folder, config, manifest, label=LABEL, knowledge_dir=str(folder / KNOWLEDGE)
    )
    logits = np.random.default_rng(0).normal(size=(len(manifest.pairs), 527))
    mask = np.arange(527) != 0
    knowledge = build_knowledge(manifest, logits, mask, "random", "0" * 64)
    save_knowledge(folder / KNOWLEDGE, knowledge, "0" * 16)
    keras.utils.set_random_seed(0)
    recognizer = build_recognizer(config.model, config.features, "event")
    recognizer.save_weights(folder / BEST_WEIGHTS)
    (folder / LOG).write_text("epoch,loss,val_loss\n1,2.5,3\n2,2,2.5\n")
    return folder


def _written_run(
    tmp_path_factory: pytest.TempPathFactory, modality: str
) -> pathlib.Path:
    """The folder of a run that is written once and that tests only read."""
    return build_once(
        tmp_path_factory, f"run-{modality}", lambda folder: write_run(folder, modality)
    )


def copy_run(
    tmp_path_factory: pytest.TempPathFactory, modality: str = "both"
) -> pathlib.Path:
    """Copies the run of `write_run`, which is written once, into a new folder.

    Returns:
        The folder. The copy has its own data, which a test may change.
    """
    source = _written_run(tmp_path_factory, modality)
    folder = tmp_path_factory.mktemp("run")
    shutil.copytree(source, folder, dirs_exist_ok=True)
    # It names the folders of the data and of the event knowledge.
    text = (source / CONFIG).read_text(encoding="utf-8")
    with replacing_checked(folder / CONFIG) as temporary:
        temporary.write_text(text.replace(str(source), str(folder)), encoding="utf-8")
    return folder


def exported_litert(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The .tflite file of the run of both modalities, which is exported once."""
    from advance_tf.serving.export import export_litert

    run = _written_run(tmp_path_factory, "both")
    folder = build_once(
        tmp_path_factory, "litert", lambda folder: export_litert(run, folder)
    )
    (path,) = folder.glob("1/*.tflite")
    return path


def with_limit(run: Run, pixels: int) -> Run:
    """The run with that largest number of pixels of an image file."""
    features = dataclasses.replace(run.config.features, max_image_pixels=pixels)
    config = dataclasses.replace(run.config, features=features)
    return dataclasses.replace(run, config=config)


def with_validation(run: Run) -> Run:
    """The run with one third of its test pairs as validation pairs."""
    manifest = run.manifest
    splits = [
        "validation" if split == "test" and index % 3 == 0 else split
        for index, split in enumerate(manifest.splits)
    ]
    manifest = Manifest(manifest.pairs, tuple(splits), "pair", 0)
    return dataclasses.replace(run, manifest=manifest)
