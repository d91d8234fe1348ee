"""Trains the jobs of a study in processes of their own, several at a time."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tqdm import tqdm

from advance_tf.config import Config, ModelConfig
from advance_tf.config_io import check_resume, to_dict
from advance_tf.data.manifest import Manifest
from advance_tf.files import remove_partial_files, replacing
from advance_tf.models.backbones.registry import check_weights, file_hashes
from advance_tf.runs.workdir import CONFIG, read_config
from advance_tf.training.activations import trains_on_stored
from advance_tf.training.embeddings import used_towers
from advance_tf.training.session import has_trained, is_finished, run_progress

# What `frozen_heads` leaves of a job.
RESULT = "heads.json"
_JOB = "job.json"
_LOG = "fit.log"
_POLL_SECONDS = 1
_END_SECONDS = 20
_SHOWN_LINES = 3
_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of `advance fit`.

    Attributes:
        name: name of the run in its study.
        workdir: folder of the run.
        config: configuration of the run.
        manifest_path: the split of the study.
        knowledge_dir: the event knowledge of the study, None if it is not used.
        recipe: name of the recipe, "" for a job without one.
    """

    name: str
    workdir: pathlib.Path
    config: Config
    manifest_path: pathlib.Path
    knowledge_dir: pathlib.Path | None = None
    recipe: str = ""

    @property
    def frozen_towers(self) -> bool:
        """Whether it is trained in memory, see `experiments.frozen_heads`."""
        return trains_on_stored(self.config)

    @property
    def epochs(self) -> int:
        """Number of epochs that need no more training; all after an early stop."""
        progress, training = run_progress(self.workdir), self.config.training
        return training.epochs if is_finished(progress, training) else progress.epochs

    def is_finished(self) -> bool:
        """Whether no epoch remains to be trained."""
        return is_finished(run_progress(self.workdir), self.config.training)

    def command(self) -> list[str]:
        """Returns module and arguments for `python -m` that train or resume."""
        command = [
            *("advance_tf", "fit", f"--workdir={self.workdir}"),
            f"--config={self.workdir / _JOB}",
            f"--manifest={self.manifest_path}",
        ]
        if self.knowledge_dir is not None:
            command.append(f"--knowledge_dir={self.knowledge_dir}")
        return command

    def write(self) -> None:
        """Writes the configuration that `command` reads to the folder of the run."""
        with replacing(self.workdir / _JOB) as temporary:
            text = json.dumps(to_dict(self.config), indent=2) + "\n"
            temporary.write_text(text, encoding="utf-8")

    def check(self, manifest: Manifest) -> None:
        """Checks that a run in the folder is a run of this job.

        Args:
            manifest: the split of the study.

        Raises:
            ValueError: a tower cannot start from its weights, or the folder holds a
                run of another split, with more epochs or, once it has trained an
                epoch, with other settings or from other weights.
        """
        check_weights(self.config.model)
        if not (self.workdir / CONFIG).exists():
            return
        stored, contents = read_config(self.workdir)
        trained = has_trained(self.workdir)
        try:
            if trained:
                check_resume(stored, self.config)
        except ValueError as error:
            raise ValueError(
                f"{self.workdir} holds a run of this study with other settings. {error}"
            ) from error
        if trained:
            self._check_initial_weights(contents.get("initial_weights") or {})
        if contents["manifest_sha256"] != manifest.sha256:
            raise ValueError(
                f"All runs of a study must have one split; {self.workdir} was trained "
                "on another one. Use another `workdir`."
            )
        finished, epochs = (
            run_progress(self.workdir).epochs,
            self.config.training.epochs,
        )
        if finished > epochs:
            raise ValueError(
                "All runs of a study must have the same number of epochs; "
                f"{self.workdir} has {finished}, more than `epochs={epochs}`. Raise "
                "`epochs` or use another `workdir`."
            )

    def _check_initial_weights(self, stored: Mapping[str, Any]) -> None:
        """ValueError if a file of weights was replaced since the run has started."""
        for tower, sha256 in initial_hashes(self.config.model).items():
            recorded = stored.get(tower, {}).get("sha256", "")
            if recorded and recorded != sha256:
                raise ValueError(
                    "All runs of a study must start from the same weights; the file of "
                    f"`{tower}_weights` has the SHA-256 {sha256[:16]}, and "
                    f"{self.workdir} was trained from {recorded[:16]}. Restore the "
                    "file, or use another `workdir`."
                )


def initial_hashes(model: ModelConfig) -> dict[str, str]:
    """The hashes of the files that the towers of a job start from.

    Args:
        model: modality, backbones and weights are used.

    Returns:
        "image" and "audio" → SHA-256 of the file; without a tower that is not in use,
        has no file or whose file does not exist.
    """
    found, used = file_hashes(model), used_towers(model)
    return {tower: sha256 for tower, sha256 in found.items() if tower in used}


@dataclasses.dataclass(frozen=True, eq=False)
class _RunningJob:
    """A job in training, and the size of its log before this attempt."""

    job: Job
    process: subprocess.Popen[bytes]
    log_begin: int


def run_jobs(
    jobs: Sequence[Job],
    *,
    parallel: int = 1,
    progress: bool = True,
    lock: int | None = None,
) -> None:
    """Trains every job that is not finished, in their order.

    After a failure, running jobs continue but no further job is started. When
    this process ends, its jobs are stopped; the next call resumes them. The
    output of each job is in <workdir>/fit.log.

    Args:
        jobs: jobs to train; finished ones are skipped.
        parallel: number of jobs at a time; they share the cores evenly.
        progress: whether to show a bar of the epochs of all jobs.
        lock: file descriptor that the jobs inherit, see `locks.lock_folder`.

    Raises:
        ValueError: a job failed; the message shows the last lines of its log.
    """
    waiting = [job for job in jobs if not job.is_finished()]
    parallel = min(parallel, max(1, len(waiting)))
    # By folder: runs of several splits have the same name.
    epochs = {job.workdir: job.epochs for job in jobs}
    bar = tqdm(
        total=sum(job.config.training.epochs for job in jobs),
        desc="training",
        unit="epoch",
        disable=not progress,
        initial=sum(epochs.values()),
    )
    running: list[_RunningJob] = []
    failed: list[_RunningJob] = []
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < parallel:
                running.append(_launch(waiting.pop(0), parallel, lock))
            time.sleep(_POLL_SECONDS)
            ended = [each for each in running if each.process.poll() is not None]
            # Jobs that have just ended are still in `running`: their last epoch
            # is counted here.
            _update_bar(bar, epochs, [each.job for each in running])
            failed += [each for each in ended if each.process.returncode]
            running = [each for each in running if each not in ended]
    finally:
        bar.close()
        _stop([each.process for each in running])
    if failed:
        raise ValueError(_failure_message(failed))


def thread_settings(parallel: int) -> dict[str, str]:
    """Environment variables that share the cores of this process evenly.

    Args:
        parallel: number of processes.

    Returns:
        Variable → number of threads of each process.
    """
    # Of all cores on macOS.
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    threads = str(max(1, cores // parallel))
    return dict.fromkeys(_THREADS, threads)


def _launch(job: Job, parallel: int, lock: int | None) -> _RunningJob:
    job.workdir.mkdir(parents=True, exist_ok=True)
    remove_partial_files(job.workdir)
    job.write()
    with (job.workdir / _LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *job.command()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Variables that the user has set take precedence over an even share.
            env=thread_settings(parallel) | dict(os.environ),
            pass_fds=() if lock is None else (lock,),
        )
        return _RunningJob(job, process, log.tell())


def _update_bar(
    bar: "tqdm[None]", epochs: dict[pathlib.Path, int], running: Sequence[Job]
) -> None:
    """Counts the epochs of the running jobs; those of the others do not change."""
    epochs.update({job.workdir: job.epochs for job in running})
    bar.set_postfix_str(", ".join(job.name for job in running), refresh=False)
    bar.update(sum(epochs.values()) - bar.n)


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _failure_message(failed: Sequence[_RunningJob]) -> str:
    parts = []
    for each in failed:
        log, status = each.job.workdir / _LOG, each.process.returncode
        text = log.read_bytes()[each.log_begin :].decode(errors="replace")
        cause = f"status {status}"
        if status < 0:
            cause = f"signal {-status} ({signal.Signals(-status).name})"
        last = "\n".join(text.strip().splitlines()[-_SHOWN_LINES:])
        parts.append(f"{each.job.name} ended with {cause}; the end of {log}:\n{last}")
    parts.append("Fix the cause and run the same command again to resume.")
    return "\n".join(parts)
