"""Computes a teacher's soft labels and the event knowledge of scenes.

    advance teach --data_dir=ADVANCE --workdir=runs/a --teacher=weights/yamnet.h5
    advance teach --data_dir=ADVANCE --workdir=runs/a --teacher=tower.npz
    advance teach --data_dir=ADVANCE --workdir=runs/a --teacher=… --shard=0/4

Teachers: YAMNet, as a LiteRT file (.tflite), as .h5 or as the folder of its
SavedModel, or the weights of an audio tower with its event head. Creates
<workdir>/manifest.csv if it does not exist, and writes the soft labels, the posteriors
p(e|s) and the relevance vectors to --knowledge_dir. Soft labels are stored under a key
of teacher, manifest and clip: a second run computes only missing ones. With --shard=i/n
n processes, such as a job array, share the soft labels; the last one writes the event
knowledge.
"""

import pathlib

from absl import flags
from absl.flags import FlagValues

from advance_tf.cli import startup
from advance_tf.cli.flags import (
    define_config,
    define_manifest,
    define_shard,
    define_workdir,
    given_config,
    read_config,
    refuse,
    refuse_cache,
    require,
)
from advance_tf.config import IMAGE_SETTINGS
from advance_tf.locks import LockedError
from advance_tf.parts import Shard


def define(values: FlagValues) -> None:
    """Defines the flags of the command."""
    define_workdir(values)
    define_manifest(values)
    flags.DEFINE_string(
        "teacher", None, "YAMNet (.tflite, .h5) or tower weights.", flag_values=values
    )
    flags.DEFINE_string(
        "knowledge_dir",
        None,
        "Folder to write; default: <workdir>/event_knowledge.",
        flag_values=values,
    )
    flags.DEFINE_integer("batch_size", 16, "Clips in a batch.", 1, flag_values=values)
    define_shard(values)
    define_config(values, "data", "features")


def run(values: FlagValues) -> None:
    """Computes and writes the event knowledge."""
    refuse_cache(values, "teach")
    refuse(
        values, IMAGE_SETTINGS, "has no effect on `advance teach`, which reads sounds"
    )
    config = read_config(values)
    require(
        values,
        workdir="the folder of the run",
        data_dir="a folder in ADVANCE's layout",
    )
    if not values.teacher or not pathlib.Path(values.teacher).exists():
        raise ValueError(
            "--teacher must be an existing file, YAMNet (.tflite, .h5 or the folder of "
            "its SavedModel) or the weights of an audio tower with its event head; "
            f"received {values.teacher!r}."
        )
    shard = Shard.of(values.shard) if values.shard else None
    startup.load_tensorflow(litert=True)

    from advance_tf.data.advance import AdvanceDataset
    from advance_tf.runs import training, workdir
    from advance_tf.teacher.knowledge import compute_knowledge, compute_shard
    from advance_tf.teacher.loading import load_teacher
    from advance_tf.teacher.posteriors import summarize_posteriors

    folder = pathlib.Path(values.workdir)
    teacher = load_teacher(values.teacher, config.features)
    manifest = training.find_manifest(
        folder, config, values.manifest, given_config(values)
    )
    training.save_manifest(folder, manifest)
    knowledge_dir = pathlib.Path(values.knowledge_dir or folder / workdir.KNOWLEDGE)
    dataset = AdvanceDataset(manifest, pathlib.Path(config.data.data_dir))
    if shard:
        missing = compute_shard(
            teacher,
            dataset,
            knowledge_dir,
            shard,
            config.features,
            batch_size=values.batch_size,
        )
        if missing:
            print(
                f"The parts of shard {values.shard} are done; {missing} of others are "
                "not. The last process writes the event knowledge."
            )
            return
    try:
        # Of processes that end together, one joins the parts.
        knowledge = compute_knowledge(
            teacher,
            dataset,
            knowledge_dir,
            config.features,
            batch_size=values.batch_size,
        )
    except LockedError:
        if not shard:
            raise
        print("Another process writes the event knowledge.")
        return
    print(summarize_posteriors(knowledge.posteriors))
    print(f"Event knowledge of {len(manifest.pairs)} pairs is in {knowledge_dir}.")
