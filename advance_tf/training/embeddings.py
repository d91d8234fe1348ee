"""Embeddings of the towers, computed once and stored for all runs."""

import abc
import dataclasses
import errno
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from advance_tf import labels
from advance_tf.config import Config, ModelConfig
from advance_tf.data.dataset import make_dataset
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.backbones.registry import sound_input
from advance_tf.models.heads import embedding_model, inference_function
from advance_tf.training.embedding_store import (
    VIEW_SEED,
    EmbeddingStore,
    Store,
    digest_of,
    feature_settings,
    file_keys,
    tower_digest,
)

FOLDER = "embeddings"
# Increased when an embedding of the same tower and file changes.
_FORMAT_VERSION = 1
# Pairs in one file: an interrupted computation loses at most these.
_FILE_PAIRS = 256
_BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class StoredPairs(abc.ABC):
    """What is stored of pairs, one row for each.

    Attributes:
        keys: (scene, stem) of each pair.
    """

    keys: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        """The number of pairs."""
        return len(self.keys)

    @property
    def scenes(self) -> np.ndarray:
        """The index of the scene of each pair, int64 [n]."""
        names = labels.scenes()
        return np.array([names.index(scene) for scene, _ in self.keys], np.int64)

    @property
    @abc.abstractmethod
    def view_count(self) -> int:
        """Number of views of a pair."""

    @property
    @abc.abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row: "image" and "audio" → [...]."""

    @abc.abstractmethod
    def gather(self, rows: npt.ArrayLike) -> dict[str, np.ndarray]:
        """What is stored of views of pairs.

        Args:
            rows: int [m]: view · n + row, for n pairs in all.

        Returns:
            "image" and "audio" → float32 [m, ...].
        """

    def rows(self, pairs: npt.ArrayLike) -> dict[str, np.ndarray]:
        """What is stored of pairs, not augmented.

        Args:
            pairs: int [m], rows.

        Returns:
            "image" and "audio" → float32 [m, ...].
        """
        return self.gather(pairs)


@dataclasses.dataclass(frozen=True, eq=False)
class Embeddings(StoredPairs):
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

    @property
    def view_count(self) -> int:
        """Number of views of a pair."""
        return len(self.views("image"))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row: "image" → [D_v] and "audio" → [D_a]."""
        return {tower: (size,) for tower, size in self.sizes.items()}

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

    def gather(self, rows: npt.ArrayLike) -> dict[str, np.ndarray]:
        """The embeddings of views of pairs.

        Args:
            rows: int [m]: view · n + row, for n pairs in all.

        Returns:
            "image" → float32 [m, D_v] and "audio" → float32 [m, D_a].
        """
        return {
            tower: self.views(tower).reshape(-1, size)[np.asarray(rows)]
            for tower, size in self.sizes.items()
        }


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

    Run it in float32, in which models are evaluated.

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
    used = used_towers(config.model)
    stores = {
        tower: EmbeddingStore(
            store_folder(folder, config, tower, recognizer.get_layer(f"{tower}_tower"))
        )
        for tower in used
    }
    outputs = TowerOutputs(embedding_model(recognizer), stores, config, pairs)
    chosen, wanted = outputs.fill(rows, augmented, progress)
    arrays = {
        tower: np.stack([np.stack(outputs.rows(tower, view)) for view in wanted])
        for tower in TOWERS
    }
    keys = tuple(pairs[row].key for row in chosen)
    if len(wanted) == 1:
        arrays = {tower: values[0] for tower, values in arrays.items()}
    return Embeddings(keys, **arrays)


def used_towers(model: ModelConfig) -> list[str]:
    """The towers of the inputs in use, "image", "audio" or both.

    >>> used_towers(ModelConfig(modality="sound"))
    ['audio']
    """
    unused = {"image": "audio", "sound": "image"}.get(model.modality)
    return [tower for tower in TOWERS if tower != unused]


def store_folder(
    folder: str | pathlib.Path,
    config: Config,
    tower: str,
    network: keras.Model,
    part: str = "",
) -> pathlib.Path:
    """The folder of what a network computes with the feature settings of a run.

    Args:
        folder: folder of stored embeddings.
        config: features are used.
        tower: "image" or "audio".
        network: the tower or its frozen stages.
        part: name of these stages.

    Returns:
        A folder whose name has the hash of layers, weights and feature settings.
    """
    settings = feature_settings(config.features, tower)
    name = digest_of([_FORMAT_VERSION, tower_digest(network), settings])
    return pathlib.Path(folder) / f"{tower}{part}-{name}"


def _write_if_permitted(
    store: Store, computed: Mapping[str, np.ndarray]
) -> Mapping[str, np.ndarray]:
    """Stores rows, unless the folder is read-only; returns what to keep of them."""
    try:
        return store.write(computed)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        return computed


class TowerOutputs:
    """What a model computes of pairs, read from stores or computed and stored.

    Args:
        model: the inputs of a recognizer → "image" and "audio" [B, ...].
        stores: tower in use → its store.
        config: data, features, audio backbone, training.cached_views and
            training.augmentation are used.
        pairs: all pairs of the data set.
    """

    def __init__(
        self,
        model: keras.Model,
        stores: Mapping[str, Store],
        config: Config,
        pairs: Sequence[Pair],
    ) -> None:
        self.config = config
        self.pairs = pairs
        self.data_dir = pathlib.Path(config.data.data_dir)
        self.run = inference_function(model)
        self.stores = stores
        augmentation = config.training.augmentation
        self.keys = {
            tower: file_keys(pairs, self.data_dir, tower, augmentation)
            for tower in stores
        }
        self.found: dict[str, dict[str, np.ndarray]] = {}
        self.constant: dict[str, np.ndarray] = {}

    def fill(
        self,
        rows: Sequence[int] | None,
        augmented: Collection[int],
        progress: bool,
    ) -> tuple[list[int], list[list[tuple[int, int]]]]:
        """Reads what is stored of pairs, and computes what is not.

        Args:
            rows: positions of the pairs; None for all.
            augmented: positions of the pairs with `cached_views` views.
            progress: show a progress bar.

        Returns:
            The positions, and (position, view) of each pair for each view.
        """
        chosen = list(range(len(self.pairs))) if rows is None else list(rows)
        views = max(1, self.config.training.cached_views if augmented else 1)
        repeated = set(augmented)
        wanted = [
            [(row, view if row in repeated else 0) for row in chosen]
            for view in range(views)
        ]
        self._fill(sorted({item for view in wanted for item in view}), progress)
        return chosen, wanted

    def _fill(self, items: Sequence[tuple[int, int]], progress: bool) -> None:
        names = {t: [self.keys[t](*item) for item in items] for t in self.stores}
        for tower, store in self.stores.items():
            self.found[tower] = store.read(names[tower])
        missing = [
            item
            for number, item in enumerate(items)
            if any(names[t][number] not in self.found[t] for t in self.stores)
        ]
        with tqdm(
            desc="embeddings", total=len(missing), unit="pair", disable=not progress
        ) as bar:
            for view in sorted({view for _, view in missing}):
                rows = [row for row, own in missing if own == view]
                self._compute(rows, view, bar.update)
        if len(self.stores) < len(TOWERS):
            self._compute_constant(items[0][0])

    def _compute(
        self, rows: Sequence[int], view: int, done: Callable[[int], object]
    ) -> None:
        """Computes and stores one view of pairs."""
        for start in range(0, len(rows), _FILE_PAIRS):
            own = rows[start : start + _FILE_PAIRS]
            parts = list(self._batches(own, view, done))
            for tower, store in self.stores.items():
                values = [row for part in parts for row in part[tower]]
                keys = [self.keys[tower](row, view) for row in own]
                computed = dict(zip(keys, values, strict=True))
                self.found[tower].update(_write_if_permitted(store, computed))

    def _batches(
        self, rows: Sequence[int], view: int, done: Callable[[int], object]
    ) -> Iterator[dict[str, np.ndarray]]:
        """The outputs of batches of pairs."""
        config = self.config
        sounds = sound_input(config.model)
        files = PairFiles(self.pairs, self.data_dir, config.features, sounds)
        augmentation = config.training.augmentation
        epochs = TrainingEpochs(VIEW_SEED, view, augmentation=augmentation)
        training = epochs if view > 0 else None
        batches = make_dataset(files, _BATCH_SIZE, training=training, rows=rows)
        start = 0
        with files.errors(rows):
            for inputs, _ in batches:
                found = {t: values.numpy() for t, values in self.run(inputs).items()}
                own = rows[start : start + len(found["image"])]
                yield {t: self._finite(t, found[t], own) for t in TOWERS}
                start += len(own)
                done(len(own))

    def _finite(
        self, tower: str, values: np.ndarray, rows: Sequence[int]
    ) -> np.ndarray:
        """The outputs [n, ...] of pairs; ValueError if one is not finite."""
        finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        bad = np.flatnonzero(~finite)
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
        """The output for zeros of the tower that is not in use: [...]."""
        (found,) = self._batches([row], 0, lambda _: None)
        self.constant = {t: found[t][0] for t in TOWERS if t not in self.stores}

    def rows(self, tower: str, items: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """What is stored of (position, view), float32 [...] each."""
        if tower in self.constant:
            return [self.constant[tower]] * len(items)
        found, key = self.found[tower], self.keys[tower]
        return [found[key(*item)] for item in items]
