"""Activations of partly frozen towers, computed once and stored for all runs."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np
import numpy.typing as npt

from advance_tf.config import WHOLE_TOWER, Config
from advance_tf.data.pairing import Pair
from advance_tf.models.backbones.contract import TOWERS
from advance_tf.models.cut import TowerCut, cut_tower, stage_end
from advance_tf.models.heads import embedding_model
from advance_tf.models.recognizer import sound_input_of, tower_sound
from advance_tf.training.embedding_store import (
    ActivationStore,
    EmbeddingStore,
    Store,
)
from advance_tf.training.embeddings import (
    Embeddings,
    StoredPairs,
    TowerOutputs,
    compute_embeddings,
    store_folder,
    used_towers,
)

_BATCH_SIZE = 64


def trains_heads_only(config: Config) -> bool:
    """Whether a run trains its heads on stored embeddings.

    Args:
        config: model and training.cached_views are used.

    Returns:
        True when `cached_views` is at least 1 and every tower in use is frozen.

    >>> trains_heads_only(Config())
    False
    """
    return config.training.cached_views > 0 and all(
        getattr(config.model, f"{tower}_frozen_stages") == WHOLE_TOWER
        for tower in used_towers(config.model)
    )


def trains_on_activations(config: Config) -> bool:
    """Whether a run trains its heads and parts of its towers on stored activations.

    Args:
        config: model and training.cached_views are used.

    Returns:
        True when `cached_views` is at least 1, every tower in use is frozen, and one
        of them in part only, behind a layer of `Backbone.stage_ends`.

    >>> trains_on_activations(Config())
    False
    """
    if not config.training.cached_views or trains_heads_only(config):
        return False
    return all(
        getattr(config.model, f"{tower}_frozen_stages") == WHOLE_TOWER
        or stage_end(tower, config.model)
        for tower in used_towers(config.model)
    )


def trains_on_stored(config: Config) -> bool:
    """Whether a run does not run the frozen parts of its towers in every epoch.

    Args:
        config: model and training.cached_views are used.

    Returns:
        `trains_heads_only` or `trains_on_activations`.
    """
    return trains_heads_only(config) or trains_on_activations(config)


@dataclasses.dataclass(frozen=True, eq=False)
class Activations(StoredPairs):
    """Activations of pairs, each of which is read when a batch needs it.

    >>> rows = [np.zeros((4, 4, 2), np.float32)] * 2
    >>> keys = (("beach", "00001"), ("forest", "00002"))
    >>> activations = Activations(keys, {"image": [rows], "audio": [rows]})
    >>> activations.shapes["image"], activations.gather([1])["image"].shape
    ((4, 4, 2), (1, 4, 4, 2))

    Attributes:
        keys: (scene, stem) of each pair.
        views: "image" and "audio" → a row [...] for each pair, for each view, with the
            pairs themselves in view 0. Of a tower that is frozen as a whole, or not in
            use, the rows are its embeddings.
    """

    views: Mapping[str, Sequence[Sequence[np.ndarray]]]

    @property
    def view_count(self) -> int:
        """Number of views of a pair."""
        return len(self.views["image"])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of a row: "image" and "audio" → [...]."""
        return {tower: views[0][0].shape for tower, views in self.views.items()}

    def gather(self, rows: npt.ArrayLike) -> dict[str, np.ndarray]:
        """Reads activations.

        Args:
            rows: int [m]: view · n + row, for n pairs in all.

        Returns:
            "image" and "audio" → float32 [m, ...].
        """
        numbers = [divmod(int(row), len(self)) for row in np.asarray(rows)]
        found = {}
        for tower, views in self.views.items():
            found[tower] = np.empty((len(numbers), *self.shapes[tower]), np.float32)
            for place, (view, row) in enumerate(numbers):
                found[tower][place] = views[view][row]
        return found


def cut_towers(recognizer: keras.Model, config: Config) -> dict[str, TowerCut]:
    """Cuts the partly frozen towers of a recognizer behind their frozen stages.

    Args:
        recognizer: a model of `build_recognizer`.
        config: model is used.

    Returns:
        "image", "audio" or both → the two parts; without towers that are frozen as a
        whole or not in use.
    """
    ends = {
        tower: stage_end(tower, config.model) for tower in used_towers(config.model)
    }
    return {
        tower: cut_tower(recognizer.get_layer(f"{tower}_tower"), end)
        for tower, end in ends.items()
        if end
    }


def compute_activations(
    recognizer: keras.Model,
    config: Config,
    pairs: Sequence[Pair],
    folder: str | pathlib.Path,
    *,
    rows: Sequence[int] | None = None,
    augmented: Collection[int] = (),
    progress: bool = True,
) -> Activations:
    """Computes the activations of pairs, or opens those that are stored.

    They are stored in float32, so that training on them differs from running the
    frozen stages by rounding alone.

    Args:
        recognizer: a model of `build_recognizer` for `trains_on_activations`.
        config: as for `compute_embeddings`, and the numbers of frozen stages.
        pairs: all pairs of the data set.
        folder: folder of stored embeddings; any number of runs may share it.
        rows: positions of the pairs to compute; None for all.
        augmented: positions of the pairs with `cached_views` views; the others have
            the pair itself in every view.
        progress: show a progress bar.

    Returns:
        The activations of `rows`, in their order.

    Raises:
        ValueError: a file cannot be read.
        OSError: the disk is full.
    """
    cuts = cut_towers(recognizer, config)
    stores: dict[str, Store] = {}
    for tower in used_towers(config.model):
        network = recognizer.get_layer(f"{tower}_tower")
        if tower in cuts:
            stages = getattr(config.model, f"{tower}_frozen_stages")
            own = store_folder(folder, config, tower, cuts[tower].frozen, f"-{stages}")
            stores[tower] = ActivationStore(own)
        else:
            stores[tower] = EmbeddingStore(store_folder(folder, config, tower, network))
    embed = embedding_model(recognizer)
    outputs = dict(embed.output)
    sound = tower_sound(recognizer, recognizer.input[sound_input_of(recognizer)])
    inputs = {"image": recognizer.input["image"], "audio": sound}
    for tower, cut in cuts.items():
        outputs[tower] = cut.frozen(inputs[tower])
    computation = TowerOutputs(keras.Model(embed.input, outputs), stores, config, pairs)
    chosen, wanted = computation.fill(rows, augmented, progress)
    views = {tower: [computation.rows(tower, v) for v in wanted] for tower in TOWERS}
    keys = tuple(pairs[row].key for row in chosen)
    return Activations(keys, views)


def embed_activations(
    recognizer: keras.Model, config: Config, activations: Activations
) -> Embeddings:
    """Computes embeddings from activations, without the frozen stages.

    Args:
        recognizer: the model, with any weights behind the frozen stages.
        config: model is used.
        activations: of `compute_activations` with the same frozen stages.

    Returns:
        The embeddings of the pairs, not augmented.
    """
    cuts = cut_towers(recognizer, config)
    found: dict[str, list[np.ndarray]] = {tower: [] for tower in TOWERS}
    for start in range(0, len(activations), _BATCH_SIZE):
        stop = min(start + _BATCH_SIZE, len(activations))
        for tower, values in activations.rows(range(start, stop)).items():
            if tower in cuts:
                values = cuts[tower].rest.predict_on_batch(values)
            found[tower].append(values)
    arrays = {tower: np.concatenate(parts) for tower, parts in found.items()}
    return Embeddings(activations.keys, **arrays)


def stored_embeddings(
    recognizer: keras.Model,
    config: Config,
    pairs: Sequence[Pair],
    folder: str | pathlib.Path,
    *,
    rows: Sequence[int] | None = None,
    progress: bool = True,
) -> Embeddings:
    """Computes the embeddings of a trained recognizer from what is stored.

    Args:
        recognizer: the model of a run for `trains_on_stored`.
        config: configuration of the run.
        pairs: all pairs of the data set.
        folder: folder of stored embeddings.
        rows: positions of the pairs; None for all.
        progress: show a progress bar.

    Returns:
        The embeddings, not augmented: those that are stored of frozen towers, and
        from the activations of partly frozen ones.

    Raises:
        ValueError: a file cannot be read.
    """
    if not trains_on_activations(config):
        return compute_embeddings(
            recognizer, config, pairs, folder, rows=rows, progress=progress
        )
    activations = compute_activations(
        recognizer, config, pairs, folder, rows=rows, progress=progress
    )
    return embed_activations(recognizer, config, activations)
