"""The front end: files, bytes or arrays of images and sounds → model inputs.

Every caller that turns an image or a sound into model inputs uses `Frontend`:
data sets, teachers, the predictor, the SavedModel, LiteRT calibration and parity
checks. It decodes, resamples, fits sounds to the length of a clip, computes the
normalized log-mel spectrogram and resizes images.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.features.errors import (
    MediaError,
    media_problem,
    names_its_file,
    unreadable,
)
from advance_tf.features.image import decode_image, resize_image
from advance_tf.features.image_header import (
    FORMATS,
    form_problem,
    has_too_many_pixels,
    read_image_size,
)
from advance_tf.features.log_mel import (
    LogMelStats,
    load_stats,
    log_mel_db,
    normalize,
)
from advance_tf.features.pipelines import TracedLater
from advance_tf.features.sources import (
    ImageSource,
    SoundSource,
    check_image_array,
    read_contents,
    split_rate,
)
from advance_tf.features.waveform import (
    check_rate,
    clip_from_samples,
    fit_clip,
    mono_waveform,
    waveform_from_bytes,
    waveform_or_problem,
)

# No operation of the front end is a statement of Python, so that AutoGraph would only
# delay the tracing of data sets, by seconds.
_do_not_convert = tf.autograph.experimental.do_not_convert

_INVALID_IMAGE = f"the image must be a valid {FORMATS}: "
_INVALID_SOUND = "the sound must be a valid WAV file: "


def _decode_batch(
    contents: tf.Tensor,
    decode: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]],
    shape: tuple[int, ...],
    failure: str,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a batch of files; an invalid file gets zeros and its problem.

    A graph cannot catch the error of an operator, but a data set can skip the
    elements that raise one.

    Args:
        contents: string [B].
        decode: bytes of one file → value [*shape] and problem, "" for none.
        shape: shape of one value.
        failure: problem of the files for which `decode` raises an error.

    Returns:
        Values, float32 [B, *shape], and problems, string [B].
    """
    batch = tf.size(contents, out_type=tf.int64)

    def decode_row(
        index: tf.Tensor, content: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        value, problem = decode(content)
        return index, value, problem

    decoded = (
        tf.data.Dataset.from_tensor_slices((tf.range(batch), contents))
        .map(decode_row, num_parallel_calls=tf.data.AUTOTUNE)
        .ignore_errors()
    )
    # One more row keeps the data set from being empty when every file is invalid.
    spare = tf.data.Dataset.from_tensors((batch, tf.zeros(shape), tf.constant("")))
    # indices [n], values [n, *shape], problems [n] of the n ≤ B + 1 decoded rows.
    indices, values, problems = (
        decoded.concatenate(spare).batch(batch + 1).get_single_element()
    )
    rows = batch + 1
    # [B + 1, *shape] and [B + 1]; skipped rows are zeros and `failure`.
    value = tf.scatter_nd(indices[:, None], values, tf.stack([rows, *shape]))
    problem = tf.tensor_scatter_nd_update(
        tf.fill([rows], failure), indices[:, None], problems
    )
    return tf.ensure_shape(value[:-1], (None, *shape)), problem[:-1]


class Frontend:
    """Turns images and sounds into the inputs of the models.

    The methods that take tensors run in graphs: data sets map them and exported
    models contain them. `read_image` and `read_waveform` take paths, bytes or
    arrays and return NumPy arrays; they run the same operations, without a graph until
    many files were read, and give the same values as the map of a data set: no graph
    optimizer fuses operations in either.

    Args:
        features: settings of images and sounds.
        litert: compute log-mels with the operators of LiteRT, see `log_mel_db`.
        normalized: load the log-mel statistics of `features`. With False,
            `log_mel`, `normalize` and `denormalize` are not available.
        sound_input: the input of sounds that the model has, "log_mel" or "waveform".
        stats: log-mel statistics in place of those that `features` names.

    Raises:
        ValueError: the statistics cannot be read.

    Example:
    >>> import numpy as np
    >>> from advance_tf.config import FeatureConfig
    >>> frontend = Frontend(FeatureConfig(image_size=32, clip_seconds=1.0))
    >>> frontend.read_image(np.zeros((48, 64, 3), np.uint8)).shape
    (32, 32, 3)
    >>> tone = np.sin(np.arange(22_050) / 10).astype(np.float32)
    >>> waveform = frontend.read_waveform(tone, rate_hz=22_050)
    >>> waveform.shape, frontend.log_mel(waveform).shape
    ((16000,), TensorShape([40, 64]))
    """

    def __init__(
        self,
        features: FeatureConfig,
        *,
        litert: bool = False,
        normalized: bool = True,
        sound_input: str = "log_mel",
        stats: LogMelStats | None = None,
    ) -> None:
        self.features = features
        self.litert = litert
        self.sound_input = sound_input
        if normalized:
            self.stats = stats or load_stats(features)
        text = tf.TensorSpec([], tf.string)
        self._decoders = {
            "image": TracedLater(self.decode_image, [text, text]),
            "sound": TracedLater(
                lambda contents, name: self.decode_waveform(contents, name=name),
                [text, text],
            ),
        }
        clip = tf.TensorSpec([features.clip_samples], tf.float32)
        self._encode_clip = TracedLater(self.encode_sound, [clip])

    @_do_not_convert
    def decode_image(
        self, contents: tf.Tensor, name: tf.Tensor | str = ""
    ) -> tf.Tensor:
        """Decodes an image and resizes it.

        Args:
            contents: string scalar, the bytes of a JPEG, PNG, BMP or WebP file.
            name: name of the file, for the error.

        Returns:
            float32 [S, S, 3], RGB, integers 0..255, with S = `image_size`.

        Raises:
            tf.errors.InvalidArgumentError: the file cannot be decoded.
        """
        features = self.features
        return decode_image(
            contents,
            features.image_size,
            name,
            jpeg_scaling=features.jpeg_scaling,
            max_pixels=features.max_image_pixels,
            method=features.image_resize,
        )

    def resize_image(self, image: tf.Tensor) -> tf.Tensor:
        """Resizes images [..., H, W, 3], 0..255, to float32 [..., S, S, 3]."""
        features = self.features
        return resize_image(image, features.image_size, features.image_resize)

    @_do_not_convert
    def decode_waveform(
        self,
        contents: tf.Tensor,
        offset: tf.Tensor | float = 0.5,
        name: tf.Tensor | str = "",
    ) -> tf.Tensor:
        """Decodes WAV bytes to one clip, float32 [clip_samples]; see `fit_clip`."""
        return waveform_from_bytes(contents, self.features, offset, name)

    def fit_clip(
        self, recording: tf.Tensor, offset: tf.Tensor | float = 0.5
    ) -> tf.Tensor:
        """Fits a recording [n] to one clip [clip_samples]: repeats or cuts it."""
        return fit_clip(recording, self.features.clip_samples, offset)

    def log_mel_db(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes log-mels [..., frames, mel_bins] in dB of [..., clip_samples]."""
        return log_mel_db(waveform, self.features, litert=self.litert)

    def normalize(self, decibel: tf.Tensor) -> tf.Tensor:
        """Normalizes a log-mel in dB to zero mean and unit variance in each band."""
        return normalize(decibel, self.stats)

    def denormalize(self, log_mel: np.ndarray) -> np.ndarray:
        """Converts a normalized log-mel to dB, the inverse of `normalize`."""
        return log_mel * self.stats.std_db + self.stats.mean_db

    @_do_not_convert
    def log_mel(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes the model input `log_mel` [..., frames, mel_bins] of clips."""
        return self.normalize(self.log_mel_db(waveform))

    def encode_sound(self, waveform: tf.Tensor) -> tf.Tensor:
        """Computes the model's input of sounds from clips [..., clip_samples].

        Args:
            waveform: float32, in [-1, 1].

        Returns:
            The log-mel [..., frames, mel_bins]; or the clips unchanged when
            `sound_input` is "waveform".
        """
        return waveform if self.sound_input == "waveform" else self.log_mel(waveform)

    def encode_clip(self, waveform: np.ndarray) -> np.ndarray:
        """`encode_sound` of one clip, float32 [clip_samples], as an array."""
        return np.asarray(self._encode_clip(tf.constant(waveform, tf.float32)))

    def decode_images(self, contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes a batch of images; an invalid file does not fail the others.

        Args:
            contents: string [B], bytes of JPEG, PNG, BMP or WebP files.

        Returns:
            float32 [B, S, S, 3], 0..255, zeros for an invalid file; and the
            problem of each file, string [B], "" for none.
        """
        side, max_pixels = self.features.image_size, self.features.max_image_pixels
        too_many = f"the image must have at most {max_pixels} pixels"

        def decode(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            form = form_problem(content)
            is_read = tf.equal(form, "")
            # The reader of another form would take other bytes for the size.
            too_large = tf.cond(
                is_read,
                lambda: has_too_many_pixels(read_image_size(content), max_pixels),
                lambda: tf.constant(False),
            )
            image = tf.cond(
                is_read & ~too_large,
                lambda: self.decode_image(content),
                lambda: tf.zeros([side, side, 3]),
            )
            unread = tf.where(is_read, "", tf.strings.join([_INVALID_IMAGE, form]))
            return image, tf.where(too_large, too_many, unread)

        failure = f"{_INVALID_IMAGE}it is damaged or cut off"
        return _decode_batch(contents, decode, (side, side, 3), failure)

    def decode_waveforms(self, contents: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Decodes a batch of WAV files; an invalid file does not fail the others.

        Args:
            contents: string [B], bytes of WAV files of any rate, sample width
                and number of channels that `decode_wav` supports.

        Returns:
            float32 [B, clip_samples], zeros for an invalid file; and the problem
            of each file, string [B], "" for none.
        """

        def decode(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            waveform, problem = waveform_or_problem(content, self.features)
            message = tf.strings.join([_INVALID_SOUND, problem])
            return waveform, tf.where(tf.equal(problem, ""), "", message)

        shape = (self.features.clip_samples,)
        failure = f"{_INVALID_SOUND}it cannot be read"
        return _decode_batch(contents, decode, shape, failure)

    def read_image(self, source: ImageSource) -> np.ndarray:
        """Reads an image from a path, the bytes of a file or an array.

        Args:
            source: a JPEG, PNG, BMP or WebP file; or uint8 [H, W, 3], RGB.

        Returns:
            float32 [S, S, 3], integers 0..255.

        Raises:
            MediaError: the image cannot be decoded, or the array has another
                shape or type.
            OSError: the file cannot be opened.
        """
        if isinstance(source, np.ndarray):
            image = tf.constant(check_image_array(source))
            return np.asarray(self.resize_image(image))
        return self._read(source, "image")

    def read_waveform(
        self, source: SoundSource, rate_hz: int | None = None
    ) -> np.ndarray:
        """Reads a clip from a path, the bytes of a file or an array.

        Args:
            source: a WAV file; float [n] or [n, channels] in [-1, 1]; or a pair of
                such an array and its rate in Hz.
            rate_hz: sampling rate of an array, an integral number from 8,000 to
                192,000 Hz; not used for a file.

        Returns:
            float32 [clip_samples] at `sample_rate_hz`, the centre of longer sounds.

        Raises:
            MediaError: the sound cannot be decoded, the array has another shape
                or type, is not finite or empty, or its rate is missing.
            OSError: the file cannot be opened.
        """
        sound, rate_hz = split_rate(source, rate_hz)
        if isinstance(sound, np.ndarray):
            rate_hz, samples = check_rate(rate_hz), mono_waveform(sound)
            given = tf.constant(samples)
            clip = clip_from_samples(
                lambda first, count: given[first : first + count],
                tf.size(given, out_type=tf.int64),
                tf.constant(rate_hz),
                self.features,
            )
            return np.asarray(clip)
        return self._read(sound, "sound")

    def _read(self, source: ImageSource, kind: str) -> np.ndarray:
        contents, name = read_contents(source, kind)
        decode = self._decoders[kind]
        try:
            return np.asarray(decode(tf.constant(contents), tf.constant(name)))
        except tf.errors.InvalidArgumentError as error:
            message = media_problem(error)
            if not names_its_file(error):
                message = unreadable(kind, name, message)
            raise MediaError(message) from error
