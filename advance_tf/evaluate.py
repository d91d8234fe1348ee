"""Evaluates a run: scores with intervals over sites, tables and pictures.

    python -m advance_tf.evaluate --workdir=runs/a
    python -m advance_tf.evaluate --workdir=runs/a --split=validation
    python -m advance_tf.evaluate --workdir=runs/a --data_dir=/other/place/ADVANCE

Writes metrics.json, report.md, scenes.csv, confusion.csv, predictions.csv,
confusion.png, curves.png and, where the model tells events, events.npz to
<workdir>/evaluation/<split>, and prints a summary.
"""

import pathlib
import sys

from absl import flags

from advance_tf import labels, program

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_SPLIT = flags.DEFINE_enum(
    "split", "test", ("training", "validation", "test", "all"), "Pairs to evaluate on."
)
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder of the data set; default: as the run was trained."
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Pairs in a batch; default: as the run was trained.", 1
)
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder to write to; default: <workdir>/evaluation/<split>."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the resamples.", 0)


def main(arguments) -> None:
    """Evaluates --workdir on --split."""
    del arguments
    if not _WORKDIR.value:
        raise ValueError("--workdir must name the folder of a run; received none.")

    from advance_tf.config import to_dict
    from advance_tf.data.dataset import make_dataset
    from advance_tf.data.media import media_errors
    from advance_tf.data.notice import read_notice
    from advance_tf.metrics import report
    from advance_tf.metrics.evaluation import evaluate_predictions
    from advance_tf.serving.event_probs import event_probs, find_knowledge, softmax
    from advance_tf.teacher.knowledge import load_knowledge
    from advance_tf.training.callbacks import LOG
    from advance_tf.training.workdir import load_run
    from advance_tf.visualization import plots

    run, split = load_run(_WORKDIR.value), _SPLIT.value
    pairs = run.pairs_of(split)
    folder = find_knowledge(run.workdir, run.knowledge_dir)
    knowledge = load_knowledge(folder, run.manifest) if folder else None
    data_dir = _DATA_DIR.value or run.config.data.data_dir
    batch_size = _BATCH_SIZE.value or run.config.training.batch_size
    batches = make_dataset(pairs, data_dir, run.config.features, batch_size)
    with media_errors(pairs, data_dir, run.config.features):
        outputs = run.recognizer.predict(
            batches.map(lambda inputs, _: inputs), verbose=int(sys.stdout.isatty())
        )
    events = event_probs(outputs, knowledge)
    seen = "measured on training pairs" if split in ("training", "all") else ""
    label = report.join_labels(seen, run.label, read_notice(data_dir))
    evaluation = evaluate_predictions(
        [pair.stem for pair in pairs],
        [pair.site for pair in pairs],
        [labels.scenes().index(pair.scene) for pair in pairs],
        softmax(outputs["scene_logits"]),
        event_probs=events.probs,
        event_source=events.source,
        split=split,
        label=label,
        seed=_SEED.value,
        details={"workdir": str(run.workdir), "config": to_dict(run.config)},
    )
    title = f"{run.workdir.name}, {split}"
    pictures = plots.run_pictures(
        run.workdir / LOG, evaluation.confusion, evaluation.scenes, title, label
    )
    output_dir = pathlib.Path(_OUTPUT_DIR.value or run.workdir / "evaluation" / split)
    report.write_report(output_dir, evaluation, pictures)
    print(f"{report.summary(evaluation)}\nEverything lies in {output_dir}.")


def console() -> None:
    """Entry point of the installed command."""
    program.run(main)


if __name__ == "__main__":
    console()
