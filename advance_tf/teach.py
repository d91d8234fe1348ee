"""Hears every pair with a frozen teacher, once, and computes what scenes sound like.

    python -m advance_tf.teach --data_dir=ADVANCE --workdir=run --teacher=yamnet.tflite
    python -m advance_tf.teach --data_dir=ADVANCE --workdir=run --teacher=tower.npz

Teachers: YAMNet as a LiteRT file (.tflite), or a file of audio tower weights with
its event head. Writes <workdir>/manifest.csv if there is none, and the soft
labels, the posteriors p(e|s) and the relevance vectors to --knowledge_dir. Soft
labels are kept under a key of teacher, manifest and clip: a second run hears
nothing again, an interrupted one goes on.
"""

import pathlib

from absl import flags

from advance_tf import config_flags, program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MANIFEST = flags.DEFINE_string(
    "manifest", None, "Split to use; default: that of the workdir, else a new one."
)
_TEACHER = flags.DEFINE_string("teacher", None, "YAMNet .tflite or tower weights.")
_KNOWLEDGE_DIR = flags.DEFINE_string(
    "knowledge_dir", None, "Output; default: <workdir>/event_knowledge."
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 16, "Clips at a time.", lower_bound=1)
config_flags.define("data", "features")


def _checked_workdir(data_dir: str) -> pathlib.Path:
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of the run; received none.")
    if not data_dir:
        raise ValueError(
            "--data_dir must name a folder in ADVANCE's layout; received none."
        )
    if not _TEACHER.value or not pathlib.Path(_TEACHER.value).is_file():
        raise ValueError(
            "--teacher must be an existing file, YAMNet's .tflite or audio tower "
            f"weights with their event head; received {_TEACHER.value!r}."
        )
    return pathlib.Path(_WORKDIR.value)


def main(arguments) -> None:
    """Teaches once and writes the event knowledge."""
    del arguments
    config = config_flags.read()
    folder = _checked_workdir(config.data.data_dir)

    from advance_tf.teacher import lesson
    from advance_tf.teacher.teachers import build_teacher
    from advance_tf.training import setup, workdir

    teacher = build_teacher(str(_TEACHER.value), config.features)
    manifest = setup.find_manifest(folder, config, _MANIFEST.value)
    if not (folder / workdir.MANIFEST).exists():
        manifest.save(folder / workdir.MANIFEST)
    knowledge_dir = pathlib.Path(_KNOWLEDGE_DIR.value or folder / workdir.KNOWLEDGE)
    knowledge = lesson.teach(
        teacher,
        manifest,
        config.data.data_dir,
        config.features,
        knowledge_dir,
        batch_size=_BATCH_SIZE.value,
    )
    print(lesson.summary(knowledge))
    print(f"Event knowledge of {len(manifest.pairs)} pairs lies in {knowledge_dir}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
