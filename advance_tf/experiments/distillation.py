"""Distills runs to a smaller one: outputs of the teachers, student, and its folder."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from advance_tf.checksums import replacing_checked, verify
from advance_tf.config import Config, ModelConfig, TrainingConfig, TransferConfig
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import ComputedRows, Rows, blocks, select_rows
from advance_tf.files import reading
from advance_tf.inference.stored_outputs import StoredOutputs, compute_outputs
from advance_tf.locks import lock_folder
from advance_tf.metrics.probabilities import sigmoid, softmax
from advance_tf.models.embedding_distance import divided_variance
from advance_tf.runs import workdir as workdir_module
from advance_tf.runs.training import calibrate, prepare, start_run
from advance_tf.runs.workdir import Run, as_run, load_run
from advance_tf.training.distillation import (
    SOFT_LABELS,
    SOFT_SCENES,
    DistillationSettings,
    TeacherTargets,
    train_student,
)
from advance_tf.training.embeddings import used_towers
from advance_tf.training.runtime import check_one_process
from advance_tf.training.session import has_trained

SETTINGS = "distillation.json"
FOLDER = "teacher_outputs"


def distill(
    teachers: Sequence[Run | str | pathlib.Path],
    workdir: str | pathlib.Path,
    changes: Mapping[str, Any] | None = None,
    *,
    start: Config | None = None,
    settings: DistillationSettings | Mapping[str, float] | None = None,
    progress: bool = True,
) -> Run:
    """Trains a student on one teacher or on several, or resumes its training.

    The student has the split of its teachers and is a run like any other: it can be
    evaluated, exported, compared, and be a teacher itself. Several teachers are an
    ensemble: the mean of their scene and event probabilities, and all of their
    embeddings. Their events are those of their event head, otherwise the soft labels
    of their event knowledge.

    Args:
        teachers: runs of the same split, or their folders.
        workdir: folder of the student.
        changes: configuration field → value; they replace fields of `start`.
        start: configuration of a new student; its data section is replaced by that
            of the first teacher. By default that of the run in `workdir`, or the
            defaults with transfer "none" in a new one.
        settings: weights of the teacher's losses. A mapping of field → value
            replaces fields of the defaults, or of those of the run in `workdir`; None
            replaces none.
        progress: show progress bars.

    Returns:
        The student, loaded with its best weights.

    Raises:
        ValueError: the teachers have other splits or no events that the student
            needs, or the settings differ from those of the run in `workdir`.

    Example:
        >>> from advance_tf.experiments import distill
        >>> distill(["runs/large"], "runs/small", {"epochs": 20})  # doctest: +SKIP
    """
    workdir = pathlib.Path(workdir)
    runs = [as_run(teacher) for teacher in teachers]
    manifest = _common_manifest(runs)
    settings = _combine_settings(workdir, runs, settings)
    if start is None and not (workdir / workdir_module.CONFIG).exists():
        start = Config(transfer=TransferConfig(transfer="none"))
    if start is not None:
        first = runs[0]
        data = dataclasses.replace(first.config.data, data_dir=str(first.data_dir))
        start = dataclasses.replace(start, data=data)
    recorded = workdir_module.read_config(runs[0].workdir)[1]["knowledge_dir"]
    knowledge_dir = workdir_module.find_knowledge(runs[0].workdir, recorded)
    setup = prepare(
        workdir,
        changes,
        start=start,
        manifest=manifest,
        knowledge_dir=str(knowledge_dir) if knowledge_dir else None,
    )
    # The teachers read the files that the student is trained on.
    data_dir = pathlib.Path(setup.config.data.data_dir)
    runs = [dataclasses.replace(run, data_dir=data_dir) for run in runs]
    # Before the outputs of the teachers are computed.
    check_one_process(setup.config.training)
    _check_views(setup.config.training)
    with lock_folder(workdir, "run"):
        # Before config.json, without which the folder is that of a new student.
        _write_settings(workdir, runs, settings)
        config = start_run(setup, runs[0].knowledge if setup.knowledge_dir else None)
        targets = teacher_targets(
            runs,
            settings,
            workdir / FOLDER,
            events=setup.config.transfer.transfer != "none",
            modality=setup.config.model.modality,
            progress=progress,
        )
        train_student(config, settings, manifest, workdir, targets=targets)
        calibrate(setup)
    return load_run(workdir)


def teacher_targets(
    runs: Sequence[Run],
    settings: DistillationSettings,
    folder: str | pathlib.Path,
    *,
    events: bool,
    modality: str = "both",
    progress: bool = True,
) -> TeacherTargets:
    """The targets of a student for the training and the validation pairs.

    Args:
        runs: the teachers, all of one split.
        settings: the temperature and the weight of the embeddings are used.
        folder: folder of stored outputs.
        events: whether the student has an event head.
        modality: the modality of the student; only its towers are matched.
        progress: show progress bars.

    Returns:
        The targets; the embeddings are standardized over the training pairs.

    Raises:
        ValueError: `events` without events of a teacher.
    """
    manifest = _common_manifest(runs)
    training, validation = (
        manifest.pairs_of("training"),
        manifest.pairs_of("validation"),
    )
    pairs = training + validation
    found = [compute_outputs(run, pairs, folder, progress=progress) for run in runs]
    temperatures = [settings.temperature * _own_temperature(run) for run in runs]
    columns: dict[str, Rows] = {SOFT_SCENES: _soft_scenes(found, temperatures)}
    mask = None
    if events:
        probs = [
            _event_rows(run, own, pairs) for run, own in zip(runs, found, strict=True)
        ]
        columns[SOFT_LABELS] = _mean_rows(probs)
        masks = [run.knowledge.event_mask for run in runs if run.knowledge is not None]
        mask = np.logical_and.reduce(masks) if masks else None
    if settings.embedding_weight:
        for tower in used_towers(ModelConfig(modality=modality)):
            tables = [o.embeddings[tower] for o in found if tower in o.embeddings]
            if tables:
                columns[f"{tower}_embedding"] = _standardized(tables, len(training))
    keys = tuple(pair.key for pair in pairs)
    return TeacherTargets(keys, columns, mask)


def _common_manifest(runs: Sequence[Run]) -> Manifest:
    """The manifest of the teachers, which must be one."""
    manifests = [run.manifest for run in runs]
    hashes = {manifest.sha256 if manifest else "" for manifest in manifests}
    if len(hashes) != 1 or manifests[0] is None:
        names = ", ".join(str(run.workdir) for run in runs)
        raise ValueError(
            "teachers must be runs of one split, so that no test pair of the student "
            f"was a training pair of a teacher; received {names or 'none'}. Train them "
            "with one manifest, or give one teacher."
        )
    return manifests[0]


def _check_views(training: TrainingConfig) -> None:
    """ValueError for augmented views, which are those of stored embeddings."""
    if training.cached_views > 1:
        raise ValueError(
            "cached_views must be left out in a distillation, whose towers run in "
            f"every epoch, frozen ones too; received {training.cached_views}. Leave "
            "it out."
        )


def _own_temperature(run: Run) -> float:
    """The temperature at which the probabilities of a run are calibrated.

    The logits of linear heads on frozen towers are small: without it, their soft
    scenes are nearly uniform, and the student follows these in place of the scenes.
    """
    if run.calibration is None:
        return 1.0
    return float(run.calibration.row_temperatures([[1.0, 1.0]])[0])


def _soft_scenes(found: Sequence[StoredOutputs], temperatures: Sequence[float]) -> Rows:
    """softmax(z / T), mean over the teachers with a T for each: [n, 13]."""
    logits = [own.scene_logits for own in found]

    def read(rows: np.ndarray) -> np.ndarray:
        probs = [
            softmax(np.asarray(own[rows]) / temperature)
            for own, temperature in zip(logits, temperatures, strict=True)
        ]
        mean: np.ndarray = np.mean(probs, axis=0)
        return mean

    return ComputedRows(read, logits[0].shape, np.float32)


def _event_rows(run: Run, found: StoredOutputs, pairs: Sequence[Pair]) -> Rows:
    """Event probabilities of a teacher [n, 527]."""
    logits = found.event_logits
    if logits is not None:
        return ComputedRows(
            lambda rows: sigmoid(np.asarray(logits[rows])), logits.shape, np.float32
        )
    if run.knowledge is not None:
        return run.knowledge.targets_for(pairs)[SOFT_LABELS]
    raise ValueError(
        "A student with an event head needs teachers with events; "
        f"{run.workdir} has neither an event head nor event knowledge. Choose "
        "`transfer='none'`, or compute the knowledge with `advance teach`."
    )


def _mean_rows(tables: Sequence[Rows]) -> Rows:
    def read(rows: np.ndarray) -> np.ndarray:
        mean: np.ndarray = np.mean([own[rows] for own in tables], axis=0)
        return mean

    return ComputedRows(read, tables[0].shape, np.float32)


def _standardized(tables: Sequence[Rows], training: int) -> Rows:
    """The embeddings of all teachers, each feature standardized: [n, ΣD].

    Mean and variance are those of the first `training` rows.
    """
    means, scales = [], []
    for table in tables:
        rows = select_rows(table, np.arange(training))
        total, squares = np.zeros(table.shape[1]), np.zeros(table.shape[1])
        for block in blocks(rows):
            total += block.sum(0, dtype=np.float64)
            squares += np.square(block.astype(np.float64)).sum(0)
        mean = total / training
        variance = np.maximum(squares / training - mean**2, 0)
        means.append(mean)
        scales.append(1 / np.sqrt(divided_variance(variance)))

    def read(rows: np.ndarray) -> np.ndarray:
        parts = zip(tables, means, scales, strict=True)
        return np.concatenate([(t[rows] - m) * s for t, m, s in parts], axis=1)

    size = sum(table.shape[1] for table in tables)
    return ComputedRows(read, (len(tables[0]), size), np.float32)


def _record(runs: Sequence[Run], settings: DistillationSettings) -> dict[str, Any]:
    teachers = [
        {
            "workdir": str(run.workdir),
            "weights_sha256": run.weights_sha256,
        }
        for run in runs
    ]
    return {"teachers": teachers, "settings": dataclasses.asdict(settings)}


def _combine_settings(
    workdir: pathlib.Path,
    runs: Sequence[Run],
    settings: DistillationSettings | Mapping[str, float] | None,
) -> DistillationSettings:
    """The settings of a distillation: given ones, or those of the run in `workdir`.

    Once the run has trained an epoch, the given ones must be its own.
    """
    path = workdir / SETTINGS
    if not path.exists():
        if (workdir / workdir_module.CONFIG).exists():
            raise ValueError(
                f"workdir must be a new folder or that of a student; {workdir} holds a "
                "run that was trained without a teacher. Choose another one."
            )
        return _replaced(DistillationSettings(), settings)
    verify(path)
    way_out = "Restore it, or use another `workdir`."
    with reading(path, "hold the settings of a distillation", way_out):
        stored = dict(json.loads(path.read_text(encoding="utf-8")))
        own = DistillationSettings(**stored["settings"])
        hashes = [teacher["weights_sha256"] for teacher in stored["teachers"]]
    # Outside the block: an error in what is given is none of the file.
    combined = _replaced(own, settings)
    differs = hashes != [run.weights_sha256 for run in runs] or combined != own
    if differs and has_trained(workdir):
        raise ValueError(
            "A student is resumed with the teachers and the settings that it was "
            f"started with; those in {path} differ. Give the same ones or use another "
            "`workdir`."
        )
    return combined


def _replaced(
    start: DistillationSettings,
    given: DistillationSettings | Mapping[str, float] | None,
) -> DistillationSettings:
    if isinstance(given, DistillationSettings):
        return given
    return dataclasses.replace(start, **(given or {}))


def _write_settings(
    workdir: pathlib.Path, runs: Sequence[Run], settings: DistillationSettings
) -> None:
    path = workdir / SETTINGS
    if not path.exists() or not has_trained(workdir):
        with replacing_checked(path) as temporary:
            text = json.dumps(_record(runs, settings), indent=2) + "\n"
            temporary.write_text(text, encoding="utf-8")
