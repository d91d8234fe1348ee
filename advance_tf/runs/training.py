"""Prepares and trains a run: configuration, split, event knowledge, training."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from advance_tf.config import Config, FeatureConfig, ModelConfig
from advance_tf.config_io import check_resume, replace_fields
from advance_tf.data.advance import AdvanceDataset
from advance_tf.data.layout import read_notice
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.places import audit_places, read_places
from advance_tf.data.sampling import check_balance
from advance_tf.features.log_mel import store_stats, stored_stats
from advance_tf.files import remove_partial_files
from advance_tf.locks import lock_folder
from advance_tf.metrics.calibration import MIN_SAMPLES
from advance_tf.models.backbones.registry import (
    check_backbones,
    export_problems,
    store_backbones,
    stored_backbones,
)
from advance_tf.runs import workdir as workdir_module
from advance_tf.runs.calibration import (
    CALIBRATION,
    StoredCalibration,
    fit_calibration,
    read_calibration,
    uncalibrated,
)
from advance_tf.runs.event_knowledge import (
    check_knowledge,
    check_teacher_weights,
    find_or_compute_knowledge,
    save_run_knowledge,
)
from advance_tf.runs.split_settings import check_split_settings
from advance_tf.runs.workdir import check_teacher
from advance_tf.teacher.knowledge import EventKnowledge
from advance_tf.training.checkpoint import Progress
from advance_tf.training.cluster import join, lost_processes
from advance_tf.training.recognition import train_recognizer
from advance_tf.training.session import has_trained, is_finished, run_progress

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RunSetup:
    """A run that is ready to be trained or resumed.

    Attributes:
        workdir: folder of the run.
        config: configuration of the run.
        manifest: its pairs and splits.
        knowledge_dir: folder of the event knowledge, "" when none is needed.
        initial_weights: origin of the towers' weights as a run to resume states it.
        teacher_sha256: hash of the teacher of its knowledge, "" where it is not known.
    """

    workdir: pathlib.Path
    config: Config
    manifest: Manifest
    knowledge_dir: str
    initial_weights: Mapping[str, Any] | None = None
    teacher_sha256: str = ""

    def write(self) -> None:
        """Writes manifest.csv and config.json to the work directory."""
        save_manifest(self.workdir, self.manifest)
        workdir_module.write_config(
            self.workdir,
            self.config,
            self.manifest,
            label=read_notice(self.config.data.data_dir),
            knowledge_dir=self.knowledge_dir,
            teacher_sha256=self.teacher_sha256,
            initial_weights=self.initial_weights,
        )


def prepare(
    workdir: pathlib.Path,
    changes: Mapping[str, Any] | None = None,
    *,
    start: Config | None = None,
    manifest: Manifest | str | pathlib.Path | None = None,
    knowledge_dir: str | None = None,
) -> RunSetup:
    """Combines the given settings with those of a run to resume; writes nothing.

    Until a run has trained an epoch, its settings may change, but not its split.

    Args:
        workdir: folder of the run.
        changes: configuration field → value; they replace fields of `start`.
        start: configuration to start from; by default that of the run in
            `workdir`, or the defaults in a new run.
        manifest: a split to use instead of a new one, or its path.
        knowledge_dir: folder of the event knowledge; default
            <workdir>/event_knowledge.

    Returns:
        The run to train.

    Raises:
        ValueError: the settings differ from those of the run in `workdir` or of the
            manifest, two of a new run exclude each other, the run is a converted one,
            or the data, the manifest, a backbone or its weights are not valid.
    """
    changes = changes or {}
    stored_path = workdir / workdir_module.CONFIG
    contents: dict[str, Any] = {}
    trained = has_trained(workdir)
    if stored_path.exists():
        stored, contents = workdir_module.read_config(workdir)
        workdir_module.check_trainable(workdir, contents)
        config = replace_fields(start or stored, changes)
        if config.features == stored_stats(stored.features, workdir):
            # The configuration of a loaded run refers to the copy of the run.
            config = dataclasses.replace(config, features=stored.features)
        if trained:
            check_resume(stored, config)
        elif contents["teacher_sha256"]:
            names = stored.model.audio_weights, config.model.audio_weights
            check_teacher_weights(workdir / workdir_module.KNOWLEDGE, *names)
        # What the run states already is no contradiction.
        own = dataclasses.asdict(stored.data)
        changes = {k: v for k, v in changes.items() if own.get(k) != v}
    else:
        config = replace_fields(start or Config(), changes)
    if not trained:
        check_balance(config.training)
    if not config.data.data_dir:
        raise ValueError(
            "data_dir must name a folder in ADVANCE's layout; received none."
        )
    # Before TensorFlow computes anything, such as the networks of towers.
    join(config.training.strategy)
    progress = run_progress(workdir)
    check_towers(_with_copies(config, workdir, progress).model, config.features)
    manifest = find_manifest(workdir, config, manifest, changes)
    if contents and contents["manifest_sha256"] != manifest.sha256:
        raise ValueError(
            "A run resumes on the split that it was started with; the given manifest "
            f"differs from that of {workdir}. Leave `manifest` out or use another "
            "`workdir`."
        )
    knowledge = knowledge_dir or contents.get("knowledge_dir", "")
    if config.transfer.transfer == "none":
        knowledge = ""
    elif not knowledge:
        knowledge = str(workdir / workdir_module.KNOWLEDGE)
    weights, teacher = None, ""
    if progress.epochs:
        weights, teacher = contents.get("initial_weights"), contents["teacher_sha256"]
    return RunSetup(workdir, config, manifest, knowledge, weights, teacher)


def _with_copies(config: Config, workdir: pathlib.Path, progress: Progress) -> Config:
    """The settings with the copies of a run that has trained an epoch.

    What the towers were built from, and the log-mel statistics, may have changed
    since. Before the first epoch they are copied again.
    """
    if not progress.epochs:
        return config
    return dataclasses.replace(
        config,
        model=stored_backbones(config.model, workdir),
        features=stored_stats(config.features, workdir),
    )


def check_towers(model: ModelConfig, features: FeatureConfig) -> None:
    """Checks the backbones, and warns of formats that the run cannot be written in.

    Args:
        model: backbones and weights are used.
        features: sizes of the inputs.

    Raises:
        ValueError: a backbone is unknown, or its network does not fit.
        ImportError: the package of a backbone is not installed.
    """
    check_backbones(model, features)
    for kind, reason in export_problems(model).items():
        _log.warning("This run cannot be exported as %s. %s", kind, reason)


def save_manifest(workdir: pathlib.Path, manifest: Manifest) -> None:
    """Writes manifest.csv to the work directory, unless it has one.

    Args:
        workdir: folder of the run.
        manifest: as returned by `find_manifest`, which equals one that exists.
    """
    path = workdir / workdir_module.MANIFEST
    if not path.exists():
        manifest.save(path)


def find_manifest(
    workdir: pathlib.Path,
    config: Config,
    manifest: Manifest | str | pathlib.Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> Manifest:
    """Returns the given manifest, else that of the work directory, else a new one.

    Args:
        workdir: folder of the run.
        config: `data` is used for a new manifest.
        manifest: a manifest, or its path, or None.
        given: configuration field → value of what a user sets; a manifest that exists
            must be split so.

    Returns:
        A manifest that passed the leak audit.

    Raises:
        ValueError: the work directory has another manifest than the given one, or the
            manifest is split otherwise than given.
    """
    own_path = workdir / workdir_module.MANIFEST
    own = Manifest.load(own_path) if own_path.exists() else None
    if manifest is None:
        if own is None:
            return make_manifest(config.data)
        check_split_settings(own, config.data, given or {})
        return own
    if not isinstance(manifest, Manifest):
        manifest = Manifest.load(pathlib.Path(manifest))
    if manifest.protocol != "pair":
        # A manifest may have a part of the pairs: `make_manifest` compares all of them.
        placed = read_places(config.data.data_dir)
        audit_places(manifest.pairs, manifest.splits, placed)
    if own is not None and own.sha256 != manifest.sha256:
        raise ValueError(
            f"manifest must equal the manifest in {workdir}; it differs. Leave it out "
            "or use another `workdir`."
        )
    check_split_settings(manifest, config.data, given or {})
    return manifest


def train_run(setup: RunSetup, knowledge: EventKnowledge | None = None) -> Progress:
    """Trains or resumes a run.

    Args:
        setup: as returned by `prepare`.
        knowledge: event knowledge to save in <workdir>/event_knowledge, for a run
            that was prepared with this folder.

    Returns:
        The progress after the last epoch; the best weights are in the work
        directory.

    Raises:
        ValueError: the event knowledge is missing or belongs to another manifest,
            a file cannot be read, a split is too small, or another process trains
            the run.
        OSError: the disk is full; the run resumes from its last epoch.
    """
    worker = join(setup.config.training.strategy)
    if worker.is_chief:
        for warning in setup.manifest.warnings:
            _log.warning("%s", warning)

    def find_knowledge() -> EventKnowledge | None:
        if not setup.knowledge_dir:
            return None
        config = _with_copies(setup.config, setup.workdir, run_progress(setup.workdir))
        return find_or_compute_knowledge(setup.knowledge_dir, setup.manifest, config)

    with contextlib.ExitStack() as stack:
        stack.enter_context(lost_processes(worker.count))
        if worker.is_chief and knowledge is not None:
            # It must not replace that of another process, nor be replaced.
            stack.enter_context(lock_folder(setup.workdir, "run"))
            save_run_knowledge(setup.workdir, setup.manifest, knowledge)
        known = worker.after_chief(find_knowledge)
        if worker.is_chief and knowledge is None:
            stack.enter_context(lock_folder(setup.workdir, "run"))
        config = worker.after_chief(
            lambda: start_run(setup, known, writes=worker.is_chief)
        )
        progress = train_recognizer(
            config, setup.manifest, setup.workdir, knowledge=known
        )
        if worker.is_chief:
            calibrate(setup)
        return progress


def start_run(
    setup: RunSetup, knowledge: EventKnowledge | None = None, *, writes: bool = True
) -> Config:
    """Writes the files that a run begins with; the folder must be locked.

    They are config.json, manifest.csv and copies of what the towers are built from
    and of the log-mel statistics.
    What an interrupted run has left unfinished is removed.

    Args:
        setup: as returned by `prepare`.
        knowledge: the event knowledge in the folder of the setup.
        writes: whether to write, or only to return the configuration.

    Returns:
        The configuration to train with: that of the run with its copy of the
        statistics, and with the copies of the backbones if it has trained an epoch.

    Raises:
        ValueError: the knowledge is from another teacher than that of the run.
    """
    config, workdir = setup.config, setup.workdir
    progress = run_progress(workdir)
    if setup.knowledge_dir and knowledge is not None:
        check_teacher(knowledge, setup.teacher_sha256, setup.knowledge_dir)
        setup = dataclasses.replace(setup, teacher_sha256=knowledge.teacher_sha256)
    if writes:
        if has_trained(workdir) and (workdir / workdir_module.CONFIG).exists():
            # Another process may have trained it since `prepare`.
            check_resume(workdir_module.read_config(workdir)[0], config)
        remove_partial_files(workdir)
        setup.write()
        if not is_finished(progress, config.training):
            # It belongs to the weights of the epochs that are trained already.
            (workdir / CALIBRATION).unlink(missing_ok=True)
        if not progress.epochs:
            store_backbones(config.model, workdir)
            store_stats(config.features, workdir)
    if progress.epochs:
        return _with_copies(config, workdir, progress)
    features = stored_stats(config.features, workdir)
    return dataclasses.replace(config, features=features)


def calibrate(setup: RunSetup) -> StoredCalibration:
    """Fits and writes the calibration of a trained run, unless it has one.

    Args:
        setup: as returned by `prepare`.

    Returns:
        The calibration.

    Raises:
        ValueError: a file cannot be read.
    """
    stored = read_calibration(setup.workdir)
    if stored is None:
        manifest = setup.manifest
        count = manifest.splits.count("validation")
        if count < MIN_SAMPLES:
            # The model need not be built.
            stored = uncalibrated(count)
        else:
            run = workdir_module.load_run(setup.workdir)
            stored = fit_calibration(
                run.recognizer, run.config, manifest, setup.workdir
            )
        stored.save(setup.workdir)
        _log.info("%s", stored.summary())
    return stored


def train(
    config: Config,
    dataset: AdvanceDataset,
    workdir: str | pathlib.Path,
    *,
    knowledge: EventKnowledge | None = None,
) -> workdir_module.Run:
    """Trains a recognizer, or resumes its training.

    Args:
        config: model, features, transfer and training; its data section is
            replaced by that of the data set.
        dataset: as returned by `load_advance`.
        workdir: folder of the run. A run in it is resumed; once it has trained an
            epoch, it must have the same settings, except for more epochs.
        knowledge: as returned by `compute_knowledge`; it is saved in
            <workdir>/event_knowledge. A transfer other than "none" needs it. By
            default the knowledge in that folder is used, or computed if the audio
            tower's weights have an event head.

    Returns:
        The run, loaded with its best weights.

    Raises:
        ValueError: the settings, the data set or the knowledge contradict each
            other or the run in `workdir`, or another process trains the run.

    Example:
        knowledge = compute_knowledge(teacher, dataset, "runs/event/event_knowledge")
        config = Config(transfer=TransferConfig(transfer="event"))
        run = train(config, dataset, "runs/event", knowledge=knowledge)
    """
    workdir, config = pathlib.Path(workdir), dataset.configure(config)
    folder = workdir / workdir_module.KNOWLEDGE
    setup = prepare(
        workdir,
        start=config,
        manifest=dataset.manifest,
        knowledge_dir=None if knowledge is None else str(folder),
    )
    if knowledge is not None:
        check_knowledge(workdir, setup.manifest, knowledge, setup.config.features)
    train_run(setup, knowledge)
    return workdir_module.load_run(workdir)
