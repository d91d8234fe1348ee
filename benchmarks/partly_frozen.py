"""An epoch on stored activations of partly frozen towers, against one on the files.

    python -m benchmarks.partly_frozen --data_dir=ADVANCE --yamnet=weights/yamnet.h5

The towers are EfficientNet-Lite0 and YAMNet, frozen to the stages --image_stages and
--audio_stages. Times are CPU seconds of the process on one thread per operation, of a
training step after the first, and for the pairs of the training split.
"""

import argparse
import os
import tempfile
import time


def build_config(arguments, cached_views):
    """The configuration of the towers and the heads."""
    from advance_tf.config import Config
    from advance_tf.config_io import replace_fields

    return replace_fields(
        Config(),
        {
            "image_backbone": "efficientnet_lite0",
            "image_weights": "package",
            "audio_backbone": "yamnet:both",
            "audio_weights": arguments.yamnet,
            "data_dir": arguments.data_dir,
            "image_frozen_stages": arguments.image_stages,
            "audio_frozen_stages": arguments.audio_stages,
            "transfer": "none",
            "batch_size": arguments.batch_size,
            "augmentation": "none",
            "cached_views": cached_views,
            "precision": "float32",
        },
    )


def measure(step, batches):
    """CPU seconds of a step: the first one is not counted."""
    step(batches[0])
    started = time.process_time()
    for batch in batches[1:]:
        step(batch)
    return (time.process_time() - started) / (len(batches) - 1)


def measure_activations(arguments, manifest, rows):
    """CPU seconds of the frozen stages for a pair, and of a step behind them."""
    import numpy as np

    from advance_tf.training.frozen import frozen_recognizer, load_stored, make_trainer

    config = build_config(arguments, 1)
    recognizer = frozen_recognizer(config)
    with tempfile.TemporaryDirectory() as folder:
        # Each call traces the graphs once.
        size, seconds = arguments.batch_size, []
        for own in (rows[:size], rows):
            started = time.process_time()
            stored = load_stored(
                recognizer, config, manifest.pairs, folder, rows=own, progress=False
            )
            seconds.append(time.process_time() - started)
        once = (seconds[1] - seconds[0]) / (len(rows) - 2 * size)
        numbers = np.arange(len(rows))
        trainer = make_trainer(
            config, stored, numbers, numbers, recognizer, knowledge=None
        )
        parts = list(numbers.reshape(-1, 1, arguments.batch_size))
        return once, measure(trainer.train_batches, parts)


def measure_files(arguments, manifest, rows):
    """CPU seconds of a step on the files."""
    import tensorflow as tf

    from advance_tf.data.dataset import make_dataset
    from advance_tf.data.sampling import TrainingEpochs
    from advance_tf.training.recognition import build_trainer, pair_files

    config = build_config(arguments, 0)
    trainer = build_trainer(config, None)
    dataset = make_dataset(
        pair_files(config, [manifest.pairs[row] for row in rows]),
        config.training.batch_size,
        training=TrainingEpochs(augmentation="none"),
    )
    step = tf.function(lambda inputs, targets: trainer.train_step((inputs, targets)))
    seconds, started = [], time.process_time()
    # Decoding is part of a step.
    for inputs, targets in dataset.take(len(rows) // arguments.batch_size):
        step(inputs, targets)
        seconds.append(time.process_time() - started)
    return (seconds[-1] - seconds[0]) / (len(seconds) - 1)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--yamnet", default="weights/yamnet.h5")
    parser.add_argument("--image_stages", type=int, default=4)
    parser.add_argument("--audio_stages", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=32)
    arguments = parser.parse_args()
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }
    from advance_tf.data.manifest import make_manifest

    manifest = make_manifest(build_config(arguments, 1).data)
    training = [row for row, s in enumerate(manifest.splits) if s == "training"]
    rows = training[: arguments.steps * arguments.batch_size]
    once, cached = measure_activations(arguments, manifest, rows)
    files = measure_files(arguments, manifest, rows)
    steps = len(training) / arguments.batch_size
    print(f"{len(training)} training pairs, batches of {arguments.batch_size}.\n")
    print("| | step, s | epoch, s |")
    print("| :-- | --: | --: |")
    print(f"| frozen stages, once | | {once * len(training):.1f} |")
    print(f"| on activations | {cached:.3f} | {cached * steps:.1f} |")
    print(f"| on the files | {files:.3f} | {files * steps:.1f} |")
    print(f"\nAn epoch on activations is {files / cached:.1f} times faster.")


if __name__ == "__main__":
    main()
