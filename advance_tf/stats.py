"""Mean and deviation of each mel band over the training split.

    python -m advance_tf.stats --data_dir=ADVANCE --workdir=runs/a --output=stats.csv

Give the file to every later program as --log_mel_stats. The default elsewhere
are the authors' statistics of ADVANCE.
"""

import pathlib

from absl import flags

from advance_tf import config_flags, program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MANIFEST = flags.DEFINE_string(
    "manifest", None, "Split to use; default: that of the workdir, else a new one."
)
_OUTPUT = flags.DEFINE_string("output", None, "CSV file to write.")
config_flags.define("data", "features")


def main(arguments) -> None:
    """Writes the statistics of the training split to --output."""
    del arguments
    from advance_tf.data.statistics import log_mel_statistics
    from advance_tf.features.log_mel import save_stats
    from advance_tf.training import setup, workdir

    config = config_flags.read()
    if not (_WORKDIR.value and _OUTPUT.value and config.data.data_dir):
        raise ValueError("--data_dir, --workdir and --output must all be given.")
    folder = pathlib.Path(_WORKDIR.value)
    manifest = setup.find_manifest(folder, config, _MANIFEST.value)
    if not (folder / workdir.MANIFEST).exists():
        manifest.save(folder / workdir.MANIFEST)
    pairs = manifest.of("training")
    stats = log_mel_statistics(pairs, config.data.data_dir, config.features)
    save_stats(_OUTPUT.value, stats)
    print(
        f"{len(pairs)} training clips: mean {stats.mean_db.mean():.2f} dB, deviation "
        f"{stats.std_db.mean():.2f} dB on average over the bands; {_OUTPUT.value}."
    )


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
