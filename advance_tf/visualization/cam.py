"""Class activation maps: where a recognizer finds a scene in image and sound."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

_MODALITIES = ("both", "image", "sound")


@dataclasses.dataclass(frozen=True, eq=False)
class Maps:
    """Activation maps of a batch, of wanted scenes in each example.

    Attributes:
        image: M_v, float32 [B, h, w], or [B, k, h, w] of k scenes for each
            example; None when the model does not look.
        log_mel: M_a, float32 [B, t, f] or [B, k, t, f], None when the model does
            not listen.
        image_logits: mean of M_v over the positions for every scene, float32
            [B, scenes]; when the model does not look, the same for every
            example: the logits of an all-zero input.
        sound_logits: the same of M_a.
        bias: b of the scene head, float32 [scenes].
        scene_probs: z(logits), float32 [B, scenes].
    """

    image: np.ndarray | None
    log_mel: np.ndarray | None
    image_logits: np.ndarray
    sound_logits: np.ndarray
    bias: np.ndarray
    scene_probs: np.ndarray

    @property
    def scene_logits(self) -> np.ndarray:
        """The model's logits, float32 [B, scenes]: the sum of the three parts."""
        return self.image_logits + self.sound_logits + self.bias

    def margins(self, row: int, scene: int, other: int) -> dict[str, float]:
        """What decides between two scenes: the parts of log p(scene)/p(other).

        Args:
            row: of the batch.
            scene: index of one scene.
            other: index of another.

        Returns:
            "image", "sound" and "bias" → their share in nats, positive for
            `scene`; their sum is the difference of the logits.
        """
        parts = {
            "image": self.image_logits[row],
            "sound": self.sound_logits[row],
            "bias": self.bias,
        }
        return {name: float(own[scene] - own[other]) for name, own in parts.items()}


class ActivationMaps:
    """Splits the scene logits of a recognizer over the positions of its inputs.

    The embedding is the mean of the last feature map and the scene head is
    linear, so that the logit of scene k is exactly

        f_s(x)_k = mean_ij M_v + mean_ij M_a + b_k,
        M_v = features_v · W[:C_v, k],  M_a = features_a · W[C_v:, k]

    with features ≥ 0 [h, w, C] before the global average pooling and W [C_v +
    C_a, 13], b [13] of the scene head. A position with M > 0 speaks for the
    scene, one with M < 0 against it. Dropout is that of inference: none.

    M_k of one scene is part of its logit, and no more. One vector added to every
    column of W changes all logits alike and no probability, but adds one map to
    the maps of all scenes: only differences M_k − M_l between scenes are
    identified by what the model predicts. Of the W that training ended with, M_k
    is what is drawn.

    Args:
        recognizer: of `build_recognizer`.
        modality: "both", "image" or "sound", as the recognizer was built.

    Raises:
        ValueError: the modality is unknown or the model is no recognizer.

    Source: Zhou et al., "Learning Deep Features for Discriminative
    Localization", CVPR 2016; Figures 1 and 6 of the paper.
    """

    def __init__(self, recognizer: keras.Model, modality: str = "both"):
        if modality not in _MODALITIES:
            raise ValueError(
                f"modality must be one of {', '.join(_MODALITIES)}; received "
                f"{modality!r}."
            )
        self.modality = modality
        self._image = _features_of(recognizer, "image_tower")
        self._sound = _features_of(recognizer, "audio_tower")
        self._head = recognizer.get_layer("scene_head")
        self._compute = tf.function(self._split)

    def __call__(self, inputs: Mapping[str, np.ndarray], scenes) -> Maps:
        """The maps of a batch, in one pass through the towers.

        Args:
            inputs: "image" float32 [B, S, S, 3] 0..255 and "log_mel" float32
                [B, frames, mel_bins] normalized.
            scenes: int [B], the scene whose map is wanted of each example, or
                [B, k], several of each.

        Returns:
            The maps, the parts of the logits and the probabilities.

        Raises:
            ValueError: there are not as many scenes for each example.
        """
        scenes = np.asarray(scenes)
        count, classes = len(inputs["image"]), self._head.kernel.shape[1]
        whole = np.issubdtype(scenes.dtype, np.integer) and scenes.ndim in (1, 2)
        valid = whole and len(scenes) == count and scenes.size > 0
        if not valid or not ((scenes >= 0) & (scenes < classes)).all():
            raise ValueError(
                f"scenes must be at least one whole number below {classes} for each "
                f"of {count} examples; received {scenes.tolist()}."
            )
        found = self._compute(
            tf.convert_to_tensor(inputs["image"], tf.float32),
            tf.convert_to_tensor(inputs["log_mel"], tf.float32),
            tf.constant(scenes.reshape(count, -1), tf.int32),
        )
        arrays = {name: value.numpy() for name, value in found.items()}
        for name in ("image", "log_mel"):
            size = arrays[name].shape[2:]
            arrays[name] = arrays[name].reshape(*scenes.shape, *size)
        unused = {"image": "log_mel", "sound": "image"}.get(self.modality)
        return Maps(**arrays | ({unused: None} if unused else {}))

    def _split(self, image, log_mel, scenes) -> dict[str, tf.Tensor]:
        # The unused input is zeros inside the model, and therefore here.
        if self.modality == "sound":
            image = tf.zeros_like(image)
        if self.modality == "image":
            log_mel = tf.zeros_like(log_mel)
        seen = tf.cast(self._image(image), tf.float32)
        heard = tf.cast(self._sound(log_mel[..., tf.newaxis]), tf.float32)
        kernel = tf.convert_to_tensor(self._head.kernel)
        seen_kernel, heard_kernel = tf.split(kernel, [seen.shape[-1], heard.shape[-1]])
        image_logits = tf.reduce_mean(seen, axis=[1, 2]) @ seen_kernel
        sound_logits = tf.reduce_mean(heard, axis=[1, 2]) @ heard_kernel
        bias = tf.convert_to_tensor(self._head.bias)
        return {
            "image": _of_scenes(seen, seen_kernel, scenes),
            "log_mel": _of_scenes(heard, heard_kernel, scenes),
            "image_logits": image_logits,
            "sound_logits": sound_logits,
            "bias": bias,
            "scene_probs": tf.nn.softmax(image_logits + sound_logits + bias),
        }


def _features_of(recognizer: keras.Model, name: str) -> keras.Model:
    """A tower up to its last feature map."""
    try:
        tower = recognizer.get_layer(name)
        recognizer.get_layer("scene_head")
        return keras.Model(tower.inputs, tower.get_layer("features").output)
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"Activation maps need a recognizer with '{name}' and 'scene_head'; "
            f"received the model '{recognizer.name}'. Build it with "
            "build_recognizer."
        ) from error


def _of_scenes(features, kernel, scenes) -> tf.Tensor:
    """M [B, k, h, w] = features [B, h, w, C] · W[:, scenes [B, k]]."""
    wanted = tf.gather(kernel, scenes, axis=1)
    return tf.einsum("bhwc,cbk->bkhw", features, wanted)
