"""Networks in files as towers: `file:` and a `.keras`, SavedModel, LiteRT or ONNX."""

import hashlib
import math
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from advance_tf.checksums import path_sha256
from advance_tf.config import (
    RANDOM_WEIGHTS,
    WHOLE_TOWER,
    FeatureConfig,
    ModelConfig,
)
from advance_tf.models.backbones.contract import (
    EMBEDDING,
    IMAGENET_MEAN,
    IMAGENET_STD,
    Backbone,
    WeightsSource,
    pooled_tower,
    split_options,
    whole_number,
)
from advance_tf.models.backbones.network_files import (
    FORMATS,
    NetworkFile,
    Shape,
    network_paths,
    open_network,
)
from advance_tf.models.backbones.resizing import Resize

OPTIONS = ("output", "signature", "levels", "size", "sample_rate_hz", "clip_samples")
# Value of `levels` → scale and offset of levels 0..255.
LEVELS: Mapping[str, tuple[Any, Any]] = {
    "byte": (1.0, 0.0),
    "unit": (1 / 255, 0.0),
    "signed": (1 / 127.5, -1.0),
    "imagenet": (
        (1 / (255 * IMAGENET_STD)).tolist(),
        (-IMAGENET_MEAN / IMAGENET_STD).tolist(),
    ),
}
_OWN_ENGINE = (
    "the file runs in an engine of its own, which an export cannot contain. Predict "
    "with the run itself (`load_model`), or use the network as a .keras file or a "
    "SavedModel"
)
_GRAPH = (
    "the operations of a SavedModel need TensorFlow. Export a SavedModel, or use the "
    "network as a .keras file"
)
NO_EXPORT: Mapping[str, Mapping[str, str]] = {
    ".keras": {},
    "": {"LiteRT": _GRAPH, "ONNX": _GRAPH},
    ".tflite": dict.fromkeys(("SavedModel", "LiteRT", "ONNX"), _OWN_ENGINE),
    ".onnx": dict.fromkeys(("SavedModel", "LiteRT", "ONNX"), _OWN_ENGINE),
}


@keras.saving.register_keras_serializable("advance_tf")
class FileEncoder(layers.Layer):
    """The output of a network in a file, as one vector for each input.

    An output with more than two axes is averaged over the axes between the batch and
    the last. A network that takes one input at a time is called for each in turn.

    Args:
        path: the file, or the folder of a SavedModel.
        output: name of the output.
        sha256: hash of the file.
        size: length of the vector; None to measure it.
        signature: name of the signature, see `open_network`.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        path: str,
        output: str,
        sha256: str,
        size: int | None = None,
        signature: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**kwargs, "dtype": "float32", "trainable": False})
        self.supports_jit = False
        self.file, self.output_name, self.sha256 = path, output, sha256
        self.size, self.signature = size, signature
        self._network = open_network(pathlib.Path(path), signature)

    def build(self, input_shape: Shape) -> None:
        """Measures the length of the vector with an input of zeros."""
        if self.size is None:
            zeros = np.zeros([1, *(size or 1 for size in input_shape[1:])], np.float32)
            self.size = int(self._vectors(zeros).shape[-1])
        self.built = True

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Computes vectors [B, D] of inputs [B, …]."""
        if self._network.in_graph:
            return tf.ensure_shape(self._vectors(inputs), (None, self.size))
        found = tf.numpy_function(self._vectors, [inputs], tf.float32)
        return tf.ensure_shape(found, (None, self.size))

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Returns (B, D)."""
        if self.size is None:
            self.build(input_shape)
        return (input_shape[0], self.size)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        settings: dict[str, Any] = {"path": self.file, "output": self.output_name}
        settings |= {"sha256": self.sha256, "size": self.size}
        settings["signature"] = self.signature
        return {**super().get_config(), **settings}

    def _vectors(self, inputs: Any) -> Any:
        network = self._network
        own_shape = network.input_shape
        if len(own_shape) == len(inputs.shape) and own_shape[0] is None:
            return _mean_vectors(network.compute(inputs, self.output_name), True)
        if network.in_graph:
            return tf.map_fn(self._vector, inputs, tf.TensorSpec((self.size,)))
        return np.stack([np.asarray(self._vector(one)) for one in inputs])

    def _vector(self, one: Any) -> Any:
        """The vector [D] of one input."""
        has_batch = len(self._network.input_shape) > len(one.shape)
        found = self._network.compute(one[None] if has_batch else one, self.output_name)
        vector = _mean_vectors(found, False)
        return vector


def _mean_vectors(values: Any, batched: bool) -> Any:
    """[B, …, D] → [B, D], or […, D] → [D]."""
    axes = tuple(range(int(batched), len(values.shape) - 1))
    if not axes:
        return values
    mean = tf.reduce_mean if isinstance(values, tf.Tensor) else np.mean
    return mean(values, axes)


class FileTower(Backbone):
    """`file:<path>[,option=value]…`: a network of one image or of one waveform.

    The options are `output`, the name of the output, or in a `.keras` file also of a
    layer; `signature` of a SavedModel or a `.tflite` file with several; of images,
    `levels`, what the network expects, and `size` in pixels; of sounds,
    `sample_rate_hz` of the network, and `clip_samples`, the length of its input. The
    sizes are needed where the file does not state them. Only a `.keras` file can be
    trained.
    """

    towers = ("image", "audio")
    sound_input = "waveform"
    default_weights = "file"
    has_variants = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        source, self.options = split_options(self.variant, OPTIONS)
        self.path = pathlib.Path(source)
        self.ending = "" if self.path.is_dir() else self.path.suffix
        self.no_export = NO_EXPORT.get(self.ending, {})
        if self.options.get("levels", "byte") not in LEVELS:
            raise ValueError(
                f"levels must be one of {', '.join(LEVELS)}; received "
                f"{self.options['levels']!r}. Choose what the network expects."
            )

    def check(self, tower: str, model: ModelConfig, features: FeatureConfig) -> None:
        """Builds the tower: only its outputs show whether it fits."""
        stages = getattr(model, f"{tower}_frozen_stages")
        if self.ending in FORMATS and stages != WHOLE_TOWER:
            raise ValueError(
                f"{tower}_frozen_stages must be {WHOLE_TOWER} with {self.path}, which "
                f"cannot be trained; received {stages}. Freeze the tower, or use a "
                ".keras file."
            )
        self.build(tower, model, features)

    def build(
        self, tower: str, model: ModelConfig, features: FeatureConfig
    ) -> keras.Model:
        """Builds the tower; see `Backbone.build`."""
        self._check_path()
        network: keras.Model | NetworkFile
        signature = self.options.get("signature", "")
        if self.ending == ".keras":
            if signature:
                raise ValueError(
                    f"signature must be left out for {self.path}, which has none; "
                    f"received {signature!r}. Remove the option."
                )
            network, shape = self._load_keras()
            if getattr(model, f"{tower}_weights") == RANDOM_WEIGHTS:
                network = keras.models.clone_model(network)
        else:
            network = open_network(self.path, signature)
            shape = network.input_shape
        if tower == "image":
            inputs, x = self._image_input(shape, features)
        else:
            inputs, x = self._sound_input(shape, features)
        if isinstance(network, keras.Model):
            x = network(x)
        else:
            output = self._output(network.outputs)
            encoder = FileEncoder(
                str(self.path),
                output,
                self._sha256(),
                signature=signature,
                name="network",
            )
            x = encoder(x)
        return self._pool(inputs, x, tower)

    def _pool(
        self, inputs: keras.KerasTensor, x: keras.KerasTensor, tower: str
    ) -> keras.Model:
        """Completes the tower: [B · windows, D] or a feature map → [B, D]."""
        windows = self._windows if tower == "audio" else 1
        if tower == "image" and len(x.shape) == 4:
            return pooled_tower(inputs, x, tower)
        for axis in range(1, len(x.shape) - 1):
            del axis
            x = keras.ops.mean(x, axis=1)
        if windows > 1:
            x = keras.ops.reshape(x, (-1, windows, x.shape[-1]))
            x = keras.ops.mean(x, axis=1)
        embedding = layers.Identity(name=EMBEDDING)(x)
        return keras.Model(inputs, embedding, name=f"{tower}_tower")

    def load_weights(self, tower: keras.Model, weights: str) -> None:
        """Accepts "file" alone: `build` has the weights already."""
        if weights != self.default_weights:
            raise ValueError(self._has_weights(weights))

    def weights_source(self, weights: str) -> WeightsSource:
        """The file and its hash; "" are random weights."""
        if weights not in ("", self.default_weights):
            raise ValueError(self._has_weights(weights))
        self._check_path()
        if not weights:
            return super().weights_source(weights)
        return WeightsSource(self.name, weights, "file", self._sha256())

    def check_weights(self, tower: str, model: ModelConfig) -> None:
        """Refuses random weights where the file cannot be trained."""
        if getattr(model, f"{tower}_weights") == RANDOM_WEIGHTS and (
            self.ending in FORMATS
        ):
            raise ValueError(
                f"{tower}_weights must not be {RANDOM_WEIGHTS!r} with {self.path}, "
                "which cannot be trained. Leave the weights of this tower empty, or "
                "use a .keras file."
            )

    def _sha256(self) -> str:
        """The hash of the file, together with those of the weights beside it."""
        hashes = [path_sha256(path) for path in network_paths(self.path)]
        if len(hashes) == 1:
            return hashes[0]
        return hashlib.sha256("".join(hashes).encode()).hexdigest()

    def store(self, folder: pathlib.Path) -> None:
        """Copies the file, and of ONNX the weights beside it."""
        folder.mkdir(parents=True)
        copy = shutil.copytree if self.path.is_dir() else shutil.copyfile
        for path in network_paths(self.path):
            copy(path, folder / path.name)

    def stored_name(self, folder: pathlib.Path) -> str:
        """The name of the copy; see `Backbone.stored_name`."""
        name = f"file:{folder / self.path.name}"
        return ",".join([name, *(f"{key}={v}" for key, v in self.options.items())])

    def absolute_name(self) -> str:
        """The name with the absolute path of the file."""
        return self.stored_name(self.path.absolute().parent)

    def _check_path(self) -> None:
        known = self.path.is_dir() or self.ending in set(NO_EXPORT) - {""}
        if not known or not self.path.exists():
            raise ValueError(
                "A backbone file:<path> must be an existing .keras, .tflite or .onnx "
                f"file or the folder of a SavedModel; received {str(self.path)!r}. "
                "Check the path."
            )

    def _has_weights(self, weights: str) -> str:
        return (
            f"A backbone file:<path> holds its weights; received {weights!r}. Leave "
            "the weights of this tower empty."
        )

    def _load_keras(self) -> tuple[keras.Model, Shape]:
        """The network up to the chosen output, and the shape of its input."""
        try:
            network = keras.models.load_model(self.path, compile=False)
            given = network.inputs
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{self.path} must be a functional model of Keras; reading it failed: "
                f"{str(error).splitlines()[0]} Save it again."
            ) from error
        if len(given) != 1:
            raise ValueError(self._unfit([tuple(x.shape) for x in given]))
        outputs = dict(zip(network.output_names, network.outputs, strict=True))
        if len(outputs) == 1 and "output" not in self.options:
            (output,) = outputs.values()
        else:
            named = {layer.name: layer.output for layer in network.layers} | outputs
            output = named[self._output(list(named), needed=list(outputs))]
        found = keras.Model(given[0], output, name="network")
        return found, tuple(given[0].shape)

    def _output(self, names: list[str] | Any, needed: list[str] | None = None) -> str:
        """The chosen output, or the only one."""
        chosen = self.options.get("output", "")
        if not chosen and len(needed or names) == 1:
            return str((needed or names)[0])
        if chosen not in names:
            received = repr(chosen) if chosen else "none"
            raise ValueError(
                f"output must be one of {', '.join(names)} for {self.path}; received "
                f"{received}. Choose one with `file:<path>,output=<name>`."
            )
        return chosen

    def _unfit(self, shape: Any) -> str:
        return (
            f"{self.path} must take one image [height, width, 3] or one waveform "
            f"[samples]; its input is {shape}. Export it with such an input."
        )

    def _image_input(
        self, shape: Shape, features: FeatureConfig
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Levels, and what the network takes: resized, rescaled, channels in place."""
        if len(shape) not in (3, 4) or 3 not in (shape[-1], shape[-3]):
            raise ValueError(self._unfit(shape))
        first = shape[-1] != 3
        sizes = shape[-2:] if first else shape[-3:-1]
        size = whole_number(self.options, "size")
        side = features.image_size
        height, width = (own or size or side for own in sizes)
        if size and (height, width) != (size, size):
            raise ValueError(
                f"size must be that of the file, {height} x {width}; received {size}. "
                "Leave the option out."
            )
        levels = keras.Input((side, side, 3), name="levels")
        x = levels
        if (height, width) != (side, side):
            x = Resize(height, width, name="resized")(x)
        scale, offset = LEVELS[self.options.get("levels", "byte")]
        if scale != 1.0:
            x = layers.Rescaling(scale, offset, name="preprocessed")(x)
        return levels, layers.Permute((3, 1, 2))(x) if first else x

    def _sound_input(
        self, shape: Shape, features: FeatureConfig
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Clip, and the windows of it that the network takes: [B · windows, n]."""
        channel = len(shape) == 3 and shape[-1] == 1
        if len(shape) not in (1, 2) and not channel:
            raise ValueError(self._unfit(shape))
        rate = whole_number(self.options, "sample_rate_hz") or features.sample_rate_hz
        if rate != features.sample_rate_hz:
            raise ValueError(
                f"sample_rate_hz must be {rate} for {self.path}; received "
                f"{features.sample_rate_hz}. Use this rate or another backbone."
            )
        samples = features.clip_samples
        stated = shape[-2] if channel else shape[-1]
        own = stated or whole_number(self.options, "clip_samples") or samples
        clip = keras.Input((samples,), name="clip")
        x = clip
        self._windows = math.ceil(samples / own)
        if own > samples:
            x = keras.ops.pad(x, ((0, 0), (0, own - samples)))
        elif own < samples:
            # The windows cover the clip; the last begins so that it ends with it.
            starts = [
                round(k * (samples - own) / (self._windows - 1))
                for k in range(self._windows)
            ]
            x = keras.ops.stack([x[:, s : s + own] for s in starts], axis=1)
            x = keras.ops.reshape(x, (-1, own))
        return clip, keras.ops.expand_dims(x, -1) if channel else x
