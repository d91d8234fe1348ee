"""Rows of tables: computed, selected, stored, and read by a data set."""

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.data import rows as module
from advance_tf.data.pairing import Pair
from advance_tf.data.rows import (
    ComputedRows,
    StoredRows,
    add_rows,
    blocks,
    number_rows,
    path_rows,
    select_rows,
)

TABLE = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
INDICES = [
    7,
    -1,
    np.int64(3),
    slice(None),
    slice(40, 10, -7),
    slice(60, 70),
    [3, 4, 5, 9, 9, 2, -50],
    np.arange(50) % 3 == 0,
    np.array([[1, 2], [4, 3]]),
    [],
]


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "table"
    path.write_bytes(b"header" + TABLE.tobytes())
    return StoredRows(path.open("rb", buffering=0), 6, TABLE.shape, np.float32)


@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_rows_are_indexed_like_an_array(stored, index):
    expected = TABLE[index]
    computed = ComputedRows(lambda rows: TABLE[rows], TABLE.shape, np.float32)
    for rows in (stored, computed):
        found = rows[index]
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("index", [50, -51, [0, 50]])
def test_a_row_outside_the_table_is_an_error(stored, index):
    with pytest.raises(IndexError, match=r"A row must be in \[0, 50\)"):
        stored[index]


def test_stored_rows_are_those_of_the_opened_file(stored, tmp_path):
    other = tmp_path / "other"
    other.write_bytes(b"header" + (TABLE + 1).tobytes())
    other.replace(tmp_path / "table")
    np.testing.assert_array_equal(np.asarray(stored), TABLE)


def test_only_the_bytes_of_the_rows_are_read(stored, monkeypatch):
    read = []
    original = module._read_into

    def record(file, target):
        read.append(len(target))
        return original(file, target)

    monkeypatch.setattr(module, "_read_into", record)
    np.testing.assert_array_equal(stored[[4, 5, 6, 20]], TABLE[[4, 5, 6, 20]])
    assert read == [3 * 12, 12]


def test_a_shortened_file_is_an_error(stored, tmp_path):
    with (tmp_path / "table").open("r+b") as file:
        file.truncate(100)
    np.testing.assert_array_equal(stored[:7], TABLE[:7])
    with pytest.raises(ValueError, match="must hold 50 rows; it was shortened"):
        stored[40]


def test_selected_rows_and_blocks(stored):
    order = np.array([9, 0, 9, 31])
    selected = select_rows(stored, order, np.negative)
    np.testing.assert_array_equal(np.asarray(selected), -TABLE[order])
    np.testing.assert_array_equal(selected[[3, 1]], -TABLE[[31, 0]])
    parts = list(blocks(stored, 20))
    assert [len(part) for part in parts] == [20, 20, 10]
    np.testing.assert_array_equal(np.concatenate(parts), TABLE)


def test_paths_are_below_the_folder():
    pairs = [Pair("1", "lake", "1", f"vision/é{n}.jpg", "sound/a.wav") for n in "ab"]
    found = path_rows(pairs, "data", "image")[[1, 0]]
    expected = ["data/vision/éb.jpg".encode(), "data/vision/éa.jpg".encode()]
    assert found.tolist() == expected
    assert path_rows(pairs, ".", "sound")[0] == b"sound/a.wav"


def test_a_data_set_gets_the_rows_of_its_indices(stored, monkeypatch):
    monkeypatch.setattr(module, "READ_ROWS", 4)
    order = np.random.default_rng(1).permutation(50)
    names = np.array([f"row {n}".encode() for n in range(50)], object)
    indices = tf.data.Dataset.from_tensor_slices((order * 2, order))
    dataset = add_rows(indices, {"table": stored, "name": names}, 50)
    assert dataset.element_spec[2]["table"] == tf.TensorSpec([3], tf.float32)
    assert int(dataset.cardinality()) == 50
    elements = list(dataset.as_numpy_iterator())
    assert [int(double) for double, _, _ in elements] == (order * 2).tolist()
    for _, index, row in elements:
        np.testing.assert_array_equal(row["table"], TABLE[index])
        assert row["name"] == names[index]
    assert [int(index) for (index,) in number_rows(3)] == [0, 1, 2]
