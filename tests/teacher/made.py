"""Pairs, manifests and teachers for the tests of this folder."""

import wave

import numpy as np

from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.data.manifest import Manifest

SPLITS = ("training", "training", "validation", "test")
EVENTS = len(labels.events())


def made_manifest(per_scene: int = 4) -> Manifest:
    """Pairs of every scene, each of its own site, two of four for training."""
    pairs, splits = [], []
    for number, scene in enumerate(labels.scenes()):
        for index in range(per_scene):
            stem = f"{number * 100 + index:05d}"
            image, sound = (
                f"{kind}/{scene}/{stem}.{ending}"
                for kind, ending in (("vision", "jpg"), ("sound", "wav"))
            )
            pairs.append(Pair(stem, scene, stem, image, sound))
            splits.append(SPLITS[index % len(SPLITS)])
    return Manifest(tuple(pairs), tuple(splits), "site", 0)


def made_logits(manifest: Manifest, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.float32(2 * rng.normal(size=(len(manifest.pairs), EVENTS)) - 4)


def write_sounds(data_dir, manifest: Manifest, seconds: float = 1.0) -> None:
    """A sound of its own for every pair, PCM of 16 bits at 16 kHz."""
    for index, pair in enumerate(manifest.pairs):
        path = data_dir / pair.sound
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(index).normal(size=round(16_000 * seconds))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((3000 * samples).clip(-32768, 32767).astype("<i2"))


class StatisticTeacher:
    """Logits from the mean square of a clip, so that NumPy can predict them."""

    name = "statistic"
    sha256 = "a" * 64
    event_mask = np.arange(EVENTS) % 100 != 7

    def __init__(self, fail_after: int | None = None):
        self.heard = 0
        self._fail_after = fail_after

    def logits(self, waveforms):
        if self._fail_after is not None and self.heard >= self._fail_after:
            raise KeyboardInterrupt
        self.heard += len(waveforms)
        return expected_logits(waveforms)


def expected_logits(waveforms) -> np.ndarray:
    power = np.square(np.float64(waveforms)).mean(axis=1, keepdims=True)
    return np.float32(np.linspace(-3, 2, EVENTS) * 100 * power - 4)
