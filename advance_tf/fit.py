"""Trains a recognizer of aerial scenes by looking and listening.

    python -m advance_tf.fit                              # synthetic demonstration
    python -m advance_tf.teach --data_dir=ADVANCE --workdir=runs/a --teacher=FILE
    python -m advance_tf.fit   --data_dir=ADVANCE --workdir=runs/a
    python -m advance_tf.fit   --workdir=runs/a           # go on after the last epoch

Writes config.json, manifest.csv, best.weights.h5, checkpoint.npz, log.csv and
tensorboard/ to the work directory. Without data it runs the demonstration, see
`python -m advance_tf.demo --help`.
"""

import pathlib
import subprocess
import sys

from absl import flags

from advance_tf import config_flags, program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MANIFEST = flags.DEFINE_string(
    "manifest", None, "Split to use; default: that of the workdir, else a new one."
)
_KNOWLEDGE_DIR = flags.DEFINE_string(
    "knowledge_dir",
    None,
    "Output of advance_tf.teach; default: <workdir>/event_knowledge. If there is "
    "none, --audio_weights with an event head make it.",
)
config_flags.define()


def _demonstrate() -> None:
    """Runs the demonstration in processes of its own."""
    given = [argument for argument in sys.argv[1:] if argument.startswith("--workdir")]
    command = [sys.executable, "-m", "advance_tf.demo", *given]
    sys.exit(subprocess.run(command, check=False).returncode)


def main(arguments) -> None:
    """Trains, or goes on training, in --workdir."""
    del arguments
    if not config_flags.given() and not _has_run():
        _demonstrate()
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of the run; received none.")

    from advance_tf.metrics.keras_scores import ConfusionScores
    from advance_tf.teacher.teachers import knowledge_of_run
    from advance_tf.training import setup
    from advance_tf.training.recognition import train_recognizer
    from advance_tf.training.trainer import Score

    workdir = pathlib.Path(_WORKDIR.value)
    prepared = setup.prepare(
        workdir, config_flags.read, _MANIFEST.value, _KNOWLEDGE_DIR.value
    )
    knowledge = None
    if prepared.knowledge_dir:
        knowledge = knowledge_of_run(
            prepared.knowledge_dir, prepared.manifest, prepared.config
        )
    prepared.write()
    progress = train_recognizer(
        prepared.config,
        prepared.manifest,
        workdir,
        knowledge=knowledge,
        scores=[Score(ConfusionScores(name="scores"), "scene", "scene_logits")],
    )
    print(
        f"Best validation F {progress.best_score:.4f} in epoch "
        f"{progress.best_epoch} of {progress.epochs}; everything lies in {workdir}.\n"
        f"Next: python -m advance_tf.evaluate --workdir={workdir}"
    )


def _has_run() -> bool:
    folder = _WORKDIR.value
    return folder is not None and pathlib.Path(folder, "config.json").exists()


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
