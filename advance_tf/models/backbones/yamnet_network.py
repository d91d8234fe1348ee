"""YAMNet as a Keras tower: log-mel patches of a waveform, MobileNet v1, scores."""

import functools
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from advance_tf import labels
from advance_tf.models.backbones.contract import pooled_tower

RATE_HZ = 16_000
WINDOW_SAMPLES, HOP_SAMPLES, FFT_LENGTH = 400, 160, 512
MEL_BINS, MEL_MIN_HZ, MEL_MAX_HZ, LOG_OFFSET = 64, 125.0, 7500.0, 0.001
PATCH_FRAMES, PATCH_HOP_FRAMES = 96, 48
EMBEDDING_SIZE, CLASSES = 1024, 521
# Stride and channels of the 13 separable convolutions.
SEPARABLE = (
    *((1, 64), (2, 128), (1, 128), (2, 256), (1, 256), (2, 512)),
    *((1, 512),) * 5,
    *((2, 1024), (1, 1024)),
)
# AudioSet's events without a class of YAMNet.
_WITHOUT_CLASS = {
    *("/m/05zppz", "/m/02zsn", "/m/04gy_2"),
    *("/t/dd00003", "/t/dd00004", "/t/dd00032"),
}


def event_indices() -> np.ndarray:
    """Index of each class of YAMNet among AudioSet's 527 events, int64 [521].

    >>> event_indices()[:3].tolist()
    [0, 3, 4]
    """
    events = labels.events()
    return np.array([e.index for e in events if e.mid not in _WITHOUT_CLASS])


def patch_count(samples: int) -> int:
    """Number of patches of a clip, 20 for 160,000 samples.

    The clip is padded with zeros to complete the last patch, as in YAMNet's code.

    >>> patch_count(160_000), patch_count(8_000)
    (20, 1)
    """
    first = WINDOW_SAMPLES + (PATCH_FRAMES - 1) * HOP_SAMPLES
    return 1 + -(-max(0, samples - first) // (PATCH_HOP_FRAMES * HOP_SAMPLES))


@functools.cache
def mel_matrix() -> np.ndarray:
    """The triangular mel filters on HTK's scale, float64 [257, 64].

    Source: `tf.signal.linear_to_mel_weight_matrix`, which has no filter on the
    constant part of the spectrum.
    """

    def mel(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    bins = mel(np.linspace(0, RATE_HZ / 2, FFT_LENGTH // 2 + 1)[1:])[:, None]
    edges = np.linspace(mel(MEL_MIN_HZ), mel(MEL_MAX_HZ), MEL_BINS + 2)
    lower, center, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (bins - lower) / (center - lower)
    falling = (upper - bins) / (upper - center)
    return np.pad(np.maximum(0, np.minimum(rising, falling)), [(1, 0), (0, 0)])


@functools.cache
def fourier_matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The Fourier transform of a Hann window in real arithmetic.

    The window has 0 as its first value and is symmetric around its centre. With the
    time counted from the centre, the real part of the transform depends on the sums
    x[200 + m] + x[200 − m] alone, the imaginary part on the differences. The
    magnitude does not depend on the origin of the time.

    Returns:
        Cosines and sines, float64 [200, bins], of the offsets m from the centre, and
        the mel filters [bins, 64], for the bins that a filter covers.
    """
    mel = mel_matrix()
    bins = np.flatnonzero(mel.any(axis=1))
    half = WINDOW_SAMPLES // 2
    offsets = np.arange(half)
    window = 0.5 + 0.5 * np.cos(np.pi * offsets / half)[:, None]
    # The centre is counted twice in the sums.
    window[0] /= 2
    angles = 2 * np.pi * np.outer(offsets, bins) / FFT_LENGTH
    return window * np.cos(angles), window * np.sin(angles), mel[bins]


@keras.saving.register_keras_serializable("advance_tf")
class YamnetPatches(layers.Layer):
    """Log-mel patches of clips: [B, samples] at 16 kHz → [B, patches, 96, 64].

        log(mel + 0.001), magnitudes of Hann windows of 25 ms every 10 ms, 64 mel
        bands from 125 to 7500 Hz; patches of 0.96 s every 0.48 s

    The Fourier transform is a product with constant matrices, which every export
    format has, and is computed in float32 in every precision of training.

    Args:
        **kwargs: arguments of `keras.layers.Layer`.
    """

    def __init__(self, **kwargs: Any) -> None:
        kwargs["dtype"] = kwargs.get("dtype") or "float32"
        super().__init__(**kwargs)

    def call(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes the patches of clips in [-1, 1]."""
        patches = patch_count(waveform.shape[1])
        frames = PATCH_FRAMES + (patches - 1) * PATCH_HOP_FRAMES
        cosines, sines, mel = (
            tf.constant(matrix, waveform.dtype) for matrix in fourier_matrices()
        )
        framed = _frames(waveform, frames)  # [B, frames, 400]
        half = WINDOW_SAMPLES // 2
        after = framed[..., half:]
        before = tf.reverse(framed[..., 1 : half + 1], [-1])
        real = tf.matmul(after + before, cosines)  # [B, frames, bins]
        imaginary = tf.matmul(after - before, sines)
        magnitude = tf.sqrt(real * real + imaginary * imaginary)
        log_mel = tf.math.log(tf.matmul(magnitude, mel) + LOG_OFFSET)
        # [B, patches + 1, 48, 64]: a patch is two consecutive halves.
        halves = tf.reshape(log_mel, [-1, patches + 1, PATCH_HOP_FRAMES, MEL_BINS])
        return tf.concat([halves[:, :-1], halves[:, 1:]], axis=2)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[int | None, ...]:
        """Returns (B, patches, 96, 64)."""
        patches = patch_count(input_shape[1] or 0)
        return (input_shape[0], patches, PATCH_FRAMES, MEL_BINS)


def _frames(waveform: tf.Tensor, count: int) -> tf.Tensor:
    """Frames of 400 samples every 160: [B, samples] → [B, count, 400].

    Both are multiples of 80: a frame is five consecutive blocks, every second block
    begins one.
    """
    block = 80
    blocks = 2 * count + 3
    missing = max(0, blocks * block - waveform.shape[1])
    padded = tf.pad(waveform, [[0, 0], [0, missing]])[:, : blocks * block]
    split = tf.reshape(padded, [-1, blocks, block])
    parts = [split[:, i : i + 2 * count - 1 : 2] for i in range(5)]
    return tf.concat(parts, axis=-1)


def build_yamnet(
    samples: int, output: str = "embedding", activation_limit: float | None = 6.0
) -> keras.Model:
    """Builds the tower; its output is the mean over the patches of a clip.

    The batch norms are folded into the convolutions, which have a bias: that is how
    the `.tflite` file holds them. The layer `features` has [B, patches, 2, 1024] for
    the embedding, whose second axis is frequency, and [B, patches, 1, D] for others.

    Args:
        samples: length of a clip at 16 kHz.
        output: "embedding", 1024 means of the last feature map; "scores", 521 scores
            in [0, 1]; or "both", 1545.
        activation_limit: largest activation: 6 in the `.tflite` file, None in the
            code that was published with `yamnet.h5`.

    Returns:
        A model `audio_tower` of clips [B, samples] → [B, D].
    """
    patches = patch_count(samples)
    inputs = keras.Input((samples,), name="clip")
    x = YamnetPatches(name="patches")(inputs)  # [B, P, 96, 64]
    x = keras.ops.reshape(x, (-1, PATCH_FRAMES, MEL_BINS, 1))  # [B P, 96, 64, 1]
    x = layers.Conv2D(32, 3, 2, padding="same", name="layer1_conv")(x)
    x = layers.ReLU(activation_limit, name="layer1_relu")(x)
    for number, (stride, channels) in enumerate(SEPARABLE, start=2):
        name = f"layer{number}"
        x = layers.DepthwiseConv2D(
            3, stride, padding="same", name=f"{name}_depthwise_conv"
        )(x)
        x = layers.ReLU(activation_limit, name=f"{name}_depthwise_relu")(x)
        x = layers.Conv2D(channels, 1, name=f"{name}_pointwise_conv")(x)
        x = layers.ReLU(activation_limit, name=f"{name}_pointwise_relu")(x)
    # [B P, 3, 2, 1024]
    bands, size = x.shape[2], x.shape[3]
    if output == "embedding":
        x = keras.ops.mean(x, axis=1)
        x = keras.ops.reshape(x, (-1, patches, bands, size))
    else:
        pooled = layers.GlobalAveragePooling2D(name="patch_embedding")(x)
        scores = layers.Dense(CLASSES, activation="sigmoid", name="scores")(pooled)
        x = scores
        if output == "both":
            x = layers.Concatenate(name="both")([pooled, scores])
        x = keras.ops.reshape(x, (-1, patches, 1, x.shape[-1]))
    return pooled_tower(inputs, x, "audio")
