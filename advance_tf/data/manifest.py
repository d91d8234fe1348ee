"""The manifest: which pair is in which split, written once, read by all."""

import csv
import dataclasses
import functools
import hashlib
import io
import logging
import pathlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from advance_tf import labels
from advance_tf.config import DataConfig
from advance_tf.data import layout, splits
from advance_tf.data.layout import Pair
from advance_tf.files import replacing

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
LEAKY = "leaky: places shared between training and test"
_NAMED_AT_MOST = 10
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Pairs with their splits.

    Attributes:
        pairs: sorted by scene and stem when made by `make_manifest`.
        splits: "training", "validation" or "test" for each pair.
        protocol: "site" or "pair".
        split_seed: what the split was drawn with.
    """

    pairs: tuple[Pair, ...]
    splits: tuple[str, ...]
    protocol: str
    split_seed: int

    def __post_init__(self):
        if len(self.pairs) != len(self.splits):
            raise ValueError(
                "A manifest must have one split for each pair; received "
                f"{len(self.splits)} for {len(self.pairs)}."
            )
        _check_known("protocol", {self.protocol}, splits.PROTOCOLS)
        _check_known("split", set(self.splits), splits.SPLITS)
        _check_known("scene", {pair.scene for pair in self.pairs}, labels.scenes())

    def of(self, split: str) -> list[Pair]:
        """The pairs of a split.

        Args:
            split: "training", "validation", "test", or "all".

        Returns:
            Its pairs in the order of the manifest.

        Raises:
            ValueError: the split has another name, or no pairs.
        """
        _check_known("--split", {split}, (*splits.SPLITS, "all"))
        chosen = [
            pair
            for pair, own in zip(self.pairs, self.splits, strict=True)
            if split in ("all", own)
        ]
        if not chosen:
            raise ValueError(
                f"--split={split} must have pairs; the manifest has none there. "
                "Choose another split or make one with other fractions."
            )
        return chosen

    @property
    def label(self) -> str:
        """What every report of this split says of it; "" by site."""
        return LEAKY if self.protocol == "pair" else ""

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of the canonical CSV, whatever line ends a file has."""
        return hashlib.sha256(self._csv_bytes()).hexdigest()

    def audit(self) -> None:
        """Checks that nothing is in two splits.

        Raises:
            ValueError: a stem occurs twice, a file is in two splits, or, unless
                the protocol is "pair", a site is.
        """
        stems = [pair.stem for pair in self.pairs]
        if len(set(stems)) < len(stems):
            twice = sorted(stem for stem, n in Counter(stems).items() if n > 1)
            raise ValueError(f"A stem may occur once; twice there: {_named(twice)}.")
        kinds = ("image", "sound") + (("site",) if self.protocol == "site" else ())
        for kind in kinds:
            shared = self._shared(kind)
            if shared:
                raise ValueError(
                    f"No {kind} may be in two splits; received {_named(shared)}. "
                    "Make a new manifest with `python -m advance_tf.split`."
                )

    def _shared(self, kind: str) -> list[str]:
        places = defaultdict(set)
        for pair, split in zip(self.pairs, self.splits, strict=True):
            places[getattr(pair, kind)].add(split)
        return [
            f"{value} ({', '.join(sorted(found))})"
            for value, found in sorted(places.items())
            if len(found) > 1
        ]

    def save(self, path: str | pathlib.Path) -> None:
        """Writes the canonical CSV: UTF-8, line feeds; whole or not at all."""
        with replacing(pathlib.Path(path)) as temporary:
            temporary.write_bytes(self._csv_bytes())

    def _csv_bytes(self) -> bytes:
        text = io.StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(COLUMNS)
        for pair, split in zip(self.pairs, self.splits, strict=True):
            own = dataclasses.asdict(pair) | {
                "split": split,
                "protocol": self.protocol,
                "split_seed": self.split_seed,
            }
            rows.writerow([own[column] for column in COLUMNS])
        return text.getvalue().encode()

    @classmethod
    def load(cls, path: str | pathlib.Path) -> "Manifest":
        """Reads a manifest and audits it.

        Args:
            path: CSV written by `save`.

        Returns:
            The manifest.

        Raises:
            ValueError: the file is no manifest, or something is in two splits.
            FileNotFoundError: there is no such file.
        """
        path = pathlib.Path(path)
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = list(reader)
            # An empty file has its header looked for only now.
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


def _check_known(word: str, received: set[str], allowed: tuple[str, ...]) -> None:
    unknown = sorted(received - set(allowed))
    if unknown:
        raise ValueError(
            f"{word} must be one of {', '.join(allowed)}; received {_named(unknown)}."
        )


def _check_rows(path: pathlib.Path, columns, rows: Sequence[Mapping[str, str]]) -> None:
    """Raises ValueError when `rows` are not those of a manifest."""
    if tuple(columns or ()) != COLUMNS or not rows:
        raise ValueError(
            f"{path} must be a manifest with the columns {','.join(COLUMNS)} and at "
            f"least one row; received {','.join(columns or ()) or 'an empty file'} "
            f"and {len(rows)} rows. Make one with `python -m advance_tf.split`."
        )
    for line, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise ValueError(f"{path}, line {line}: must have {len(COLUMNS)} values.")
        if not row["split_seed"].isdecimal():
            raise ValueError(
                f"{path}, line {line}: split_seed must be a whole number; received "
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
        for place in (row["image"], row["sound"]):
            if pathlib.PurePosixPath(place).is_absolute() or ".." in place.split("/"):
                raise ValueError(
                    f"{path}, line {line}: paths must stay below the data folder; "
                    f"received '{place}'."
                )


def _named(names: list[str]) -> str:
    rest = len(names) - _NAMED_AT_MOST
    shown = ", ".join(names[:_NAMED_AT_MOST])
    return f"{shown} and {rest} more" if rest > 0 else shown


def make_manifest(data_config: DataConfig) -> Manifest:
    """Scans a data set and splits it as the configuration says.

    Args:
        data_config: folder, protocol, fractions and seed of the split. What
            `allow_missing` leaves out is logged as a warning.

    Returns:
        A manifest that passed the audit, sorted by scene and stem.

    Raises:
        ValueError: the folder is not in ADVANCE's layout, or no pair is left
            for training.
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
            "At least one scene must have enough places for training; with "
            f"--train_fraction={data_config.train_fraction} none of "
            f"{len(found.pairs)} pairs is left for it. Add places or raise it."
        )
    manifest = Manifest(
        found.pairs, assigned, data_config.split_protocol, data_config.split_seed
    )
    manifest.audit()
    return manifest
