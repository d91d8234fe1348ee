"""The contract of every backbone: input, feature map, embedding and weights."""

import abc
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from advance_tf.checksums import path_sha256
from advance_tf.config import FeatureConfig, ModelConfig

TOWERS = ("image", "audio")
# The layer of a tower with its last feature map, and that with its embedding.
FEATURES, EMBEDDING = "features", "embedding"
# Of red, green and blue in [0, 1]: a network of ImageNet takes (x / 255 − mean) / std.
IMAGENET_MEAN = np.array([0.485, 0.456, 0.406])
IMAGENET_STD = np.array([0.229, 0.224, 0.225])


@dataclasses.dataclass(frozen=True)
class WeightsSource:
    """Where the initial weights of a tower come from.

    Attributes:
        backbone: name of the backbone.
        weights: value of `image_weights` or `audio_weights`, "" for random weights.
        source: origin of the weights in words.
        sha256: SHA-256 of the file, or of the arrays where a library fetches it; ""
            for random weights.
    """

    backbone: str
    weights: str = ""
    source: str = "random initial weights"
    sha256: str = ""


class CellCentres(NamedTuple):
    """The centres of the cells of a feature map along one axis of the input.

    The receptive field of cell i is centred on the position offset + step · i.

    Attributes:
        step: distance of two cells in samples of the input: pixels, frames or bands.
        offset: position of the first cell; 0 is the centre of the first sample.
    """

    step: float
    offset: float


# Of the rows and of the columns of a map.
MapCentres = tuple[CellCentres, CellCentres]


def equal_parts(size: int, cells: int) -> CellCentres:
    """The centres of cells that divide the input into equal parts.

    >>> equal_parts(224, 16)
    CellCentres(step=14.0, offset=6.5)
    """
    step = size / cells
    return CellCentres(step, (step - 1) / 2)


def same_padding(size: int, halvings: int) -> CellCentres:
    """The centres after layers of stride 2 with TensorFlow's padding "same".

    Such a layer has its odd row of padding at the end: cell i is centred on 2 i + 1 of
    an even number of samples, on 2 i of an odd one.

    >>> same_padding(256, 5)
    CellCentres(step=32, offset=31)
    """
    step, offset = 1, 0
    for _ in range(halvings):
        offset += step * (1 - size % 2)
        size, step = -(-size // 2), 2 * step
    return CellCentres(step, offset)


class Backbone(abc.ABC):
    """A family of networks that an image or audio tower can be built from.

    The tower is a Keras model `image_tower` or `audio_tower` with one input and one
    output. Its preprocessing is inside: an image tower takes levels 0..255
    [B, S, S, 3]; an audio tower takes the normalized log-mel [B, frames, mel_bins, 1]
    or, with `sound_input = "waveform"`, the clip [B, clip_samples] in [-1, 1]. The
    output is the embedding [B, D]. The layer `features` has a feature map
    [B, h, w, D] whose mean over the positions is the embedding; a tower without this
    layer has no activation maps.

    Args:
        name: name of the backbone, `<family>` or `<family>:<variant>`.

    Attributes:
        towers: kinds of tower: "image", "audio" or both.
        sound_input: input of an audio tower, "log_mel" or "waveform".
        has_stages: whether the layers are named by stages that can be frozen one by
            one, as those of a ResNet.
        stage_ends: the layers with whose outputs the stages 1 to 4 end, in a network
            whose layers are not named by stages; each output is all that the layers
            after it depend on. Without both, a tower is frozen completely or not at
            all.
        named_weights: value of `image_weights` or `audio_weights` that is not a file
            → origin of these weights.
        file_endings: endings of the files of weights; ".npz" of `advance pretrain`
            is one of every backbone.
        default_weights: the value of `image_weights` and `audio_weights` that ""
            stands for; "" for random weights.
        no_export: format ("SavedModel", "LiteRT", "ONNX") → why a tower cannot be
            written in it.
        has_variants: whether a variant may follow the family in the name.
        instead_of_variant: in a family without variants, what to use instead.

    Raises:
        ValueError: the name has a variant, and the family has none.
    """

    towers: ClassVar[Sequence[str]] = ("image",)
    sound_input: ClassVar[str] = "log_mel"
    has_stages: ClassVar[bool] = False
    stage_ends: ClassVar[Sequence[str]] = ()
    named_weights: ClassVar[Mapping[str, str]] = {}
    file_endings: ClassVar[Sequence[str]] = ()
    default_weights: str = ""
    no_export: Mapping[str, str] = {}
    has_variants: ClassVar[bool] = False
    instead_of_variant: ClassVar[str] = "Leave out what follows the colon."

    def __init__(self, name: str) -> None:
        self.name = name
        family, colon, self.variant = name.partition(":")
        if colon and not self.has_variants:
            raise ValueError(
                f"The backbone {family} has no variants; received {name!r}. "
                f"{self.instead_of_variant}"
            )

    def check(  # noqa: B027
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> None:
        """Checks, before a run is written, what can be checked without building.

        Args:
            tower: "image" or "audio".
            model: settings of the towers.
            features: sizes of the inputs.

        Raises:
            ValueError: the settings do not fit the network.
            ImportError: the package of the network is not installed.
        """

    def check_weights(self, tower: str, model: ModelConfig) -> None:  # noqa: B027
        """Checks whether a tower can start from its weights, without building it.

        Args:
            tower: "image" or "audio".
            model: weights of the towers.

        Raises:
            ValueError: it cannot.
        """

    def store(self, folder: pathlib.Path) -> None:  # noqa: B027
        """Copies what the tower is built from, where that is not the library itself.

        Args:
            folder: folder of the tower in the work directory of a run.
        """

    def stored_name(self, folder: pathlib.Path) -> str:
        """The name of the backbone that is built from the copy of `store`.

        Args:
            folder: the folder that was given to `store`.

        Returns:
            `name` where nothing is copied.
        """
        return self.name

    def absolute_name(self) -> str:
        """The name, with the absolute path where it has a path."""
        return self.name

    @abc.abstractmethod
    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds a tower with random weights.

        Args:
            tower: "image" or "audio".
            model: depths and widths, where the family has them, and the weights that
                the tower will start from.
            features: sizes of the inputs.

        Returns:
            The tower, named `image_tower` or `audio_tower`.

        Raises:
            ValueError: the settings do not fit the family.
        """

    def map_centres(
        self, tower: str, features: FeatureConfig, shape: tuple[int, int]
    ) -> MapCentres:
        """Where the cells of a feature map are in the input that shows them.

        Args:
            tower: "image" or "audio".
            features: sizes of the inputs.
            shape: height and width of the feature map.

        Returns:
            The centres of its rows and of its columns: along the rows and columns of
            an image, or the frames and mel bands of the run's log-mel. By default the
            cells are equal parts of the input.
        """
        sizes = (features.image_size, features.image_size)
        if tower == "audio":
            sizes = (features.frames, features.mel_bins)
        rows, columns = (
            equal_parts(size, cells) for size, cells in zip(sizes, shape, strict=True)
        )
        return rows, columns

    def load_weights(self, tower: keras.Model, weights: str) -> None:
        """Loads weights that are not a `.npz` file.

        Args:
            tower: a tower of `build`; changed in place.
            weights: one of `named_weights`, or a file.

        Raises:
            ValueError: the weights are unknown, damaged, or not of this network.
            ImportError: the package of the weights is not installed.
        """
        raise ValueError(self.unknown_weights(weights))

    def weights_source(self, weights: str) -> WeightsSource:
        """Describes weights: their origin and hash.

        Args:
            weights: value of `image_weights` or `audio_weights`.

        Returns:
            The source; its hash is that of the file.

        Raises:
            ValueError: the weights are neither named ones nor a file.
        """
        if not weights:
            return WeightsSource(self.name)
        path = pathlib.Path(weights)
        if not path.exists():
            raise ValueError(self.unknown_weights(weights))
        return WeightsSource(self.name, weights, "file", path_sha256(path))

    def unknown_weights(self, weights: str) -> str:
        """The message of an error about weights that the family does not accept."""
        endings = ", ".join((*self.file_endings, ".npz"))
        named = "".join(f", or '{name}'" for name in self.named_weights)
        return (
            f"Weights of the backbone {self.name} must be an existing file "
            f"({endings}){named}; received {weights!r}. Check the path or choose "
            "another backbone."
        )


@keras.saving.register_keras_serializable("advance_tf")
class FrozenTower(keras.Model):
    """A frozen tower, which computes in training what it computes in inference.

    Its dropout and stochastic depth are inactive, and its batch norms use their moving
    statistics, so that its embeddings can be computed once.
    """

    def call(
        self,
        inputs: tf.Tensor,
        training: bool | None = None,
        mask: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes the embedding [B, D]."""
        del training
        return super().call(inputs, training=False, mask=mask)


def pooled_tower(
    inputs: keras.KerasTensor, features: keras.KerasTensor, tower: str
) -> keras.Model:
    """Completes a tower: its embedding is the mean of its last feature map.

    Args:
        inputs: input of the tower.
        features: last feature map [B, h, w, D].
        tower: "image" or "audio".

    Returns:
        The tower, inputs → embedding [B, D].
    """
    x = layers.Identity(name=FEATURES)(features)
    embedding = layers.GlobalAveragePooling2D(name=EMBEDDING)(x)  # [B, D]
    return keras.Model(inputs, embedding, name=f"{tower}_tower")


def split_options(variant: str, known: Collection[str]) -> tuple[str, dict[str, str]]:
    """Splits "source,key=value,…" into the source and its options.

    Args:
        variant: what follows the family in the name of a backbone.
        known: names of the options of the family.

    Returns:
        The source, which may contain commas, and option → value.

    Raises:
        ValueError: an option is unknown or given twice.

    >>> split_options("perch.onnx,output=embedding", ["output"])
    ('perch.onnx', {'output': 'embedding'})
    """
    source, *rest = re.split(r",(?=\w+=)", variant)
    options: dict[str, str] = {}
    for text in rest:
        key, _, value = text.partition("=")
        if key not in known or key in options or not value:
            raise ValueError(
                f"The options of a backbone must be {', '.join(known)}, each once; "
                f"received {text!r} in {variant!r}. Write them as "
                "`<source>,option=value`."
            )
        options[key] = value
    return source, options


def whole_number(options: Mapping[str, str], key: str) -> int | None:
    """The value of an option that is a positive integer; None where it is not given.

    Raises:
        ValueError: the value is not a positive integer.
    """
    if key not in options:
        return None
    if not options[key].isdecimal() or int(options[key]) < 1:
        raise ValueError(
            f"{key} must be a positive integer; received {options[key]!r}. Correct the "
            "option of the backbone."
        )
    return int(options[key])


def arrays_sha256(arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of arrays: their shapes and their values as float32.

    >>> arrays_sha256([np.zeros(2)]) == arrays_sha256([np.zeros((2, 1))])
    False
    """
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array, "<f4").tobytes())
    return digest.hexdigest()
