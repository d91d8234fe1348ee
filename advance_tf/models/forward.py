"""The forward pass of a recognizer of ResNet towers, without a Keras model.

Building the Keras model of a run, loading its weights and calling its layers for the
first time takes several times as long as a prediction. `read_forward_pass` reads the
arrays of the weights file by the names of their layers; `ResNetForwardPass` computes
with them what the model of `build_recognizer` computes, operation by operation, so
that the logits are the same.
"""

import abc
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import MODALITIES, FeatureConfig, ModelConfig
from advance_tf.files import DAMAGED_FILE_ERRORS
from advance_tf.models.resnet import BLOCKS, BOTTLENECK_FROM, embedding_size

# Layer → its arrays, in the order of Keras: kernel and bias; or γ, β, mean, variance.
LayerArrays = Mapping[str, Sequence[np.ndarray]]
_Shapes = dict[str, list[tuple[int, ...]]]
_Tensors = Mapping[str, Sequence[tf.Tensor]]

TOWERS = {"image": "image_tower", "sound": "audio_tower"}
_SCENE_HEAD = "scene_head"
# Head → whether its input is the embedding of the sound alone.
_EVENT_HEADS = {"audio_event_head": True, "audiovisual_event_head": False}
_EPSILON = 1e-5
# Fields of `ModelConfig` that are read here, or have no effect after the training.
_FIELDS = {
    *("modality", "image_depth", "audio_depth", "image_width", "audio_width"),
    *("dropout", "image_weights", "audio_weights", "freeze_batch_norm"),
    *("image_frozen_stages", "audio_frozen_stages", "initialization"),
}


class ForwardPass(abc.ABC):
    """What computes the logits of a recognizer in place of its Keras model.

    Attributes:
        sizes: output name, such as "scene_logits" → number of its logits.
        sound_input: name of the input of sounds, "log_mel" or "waveform".
        takes_mask: whether it has the input "present", see `build_recognizer`.
    """

    sizes: dict[str, int]
    sound_input: str = "log_mel"
    takes_mask: bool = False

    @abc.abstractmethod
    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes the logits of a batch.

        Args:
            inputs: `image` [B, S, S, 3], levels 0..255, and `log_mel` [B, frames,
                mel_bins], normalized, or `waveform` [B, clip_samples]; zeros for a
                missing input. With a mask also `present` [B, 2].

        Returns:
            `scene_logits` [B, 13] and perhaps event logits [B, 527], float32, as of
            the recognizer; and, where they are computed, `image_embedding` [B, D_v]
            and `sound_embedding` [B, D_a] of the towers in use.
        """

    @abc.abstractmethod
    def embed(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes the embeddings of the towers in use.

        Args:
            inputs: as for a call.

        Returns:
            "image" → float32 [B, D_v] and "sound" → float32 [B, D_a], without a
            tower that is not in use.
        """


class ResNetForwardPass(ForwardPass):
    """A recognizer of ResNet towers on arrays.

    The first call runs operation by operation, which is faster than tracing a graph;
    later ones run a graph. Their logits differ by the rounding of float32.

    Args:
        towers: "image" and "sound" → arrays of the tower's layers.
        heads: arrays of `scene_head` and perhaps of an event head.
        model: `modality` and the depths are used.
        features: sizes of the inputs.
    """

    def __init__(
        self,
        towers: Mapping[str, LayerArrays],
        heads: LayerArrays,
        model: ModelConfig,
        features: FeatureConfig,
    ) -> None:
        self._towers = {kind: _constants(arrays) for kind, arrays in towers.items()}
        self._heads = _constants(heads)
        self._kinds: tuple[str, ...] = ("image", "sound")
        if model.modality != "both":
            self._kinds = (model.modality,)
        self._depths = {"image": model.image_depth, "sound": model.audio_depth}
        side = features.image_size
        self._shapes = {
            "image": (side, side, 3),
            "log_mel": (features.frames, features.mel_bins),
        }
        self._zero_embeddings: dict[str, tf.Tensor] = {}
        self._graph: Any = None
        self._calls = 0
        self.sizes = {
            _output_of(name): int(bias.shape[0]) for name, (_, bias) in heads.items()
        }

    def __call__(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes the logits of a batch; see `ForwardPass`."""
        given = {name: tf.constant(inputs[name], tf.float32) for name in self._shapes}
        self._calls += 1
        if self._calls >= 2 and self._graph is None:
            signature = {
                name: tf.TensorSpec((None, *shape), tf.float32, name)
                for name, shape in self._shapes.items()
            }
            self._graph = tf.function(
                self._logits, input_signature=[signature], autograph=False
            )
        found = (self._graph or self._logits)(given)
        return {name: logits.numpy() for name, logits in found.items()}

    def embed(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Computes the embeddings of the towers in use; see `ForwardPass`."""
        given = {name: tf.constant(inputs[name], tf.float32) for name in self._shapes}
        found = self._embeddings(given)
        return {kind: found[kind].numpy() for kind in self._kinds}

    def _embeddings(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Embeddings [B, D] of both towers; that of zeros for one not in use."""
        # [B, S, S, 3] and [B, frames, mel_bins, 1]
        maps = {"image": inputs["image"], "sound": inputs["log_mel"][..., None]}
        found = {}
        for kind, given in maps.items():
            if kind in self._kinds:
                found[kind] = self._tower(kind, given)
                continue
            if kind not in self._zero_embeddings:
                with tf.init_scope():
                    zeros = tf.zeros((1, *given.shape[1:]))
                    self._zero_embeddings[kind] = self._tower(kind, zeros)
            batch = tf.shape(given)[0]
            found[kind] = tf.repeat(self._zero_embeddings[kind], batch, axis=0)
        return found

    def _tower(self, kind: str, maps: tf.Tensor) -> tf.Tensor:
        stride = 2 if kind == "image" else 1
        return _resnet(self._towers[kind], maps, self._depths[kind], stride)

    def _logits(self, inputs: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        embeddings = self._embeddings(inputs)
        # [B, D_v + D_a]
        joint = tf.concat([embeddings["image"], embeddings["sound"]], axis=1)
        logits = {f"{kind}_embedding": embeddings[kind] for kind in self._kinds}
        for name, (kernel, bias) in self._heads.items():
            embedding = embeddings["sound"] if _EVENT_HEADS.get(name) else joint
            # [B, 13] or [B, 527]
            logits[_output_of(name)] = tf.matmul(embedding, kernel) + bias
        return logits


def _output_of(head: str) -> str:
    return head.replace("_head", "_logits")


def _constants(arrays: LayerArrays) -> dict[str, list[tf.Tensor]]:
    return {
        name: [tf.constant(array) for array in values]
        for name, values in arrays.items()
    }


def _norm_of(convolution: str) -> str:
    """The batch normalization after a convolution.

    >>> _norm_of("layer1_0_conv2"), _norm_of("layer1_0_downsample_0")
    ('layer1_0_bn2', 'layer1_0_downsample_1')
    """
    return convolution.replace("conv", "bn").replace("sample_0", "sample_1")


def _convolve(
    tensors: _Tensors, maps: tf.Tensor, name: str, stride: int = 1
) -> tf.Tensor:
    """Convolution and batch normalization, [B, H, W, C] → [B, H', W', filters]."""
    (kernel,) = tensors[name]
    sides = [kernel.shape[0] // 2] * 2
    padding = [[0, 0], sides, sides, [0, 0]] if sides[0] else "VALID"
    maps = tf.nn.conv2d(maps, kernel, stride, padding)
    gamma, beta, mean, variance = tensors[_norm_of(name)]
    return tf.compat.v1.nn.fused_batch_norm(
        maps, gamma, beta, mean, variance, _EPSILON, is_training=False
    )[0]


def _resnet(tensors: _Tensors, maps: tf.Tensor, depth: int, stride: int) -> tf.Tensor:
    """The tower of `build_resnet`: [B, H, W, C] → embedding [B, D]."""
    x = tf.nn.relu(_convolve(tensors, maps, "conv1", stride))
    x = tf.nn.max_pool2d(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), 3, 2, "VALID")
    steps = 3 if depth >= BOTTLENECK_FROM else 2
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            prefix = f"layer{stage + 1}_{block}"
            # The stride is in the 3×3 convolution: the first of basic blocks, the
            # second of bottlenecks.
            strides = [1] * steps
            strides[steps - 2] = stride = 2 if stage > 0 and block == 0 else 1
            shortcut = x
            if f"{prefix}_downsample_0" in tensors:
                if stride > 1:
                    shortcut = tf.nn.max_pool2d(shortcut, 1, stride, "VALID")
                shortcut = _convolve(tensors, shortcut, f"{prefix}_downsample_0")
            for number, step in enumerate(strides, 1):
                x = _convolve(tensors, x, f"{prefix}_conv{number}", step)
                if number < steps:
                    x = tf.nn.relu(x)
            x = tf.nn.relu(x + shortcut)
    return tf.reduce_mean(x, axis=[1, 2])


def _tower_shapes(depth: int, width: int, channels: int) -> _Shapes:
    """Layer → shapes of its arrays, of a tower of `build_resnet`."""
    shapes: _Shapes = {}

    def add(name: str, side: int, inputs: int, outputs: int) -> None:
        shapes[name] = [(side, side, inputs, outputs)]
        shapes[_norm_of(name)] = [(outputs,)] * 4

    add("conv1", 7, channels, width)
    inputs = width
    for stage, blocks in enumerate(BLOCKS[depth]):
        middle = width * 2**stage
        bottleneck = depth >= BOTTLENECK_FROM
        outputs = 4 * middle if bottleneck else middle
        for block in range(blocks):
            prefix = f"layer{stage + 1}_{block}"
            if bottleneck:
                add(f"{prefix}_conv1", 1, inputs, middle)
                add(f"{prefix}_conv2", 3, middle, middle)
                add(f"{prefix}_conv3", 1, middle, outputs)
            else:
                add(f"{prefix}_conv1", 3, inputs, middle)
                add(f"{prefix}_conv2", 3, middle, middle)
            if block == 0 and (stage > 0 or inputs != outputs):
                add(f"{prefix}_downsample_0", 1, inputs, outputs)
            inputs = outputs
    return shapes


def _head_shapes(model: ModelConfig, heads: LayerArrays) -> _Shapes:
    """Head → shapes of its kernel and bias, for the heads of the file."""
    sound = embedding_size(model.audio_depth, model.audio_width)
    joint = embedding_size(model.image_depth, model.image_width) + sound
    shapes: _Shapes = {}
    for name in {_SCENE_HEAD, *(heads.keys() & _EVENT_HEADS)}:
        outputs = len(labels.scenes() if name == _SCENE_HEAD else labels.events())
        inputs = sound if _EVENT_HEADS.get(name) else joint
        shapes[name] = [(inputs, outputs), (outputs,)]
    return shapes


def _is_resnet(model: ModelConfig) -> bool:
    """Whether every setting of a model is one that this module computes."""
    others = [f for f in dataclasses.fields(model) if f.name not in _FIELDS]
    # A field of a later version has no effect at the value of earlier runs.
    return model.modality in MODALITIES and all(
        getattr(model, field.name) == field.metadata["before"] for field in others
    )


def read_layer_arrays(path: pathlib.Path) -> dict[str, dict[str, list[np.ndarray]]]:
    """Reads a weights file of Keras by the names of the layers.

    Args:
        path: a `.weights.h5` file of a functional model, of layers and of functional
            models of layers.

    Returns:
        Name of the inner model, "" for layers of the outer one → layer → its
        arrays; without layers that have none.

    Raises:
        OSError: the file cannot be read.
        KeyError: it is not a weights file of Keras with the names of the layers.
    """
    import h5py

    found: dict[str, dict[str, list[np.ndarray]]] = {}

    def read(group: Any, model: str) -> None:
        for layer in group["layers"].values():
            if "layers" in layer:
                read(layer, str(layer["vars"].attrs["name"]))
            elif "vars" in layer and len(layer["vars"]):
                values = layer["vars"]
                arrays = [_view(values[str(k)], contents) for k in range(len(values))]
                found.setdefault(model, {})[str(values.attrs["name"])] = arrays

    with h5py.File(path) as file:
        # Views of the mapped file, which are copied once, into tensors.
        contents = np.memmap(path, np.uint8, "r")
        read(file, "")
    return found


def _view(dataset: Any, contents: np.ndarray) -> np.ndarray:
    """The array of a data set as a view of the file, or read where it is not plain."""
    start = dataset.id.get_offset()
    if start is None or dataset.dtype != np.dtype("<f4"):
        return np.asarray(dataset[()])
    values = contents[start : start + 4 * dataset.size].view("<f4")
    return values.reshape(dataset.shape)


def read_forward_pass(
    path: pathlib.Path, model: ModelConfig, features: FeatureConfig
) -> ResNetForwardPass | None:
    """Reads the weights of a recognizer for its forward pass.

    Args:
        path: `best.weights.h5` of a run.
        model: settings of its model.
        features: sizes of its inputs.

    Returns:
        The forward pass; None if the file does not hold exactly the arrays of a
        recognizer of ResNet towers with these settings: then the Keras model must be
        built, whose loading states what is wrong with a damaged file.
    """
    if not _is_resnet(model):
        return None
    try:
        found = read_layer_arrays(path)
    except (*DAMAGED_FILE_ERRORS, OSError):
        return None
    heads = found.pop("", {})
    expected = {
        TOWERS["image"]: _tower_shapes(model.image_depth, model.image_width, 3),
        TOWERS["sound"]: _tower_shapes(model.audio_depth, model.audio_width, 1),
    }
    if {name: _shapes(arrays) for name, arrays in found.items()} != expected:
        return None
    if _shapes(heads) != _head_shapes(model, heads):
        return None
    towers = {kind: found[name] for kind, name in TOWERS.items()}
    return ResNetForwardPass(towers, heads, model, features)


def _shapes(arrays: LayerArrays) -> _Shapes:
    return {name: [a.shape for a in values] for name, values in arrays.items()}
