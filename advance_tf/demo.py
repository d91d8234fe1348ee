"""The demonstration: every program in turn on synthetic data, in minutes.

    python -m advance_tf.demo --workdir=demo

Makes a small data set in ADVANCE's layout (drawn textures, synthesized sounds),
trains a small teacher on tagged clips of its events, then runs teach, fit (event
objective, small towers), evaluate and report, each command printed as it is run. The
data are synthetic: the figures say nothing about ADVANCE.
"""

import pathlib
import subprocess
import sys
import time

from absl import flags

from advance_tf import program

_WORKDIR = flags.DEFINE_string("workdir", "demo", "Folder for everything it makes.")
_SITES = flags.DEFINE_integer("sites_per_scene", 10, "Sites of each scene.", 10)

_SMALL_AUDIO = ("--audio_depth=18", "--audio_width=8")
_SMALL = ("--image_depth=18", "--image_width=8", "--image_size=64", *_SMALL_AUDIO)


def _commands(folder: pathlib.Path) -> list[list[str]]:
    """Program name and flags of each step."""
    pairs, clips = f"--data_dir={folder / 'pairs'}", folder / "tagged"
    run, tower = f"--workdir={folder / 'run'}", folder / "teacher" / "tower.npz"
    return [
        [
            "pretrain",
            "--tower=audio",
            f"--data_dir={clips}",
            f"--tags={clips / 'tags.csv'}",
            f"--workdir={folder / 'teacher'}",
            *_SMALL_AUDIO,
            "--mixup=0",
            "--epochs=12",
            "--batch_size=8",
            "--learning_rate=0.004",
        ],
        ["teach", pairs, run, f"--teacher={tower}"],
        [
            "fit",
            pairs,
            run,
            "--transfer=event",
            *_SMALL,
            f"--audio_weights={tower}",
            f"--cache_dir={folder / 'cache'}",
            "--learning_rate=0.002",
            "--batch_size=16",
            "--epochs=10",
            "--drop_epochs=8",
        ],
        ["evaluate", run],
        ["report", run],
    ]


def _run(name: str, *given: str) -> None:
    print(f"\n$ python -m advance_tf.{name} {' '.join(given)}", flush=True)
    command = [sys.executable, "-m", f"advance_tf.{name}", *given]
    if status := subprocess.run(command, check=False).returncode:
        raise ValueError(f"`{name}` ended with status {status}; its message is above.")


def main(arguments) -> None:
    """Makes the data and runs every step."""
    del arguments
    from advance_tf.data import demo

    started = time.monotonic()
    folder = pathlib.Path(_WORKDIR.value)
    if (folder / "run" / "config.json").exists():
        raise ValueError(
            f"--workdir={folder} holds a finished demonstration. Remove it or give "
            "another folder."
        )
    print(f"{demo.LABEL}.")
    demo.write_pairs(folder / "pairs", _SITES.value)
    demo.write_tagged_clips(folder / "tagged")
    for command in _commands(folder):
        _run(*command)
    minutes = (time.monotonic() - started) / 60
    print(f"\nDone in {minutes:.1f} minutes on {demo.LABEL}.")
    print(f"Look at {folder / 'run/evaluation/test/report.html'} in a browser.")
    print(f"Data set: pairs/; teacher: teacher/; model, log: run/; all in {folder}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
