"""Computes the mean and standard deviation of each mel band.

    advance stats --data_dir=ADVANCE --workdir=runs/a --output=stats.csv

The training split is used. Pass the file to the other commands as --log_mel_stats;
their default is the authors' statistics of ADVANCE.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_config,
    define_manifest,
    define_workdir,
    given_config,
    read_config,
    refuse,
    refuse_cache,
    require,
)
from advance_tf.config import IMAGE_SETTINGS
from advance_tf.files import check_output


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values)
    define_manifest(values)
    flags.DEFINE_string("output", None, "CSV file to write.", flag_values=values)
    define_config(values, "data", "features")


def run(values: FlagValues) -> None:
    """Writes the statistics of the training split to --output."""
    refuse_cache(values, "stats")
    # They are of the log-mel in dB, before it is normalized.
    unused = (*IMAGE_SETTINGS, "log_mel_stats")
    refuse(values, unused, "has no effect on `advance stats`")
    require(
        values,
        data_dir="a folder in ADVANCE's layout",
        workdir="the folder of the run",
        output="the CSV file to write",
    )
    check_output(pathlib.Path(values.output))
    config = read_config(values)
    startup.load_tensorflow()

    from advance_tf.data.statistics import log_mel_statistics
    from advance_tf.features.log_mel import save_stats
    from advance_tf.runs import training

    folder = pathlib.Path(values.workdir)
    manifest = training.find_manifest(
        folder, config, values.manifest, given_config(values)
    )
    training.save_manifest(folder, manifest)
    pairs = manifest.pairs_of("training")
    stats = log_mel_statistics(pairs, config.data.data_dir, config.features)
    save_stats(values.output, stats)
    print(
        f"{len(pairs)} training clips: mean {stats.mean_db.mean():.2f} dB, standard "
        f"deviation {stats.std_db.mean():.2f} dB on average over the bands; "
        f"{values.output}."
    )
