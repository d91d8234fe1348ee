r"""Pretrains a tower on a folder of image classes or on tagged clips.

    advance pretrain --tower=image --data_dir=AID --workdir=runs/aid
    advance pretrain --tower=audio --data_dir=clips --tags=tags.csv \
        --workdir=runs/tagger

The tags are a CSV of clip and labels, or one of AudioSet's segment lists. A fifth
of the data is held out for validation. Writes <workdir>/tower.npz, the tower with
its head, for --image_weights or --audio_weights of `advance fit` and for --teacher of
`advance teach`. With one of these two flags, the tower starts from weights itself.
assets/pretraining has the recipes of the authors as flag files.
"""

import json
import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import define_config, define_workdir, given_config, require
from advance_tf.config import PRETRAINING

# Fields of training.pretraining_settings.PretrainingSettings.
_SETTINGS = ("tower", "tags", "held_out", "plateau_patience", "mixup")


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values)
    # None: the value of the run, when it is resumed.
    flags.DEFINE_enum(
        "tower", None, ("image", "audio"), "Tower to train.", flag_values=values
    )
    flags.DEFINE_string(
        "tags", None, "CSV of the clips' events (audio).", flag_values=values
    )
    flags.DEFINE_float(
        "held_out",
        None,
        "Fraction of the data held out for validation. (default: 0.2)",
        0.01,
        0.9,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "plateau_patience",
        None,
        "Epochs without a better score before the learning rate drops; 0: the schedule "
        "of --learning_rate_schedule. (default: 5)",
        0,
        flag_values=values,
    )
    flags.DEFINE_float(
        "mixup",
        None,
        "Parameter of mixup's beta distribution, 0: no mixup. (default: 1)",
        0.0,
        flag_values=values,
    )
    define_config(values, "data", "features", "model", "training", base=PRETRAINING)


def run(values: FlagValues) -> None:
    """Pretrains --tower in --workdir, or resumes."""
    require(values, workdir="the folder of the run")
    startup.load_tensorflow()

    from advance_tf.training.pretraining import train_tower
    from advance_tf.training.pretraining_settings import combine_settings

    workdir = pathlib.Path(values.workdir)
    given = {name: values[name].value for name in _SETTINGS}
    config, settings = combine_settings(
        workdir,
        given_config(values),
        PRETRAINING,
        {name: value for name, value in given.items() if value is not None},
    )
    tower = train_tower(config, settings, workdir)
    print(f"Validation: {json.dumps(tower.scores)}\nTower weights: {tower.path}")
