"""`advance explain` on a small untrained run."""

import pytest
from PIL import Image

from tests.commands import run_command
from tests.untrained_run import copy_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


def test_explain_writes_the_figure(workdir, tmp_path):
    output = tmp_path / "new" / "cam.png"
    status, printed, error = run_command(
        *("explain", f"--workdirs={workdir},{workdir}", "--pairs=2"),
        f"--output={output}",
    )
    assert status == 0, error
    assert str(output) in printed
    with Image.open(output) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 500


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--workdirs must name the folders of runs"),
        (["--workdirs=nowhere"], "nowhere has no config.json"),
        (["--stems=99999"], "--stems must name pairs of the manifest"),
        (["--choose=gain"], "received one run"),
        (["--stems=a", "--choose=gain"], "received --choose too. Omit either."),
        (
            ["--stems=a", "--choose=spread", "--pairs=4"],
            "received --choose and --pairs",
        ),
        (["--workdirs=nowhere", "--output=cam.jpg"], "--output must end in .png"),
        (["--workdirs=nowhere", "--output=tests"], "received the folder tests"),
    ],
)
def test_errors_name_the_remedy(workdir, tmp_path, flags, message):
    if flags and "workdirs" not in flags[0]:
        flags = [f"--workdirs={workdir}", *flags]
    output = tmp_path / "cam.png"
    status, _, error = run_command("explain", f"--output={output}", *flags)
    assert status == 1
    assert message in error
    assert not output.exists()
