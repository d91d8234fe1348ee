"""Trains an audiovisual recognizer of aerial scenes, or resumes.

    advance fit                                       # demonstration on synthetic data
    advance teach --data_dir=ADVANCE --workdir=runs/a --teacher=FILE
    advance fit --data_dir=ADVANCE --workdir=runs/a
    advance fit --workdir=runs/a                      # resume after the last epoch

Writes config.json, manifest.csv, best.weights.h5, checkpoint.npz, log.csv and
tensorboard/ to --workdir. Without any flag it runs `advance demo`.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import demo, startup
from advance_tf.cli.flags import (
    define_config,
    define_manifest,
    define_workdir,
    given_config,
    given_flags,
    read_config,
    require,
)
from advance_tf.config_io import load_config


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values)
    flags.DEFINE_string(
        "config",
        None,
        "JSON file of a configuration to start from, such as the config.json of a "
        "run; other flags replace its values.",
        flag_values=values,
    )
    define_manifest(values)
    flags.DEFINE_string(
        "knowledge_dir",
        None,
        "Output of `advance teach`; default: <workdir>/event_knowledge. If it does "
        "not exist, it is computed from --audio_weights with an event head.",
        flag_values=values,
    )
    define_config(values)


def run(values: FlagValues) -> None:
    """Trains in --workdir, or resumes."""
    if not given_flags(values):
        demo.demonstrate(pathlib.Path(demo.FOLDER))
        return
    require(values, workdir="the folder of the run")
    workdir = pathlib.Path(values.workdir)
    start = load_config(values.config) if values.config else None
    if not (values.data_dir or start or (workdir / "config.json").exists()):
        raise ValueError(
            "--data_dir must name a folder in ADVANCE's layout; received none, and "
            f"{workdir} has no run to resume."
        )
    # Reports errors of the flags before TensorFlow is loaded, which takes seconds.
    read_config(values, start)
    startup.load_tensorflow()

    from advance_tf.runs.calibration import read_calibration
    from advance_tf.runs.training import prepare, train_run

    setup = prepare(
        workdir,
        given_config(values),
        start=start,
        manifest=values.manifest,
        knowledge_dir=values.knowledge_dir,
    )
    progress = train_run(setup)
    if (calibration := read_calibration(workdir)) is not None:
        print(calibration.summary())
    print(
        f"Best validation F {progress.best_score:.4f} in epoch "
        f"{progress.best_epoch} of {progress.epochs}; the run is in {workdir}.\n"
        f"Next: advance evaluate --workdir={workdir}"
    )
