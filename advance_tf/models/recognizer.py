"""The two-tower recognizer, the models of pretraining, and freezing of layers."""

import contextlib
import re
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras import layers

from advance_tf import labels
from advance_tf.config import WHOLE_TOWER, FeatureConfig, ModelConfig
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.backbones.registry import (
    build_tower,
    sound_input,
    tower_backbone,
)
from advance_tf.models.cut import frozen_part, stage_end
from advance_tf.models.heads import PRESENT, connect_heads, mask_input
from advance_tf.models.initialization import dense
from advance_tf.models.resnet import BatchNorm


@keras.saving.register_keras_serializable("advance_tf")
class SingleZero(layers.Layer):
    """Replaces a batch [B, ...] by one example of zeros [1, ...]."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns zeros with the shape and type of one example."""
        shape = tf.concat([[1], tf.shape(inputs)[1:]], axis=0)
        return tf.ensure_shape(tf.zeros(shape, inputs.dtype), (1, *inputs.shape[1:]))

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns the shape of the input with a batch size of 1."""
        return (1, *input_shape[1:])


@keras.saving.register_keras_serializable("advance_tf")
class RepeatOver(layers.Layer):
    """Repeats one embedding for every example: [1, D], [B, ...] → [B, D]."""

    def call(self, embedding: tf.Tensor, batch: tf.Tensor) -> tf.Tensor:
        """Returns the embedding, repeated to the size of the batch."""
        return tf.repeat(embedding, tf.shape(batch)[0], axis=0)

    def compute_output_shape(
        self,
        embedding_shape: tuple[int | None, ...],
        batch_shape: tuple[int | None, ...],
    ) -> tuple[int | None, ...]:
        """Returns (B, D)."""
        return (batch_shape[0], embedding_shape[-1])


def build_towers(
    model: ModelConfig, features: FeatureConfig
) -> tuple[keras.Model, keras.Model]:
    """Builds the image tower N_v and the audio tower N_a.

    Args:
        model: backbones, depths and widths are used.
        features: sizes of the inputs.

    Returns:
        `image_tower`, [B, S, S, 3] → [B, image embedding], and `audio_tower`,
        [B, frames, mel_bins, 1], or [B, clip_samples] with a backbone of waveforms,
        → [B, audio embedding].
    """
    return (
        build_tower("image", model, features),
        build_tower("audio", model, features),
    )


def sound_input_of(recognizer: keras.Model) -> str:
    """The name of the input of sounds of a recognizer, "log_mel" or "waveform".

    Args:
        recognizer: a model of `build_recognizer`.

    Returns:
        The name.
    """
    return "waveform" if "waveform" in recognizer.input else "log_mel"


def tower_sound(recognizer: keras.Model, sound: tf.Tensor) -> tf.Tensor:
    """Converts the recognizer's input of sounds to that of its audio tower.

    Args:
        recognizer: a model of `build_recognizer`.
        sound: log-mel [B, frames, mel_bins] or waveform [B, clip_samples].

    Returns:
        [B, frames, mel_bins, 1], or the waveform unchanged.
    """
    return sound if sound_input_of(recognizer) == "waveform" else sound[..., None]


def _sound_features(
    sound: keras.KerasTensor, features: FeatureConfig
) -> keras.KerasTensor:
    """The input of the audio tower; a log-mel gets a channel: [B, T, F, 1]."""
    if sound.name == "waveform":
        return sound
    shape = (features.frames, features.mel_bins, 1)
    return layers.Reshape(shape, name="channel")(sound)


def _embed(
    tower: keras.Model, inputs: keras.KerasTensor, model: ModelConfig, kind: str
) -> keras.KerasTensor:
    """Computes a tower's embeddings [B, D] of a batch, or of zeros if it is not used.

    One example of zeros replaces a batch of B equal examples. Embedding, sum of the
    gradients and running means are the same. A running variance of n positions is
    that of a large batch: (B n − 1) / (B n) of PyTorch's, 0.02 % less for B = 64 and
    the smallest map of the paper's image tower.
    """
    if model.modality in ("both", {"image": "image", "audio": "sound"}[kind]):
        return tower(inputs)
    for layer in tower._flatten_layers(include_self=False):
        if isinstance(layer, BatchNorm):
            layer.repeated = True
    zero = SingleZero(name=f"{kind}_zero")(inputs)
    return RepeatOver(name=f"{kind}_repeat")(tower(zero), inputs)


def _apply_head(
    embedding: keras.KerasTensor, outputs: int, name: str, model: ModelConfig
) -> keras.KerasTensor:
    """Applies a dense layer to logits [B, outputs], float32 in every precision."""
    settings = {"dtype": "float32", "name": name}
    return dense(embedding, outputs, model.initialization, **settings)(embedding)


@contextlib.contextmanager
def dtype_policy(name: str = "") -> Iterator[None]:
    """Restores Keras' global dtype policy at the end of a block or function.

    Args:
        name: policy inside the block; "" for the one that is set already.

    >>> with dtype_policy("mixed_bfloat16"):
    ...     keras.config.dtype_policy().name
    'mixed_bfloat16'
    >>> keras.config.dtype_policy().name
    'float32'
    """
    before = keras.config.dtype_policy()
    try:
        if name:
            keras.config.set_dtype_policy(name)
        yield
    finally:
        keras.config.set_dtype_policy(before)


def build_recognizer(
    model: ModelConfig, features: FeatureConfig, transfer: str = "none"
) -> keras.Model:
    """Builds the recognizer: two towers, concatenation N_{v+a}, heads f_s and f_e.

    >>> model = ModelConfig(
    ...     image_depth=18, image_width=2, audio_depth=18, audio_width=2
    ... )
    >>> features = FeatureConfig(image_size=32, clip_seconds=0.5)
    >>> recognizer = build_recognizer(model, features, "kl_audio")
    >>> {name: logits.shape for name, logits in recognizer.output.items()}
    {'scene_logits': (None, 13), 'audio_event_logits': (None, 527)}

    Args:
        model: backbones, depths, widths, modality, dropout, head_units,
            normalize_embeddings, modality_dropout and the numbers of frozen stages
            are used. With modality "image" or "sound" the model replaces the other
            input by zeros.
        features: sizes of the inputs.
        transfer: determines the event head: on N_a for sq_audio and kl_audio, on
            N_{v+a} for sq_audiovisual and kl_audiovisual, otherwise none.

    Returns:
        A model of {"image": [B, S, S, 3] 0..255, "log_mel": [B, frames,
        mel_bins] normalized} → {"scene_logits": [B, 13]} and, depending on
        `transfer`, "audio_event_logits" or "audiovisual_event_logits" [B, 527],
        all float32. With an audio backbone of waveforms, such as yamnet, the input
        "waveform" [B, clip_samples] replaces "log_mel". With modality_dropout above
        0 it has a third input, "present" [B, 2]: 1 for an input that is there, 0 for
        one that is not and whose values are ignored; image, then sound.

    Raises:
        ValueError: the transfer or a backbone is unknown.
    """
    side = features.image_size
    image = keras.Input((side, side, 3), name="image")
    name = sound_input(model)
    sound = keras.Input(features.sound_shape(name), name=name)
    image_tower, audio_tower = build_towers(model, features)
    # [B, frames, mel_bins, 1] or [B, clip_samples]
    sound_features = _sound_features(sound, features)
    # [B, 2048] each, with the paper's depths and width
    image_embedding = _embed(image_tower, image, model, "image")
    audio_embedding = _embed(audio_tower, sound_features, model, "audio")
    inputs, present = {"image": image, name: sound}, mask_input(model)
    if present is not None:
        inputs[PRESENT] = present
    outputs = connect_heads(image_embedding, audio_embedding, model, transfer, present)
    return keras.Model(inputs, outputs, name="recognizer")


def build_audio_tagger(model: ModelConfig, features: FeatureConfig) -> keras.Model:
    """Builds f_e(a, N_a), the audio tower with an event head, pretrained as teacher.

    Args:
        model: `audio_backbone`, `audio_depth`, `audio_width` and `dropout` are used.
        features: sizes of the input.

    Returns:
        A model of {"log_mel": [B, frames, mel_bins]}, or of {"waveform": [B,
        clip_samples]} with a backbone of waveforms, → {"event_logits": [B, 527]}.
    """
    name = sound_input(model)
    sound = keras.Input(features.sound_shape(name), name=name)
    tower = build_towers(model, features)[1]
    # [B, 2048]
    embedding = tower(_sound_features(sound, features))
    if model.dropout:
        embedding = layers.Dropout(model.dropout, name="dropout")(embedding)
    logits = _apply_head(embedding, len(labels.events()), "audio_event_head", model)
    return keras.Model({name: sound}, {"event_logits": logits}, name="audio_tagger")


def build_image_classifier(
    model: ModelConfig, features: FeatureConfig, classes: int
) -> keras.Model:
    """Builds the image tower with a classifier, to pretrain the tower.

    Args:
        model: `image_backbone`, `image_depth`, `image_width` and `dropout` are
            used.
        features: size of the input.
        classes: number of classes.

    Returns:
        A model of {"image": [B, S, S, 3]} → {"class_logits": [B, classes]}.
    """
    side = features.image_size
    image = keras.Input((side, side, 3), name="image")
    # [B, 2048]
    embedding = build_towers(model, features)[0](image)
    if model.dropout:
        embedding = layers.Dropout(model.dropout, name="dropout")(embedding)
    logits = _apply_head(embedding, classes, "image_class_head", model)
    return keras.Model(
        {"image": image}, {"class_logits": logits}, name="image_classifier"
    )


_STAGE = re.compile(r"layer(\d)_")


def stage_of(layer: str) -> int:
    """Returns the stage of a layer of a tower.

    >>> stage_of("conv1"), stage_of("layer4_0_bn1")
    (1, 5)

    Args:
        layer: name of the layer, as in `build_resnet`.

    Returns:
        1 for the first convolution and its batch normalization, 2 to 5 for the
        layers of the residual stages.
    """
    match = _STAGE.match(layer)
    return int(match[1]) + 1 if match else 1


def freeze(recognizer: keras.Model, model: ModelConfig) -> None:
    """Freezes layers of the towers; call it before the optimizer is built.

    A frozen batch normalization uses its moving statistics in training too.

    Args:
        recognizer: a model of `build_recognizer`; changed in place.
        model: `image_frozen_stages`, `audio_frozen_stages` and
            `freeze_batch_norm` are used.
    """
    for tower in TOWERS:
        network = recognizer.get_layer(f"{tower}_tower")
        end = stage_end(tower, model)
        if end:
            for layer in frozen_part(network, end).layers:
                layer.trainable = False
        stages = getattr(model, f"{tower}_frozen_stages")
        has_stages = tower_backbone(tower, model).has_stages
        if not has_stages and stages == WHOLE_TOWER:
            network.trainable = False
            continue
        for layer in network._flatten_layers(include_self=False):
            norm = isinstance(layer, layers.BatchNormalization)
            stage = has_stages and stage_of(layer.name) <= stages
            if stage or (norm and model.freeze_batch_norm):
                layer.trainable = False
