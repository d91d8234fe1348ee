"""Computes a teacher's soft labels and the event knowledge of scenes.

    advance teach --data_dir=ADVANCE --workdir=runs/a --teacher=yamnet.tflite
    advance teach --data_dir=ADVANCE --workdir=runs/a --teacher=tower.npz

Teachers: YAMNet as a LiteRT file (.tflite), or the weights of an audio tower with its
event head. Creates <workdir>/manifest.csv if it does not exist, and writes the soft
labels, the posteriors p(e|s) and the relevance vectors to --knowledge_dir. Soft labels
are stored under a key of teacher, manifest and clip: a second run computes only
missing ones.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_config,
    define_manifest,
    define_workdir,
    read_config,
    require,
)


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values)
    define_manifest(values)
    flags.DEFINE_string(
        "teacher", None, "YAMNet .tflite or tower weights.", flag_values=values
    )
    flags.DEFINE_string(
        "knowledge_dir",
        None,
        "Folder to write; default: <workdir>/event_knowledge.",
        flag_values=values,
    )
    flags.DEFINE_integer("batch_size", 16, "Clips in a batch.", 1, flag_values=values)
    define_config(values, "data", "features")


def run(values: FlagValues) -> None:
    """Computes and writes the event knowledge."""
    config = read_config(values)
    require(
        values,
        workdir="the folder of the run",
        data_dir="a folder in ADVANCE's layout",
    )
    if not values.teacher or not pathlib.Path(values.teacher).is_file():
        raise ValueError(
            "--teacher must be an existing file, YAMNet's .tflite or the weights of an "
            f"audio tower with its event head; received {values.teacher!r}."
        )
    startup.load_tensorflow(litert=True)

    from advance_tf.data.advance import AdvanceDataset
    from advance_tf.runs import training, workdir
    from advance_tf.teacher.knowledge import compute_knowledge
    from advance_tf.teacher.models import load_teacher
    from advance_tf.teacher.posteriors import summarize_posteriors

    folder = pathlib.Path(values.workdir)
    teacher = load_teacher(values.teacher, config.features)
    manifest = training.find_manifest(folder, config, values.manifest)
    training.save_manifest(folder, manifest)
    knowledge_dir = pathlib.Path(values.knowledge_dir or folder / workdir.KNOWLEDGE)
    knowledge = compute_knowledge(
        teacher,
        AdvanceDataset(manifest, pathlib.Path(config.data.data_dir)),
        knowledge_dir,
        config.features,
        batch_size=values.batch_size,
    )
    print(summarize_posteriors(knowledge.posteriors))
    print(f"Event knowledge of {len(manifest.pairs)} pairs is in {knowledge_dir}.")
