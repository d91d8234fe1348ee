"""The paper's towers: a ResNet on images, and one on log-mel spectrograms."""

import keras

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.backbones.contract import Backbone, CellCentres, MapCentres
from advance_tf.models.resnet import build_resnet


class ResNetTowers(Backbone):
    """`resnet`: ResNet v1 of the depths and widths of the configuration.

    The weights are a `.npz` file of `advance convert` or `advance pretrain`.
    """

    towers = ("image", "audio")
    has_stages = True
    instead_of_variant = (
        "Use `image_depth` or `audio_depth`, such as `image_depth=50`, with the "
        "backbone 'resnet'."
    )

    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds a tower; see `Backbone.build`."""
        side = features.image_size
        if tower == "image":
            return build_resnet(
                model.image_depth,
                model.image_width,
                (side, side, 3),
                name="image_tower",
                initialization=model.initialization,
            )
        return build_resnet(
            model.audio_depth,
            model.audio_width,
            (features.frames, features.mel_bins, 1),
            first_stride=1,
            name="audio_tower",
            initialization=model.initialization,
        )

    def map_centres(
        self, tower: str, features: FeatureConfig, shape: tuple[int, int]
    ) -> MapCentres:
        """The centres with symmetric padding; see `Backbone.map_centres`."""
        # The first convolution of the audio tower has stride 1.
        centres = CellCentres(32 if tower == "image" else 16, 0)
        return centres, centres
