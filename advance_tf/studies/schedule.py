"""Trains many runs, each in a process of its own, with one bar over all."""

import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

from advance_tf.studies.jobs import Job

_LOG = "fit.log"
_POLL_SECONDS = 1
_END_SECONDS = 20


def run_jobs(
    jobs: Sequence[Job],
    *,
    parallel: int = 1,
    progress: bool = True,
    lock: int | None = None,
    launch: Callable[[Job, int, int | None], subprocess.Popen] | None = None,
) -> None:
    """Trains every job that is not finished, in their order.

    A job that fails stops no other that is running, but none is begun after it.
    When this process ends, so do the jobs; they go on where they stopped when it
    is called again.

    Args:
        jobs: what to train; finished ones are not touched.
        parallel: how many at a time; the cores are shared out evenly.
        progress: show a bar of epochs over all jobs.
        lock: file descriptor to hand down, see `lock.held`.
        launch: starts a job on a number of cores; by default
            `python -m advance_tf.fit`, its output in <workdir>/fit.log.

    Raises:
        ValueError: a job failed; its last lines are shown.
    """
    launch = launch or _launch
    waiting = [job for job in jobs if not job.is_finished()]
    cores = max(1, (os.cpu_count() or 1) // parallel)
    running: list[tuple[Job, subprocess.Popen]] = []
    failed: list[Job] = []
    epochs = {job.name: job.epochs for job in jobs}
    bar = tqdm(
        total=sum(job.config.training.epochs for job in jobs),
        desc="training",
        unit="epoch",
        disable=not progress,
        initial=sum(epochs.values()),
    )
    try:
        while running or (waiting and not failed):
            while waiting and not failed and len(running) < parallel:
                job = waiting.pop(0)
                running.append((job, launch(job, cores, lock)))
            time.sleep(_POLL_SECONDS)
            ended = [pair for pair in running if pair[1].poll() is not None]
            # What has ended since has its last epoch counted here.
            _show(bar, epochs, [job for job, _ in running])
            failed += [job for job, process in ended if process.returncode]
            running = [pair for pair in running if pair not in ended]
    finally:
        bar.close()
        _end([process for _, process in running])
    if failed:
        raise ValueError(_failure(failed))


def _launch(job: Job, cores: int, lock: int | None) -> subprocess.Popen:
    job.workdir.mkdir(parents=True, exist_ok=True)
    threads = {
        name: str(cores)
        for name in (
            "TF_NUM_INTRAOP_THREADS",
            "TF_NUM_INTEROP_THREADS",
            "OMP_NUM_THREADS",
        )
    }
    with (job.workdir / _LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *job.command()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # What the user set by hand goes before an even share.
            env=threads | dict(os.environ),
            pass_fds=() if lock is None else (lock,),
        )


def _show(bar, epochs: dict[str, int], running: Sequence[Job]) -> None:
    """Counts the epochs of what is running; the others stand still."""
    epochs.update({job.name: job.epochs for job in running})
    bar.set_postfix_str(", ".join(job.name for job in running), refresh=False)
    bar.update(sum(epochs.values()) - bar.n)


def _end(processes) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _failure(failed: Sequence[Job]) -> str:
    parts = []
    for job in failed:
        log = pathlib.Path(job.workdir / _LOG)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        last = "\n".join(text.strip().splitlines()[-3:])
        parts.append(f"{job.name} failed; the end of {log}:\n{last}")
    return "\n".join([*parts, "Mend it and give the same command again: it goes on."])
