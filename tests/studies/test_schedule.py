"""Jobs run once, side by side, and end with the study; failures are told."""

import dataclasses
import json
import os
import threading
import time

import pytest

from advance_tf.studies import lock, schedule
from advance_tf.studies.jobs import Job
from tests.imports import ROOT
from tests.studies.made import a_study, write_progress

# Not every system says which cores a process may use.
CORES = (
    len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count() or 1
)


@dataclasses.dataclass(frozen=True)
class Stand(Job):
    """A job whose training is `tests.studies.child`."""

    status: int = 0

    def command(self):
        return ["tests.studies.child", str(self.workdir), str(self.status)]


@pytest.fixture
def jobs(tmp_path, fabricated_advance, monkeypatch):
    """Four jobs of one recipe."""
    monkeypatch.chdir(ROOT)
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.delenv(name, raising=False)
    study = a_study(tmp_path, fabricated_advance)
    return [Stand(**vars(study.job("table1_both", seed))) for seed in range(4)]


def go(jobs):
    """Lets every child end."""
    folder = jobs[0].workdir.parent
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "go").write_text("")


def began(job):
    return (job.workdir / "began.json").exists()


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_finished_jobs_are_left_alone_and_all_epochs_are_counted(jobs, capsys):
    go(jobs)
    write_progress(jobs[1])
    write_progress(jobs[2], epochs=1)
    partial = jobs[2].workdir / "checkpoint-77-partial.npz"
    partial.write_bytes(b"half")
    schedule.run_jobs(jobs)
    assert [began(job) for job in jobs] == [True, False, True, True]
    assert not partial.exists()
    shown = capsys.readouterr().err
    # Two of the second, one of the third; the children train nothing.
    assert "3/8" in shown
    assert "runs/table1_both/0" in shown
    assert "runs/table1_both/1" not in shown


def test_progress_follows_the_checkpoints(jobs, capsys):
    def train():
        wait_for(lambda: began(jobs[0]))
        write_progress(jobs[0])
        go(jobs)

    thread = threading.Thread(target=train)
    thread.start()
    schedule.run_jobs(jobs[:1])
    thread.join()
    assert "2/2" in capsys.readouterr().err


def test_as_many_as_asked_run_side_by_side_and_share_the_cores(jobs):
    def look():
        wait_for(lambda: began(jobs[0]) and began(jobs[1]))
        seen.append(began(jobs[2]))
        go(jobs)

    seen = []
    thread = threading.Thread(target=look)
    thread.start()
    schedule.run_jobs(jobs[:3], parallel=2, progress=False)
    thread.join()
    assert seen == [False]
    assert all((job.workdir / "ended").exists() for job in jobs[:3])
    given = json.loads((jobs[0].workdir / "began.json").read_text())
    assert given == {"OMP_NUM_THREADS": str(max(1, CORES // 2))}


def test_one_job_of_many_allowed_has_all_cores(jobs):
    go(jobs)
    schedule.run_jobs(jobs[:1], parallel=64, progress=False)
    given = json.loads((jobs[0].workdir / "began.json").read_text())
    assert given == {"OMP_NUM_THREADS": str(CORES)}


@pytest.mark.parametrize(
    ("status", "how"), [(3, "status 3"), (-9, r"signal 9 \(SIGKILL\)")]
)
def test_a_failure_is_told_and_nothing_begins_after_it(jobs, status, how):
    failing = [dataclasses.replace(job, status=status) for job in jobs]
    go(jobs)
    jobs[0].workdir.mkdir(parents=True)
    (jobs[0].workdir / "fit.log").write_text("of an earlier attempt\n")
    message = rf"both/0 ended with {how}; the end of .*fit\.log:\nabout to end\nMend"
    with pytest.raises(ValueError, match=message):
        schedule.run_jobs(failing, progress=False)
    assert not began(jobs[1])


def test_children_end_when_the_study_does(jobs, monkeypatch):
    class Stop(BaseException):
        pass

    def stop(*_):
        wait_for(lambda: began(jobs[0]))
        raise Stop

    monkeypatch.setattr(schedule, "_show", stop)
    with pytest.raises(Stop):
        schedule.run_jobs(jobs[:1], progress=False)
    go(jobs)
    time.sleep(0.2)
    assert not (jobs[0].workdir / "ended").exists()


def test_a_job_that_outlives_the_study_keeps_its_folder(jobs, tmp_path):
    with lock.held(tmp_path / "held") as descriptor:
        left = schedule._launch(jobs[0], 1, descriptor)
    with pytest.raises(ValueError, match="left behind"):
        with lock.held(tmp_path / "held"):
            pass
    go(jobs)
    left.process.wait(60)
    with lock.held(tmp_path / "held"):
        pass
