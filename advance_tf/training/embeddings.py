"""Embeddings of the towers, computed once and stored for all runs."""

import dataclasses
import errno
import hashlib
import json
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from advance_tf import labels
from advance_tf.config import IMAGE_SETTINGS, Config, FeatureConfig
from advance_tf.data.dataset import make_dataset
from advance_tf.data.media_errors import media_errors
from advance_tf.data.pairing import Pair
from advance_tf.data.shards import media_state
from advance_tf.features.log_mel import load_stats
from advance_tf.files import reading, replacing
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.backbones.registry import sound_input
from advance_tf.models.heads import embedding_model

FOLDER = "embeddings"
# Increased when an embedding of the same tower and file changes.
_FORMAT_VERSION = 1
# Pairs in one file: an interrupted computation loses at most these.
_FILE_PAIRS = 256
_BATCH_SIZE = 32
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
_VIEW_SEED = 0


@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of pairs, one row for each.

    >>> keys = (("beach", "00001"), ("forest", "00002"))
    >>> embeddings = Embeddings(keys, np.zeros((2, 8)), np.zeros((2, 4)))
    >>> len(embeddings), embeddings.sizes, embeddings.scenes.tolist()
    (2, {'image': 8, 'audio': 4}, [1, 4])

    Attributes:
        keys: (scene, stem) of each pair.
        image: of the image tower, float [n, D_v], or [views, n, D_v] with the pairs
            themselves in view 0 and augmented ones in the others.
        audio: of the audio tower, float [n, D_a] or [views, n, D_a].
    """

    keys: tuple[tuple[str, str], ...]
    image: np.ndarray
    audio: np.ndarray

    def __post_init__(self) -> None:
        shapes = [np.shape(self.views(tower))[:2] for tower in TOWERS]
        if shapes[0] != shapes[1] or shapes[0][1] != len(self.keys):
            raise ValueError(
                "image and `audio` must have the same number of views and a row for "
                f"each of {len(self.keys)} pairs; received {np.shape(self.image)} and "
                f"{np.shape(self.audio)}. Compute them for the same pairs."
            )

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.keys)

    @property
    def scenes(self) -> np.ndarray:
        """The index of the scene of each pair, int64 [n]."""
        names = labels.scenes()
        return np.array([names.index(scene) for scene, _ in self.keys], np.int64)

    @property
    def sizes(self) -> dict[str, int]:
        """The lengths of the embeddings: "image" → D_v and "audio" → D_a."""
        return {tower: int(self.views(tower).shape[-1]) for tower in TOWERS}

    def views(self, tower: str) -> np.ndarray:
        """All views of a tower's embeddings.

        Args:
            tower: "image" or "audio".

        Returns:
            float32 [views, n, D].
        """
        values = np.asarray(self.image if tower == "image" else self.audio, np.float32)
        return values if values.ndim == 3 else values[np.newaxis]

    def rows(self, pairs: npt.ArrayLike) -> dict[str, np.ndarray]:
        """The embeddings of pairs, not augmented.

        Args:
            pairs: int [m], rows.

        Returns:
            "image" → float32 [m, D_v] and "audio" → float32 [m, D_a].
        """
        return {tower: self.views(tower)[0][np.asarray(pairs)] for tower in TOWERS}


def _digest(value: Any) -> str:
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
    return [type(layer).__name__, settings]


def tower_digest(tower: keras.Model) -> str:
    """A hash of the layers and the weights of a tower.

    Args:
        tower: `image_tower` or `audio_tower` of a recognizer.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.sha256(_digest(_architecture(tower)).encode())
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


class EmbeddingStore:
    """Embeddings of one tower on disk, in files of some hundred pairs each.

    A file holds keys and embeddings, is written completely or not at all, and is
    never changed; processes that compute the same pairs write the same file.

    Args:
        folder: folder of this tower, these weights and these feature settings.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

    def read(self, keys: Collection[str]) -> dict[str, np.ndarray]:
        """Reads stored embeddings.

        Args:
            keys: keys of the embeddings, as given to `write`.

        Returns:
            Key → float32 [D], of the keys that are stored.
        """
        wanted, found = set(keys), {}
        for path in sorted(self.folder.glob("*.npz")):
            way_out = "Remove it; its embeddings are computed again."
            with reading(path, "be a complete file of embeddings", way_out):
                with np.load(path, allow_pickle=False) as stored:
                    keys, values = stored["keys"].tolist(), stored["embeddings"]
                if values.dtype != np.float32 or not np.isfinite(values).all():
                    raise ValueError("an embedding must be finite float32")
                for key, row in zip(keys, values, strict=True):
                    if key in wanted:
                        found[key] = row
        return found

    def write(self, embeddings: Mapping[str, np.ndarray]) -> None:
        """Adds embeddings.

        Args:
            embeddings: key → float32 [D].
        """
        keys = np.array(list(embeddings))
        with replacing(self.folder / f"{_digest(keys.tolist())}.npz") as temporary:
            values = np.stack(list(embeddings.values()))
            np.savez(temporary, keys=keys, embeddings=values)


def _file_keys(
    pairs: Sequence[Pair], data_dir: pathlib.Path, tower: str, augmentation: str
) -> Callable[[int, int], str]:
    """A function of position and view: the key of an embedding.

    It depends on path, size and modification time of the file, as that of the cache
    of decoded pairs, and for an augmented view also on what determines it.
    """
    root = data_dir.resolve()

    def key(position: int, view: int) -> str:
        pair = pairs[position]
        name = pair.image if tower == "image" else pair.sound
        source: list[Any] = [*media_state(root, name)]
        if view:
            source += [view, position, _VIEW_SEED]
            if tower == "image" and augmentation != "real":
                source.append(augmentation)
        return _digest(source)

    return key


def compute_embeddings(
    recognizer: keras.Model,
    config: Config,
    pairs: Sequence[Pair],
    folder: str | pathlib.Path,
    *,
    rows: Sequence[int] | None = None,
    augmented: Collection[int] = (),
    progress: bool = True,
) -> Embeddings:
    """Computes the embeddings of pairs, or reads those that are stored.

    Run it in float32, in which models are evaluated, and not in the scope of a
    strategy.

    Args:
        recognizer: a model of `build_recognizer`.
        config: data, features, model.modality, training.cached_views and
            training.augmentation are used.
        pairs: all pairs of the data set: the augmentation of a pair depends on its
            position among them.
        folder: folder of stored embeddings; any number of runs may share it.
        rows: positions of the pairs to compute; None for all.
        augmented: positions of the pairs with `cached_views` views; the others have
            the pair itself in every view.
        progress: show a progress bar.

    Returns:
        The embeddings of `rows`, in their order: [n, D], or [views, n, D] with more
        than one view. A tower that is not in use has the embedding of zeros.

    Raises:
        ValueError: a file cannot be read.
    """
    chosen = list(range(len(pairs))) if rows is None else list(rows)
    views = max(1, config.training.cached_views if augmented else 1)
    computation = _Computation(recognizer, config, pairs, pathlib.Path(folder))
    repeated = set(augmented)
    wanted = [
        [(row, view if row in repeated else 0) for row in chosen]
        for view in range(views)
    ]
    computation.fill(sorted({item for view in wanted for item in view}), progress)
    arrays = {
        tower: np.stack([computation.rows(tower, view) for view in wanted])
        for tower in TOWERS
    }
    keys = tuple((pairs[row].scene, pairs[row].stem) for row in chosen)
    if views == 1:
        arrays = {tower: values[0] for tower, values in arrays.items()}
    return Embeddings(keys, **arrays)


def _write_if_permitted(
    store: EmbeddingStore, embeddings: Mapping[str, np.ndarray]
) -> None:
    """Stores embeddings, unless the folder is read-only."""
    try:
        store.write(embeddings)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise


class _Computation:
    """The towers, their stores, and what is read from them: (position, view) → [D]."""

    def __init__(
        self,
        recognizer: keras.Model,
        config: Config,
        pairs: Sequence[Pair],
        folder: pathlib.Path,
    ) -> None:
        self.config = config
        self.pairs = pairs
        self.data_dir = pathlib.Path(config.data.data_dir)
        self.model = embedding_model(recognizer)
        modality = config.model.modality
        unused = {"image": "audio", "sound": "image"}.get(modality)
        self.used = [tower for tower in TOWERS if tower != unused]
        self.stores, self.keys = {}, {}
        for tower in self.used:
            settings = feature_settings(config.features, tower)
            network = tower_digest(recognizer.get_layer(f"{tower}_tower"))
            name = _digest([_FORMAT_VERSION, network, settings])
            self.stores[tower] = EmbeddingStore(folder / f"{tower}-{name}")
            self.keys[tower] = _file_keys(
                pairs, self.data_dir, tower, config.training.augmentation
            )
        self.found: dict[str, dict[str, np.ndarray]] = {}
        self.constant: dict[str, np.ndarray] = {}

    def fill(self, items: Sequence[tuple[int, int]], progress: bool) -> None:
        """Reads the embeddings of (position, view), and computes those that lack."""
        names = {t: [self.keys[t](*item) for item in items] for t in self.used}
        for tower in self.used:
            self.found[tower] = self.stores[tower].read(names[tower])
        missing = [
            item
            for number, item in enumerate(items)
            if any(names[t][number] not in self.found[t] for t in self.used)
        ]
        with tqdm(
            desc="embeddings", total=len(missing), unit="pair", disable=not progress
        ) as bar:
            for view in sorted({view for _, view in missing}):
                rows = [row for row, own in missing if own == view]
                self._compute(rows, view, bar.update)
        if len(self.used) < len(TOWERS):
            self._compute_constant(items[0][0])

    def _compute(
        self, rows: Sequence[int], view: int, done: Callable[[int], object]
    ) -> None:
        """Computes and stores the embeddings of one view of pairs."""
        for start in range(0, len(rows), _FILE_PAIRS):
            own = rows[start : start + _FILE_PAIRS]
            parts = list(self._batches(own, view, done))
            for tower in self.used:
                values = np.concatenate([part[tower] for part in parts])
                keys = [self.keys[tower](row, view) for row in own]
                computed = dict(zip(keys, values, strict=True))
                _write_if_permitted(self.stores[tower], computed)
                self.found[tower].update(computed)

    def _batches(
        self, rows: Sequence[int], view: int, done: Callable[[int], object]
    ) -> Iterator[dict[str, np.ndarray]]:
        """The embeddings of batches of pairs."""
        features, data_dir = self.config.features, self.data_dir
        batches = make_dataset(
            self.pairs,
            data_dir,
            features,
            _BATCH_SIZE,
            training=view > 0,
            seed=_VIEW_SEED,
            first_epoch=view,
            rows=rows,
            sound_input=sound_input(self.config.model),
            augmentation=self.config.training.augmentation,
        )
        start = 0
        with media_errors([self.pairs[row] for row in rows], data_dir, features):
            for inputs, _ in batches:
                found = self.model.predict_on_batch(inputs)
                own = rows[start : start + len(found["image"])]
                yield {t: self._finite(t, found[t], own) for t in TOWERS}
                start += len(own)
                done(len(own))

    def _finite(
        self, tower: str, values: np.ndarray, rows: Sequence[int]
    ) -> np.ndarray:
        """The embeddings [n, D] of pairs; ValueError if one is not finite."""
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            pair = self.pairs[rows[bad[0]]]
            path = self.data_dir / (pair.image if tower == "image" else pair.sound)
            raise ValueError(
                f"Embeddings must be finite; received NaN or infinity from the {tower} "
                f"tower for {len(bad)} of {len(rows)} pairs, the first {path}. Check "
                "the file, or choose another backbone or other weights."
            )
        return np.asarray(values, np.float32)

    def _compute_constant(self, row: int) -> None:
        """The embedding of zeros of the tower that is not in use: [1, D]."""
        (found,) = self._batches([row], 0, lambda _: None)
        self.constant = {t: found[t] for t in TOWERS if t not in self.used}

    def rows(self, tower: str, items: Sequence[tuple[int, int]]) -> np.ndarray:
        """The embeddings of (position, view), float32 [n, D]."""
        if tower in self.constant:
            return np.repeat(self.constant[tower], len(items), axis=0)
        found, key = self.found[tower], self.keys[tower]
        return np.stack([found[key(*item)] for item in items])
