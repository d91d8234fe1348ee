"""Shows where runs see and hear a scene: class activation maps, side by side.

    python -m advance_tf.explain --workdirs=runs/a,runs/b
    python -m advance_tf.explain --workdirs=runs/a,runs/b --stems=00012,00034_1
    python -m advance_tf.explain --workdirs=runs/a,runs/b --choose=gain --pairs=6

Pairs are spread over the scenes of the split, or named by --stems. --choose=gain
takes those on which the last run gains most over the first in the true scene's
probability, and the figure says so. All runs must be of one manifest.
"""

import pathlib

from absl import flags

from advance_tf import program
from advance_tf.files import check_output, replacing

_WORKDIRS = flags.DEFINE_list("workdirs", [], "Folders of runs, with commas between.")
_SPLIT = flags.DEFINE_enum(
    "split", "test", ("training", "validation", "test", "all"), "Pairs to choose from."
)
_STEMS = flags.DEFINE_list("stems", [], "Pairs by name; default: chosen.")
_PAIRS = flags.DEFINE_integer("pairs", 4, "Pairs to choose.", 1, 64)
_CHOOSE = flags.DEFINE_enum(
    "choose",
    "spread",
    ("spread", "gain"),
    "spread: over the scenes. gain: where the last run gains most over the first.",
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data set; default: as each run was trained."
)
_OUTPUT = flags.DEFINE_string("output", "cam.png", "PNG file to write.")


def main(arguments) -> None:
    """Writes the figure of --workdirs to --output."""
    del arguments
    if not _WORKDIRS.value:
        raise ValueError(
            "--workdirs must name the folders of runs, with commas between; received "
            "none."
        )
    output = pathlib.Path(_OUTPUT.value)
    check_output(output, ".png")
    given = [name for name in ("choose", "pairs") if flags.FLAGS[name].present]
    if _STEMS.value and given:
        raise ValueError(
            f"--stems names the pairs itself; received --{' and --'.join(given)} too. "
            "Leave either out."
        )

    from advance_tf.studies.explained import explain
    from advance_tf.visualization.canvas import png

    figure = explain(
        _WORKDIRS.value,
        _SPLIT.value,
        data_dir=_DATA_DIR.value,
        stems=_STEMS.value,
        pairs=_PAIRS.value,
        choose=_CHOOSE.value,
    )
    with replacing(output) as temporary:
        temporary.write_bytes(png(figure))
    print(f"The activation maps are in {output}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
