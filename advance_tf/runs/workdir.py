"""The work directory of a run: config.json and loading."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import keras

from advance_tf.checksums import replacing_checked, verified_sha256, verify
from advance_tf.config import Config
from advance_tf.config_io import from_dict, to_dict
from advance_tf.data.layout import join_labels
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.features.log_mel import stored_stats
from advance_tf.files import DAMAGED_FILE_ERRORS
from advance_tf.models.backbones.contract import WeightsSource
from advance_tf.models.backbones.registry import stored_backbones, weights_sources
from advance_tf.models.recognizer import build_recognizer, dtype_policy
from advance_tf.models.weights import load_keras_weights
from advance_tf.runs.calibration import StoredCalibration, read_calibration
from advance_tf.teacher.knowledge import EventKnowledge, load_knowledge
from advance_tf.teacher.storage import POSTERIORS
from advance_tf.training.callbacks import BEST_WEIGHTS, CHECKPOINT
from advance_tf.training.checkpoint import read_progress
from advance_tf.training.runtime import versions

CONFIG = "config.json"
MANIFEST = "manifest.csv"
KNOWLEDGE = "event_knowledge"
# The origin of the weights of a run of `advance convert`.
CONVERTED = "converted PyTorch checkpoint"
# The entries of config.json beside the configuration and the versions.
_TEXTS = ("knowledge_dir", "label", "manifest_sha256", "teacher_sha256")


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained run, loaded from its work directory.

    Attributes:
        workdir: folder of the run.
        config: its configuration.
        manifest: its pairs and splits; None for a converted model without data.
        recognizer: the model with its best weights, in float32.
        label: notice about the training data, shown in reports, "" for none.
        knowledge: its event knowledge, None where there is none.
        data_dir: folder of its data set.
        initial_weights: "image" and "audio" → backbone, origin and SHA-256 of the
            weights that the tower started from; empty for runs before version 0.2.0.
        calibration: temperatures and distances of its answers; None where there are
            none.
        weights_sha256: hash of the file that the weights were loaded from.
    """

    workdir: pathlib.Path
    config: Config
    manifest: Manifest | None
    recognizer: keras.Model
    label: str
    knowledge: EventKnowledge | None
    data_dir: pathlib.Path
    initial_weights: Mapping[str, WeightsSource] = dataclasses.field(
        default_factory=dict
    )
    calibration: StoredCalibration | None = None
    weights_sha256: str = ""

    def pairs_of(self, split: str) -> list[Pair]:
        """Returns the pairs of a split.

        Args:
            split: "training", "validation", "test" or "all".

        Returns:
            At least one pair.

        Raises:
            ValueError: the run has no manifest, or the split has no pair.
        """
        if self.manifest is None:
            raise ValueError(
                f"{self.workdir} must have a {MANIFEST} for `split={split!r}`; it was "
                "converted without data. Convert it again with `data_dir`."
            )
        return self.manifest.pairs_of(split)


def write_config(
    workdir: pathlib.Path,
    config: Config,
    manifest: Manifest | None,
    *,
    label: str = "",
    knowledge_dir: str = "",
    teacher_sha256: str = "",
    initial_weights: Mapping[str, Any] | None = None,
) -> None:
    """Writes config.json: the configuration and the sources of the run.

    Args:
        workdir: folder of the run.
        config: the configuration.
        manifest: its hash is stored, "" without one.
        label: text that the data set states about itself.
        knowledge_dir: folder of the event knowledge in use, "" for none.
        teacher_sha256: hash of the teacher of this knowledge, "" for none.
        initial_weights: origin of the towers' weights in a run that is resumed or
            converted; None to determine it.
    """
    if initial_weights is None:
        sources = weights_sources(config.model)
        initial_weights = {k: dataclasses.asdict(s) for k, s in sources.items()}
    contents = {
        "config": to_dict(config),
        "initial_weights": initial_weights,
        "knowledge_dir": knowledge_dir,
        "label": label,
        "manifest_sha256": manifest.sha256 if manifest else "",
        "teacher_sha256": teacher_sha256,
        "versions": versions(),
    }
    with replacing_checked(workdir / CONFIG) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def read_config(workdir: pathlib.Path) -> tuple[Config, dict[str, Any]]:
    """Reads the config.json of a run.

    Args:
        workdir: folder of a run.

    Returns:
        The checked configuration, and the other keys: initial_weights (not in files
        of versions before 0.2.0), knowledge_dir, label, manifest_sha256,
        teacher_sha256 ("" where it is not recorded) and versions.

    Raises:
        ValueError: there is no config.json, or it is damaged.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise ValueError(
            f"workdir must be the folder of a run; {workdir} has no {CONFIG}. Train a "
            "run with `advance_tf.train` or `advance fit`."
        )
    verify(path)
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
        config = from_dict(contents.pop("config"))
        # Earlier versions do not record it.
        contents.setdefault("teacher_sha256", "")
        for name in _TEXTS:
            if not isinstance(contents[name], str):
                raise TypeError(f"{name} must be text; received {contents[name]!r}.")
        return config, dict(contents)
    except DAMAGED_FILE_ERRORS as error:
        reason = f"the key {error} is missing" if type(error) is KeyError else error
        raise ValueError(
            f"{path} must hold the configuration of a run; reading it failed: "
            f"{reason} Restore it or train again in another `workdir`."
        ) from error


def check_trainable(workdir: pathlib.Path, contents: Mapping[str, Any]) -> None:
    """Checks that training does not replace the weights of a converted run.

    Args:
        workdir: folder of a run.
        contents: the keys of its config.json, see `read_config`.

    Raises:
        ValueError: the run is one of `advance convert`, which has no epoch to resume
            after.
    """
    sources = contents.get("initial_weights", {})
    if any(source["source"] == CONVERTED for source in sources.values()):
        raise ValueError(
            f"`workdir` must not be a converted run to train; {workdir} holds weights "
            "of `advance convert`, and training from the start would replace them. "
            "Use another `workdir`; its towers start from the files of "
            "`image_weights` and `audio_weights`."
        )


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """What the files of a run hold apart from the weights of its model.

    Attributes:
        config: its configuration.
        manifest: its pairs and splits; None for a converted model without data.
        best_weights: path of its best weights.
        label: notice about the training data, shown in reports, "" for none.
        knowledge: its event knowledge, None where there is none.
        data_dir: folder of its data set.
        initial_weights: "image" and "audio" → origin of the tower's initial weights.
        calibration: temperatures and distances of its answers; None where there are
            none.
    """

    config: Config
    manifest: Manifest | None
    best_weights: pathlib.Path
    label: str
    knowledge: EventKnowledge | None
    data_dir: pathlib.Path
    initial_weights: Mapping[str, WeightsSource]
    calibration: StoredCalibration | None = None


def read_run(
    workdir: str | pathlib.Path, data_dir: str | pathlib.Path | None = None
) -> RunFiles:
    """Reads a run without building its model.

    Args:
        workdir: folder of the run.
        data_dir: folder of the data set; by default that of the training.

    Returns:
        Its configuration, manifest and event knowledge, and the path of its weights.

    Raises:
        ValueError: a file is missing, damaged or belongs to another run.
    """
    workdir = pathlib.Path(workdir)
    config, contents = read_config(workdir)
    config = dataclasses.replace(
        config,
        model=stored_backbones(config.model, workdir),
        features=stored_stats(config.features, workdir),
    )
    manifest = None
    if contents["manifest_sha256"]:
        manifest = Manifest.load(workdir / MANIFEST)
    if manifest and manifest.sha256 != contents["manifest_sha256"]:
        raise ValueError(
            f"{workdir / MANIFEST} must be the manifest that the run was trained "
            f"on; its hash differs from that in {CONFIG}. Restore it."
        )
    weights = workdir / BEST_WEIGHTS
    if not weights.exists():
        raise ValueError(_missing_weights(workdir))
    knowledge = None
    if folder := find_knowledge(workdir, contents["knowledge_dir"]):
        knowledge = load_knowledge(folder, manifest)
        check_teacher(knowledge, contents["teacher_sha256"], folder)
    return RunFiles(
        config=config,
        manifest=manifest,
        best_weights=weights,
        label=join_labels(contents["label"], manifest.label if manifest else ""),
        knowledge=knowledge,
        data_dir=pathlib.Path(data_dir or config.data.data_dir),
        initial_weights={
            tower: WeightsSource(**source)
            for tower, source in contents.get("initial_weights", {}).items()
        },
        calibration=read_calibration(workdir),
    )


def load_run(workdir: str | pathlib.Path, data_dir: str | None = None) -> Run:
    """Loads a run for evaluation, prediction or export.

    The model is built in float32, whatever the precision of the training.

    Args:
        workdir: folder of a run of `advance_tf.train`, `advance fit` or
            `advance convert`.
        data_dir: folder of the data set; by default that of the training.

    Returns:
        The run with its best weights and, where there is one, its event
        knowledge.

    Raises:
        ValueError: a file is missing, damaged or belongs to another run.
    """
    workdir = pathlib.Path(workdir)
    files = read_run(workdir, data_dir)
    config = files.config
    with dtype_policy("float32"):
        recognizer = build_recognizer(
            config.model, config.features, config.transfer.transfer
        )
    weights_sha256 = _load_weights(recognizer, files.best_weights)
    return Run(
        workdir=workdir,
        config=config,
        manifest=files.manifest,
        recognizer=recognizer,
        label=files.label,
        knowledge=files.knowledge,
        data_dir=files.data_dir,
        initial_weights=files.initial_weights,
        calibration=files.calibration,
        weights_sha256=weights_sha256,
    )


def _missing_weights(workdir: pathlib.Path) -> str:
    path, checkpoint = workdir / BEST_WEIGHTS, workdir / CHECKPOINT
    if read_progress(checkpoint).epochs:
        return (
            f"{path} must exist; it has been removed. Restore it, or remove "
            f"{checkpoint} and train the run again with `advance fit`."
        )
    return (
        f"{path} must exist; the run has not finished an epoch. Resume it with "
        "`advance_tf.train` or `advance fit`."
    )


def _load_weights(recognizer: keras.Model, path: pathlib.Path) -> str:
    """Loads weights; returns the SHA-256 of the file that they were loaded from.

    Raises ValueError if the file is damaged or of another model.
    """
    while True:
        before = _state(path)
        sha256 = verified_sha256(path)
        try:
            load_keras_weights(recognizer, path)
        except (*DAMAGED_FILE_ERRORS, OSError) as error:
            raise ValueError(
                f"{path} must hold the weights of the model in {CONFIG}; reading it "
                f"failed: {error}. Restore it or train again in another `workdir`."
            ) from error
        # A training may have replaced the file between its hash and its weights.
        if _state(path) == before:
            return sha256


def _state(path: pathlib.Path) -> tuple[int, int, int]:
    """What differs between a file and the one that replaces it."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def find_knowledge(workdir: pathlib.Path, recorded: str) -> pathlib.Path | None:
    """Finds the folder of the event knowledge of a run.

    Args:
        workdir: folder of the run, which may have been moved since the training.
        recorded: the folder that the run was trained with, "" for none.

    Returns:
        The recorded folder, else that in the work directory; None when neither
        holds posteriors.
    """
    folders = [workdir / KNOWLEDGE]
    if recorded:
        folders.insert(0, pathlib.Path(recorded))
    return next((path for path in folders if (path / POSTERIORS).is_file()), None)


def check_teacher(
    knowledge: EventKnowledge, recorded: str, folder: str | pathlib.Path
) -> None:
    """Checks that event knowledge is from the teacher that a run was trained with.

    Args:
        knowledge: the event knowledge.
        recorded: hash of the teacher of the run, "" where it is not recorded.
        folder: folder of the knowledge, for the error.

    Raises:
        ValueError: it is from another teacher.
    """
    if recorded and knowledge.teacher_sha256 != recorded:
        raise ValueError(
            "A run has the teacher that it was trained with, of SHA-256 "
            f"{recorded[:16]}; the event knowledge in {folder} is from "
            f"{knowledge.teacher}, {knowledge.teacher_sha256[:16]}. Run `advance "
            "teach` again with the teacher of the run, or use another `workdir`."
        )


def as_run(run: Run | str | pathlib.Path) -> Run:
    """Returns a run unchanged, or loads it from its folder.

    Args:
        run: a run, or its folder.

    Returns:
        The run.
    """
    return run if isinstance(run, Run) else load_run(run)
