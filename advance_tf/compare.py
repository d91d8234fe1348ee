"""Compares methods over several runs: mean ± deviation, and differences in F.

    python -m advance_tf.compare --methods='L_s=runs/both-*;event=runs/event-*' \\
        --reference=L_s --split=test

A method is a name and a pattern of work directories, methods are separated by
semicolons. Each run must have been evaluated on the split. Differences of
weighted F are paired, with a 95 % interval by bootstrap over sites.
"""

import glob
import pathlib

from absl import flags

from advance_tf import program

_METHODS = flags.DEFINE_string("methods", None, "name=pattern;name=pattern …")
_REFERENCE = flags.DEFINE_string("reference", None, "Method to compare with.")
_SPLIT = flags.DEFINE_string("split", "test", "Split that was evaluated.")
_OUTPUT = flags.DEFINE_string("output", None, "Markdown file to write besides.")


def _workdirs() -> dict[str, list[pathlib.Path]]:
    """Method → its work directories, sorted."""
    found = {}
    for part in (_METHODS.value or "").split(";"):
        name, equals, pattern = part.partition("=")
        folders = [pathlib.Path(path) for path in sorted(glob.glob(pattern.strip()))]
        if not equals or not folders:
            raise ValueError(
                "--methods must be name=pattern of existing work directories, "
                f"separated by semicolons; received {part!r}."
            )
        found[name.strip()] = folders
    return found


def main(arguments) -> None:
    """Prints the comparison of --methods."""
    del arguments
    from advance_tf.files import replacing
    from advance_tf.metrics import comparison

    methods = {
        name: [
            comparison.read_predictions(
                folder / "evaluation" / _SPLIT.value / comparison.PREDICTIONS
            )
            for folder in folders
        ]
        for name, folders in _workdirs().items()
    }
    reference = _REFERENCE.value or next(iter(methods))
    rows = comparison.compare(methods, reference)
    labels = {run.label for runs in methods.values() for run in runs if run.label}
    text = comparison.markdown(rows, reference, "; ".join(sorted(labels)))
    print(text)
    if _OUTPUT.value:
        with replacing(pathlib.Path(_OUTPUT.value)) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
