"""The split by spatial blocks."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from advance_tf.data.pairing import Pair
from advance_tf.data.places import EARTH_METRES, SITES, Place
from advance_tf.data.splits import SPLITS, hash_key
from advance_tf.files import join_names


def split_by_block(
    pairs: Sequence[Pair],
    places: Mapping[str, Place],
    train_fraction: float = 0.7,
    validation_fraction: float = 0.1,
    seed: int = 0,
    *,
    block_kilometres: float = 10.0,
) -> tuple[str, ...]:
    """Splits by spatial blocks, so that test places are far from training places.

    A block is a cell of latitude and longitude with sides of `block_kilometres`; a
    site is in the block of its first pair. Blocks, from the largest to the smallest,
    go to the split in which the number of pairs of the block's scenes is farthest
    below its share. The fractions are therefore met only approximately.

    Args:
        pairs: the pairs of the data set.
        places: stem → place of each pair.
        train_fraction: share of each scene's pairs in training.
        validation_fraction: share in validation.
        seed: seed of the order of blocks of one size, and of the grid's origin.
        block_kilometres: side of a block.

    Returns:
        The split of each pair.

    Raises:
        ValueError: a pair has no place.

    Source: Roberts et al., "Cross-validation strategies for data with temporal,
    spatial, hierarchical, or phylogenetic structure", Ecography 2017.
    """
    lacking = sorted({pair.stem for pair in pairs} - places.keys())
    if lacking:
        raise ValueError(
            f"A split by block needs the coordinates of every pair in {SITES}; it "
            f"lacks {join_names(lacking, 3)}. Build the data set with "
            "`advance build-dataset`, or set `split_protocol=site`."
        )
    block_of: dict[str, tuple[int, int]] = {}
    for pair in pairs:
        block_of.setdefault(
            pair.site, _block(places[pair.stem], block_kilometres, seed)
        )
    members: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        members[block_of[pair.site]][pair.scene] += 1
    totals = Counter(pair.scene for pair in pairs)
    shares = (train_fraction, validation_fraction)
    share_of = dict(zip(SPLITS, (*shares, 1 - sum(shares)), strict=True))
    filled: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    order = sorted(members, key=lambda b: (-members[b].total(), hash_key(seed, *b)))
    split_of_block = {}
    for block in order:
        scenes = members[block]

        def lack(split: str, scenes: Counter[str] = scenes) -> float:
            """Pairs of the scenes that the split lacks, relative to its share."""
            if not share_of[split] > 1e-12:
                return -math.inf
            return sum(
                count * (1 - filled[split][scene] / (share_of[split] * totals[scene]))
                for scene, count in scenes.items()
            )

        # Of equal splits the first one, training.
        split_of_block[block] = max(SPLITS, key=lack)
        filled[split_of_block[block]] += scenes
    return tuple(split_of_block[block_of[pair.site]] for pair in pairs)


def _block(place: Place, kilometres: float, seed: int) -> tuple[int, int]:
    """Row and column of a place in the grid of blocks."""
    side = 1000 * kilometres
    shift = int(hash_key(seed, "origin")[:8], 16) / 16**8  # [0, 1)
    row = math.floor(EARTH_METRES * math.radians(place.latitude) / side + shift)
    # The width of a degree at the middle of the row.
    middle = (row + 0.5 - shift) * side / EARTH_METRES
    width = EARTH_METRES * max(math.cos(middle), 1e-6)
    return row, math.floor(width * math.radians(place.longitude) / side + shift)
