"""Trains many runs, each in a process of its own, with one bar over all."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from advance_tf.studies.jobs import Job

_LOG = "fit.log"
_POLL_SECONDS = 1
_END_SECONDS = 20
_SHOWN_LINES = 3


@dataclasses.dataclass(frozen=True, eq=False)
class _Running:
    """A job at work, and where in its log this attempt begins."""

    job: Job
    process: subprocess.Popen
    log_begin: int


def run_jobs(
    jobs: Sequence[Job],
    *,
    parallel: int = 1,
    progress: bool = True,
    lock: int | None = None,
) -> None:
    """Trains every job that is not finished, in their order.

    A job that fails stops no other that is running, but none is begun after it.
    When this process ends, so do the jobs; they go on where they stopped when it
    is called again. The output of each is in <workdir>/fit.log.

    Args:
        jobs: what to train; finished ones are not touched.
        parallel: how many at a time; the cores are shared out evenly.
        progress: show a bar of epochs over all jobs.
        lock: file descriptor to hand down, see `lock.held`.

    Raises:
        ValueError: a job failed; its last lines are shown.
    """
    waiting = [job for job in jobs if not job.is_finished()]
    parallel = min(parallel, max(1, len(waiting)))
    cores = max(1, _cores() // parallel)
    epochs = {job.name: job.epochs for job in jobs}
    bar = tqdm(
        total=sum(job.config.training.epochs for job in jobs),
        desc="training",
        unit="epoch",
        disable=not progress,
        initial=sum(epochs.values()),
    )
    running: list[_Running] = []
    failed: list[_Running] = []
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < parallel:
                running.append(_launch(waiting.pop(0), cores, lock))
            time.sleep(_POLL_SECONDS)
            ended = [one for one in running if one.process.poll() is not None]
            # What has ended since has its last epoch counted here.
            _show(bar, epochs, [one.job for one in running])
            failed += [one for one in ended if one.process.returncode]
            running = [one for one in running if one not in ended]
    finally:
        bar.close()
        _end([one.process for one in running])
    if failed:
        raise ValueError(_failure(failed))


def _cores() -> int:
    """The cores that this process may use; macOS tells only how many there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _launch(job: Job, cores: int, lock: int | None) -> _Running:
    job.workdir.mkdir(parents=True, exist_ok=True)
    # What a run that was killed had begun to write.
    for partial in job.workdir.glob("*-partial*"):
        partial.unlink()
    threads = {
        name: str(cores)
        for name in (
            "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS",
            "OMP_NUM_THREADS",
        )
    }
    with (job.workdir / _LOG).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *job.command()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # What the user set by hand goes before an even share.
            env=threads | dict(os.environ),
            pass_fds=() if lock is None else (lock,),
        )
        return _Running(job, process, log.tell())


def _show(bar, epochs: dict[str, int], running: Sequence[Job]) -> None:
    """Counts the epochs of what is running; the others stand still."""
    epochs.update({job.name: job.epochs for job in running})
    bar.set_postfix_str(", ".join(job.name for job in running), refresh=False)
    bar.update(sum(epochs.values()) - bar.n)


def _end(processes: Sequence[subprocess.Popen]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _failure(failed: Sequence[_Running]) -> str:
    parts = []
    for one in failed:
        log, status = one.job.workdir / _LOG, one.process.returncode
        text = log.read_bytes()[one.log_begin :].decode(errors="replace")
        how = f"status {status}"
        if status < 0:
            how = f"signal {-status} ({signal.Signals(-status).name})"
        last = "\n".join(text.strip().splitlines()[-_SHOWN_LINES:])
        parts.append(f"{one.job.name} ended with {how}; the end of {log}:\n{last}")
    return "\n".join([*parts, "Mend it and give the same command again: it goes on."])
