"""Decoders of files for `tf.data`, traced once for each setting.

The graph that reads a sound of any rate and width has some thousand operations. A
process has many data sets with the same settings; tracing it for each, and optimizing
it inside the graph of each, would be most of the time of a small one.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.frontend import Frontend
from advance_tf.features.media_files import read_media
from advance_tf.features.pipelines import as_traced

# Settings of which the graphs are kept.
_SETTINGS = 8
_Decoder = Callable[..., tf.Tensor]
_PATH = tf.TensorSpec([], tf.string)
_OFFSET = tf.TensorSpec([], tf.float32)


def _traced(decode: _Decoder, signature: list[tf.TensorSpec]) -> _Decoder:
    # Not inlined: the graph of a data set then is ready in half of the time.
    function = tf.function(
        decode,
        signature,
        autograph=False,
        experimental_attributes={"_noinline": True},
    )
    with as_traced():
        concrete: _Decoder = function.get_concrete_function()
    return concrete


@functools.lru_cache(_SETTINGS)
def image_decoder(features: FeatureConfig) -> _Decoder:
    """A graph function of a path that reads and decodes an image.

    Args:
        features: settings of images.

    Returns:
        A function of a string scalar, see `read_media`. It returns float32 [S, S, 3],
        integers 0..255, and raises tf.errors.InvalidArgumentError for a file that
        cannot be decoded.
    """
    frontend = Frontend(features, normalized=False)

    def decode(path: tf.Tensor) -> tf.Tensor:
        return frontend.decode_image(read_media(path), path)

    return _traced(decode, [_PATH])


@functools.lru_cache(_SETTINGS)
def sound_decoder(features: FeatureConfig, sound_input: str = "waveform") -> _Decoder:
    """A graph function of a path that reads and decodes one clip of a recording.

    Args:
        features: settings of sounds.
        sound_input: form of the clip: "waveform", or "log_mel" in dB.

    Returns:
        A function of a string scalar and of the position of the cut of a longer
        recording, float32 in [0, 1], see `fit_clip`. It returns float32
        [clip_samples] or [frames, mel_bins], before normalization, and raises
        tf.errors.InvalidArgumentError for a file that cannot be decoded.
    """
    frontend = Frontend(features, normalized=False)

    def decode(path: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
        clip = frontend.decode_waveform(read_media(path), offset, path)
        return clip if sound_input == "waveform" else frontend.log_mel_db(clip)

    return _traced(decode, [_PATH, _OFFSET])
