"""The manifest: a CSV file of the pairs and the split of each."""

import csv
import dataclasses
import functools
import hashlib
import io
import logging
import pathlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from advance_tf import labels
from advance_tf.config import PROTOCOLS, DataConfig
from advance_tf.data import layout, splits
from advance_tf.data.layout import Pair
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
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Pairs with their splits.

    Attributes:
        pairs: the pairs; `make_manifest` sorts them by scene and stem.
        splits: "training", "validation" or "test" for each pair.
        protocol: "site" or "pair", see `advance_tf.data.splits`.
        split_seed: seed of the split.

    Example:
        >>> pair = Pair("00001", "lake", "00001", "vision/1.jpg", "sound/1.wav")
        >>> manifest = Manifest((pair,), ("training",), protocol="site", split_seed=0)
        >>> [pair.stem for pair in manifest.of("training")], manifest.sha256[:8]
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
        _check_known("protocol", {self.protocol}, PROTOCOLS)
        _check_known("split", set(self.splits), splits.SPLITS)
        _check_known("scene", {pair.scene for pair in self.pairs}, labels.scenes())

    def of(self, split: str) -> list[Pair]:
        """The pairs of a split.

        Args:
            split: "training", "validation", "test" or "all".

        Returns:
            The pairs in the order of the manifest.

        Raises:
            ValueError: there is no such split, or it is empty.
        """
        _check_known("split", {split}, (*splits.SPLITS, "all"))
        chosen = [
            pair
            for pair, assigned in zip(self.pairs, self.splits, strict=True)
            if split in ("all", assigned)
        ]
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
        return hashlib.sha256(self._csv_bytes()).hexdigest()

    def audit(self) -> None:
        """Checks that no file and no site is in two splits.

        Raises:
            ValueError: a stem occurs twice, a file is in two splits, or, unless
                the protocol is "pair", a site is in two splits.
        """
        stems = [pair.stem for pair in self.pairs]
        if len(set(stems)) < len(stems):
            repeated = sorted(stem for stem, n in Counter(stems).items() if n > 1)
            raise ValueError(
                f"A stem may occur only once; received more than one of "
                f"{join_names(repeated)}. Remove the duplicates."
            )
        kinds = ("image", "sound") + (("site",) if self.protocol == "site" else ())
        for kind in kinds:
            shared = self._shared(kind)
            if shared:
                raise ValueError(
                    f"No {kind} may be in two splits; received {join_names(shared)}. "
                    "Create a new manifest with `advance split`."
                )

    def _shared(self, kind: str) -> list[str]:
        """Values of an attribute that occur in several splits, with the splits."""
        splits_of: dict[str, set[str]] = defaultdict(set)
        for pair, split in zip(self.pairs, self.splits, strict=True):
            splits_of[getattr(pair, kind)].add(split)
        return [
            f"{value} ({', '.join(sorted(found))})"
            for value, found in sorted(splits_of.items())
            if len(found) > 1
        ]

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the canonical CSV file (UTF-8, line feeds), atomically.

        Args:
            path: file to write; its folder is created if it does not exist.
        """
        with replacing(pathlib.Path(path)) as temporary:
            temporary.write_bytes(self._csv_bytes())

    def _csv_bytes(self) -> bytes:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for pair, split in zip(self.pairs, self.splits, strict=True):
            values = dataclasses.asdict(pair) | {
                "split": split,
                "protocol": self.protocol,
                "split_seed": self.split_seed,
            }
            rows.writerow([values[column] for column in COLUMNS])
        return text.getvalue().encode()

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
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            # `fieldnames` reads the header of a file without rows only here.
            _check_rows(path, reader.fieldnames, rows)
        pairs = (
            Pair(row["stem"], row["scene"], row["site"], row["image"], row["sound"])
            for row in rows
        )
        try:
            manifest = cls(
                tuple(pairs),
                tuple(row["split"] for row in rows),
                rows[0]["protocol"],
                int(rows[0]["split_seed"]),
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


def _check_rows(
    path: pathlib.Path,
    columns: Sequence[str] | None,
    rows: Sequence[Mapping[str | None, Any]],
) -> None:
    """Raises ValueError unless the rows are those of a manifest."""
    if tuple(columns or ()) != COLUMNS or not rows:
        raise ValueError(
            f"{path} must be a manifest with the columns {','.join(COLUMNS)} and at "
            f"least one row; received {','.join(columns or ()) or 'an empty file'} "
            f"and {len(rows)} rows. Create one with `advance split`."
        )
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(
                f"{path}, line {line}: a row must have {len(COLUMNS)} values. Create "
                "the manifest again with `advance split`."
            )
        if not row["split_seed"].isdecimal():
            raise ValueError(
                f"{path}, line {line}: split_seed must be an integer; received "
                f"{row['split_seed']!r}."
            )
        if any(row[key] != rows[0][key] for key in ("protocol", "split_seed")):
            raise ValueError(
                f"{path}, line {line}: protocol and split_seed must be the same in "
                "every row."
            )
        if not row["site"] or row["site"] != layout.site_of(row["stem"]):
            raise ValueError(
                f"{path}, line {line}: the site must be the first five digits of "
                f"the stem; received '{row['site']}' for '{row['stem']}'."
            )
        for file in (row["image"], row["sound"]):
            if pathlib.PurePosixPath(file).is_absolute() or ".." in file.split("/"):
                raise ValueError(
                    f"{path}, line {line}: paths must be below the data folder; "
                    f"received '{file}'."
                )


def make_manifest(data_config: DataConfig) -> Manifest:
    """Scans a data set and splits it.

    Args:
        data_config: folder, and protocol, fractions and seed of the split. Files that
            `allow_missing` leaves out are logged as a warning.

    Returns:
        An audited manifest, sorted by scene and stem.

    Raises:
        ValueError: the folder is not in ADVANCE's layout, or the training split is
            empty.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, ending in (("vision", "jpg"), ("sound", "wav")):
        ...         scene = pathlib.Path(folder) / name / "lake"
        ...         scene.mkdir(parents=True)
        ...         for site in range(10):
        ...             _ = (scene / f"{site:05}.{ending}").write_bytes(b"content")
        ...     manifest = make_manifest(DataConfig(data_dir=folder, split_seed=1))
        >>> [len(manifest.of(split)) for split in splits.SPLITS]
        [7, 1, 2]
    """
    found = layout.scan(data_config.data_dir, allow_missing=data_config.allow_missing)
    if found.skipped:
        _log.warning(
            "Left out of %s: %s", data_config.data_dir, layout.describe(found.skipped)
        )
    by_site = data_config.split_protocol == "site"
    split = splits.split_by_site if by_site else splits.split_by_pair
    assigned = split(
        found.pairs,
        data_config.train_fraction,
        data_config.validation_fraction,
        data_config.split_seed,
    )
    if splits.TRAINING not in assigned:
        raise ValueError(
            "train_fraction must leave pairs for training; with "
            f"{data_config.train_fraction} none of {len(found.pairs)} pairs is in the "
            "training split. Raise it, or add sites: it is applied to each scene and "
            "rounded down."
        )
    manifest = Manifest(
        found.pairs, assigned, data_config.split_protocol, data_config.split_seed
    )
    manifest.audit()
    return manifest
