"""A pretrained audio tower with its event head as the teacher N_a^(0)."""

import keras
import numpy as np
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.log_mel import load_stats, log_mel_db, normalize


class TowerTeacher:
    """Our own audio ResNet: y(a) = σ(f_e(a, N_a^(0))).

    Args:
        tagger: a model {"log_mel": [B, frames, mel_bins]} → {"event_logits":
            [B, 527]} with its weights loaded; it is not trained here.
        features: how the tower hears, as it was trained.
        sha256: hash of the weights file.
        name: of the teacher.
    """

    def __init__(
        self, tagger: keras.Model, features: FeatureConfig, sha256: str, name="tower"
    ):
        self.name = name
        self.sha256 = sha256
        events = tagger.output_shape["event_logits"][-1]
        self.event_mask = np.ones(events, bool)
        stats = load_stats(features)

        @tf.function(input_signature=[tf.TensorSpec([None, features.clip_samples])])
        def tagged(waveforms):
            log_mel = normalize(log_mel_db(waveforms, features), stats)
            return tagger({"log_mel": log_mel}, training=False)["event_logits"]

        self._tagged = tagged

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """The event logits of clips.

        Args:
            waveforms: float32 [B, clip_samples].

        Returns:
            float32 [B, 527].
        """
        return self._tagged(tf.constant(waveforms, tf.float32)).numpy()
