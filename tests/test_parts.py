"""Parts of a table that several processes share."""

import hashlib
import json

import pytest

from advance_tf.parts import Parts, Shard


def test_every_part_belongs_to_one_process_and_is_done_once(tmp_path):
    parts = Parts(tmp_path, {"seed": 1}, rows=23, part_rows=5, ending=".txt")
    own = [parts.missing(Shard(i, 3)) for i in range(3)]
    assert own == [[0, 15], [5, 20], [10]]
    parts.begin()
    for start in own[0] + own[2]:
        parts.path(start).write_text(str(start))
    assert parts.missing() == [5, 20]
    # Another number of processes takes what is missing.
    assert parts.missing(Shard(1, 2)) == [5]
    for start in own[1]:
        parts.path(start).write_text(str(start))
    parts.finish()
    done = json.loads((tmp_path / "parts.json").read_text())["done"]
    assert [one["rows"] for one in done] == [5, 5, 5, 5, 3]
    assert done[3]["sha256"] == hashlib.sha256(b"15").hexdigest()


def test_other_work_in_the_folder_is_refused(tmp_path):
    Parts(tmp_path, {"seed": 1}, 23, 5, ".txt").begin()
    Parts(tmp_path, {"seed": 1}, 23, 5, ".txt").begin()
    with pytest.raises(ValueError, match="seed 1 instead of 2"):
        Parts(tmp_path, {"seed": 2}, 23, 5, ".txt").begin()


@pytest.mark.parametrize("text", ["", "1", "4/4", "-1/4", "0/0", "a/b", "1/2/3"])
def test_a_shard_is_i_of_n(text):
    with pytest.raises(ValueError, match="shard must be i/n"):
        Shard.of(text)
