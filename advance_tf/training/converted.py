"""A converted recognizer as the folder of a run."""

import pathlib

import keras

from advance_tf.config import Config, DataConfig, TransferConfig
from advance_tf.data.manifest import make_manifest
from advance_tf.data.notice import read_notice
from advance_tf.files import replacing
from advance_tf.models import weights
from advance_tf.models.fusion import ConvertedRecognizer
from advance_tf.models.recognizer import build_recognizer
from advance_tf.training import workdir as workdir_module
from advance_tf.training.callbacks import BEST_WEIGHTS


def build_converted(converted: ConvertedRecognizer, config: Config) -> keras.Model:
    """The recognizer with the converted weights.

    Args:
        converted: towers and heads.
        config: model, features and transfer are read.

    Returns:
        The model of `build_recognizer`.
    """
    recognizer = build_recognizer(
        config.model, config.features, config.transfer.transfer
    )
    for tower, arrays in converted.towers.items():
        variables = weights.layer_arrays(recognizer.get_layer(f"{tower}_tower"))
        weights.assign_arrays(tower, variables, arrays)
    for name, (kernel, bias) in converted.heads.items():
        recognizer.get_layer(name).set_weights([kernel, bias])
    return recognizer


def write_run(
    converted: ConvertedRecognizer,
    workdir: pathlib.Path,
    data: DataConfig,
) -> None:
    """Writes what `evaluate`, `predict` and `export` read.

    Args:
        converted: towers and heads.
        workdir: folder to write; it may hold no run yet.
        data: where the pairs are that it can be evaluated on, and their split;
            without a folder there is no manifest.

    Raises:
        ValueError: the folder holds a run already.
    """
    if (workdir / workdir_module.CONFIG).exists():
        raise ValueError(
            f"--workdir must be a new folder; {workdir} holds a run already. Give "
            "another one."
        )
    config = Config(
        data=data,
        model=converted.model,
        transfer=TransferConfig(transfer=converted.transfer),
    )
    manifest = make_manifest(data) if data.data_dir else None
    recognizer = build_converted(converted, config)
    with replacing(workdir / BEST_WEIGHTS) as temporary:
        recognizer.save_weights(temporary)
    if manifest is not None:
        manifest.save(workdir / workdir_module.MANIFEST)
    label = read_notice(data.data_dir) if manifest else ""
    workdir_module.write_config(workdir, config, manifest, label=label)
