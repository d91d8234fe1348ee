"""YAMNet as an audio tower: `yamnet`, `yamnet:scores` and `yamnet:both`."""

import pathlib

import keras

from advance_tf.config import RANDOM_WEIGHTS, FeatureConfig, ModelConfig
from advance_tf.models.backbones.contract import Backbone, CellCentres, MapCentres
from advance_tf.models.backbones.yamnet_network import (
    HOP_SAMPLES,
    PATCH_FRAMES,
    PATCH_HOP_FRAMES,
    RATE_HZ,
    WINDOW_SAMPLES,
    build_yamnet,
)
from advance_tf.models.backbones.yamnet_weights import ENDINGS, read_yamnet

OUTPUTS = {"": "embedding", "scores": "scores", "both": "both"}


class YamnetTower(Backbone):
    """`yamnet`: 3.2 million weights, embedding 1024, of a waveform at 16 kHz.

    `yamnet:scores` has YAMNet's 521 scores as its embedding, `yamnet:both` both.
    Stages, with the feature map of a patch at their end:

        1  layers 1 to 4                 [24, 16, 128]
        2  layers 5 and 6                [12, 8, 256]
        3  layers 7 to 12                [6, 4, 512]
        4  layer 13                      [3, 2, 1024]
        5  layer 14, mean and scores     1024, 521 or 1545
    """

    towers = ("audio",)
    sound_input = "waveform"
    file_endings = (*ENDINGS, "the folder of a SavedModel")
    has_variants = True
    stage_ends = tuple(f"layer{number}_pointwise_relu" for number in (4, 6, 12, 13))

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if self.variant not in OUTPUTS:
            raise ValueError(
                "audio_backbone must be yamnet, yamnet:scores or yamnet:both; received "
                f"{name!r}. Choose one of these."
            )

    def check(self, tower: str, model: ModelConfig, features: FeatureConfig) -> None:
        """Checks the sampling rate, before a teacher scores the sounds."""
        if features.sample_rate_hz != RATE_HZ:
            raise ValueError(
                f"sample_rate_hz must be {RATE_HZ} for YAMNet; received "
                f"{features.sample_rate_hz}. Use this rate or another backbone."
            )

    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds the tower; see `Backbone.build`."""
        self.check(tower, model, features)
        limit = activation_limit(model.audio_weights)
        return build_yamnet(features.clip_samples, OUTPUTS[self.variant], limit)

    def map_centres(
        self, tower: str, features: FeatureConfig, shape: tuple[int, int]
    ) -> MapCentres:
        """The centres of the patches in time; see `Backbone.map_centres`.

        Frame t of the run's log-mel is centred on the sample t · hop_samples.
        """
        _, bands = super().map_centres(tower, features, shape)
        patch_samples = (PATCH_FRAMES - 1) * HOP_SAMPLES + WINDOW_SAMPLES
        patches = CellCentres(
            PATCH_HOP_FRAMES * HOP_SAMPLES / features.hop_samples,
            patch_samples / 2 / features.hop_samples,
        )
        return patches, bands

    def load_weights(self, tower: keras.Model, weights: str) -> None:
        """Loads `yamnet.tflite`, `yamnet.h5` or the folder of a SavedModel."""
        if not pathlib.Path(weights).exists():
            raise ValueError(self.unknown_weights(weights))
        found = read_yamnet(weights)
        for layer in tower.layers:
            if layer.weights:
                layer.set_weights(found[layer.name])


def activation_limit(weights: str) -> float | None:
    """The largest activation of the network that weights belong to.

    >>> activation_limit("yamnet.tflite"), activation_limit("yamnet.h5")
    (6.0, None)
    """
    suffix = pathlib.Path(weights).suffix
    is_file = weights not in ("", RANDOM_WEIGHTS)
    is_published_code = is_file and suffix not in (".tflite", ".npz")
    return None if is_published_code else 6.0
