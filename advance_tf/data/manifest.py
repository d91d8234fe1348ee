"""The manifest: a CSV file of the pairs and the split of each."""

import csv
import dataclasses
import functools
import hashlib
import io
import itertools
import logging
import operator
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from advance_tf import labels
from advance_tf.config_data import DataConfig
from advance_tf.data import layout, pairing, places, spatial_blocks, splits
from advance_tf.data.pairing import Pair
from advance_tf.files import join_names, replacing

COLUMNS = (
    "stem",
    "scene",
    "site",
    "split",
    "image",
    "sound",
    "protocol",
    "split_seed",
)
# Label of a split by pair.
LEAKY = "leaky: places shared between training and test"
# What a manifest states; the published split is one by site.
_PROTOCOLS = ("site", "pair", "block")
# Rows of the CSV in memory at once.
_PART_ROWS = 4096
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Pairs with their splits.

    Attributes:
        pairs: the pairs; `make_manifest` sorts them by scene and stem.
        splits: "training", "validation" or "test" for each pair.
        protocol: "site", "pair" or "block", see `advance_tf.data.splits` and
            `advance_tf.data.places`.
        split_seed: seed of the split.

    Example:
        >>> pair = Pair("00001", "lake", "00001", "vision/1.jpg", "sound/1.wav")
        >>> manifest = Manifest((pair,), ("training",), protocol="site", split_seed=0)
        >>> [pair.stem for pair in manifest.pairs_of("training")], manifest.sha256[:8]
        (['00001'], '9c40ebd5')
    """

    pairs: tuple[Pair, ...]
    splits: tuple[str, ...]
    protocol: str
    split_seed: int

    def __post_init__(self) -> None:
        if len(self.pairs) != len(self.splits):
            raise ValueError(
                "splits must have one entry for each pair; received "
                f"{len(self.splits)} for {len(self.pairs)} pairs. Pass both from the "
                "same data set."
            )
        _check_known("protocol", {self.protocol}, _PROTOCOLS)
        _check_known("split", set(self.splits), splits.SPLITS)
        _check_known("scene", {pair.scene for pair in self.pairs}, labels.scenes())

    def positions(self, split: str) -> list[int]:
        """The positions of the pairs of a split among all pairs.

        Args:
            split: "training", "validation", "test" or "all".

        Returns:
            Positions in ascending order; none for an empty split.

        Raises:
            ValueError: there is no such split.
        """
        _check_known("split", {split}, (*splits.SPLITS, "all"))
        return [
            position
            for position, assigned in enumerate(self.splits)
            if split in ("all", assigned)
        ]

    def pairs_of(self, split: str) -> list[Pair]:
        """The pairs of a split.

        Args:
            split: "training", "validation", "test" or "all".

        Returns:
            The pairs in the order of the manifest.

        Raises:
            ValueError: there is no such split, or it is empty.
        """
        chosen = [self.pairs[position] for position in self.positions(split)]
        if not chosen:
            raise ValueError(
                f"`split={split!r}` must have pairs; the manifest has none. Choose "
                "another split, or create a manifest with other fractions."
            )
        return chosen

    @property
    def label(self) -> str:
        """The remark that reports show about the split; "" for a split by site."""
        return LEAKY if self.protocol == "pair" else ""

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the canonical CSV, independent of a file's line endings."""
        digest = hashlib.sha256()
        for part in self._csv_parts():
            digest.update(part)
        return digest.hexdigest()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What limits a training with these splits, one sentence for each limit.

        A single scene leaves nothing to distinguish; a scene without training pairs
        is never predicted.
        """
        scenes = {pair.scene for pair in self.pairs}
        counts = Counter(zip((p.scene for p in self.pairs), self.splits, strict=True))
        untrained = sorted(s for s in scenes if not counts[s, splits.TRAINING])
        found = []
        if len(scenes) == 1:
            found.append(
                f"The data have one scene, {scenes.pop()}: a model of them predicts it "
                "for every input. Add pairs of other scenes."
            )
        if untrained:
            found.append(
                f"{join_names(untrained)} {'has' if len(untrained) == 1 else 'have'} "
                "no training pair, so that the model does not predict "
                f"{'it' if len(untrained) == 1 else 'them'}. Add sites, or raise "
                "`train_fraction`."
            )
        return tuple(found)

    def audit(self) -> None:
        """Checks that no file and no site is in two splits.

        Raises:
            ValueError: a stem occurs twice, a file is in two splits, or, unless
                the protocol is "pair", a site is in two splits.
        """
        seen: set[str] = set()
        repeated: set[str] = set()
        for pair in self.pairs:
            (repeated if pair.stem in seen else seen).add(pair.stem)
        if repeated:
            raise ValueError(
                f"A stem may occur only once; received more than one of "
                f"{join_names(sorted(repeated))}. Remove the duplicates."
            )
        kinds = ("image", "sound") + (("site",) if self.protocol != "pair" else ())
        for kind in kinds:
            shared = self._shared(kind)
            if shared:
                raise ValueError(
                    f"No {kind} may be in two splits; received {join_names(shared)}. "
                    "Create a new manifest with `advance split`."
                )

    def _shared(self, kind: str) -> list[str]:
        """Values of an attribute that occur in several splits, with the splits."""
        value_of = operator.attrgetter(kind)
        split_of: dict[str, str] = {}
        # Only values that are in several splits, which are few, get a set.
        shared: dict[str, set[str]] = {}
        for pair, split in zip(self.pairs, self.splits, strict=True):
            value = value_of(pair)
            first = split_of.setdefault(value, split)
            if first != split:
                shared.setdefault(value, {first}).add(split)
        return [
            f"{value} ({', '.join(sorted(found))})"
            for value, found in sorted(shared.items())
        ]

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the canonical CSV file (UTF-8, line feeds), atomically.

        Args:
            path: file to write; its folder is created if it does not exist.
        """
        with replacing(pathlib.Path(path)) as temporary:
            with temporary.open("wb") as file:
                file.writelines(self._csv_parts())

    def _csv_parts(self) -> Iterator[bytes]:
        """The canonical CSV in parts of a few thousand rows."""
        last = (self.protocol, self.split_seed)
        assigned = zip(self.pairs, self.splits, strict=True)
        rows: Iterable[tuple[object, ...]] = (COLUMNS,)
        while rows:
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(rows)
            yield text.getvalue().encode()
            rows = [
                (p.stem, p.scene, p.site, split, p.image, p.sound, *last)
                for p, split in itertools.islice(assigned, _PART_ROWS)
            ]

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Manifest":
        """Reads and audits a manifest.

        Args:
            path: CSV file written by `save`.

        Returns:
            The manifest.

        Raises:
            ValueError: the file is not a manifest, or `audit` fails.
            FileNotFoundError: the file does not exist.
        """
        path = pathlib.Path(path)
        # Not `csv_tables`: a million pairs are read in seconds.
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                first, pairs, assigned = _read_rows(path, csv.reader(file))
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(
                f"{path} must be a manifest in UTF-8; reading it failed: {error}. "
                "Restore it, or create one with `advance split`."
            ) from error
        try:
            manifest = cls(
                tuple(pairs),
                tuple(assigned),
                first["protocol"],
                int(first["split_seed"]),
            )
            manifest.audit()
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return manifest


def _check_known(name: str, received: set[str], allowed: tuple[str, ...]) -> None:
    """Raises ValueError unless all received values are allowed."""
    unknown = sorted(received - set(allowed))
    if unknown:
        raise ValueError(
            f"{name} must be one of {', '.join(allowed)}; received "
            f"{join_names(unknown)}."
        )


def _read_rows(
    path: pathlib.Path, rows: Iterator[list[str]]
) -> tuple[dict[str, str], list[Pair], list[str]]:
    """The first row by column, and the pairs and splits of all rows."""
    columns = next(rows, [])
    first: dict[str, str] = {}
    pairs: list[Pair] = []
    assigned: list[str] = []
    # Equal names, such as those of a site's pairs, become one string.
    known: dict[str, str] = {}
    if tuple(columns) == COLUMNS:
        # As in `csv.DictReader`, a line without a character is not a row.
        for line, values in enumerate(filter(None, rows), start=2):
            if len(values) != len(COLUMNS):
                raise ValueError(
                    f"{path}, line {line}: a row must have {len(COLUMNS)} values. "
                    "Create the manifest again with `advance split`."
                )
            first = first or dict(zip(COLUMNS, values, strict=True))
            _check_row(f"{path}, line {line}", values, first)
            stem, scene, site, split, image, sound = values[:6]
            scene, site, split = (known.setdefault(v, v) for v in (scene, site, split))
            pairs.append(Pair(stem, scene, site, image, sound))
            assigned.append(split)
    if not pairs:
        raise ValueError(
            f"{path} must be a manifest with the columns {','.join(COLUMNS)} and at "
            f"least one row; received {','.join(columns) or 'an empty file'} "
            f"and {sum(map(bool, rows))} rows. Create one with `advance split`."
        )
    return first, pairs, assigned


def _check_row(where: str, values: Sequence[str], first: dict[str, str]) -> None:
    """Raises ValueError unless a row is one of a manifest with this first row."""
    stem, _, site, _, image, sound, protocol, split_seed = values
    if not split_seed.isdecimal():
        raise ValueError(
            f"{where}: split_seed must be an integer; received {split_seed!r}."
        )
    if (protocol, split_seed) != (first["protocol"], first["split_seed"]):
        raise ValueError(
            f"{where}: protocol and split_seed must be the same in every row."
        )
    # The site is that of the stem, or that of sites.csv in the data folder.
    if not site or site != pairing.site_of(site) or not pairing.site_of(stem):
        raise ValueError(
            f"{where}: the site must be five digits, and a stem must begin with five; "
            f"received '{site}' for '{stem}'."
        )
    for file in (image, sound):
        if file.startswith("/") or ".." in file.split("/"):
            raise ValueError(
                f"{where}: paths must be below the data folder; received '{file}'."
            )


def _check_published(data_config: DataConfig) -> None:
    """Raises ValueError for settings that would not change the published split."""
    fixed = {
        "split_seed": splits.PUBLISHED_SEED,
        "train_fraction": DataConfig.train_fraction,
        "validation_fraction": DataConfig.validation_fraction,
    }
    for name, value in fixed.items():
        received = getattr(data_config, name)
        if received != value:
            raise ValueError(
                f"{name} must be {value} with `split_protocol=published`, which is a "
                f"split that exists; received {received}. Leave it out, or set "
                "`split_protocol=site`."
            )


def make_manifest(data_config: DataConfig) -> Manifest:
    """Scans a data set and splits it.

    Where the folder has a sites.csv (see `advance_tf.data.places`), it determines the
    sites, and distances and shared recordings are audited.

    Args:
        data_config: folder, and protocol, fractions and seed of the split. Files that
            `allow_missing` leaves out are logged as a warning.

    Returns:
        An audited manifest, sorted by scene and stem.

    Raises:
        ValueError: the folder is not in ADVANCE's layout, the training split is empty,
            or sites.csv is not valid or has none of the pairs; or the published split
            lacks a pair of the folder, or, without `allow_missing`, has another one,
            or a seed or fractions are set with it.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, ending in (("vision", "jpg"), ("sound", "wav")):
        ...         scene = pathlib.Path(folder) / name / "lake"
        ...         scene.mkdir(parents=True)
        ...         for site in range(10):
        ...             _ = (scene / f"{site:05}.{ending}").write_bytes(b"content")
        ...     manifest = make_manifest(DataConfig(data_dir=folder, split_seed=1))
        >>> [len(manifest.pairs_of(split)) for split in splits.SPLITS]
        [7, 1, 2]
    """
    found = layout.scan(data_config.data_dir, allow_missing=data_config.allow_missing)
    if found.skipped:
        _log.warning(
            "Left out of %s: %s", data_config.data_dir, layout.describe(found.skipped)
        )
    placed = places.places_of(found.pairs, data_config.data_dir)
    if data_config.split_protocol == "published":
        _check_published(data_config)
        published = splits.published_split(
            found.pairs, allow_missing=data_config.allow_missing
        )
        manifest = Manifest(found.pairs, published, "site", splits.PUBLISHED_SEED)
        manifest.audit()
        places.audit_places(found.pairs, published, placed)
        return manifest
    pairs = places.with_places(found.pairs, placed)
    rule = (
        data_config.train_fraction,
        data_config.validation_fraction,
        data_config.split_seed,
    )
    if data_config.split_protocol == "block":
        assigned = spatial_blocks.split_by_block(
            pairs, placed, *rule, block_kilometres=data_config.block_kilometres
        )
    elif data_config.split_protocol == "site":
        assigned = splits.split_by_site(pairs, *rule)
    else:
        assigned = splits.split_by_pair(pairs, *rule)
    if splits.TRAINING not in assigned:
        raise ValueError(
            "train_fraction must leave pairs for training; with "
            f"{data_config.train_fraction} none of {len(pairs)} pairs is in the "
            "training split. Raise it, or add sites: it is applied to each scene and "
            "rounded down."
        )
    manifest = Manifest(
        pairs, assigned, data_config.split_protocol, data_config.split_seed
    )
    manifest.audit()
    if data_config.split_protocol != "pair":
        places.audit_places(pairs, assigned, placed)
    return manifest
