"""Jobs run once, side by side, and end with the study; failures are told."""

import os
import subprocess
import sys
import time

import pytest

from advance_tf.studies.schedule import run_jobs
from tests.studies.made import a_study, write_progress

# Waits for a file that says go, notes that it ran, and ends with a status.
_CHILD = """
import pathlib, sys, time
folder, status = pathlib.Path(sys.argv[1]), int(sys.argv[2])
folder.mkdir(parents=True, exist_ok=True)
(folder / "began").write_text("")
print("about to end", flush=True)
while not (folder.parent.parent / "go").exists():
    time.sleep(0.02)
(folder / "ended").write_text("")
sys.exit(status)
"""


@pytest.fixture
def study(tmp_path, fabricated_advance):
    return a_study(tmp_path, fabricated_advance)


def launcher(began, status=0):
    """Starts the child in a job's place and notes the job."""

    def launch(job, cores, lock):
        began.append((job.name, cores))
        job.workdir.mkdir(parents=True, exist_ok=True)
        with (job.workdir / "fit.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(job.workdir), str(status)],
                stdout=log,
            )

    return launch


def go(study):
    (study.workdir / "runs").mkdir(parents=True, exist_ok=True)
    (study.workdir / "runs" / "go").write_text("")


def test_finished_jobs_are_left_alone_and_others_run_in_order(study):
    jobs = [study.job("table1_both", seed) for seed in range(4)]
    go(study)
    write_progress(jobs[1])
    write_progress(jobs[2], epochs=1)
    began = []
    run_jobs(jobs, progress=False, launch=launcher(began))
    assert [name.split("/")[-1] for name, _ in began] == ["0", "2", "3"]
    assert {cores for _, cores in began} == {os.cpu_count()}
    assert not (jobs[1].workdir / "began").exists()


def test_as_many_as_asked_run_side_by_side(study):
    jobs = [study.job("table1_both", seed) for seed in range(3)]
    folders = [job.workdir for job in jobs]
    seen = []

    def launch(job, cores, lock):
        seen.append(sum((folder / "ended").exists() for folder in folders))
        if len(seen) == 2:
            go(study)
        return launcher([])(job, cores, lock)

    run_jobs(jobs, parallel=2, progress=False, launch=launch)
    # The second began while the first was at work, the third after one had ended.
    assert seen[:2] == [0, 0]
    assert seen[2] >= 1
    assert all((folder / "ended").exists() for folder in folders)


def test_a_failure_is_told_and_nothing_begins_after_it(study):
    jobs = [study.job("table1_both", seed) for seed in range(3)]
    go(study)
    began = []
    with pytest.raises(ValueError, match="about to end\nMend it") as error:
        run_jobs(jobs, progress=False, launch=launcher(began, status=3))
    assert "runs/table1_both/0 failed" in str(error.value)
    assert len(began) == 1


def test_children_end_when_the_study_does(study):
    jobs = [study.job("table1_both", seed) for seed in range(2)]
    children = []

    class Stop(BaseException):
        pass

    def launch(job, cores, lock):
        if children:
            time_out = time.monotonic() + 30
            while not (jobs[0].workdir / "began").exists():
                assert time.monotonic() < time_out
            raise Stop
        children.append(launcher([])(job, cores, lock))
        return children[0]

    with pytest.raises(Stop):
        run_jobs(jobs, parallel=2, progress=False, launch=launch)
    assert children[0].poll() is not None
    assert not (jobs[0].workdir / "ended").exists()
