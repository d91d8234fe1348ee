"""Which pairs are shown: by name, or by gain."""

import pytest

from advance_tf.data.layout import Pair
from advance_tf.studies import chosen


def pairs(**counts):
    return [
        Pair(f"{scene}{n}", scene, scene, "", "")
        for scene, count in counts.items()
        for n in range(count)
    ]


def test_pairs_by_name_keep_their_order():
    every = pairs(a=3)
    assert chosen.by_stem(every, ["a2", "a0"]) == [every[2], every[0]]
    with pytest.raises(ValueError, match=r"received b7\. It has, for example, a0, a1"):
        chosen.by_stem(every, ["a1", "b7"])
    with pytest.raises(ValueError, match="received a1 more than once"):
        chosen.by_stem(every, ["a1", "a2", "a1"])


def test_the_largest_gain_of_each_site_comes_first():
    every = pairs(a=2, b=1, c=1)
    found = chosen.most_gaining(every, [0.5, 0.1, 0.9, 0], [0.6, 0.9, 0.1, 0.3], 2)
    assert [pair.stem for pair in found] == ["a1", "c0"]


def test_a_loss_is_no_gain():
    every = pairs(a=2, b=1, c=1)
    found = chosen.most_gaining(every, [0.5, 0.5, 0.5, 0], [0.4, 0.6, 0.5, 0], 4)
    assert [pair.stem for pair in found] == ["a1"]
    assert chosen.most_gaining(every, [1, 1, 1, 1], [0, 0, 0, 0], 4) == []
