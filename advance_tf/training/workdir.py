"""The folder of a run: what it was made from, and the trained model again."""

import dataclasses
import json
import pathlib
import platform
from collections.abc import Collection
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import advance_tf
from advance_tf import config as config_module
from advance_tf.config import Config
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest
from advance_tf.files import replacing
from advance_tf.models.recognizer import build_recognizer
from advance_tf.training.callbacks import BEST_WEIGHTS

CONFIG = "config.json"
MANIFEST = "manifest.csv"
KNOWLEDGE = "event_knowledge"

# A resumed run may go on for longer, elsewhere, or from another place.
_MAY_CHANGE = ("epochs", "patience", "data_dir", "cache_dir", "strategy")


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run, loaded.

    Attributes:
        workdir: its folder.
        config: as it was trained.
        manifest: its pairs and splits; None for a converted model without data.
        recognizer: the model with its best weights, in float32.
        label: what every report must say of the data, "" for nothing.
        knowledge_dir: folder of the posteriors it was trained with, "" if none.
    """

    workdir: pathlib.Path
    config: Config
    manifest: Manifest | None
    recognizer: keras.Model
    label: str
    knowledge_dir: str

    def pairs_of(self, split: str) -> list[Pair]:
        """The pairs of a split.

        Args:
            split: "training", "validation", "test" or "all".

        Returns:
            At least one pair.

        Raises:
            ValueError: the run has no manifest, or no pair in the split.
        """
        if self.manifest is None:
            raise ValueError(
                f"{self.workdir} must have a {MANIFEST} for --split={split}; it was "
                "converted without data. Convert it again with --data_dir."
            )
        return self.manifest.of(split)


def versions() -> dict[str, str]:
    """The versions that decide a result."""
    return {
        "advance_tf": advance_tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
    }


def write_config(
    workdir: pathlib.Path,
    config: Config,
    manifest: Manifest | None,
    *,
    label: str = "",
    knowledge_dir: str = "",
) -> None:
    """Writes config.json: the configuration and what the run was made from.

    Args:
        workdir: folder of the run.
        config: the configuration.
        manifest: its hash is stored, "" without one.
        label: what the data set says of itself.
        knowledge_dir: folder of the event knowledge in use, "" for none.
    """
    contents = {
        "config": config_module.to_dict(config),
        "knowledge_dir": knowledge_dir,
        "label": label,
        "manifest_sha256": manifest.sha256 if manifest else "",
        "versions": versions(),
    }
    with replacing(workdir / CONFIG) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def read_config(workdir: pathlib.Path) -> tuple[Config, dict[str, Any]]:
    """The configuration of a run and the rest of its config.json.

    Args:
        workdir: folder of a run.

    Returns:
        The checked configuration; and the keys knowledge_dir, label,
        manifest_sha256 and versions.

    Raises:
        ValueError: there is no config.json, or it is not what was written.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise ValueError(
            f"--workdir must be the folder of a run; {workdir} has no {CONFIG}. "
            "Train one with `python -m advance_tf.fit --data_dir=… --workdir=…`."
        )
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        return config_module.from_dict(contents.pop("config")), contents
    except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} must hold the configuration of a run; reading it failed: "
            f"{error!r}. Restore it or train again in another --workdir."
        ) from error


def check_resume(
    stored: Config, wanted: Config, may_change: Collection[str] = _MAY_CHANGE
) -> None:
    """Refuses to go on with a run under other settings.

    Args:
        stored: the configuration in the work directory.
        wanted: the same with the user's flags over it.
        may_change: settings that make it no other run.

    Raises:
        ValueError: a setting differs that would make it another run.
    """
    differing = []
    for name in config_module.groups():
        before = dataclasses.asdict(getattr(stored, name))
        after = dataclasses.asdict(getattr(wanted, name))
        differing += [
            f"--{key} was {before[key]!r}, now {after[key]!r}"
            for key in before
            if before[key] != after[key] and key not in may_change
        ]
    if differing:
        raise ValueError(
            "A run resumes under the settings that it began with; "
            f"{'; '.join(differing)}. Leave these flags out or use another --workdir."
        )


def load_run(workdir: str | pathlib.Path) -> Run:
    """Loads a run for evaluation, prediction or export.

    The model is rebuilt in float32 whatever the precision of its training.

    Args:
        workdir: folder of a run of `python -m advance_tf.fit`.

    Returns:
        The run with its best weights.

    Raises:
        ValueError: a file is missing, broken or of another run.
    """
    workdir = pathlib.Path(workdir)
    config, contents = read_config(workdir)
    manifest = None
    if contents["manifest_sha256"]:
        manifest = Manifest.load(workdir / MANIFEST)
    if manifest and manifest.sha256 != contents["manifest_sha256"]:
        raise ValueError(
            f"{workdir / MANIFEST} must be the manifest that the run was trained "
            "on; its hash differs from the one in config.json. Restore it."
        )
    weights = workdir / BEST_WEIGHTS
    if not weights.exists():
        raise ValueError(
            f"{weights} must exist; the run has not finished an epoch. Go on with "
            f"`python -m advance_tf.fit --workdir={workdir}`."
        )
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        recognizer = build_recognizer(
            config.model, config.features, config.transfer.transfer
        )
    finally:
        keras.config.set_dtype_policy(previous)
    recognizer.load_weights(weights)
    return Run(
        workdir,
        config,
        manifest,
        recognizer,
        "; ".join(
            filter(None, (contents["label"], manifest.label if manifest else ""))
        ),
        contents["knowledge_dir"],
    )
