"""A cache without the temporary files that killed processes left."""

import os
import time

from advance_tf.config import FeatureConfig
from advance_tf.data.cache import PairCache
from advance_tf.data.layout import scan
from advance_tf.data.synthetic.pairs import write_pairs
from tests.data.factories import write_files

HOUR = 3600.0


def test_filling_removes_temporary_files_older_than_a_day(tmp_path):
    write_pairs(tmp_path / "data", sites_per_scene=1, progress=False)
    pairs = scan(tmp_path / "data").pairs[:1]
    cache = PairCache(tmp_path / "cache", FeatureConfig(image_size=32))
    scene = f"{cache.folder.relative_to(tmp_path)}/{pairs[0].scene}"
    ages = {
        f"{scene}/00001-{'0' * 16}-7712-partial.pair": 25 * HOUR,
        f"{scene}/00002-{'0' * 16}-7713-partial.pair": 23 * HOUR,
        f"{scene}/00003-{'0' * 16}.pair": 99 * HOUR,
    }
    write_files(tmp_path, *ages)
    for name, age in ages.items():
        then = time.time() - age
        os.utime(tmp_path / name, (then, then))
    assert cache.fill(pairs, tmp_path / "data", progress=False) == 1
    assert [(tmp_path / name).exists() for name in ages] == [False, True, True]
