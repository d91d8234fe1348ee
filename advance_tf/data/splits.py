"""Splits into training, validation and test, by site or by pair."""

import csv
import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from advance_tf.data.pairing import Pair
from advance_tf.files import join_names
from advance_tf.labels import asset_path

TRAINING = "training"
VALIDATION = "validation"
TEST = "test"
SPLITS = (TRAINING, VALIDATION, TEST)
# Seed of the split in assets/advance_split_seed0.csv.
PUBLISHED_SEED = 0


def split_by_site(
    pairs: Sequence[Pair],
    train_fraction: float = 0.7,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> tuple[str, ...]:
    """Splits the sites of each scene, so that no site is in two splits.

    Of the n sites of a scene, floor(train_fraction n) are training,
    floor(validation_fraction n) validation and the rest test, in the order of
    the SHA-256 of "seed:scene:site". This order is the same on every machine and
    does not depend on the order of the files. A site that occurs in several scenes
    (none does in ADVANCE) is counted with the first of these scenes by name, and all
    its pairs are in one split.

    Args:
        pairs: the pairs of the data set.
        train_fraction: fraction of sites in training, in (0, 1].
        validation_fraction: fraction in validation, in [0, 1 - train_fraction].
        seed: seed of the split.

    Returns:
        The split of each pair, in the order of `pairs`: "training", "validation" or
        "test".

    Raises:
        ValueError: a fraction is out of range.

    Source: Section 3 of the paper (70/10/20, no coordinate in two splits); the
    floors are those of the authors' code.

    Example:
        >>> pairs = [Pair(f"{n:05d}", "lake", f"{n:05d}", "", "") for n in range(10)]
        >>> splits = split_by_site(pairs, seed=1)
        >>> [splits.count(name) for name in SPLITS]
        [7, 1, 2]
    """
    scene_of_site: dict[str, str] = {}
    for pair in pairs:
        scene = scene_of_site.get(pair.site, pair.scene)
        scene_of_site[pair.site] = min(pair.scene, scene)
    units = [(scene_of_site[pair.site], pair.site) for pair in pairs]
    return _split_units(units, train_fraction, validation_fraction, seed)


def split_by_pair(
    pairs: Sequence[Pair],
    train_fraction: float = 0.7,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> tuple[str, ...]:
    """Splits the pairs of each scene, so that sites leak between the splits.

    Works like `split_by_site` with the stem instead of the site. Scores on such a
    split are not an estimate for new sites.

    Args:
        pairs: the pairs of the data set.
        train_fraction: fraction of pairs in training, in (0, 1].
        validation_fraction: fraction in validation, in [0, 1 - train_fraction].
        seed: seed of the split.

    Returns:
        The split of each pair, in the order of `pairs`: "training", "validation" or
        "test".

    Raises:
        ValueError: a fraction is out of range.
    """
    units = [pair.key for pair in pairs]
    return _split_units(units, train_fraction, validation_fraction, seed)


def published_split(
    pairs: Sequence[Pair], *, allow_missing: bool = False
) -> tuple[str, ...]:
    """Looks up the published split of ADVANCE, for results that can be compared.

    assets/advance_split_seed0.csv lists scene, stem and split of the 5,075 pairs. It
    is what `split_by_site` computes for them with seed 0 and the default fractions.
    Where files are missing, the other pairs keep their split.

    Args:
        pairs: the pairs of the data set.
        allow_missing: accept a data set that lacks pairs of ADVANCE.

    Returns:
        The split of each pair, in the order of `pairs`: "training", "validation" or
        "test".

    Raises:
        ValueError: a pair is not one of ADVANCE, or a pair of ADVANCE is missing.

    Example:
        >>> pair = Pair("00063_1", "airport", "00063", "", "")
        >>> published_split([pair], allow_missing=True)
        ('training',)
    """
    path = asset_path("advance_split_seed0.csv")
    with path.open(newline="", encoding="utf-8") as file:
        split_of = {
            (row["scene"], row["stem"]): row["split"] for row in csv.DictReader(file)
        }
    received = [pair.key for pair in pairs]
    unknown = sorted("/".join(key) for key in set(received) - set(split_of))
    missing = sorted("/".join(key) for key in set(split_of) - set(received))
    if unknown or (missing and not allow_missing):
        what = f"others: {join_names(unknown)}" if unknown else "fewer"
        lacking = f"; {len(missing)} are missing: {join_names(missing)}"
        raise ValueError(
            f"The published split is that of ADVANCE's {len(split_of):,} pairs; "
            f"received {what}{lacking if missing else ''}. Set `split_protocol=site` "
            "for another data set, or `allow_missing` for an incomplete one."
        )
    return tuple(split_of[key] for key in received)


def spread_over_scenes(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Selects pairs evenly from the scenes, and evenly within each scene.

    Args:
        pairs: the pairs of a split, grouped by scene.
        count: number of pairs to select.

    Returns:
        `count` pairs, or all if there are fewer, in the order of `pairs`. The
        selection is deterministic.

    Example:
        >>> pairs = [Pair(f"{n:05d}", "lake", "", "", "") for n in range(6)]
        >>> [pair.stem for pair in spread_over_scenes(pairs, 2)]
        ['00001', '00004']
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.scene].append(pair)
    scenes = list(groups)
    counts = dict.fromkeys(scenes, 0)
    while (missing := min(count, len(pairs)) - sum(counts.values())) > 0:
        open_scenes = [name for name in scenes if counts[name] < len(groups[name])]
        for index in _even_indices(len(open_scenes), min(len(open_scenes), missing)):
            counts[open_scenes[index]] += 1
    return [
        groups[name][index]
        for name in scenes
        for index in _even_indices(len(groups[name]), counts[name])
    ]


def hash_key(*parts: object) -> str:
    """A sort key for a random order that is the same on every machine.

    Args:
        *parts: seed, and what identifies an element.

    Returns:
        The SHA-256 of the parts, joined with ":", as 64 hexadecimal digits.

    Example:
        >>> sorted(["a", "b", "c"], key=lambda name: hash_key(0, name))
        ['a', 'c', 'b']
    """
    return hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()


def _split_units(
    units: list[tuple[str, str]],
    train_fraction: float,
    validation_fraction: float,
    seed: int,
) -> tuple[str, ...]:
    """The split of each (scene, unit); equal units get equal splits."""
    train = _decimal_fraction(train_fraction)
    validation = _decimal_fraction(validation_fraction)
    if not (0 < train <= 1 and 0 <= validation <= 1 - train):
        raise ValueError(
            "train_fraction must be in (0, 1] and `validation_fraction` in "
            f"[0, 1 - train_fraction]; received {train_fraction} and "
            f"{validation_fraction}. Lower one of them."
        )
    by_scene: dict[str, set[str]] = defaultdict(set)
    for scene, unit in units:
        by_scene[scene].add(unit)
    split_of = {}
    for scene, members in by_scene.items():
        first_validation = math.floor(train * len(members))
        first_test = first_validation + math.floor(validation * len(members))
        order = sorted(members, key=lambda unit: hash_key(seed, scene, unit))
        for rank, unit in enumerate(order):
            if rank < first_validation:
                split_of[scene, unit] = TRAINING
            elif rank < first_test:
                split_of[scene, unit] = VALIDATION
            else:
                split_of[scene, unit] = TEST
    return tuple(split_of[unit] for unit in units)


def _decimal_fraction(fraction: float) -> Fraction:
    """The exact decimal number, so that floor(0.7 · 10) is 7."""
    return Fraction(repr(float(fraction)))


def _even_indices(length: int, count: int) -> list[int]:
    """`count` evenly spaced indices into a list of `length` elements."""
    return [int((number + 0.5) * length / count) for number in range(count)]
