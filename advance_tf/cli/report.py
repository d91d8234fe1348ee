"""Writes the HTML report of a run, one file without external resources.

    advance report --workdir=runs/a
    advance report --workdir=runs/a --split=validation --mistakes=12
    advance report --workdir=runs/a --output=a.html
    advance report --workdir=runs/a --outside_dir=photos

Contents: scores with intervals, learning curves, confusion matrix, calibration, risk by
coverage, settings, and the most confident errors as image and sound, with activation
maps and the events of the teacher. The default file is
<workdir>/evaluation/<split>/report.html.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import command_line, define_run, require
from advance_tf.files import check_output


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_run(values)
    flags.DEFINE_string(
        "output",
        None,
        "HTML file; default: <workdir>/evaluation/<split>/report.html.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "outside_dir",
        None,
        "Folder of images of no scene: the report shows how well they, noise and "
        "silence are rejected.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "mistakes", 6, "Number of errors to show.", 0, 100, flag_values=values
    )


def run(values: FlagValues) -> None:
    """Writes the report of --workdir on --split."""
    require(values, workdir="the folder of a run")
    folder = pathlib.Path(values.workdir) / "evaluation" / values.split
    output = pathlib.Path(values.output or folder / "report.html")
    check_output(output)
    startup.load_tensorflow()

    from advance_tf.reporting.evaluation_report import summary
    from advance_tf.reporting.html_report import write_html_report
    from advance_tf.runs.workdir import load_run

    run = load_run(values.workdir, values.data_dir)
    evaluation = write_html_report(
        run,
        values.split,
        output,
        mistakes=values.mistakes,
        command=command_line("report", values),
        progress=True,
        outside_dir=values.outside_dir,
    )
    print(f"{summary(evaluation)}\nThe report is {output}.")
