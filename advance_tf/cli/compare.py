r"""Compares methods over several runs: mean, deviation, differences.

    advance compare --methods='L_s=runs/both-*;event=runs/event-*' \
        --reference=L_s --split=test

A method is a name and a pattern of run folders; methods are separated by semicolons.
Each run must have been evaluated on the split, with the weights that it has now.
Differences of weighted F are paired, with a 95 % interval by bootstrap over sites.
"""

import glob
import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_split, require
from advance_tf.files import check_output, replacing


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    for name, help in (
        ("methods", "Methods and their runs: name=pattern;name=pattern …"),
        ("reference", "Method to compare with; default: the first one."),
        ("output", "Markdown file to write the table to."),
    ):
        flags.DEFINE_string(name, None, help, flag_values=values)
    define_split(values, "Split of the evaluations.")


def run(values: FlagValues) -> None:
    """Prints the comparison of --methods."""
    require(values, methods="methods and their runs, name=pattern;name=pattern")
    if values.output:
        check_output(pathlib.Path(values.output))
    workdirs = _workdirs(values.methods)
    startup.load_tensorflow()

    from advance_tf.metrics import comparison
    from advance_tf.reporting.evaluation_report import check_evaluated_weights

    for folders in workdirs.values():
        for folder in folders:
            check_evaluated_weights(folder, values.split)
    methods = {
        name: [
            comparison.read_predictions(
                folder / "evaluation" / values.split / comparison.PREDICTIONS
            )
            for folder in folders
        ]
        for name, folders in workdirs.items()
    }
    reference = values.reference or next(iter(methods))
    rows = comparison.compare(methods, reference)
    labels = {run.label for runs in methods.values() for run in runs if run.label}
    text = comparison.markdown(rows, reference, "; ".join(sorted(labels)))
    print(text)
    if values.output:
        with replacing(pathlib.Path(values.output)) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def _workdirs(methods: str) -> dict[str, list[pathlib.Path]]:
    """Method → the folders of its runs, sorted."""
    found = {}
    for part in methods.split(";"):
        name, equals, pattern = part.partition("=")
        folders = [pathlib.Path(path) for path in sorted(glob.glob(pattern.strip()))]
        if not equals or not folders:
            raise ValueError(
                "--methods must be name=pattern of existing run folders, separated by "
                f"semicolons; received {part!r}."
            )
        if name.strip() in found:
            raise ValueError(
                "--methods must name each method once; received "
                f"{name.strip()!r} twice. Use one pattern for all of its runs, or "
                "another name."
            )
        found[name.strip()] = folders
    return found
