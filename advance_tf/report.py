"""Writes the page of a run: one HTML file that opens anywhere and loads nothing.

    python -m advance_tf.report --workdir=runs/a
    python -m advance_tf.report --workdir=runs/a --split=validation --mistakes=12
    python -m advance_tf.report --workdir=runs/a --output=a.html

Scores with intervals, learning curves, confusion matrix, calibration, the
settings, and the most confident mistakes to look at and listen to, with
activation maps and the events that the teacher heard. By default it is written
to <workdir>/evaluation/<split>/report.html.
"""

import pathlib
import shlex
import sys

from absl import flags

from advance_tf import program
from advance_tf.files import check_output

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_enum(
    "split", "test", ("training", "validation", "test", "all"), "Pairs to evaluate on."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data set; default: as the run was trained."
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "HTML file; default: <workdir>/evaluation/<split>/report.html."
)
_MISTAKES = flags.DEFINE_integer("mistakes", 6, "Mistakes to show.", 0, 100)


def main(arguments) -> None:
    """Writes the page of --workdir on --split."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of a run; received none.")

    folder = pathlib.Path(_WORKDIR.value) / "evaluation" / _SPLIT.value
    output = pathlib.Path(_OUTPUT.value or folder / "report.html")
    check_output(output)

    from advance_tf.metrics.report import summary
    from advance_tf.studies.page import write_page
    from advance_tf.studies.taught import load_taught_run

    taught = load_taught_run(_WORKDIR.value, _DATA_DIR.value)
    evaluation = write_page(
        taught,
        _SPLIT.value,
        output,
        mistakes=_MISTAKES.value,
        command=f"python -m advance_tf.report {shlex.join(sys.argv[1:])}",
    )
    print(f"{summary(evaluation)}\nThe page is {output}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
