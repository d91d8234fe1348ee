"""Data sets for the pretraining of a tower: image classes or tagged clips."""

import dataclasses
import functools
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import FeatureConfig
from advance_tf.data import augment
from advance_tf.data.dataset import epoch_indices
from advance_tf.data.pairing import IMAGE_ENDINGS
from advance_tf.data.rows import ComputedRows, Rows, add_rows, blocks, path_rows
from advance_tf.data.sampling import TrainingEpochs, class_rounds
from advance_tf.data.splits import hash_key
from advance_tf.data.tagged_clips import TaggedClip
from advance_tf.features.file_decoders import image_decoder, sound_decoder
from advance_tf.features.frontend import Frontend
from advance_tf.features.pipelines import without_autotuning
from advance_tf.files import is_system_entry


@dataclasses.dataclass(frozen=True)
class ImageFolder:
    """The images of a folder with one subfolder for each class.

    Attributes:
        classes: names of the subfolders, sorted.
        training: (path relative to the folder, class index) of each training image.
        validation: the same for the validation images; no image is in both.
    """

    classes: tuple[str, ...]
    training: tuple[tuple[str, int], ...]
    validation: tuple[tuple[str, int], ...]


def read_image_folder(
    folder: str | pathlib.Path, validation_fraction: float = 0.2, seed: int = 0
) -> ImageFolder:
    """Lists <folder>/<class>/<image> and selects validation images of each class.

    Args:
        folder: folder with one subfolder for each class.
        validation_fraction: fraction of each class for validation, in (0, 1);
            rounded, at least one image.
        seed: seed of the selection, which does not depend on the order of files.

    Returns:
        Classes sorted by name, images sorted by path.

    Raises:
        ValueError: there are fewer than two classes, or a class has fewer than
            two images.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("farm/1.jpg", "farm/2.jpg", "port/1.jpg", "port/2.jpg"):
        ...         path = pathlib.Path(folder) / name
        ...         path.parent.mkdir(exist_ok=True)
        ...         path.touch()
        ...     images = read_image_folder(folder, validation_fraction=0.5)
        >>> images.classes, len(images.training), len(images.validation)
        (('farm', 'port'), 2, 2)
    """
    root = pathlib.Path(folder)
    if not 0 < validation_fraction < 1:
        raise ValueError(
            "validation_fraction must be between 0 and 1; received "
            f"{validation_fraction}."
        )
    entries = list(root.iterdir()) if root.is_dir() else []
    classes = sorted(
        path.name
        for path in entries
        if path.is_dir() and not is_system_entry(path.name)
    )
    if len(classes) < 2:
        raise ValueError(
            "data_dir must contain a subfolder for each of at least two classes; "
            f"{root} has {len(classes)}. Add classes or choose another folder."
        )
    training: list[tuple[str, int]] = []
    validation: list[tuple[str, int]] = []
    for index, name in enumerate(classes):
        paths = sorted(
            f"{name}/{path.name}"
            for path in (root / name).iterdir()
            if path.suffix.lower() in IMAGE_ENDINGS and not is_system_entry(path.name)
        )
        if len(paths) < 2:
            raise ValueError(
                f"Each class must have at least two images ({', '.join(IMAGE_ENDINGS)}"
                f"); '{name}' has {len(paths)}. Add images or remove the class."
            )
        count = min(max(1, round(validation_fraction * len(paths))), len(paths) - 1)
        held_out = set(sorted(paths, key=lambda path: hash_key(seed, path))[:count])
        training += [(path, index) for path in paths if path not in held_out]
        validation += [(path, index) for path in sorted(held_out)]
    return ImageFolder(tuple(classes), tuple(training), tuple(validation))


def multi_hot(clips: Sequence[TaggedClip]) -> np.ndarray:
    """Encodes the events of clips as targets.

    Args:
        clips: n tagged clips.

    Returns:
        float32 [n, 527], 1 where the clip has the event, otherwise 0.

    Example:
        >>> targets = multi_hot([TaggedClip("a.wav", (0, 3)), TaggedClip("b.wav", ())])
        >>> targets.shape, targets.sum(axis=1).tolist()
        ((2, 527), [2.0, 0.0])
    """
    targets = np.zeros((len(clips), len(labels.events())), np.float32)
    for row, clip in enumerate(clips):
        targets[row, list(clip.events)] = 1
    return targets


def _event_rows(clips: Sequence[TaggedClip]) -> ComputedRows:
    """`multi_hot` of the clips that are indexed, float32 [n, 527]."""

    def read(rows: np.ndarray) -> np.ndarray:
        return multi_hot([clips[row] for row in rows.tolist()])

    return ComputedRows(read, (len(clips), len(labels.events())), np.float32)


def sampling_weights(targets: Rows) -> np.ndarray:
    """Sampling weights that draw rare events as often as common ones.

        w_n ∝ Σ_i t_ni / Σ_m t_mi

    Args:
        targets: [n, events], 0 or 1; an array or other `Rows`.

    Returns:
        float64 [n] with a sum of 1.

    Raises:
        ValueError: no clip has an event.

    Example:
        >>> sampling_weights(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).tolist()
        [0.25, 0.25, 0.5]
    """
    counts = np.sum([block.sum(0) for block in blocks(targets)], axis=0)  # [events]
    shares = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
    parts = [np.asarray(block @ shares, np.float64) for block in blocks(targets)]
    weights = np.concatenate(parts)  # [n]
    if not weights.sum():
        raise ValueError(
            "At least one clip must have an event; received none. Add clips that do."
        )
    return weights / weights.sum()


def make_clip_dataset(
    clips: Sequence[TaggedClip],
    clips_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
    *,
    training: TrainingEpochs | None = None,
    mixup_strength: float = 1.0,
) -> tf.data.Dataset:
    """Batches of log-mel spectrograms and the events of the clips.

    Training draws clips with replacement by `sampling_weights`, cuts them at random
    and applies SpecAugment and mixup. Evaluation uses every clip once, in order and
    cut at the centre.

    Args:
        clips: n tagged clips.
        clips_dir: folder of the WAV files.
        features: settings of the log-mel spectrogram.
        batch_size: clips in a batch.
        training: the epochs of training; None for evaluation. `sampling` "shuffled"
            draws clips by `sampling_weights`; "balanced" by `class_rounds` of the
            events; "fixed" uses each clip once, in the same order in all epochs.
            `augmentation` "none" leaves out `augment.spec_augment`.
        mixup_strength: parameter of the Beta distribution of `augment.mixup`; 0
            disables mixup.

    Returns:
        A data set of ({"log_mel": float32 [B, frames, mel_bins]}, {"events":
        float32 [B, 527]}).

    Raises:
        ValueError: no clip has an event.

    Example:
        >>> import tempfile
        >>> from advance_tf.data.synthetic.pairs import write_tagged_clips
        >>> from advance_tf.data.tagged_clips import read_tags
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_tagged_clips(folder, clips=2, progress=False)
        ...     clips = read_tags(f"{folder}/tags.csv", folder)
        ...     batches = make_clip_dataset(clips, folder, FeatureConfig(), 2)
        ...     inputs, targets = next(iter(batches))
        >>> inputs["log_mel"].shape, targets["events"].shape
        (TensorShape([2, 400, 64]), TensorShape([2, 527]))
    """
    frontend = Frontend(features)
    columns = {
        "path": path_rows(clips, clips_dir, "path"),
        "events": _event_rows(clips),
    }
    cumulative = tf.constant(np.cumsum(sampling_weights(columns["events"])), tf.float64)
    seed = training.seed if training else 0

    def draw_clip(epoch: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        clip_seed = augment.element_seed(seed, epoch, index)
        if training and training.sampling == "shuffled":
            index = _draw_index(cumulative, clip_seed)
        return clip_seed, index

    def load_clip(
        clip_seed: tf.Tensor, index: tf.Tensor, row: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        path = row["path"]
        offset = augment.random_offset(clip_seed) if training else tf.constant(0.5)
        # [frames, mel_bins]
        log_mel = frontend.normalize(sound_decoder(features, "log_mel")(path, offset))
        if training and training.augmentation != "none":
            log_mel = augment.spec_augment(log_mel, clip_seed)
        return log_mel, row["events"], clip_seed

    def mix_batch(
        log_mel: tf.Tensor, events: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        if training and mixup_strength > 0:
            log_mel, events = augment.mixup(log_mel, events, mixup_strength, seeds[0])
        return {"log_mel": log_mel}, {"events": events}

    indices = _clip_indices(clips, training)
    batches = (
        add_rows(indices.map(draw_clip), columns, len(clips))
        .map(load_clip, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(
            batch_size, drop_remainder=bool(training and not training.keep_last_batch)
        )
        .map(mix_batch)
    )
    return without_autotuning(batches.prefetch(2))


def _clip_indices(
    clips: Sequence[TaggedClip], training: TrainingEpochs | None
) -> tf.data.Dataset:
    """Epoch and index of the clips, see `epoch_indices`."""
    count = len(clips)
    if training is None:
        return epoch_indices(count)
    if training.sampling != "balanced":
        order_of = functools.partial(training.order, count)
        return epoch_indices(count, order_of, training.first_epoch)
    members: list[list[int]] = [[] for _ in labels.events()]
    for position, clip in enumerate(clips):
        for event in clip.events:
            members[event].append(position)

    def draw_rounds(epoch: int) -> np.ndarray:
        return class_rounds(members, count, seed=training.seed, epoch=epoch)

    return epoch_indices(count, draw_rounds, training.first_epoch)


def _draw_index(cumulative: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws an index by weight, from the cumulative weights [n] and a seed [2]."""
    # A separate stream, independent of the draws of augmentation.
    stream = seed + tf.constant([1 << 40, 0], tf.int64)
    draw = tf.random.stateless_uniform([1], stream, dtype=tf.float64)
    index = tf.searchsorted(cumulative, draw * cumulative[-1], side="right")[0]
    return tf.cast(tf.minimum(index, tf.size(cumulative) - 1), tf.int64)


def make_image_dataset(
    images: Sequence[tuple[str, int]],
    images_dir: str | pathlib.Path,
    features: FeatureConfig,
    batch_size: int,
    *,
    training: TrainingEpochs | None = None,
) -> tf.data.Dataset:
    """Batches of images and their classes.

    Args:
        images: (path relative to the folder, class index) of each image.
        images_dir: the folder.
        features: settings of the images.
        batch_size: images in a batch.
        training: order and augmentation as in `make_dataset`, with classes as scenes;
            None for evaluation.

    Returns:
        A data set of ({"image": float32 [B, S, S, 3] in [0, 255]}, {"class": int32
        [B]}).
    """
    classes = np.array([index for _, index in images], np.int32)
    columns: dict[str, Rows] = {
        "path": path_rows(images, images_dir, 0),
        "class": classes,
    }

    def load_image(
        epoch: tf.Tensor, index: tf.Tensor, row: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        image = image_decoder(features)(row["path"])  # [S, S, 3]
        if training:
            image_seed = augment.element_seed(training.seed, epoch, index)
            image = augment.augment_image(image, image_seed, training.augmentation)
        return {"image": image}, {"class": row["class"]}

    indices = epoch_indices(len(images))
    if training:
        order_of = functools.partial(training.order, len(images), classes=classes)
        indices = epoch_indices(len(images), order_of, training.first_epoch)
    batches = (
        add_rows(indices, columns, len(images))
        .map(load_image, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(
            batch_size, drop_remainder=bool(training and not training.keep_last_batch)
        )
    )
    return without_autotuning(batches.prefetch(2))
