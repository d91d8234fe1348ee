"""Runs the main commands on synthetic data, in a few minutes.

    advance demo
    advance demo --workdir=demo

Writes a small data set in ADVANCE's layout (drawn textures, synthesized sounds),
pretrains a small teacher on tagged clips of its events, then runs teach, fit (event
objective, small towers), evaluate and report, and prints each command. The data are
synthetic: the scores are not those of ADVANCE.
"""

import pathlib
import shlex
import subprocess
import sys
import time

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_workdir

FOLDER = "demo"
_SITES = 10
_SMALL_AUDIO = ("--audio_depth=18", "--audio_width=8")
_SMALL = ("--image_depth=18", "--image_width=8", "--image_size=64", *_SMALL_AUDIO)


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values, f"Folder to write. (default: {FOLDER})")
    flags.DEFINE_integer(
        "sites_per_scene", _SITES, "Sites of each scene.", 10, flag_values=values
    )


def run(values: FlagValues) -> None:
    """Writes the data and runs every command."""
    demonstrate(pathlib.Path(values.workdir or FOLDER), values.sites_per_scene)


def demonstrate(folder: pathlib.Path, sites_per_scene: int = _SITES) -> None:
    """Writes the data to a folder and runs every command on it.

    Args:
        folder: to write.
        sites_per_scene: size of the data set.

    Raises:
        ValueError: the folder holds a demonstration, or a command failed.
    """
    started = time.monotonic()
    if (folder / "run" / "config.json").exists():
        raise ValueError(
            f"--workdir={folder} holds a finished demonstration. Remove it or give "
            "another folder with `advance demo --workdir=…`."
        )
    startup.load_tensorflow()

    from advance_tf.data.synthetic.pairs import (
        LABEL,
        write_pairs,
        write_tagged_clips,
    )

    print(f"{LABEL}.")
    write_pairs(folder / "pairs", sites_per_scene)
    write_tagged_clips(folder / "tagged")
    for command in _commands(folder):
        _run(command)
    minutes = (time.monotonic() - started) / 60
    print(f"\nDone in {minutes:.1f} minutes on {LABEL}.")
    print(f"Open {folder / 'run/evaluation/test/report.html'} in a browser.")
    print(f"In {folder}: pairs/ (data set), teacher/, run/ (model and log).")


def _commands(folder: pathlib.Path) -> list[list[str]]:
    """Each command with its flags."""
    pairs, clips = f"--data_dir={folder / 'pairs'}", folder / "tagged"
    run, tower = f"--workdir={folder / 'run'}", folder / "teacher" / "tower.npz"
    return [
        [
            *("pretrain", "--tower=audio", f"--data_dir={clips}"),
            *(f"--tags={clips / 'tags.csv'}", f"--workdir={folder / 'teacher'}"),
            *(*_SMALL_AUDIO, "--mixup=0", "--epochs=12", "--batch_size=8"),
            "--learning_rate=0.004",
        ],
        ["teach", pairs, run, f"--teacher={tower}"],
        [
            *("fit", pairs, run, "--transfer=event", *_SMALL),
            *(f"--audio_weights={tower}", f"--cache_dir={folder / 'cache'}"),
            *("--learning_rate=0.002", "--batch_size=16", "--epochs=10"),
            "--drop_epochs=8",
        ],
        ["evaluate", run],
        ["report", run],
    ]


def _run(command: list[str]) -> None:
    print(f"\n$ {shlex.join(['advance', *command])}", flush=True)
    process = [sys.executable, "-m", "advance_tf", *command]
    if status := subprocess.run(process, check=False).returncode:
        raise ValueError(
            f"`advance {command[0]}` ended with status {status}; its message is above."
        )
