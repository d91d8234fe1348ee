"""ADVANCE, or any data set in its layout, with a split."""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import tensorflow as tf

from advance_tf.config import Config, DataConfig, FeatureConfig
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset
from advance_tf.data.layout import join_labels, read_notice
from advance_tf.data.manifest import Manifest, make_manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.pairing import Pair
from advance_tf.data.places import audit_places, read_places
from advance_tf.data.rows import Rows
from advance_tf.data.sampling import TrainingEpochs


@dataclasses.dataclass(frozen=True)
class AdvanceDataset:
    """Pairs of image and sound, each with its split.

    `load_advance` creates one from a folder.

    Attributes:
        manifest: the pairs and their splits.
        data_dir: folder of the files.
        config: settings of the split. Its `data_dir`, `split_protocol` and
            `split_seed` are replaced by those of the folder and the manifest.
    """

    manifest: Manifest
    data_dir: pathlib.Path
    config: DataConfig = dataclasses.field(default_factory=DataConfig)

    def __post_init__(self) -> None:
        config = dataclasses.replace(
            self.config,
            data_dir=str(self.data_dir),
            split_protocol=self.manifest.protocol,
            split_seed=self.manifest.split_seed,
        )
        object.__setattr__(self, "config", config)

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All pairs, sorted by scene and stem."""
        return tuple(self.manifest.pairs)

    @property
    def splits(self) -> tuple[str, ...]:
        """The split of each pair: "training", "validation" or "test"."""
        return tuple(self.manifest.splits)

    @functools.cached_property
    def sites(self) -> tuple[str, ...]:
        """The distinct sites, sorted."""
        return tuple(sorted({pair.site for pair in self.pairs}))

    @property
    def label(self) -> str:
        """The remark that reports show about the data, "" for none.

        For example that the data are synthetic or that the split is leaky.
        """
        return join_labels(read_notice(self.data_dir), self.manifest.label)

    def pairs_of(self, split: str) -> list[Pair]:
        """The pairs of a split.

        Args:
            split: "training", "validation", "test" or "all".

        Returns:
            The pairs in the order of the manifest.

        Raises:
            ValueError: there is no such split, or it is empty.
        """
        return self.manifest.pairs_of(split)

    def as_tf_dataset(
        self,
        split: str,
        features: FeatureConfig | None = None,
        *,
        batch_size: int = 64,
        augment: bool | None = None,
        seed: int = 0,
        targets: Mapping[str, Rows] | None = None,
        cache_dir: str | pathlib.Path | None = None,
        sound_input: str = "log_mel",
    ) -> tf.data.Dataset:
        """Batches of model inputs and targets (see `make_dataset`).

        Args:
            split: "training", "validation", "test" or "all".
            features: settings of image and sound; None for the defaults.
            batch_size: pairs in a batch.
            augment: shuffle in each epoch, augment and drop an incomplete batch;
                None does so for "training" only.
            seed: seed of order and augmentation.
            targets: name → array, or other `Rows`, with one row for each pair of the
                split, such as those of `EventKnowledge.targets_for`.
            cache_dir: folder for decoded pairs, which this call fills; None decodes
                the files in each epoch.
            sound_input: input of sounds that the model has, "log_mel" or "waveform".

        Returns:
            A data set of ({"image": float32 [B, S, S, 3] in [0, 255], "log_mel":
            float32 [B, frames, mel_bins] normalized}, {"scene": int32 [B], and
            each of `targets`}); with `sound_input` "waveform", "waveform" float32
            [B, clip_samples] replaces "log_mel".

        Raises:
            ValueError: the split is empty, a target has a different number of rows,
                or a file cannot be decoded for the cache.
        """
        features = features or FeatureConfig()
        pairs, cache = self.pairs_of(split), None
        if cache_dir is not None:
            cache = PairCache(cache_dir, features, sound_input)
            cache.fill(pairs, self.data_dir)
        files = PairFiles(pairs, self.data_dir, features, sound_input, cache)
        is_training = split == "training" if augment is None else augment
        training = TrainingEpochs(seed) if is_training else None
        return make_dataset(files, batch_size, training=training, targets=targets)

    def configure(self, config: Config) -> Config:
        """Returns `config` with the folder and the split of this data set.

        Args:
            config: any configuration.

        Returns:
            A copy whose `data` is the `config` of this data set, except for
            `cache_dir` and `tf_data_service`, which are kept.
        """
        data = dataclasses.replace(
            self.config,
            cache_dir=config.data.cache_dir,
            tf_data_service=config.data.tf_data_service,
        )
        return dataclasses.replace(config, data=data)


def load_advance(
    data_dir: str | pathlib.Path,
    *,
    manifest: Manifest | str | pathlib.Path | None = None,
    split_protocol: str = "site",
    split_seed: int = 0,
    train_fraction: float = 0.7,
    validation_fraction: float = 0.1,
    block_kilometres: float = 10.0,
    allow_missing: bool = False,
) -> AdvanceDataset:
    """Loads a folder in ADVANCE's layout and splits it.

    Args:
        data_dir: folder with vision/<scene>/<stem>.jpg and sound/<scene>/<stem>.wav.
        manifest: an existing split, or the path of its CSV file; with None the folder
            is scanned and split by the arguments that follow.
        split_protocol: "site": no site is in two splits, as in the paper; "block":
            by spatial blocks, from the coordinates of sites.csv;
            "published": the split of ADVANCE in assets/advance_split_seed0.csv; "pair":
            random by pair, which leaks sites between the splits.
        split_seed: seed of the split.
        train_fraction: fraction of each scene's sites in training.
        validation_fraction: fraction of each scene's sites in validation; the other
            sites are the test split.
        block_kilometres: side of a block of the protocol "block".
        allow_missing: skip unpaired and empty files instead of raising an error.

    Returns:
        The data set.

    Raises:
        ValueError: the folder is not in the layout, an argument is out of range, or
            pairs of two splits are near or share a recording by sites.csv.
        FileNotFoundError: `manifest` is a path that does not exist.

    Example:
        >>> import tempfile
        >>> from advance_tf.data.synthetic.pairs import write_pairs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = write_pairs(folder, sites_per_scene=1, progress=False)
        ...     dataset = load_advance(folder, train_fraction=1, validation_fraction=0)
        ...     batches = dataset.as_tf_dataset("training", batch_size=2)
        ...     inputs, targets = next(iter(batches))
        >>> len(dataset.pairs), len(dataset.sites), set(dataset.splits)
        (26, 13, {'training'})
        >>> inputs["image"].shape, inputs["log_mel"].shape, targets["scene"].shape
        (TensorShape([2, 256, 256, 3]), TensorShape([2, 400, 64]), TensorShape([2]))
    """
    config = DataConfig(
        data_dir=str(data_dir),
        split_protocol=split_protocol,
        split_seed=split_seed,
        train_fraction=train_fraction,
        validation_fraction=validation_fraction,
        block_kilometres=block_kilometres,
        allow_missing=allow_missing,
    )
    if manifest is None:
        # Audited already.
        return AdvanceDataset(make_manifest(config), pathlib.Path(data_dir), config)
    if not isinstance(manifest, Manifest):
        manifest = Manifest.load(pathlib.Path(manifest))
    if manifest.protocol != "pair":
        # A manifest may have a part of the pairs.
        placed = read_places(data_dir)
        audit_places(manifest.pairs, manifest.splits, placed)
    return AdvanceDataset(manifest, pathlib.Path(data_dir), config)
