"""Networks of `keras.applications` as image towers, such as `keras:ResNet50V2`."""

import pathlib
import zipfile
from collections.abc import Callable, Mapping
from typing import ClassVar

import keras
import numpy as np
from keras import layers

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.backbones.contract import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    CellCentres,
    MapCentres,
    WeightsSource,
    arrays_sha256,
    pooled_tower,
    same_padding,
)

# ImageNet's mean of blue, green and red.
_BGR_MEAN = (103.939, 116.779, 123.68)
# Beginning of a name → how the network expects levels; the first match counts.
PREPROCESSING = {
    **dict.fromkeys(("EfficientNet", "ConvNeXt", "MobileNetV3"), "inside"),
    **dict.fromkeys(("ResNet50V2", "ResNet101V2", "ResNet152V2"), "signed"),
    **dict.fromkeys(("MobileNet", "Inception", "Xception", "NASNet"), "signed"),
    **dict.fromkeys(("ResNet", "VGG"), "bgr"),
    "DenseNet": "standardized",
}
# Networks with five layers of stride 2 and padding at the end, or on both sides.
_PADDED_AT_THE_END = ("EfficientNet", "MobileNet")
_PADDED_SYMMETRICALLY = ("ResNet",)


def names() -> list[str]:
    """The networks of `keras.applications`, sorted.

    >>> {"EfficientNetV2B0", "ConvNeXtTiny", "DenseNet121"} <= set(names())
    True
    """
    return sorted(
        name
        for name, value in vars(keras.applications).items()
        if name[0].isupper() and callable(value)
    )


def preprocess(levels: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Converts levels 0..255 [B, S, S, 3], RGB, to the input of a network.

    Args:
        levels: input of the tower.
        name: name of the network.

    Returns:
        The same shape: unchanged where the network has its own preprocessing.
    """
    kind = next(kind for start, kind in PREPROCESSING.items() if name.startswith(start))
    if kind == "signed":
        return layers.Rescaling(1 / 127.5, -1.0, name="preprocessed")(levels)
    if kind == "standardized":
        scale, offset = 1 / (255 * IMAGENET_STD), -IMAGENET_MEAN / IMAGENET_STD
        rescaling = layers.Rescaling(scale.tolist(), offset.tolist())
        return rescaling(levels)
    if kind == "bgr":
        mean = [-value for value in _BGR_MEAN]
        return layers.Rescaling(1.0, mean)(keras.ops.flip(levels, axis=-1))
    return levels


class KerasApplication(Backbone):
    """`keras:<Name>`: weights "imagenet", fetched by Keras, or a file of Keras."""

    named_weights: ClassVar[Mapping[str, str]] = {
        "imagenet": "ImageNet, fetched by keras.applications"
    }
    file_endings = (".weights.h5", ".h5", ".keras")
    has_variants = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        if self.variant not in names():
            raise ValueError(
                f"image_backbone must be keras: and one of {', '.join(names())}; "
                f"received {name!r}. Choose one of these."
            )
        self._constructor: Callable[..., keras.Model] = getattr(
            keras.applications, self.variant
        )

    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds the tower; see `Backbone.build`."""
        side = features.image_size
        levels = keras.Input((side, side, 3), name="levels")
        network = self._construct(input_tensor=preprocess(levels, self.variant))
        _standardize(network)
        return pooled_tower(levels, network.output, "image")

    def map_centres(
        self, tower: str, features: FeatureConfig, shape: tuple[int, int]
    ) -> MapCentres:
        """The centres by the padding; see `Backbone.map_centres`."""
        if self.variant.startswith(_PADDED_AT_THE_END):
            centres = same_padding(features.image_size, 5)
        elif self.variant.startswith(_PADDED_SYMMETRICALLY):
            centres = CellCentres(32, 0)
        else:
            return super().map_centres(tower, features, shape)
        return centres, centres

    def load_weights(self, tower: keras.Model, weights: str) -> None:
        """Loads "imagenet" or a file of the network.

        A `.weights.h5` or `.keras` file may have the classifier; a `.h5` file, the
        format of Keras 2, must be without.
        """
        arrays = self._arrays(weights, tower.input_shape[1:])
        variables = tower.weights
        shapes = [tuple(variable.shape) for variable in variables]
        if [array.shape for array in arrays][: len(shapes)] != shapes:
            raise ValueError(
                f"{weights} must hold the weights of {self.variant} of "
                "keras.applications; its shapes differ. Save those of this network."
            )
        for variable, array in zip(variables, arrays, strict=False):
            variable.assign(array)
        _standardize(tower)

    def weights_source(self, weights: str) -> WeightsSource:
        """Origin and hash, for "imagenet" of the arrays."""
        if weights not in self.named_weights:
            return super().weights_source(weights)
        sha256 = arrays_sha256(self._arrays(weights, (224, 224, 3)))
        source = f"{self.named_weights[weights]} {keras.__version__}"
        return WeightsSource(self.name, weights, source, sha256)

    def _construct(self, **settings: object) -> keras.Model:
        return self._constructor(**{"include_top": False, "weights": None} | settings)

    def _arrays(self, weights: str, shape: tuple[int, ...]) -> list[np.ndarray]:
        path = pathlib.Path(weights)
        try:
            if weights in self.named_weights:
                network = self._construct(weights=weights, input_shape=shape)
            elif not path.is_file():
                raise ValueError(self.unknown_weights(weights))
            else:
                network = self._read(path, shape)
        except (OSError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"The weights {weights!r} of {self.name} must be available; reading "
                f"them failed: {error}. Without a network, pass a file "
                f"({', '.join(self.file_endings)}) of the network."
            ) from error
        return [np.asarray(array) for array in network.get_weights()]

    def _read(self, path: pathlib.Path, shape: tuple[int, ...]) -> keras.Model:
        """The network with the weights of a file."""
        network = None
        if path.suffix != ".keras":
            network = self._construct(input_shape=shape)
        try:
            if network is None:
                return keras.models.load_model(path)
            network.load_weights(path)
        except ValueError as error:
            reason = (str(error) or "no reason is given.").splitlines()[0]
            raise ValueError(
                f"{path} must hold the weights of {self.variant} of "
                f"keras.applications; reading them failed: {reason} "
                "Save those of this network, as .weights.h5 or .keras, or without its "
                "classifier (`include_top=False`) as .h5."
            ) from error
        return network


def _standardize(network: keras.Model) -> None:
    """Sets the constants of EfficientNetB0 to B7, whose "imagenet" form differs.

    Keras adds a layer to them for these weights; mean 0.485, … and standard deviation
    0.229, … of levels in [0, 1] are the same in one.
    """
    for layer in network.layers:
        if isinstance(layer, layers.Normalization) and layer.weights:
            layer.adapt_mean.assign(IMAGENET_MEAN)
            layer.adapt_variance.assign(IMAGENET_STD**2)
            layer.finalize_state()
