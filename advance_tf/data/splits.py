"""Training, validation and test by site or by pair, and a spread of their pairs."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from fractions import Fraction

from advance_tf.data.layout import Pair

TRAINING = "training"
VALIDATION = "validation"
TEST = "test"
SPLITS = (TRAINING, VALIDATION, TEST)
PROTOCOLS = ("site", "pair")


def split_by_site(
    pairs: Sequence[Pair],
    train_fraction: float = 0.7,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> tuple[str, ...]:
    """Shares out the sites of each scene; every site is in one split only.

    Of the n sites of a scene floor(train_fraction n) are training,
    floor(validation_fraction n) validation and the rest test, in the order of
    the SHA-256 of "seed:scene:site". That order is the same on every machine,
    whatever the order of the files. A site that occurs in several scenes (in
    ADVANCE none does) is shared out once, with the sites of the first of them
    by name, and takes its pairs of the other scenes along.

    Args:
        pairs: the data set.
        train_fraction: in (0, 1].
        validation_fraction: in [0, 1 - train_fraction].
        seed: another seed, another split.

    Returns:
        The split of each pair, in the order of `pairs`.

    Raises:
        ValueError: a fraction is out of range.

    Source: Section 3 of the paper (70/10/20, no coordinate in two splits); the
    floors are those of the authors' code.
    """
    home: dict[str, str] = {}
    for pair in pairs:
        home[pair.site] = min(pair.scene, home.get(pair.site, pair.scene))
    units = [(home[pair.site], pair.site) for pair in pairs]
    return _split_units(units, train_fraction, validation_fraction, seed)


def split_by_pair(
    pairs: Sequence[Pair],
    train_fraction: float = 0.7,
    validation_fraction: float = 0.1,
    seed: int = 0,
) -> tuple[str, ...]:
    """Shares out the pairs of each scene; places leak between the splits.

    As `split_by_site` with the stem in the place of the site. What is measured
    on such a split says little about places that were never seen.

    Args:
        pairs: the data set.
        train_fraction: in (0, 1].
        validation_fraction: in [0, 1 - train_fraction].
        seed: another seed, another split.

    Returns:
        The split of each pair, in the order of `pairs`.

    Raises:
        ValueError: a fraction is out of range.
    """
    units = [(pair.scene, pair.stem) for pair in pairs]
    return _split_units(units, train_fraction, validation_fraction, seed)


def spread_over_scenes(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """Pairs spread evenly over the scenes, and within a scene over its list.

    Args:
        pairs: of a split.
        count: how many to choose.

    Returns:
        At most `count`, fewer where there are fewer, sorted as `pairs`; the
        same at every call.
    """
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.scene].append(pair)
    names = list(groups)
    chosen = dict.fromkeys(names, 0)
    while sum(chosen.values()) < min(count, len(pairs)):
        free = [name for name in names if chosen[name] < len(groups[name])]
        wanted = min(len(free), min(count, len(pairs)) - sum(chosen.values()))
        for place in _even(len(free), wanted):
            chosen[free[place]] += 1
    return [
        groups[name][place]
        for name in names
        for place in _even(len(groups[name]), chosen[name])
    ]


def _split_units(
    units: list[tuple[str, str]], train_fraction, validation_fraction, seed
) -> tuple[str, ...]:
    """The split of each (scene, unit); equal units get equal splits."""
    train = _exact(train_fraction)
    validation = _exact(validation_fraction)
    if not (0 < train <= 1 and 0 <= validation <= 1 - train):
        raise ValueError(
            "--train_fraction must lie in (0, 1] and --validation_fraction in "
            f"[0, 1 - train_fraction]; received {train_fraction} and "
            f"{validation_fraction}."
        )
    by_scene = defaultdict(set)
    for scene, unit in units:
        by_scene[scene].add(unit)
    split_of = {}
    for scene, members in by_scene.items():
        first_validation = math.floor(train * len(members))
        first_test = first_validation + math.floor(validation * len(members))
        for rank, unit in enumerate(_shuffled(scene, members, seed)):
            split_of[scene, unit] = (
                TRAINING
                if rank < first_validation
                else VALIDATION
                if rank < first_test
                else TEST
            )
    return tuple(split_of[unit] for unit in units)


def _shuffled(scene: str, members: Iterable[str], seed: int) -> list[str]:
    """Members in the order of their hash, which no platform can change."""
    return sorted(
        members,
        key=lambda member: hashlib.sha256(
            f"{seed}:{scene}:{member}".encode()
        ).hexdigest(),
    )


def _exact(fraction: float) -> Fraction:
    """The decimal number that was written, so that floor(0.7 · 10) is 7."""
    return Fraction(repr(float(fraction)))


def _even(length: int, count: int) -> list[int]:
    """`count` places in a list of `length`, each in the middle of its share."""
    return [int((place + 0.5) * length / count) for place in range(count)]
