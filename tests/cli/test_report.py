"""`advance report` on a small untrained run."""

import pytest

from tests.commands import run_command
from tests.untrained_run import copy_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


def test_report_writes_one_page(workdir):
    status, printed, error = run_command("report", f"--workdir={workdir}")
    assert status == 0, error
    output = workdir / "evaluation" / "test" / "report.html"
    assert str(output) in printed
    assert "Weighted F" in printed
    text = output.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert f"advance report --workdir={workdir}" in text
    assert text.count('<article class="mistake">') == 6
    assert output.stat().st_size < 6_000_000
    assert [path.name for path in output.parent.iterdir()] == ["report.html"]


def test_split_and_output_are_used(workdir, tmp_path):
    output = tmp_path / "a b" / "page.html"
    status, _, error = run_command(
        *("report", f"--workdir={workdir}", "--split=training", "--mistakes=0"),
        f"--output={output}",
    )
    assert status == 0, error
    text = output.read_text(encoding="utf-8")
    assert "measured on training pairs" in text
    assert "<audio" not in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--workdir must name the folder of a run"),
        (["--split=validation"], "--split=validation must have pairs"),
        (["--data_dir=nowhere"], "does not exist. Give the folder of the data set"),
        (["--workdir=nowhere", "--output=tests"], "received the folder tests"),
    ],
)
def test_errors_name_the_remedy(workdir, tmp_path, flags, message):
    if flags:
        flags = [f"--workdir={workdir}", *flags]
    output = tmp_path / "page.html"
    status, _, error = run_command("report", f"--output={output}", *flags)
    assert status == 1
    assert message in error
    assert not output.exists()
