"""Draws class activation maps of images and sounds for runs.

    advance explain --workdirs=runs/a,runs/b
    advance explain --workdirs=runs/a,runs/b --stems=00012,00034_1
    advance explain --workdirs=runs/a,runs/b --choose=gain --pairs=6

Pairs are spread over the scenes of the split, or named by --stems. --choose=gain
takes the pairs with the largest gain of the last run over the first in the
probability of the true scene, and the figure states it. All runs must have the same
manifest.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_data_dir
from advance_tf.files import check_output, replacing


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list(
        "workdirs", [], "Folders of runs, separated by commas.", flag_values=values
    )
    flags.DEFINE_enum(
        "split",
        "test",
        ("training", "validation", "test", "all"),
        "Pairs to choose from.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "stems", [], "Stems of the pairs; default: see --choose.", flag_values=values
    )
    flags.DEFINE_integer(
        "pairs", 4, "Number of pairs to choose.", 1, 64, flag_values=values
    )
    flags.DEFINE_enum(
        "choose",
        "spread",
        ("spread", "gain"),
        "spread: evenly over the scenes. gain: largest gain of the last run over the "
        "first.",
        flag_values=values,
    )
    define_data_dir(values)
    flags.DEFINE_string("output", "cam.png", "PNG file to write.", flag_values=values)


def run(values: FlagValues) -> None:
    """Writes the figure of --workdirs to --output."""
    if not values.workdirs:
        raise ValueError(
            "--workdirs must name the folders of runs, separated by commas; received "
            "none."
        )
    output = pathlib.Path(values.output)
    check_output(output, ".png")
    given = [f"--{name}" for name in ("choose", "pairs") if values[name].present]
    if values.stems and given:
        raise ValueError(
            f"--stems names the pairs and excludes --choose and --pairs; received "
            f"{' and '.join(given)} too. Omit either."
        )
    startup.load_tensorflow()

    from advance_tf.reporting.activation_map_comparison import explain
    from advance_tf.reporting.canvas import png

    figure = explain(
        values.workdirs,
        values.split,
        data_dir=values.data_dir,
        stems=values.stems,
        pairs=values.pairs,
        choose=values.choose,
    )
    with replacing(output) as temporary:
        temporary.write_bytes(png(figure))
    print(f"The activation maps are in {output}.")
