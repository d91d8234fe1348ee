"""Factories of manifests, logits, sounds and teachers for the tests of this folder."""

import wave

import numpy as np

from advance_tf import labels
from advance_tf.data.manifest import Manifest
from advance_tf.data.pairing import Pair
from advance_tf.teacher.knowledge import EventKnowledge, build_knowledge

SPLITS = ("training", "training", "validation", "test")
EVENTS = len(labels.events())
MASK = np.arange(EVENTS) % 90 != 3


def create_manifest(per_scene: int = 4) -> Manifest:
    """Pairs of every scene, each with its own site, two of four for training."""
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


def random_logits(manifest: Manifest, seed: int = 0) -> np.ndarray:
    """Logits [pairs, 527], most of them negative."""
    rng = np.random.default_rng(seed)
    return np.float32(2 * rng.normal(size=(len(manifest.pairs), EVENTS)) - 4)


def create_knowledge(manifest: Manifest, logits: np.ndarray) -> EventKnowledge:
    """Knowledge of a teacher that covers the events of `MASK`."""
    return build_knowledge(manifest, logits, MASK, "fabricated", "b" * 64)


def arrays_of(knowledge: EventKnowledge) -> dict[str, np.ndarray]:
    """Posteriors, logits and relevance vectors by name."""
    arrays = {"posteriors": knowledge.posteriors, "logits": knowledge.teacher_logits}
    return arrays | knowledge.relevances


def write_sounds(data_dir, manifest: Manifest, seconds: float = 1.0) -> None:
    """Writes a different sound for every pair, 16-bit PCM at 16 kHz."""
    for index, pair in enumerate(manifest.pairs):
        path = data_dir / pair.sound
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.random.default_rng(index).normal(size=round(16_000 * seconds))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((3000 * samples).clip(-32768, 32767).astype("<i2"))


class StatisticTeacher:
    """A teacher whose logits are a function of the mean square of a clip.

    Args:
        fail_after: number of clips after which it is interrupted.
    """

    name = "statistic"
    sha256 = "a" * 64
    event_mask = np.arange(EVENTS) % 100 != 7

    def __init__(self, fail_after: int | None = None):
        self.scored_clips = 0
        self._fail_after = fail_after

    def logits(self, waveforms):
        if self._fail_after is not None and self.scored_clips >= self._fail_after:
            raise KeyboardInterrupt
        self.scored_clips += len(waveforms)
        return expected_logits(waveforms)


def expected_logits(waveforms) -> np.ndarray:
    """Logits [B, 527] of `StatisticTeacher`, in NumPy."""
    power = np.square(np.float64(waveforms)).mean(axis=1, keepdims=True)
    return np.float32(np.linspace(-3, 2, EVENTS) * 100 * power - 4)
