"""Stores of embeddings and of activations: what is written is read, or refused."""

import numpy as np
import pytest

from advance_tf.training.embedding_store import ActivationStore, EmbeddingStore

SHAPES = {EmbeddingStore: (4,), ActivationStore: (3, 2, 2)}


def rows_of(store, keys, seed=0):
    values = np.random.default_rng(seed).normal(size=(len(keys), *SHAPES[store]))
    return dict(zip(keys, values.astype(np.float32), strict=True))


@pytest.mark.parametrize("store", SHAPES)
def test_rows_of_all_files_are_found_by_key(store, tmp_path):
    first, second = rows_of(store, "abc"), rows_of(store, "de", 1)
    for rows in (first, second):
        for key, row in store(tmp_path).write(rows).items():
            np.testing.assert_array_equal(row, rows[key])
    found = store(tmp_path).read(["b", "e", "unknown"])
    assert found.keys() == {"b", "e"}
    np.testing.assert_array_equal(found["b"], first["b"])
    np.testing.assert_array_equal(found["e"], second["e"])


@pytest.mark.parametrize("store", SHAPES)
def test_files_that_are_being_written_are_not_read(store, tmp_path):
    rows = rows_of(store, "abc")
    store(tmp_path).write(rows)
    (tmp_path / f"0-71-partial{store.pattern[1:]}").write_bytes(b"the first bytes")
    assert store(tmp_path).read(["a"]).keys() == {"a"}


@pytest.mark.parametrize("store", SHAPES)
def test_a_damaged_file_is_named(store, tmp_path):
    store(tmp_path).write(rows_of(store, "abc"))
    (path,) = tmp_path.glob(store.pattern)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"must be .*complete.* Remove .* again"):
        store(tmp_path).read(["a"])
