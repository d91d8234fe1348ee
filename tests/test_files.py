"""A replaced file is the old or the new one, never half of it."""

import pytest

from advance_tf.files import check_output, replacing


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


def test_an_output_is_a_file_of_its_kind(tmp_path):
    check_output(tmp_path / "new" / "a.html")
    check_output(tmp_path / "a.PNG", ".png")
    with pytest.raises(ValueError, match=r"received the folder .*output\.png"):
        check_output(tmp_path, ".png")
    with pytest.raises(ValueError, match=r"must end in \.png; .* Name it .*b\.png\."):
        check_output(tmp_path / "b.jpg", ".png")
    assert list(tmp_path.iterdir()) == []
