"""One recognizer for image, sound or both, against one for each, on frozen towers.

    python -m benchmarks.modality_dropout --data_dir=ADVANCE \
        --yamnet=weights/yamnet.h5 --cache_dir=cache

The settings are those of assets/recipes/frozen.flags with L_s alone. Every split by
site trains a run with image and sound, one with each of them, and one with
`modality_dropout`; the last one is scored three times, with the mask of both inputs, of
the image and of the sound. The run of both inputs is also scored with zeros in place of
an input, which it has not seen in training. Differences are paired by split, averaged
over seeds, with the corrected resampled t-test.
"""

import argparse
import os
import pathlib

MASKS = {"both": (1.0, 1.0), "image": (1.0, 0.0), "sound": (0.0, 1.0)}


def build_config(arguments):
    """The configuration of the recipe."""
    from advance_tf.config import Config
    from advance_tf.config_io import replace_fields
    from advance_tf.experiments.recipes import read_recipe

    changes = read_recipe(pathlib.Path("assets/recipes/frozen.flags"))
    given = {"data_dir": arguments.data_dir, "audio_weights": arguments.yamnet}
    given |= {"cache_dir": arguments.cache_dir, "transfer": "none"}
    for name in ("image_resize", "initialization"):
        given[name] = getattr(arguments, name)
    return replace_fields(Config(), {**changes, **given})


def zero_embeddings(config):
    """Embeddings of zeros: what a model without a mask has for a missing input."""
    import numpy as np

    from advance_tf.models.heads import embedding_model
    from advance_tf.training.frozen import frozen_recognizer

    model = embedding_model(frozen_recognizer(config))
    inputs = {
        k: np.zeros((1, *x.shape[1:]), np.float32) for k, x in model.input.items()
    }
    return {k: np.asarray(v) for k, v in model(inputs).items()}


def score(true, probs):
    """Weighted F in percent."""
    from advance_tf.metrics.scores import weighted_f

    return 100 * weighted_f(true, probs.argmax(axis=1))


def run_split(config, embeddings, zeros, manifest, arguments):
    """Weighted F on the test pairs of a split: name → one number for each seed."""
    import dataclasses

    import keras
    import numpy as np

    from advance_tf.config_io import replace_fields
    from advance_tf.experiments.frozen_heads import SharedHeads
    from advance_tf.training.embeddings import Embeddings

    splits = np.array(manifest.splits)
    rows = {s: np.flatnonzero(splits == s) for s in ("training", "validation", "test")}
    true, found = embeddings.scenes[rows["test"]], {}

    def blank(modality):
        """The embeddings with those of zeros for an input that is not used."""
        unused = {"image": "audio", "sound": "image"}[modality]
        size = len(embeddings)
        return dataclasses.replace(
            embeddings, **{unused: np.repeat(zeros[unused], size, axis=0)}
        )

    runs = {
        "both": (config, embeddings),
        "image": (replace_fields(config, {"modality": "image"}), blank("image")),
        "sound": (replace_fields(config, {"modality": "sound"}), blank("sound")),
        "one": (
            replace_fields(config, {"modality_dropout": arguments.probability}),
            embeddings,
        ),
    }
    for name, (own, values) in runs.items():
        values = Embeddings(values.keys, values.image, values.audio)
        shared = SharedHeads(
            own, values, rows["training"].tolist(), rows["validation"].tolist()
        )
        for seed in range(arguments.runs):
            model = shared.train(replace_fields(own, {"seed": seed}))
            if name == "one":
                for inputs, mask in MASKS.items():
                    probs = model.scene_probs(rows["test"], mask)
                    found.setdefault(f"one, {inputs}", []).append(score(true, probs))
                continue
            probs = model.scene_probs(rows["test"])
            found.setdefault(name, []).append(score(true, probs))
            if name == "both":
                for inputs in ("image", "sound"):
                    given = dataclasses.replace(model, embeddings=blank(inputs))
                    probs = given.scene_probs(rows["test"])
                    found.setdefault(f"zeros, {inputs}", []).append(score(true, probs))
        keras.backend.clear_session()
    return found, len(rows["test"]) / len(rows["training"])


def table(scores, ratio):
    """Lines of the table; scores: name → [splits] means over seeds."""
    import numpy as np

    from advance_tf.metrics.repeated_splits import corrected_resampled_t

    lines = [
        "| inputs | unimodal run | one recognizer | difference (95 %, t) | better in | "
        "zeros in place of the input |",
        "| :-- | --: | --: | --: | --: | --: |",
    ]
    for inputs in MASKS:
        own, one = (np.array(scores[name]) for name in (inputs, f"one, {inputs}"))
        test = corrected_resampled_t(one - own, ratio)
        zeros = "" if inputs == "both" else _cell(np.array(scores[f"zeros, {inputs}"]))
        lines.append(
            f"| {inputs} | {_cell(own)} | {_cell(one)} | {test.mean:+.2f} "
            f"({test.low:+.2f} to {test.high:+.2f}) | {(one > own).sum()} of "
            f"{len(own)} | {zeros} |"
        )
    return "\n".join(lines)


def _cell(values):
    return f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--yamnet", required=True)
    parser.add_argument("--cache_dir", required=True)
    parser.add_argument("--probability", type=float, default=0.5)
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--image_resize", default="bicubic")
    parser.add_argument("--initialization", default="authors")
    arguments = parser.parse_args()
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"}
    import numpy as np

    from advance_tf.config_io import replace_fields
    from advance_tf.data.manifest import make_manifest
    from advance_tf.training.frozen import load_embeddings

    config = build_config(arguments)
    zeros = zero_embeddings(config)
    manifests = [
        make_manifest(replace_fields(config, {"split_seed": seed}).data)
        for seed in range(arguments.splits)
    ]
    pairs = manifests[0].pairs
    folder = f"{arguments.cache_dir}/embeddings"
    embeddings = load_embeddings(config, pairs, folder)
    scores, ratios = {}, []
    for seed, manifest in enumerate(manifests):
        assert manifest.pairs == pairs
        found, ratio = run_split(config, embeddings, zeros, manifest, arguments)
        for name, values in found.items():
            scores.setdefault(name, []).append(float(np.mean(values)))
        ratios.append(ratio)
        latest = ", ".join(
            f"{name} {values[-1]:.2f}" for name, values in scores.items()
        )
        print(f"split {seed}: {latest}", flush=True)
    print(table(scores, float(np.mean(ratios))))


if __name__ == "__main__":
    main()
