"""Class activation maps of a recognizer for images and log-mel spectrograms."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from advance_tf.config import MODALITIES, Config, FeatureConfig
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.features.frontend import Frontend
from advance_tf.metrics.probabilities import softmax
from advance_tf.models.backbones.contract import FEATURES, MapCentres
from advance_tf.models.backbones.registry import tower_backbone
from advance_tf.models.heads import dense_layers
from advance_tf.models.recognizer import sound_input_of, tower_sound
from advance_tf.runs.workdir import Run

_DISPLAY_PIXELS = 320
# The largest batch: the number of pairs does not determine the memory in use.
_MAX_BATCH = 8
_ONE_POSITION = "one_position"


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """Activation maps of a batch, for the requested scenes of each example.

    Attributes:
        image: M_v, float32 [B, h, w], or [B, k, h, w] for k scenes of each
            example; None when the model does not use the image, or its tower has no
            feature map.
        log_mel: M_a, float32 [B, t, f] or [B, k, t, f]; None when the model does
            not use the sound, or its tower has no feature map.
        image_logits: mean of M_v over the positions for every scene, float32
            [B, scenes]; when the model does not use the image, the logits of an
            all-zero input, equal for every example.
        sound_logits: the same for M_a.
        bias: b of the scene head, float32 [scenes]; [B, scenes] with a hidden layer.
    """

    image: np.ndarray | None
    log_mel: np.ndarray | None
    image_logits: np.ndarray
    sound_logits: np.ndarray
    bias: np.ndarray

    @property
    def scene_logits(self) -> np.ndarray:
        """The model's logits, float32 [B, scenes]: the sum of the three parts."""
        return self.image_logits + self.sound_logits + self.bias

    @property
    def scene_probs(self) -> np.ndarray:
        """z(logits), float32 [B, scenes] in [0, 1], as the evaluation computes it."""
        return softmax(self.scene_logits)

    def margins(self, row: int, scene: int, other: int) -> dict[str, float]:
        """Splits log p(scene) / p(other) into the parts of image, sound and bias.

        Args:
            row: index of the example in the batch.
            scene: index of one scene.
            other: index of another scene.

        Returns:
            "image", "sound" and "bias" → their part in nats, positive in favour
            of `scene`; the sum is the difference of the logits.

        >>> logits = np.array([[1.0, 0.5]])
        >>> Maps(None, None, logits, -2 * logits, np.zeros(2)).margins(0, 0, 1)
        {'image': 0.5, 'sound': -1.0, 'bias': 0.0}
        """
        parts = {
            "image": self.image_logits[row],
            "sound": self.sound_logits[row],
            "bias": np.broadcast_to(self.bias, self.sound_logits.shape)[row],
        }
        return {name: float(part[scene] - part[other]) for name, part in parts.items()}


class ActivationMaps:
    """Splits the scene logits of a recognizer over the positions of its inputs.

    The embedding is the mean of the last feature map and the scene head is
    linear. The logit of scene k is therefore exactly

        f_s(x)_k = mean_ij M_v + mean_ij M_a + b_k,
        M_v = features_v · W[:C_v, k],  M_a = features_a · W[C_v:, k]

    with features ≥ 0 [h, w, C] before the global average pooling and W [C_v +
    C_a, 13], b [13] of the scene head. A position with M > 0 raises the logit of
    the scene, one with M < 0 lowers it. Dropout is inactive, as in inference. A
    normalization of the embeddings is part of W and b. With a hidden layer W and b
    are those of the units that are active for the example: the sum is exact too.

    M_k is a part of the logit of scene k only. A vector added to every column of
    W changes all logits by the same amount and no probability, but adds one map
    to the maps of all scenes: the predictions identify only the differences
    M_k − M_l between scenes. M_k is that of the W at the end of training.

    Args:
        recognizer: model of `build_recognizer`.
        modality: "both", "image" or "sound", as the recognizer was built.
        partial: whether a tower without a feature map has no map and only its part of
            the logits; otherwise it is an error.

    Raises:
        ValueError: the modality is unknown, the model is not a recognizer, or a tower
            has no feature map.

    Source: Zhou et al., "Learning Deep Features for Discriminative
    Localization", CVPR 2016; Figures 1 and 6 of the paper.
    """

    def __init__(
        self,
        recognizer: keras.Model,
        modality: str = "both",
        *,
        partial: bool = False,
    ) -> None:
        if modality not in MODALITIES:
            raise ValueError(
                f"modality must be one of {', '.join(MODALITIES)}; received "
                f"{modality!r}."
            )
        self.modality = modality
        self.sound_input = sound_input_of(recognizer)
        self._recognizer = recognizer
        self._image = _feature_model(recognizer, "image_tower", partial)
        self._sound = _feature_model(recognizer, "audio_tower", partial)
        networks = {"image": self._image, "log_mel": self._sound}
        unused = {"image": "log_mel", "sound": "image"}.get(modality)
        self._missing = [
            name
            for name, network in networks.items()
            if name == unused or network.name == _ONE_POSITION
        ]
        self._compute = tf.function(self._split)

    def __call__(self, inputs: Mapping[str, ArrayLike], scenes: ArrayLike) -> Maps:
        """Computes the maps of a batch in one pass through the towers.

        Args:
            inputs: "image" float32 [B, S, S, 3] in [0, 255], and "log_mel" float32
                [B, frames, mel_bins], normalized, or "waveform" [B, clip_samples].
            scenes: int [B], one scene to map for each example, or [B, k], several
                scenes for each.

        Returns:
            The maps and the parts of the logits.

        Raises:
            ValueError: `scenes` does not have scene indices for each example.
        """
        image = tf.convert_to_tensor(inputs["image"], tf.float32)  # [B, S, S, 3]
        # [B, frames, mel_bins] or [B, clip_samples]
        sound = tf.convert_to_tensor(inputs[self.sound_input], tf.float32)
        scenes = np.asarray(scenes)
        head = dense_layers(self._recognizer, "scene_logits")
        count, classes = len(image), len(head[-1][1])
        integer = np.issubdtype(scenes.dtype, np.integer) and scenes.ndim in (1, 2)
        valid = integer and len(scenes) == count and scenes.size > 0
        if not valid or not ((scenes >= 0) & (scenes < classes)).all():
            raise ValueError(
                f"scenes must be at least one integer in [0, {classes}) for each of "
                f"{count} examples; received {scenes.tolist()}."
            )
        requested = tf.constant(scenes.reshape(count, -1), tf.int32)  # [B, k]
        matrices = [[tf.constant(array) for array in layer] for layer in head]
        results = self._compute(image, sound, requested, matrices)
        arrays = {name: value.numpy() for name, value in results.items()}
        for name in ("image", "log_mel"):
            size = arrays[name].shape[2:]
            arrays[name] = arrays[name].reshape(*scenes.shape, *size)
        return Maps(**arrays | dict.fromkeys(self._missing))

    def _split(
        self,
        image: tf.Tensor,
        sound: tf.Tensor,
        scenes: tf.Tensor,
        head: Sequence[Sequence[tf.Tensor]],
    ) -> dict[str, tf.Tensor]:
        # The model replaces the unused input by zeros, and so does this function.
        if self.modality == "sound":
            image = tf.zeros_like(image)
        if self.modality == "image":
            sound = tf.zeros_like(sound)
        # [B, h, w, C_v] and [B, t, f, C_a]
        image_features = tf.cast(self._image(image), tf.float32)
        sound = tower_sound(self._recognizer, sound)
        sound_features = tf.cast(self._sound(sound), tf.float32)
        # [B, C_v] and [B, C_a]
        pooled = [tf.reduce_mean(f, [1, 2]) for f in (image_features, sound_features)]
        kernel, bias = _linear_head(head, tf.concat(pooled, axis=1))
        # [B, C_v, scenes] and [B, C_a, scenes]
        image_kernel, sound_kernel = tf.split(
            kernel, [image_features.shape[-1], sound_features.shape[-1]], axis=1
        )
        return {
            "image": _scene_maps(image_features, image_kernel, scenes),
            "log_mel": _scene_maps(sound_features, sound_kernel, scenes),
            # [B, scenes]
            "image_logits": tf.einsum("bc,bcs->bs", pooled[0], image_kernel),
            "sound_logits": tf.einsum("bc,bcs->bs", pooled[1], sound_kernel),
            "bias": bias,
        }


def _linear_head(
    head: Sequence[Sequence[tf.Tensor]], joint: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """The linear head of each example, and its bias.

    Args:
        head: kernel and bias of the scene head, and before it, of a hidden layer.
        joint: both embeddings, [B, C_v + C_a].

    Returns:
        W [B, C_v + C_a, scenes], and b [scenes], or [B, scenes] with a hidden layer,
        whose inactive units are left out.
    """
    kernel, bias = head[-1]
    if len(head) == 1:
        return tf.repeat(kernel[tf.newaxis], tf.shape(joint)[0], axis=0), bias
    inner, inner_bias = head[0]
    active = tf.cast(joint @ inner + inner_bias > 0, tf.float32)  # [B, units]
    return (
        tf.einsum("cu,bu,us->bcs", inner, active, kernel),
        (active * inner_bias) @ kernel + bias,
    )


def _feature_model(recognizer: keras.Model, name: str, partial: bool) -> keras.Model:
    """The part of a tower from its input to its last feature map.

    With `partial`, a tower without one has its embedding as a map of one position.
    """
    try:
        tower = recognizer.get_layer(name)
        recognizer.get_layer("scene_head")
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"Activation maps need a recognizer with '{name}' and 'scene_head'; "
            f"received the model '{recognizer.name}'. Build it with "
            "build_recognizer."
        ) from error
    if FEATURES not in {layer.name for layer in tower.layers}:
        if partial:
            shape = (-1, 1, 1, tower.output_shape[-1])
            embedding = keras.ops.reshape(tower.output, shape)
            return keras.Model(tower.inputs, embedding, name=_ONE_POSITION)
        raise ValueError(
            f"Activation maps need the feature map of '{name}'; its backbone has an "
            "embedding alone. Choose a backbone with a feature map."
        )
    return keras.Model(tower.inputs, tower.get_layer(FEATURES).output)


def _scene_maps(features: tf.Tensor, kernel: tf.Tensor, scenes: tf.Tensor) -> tf.Tensor:
    """M [B, k, h, w] = features [B, h, w, C] · W [B, C, scenes [B, k]]."""
    columns = tf.gather(kernel, scenes, axis=2, batch_dims=1)  # [B, C, k]
    return tf.einsum("bhwc,bck->bkhw", features, columns)


@dataclasses.dataclass(frozen=True, eq=False)
class PairMaps:
    """The activation maps of pairs, with the log-mels that a run computes.

    Attributes:
        log_mel_db: float32 [n, frames, mel_bins] in dB.
        maps: maps of the requested scenes of the n pairs.
        centres: where the cells of the maps are, see `map_centres`.
    """

    log_mel_db: np.ndarray
    maps: Maps
    centres: Mapping[str, MapCentres]


def map_centres(config: Config, maps: Maps) -> dict[str, MapCentres]:
    """Finds where the cells of maps are in the inputs of a run.

    Args:
        config: configuration of the run; backbones and features are used.
        maps: maps of its recognizer.

    Returns:
        "image" and "log_mel" → the centres of the rows and columns of the maps, for
        `overlay.upsample`; without those of a map that is None.
    """
    own = {"image": ("image", maps.image), "log_mel": ("audio", maps.log_mel)}
    return {
        name: tower_backbone(tower, config.model).map_centres(
            tower, config.features, (map_.shape[-2], map_.shape[-1])
        )
        for name, (tower, map_) in own.items()
        if map_ is not None
    }


def compute_maps(
    run: Run,
    pairs: Sequence[Pair],
    data_dir: str | pathlib.Path,
    scenes: ArrayLike,
    *,
    partial: bool = False,
) -> PairMaps:
    """Reads pairs as evaluation does and computes activation maps.

    Args:
        run: a loaded run.
        pairs: n ≥ 1 pairs.
        data_dir: folder of the data set.
        scenes: int [n], one scene to map for each pair, or [n, k], several scenes
            for each.
        partial: as for `ActivationMaps`.

    Returns:
        The log-mels and maps of the pairs, computed in one pass through the model.

    Raises:
        ValueError: a file cannot be read.
    """
    features = run.config.features
    size = min(_MAX_BATCH, run.config.training.batch_size)
    requested = np.asarray(scenes, np.int64)
    activation_maps = ActivationMaps(
        run.recognizer, run.config.model.modality, partial=partial
    )
    batches: list[Maps] = []
    sound_input = activation_maps.sound_input
    sounds: list[np.ndarray] = []
    files = PairFiles(pairs, data_dir, features, sound_input)
    dataset = make_dataset(files, size)
    with files.errors():
        for inputs, _ in dataset:
            start = len(batches) * size
            batches.append(activation_maps(inputs, requested[start : start + size]))
            sounds.append(inputs[sound_input].numpy())
    frontend = Frontend(features)
    if sound_input == "waveform":
        # The background of the maps of a network with its own spectrogram.
        decibel = [frontend.log_mel_db(tf.constant(some)).numpy() for some in sounds]
        log_mel_db = np.concatenate(decibel)
    else:
        log_mel_db = frontend.denormalize(np.concatenate(sounds))
    maps = _concatenate(batches)
    return PairMaps(log_mel_db, maps, map_centres(run.config, maps))


def _concatenate(batches: Sequence[Maps]) -> Maps:
    """Joins the maps of batches along the batch axis."""
    first = batches[0]
    names = ["image", "log_mel", "image_logits", "sound_logits"]
    names += ["bias"] if first.bias.ndim > 1 else []
    return dataclasses.replace(
        first,
        **{
            name: np.concatenate([getattr(maps, name) for maps in batches])
            for name in names
            if getattr(first, name) is not None
        },
    )


def display_frontend(
    side: int = _DISPLAY_PIXELS,
    max_image_pixels: int = FeatureConfig.max_image_pixels,
) -> Frontend:
    """Builds a front end whose `read_image` reads images for display.

    Args:
        side: height and width of the images in pixels, independent of the input
            size of the model.
        max_image_pixels: largest number of pixels of a file, that of the model.

    Returns:
        A front end without log-mel statistics.
    """
    features = FeatureConfig(image_size=side, max_image_pixels=max_image_pixels)
    return Frontend(features, normalized=False)


def read_display_image(frontend: Frontend, path: str | pathlib.Path) -> np.ndarray:
    """Reads an image for display.

    Args:
        frontend: as returned by `display_frontend`.
        path: path of an image file, or its address in a shard.

    Returns:
        uint8 [side, side, 3].
    """
    return frontend.read_image(path).astype(np.uint8)
