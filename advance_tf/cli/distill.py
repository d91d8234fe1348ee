r"""Trains a smaller recognizer on the outputs of trained ones.

    advance distill --teacher=runs/large --workdir=runs/small \
        --flagfile=assets/recipes/small.flags
    advance distill --teacher=runs/0,runs/1,runs/2 --workdir=runs/small

The student has the split of its teachers. Its losses are L_s, the teachers' scene
probabilities at --temperature, the match of the towers' embeddings, and with
--transfer=kl_audio or kl_audiovisual the teachers' events. The teachers' outputs are
stored in <workdir>/teacher_outputs. The result is a run for every other command; the
same command resumes it.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_config,
    define_workdir,
    given_config,
    read_config,
    require,
)
from advance_tf.config import Config, TransferConfig

_BASE = Config(transfer=TransferConfig(transfer="none"))
# Fields of training.distillation.DistillationSettings and their help.
_SETTINGS = {
    "temperature": "Temperature of the scene probabilities. (default: 2)",
    "soft_scene_weight": "Weight of the teachers' scenes. (default: 1)",
    "embedding_weight": "Weight of the match of the embeddings. (default: 1)",
}


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    flags.DEFINE_list(
        "teacher", None, "Folder of a run, or of several runs.", flag_values=values
    )
    define_workdir(values, "Folder of the student.")
    for name, text in _SETTINGS.items():
        # None: the value of the run, when it is resumed.
        flags.DEFINE_float(name, None, text, flag_values=values)
    define_config(
        values, "data", "features", "model", "transfer", "training", base=_BASE
    )


def run(values: FlagValues) -> None:
    """Trains the student in --workdir, or resumes."""
    require(values, teacher="the folder of a run", workdir="the folder of the student")
    read_config(values, _BASE)
    startup.load_tensorflow()

    from advance_tf.experiments.distillation import distill

    settings = {
        name: float(value)
        for name in _SETTINGS
        if (value := values[name].value) is not None
    }
    workdir = pathlib.Path(values.workdir)
    distill(values.teacher, workdir, given_config(values), settings=settings)
    print(f"The student is in {workdir}.\nNext: advance evaluate --workdir={workdir}")
