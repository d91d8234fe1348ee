"""Which pairs of a split are shown."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from advance_tf.data.layout import Pair

SPREAD, GAIN = "spread", "gain"
CHOICES = (SPREAD, GAIN)


def by_stem(pairs: Sequence[Pair], stems: Sequence[str]) -> list[Pair]:
    """The pairs of stems, in the order of the stems.

    Raises:
        ValueError: a stem has no pair or stands there twice.
    """
    twice = [stem for stem, times in Counter(stems).items() if times > 1]
    if twice:
        raise ValueError(
            f"--stems must name each pair once; received {', '.join(twice)} more "
            "than once. Leave the others out."
        )
    known = {pair.stem: pair for pair in pairs}
    missing = [stem for stem in stems if stem not in known]
    if missing:
        raise ValueError(
            f"--stems must name pairs of the manifest; received {', '.join(missing)}. "
            f"It has, for example, {', '.join(list(known)[:5])}."
        )
    return [known[stem] for stem in stems]


def most_gaining(pairs: Sequence[Pair], before, after, count: int) -> list[Pair]:
    """The pairs whose true scene gains most probability, one of each site.

    Such pairs show what a run does differently, not how good it is.

    Args:
        pairs: of a split.
        before: probability of the true scene under one run [n].
        after: the same under another.
        count: how many to choose.

    Returns:
        At most `count`, largest gain first; only pairs with a gain above 0,
        perhaps none.
    """
    gain = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    best: dict[str, Pair] = {}
    for place in np.argsort(-gain, kind="stable"):
        if gain[place] > 0:
            best.setdefault(pairs[place].site, pairs[place])
    return list(best.values())[:count]
