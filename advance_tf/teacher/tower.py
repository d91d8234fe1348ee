"""A pretrained audio tower with its event head as the teacher N_a^(0)."""

import dataclasses
import hashlib
import json

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.log_mel import LogMelStats, load_stats, log_mel_db, normalize


class TowerTeacher:
    """Our own audio ResNet: y(a) = σ(f_e(a, N_a^(0))).

    Args:
        tagger: a model {"log_mel": [B, frames, mel_bins]} → {"event_logits":
            [B, 527]} with its weights loaded; it is not trained here.
        features: how the tower hears, as it was trained.
        weights_sha256: hash of its weights.
        name: of the teacher.

    Attributes:
        sha256: hash of the weights and of how the tower hears.
        event_mask: bool [527], True everywhere.
    """

    def __init__(
        self,
        tagger: keras.Model,
        features: FeatureConfig,
        weights_sha256: str,
        name: str = "tower",
    ):
        stats = load_stats(features)
        self.name = name
        self.sha256 = _hearing_sha256(weights_sha256, features, stats)
        self.event_mask = np.ones(tagger.output["event_logits"].shape[-1], bool)

        @tf.function(input_signature=[tf.TensorSpec([None, features.clip_samples])])
        def event_logits(waveforms):
            log_mel = normalize(log_mel_db(waveforms, features), stats)
            return tagger({"log_mel": log_mel}, training=False)["event_logits"]

        self._event_logits = event_logits

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """The event logits of clips.

        Args:
            waveforms: float32 [B, clip_samples] in [-1, 1].

        Returns:
            float32 [B, 527].
        """
        return self._event_logits(tf.constant(waveforms, tf.float32)).numpy()


def _hearing_sha256(
    weights_sha256: str, features: FeatureConfig, stats: LogMelStats
) -> str:
    """A hash that changes with the weights, the settings and the statistics."""
    settings = dataclasses.asdict(features)
    # The file of the statistics may move; its numbers count.
    del settings["image_size"], settings["log_mel_stats"]
    numbers = [np.asarray(row, np.float64).tolist() for row in stats]
    text = json.dumps([weights_sha256, settings, numbers], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
