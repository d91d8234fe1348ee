"""Runs of converted models: their recognizer and their folder."""

import dataclasses
import pathlib

import keras

from advance_tf.checksums import file_sha256, replacing_checked
from advance_tf.config import Config, DataConfig, TransferConfig
from advance_tf.data.layout import read_notice
from advance_tf.data.manifest import make_manifest
from advance_tf.models.backbones.contract import TOWERS, WeightsSource
from advance_tf.models.conversion import ConvertedRecognizer
from advance_tf.models.recognizer import build_recognizer
from advance_tf.models.weights import assign_arrays, layer_arrays
from advance_tf.runs.workdir import CONFIG, CONVERTED, MANIFEST, write_config
from advance_tf.training.callbacks import BEST_WEIGHTS


def build_converted_recognizer(
    converted: ConvertedRecognizer, config: Config
) -> keras.Model:
    """Builds the recognizer of a configuration with the converted weights.

    Args:
        converted: weights of towers and heads.
        config: model, features and transfer are used.

    Returns:
        A model as of `build_recognizer`.
    """
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    for tower, arrays in converted.towers.items():
        variables = layer_arrays(recognizer.get_layer(f"{tower}_tower"))
        assign_arrays(tower, variables, arrays)
    for name, (kernel, bias) in converted.heads.items():
        recognizer.get_layer(name).set_weights([kernel, bias])
    return recognizer


def write_converted_run(
    converted: ConvertedRecognizer,
    workdir: pathlib.Path,
    data: DataConfig,
    checkpoint: str | pathlib.Path,
) -> None:
    """Writes a run that can be loaded for evaluation, prediction and export.

    Args:
        converted: weights of towers and heads.
        workdir: folder to write; it must not hold a run.
        data: the data set to evaluate the run on, and its split; without
            `data_dir` the run has no manifest.
        checkpoint: the file that `converted` was read from; config.json states its
            path and SHA-256.

    Raises:
        ValueError: the folder holds a run already.
    """
    if (workdir / CONFIG).exists():
        raise ValueError(
            f"workdir must be a new folder; {workdir} holds a run already. Choose "
            "another one."
        )
    config = Config(
        data=data,
        model=converted.model,
        transfer=TransferConfig(transfer=converted.transfer),
    )
    manifest = make_manifest(data) if data.data_dir else None
    recognizer = build_converted_recognizer(converted, config)
    with replacing_checked(workdir / BEST_WEIGHTS) as temporary:
        recognizer.save_weights(temporary)
    if manifest is not None:
        manifest.save(workdir / MANIFEST)
    label = read_notice(data.data_dir) if manifest else ""
    source = dataclasses.asdict(
        WeightsSource("resnet", str(checkpoint), CONVERTED, file_sha256(checkpoint))
    )
    write_config(
        workdir,
        config,
        manifest,
        label=label,
        initial_weights=dict.fromkeys(TOWERS, source),
    )
