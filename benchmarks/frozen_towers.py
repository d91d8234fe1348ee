"""Training heads on stored embeddings, against running frozen towers in every epoch.

    python -m benchmarks.frozen_towers --data_dir=ADVANCE --yamnet=weights/yamnet.h5

The towers are EfficientNet-Lite0 and YAMNet; `--small` takes ResNet-18 towers of a few
channels with random weights instead. An epoch with the towers in training would cost at
least one pass of its pairs through decoding and towers, which is what is measured for
it. The times are CPU seconds of the process on one thread per operation, so that other
processes on the machine disturb them little. The teacher's targets are random numbers:
they change no time.
"""

import argparse
import os
import tempfile
import time

OBJECTIVES = (
    ("L_s", {"transfer": "none"}),
    ("image, L_s", {"transfer": "none", "modality": "image"}),
    ("sound, L_s", {"transfer": "none", "modality": "sound"}),
    ("SQ audio", {"transfer": "sq_audio"}),
    ("KL audio", {"transfer": "kl_audio"}),
    ("SQ audiovisual", {"transfer": "sq_audiovisual"}),
    ("KL audiovisual", {"transfer": "kl_audiovisual"}),
    ("L_E", {"transfer": "event"}),
)


def build_config(arguments):
    """The configuration of the towers and the heads."""
    from advance_tf.config import Config
    from advance_tf.config_io import replace_fields

    towers = {"image_depth": 18, "audio_depth": 18, "image_width": 8, "audio_width": 8}
    if not arguments.small:
        towers = {
            "image_backbone": "efficientnet_lite0",
            "image_weights": "package",
            "audio_backbone": "yamnet",
            "audio_weights": arguments.yamnet,
        }
    return replace_fields(
        Config(),
        {
            **towers,
            "data_dir": arguments.data_dir,
            "image_frozen_stages": 5,
            "audio_frozen_stages": 5,
            "normalize_embeddings": True,
            "transfer": "none",
            "batch_size": arguments.batch_size,
            "learning_rate": 1e-3,
            "epochs": arguments.epochs,
        },
    )


def measure_towers(config, manifest, count):
    """CPU seconds for a pair: decoding and both towers."""
    from advance_tf.training.embeddings import compute_embeddings
    from advance_tf.training.frozen import frozen_recognizer

    recognizer = frozen_recognizer(config)
    with tempfile.TemporaryDirectory() as folder:
        # The first batches trace the graphs.
        seconds = []
        for rows in (range(32), range(32, 32 + count)):
            started = time.process_time()
            compute_embeddings(
                recognizer, config, manifest.pairs, folder, rows=rows, progress=False
            )
            seconds.append(time.process_time() - started)
    return seconds[1] / count


def measure_heads(config, changes, embeddings, manifest, knowledge):
    """CPU seconds of one epoch after the first, and of a complete run."""
    import numpy as np

    from advance_tf.config_io import replace_fields
    from advance_tf.training.heads import HeadTrainer, fit_best

    splits = np.array(manifest.splits)
    config = replace_fields(config, changes)
    started = time.process_time()
    trainer = HeadTrainer(
        config,
        embeddings,
        np.flatnonzero(splits == "training"),
        np.flatnonzero(splits == "validation"),
        knowledge=knowledge,
    )
    fit_best(trainer, embeddings)
    total = time.process_time() - started
    started = time.process_time()
    for epoch in range(5):
        trainer.train_epoch(epoch)
    return (time.process_time() - started) / 5, total


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--yamnet", default="weights/yamnet.h5")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--cache_dir", default="")
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--batch_size", type=int, default=64)
    arguments = parser.parse_args()
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
    }
    import numpy as np

    from advance_tf.data.manifest import make_manifest
    from advance_tf.teacher.knowledge import build_knowledge
    from advance_tf.training.frozen import load_embeddings

    config = build_config(arguments)
    manifest = make_manifest(config.data)
    per_pair = measure_towers(config, manifest, arguments.pairs)
    used = [s for s in manifest.splits if s in ("training", "validation")]
    towers = per_pair * len(used)
    rng = np.random.default_rng(0)
    if arguments.cache_dir:
        folder = f"{arguments.cache_dir}/embeddings"
        embeddings = load_embeddings(config, manifest.pairs, folder)
    else:
        # Random numbers of the same sizes: they change no time.
        from advance_tf.training.embeddings import Embeddings
        from advance_tf.training.frozen import frozen_recognizer

        recognizer = frozen_recognizer(config)
        arrays = {
            tower: rng.normal(
                size=(
                    len(manifest.pairs),
                    recognizer.get_layer(f"{tower}_tower").output_shape[-1],
                )
            )
            for tower in ("image", "audio")
        }
        keys = tuple((pair.scene, pair.stem) for pair in manifest.pairs)
        embeddings = Embeddings(keys, **arrays)
    logits = rng.normal(-4, 2, (len(manifest.pairs), 527)).astype(np.float32)
    mask = np.ones(527, bool)
    knowledge = build_knowledge(manifest, logits, mask, "random", "0" * 64)
    print(
        f"{len(used)} pairs of training and validation; towers: {per_pair:.4f} s a "
        f"pair, {towers:.1f} s an epoch (CPU seconds).\n"
    )
    print(
        f"| objective | epoch, s | times faster | run of {arguments.epochs} epochs, s |"
    )
    print("| :-- | --: | --: | --: |")
    total = 0.0
    for name, changes in OBJECTIVES:
        own = None if changes["transfer"] == "none" else knowledge
        epoch, run = measure_heads(config, changes, embeddings, manifest, own)
        total += run
        print(
            f"| {name} | {epoch:.4f} | {towers / epoch:.0f} | {run:.1f} |", flush=True
        )
    runs = 10 * 3
    print(
        f"\nTen splits, eight objectives, three seeds: {runs * total / 2 / 60:.1f} "
        "minutes on two cores."
    )


if __name__ == "__main__":
    main()
