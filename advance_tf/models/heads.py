"""The heads of the recognizer, from the towers' embeddings to the logits."""

from collections.abc import Mapping

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

from advance_tf import labels
from advance_tf.config import TRANSFERS, ModelConfig
from advance_tf.models.backbones.contract import TOWERS

SCENE_HEAD = "scene_head"
# The least variance that a feature is divided by, as a share of the mean variance. Half
# of YAMNet's features are almost 0 in all training pairs of a data set of some hundred;
# divided by their own deviation, they would dominate wherever they are not.
_LEAST_VARIANCE = 1e-2


@keras.saving.register_keras_serializable("advance_tf")
class EmbeddingNormalization(layers.Layer):
    """Standardizes each feature of an embedding: y = (x − μ) / σ.

    μ and σ² are weights that are not trained, 0 and 1 until `adapt` sets them.
    Unlike `keras.layers.Normalization`, the layer has no state beside its weights,
    so that restoring a checkpoint restores it.

    >>> layer = EmbeddingNormalization()
    >>> layer.adapt([[1.0, 5.0], [3.0, 5.0]])
    >>> layer(tf.constant([[3.0, 5.0]])).numpy().tolist()
    [[1.0, 0.0]]
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates mean and variance, [D]."""
        shape = (input_shape[-1],)
        self.mean = self.add_weight(
            shape=shape, initializer="zeros", trainable=False, name="mean"
        )
        self.variance = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="variance"
        )

    def adapt(self, embeddings: npt.ArrayLike) -> None:
        """Sets mean and variance to those of embeddings.

        Args:
            embeddings: float [n, D], those of the training pairs. A feature whose
                deviation is less than a tenth of the root mean square deviation of
                all features gets this tenth; all get 1 if all are constant.
        """
        values = np.asarray(embeddings, np.float64)
        if not hasattr(self, "mean"):
            self.build((None, values.shape[-1]))
        variance = values.var(axis=0)
        variance = np.maximum(variance, _LEAST_VARIANCE * variance.mean())
        self.mean.assign(values.mean(axis=0))
        self.variance.assign(np.where(variance > 0, variance, 1.0))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Standardizes [B, D]; the output has the same shape."""
        scale = tf.math.rsqrt(tf.cast(self.variance, inputs.dtype))
        return (inputs - tf.cast(self.mean, inputs.dtype)) * scale

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape


def _head_layers(model: ModelConfig, transfer: str) -> dict[str, layers.Layer]:
    """Creates the layers after the towers, by name."""
    if transfer not in TRANSFERS:
        raise ValueError(
            f"transfer must be one of {', '.join(TRANSFERS)}; received {transfer!r}. "
            "Choose one of these."
        )
    created: list[layers.Layer] = [layers.Concatenate(name="joined")]
    if model.normalize_embeddings:
        created += [
            EmbeddingNormalization(name=f"{tower}_normalization", dtype="float32")
            for tower in TOWERS
        ]
    if model.dropout:
        created.append(layers.Dropout(model.dropout, name="dropout"))
    if model.head_units:
        created.append(layers.Dense(model.head_units, "relu", name="hidden"))
    # The logits are float32 in every precision.
    created.append(layers.Dense(len(labels.scenes()), dtype="float32", name=SCENE_HEAD))
    if transfer.endswith(("_audio", "_audiovisual")):
        kind = transfer.partition("_")[2]
        created.append(
            layers.Dense(
                len(labels.events()), dtype="float32", name=f"{kind}_event_head"
            )
        )
    return {layer.name: layer for layer in created}


def connect_heads(
    image: keras.KerasTensor,
    audio: keras.KerasTensor,
    model: ModelConfig,
    transfer: str = "none",
) -> dict[str, keras.KerasTensor]:
    """Connects new heads to the embeddings of the towers.

        [normalize] → concatenate N_{v+a} → [dropout] → [hidden layer] → f_s, f_e

    The parts in brackets depend on the configuration. f_e of sq_audio and kl_audio is
    connected to the (normalized) audio embedding itself.

    Args:
        image: embedding of the image tower, [B, D_v].
        audio: embedding of the audio tower, [B, D_a].
        model: dropout, head_units and normalize_embeddings are used.
        transfer: determines the event head, as for `build_recognizer`.

    Returns:
        "scene_logits" [B, 13] and, depending on `transfer`, "audio_event_logits" or
        "audiovisual_event_logits" [B, 527].

    Raises:
        ValueError: the transfer is unknown.
    """
    created = _head_layers(model, transfer)
    embeddings = {"image": image, "audio": audio}
    if model.normalize_embeddings:
        for tower in TOWERS:
            embeddings[tower] = created[f"{tower}_normalization"](embeddings[tower])
    # [B, D_v + D_a]
    joint = created["joined"](list(embeddings.values()))
    for name in ("dropout", "hidden"):
        if name in created:
            joint = created[name](joint)
    # [B, 13]
    outputs = {"scene_logits": created[SCENE_HEAD](joint)}
    for kind, inputs in (("audio", embeddings["audio"]), ("audiovisual", joint)):
        if f"{kind}_event_head" in created:
            # [B, 527]
            outputs[f"{kind}_event_logits"] = created[f"{kind}_event_head"](inputs)
    return outputs


def build_heads(
    model: ModelConfig, sizes: Mapping[str, int], transfer: str = "none"
) -> keras.Model:
    """Builds the heads alone, to train them on embeddings.

    >>> heads = build_heads(ModelConfig(), {"image": 8, "audio": 4}, "kl_audio")
    >>> {name: logits.shape for name, logits in heads.output.items()}
    {'scene_logits': (None, 13), 'audio_event_logits': (None, 527)}

    Args:
        model: dropout, head_units and normalize_embeddings are used.
        sizes: "image" → D_v and "audio" → D_a.
        transfer: determines the event head, as for `build_recognizer`.

    Returns:
        A model of {"image": [B, D_v], "audio": [B, D_a]} → the outputs of
        `build_recognizer`. Its layers have the same names as there.

    Raises:
        ValueError: the transfer is unknown.
    """
    inputs = {tower: keras.Input((sizes[tower],), name=tower) for tower in TOWERS}
    outputs = connect_heads(inputs["image"], inputs["audio"], model, transfer)
    return keras.Model(inputs, outputs, name="heads")


def copy_heads(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of the heads to a model with layers of the same names.

    Args:
        source: a model of `build_heads`.
        target: a recognizer, or another model of `build_heads`; changed in place.
    """
    for layer in source.layers:
        if layer.weights:
            target.get_layer(layer.name).set_weights(layer.get_weights())


def embedding_model(recognizer: keras.Model) -> keras.Model:
    """The part of a recognizer from its inputs to the embeddings of its towers.

    Args:
        recognizer: a model of `build_recognizer`.

    Returns:
        A model of the recognizer's inputs → {"image": [B, D_v], "audio": [B, D_a]},
        before any normalization. It shares the weights of the towers.
    """
    names = {layer.name for layer in recognizer.layers}
    # `layer.input` is that of the first call, in the recognizer.
    found = recognizer.get_layer("joined").input
    if f"{TOWERS[0]}_normalization" in names:
        found = [recognizer.get_layer(f"{t}_normalization").input for t in TOWERS]
    return keras.Model(
        recognizer.input, dict(zip(TOWERS, found, strict=True)), name="embeddings"
    )


def dense_layers(
    model: keras.Model, output: str
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The matrices of a head, with the normalization of the embeddings included.

        W' = diag(1/σ) W,  b' = b − (μ/σ) W

    Args:
        model: a recognizer, or a model of `build_heads`.
        output: "scene_logits", "audio_event_logits" or "audiovisual_event_logits".

    Returns:
        (kernel [D, units], bias [units]) of each dense layer in order, float32: the
        hidden layer, if there is one and the head is on it, and the head. The inputs
        of the first are the embeddings that the head uses; ReLU is between the two.
    """
    present = {layer.name: layer for layer in model.layers}
    towers = ("audio",) if output == "audio_event_logits" else TOWERS
    names = [output.replace("_logits", "_head")]
    if "hidden" in present and len(towers) > 1:
        names.insert(0, "hidden")
    arrays = [
        [np.asarray(a, np.float64) for a in present[n].get_weights()] for n in names
    ]
    if f"{TOWERS[0]}_normalization" in present:
        moments = [present[f"{t}_normalization"].get_weights() for t in towers]
        mean, variance = (
            np.concatenate(parts).astype(np.float64)
            for parts in zip(*moments, strict=True)
        )
        kernel, bias = arrays[0]
        kernel = kernel / np.sqrt(variance)[:, None]
        arrays[0] = [kernel, bias - mean @ kernel]
    return [(k.astype(np.float32), b.astype(np.float32)) for k, b in arrays]
