"""Pretrains a tower: images on a folder of classes, sounds on tagged clips.

    python -m advance_tf.pretrain --tower=image --data_dir=AID --workdir=runs/aid
    python -m advance_tf.pretrain --tower=audio --data_dir=clips --tags=tags.csv \\
        --workdir=runs/tagger

The tags are a CSV of clip and labels, or one of AudioSet's segment lists. A
fifth is held out for validation. Writes <workdir>/tower.npz, the tower with its
head: --image_weights or --audio_weights of fit, and --teacher of teach.
"""

import json
import pathlib

from absl import flags

from advance_tf import config_flags, program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
# Fields of training.pretraining.Settings; None is "as the run began".
_SETTINGS = (
    flags.DEFINE_enum("tower", None, ("image", "audio"), "Which tower."),
    flags.DEFINE_string("tags", None, "CSV of the clips' events (audio)."),
    flags.DEFINE_float(
        "held_out", None, "Share for validation (default: 0.2).", 0.01, 0.9
    ),
    flags.DEFINE_integer(
        "plateau_patience", None, "Epochs before the rate drops (default: 5).", 1
    ),
    flags.DEFINE_float("mixup", None, "Beta of mixup, 0: none (default: 1).", 0.0),
)
config_flags.define("data", "features", "model", "training")


def main(arguments) -> None:
    """Pretrains --tower in --workdir, or goes on with it."""
    del arguments
    from advance_tf.config import Config, TrainingConfig
    from advance_tf.data.media import media_errors
    from advance_tf.metrics.tagging import summary_scores
    from advance_tf.training import pretraining_runs
    from advance_tf.training.pretraining import settle

    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of the run; received none.")
    workdir = pathlib.Path(_WORKDIR.value)
    given = {flag.name: flag.value for flag in _SETTINGS if flag.value is not None}
    base = Config(training=TrainingConfig(learning_rate=1e-3))
    config, settings = settle(workdir, config_flags.read, base, given)
    with media_errors():
        if settings.tower == "image":
            run, *batches = pretraining_runs.image_run(config, settings, workdir)
        else:
            run, *batches = pretraining_runs.audio_run(
                config, settings, workdir, summary_scores
            )
        scores = run.run(*batches)
    path = run.save(settings.tower, source=f"pretrained on {config.data.data_dir}")
    print(f"Validation: {json.dumps(scores)}\nTower weights: {path}")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
