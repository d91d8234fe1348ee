"""The scheduler: finished jobs, parallel jobs, progress, failures and interrupts."""

import dataclasses
import json
import os
import threading
import time

import pytest

from advance_tf.experiments import scheduler
from advance_tf.experiments.scheduler import Job
from advance_tf.locks import lock_folder
from tests.experiments.factories import open_small_study, write_progress
from tests.imports import ROOT

# sched_getaffinity is not available on every system.
CORES = (
    len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count() or 1
)


@dataclasses.dataclass(frozen=True)
class StubJob(Job):
    """A job whose training is `tests.experiments.stub_training`."""

    status: int = 0

    def command(self):
        return ["tests.experiments.stub_training", str(self.workdir), str(self.status)]


@pytest.fixture
def jobs(tmp_path, fabricated_advance, monkeypatch):
    """Four jobs of one recipe."""
    monkeypatch.chdir(ROOT)
    # The bar is drawn at most every 0.1 s: each poll is shown.
    monkeypatch.setattr(scheduler, "_POLL_SECONDS", 0.2)
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    study = open_small_study(tmp_path, fabricated_advance)
    return [StubJob(**vars(study.job("table1_both", seed))) for seed in range(4)]


def let_end(jobs):
    """Lets every process end."""
    folder = jobs[0].workdir.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "continue").write_text("")


def is_started(job):
    return (job.workdir / "started.json").exists()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_finished_jobs_are_skipped_and_all_epochs_are_counted(jobs, capsys):
    let_end(jobs)
    write_progress(jobs[1])
    write_progress(jobs[2], epochs=1)
    partial = jobs[2].workdir / "checkpoint-77-partial.npz"
    partial.write_bytes(b"half")
    scheduler.run_jobs(jobs)
    assert [is_started(job) for job in jobs] == [True, False, True, True]
    assert not partial.exists()
    shown = capsys.readouterr().err
    # Two epochs of the second job, one of the third; the stubs train nothing.
    assert "3/8" in shown
    assert "runs/table1_both/0" in shown
    assert "runs/table1_both/1" not in shown


def test_the_bar_follows_the_checkpoints(jobs, capsys):
    def train():
        wait_for(lambda: is_started(jobs[0]))
        write_progress(jobs[0])
        let_end(jobs)

    thread = threading.Thread(target=train)
    thread.start()
    scheduler.run_jobs(jobs[:1])
    thread.join()
    assert "2/2" in capsys.readouterr().err


def test_parallel_jobs_share_the_cores(jobs):
    def observe():
        wait_for(lambda: is_started(jobs[0]) and is_started(jobs[1]))
        third_started.append(is_started(jobs[2]))
        let_end(jobs)

    third_started = []
    thread = threading.Thread(target=observe)
    thread.start()
    scheduler.run_jobs(jobs[:3], parallel=2, progress=False)
    thread.join()
    assert third_started == [False]
    assert all((job.workdir / "ended").exists() for job in jobs[:3])
    given = json.loads((jobs[0].workdir / "started.json").read_text())
    assert given == {"OMP_NUM_THREADS": str(max(1, CORES // 2))}


def test_a_single_job_has_all_cores(jobs):
    let_end(jobs)
    scheduler.run_jobs(jobs[:1], parallel=64, progress=False)
    given = json.loads((jobs[0].workdir / "started.json").read_text())
    assert given == {"OMP_NUM_THREADS": str(CORES)}


@pytest.mark.parametrize(
    ("status", "cause"), [(3, "status 3"), (-9, r"signal 9 \(SIGKILL\)")]
)
def test_after_a_failure_no_job_is_started(jobs, status, cause):
    failing = [dataclasses.replace(job, status=status) for job in jobs]
    let_end(jobs)
    jobs[0].workdir.mkdir(parents=True)
    (jobs[0].workdir / "fit.log").write_text("output of an earlier attempt\n")
    message = rf"both/0 ended with {cause}; the end of .*fit\.log:\nabout to end\nFix"
    with pytest.raises(ValueError, match=message):
        scheduler.run_jobs(failing, progress=False)
    assert not is_started(jobs[1])


def test_jobs_are_stopped_with_the_study(jobs, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(*_):
        wait_for(lambda: is_started(jobs[0]))
        raise Stop

    monkeypatch.setattr(scheduler, "_update_bar", stop)
    with pytest.raises(Stop):
        scheduler.run_jobs(jobs[:1], progress=False)
    let_end(jobs)
    time.sleep(0.2)
    assert not (jobs[0].workdir / "ended").exists()


def test_a_job_that_outlives_the_study_keeps_the_lock(jobs, tmp_path):
    with lock_folder(tmp_path / "locked", "study") as descriptor:
        running = scheduler._launch(jobs[0], 1, descriptor)
    with pytest.raises(ValueError, match="one that it started"):
        with lock_folder(tmp_path / "locked", "study"):
            pass
    let_end(jobs)
    running.process.wait(60)
    with lock_folder(tmp_path / "locked", "study"):
        pass
