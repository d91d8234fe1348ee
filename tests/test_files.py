"""A replaced file is the old or the new one, never half of it."""

import pytest

from advance_tf.files import replacing


def test_the_file_appears_whole(tmp_path):
    path = tmp_path / "folder" / "a.weights.h5"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.name.endswith(".weights.h5")
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.weights.h5"]


def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="stop"), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError("stop")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.csv"]
