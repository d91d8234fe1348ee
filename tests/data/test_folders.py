"""Classes from sub-folders, and a draw that does not depend on file order."""

import pytest

from advance_tf.data.folders import read_image_folder


def make_folder(root, counts, order=1):
    for name, count in list(counts.items())[::order]:
        (root / name).mkdir()
        for number in list(range(count))[::order]:
            (root / name / f"{number:02d}.jpg").write_bytes(b"x")
        (root / name / "notes.txt").write_text("no image")
    return root


def test_a_fifth_of_each_class_is_held_out(tmp_path):
    folder = read_image_folder(make_folder(tmp_path, {"b": 10, "a": 20}))
    assert folder.classes == ("a", "b")
    held_out = [index for _, index in folder.validation]
    assert (held_out.count(0), held_out.count(1)) == (4, 2)
    everything = {path for path, _ in folder.training + folder.validation}
    assert len(everything) == 30
    assert not set(folder.training) & set(folder.validation)


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_files(tmp_path):
    counts = {"a": 12, "b": 12}
    for name in ("forward", "backward"):
        (tmp_path / name).mkdir()
    one = read_image_folder(make_folder(tmp_path / "forward", counts), seed=1)
    again = read_image_folder(make_folder(tmp_path / "backward", counts, -1), seed=1)
    other = read_image_folder(tmp_path / "forward", seed=2)
    assert one == again
    assert one.validation != other.validation


@pytest.mark.parametrize(
    ("counts", "named"),
    [({"a": 3}, "has 1"), ({"a": 3, "b": 1}, "'b' has 1"), ({}, "has 0")],
)
def test_too_few_classes_or_images_are_refused(tmp_path, counts, named):
    with pytest.raises(ValueError, match=named):
        read_image_folder(make_folder(tmp_path, counts))


def test_a_share_outside_its_range_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--validation_fraction"):
        read_image_folder(tmp_path, validation_fraction=1.0)
