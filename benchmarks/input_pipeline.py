"""Pairs per second of the input pipeline against librosa and PIL.

    python -m benchmarks.input_pipeline --data_dir=ADVANCE --pairs=200

The peer decodes with PIL and librosa with the same settings (soxr resampling,
FFT 4096, window 1024, hop 400, magnitude through Slaney's mel matrix, 256 px).
Both read the same pairs, each in a process of its own on the same cores. The
processes take turns, and the best results are compared.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

WAYS = ("librosa + PIL", "files", "files, training", "cache", "cache, training")


def peer_pair(image_path, sound_path):
    """Decodes an image [256, 256, 3] and a log-mel [400, 64] in dB with the peer."""
    import librosa
    import numpy as np
    from PIL import Image

    with Image.open(image_path) as opened:
        resized = opened.convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
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


def measure_peer(pairs, data_dir, repeats):
    """Returns the best pairs per second of the peer."""
    files = [(f"{data_dir}/{p.image}", f"{data_dir}/{p.sound}") for p in pairs]
    peer_pair(*files[0])
    best = 0.0
    for _ in range(repeats):
        started = time.perf_counter()
        for image_path, sound_path in files:
            peer_pair(image_path, sound_path)
        best = max(best, len(files) / (time.perf_counter() - started))
    return best


def measure_advance_tf(way, pairs, data_dir, cache_dir, repeats):
    """Returns the best pairs per second of `make_dataset`."""
    from advance_tf.config import FeatureConfig
    from advance_tf.data.cache import PairCache
    from advance_tf.data.dataset import make_dataset

    cache = None
    if way.startswith("cache"):
        cache = PairCache(cache_dir, FeatureConfig())
        cache.fill(pairs, data_dir, progress=False)
    dataset = make_dataset(
        pairs, data_dir, FeatureConfig(), 16, training="training" in way, cache=cache
    )
    best = 0.0
    for number in range(repeats + 1):
        started = time.perf_counter()
        count = sum(len(targets["scene"]) for _, targets in dataset)
        if number:
            best = max(best, count / (time.perf_counter() - started))
    return best


def difference(pairs, data_dir):
    """Returns the largest difference of image (levels) and log-mel (dB) on ten pairs.

    The sound is compared below 7 kHz, in the pass band of both resamplers.
    """
    import numpy as np

    from advance_tf.config import FeatureConfig
    from advance_tf.data.dataset import make_dataset
    from advance_tf.features.log_mel import load_stats

    stats = load_stats(FeatureConfig())
    image_gap = sound_gap = 0.0
    dataset = make_dataset(pairs[:10], data_dir, FeatureConfig(), 1)
    for pair, (inputs, _) in zip(pairs[:10], dataset, strict=True):
        image, log_mel = peer_pair(
            f"{data_dir}/{pair.image}", f"{data_dir}/{pair.sound}"
        )
        found = inputs["log_mel"][0].numpy() * stats.std_db + stats.mean_db
        image_gap = max(image_gap, np.abs(inputs["image"][0] - image).max())
        loud = log_mel > log_mel.max() - 40
        loud[:, 60:] = False
        sound_gap = max(sound_gap, np.abs(found - log_mel)[loud].max())
    return float(image_gap), float(sound_gap)


def child(arguments):
    """Measures one way and prints the result as JSON."""
    os.sched_setaffinity(0, set(range(arguments.cores)))
    from advance_tf.config import DataConfig
    from advance_tf.data.manifest import make_manifest

    data_dir = arguments.data_dir
    pairs = make_manifest(DataConfig(data_dir=data_dir)).of("training")
    pairs = pairs[:: max(1, len(pairs) // arguments.pairs)][: arguments.pairs]
    if arguments.way == "difference":
        result = difference(pairs, data_dir)
    elif arguments.way == WAYS[0]:
        result = measure_peer(pairs, data_dir, arguments.repeats)
    else:
        result = measure_advance_tf(
            arguments.way, pairs, data_dir, arguments.cache_dir, arguments.repeats
        )
    print(json.dumps(result))


def spawn(arguments, way, cores, cache_dir):
    """Measures one way in a process of its own."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3")
    # Workarounds for old OpenBLAS builds; they slow NumPy down.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "benchmarks.input_pipeline", f"--way={way}"]
    command += [f"--data_dir={arguments.data_dir}", f"--pairs={arguments.pairs}"]
    command += [f"--cores={cores}", f"--cache_dir={cache_dir}", "--repeats=1"]
    done = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data_dir", required=True)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache_dir", default="")
    parser.add_argument("--way", default="")
    parser.add_argument("--cores", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.way:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        print("| cores | way | pairs/s | ratio |\n| --: | :-- | --: | --: |")
        for cores in (1, min(2, os.cpu_count() or 1)):
            best = dict.fromkeys(WAYS, 0.0)
            for _ in range(arguments.repeats):
                for way in WAYS:
                    rate = spawn(arguments, way, cores, pathlib.Path(folder))
                    best[way] = max(best[way], rate)
            for way in WAYS:
                ratio = best[way] / best[WAYS[0]]
                print(f"| {cores} | {way} | {best[way]:.1f} | {ratio:.2f}× |")
        image_gap, sound_gap = spawn(arguments, "difference", 1, folder)
    print(f"\nLargest difference: {image_gap:.0f} level, {sound_gap:.3f} dB.")


if __name__ == "__main__":
    main()
