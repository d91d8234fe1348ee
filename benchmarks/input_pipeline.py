"""Pairs per second of the input pipeline against librosa and PIL.

    python -m benchmarks.input_pipeline

The baseline decodes with PIL and librosa with the same settings (soxr resampling, FFT
4096, window 1024, hop 400, magnitude through Slaney's mel matrix, 256 px). All
configurations read the same pairs, each in a process of its own on the same cores.
The processes take turns, and the best results are compared. Without `--data_dir` the
pairs are made: images of 512 px and sounds of 10 s at 22,050 Hz.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

BASELINE = "librosa + PIL"
# Configuration → the changed settings of images and sounds, cached, training.
CONFIGURATIONS = {
    "files, float32": ({}, False, False),
    "files, float64": ({"log_mel_precision": "float64"}, False, False),
    "files, float32, JPEG scaled": ({"jpeg_scaling": True}, False, False),
    "files, float32, training": ({}, False, True),
    "cache": ({}, True, False),
    "cache, training": ({}, True, True),
}
DIFFERENCE, LEAST = "difference", "least cost"


def create_pairs(folder, count):
    """Writes pairs in ADVANCE's layout: textured images, and tones in noise."""
    import numpy as np
    import soundfile
    from PIL import Image

    for number in range(count):
        rng = np.random.default_rng(number)
        levels = np.zeros((512, 512, 3), np.float32)
        for side in (4, 16, 64, 256):
            noise = rng.normal(0, 1, (side, side, 3)).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(noise[..., channel]).resize((512, 512))
                levels[..., channel] += 30 * np.asarray(layer)
        image = Image.fromarray(np.clip(levels + 128, 0, 255).astype(np.uint8))
        steps = np.arange(220_500) / 22_050
        wave = 0.2 * np.sin(2 * np.pi * rng.uniform(200, 4_000) * steps)
        wave += rng.normal(0, 0.05, len(wave))
        for name in ("vision", "sound"):
            (folder / name / "lake").mkdir(parents=True, exist_ok=True)
        image.save(folder / f"vision/lake/{number:05d}.jpg", quality=85)
        path = folder / f"sound/lake/{number:05d}.wav"
        soundfile.write(path, wave, 22_050, subtype="PCM_16")


def baseline_pair(image_path, sound_path):
    """Decodes an image [256, 256, 3] and a log-mel [400, 64] in dB."""
    import librosa
    import numpy as np
    from PIL import Image

    with Image.open(image_path) as opened:
        resized = opened.convert("RGB").resize((256, 256), Image.Resampling.BICUBIC)
    image = np.asarray(resized, np.float32)
    wave, _ = librosa.load(sound_path, sr=16_000, duration=10, res_type="soxr_hq")
    mel = librosa.feature.melspectrogram(
        y=np.resize(wave, 160_000),
        sr=16_000,
        n_fft=4096,
        win_length=1024,
        hop_length=400,
        power=1.0,
        n_mels=64,
        pad_mode="constant",
    )
    decibel = 10 * np.log10(np.maximum(mel, 1e-10))
    return image, np.maximum(decibel, decibel.max() - 80).T[:400]


def best_pass(run, passes):
    """Returns the most pairs per second and the least CPU time of a pair in ms.

    The CPU time depends less on other processes of the machine.
    """
    rates, costs = [], []
    for _ in range(passes):
        started, used = time.perf_counter(), time.process_time()
        count = run()
        rates.append(count / (time.perf_counter() - started))
        costs.append((time.process_time() - used) / count * 1e3)
    return max(rates), min(costs)


def measure_baseline(pairs, data_dir, passes):
    """Measures the baseline, see `best_pass`."""
    files = [(f"{data_dir}/{p.image}", f"{data_dir}/{p.sound}") for p in pairs]
    baseline_pair(*files[0])

    def run():
        for image_path, sound_path in files:
            baseline_pair(image_path, sound_path)
        return len(files)

    return best_pass(run, passes)


def measure_advance_tf(configuration, pairs, data_dir, cache_dir, passes):
    """Measures `make_dataset`, see `best_pass`."""
    from advance_tf.config import FeatureConfig
    from advance_tf.data.cache import PairCache
    from advance_tf.data.dataset import make_dataset
    from advance_tf.data.pair_files import PairFiles
    from advance_tf.data.sampling import TrainingEpochs

    changes, is_cached, training = CONFIGURATIONS[configuration]
    features = dataclasses.replace(FeatureConfig(), **changes)
    cache = None
    if is_cached:
        cache = PairCache(cache_dir, features)
        cache.fill(pairs, data_dir, progress=False)
    files = PairFiles(pairs, data_dir, features, cache=cache)
    dataset = make_dataset(files, 16, training=TrainingEpochs() if training else None)

    def run():
        return sum(len(targets["scene"]) for _, targets in dataset)

    # The first pass traces the graph and adjusts the number of parallel calls.
    run()
    return best_pass(run, passes)


def difference(pairs, data_dir):
    """Returns the largest difference of image (levels) and log-mel (dB) on ten pairs.

    The sound is compared below 7 kHz, in the pass band of both resamplers.
    """
    import numpy as np

    from advance_tf.config import FeatureConfig
    from advance_tf.data.dataset import make_dataset
    from advance_tf.data.pair_files import PairFiles
    from advance_tf.features.log_mel import load_stats

    stats = load_stats(FeatureConfig())
    image_gap = sound_gap = 0.0
    dataset = make_dataset(PairFiles(pairs[:10], data_dir, FeatureConfig()), 1)
    for pair, (inputs, _) in zip(pairs[:10], dataset, strict=True):
        image, log_mel = baseline_pair(
            f"{data_dir}/{pair.image}", f"{data_dir}/{pair.sound}"
        )
        found = inputs["log_mel"][0].numpy() * stats.std_db + stats.mean_db
        image_gap = max(image_gap, np.abs(inputs["image"][0] - image).max())
        loud = log_mel > log_mel.max() - 40
        loud[:, 60:] = False
        sound_gap = max(sound_gap, np.abs(found - log_mel)[loud].max())
    return float(image_gap), float(sound_gap)


def least_cost(pairs, data_dir):
    """Returns the least CPU time of a pair's parts in milliseconds.

    These are the operations that no implementation can leave out: one JPEG at full
    size and the Fourier transforms of 400 windows that are padded to 4096.
    """
    import tensorflow as tf

    contents = tf.constant(pathlib.Path(f"{data_dir}/{pairs[0].image}").read_bytes())
    parts = {
        "JPEG": lambda: tf.io.decode_jpeg(
            contents, channels=3, dct_method="INTEGER_ACCURATE"
        )
    }
    for kind in (tf.float32, tf.float64):
        frames = tf.random.stateless_normal([400, 4096], [1, 2], dtype=kind)
        parts[f"transforms in {kind.name}"] = lambda frames=frames: tf.signal.rfft(
            frames
        )
    best = dict.fromkeys(parts, float("inf"))
    for _ in range(40):
        for name, run in parts.items():
            started = time.process_time()
            run()
            best[name] = min(best[name], (time.process_time() - started) * 1e3)
    return best


def child(arguments):
    """Measures one configuration and prints the result as JSON."""
    os.sched_setaffinity(0, set(range(arguments.cores)))
    from advance_tf.memory import keep_freed_memory

    # As the commands do.
    keep_freed_memory()
    from advance_tf.config import DataConfig
    from advance_tf.data.manifest import make_manifest

    data_dir = arguments.data_dir
    pairs = make_manifest(DataConfig(data_dir=data_dir)).pairs_of("all")
    pairs = pairs[:: max(1, len(pairs) // arguments.pairs)][: arguments.pairs]
    configuration = arguments.configuration
    if configuration == DIFFERENCE:
        result = difference(pairs, data_dir)
    elif configuration == LEAST:
        result = least_cost(pairs, data_dir)
    elif configuration == BASELINE:
        result = measure_baseline(pairs, data_dir, arguments.passes)
    else:
        result = measure_advance_tf(
            configuration, pairs, data_dir, arguments.cache_dir, arguments.passes
        )
    print(json.dumps(result))


def spawn(arguments, configuration, cores, data_dir, cache_dir):
    """Measures one configuration in a process of its own."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    # Workarounds for old OpenBLAS builds; they slow NumPy down.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "benchmarks.input_pipeline"]
    command += [f"--configuration={configuration}", f"--cores={cores}"]
    command += [f"--data_dir={data_dir}", f"--pairs={arguments.pairs}"]
    command += [f"--cache_dir={cache_dir}", f"--passes={arguments.passes}"]
    done = subprocess.run(
        command, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", default="")
    parser.add_argument("--pairs", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache_dir", default="")
    parser.add_argument("--configuration", default="")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--max_cores", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--passes", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.configuration:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        data_dir = arguments.data_dir or f"{folder}/pairs"
        if not arguments.data_dir:
            create_pairs(pathlib.Path(data_dir), arguments.pairs)

        def run(configuration, cores):
            return spawn(arguments, configuration, cores, data_dir, f"{folder}/cache")

        names = (BASELINE, *CONFIGURATIONS)
        cores = range(1, arguments.max_cores + 1)
        best = {(name, count): (0.0, float("inf")) for count in cores for name in names}
        for _ in range(arguments.repeats):
            for key in best:
                rate, cost = run(*key)
                print(*key, f"{rate:.1f} pairs/s, {cost:.2f} ms", file=sys.stderr)
                best[key] = max(best[key][0], rate), min(best[key][1], cost)
        baseline_rate, baseline_cost = best[BASELINE, 1]
        print(
            "| cores | configuration | pairs/s | of the baseline on one core "
            "| of one core | CPU ms/pair | baseline's ÷ this |\n"
            "| --: | :-- | --: | --: | --: | --: | --: |"
        )
        for (name, count), (rate, cost) in best.items():
            print(
                f"| {count} | {name} | {rate:.1f} | {rate / baseline_rate:.2f}× "
                f"| {rate / best[name, 1][0]:.2f}× "
                f"| {cost:.2f} | {baseline_cost / cost:.2f}× |"
            )
        parts = run(LEAST, 1)
        image_gap, sound_gap = run(DIFFERENCE, 1)
    costs = ", ".join(f"{name} {cost:.1f} ms" for name, cost in parts.items())
    print(f"\nA pair costs at least, on one core: {costs}.")
    print(f"Largest difference: {image_gap:.0f} level, {sound_gap:.3f} dB.")


if __name__ == "__main__":
    main()
