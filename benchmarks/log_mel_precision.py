"""Differences and cost of the log-mel in float32 against float64.

    python -m benchmarks.log_mel_precision --data_dir=ADVANCE --workdirs=runs/event

Compares both on recordings spread over the scenes: decibels and, with runs, the
probabilities of their recognizers, whichever precision these were trained with. The
CPU time is that of one core.
"""

import argparse
import dataclasses
import os
import pathlib
import time

PRECISIONS = ("float64", "float32")
GOLDEN = pathlib.Path(__file__).parents[1] / "tests/golden/log_mel.npz"


def frontends_of(features):
    """Returns a front end for each precision."""
    from advance_tf.features.frontend import Frontend

    return {
        name: Frontend(dataclasses.replace(features, log_mel_precision=name))
        for name in PRECISIONS
    }


def compare_waveforms(frontends, waveforms):
    """Returns the absolute differences in dB, [clips, frames, mel_bins]."""
    import numpy as np

    gaps = []
    for waveform in waveforms:
        exact, rounded = (frontends[name].log_mel_db(waveform) for name in PRECISIONS)
        gaps.append(np.abs(np.asarray(exact) - np.asarray(rounded)))
    return np.stack(gaps)


def compare_litert(frontend, waveforms):
    """Returns the differences of LiteRT's log-mel in dB, [clips, frames, mel_bins]."""
    import numpy as np
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from advance_tf.features.log_mel import log_mel_db

    clip = tf.TensorSpec([frontend.features.clip_samples], tf.float32, "clip")
    function = tf.function(
        lambda clip: log_mel_db(clip, frontend.features, litert=True), [clip]
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()]
    )
    lite = Interpreter(model_content=converter.convert())
    lite.allocate_tensors()
    given = lite.get_input_details()[0]["index"]
    found = lite.get_output_details()[0]["index"]
    gaps = []
    for waveform in waveforms:
        exact = np.asarray(frontend.log_mel_db(waveform))
        lite.set_tensor(given, waveform)
        lite.invoke()
        gaps.append(np.abs(lite.get_tensor(found) - exact))
    return np.stack(gaps)


def compare_probabilities(run, images, waveforms):
    """Returns the absolute differences of scene probabilities, and the agreement."""
    import numpy as np

    from advance_tf.inference.predictor import Predictor

    probs = {}
    for name in PRECISIONS:
        features = dataclasses.replace(run.config.features, log_mel_precision=name)
        predictor = Predictor(
            run.recognizer, features, modality=run.config.model.modality
        )
        found = predictor.predict_decoded(images, waveforms)
        probs[name] = np.asarray(found.scene_probs, np.float64)
    exact, rounded = (probs[name] for name in PRECISIONS)
    agreement = np.mean(exact.argmax(1) == rounded.argmax(1))
    return np.abs(exact - rounded), float(agreement)


def cpu_milliseconds(frontends, waveform, repeats):
    """Returns the least CPU time of a clip for each precision; they take turns."""
    import tensorflow as tf

    functions = {
        name: tf.function(frontend.log_mel_db) for name, frontend in frontends.items()
    }
    best = dict.fromkeys(functions, float("inf"))
    for number in range(repeats + 1):
        for name, function in functions.items():
            started = time.process_time()
            function(waveform)
            if number:
                best[name] = min(best[name], time.process_time() - started)
    return {name: 1000 * seconds for name, seconds in best.items()}


def row(name, gaps):
    """Prints a row of a table of differences."""
    print(f"| {name} | {gaps.mean():.1e} | {gaps.max():.1e} |")


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--workdirs", default="", help="runs, separated by commas")
    parser.add_argument("--repeats", type=int, default=200)
    arguments = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from advance_tf.memory import keep_freed_memory

    keep_freed_memory()
    import numpy as np
    import tensorflow as tf

    from advance_tf.config import DataConfig, FeatureConfig
    from advance_tf.data.manifest import make_manifest
    from advance_tf.data.splits import spread_over_scenes
    from advance_tf.runs.workdir import load_run

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    folder = pathlib.Path(arguments.data_dir)
    manifest = make_manifest(DataConfig(data_dir=str(folder)))
    pairs = spread_over_scenes(manifest.pairs_of("all"), arguments.pairs)
    frontends = frontends_of(FeatureConfig())
    frontend = frontends["float64"]
    waveforms = np.stack([frontend.read_waveform(folder / p.sound) for p in pairs])
    gaps = compare_waveforms(frontends, tf.constant(waveforms))

    print("| float32 − float64 | mean | largest |\n| :-- | --: | --: |")
    row(f"{len(pairs)} recordings, dB", gaps)
    row("the same, normalized", gaps / frontend.stats.std_db)
    row("the same recordings in LiteRT, dB", compare_litert(frontend, waveforms))
    with np.load(GOLDEN) as golden:
        for name in sorted(golden.files):
            if name.endswith("_waveform"):
                signal = name.removesuffix("_waveform")
                row(
                    f"test signal {signal}, dB",
                    compare_waveforms(frontends, golden[name][None]),
                )
    agreements = []
    for workdir in filter(None, arguments.workdirs.split(",")):
        run = load_run(workdir)
        own = frontends_of(run.config.features)["float64"]
        images = np.stack([own.read_image(folder / pair.image) for pair in pairs])
        gaps_of_run, agreement = compare_probabilities(run, images, waveforms)
        row(f"scene probabilities of {workdir}", gaps_of_run)
        agreements.append(f"The most probable scene agrees on {agreement:.2%}.")
    largest = gaps.max(axis=(1, 2))
    print(
        f"\n{(largest > 0.01).mean():.1%} of the recordings differ by more than "
        f"0.01 dB in some band and frame, {(largest > 0.1).mean():.1%} by more than "
        "0.1 dB."
    )
    print(*agreements)
    cost = cpu_milliseconds(frontends, tf.constant(waveforms[0]), arguments.repeats)
    for name, milliseconds in cost.items():
        print(f"{name}: {milliseconds:.2f} ms of CPU time a clip")


if __name__ == "__main__":
    main()
