"""The files of pairs, and how the inputs of a model are read from them."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data import augment
from advance_tf.data.cache import PairCache
from advance_tf.data.media_errors import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import ComputedRows, Rows, path_rows
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.frontend import Frontend

_Tensors = dict[str, tf.Tensor]
_Loader = Callable[[_Tensors, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# Columns of the paths, which cannot be names of targets.
_IMAGE, _SOUND, _CACHED = "path of image", "path of sound", "path in cache"


@dataclasses.dataclass(frozen=True, eq=False)
class PairFiles:
    """The files of pairs, and the inputs that a model takes of them.

    Attributes:
        pairs: n pairs.
        data_dir: folder of the data set.
        features: settings of image and sound.
        sound_input: input of sounds that the model has, "log_mel" or "waveform".
        cache: decoded pairs, already filled; None decodes the files in each pass.

    Raises:
        ValueError: the cache holds sounds in another form.
    """

    pairs: Sequence[Pair]
    data_dir: str | pathlib.Path
    features: FeatureConfig
    sound_input: str = "log_mel"
    cache: PairCache | None = None

    def __post_init__(self) -> None:
        if self.cache is not None and self.cache.sound_input != self.sound_input:
            raise ValueError(
                f"cache must hold the sounds as {self.sound_input}; it holds them as "
                f"{self.cache.sound_input}. Create the cache with "
                f"`sound_input={self.sound_input!r}`."
            )

    def errors(
        self, rows: Sequence[int] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Converts TensorFlow's errors of reading the files, see `media_errors`.

        Args:
            rows: positions of the pairs that are read; None for all.

        Returns:
            A context, in which a file that is missing or cannot be decoded is a
            ValueError that names it.
        """
        read = self.pairs if rows is None else [self.pairs[row] for row in rows]
        return media_errors(read, self.data_dir, self.features)

    def path_columns(self) -> dict[str, ComputedRows]:
        """The paths of the files of every pair.

        Returns:
            Name → paths, [n], for `loader`.
        """
        columns = {
            _IMAGE: path_rows(self.pairs, self.data_dir, "image"),
            _SOUND: path_rows(self.pairs, self.data_dir, "sound"),
        }
        if self.cache is not None:
            columns[_CACHED] = self.cache.path_rows(self.pairs, self.data_dir)
        return columns

    def loader(
        self, paths: Mapping[str, Rows], training: TrainingEpochs | None
    ) -> Callable[[tf.Tensor, tf.Tensor, _Tensors], _Tensors]:
        """Builds the function that loads the inputs of a pair.

        Args:
            paths: result of `path_columns`.
            training: seed and augmentation are used; None in evaluation.

        Returns:
            A function of epoch, index and paths, see `path_columns`, that returns
            image and sound, the image of a cache as uint8.
        """
        frontend = Frontend(self.features, sound_input=self.sound_input)
        cache, is_training = self.cache, training is not None
        # A cache holds the centre cut; training cuts a long recording at random.
        cuts = is_training and cache and cache.has_long_recordings(paths[_CACHED])
        load = _pair_loader(frontend, is_training, cache, bool(cuts))
        seed = training.seed if training else 0

        # The functions have no Python control flow; looking for it takes a second.
        @tf.autograph.experimental.do_not_convert
        def load_inputs(epoch: tf.Tensor, index: tf.Tensor, row: _Tensors) -> _Tensors:
            pair_seed = augment.element_seed(seed, epoch, index)
            # [S, S, 3], and [frames, mel_bins] or [clip_samples]
            image, sound = load(row, pair_seed)
            if training:
                image = augment.augment_image(image, pair_seed, training.augmentation)
            return {"image": image, frontend.sound_input: sound}

        return load_inputs


def _pair_loader(
    frontend: Frontend, training: bool, cache: PairCache | None, cuts: bool
) -> _Loader:
    """A function of paths and seed: the image and the model's input of the sound.

    Images of the cache are uint8, images of files float32. `cuts` is whether
    recordings of the cache are decoded again and cut at random.
    """
    features, is_waveform = frontend.features, frontend.sound_input == "waveform"

    def finish(sound: tf.Tensor) -> tf.Tensor:
        return sound if is_waveform else frontend.normalize(sound)

    def decode_sound(row: _Tensors, pair_seed: tf.Tensor) -> tf.Tensor:
        offset = augment.random_offset(pair_seed) if training else tf.constant(0.5)
        decode = sound_decoder(features, frontend.sound_input)
        return finish(decode(row[_SOUND], offset))

    def load_files(row: _Tensors, pair_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = image_decoder(features)(row[_IMAGE])  # [S, S, 3]
        return image, decode_sound(row, pair_seed)

    if cache is None:
        return load_files

    def load_cached(row: _Tensors, pair_seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image, stored, is_long = cache.read(row[_CACHED])

        # Without the decoder the graph of a pass is ready in a tenth of the time.
        if not cuts:
            return image, finish(stored)
        sound = tf.cond(
            is_long, lambda: decode_sound(row, pair_seed), lambda: finish(stored)
        )
        return image, sound

    return load_cached
