"""What frozen towers, or their frozen stages, compute: files of it for all runs."""

import abc
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from advance_tf.config import IMAGE_SETTINGS, FeatureConfig
from advance_tf.data.pairing import Pair
from advance_tf.data.shards import media_state
from advance_tf.features.log_mel import load_stats
from advance_tf.files import is_partial, reading, replacing, reserve

# The settings of features that do not concern a tower. A setting that is not listed
# concerns both.
_OTHER_TOWER = {
    "audio": IMAGE_SETTINGS,
    "image": {
        *("sample_rate_hz", "clip_seconds", "window_samples", "hop_samples"),
        *("fft_length", "mel_bins", "mel_min_hz", "mel_max_hz", "magnitude_floor"),
        *("dynamic_range_db", "log_mel_stats", "log_mel_precision"),
    },
}
# Augmented views do not depend on the seed of a run, so that runs share them.
VIEW_SEED = 0


def digest_of(value: Any) -> str:
    """A hash of a value that JSON can hold: 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _architecture(layer: keras.layers.Layer) -> Any:
    """Classes and settings of a layer and its layers, without their names."""
    if isinstance(layer, keras.Model):
        return [type(layer).__name__, [_architecture(part) for part in layer.layers]]
    settings = layer.get_config()
    # A file of a network is identified by its hash.
    for name in ("name", "path"):
        settings.pop(name, None)
    if "trainable" in settings:
        # Frozen layers compute the same in a model that is loaded to predict.
        settings["trainable"] = True
    return [type(layer).__name__, settings]


def tower_digest(tower: keras.Model) -> str:
    """A hash of the layers and the weights of a tower.

    Args:
        tower: `image_tower` or `audio_tower` of a recognizer, or its frozen stages.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(digest_of(_architecture(tower)).encode())
    for variable in tower.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable))
        digest.update(f"{array.shape}{array.dtype}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:32]


def feature_settings(features: FeatureConfig, tower: str) -> dict[str, Any]:
    """The settings of features that the embeddings of a tower depend on.

    Args:
        features: settings of image and sound.
        tower: "image" or "audio".

    Returns:
        Those of images for the image tower, and the others for the audio tower, with
        the log-mel statistics themselves.
    """
    settings = {
        name: value
        for name, value in dataclasses.asdict(features).items()
        if name not in _OTHER_TOWER[tower]
    }
    if tower == "audio":
        # The contents of the file rather than its name.
        stats = load_stats(features)
        settings["log_mel_stats"] = [stats.mean_db.tolist(), stats.std_db.tolist()]
    return settings


class Store(abc.ABC):
    """Rows of one tower on disk, in files of some hundred pairs each.

    A file is written completely or not at all, and is never changed; processes that
    compute the same pairs write the same file.

    Args:
        folder: folder of this tower, these weights and these feature settings.
    """

    # The files that are complete.
    pattern: ClassVar[str]

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def read(self, keys: Collection[str]) -> dict[str, np.ndarray]:
        """Reads stored rows.

        Args:
            keys: keys of the rows, as given to `write`.

        Returns:
            Key → float32 [...], of the keys that are stored.

        Raises:
            ValueError: a file is damaged.
        """
        wanted, found = set(keys), {}
        for path in sorted(self.folder.glob(self.pattern)):
            # Another process is writing it, or was killed while it did.
            if is_partial(path):
                continue
            names, values = self._open(path)
            for key, row in zip(names, values, strict=True):
                if key in wanted:
                    found[key] = row
        return found

    @abc.abstractmethod
    def write(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds rows.

        Args:
            rows: key → float32 [...].

        Returns:
            The same, as `read` returns them.
        """

    @abc.abstractmethod
    def _open(self, path: pathlib.Path) -> tuple[list[str], np.ndarray]:
        """The keys and the rows of a file."""


class EmbeddingStore(Store):
    """Embeddings [D]: a file `.npz` of keys and embeddings, read as a whole."""

    pattern = "*.npz"

    def write(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds embeddings; see `Store.write`."""
        keys = np.array(list(rows))
        with replacing(self.folder / f"{digest_of(keys.tolist())}.npz") as temporary:
            values = np.stack(list(rows.values()))
            np.savez(temporary, keys=keys, embeddings=values)
        return dict(rows)

    def _open(self, path: pathlib.Path) -> tuple[list[str], np.ndarray]:
        way_out = "Remove it; its embeddings are computed again."
        with reading(path, "be a complete file of embeddings", way_out):
            with np.load(path, allow_pickle=False) as stored:
                keys, values = stored["keys"].tolist(), stored["embeddings"]
            if values.dtype != np.float32 or not np.isfinite(values).all():
                raise ValueError("an embedding must be finite float32")
            if len(keys) != len(values):
                raise ValueError("it must have an embedding for each key")
        return keys, values


class ActivationStore(Store):
    """Activations [...] of frozen stages, of which nothing is read before it is used.

    A file `.npy` has the activations, and a file `.json` of the same name, which is
    written last, their keys.
    """

    pattern = "*.json"

    def write(self, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds activations, and returns rows of a memory map; see `Store.write`."""
        keys = list(rows)
        path = self.folder / f"{digest_of(keys)}.npy"
        with replacing(path) as temporary:
            reserve(temporary, sum(row.nbytes for row in rows.values()))
            np.save(temporary, np.stack(list(rows.values())))
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(keys), encoding="utf-8")
        return dict(zip(keys, np.load(path, mmap_mode="r"), strict=True))

    def _open(self, path: pathlib.Path) -> tuple[list[str], np.ndarray]:
        way_out = f"Remove {path}; its activations are computed again."
        with reading(path.with_suffix(".npy"), "be complete", way_out):
            keys = list(json.loads(path.read_text(encoding="utf-8")))
            values = np.load(path.with_suffix(".npy"), mmap_mode="r")
            if values.dtype != np.float32 or len(values) != len(keys):
                raise ValueError("it must have a float32 row for each key")
        return keys, values


def file_keys(
    pairs: Sequence[Pair], data_dir: pathlib.Path, tower: str, augmentation: str
) -> Callable[[int, int], str]:
    """A function of position and view: the key of what is stored.

    It depends on path, size and modification time of the file, as that of the cache
    of decoded pairs, and for an augmented view also on what determines it.
    """
    root = data_dir.resolve()

    def key(position: int, view: int) -> str:
        pair = pairs[position]
        name = pair.image if tower == "image" else pair.sound
        source: list[Any] = [*media_state(root, name)]
        if view:
            source += [view, position, VIEW_SEED]
            if tower == "image" and augmentation != "real":
                source.append(augmentation)
        return digest_of(source)

    return key
