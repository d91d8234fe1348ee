"""YAMNet as a Keras model: a teacher."""

import hashlib
import pathlib

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.checksums import path_sha256
from advance_tf.config import FeatureConfig
from advance_tf.models.backbones.registry import build_backbone
from advance_tf.models.backbones.yamnet_network import event_indices
from advance_tf.teacher.models import RATE_HZ, features_at, score_logits


class YamnetTowerTeacher:
    """The tower `yamnet:scores` as logits of AudioSet's 527 events.

    The score of an event is its mean over the patches of a clip; its logit is that of
    `score_logits`. The six events without a class of YAMNet are False in `event_mask`
    and have the logit of the smallest score. With a `.tflite` file the weights are
    its 8-bit weights converted to float32; the activations are not rounded to 8 bits.

    Args:
        path: `yamnet.tflite`, `yamnet.h5` or the folder of a SavedModel.
        features: length of a clip.

    Attributes:
        name: "yamnet in Keras".
        sample_rate_hz: 16,000, the rate of the clips that it scores.
        sha256: hash of the file, and of the fact that Keras runs it.
        event_mask: bool [527], True for YAMNet's 521 classes.

    Raises:
        ValueError: the file is not YAMNet.

    Source: Google's YAMNet, a MobileNet v1 trained on AudioSet (Apache-2.0).
    """

    name = "yamnet in Keras"
    sample_rate_hz = RATE_HZ

    def __init__(self, path: str | pathlib.Path, features: FeatureConfig) -> None:
        features = features_at(features, self.sample_rate_hz)
        tower = build_backbone("yamnet:scores", "audio", features, str(path))
        text = f"{self.name} {path_sha256(pathlib.Path(path))}"
        self.sha256 = hashlib.sha256(text.encode()).hexdigest()
        self._events = event_indices()
        self.event_mask = np.zeros(len(labels.events()), bool)
        self.event_mask[self._events] = True

        @tf.function(input_signature=[tf.TensorSpec([None, features.clip_samples])])
        def scores(waveforms: tf.Tensor) -> tf.Tensor:
            return tower(waveforms, training=False)  # [B, 521]

        self._scores = scores

    def logits(self, waveforms: np.ndarray) -> np.ndarray:
        """Event logits of clips.

        Args:
            waveforms: float32 [B, clip_samples] at 16 kHz in [-1, 1].

        Returns:
            float32 [B, 527] within ±9.21.
        """
        scores = np.zeros((len(waveforms), len(self.event_mask)))  # [B, 527]
        scores[:, self._events] = self._scores(tf.constant(waveforms, tf.float32))
        return score_logits(scores)
