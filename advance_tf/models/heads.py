"""The heads of the recognizer, from the towers' embeddings to the logits."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from keras import layers

from advance_tf import labels
from advance_tf.config import TRANSFERS, ModelConfig
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.embedding_distance import divided_variance
from advance_tf.models.initialization import dense

SCENE_HEAD = "scene_head"
# The input of a model with `modality_dropout`: 1 for an input that is there, else 0;
# columns image and sound.
PRESENT = "present"

InferenceFunction = Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]]


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
        self.mean.assign(values.mean(axis=0))
        self.variance.assign(divided_variance(values.var(axis=0)))

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Standardizes [B, D]; the output has the same shape."""
        scale = tf.math.rsqrt(tf.cast(self.variance, inputs.dtype))
        return (inputs - tf.cast(self.mean, inputs.dtype)) * scale

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape


@keras.saving.register_keras_serializable("advance_tf")
class AbsentEmbedding(layers.Layer):
    """Replaces the embedding of an absent input by a trained vector a.

        e' = e where the input is present, a where it is not

    a is zeros at first. An embedding that is replaced has no effect, whatever it is.

    >>> layer = AbsentEmbedding(column=1)
    >>> present = tf.constant([[1.0, 1.0], [1.0, 0.0]])
    >>> layer(tf.constant([[2.0, 3.0], [4.0, 5.0]]), present).numpy().tolist()
    [[2.0, 3.0], [0.0, 0.0]]

    Args:
        column: column of the input in the mask, 0 for the image and 1 for the sound.
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, column: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.column = column

    def build(
        self,
        embedding_shape: tuple[int | None, ...],
        present_shape: tuple[int | None, ...],
    ) -> None:
        """Creates the vector a, [D]."""
        self.absent = self.add_weight(
            shape=(embedding_shape[-1],), initializer="zeros", name="absent"
        )

    def call(self, embedding: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
        """Returns [B, D] for embeddings [B, D] and the mask [B, 2] of 0 and 1."""
        here = present[:, self.column : self.column + 1] > 0.5  # [B, 1]
        return tf.where(here, embedding, tf.cast(self.absent, embedding.dtype))

    def compute_output_shape(
        self,
        embedding_shape: tuple[int | None, ...],
        present_shape: tuple[int | None, ...],
    ) -> tuple[int | None, ...]:
        """Returns the shape of the embedding."""
        return embedding_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "column": self.column}


def connect_heads(
    image: keras.KerasTensor,
    audio: keras.KerasTensor,
    model: ModelConfig,
    transfer: str = "none",
    present: keras.KerasTensor | None = None,
) -> dict[str, keras.KerasTensor]:
    """Connects new heads to the embeddings of the towers.

        [normalize] → [replace absent] → concatenate N_{v+a}, [mask] → [dropout] →
        [hidden layer] → f_s, f_e

    The parts in brackets depend on the configuration. f_e of sq_audio and kl_audio is
    connected to the audio embedding before the concatenation: normalized with
    normalize_embeddings, and replaced where the sound is absent with modality_dropout.

    Args:
        image: embedding of the image tower, [B, D_v].
        audio: embedding of the audio tower, [B, D_a].
        model: dropout, head_units, normalize_embeddings, modality_dropout and
            initialization are used.
        transfer: determines the event head, as for `build_recognizer`.
        present: mask of the inputs, [B, 2]; needed with modality_dropout above 0.

    Returns:
        "scene_logits" [B, 13] and, depending on `transfer`, "audio_event_logits" or
        "audiovisual_event_logits" [B, 527].

    Raises:
        ValueError: the transfer is unknown.
    """
    if transfer not in TRANSFERS:
        raise ValueError(
            f"transfer must be one of {', '.join(TRANSFERS)}; received {transfer!r}. "
            "Choose one of these."
        )
    embeddings = {"image": image, "audio": audio}
    if model.normalize_embeddings:
        for tower in TOWERS:
            embeddings[tower] = EmbeddingNormalization(
                name=f"{tower}_normalization", dtype="float32"
            )(embeddings[tower])
    parts = list(embeddings.values())
    if present is not None:
        for column, tower in enumerate(TOWERS):
            embeddings[tower] = AbsentEmbedding(
                column, name=f"{tower}_absent", dtype="float32"
            )(embeddings[tower], present)
        parts = [*embeddings.values(), present]
    # [B, D_v + D_a], with a mask [B, D_v + D_a + 2]
    joint = layers.Concatenate(name="joined")(parts)
    if model.dropout:
        joint = layers.Dropout(model.dropout, name="dropout")(joint)

    def apply(
        inputs: keras.KerasTensor, units: int, **settings: Any
    ) -> keras.KerasTensor:
        return dense(inputs, units, model.initialization, **settings)(inputs)

    if model.head_units:
        joint = apply(joint, model.head_units, activation="relu", name="hidden")
    # The logits are float32 in every precision: [B, 13] and [B, 527].
    scenes, events = len(labels.scenes()), len(labels.events())
    outputs = {"scene_logits": apply(joint, scenes, dtype="float32", name=SCENE_HEAD)}
    for kind, inputs in (("audio", embeddings["audio"]), ("audiovisual", joint)):
        if transfer.endswith(f"_{kind}"):
            outputs[f"{kind}_event_logits"] = apply(
                inputs, events, dtype="float32", name=f"{kind}_event_head"
            )
    return outputs


def build_heads(
    model: ModelConfig, sizes: Mapping[str, int], transfer: str = "none"
) -> keras.Model:
    """Builds the heads alone, to train them on embeddings.

    >>> heads = build_heads(ModelConfig(), {"image": 8, "audio": 4}, "kl_audio")
    >>> {name: logits.shape for name, logits in heads.output.items()}
    {'scene_logits': (None, 13), 'audio_event_logits': (None, 527)}

    Args:
        model: dropout, head_units, normalize_embeddings and modality_dropout are used.
        sizes: "image" → D_v and "audio" → D_a.
        transfer: determines the event head, as for `build_recognizer`.

    Returns:
        A model of {"image": [B, D_v], "audio": [B, D_a]}, and "present" [B, 2] with
        modality_dropout, → the outputs of `build_recognizer`. Its layers have the same
        names as there.

    Raises:
        ValueError: the transfer is unknown.
    """
    inputs = {tower: keras.Input((sizes[tower],), name=tower) for tower in TOWERS}
    present = mask_input(model)
    outputs = connect_heads(inputs["image"], inputs["audio"], model, transfer, present)
    if present is not None:
        inputs[PRESENT] = present
    return keras.Model(inputs, outputs, name="heads")


def mask_input(model: ModelConfig) -> keras.KerasTensor | None:
    """The input of the mask, [B, 2]; None for a model without modality_dropout."""
    return keras.Input((len(TOWERS),), name=PRESENT) if model.modality_dropout else None


def takes_mask(model: keras.Model) -> bool:
    """Whether a recognizer, or a model of `build_heads`, has the input "present"."""
    return PRESENT in model.input


def with_mask(
    model: keras.Model, inputs: Mapping[str, Any], mask: npt.ArrayLike = (1.0, 1.0)
) -> dict[str, Any]:
    """Completes or limits inputs to those of a model with or without a mask.

    >>> heads = build_heads(ModelConfig(), {"image": 8, "audio": 4})
    >>> sorted(with_mask(heads, {"image": np.zeros((1, 8)), "audio": np.zeros((1, 4))}))
    ['audio', 'image']

    Args:
        model: a recognizer, or a model of `build_heads`.
        inputs: input name → [B, ...], with or without "present".
        mask: 1 or 0 for image and sound, for inputs without "present".

    Returns:
        The inputs, with "present" [B, 2] if and only if the model has this input.
    """
    own = {name: values for name, values in inputs.items() if name != PRESENT}
    if not takes_mask(model):
        return own
    # Keras accepts no mixture of tensors and arrays.
    own = {name: tf.convert_to_tensor(values) for name, values in own.items()}
    if PRESENT in inputs:
        return {**own, PRESENT: tf.convert_to_tensor(inputs[PRESENT])}
    batch = tf.shape(next(iter(own.values())))[0]
    return {**own, PRESENT: tf.tile(tf.constant([mask], tf.float32), [batch, 1])}


def copy_heads(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of the layers that two models have by the same names.

    Args:
        source: a model of `build_heads`, or a recognizer.
        target: the other of these, or another model of `build_heads`; changed in
            place.
    """
    names = {layer.name for layer in target.layers}
    for layer in source.layers:
        if layer.weights and layer.name in names:
            target.get_layer(layer.name).set_weights(layer.get_weights())


def embedding_model(recognizer: keras.Model) -> keras.Model:
    """The part of a recognizer from its inputs to the embeddings of its towers.

    Args:
        recognizer: a model of `build_recognizer`.

    Returns:
        A model of the recognizer's inputs → {"image": [B, D_v], "audio": [B, D_a]},
        before any normalization and without a mask. It shares the weights of the
        towers.
    """
    names = {layer.name for layer in recognizer.layers}
    # `layer.input` is that of the first call, in the recognizer.
    found = recognizer.get_layer("joined").input
    if f"{TOWERS[0]}_normalization" in names:
        found = [recognizer.get_layer(f"{t}_normalization").input for t in TOWERS]
    elif f"{TOWERS[0]}_absent" in names:
        found = [recognizer.get_layer(f"{t}_absent").input[0] for t in TOWERS]
    inputs = {k: x for k, x in recognizer.input.items() if k != PRESENT}
    return keras.Model(inputs, dict(zip(TOWERS, found, strict=True)), name="embeddings")


def heads_model(recognizer: keras.Model) -> keras.Model:
    """The part of a recognizer from the embeddings of its towers to its outputs.

    Args:
        recognizer: a model of `build_recognizer`.

    Returns:
        A model of {"image": [B, D_v], "audio": [B, D_a]}, and "present" [B, 2] with
        modality_dropout, → the recognizer's outputs. It shares the weights.
    """
    inputs = dict(embedding_model(recognizer).output)
    if takes_mask(recognizer):
        inputs[PRESENT] = recognizer.input[PRESENT]
    with warnings.catch_warnings():
        # The tensors are those of the recognizer and have other names.
        warnings.filterwarnings("ignore", message="When providing `inputs` as a dict")
        return keras.Model(inputs, recognizer.output, name="heads")


def absent_embeddings(model: keras.Model) -> dict[str, np.ndarray]:
    """What the heads use in place of the embedding of an absent input.

        a' = a σ + μ

    Args:
        model: a recognizer with a mask, or such a model of `build_heads`.

    Returns:
        "image" → float32 [D_v] and "audio" → float32 [D_a], before normalization.
    """
    present = {layer.name: layer for layer in model.layers}
    found = {}
    for tower in TOWERS:
        (absent,) = present[f"{tower}_absent"].get_weights()
        if f"{tower}_normalization" in present:
            mean, variance = present[f"{tower}_normalization"].get_weights()
            absent = absent.astype(np.float64) * np.sqrt(variance) + mean
        found[tower] = absent.astype(np.float32)
    return found


def dense_layers(
    model: keras.Model, output: str, mask: tuple[float, float] = (1.0, 1.0)
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The matrices of a head, with the normalization of the embeddings included.

        W' = diag(1/σ) W,  b' = b − (μ/σ) W + m W_m

    Args:
        model: a recognizer, or a model of `build_heads`.
        output: "scene_logits", "audio_event_logits" or "audiovisual_event_logits".
        mask: m, 1 or 0 for image and sound; W_m are the rows of W for the mask.

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
    if f"{TOWERS[0]}_absent" in present and len(towers) > 1:
        kernel, bias = arrays[0]
        kernel, of_mask = kernel[: -len(mask)], kernel[-len(mask) :]
        arrays[0] = [kernel, bias + np.asarray(mask) @ of_mask]
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


def inference_function(model: keras.Model) -> InferenceFunction:
    """A graph function that runs a model in inference mode, on one replica.

    `Model.predict_on_batch` runs the whole batch on every replica of the strategy in
    whose scope the model was built, and concatenates the outputs of all; in a cluster
    every process must take part.

    Args:
        model: model with named inputs and outputs.

    Returns:
        Function of input name → [B, ...] that returns output name → [B, ...].
    """
    # The last batch has a size of its own.
    return tf.function(
        lambda inputs: model(inputs, training=False), reduce_retracing=True
    )
