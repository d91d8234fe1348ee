"""Files of event knowledge: round trip, damaged files, other scenes or teachers."""

import dataclasses

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.rows import StoredRows
from advance_tf.teacher import archives
from advance_tf.teacher.knowledge import load_knowledge, save_knowledge
from advance_tf.teacher.storage import POSTERIORS, soft_labels_path
from tests.teacher.factories import (
    MASK,
    arrays_of,
    create_knowledge,
    create_manifest,
    random_logits,
)

MANIFEST = create_manifest()
LOGITS = random_logits(MANIFEST)
KEY = "0123456789abcdef"


def knowledge_of(logits=LOGITS, manifest=MANIFEST):
    return create_knowledge(manifest, logits)


@pytest.fixture
def folder(tmp_path):
    save_knowledge(tmp_path, knowledge_of(), KEY)
    return tmp_path


def test_saved_knowledge_is_loaded(folder):
    loaded, saved = load_knowledge(folder, MANIFEST), knowledge_of()
    for name, rows in arrays_of(saved).items():
        np.testing.assert_array_equal(arrays_of(loaded)[name], rows)
    np.testing.assert_array_equal(loaded.event_mask, MASK)
    assert (loaded.keys, loaded.teacher) == (saved.keys, "fabricated")
    assert loaded.teacher_sha256 == "b" * 64
    with np.load(folder / POSTERIORS) as stored:
        assert tuple(stored["scenes"]) == labels.scenes()
        assert stored["event_names"][0] == labels.events()[0].name
        assert str(stored["manifest_sha256"]) == MANIFEST.sha256


def test_another_manifest_is_rejected(folder):
    other = dataclasses.replace(MANIFEST, splits=MANIFEST.splits[::-1])
    with pytest.raises(ValueError, match=r"manifest_sha256 in use.*Training sites"):
        load_knowledge(folder, other)


def test_missing_knowledge_names_the_command(folder):
    with pytest.raises(ValueError, match=r"Run `advance teach` first.*transfer='none'"):
        load_knowledge(folder / "nowhere", MANIFEST)
    soft_labels_path(folder, KEY).unlink()
    with pytest.raises(ValueError, match=rf"soft_labels-{KEY}\.npz does not exist"):
        load_knowledge(folder, MANIFEST)


def test_a_run_without_manifest_is_rejected(folder):
    with pytest.raises(ValueError, match=r"`advance convert` and set `data_dir`"):
        load_knowledge(folder, None)


@pytest.mark.parametrize("name", ["scenes", "event_mids", "event_names"])
def test_other_scenes_or_events_are_rejected(folder, name):
    with np.load(folder / POSTERIORS) as stored:
        arrays = dict(stored)
    arrays[name] = np.roll(arrays[name], 1)
    np.savez_compressed(folder / POSTERIORS, **arrays)
    with pytest.raises(ValueError, match=rf"the {name} in use; .* where .*teach"):
        load_knowledge(folder, MANIFEST)
    arrays[name] = arrays[name][:-1]
    np.savez_compressed(folder / POSTERIORS, **arrays)
    with pytest.raises(ValueError, match=rf"the {name} in use; received \d+ entries"):
        load_knowledge(folder, MANIFEST)


def test_soft_labels_of_another_teacher_are_rejected(folder):
    other = dataclasses.replace(knowledge_of(), teacher_sha256="c" * 64)
    save_knowledge(folder / "other", other, KEY)
    path = soft_labels_path(folder, KEY)
    path.write_bytes(soft_labels_path(folder / "other", KEY).read_bytes())
    with pytest.raises(ValueError, match="must contain the teacher_sha256 in use"):
        load_knowledge(folder, MANIFEST)


@pytest.mark.parametrize("name", [POSTERIORS, f"soft_labels-{KEY}.npz"])
def test_damaged_files_are_rejected_or_unaffected(folder, name):
    original = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"not a file", original[: len(original) // 2], original[:-30]]
    for at in rng.integers(0, len(original), 60):
        damaged.append(
            original[:at] + bytes([original[at] ^ 0xFF]) + original[at + 1 :]
        )
    rejected = 0
    expected = arrays_of(knowledge_of())
    for contents in damaged:
        (folder / name).write_bytes(contents)
        try:
            loaded = load_knowledge(folder, MANIFEST)
        except ValueError as error:
            rejected += "`advance teach`" in str(error)
        else:
            # A byte of the archive without effect, such as a date.
            for key, rows in arrays_of(loaded).items():
                np.testing.assert_array_equal(rows, expected[key])
    assert rejected >= 50


def test_a_missing_array_or_another_shape_is_rejected(folder):
    path = folder / POSTERIORS
    with np.load(path) as stored:
        arrays = dict(stored)
    for changed, message in (
        ({"posteriors": arrays["posteriors"][:, 1:]}, r"have the shape \(13, 527\)"),
        ({}, "posteriors is not a file in the archive"),
    ):
        rest = {key: rows for key, rows in arrays.items() if key != "posteriors"}
        np.savez_compressed(path, **rest, **changed)
        with pytest.raises(ValueError, match=message):
            load_knowledge(folder, MANIFEST)


def test_logits_are_read_by_rows_and_by_numpy(folder):
    logits = load_knowledge(folder, MANIFEST).teacher_logits
    assert isinstance(logits, StoredRows)
    np.testing.assert_array_equal(logits[[40, 3]], LOGITS[[40, 3]])
    with np.load(soft_labels_path(folder, KEY)) as stored:
        np.testing.assert_array_equal(stored["teacher_logits"], LOGITS)


def write_compressed(folder, **changed):
    """Writes the soft labels as version 0.1 did."""
    path = soft_labels_path(folder, KEY)
    with np.load(path) as stored:
        arrays = dict(stored) | changed
    names = {"scenes": [p.scene for p in MANIFEST.pairs]}
    np.savez_compressed(path, **names, **arrays)


def test_a_compressed_file_of_version_0_1_is_read(folder):
    write_compressed(folder)
    loaded = load_knowledge(folder, MANIFEST)
    np.testing.assert_array_equal(loaded.teacher_logits, LOGITS)
    np.testing.assert_array_equal(
        loaded.targets_for(MANIFEST.pairs[5:6])["teacher_logits"], LOGITS[5:6]
    )


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("logits", "message"),
    [
        (LOGITS[1:], r"must have the shape \(52, 527\); received \(51, 527\)"),
        (np.where(np.eye(52, 527) > 0, np.nan, LOGITS), "must be finite"),
    ],
)
def test_logits_of_another_shape_or_not_finite_are_rejected(
    folder, logits, message, compressed
):
    logits = np.float32(logits)
    if compressed:
        write_compressed(folder, teacher_logits=logits)
    else:
        changed = dataclasses.replace(knowledge_of(), teacher_logits=logits)
        save_knowledge(folder, changed, KEY)
    with pytest.raises(ValueError, match=f"teacher_logits {message}.*Remove it"):
        load_knowledge(folder, MANIFEST)


def test_a_changed_logit_is_rejected_by_its_checksum(folder):
    path = soft_labels_path(folder, KEY)
    contents = path.read_bytes()
    position = contents.index(LOGITS[20].tobytes())
    changed = np.float32(LOGITS[20, 0] + 1).tobytes()
    path.write_bytes(contents[:position] + changed + contents[position + 4 :])
    with pytest.raises(ValueError, match=r"Bad CRC-32.*Remove it"):
        load_knowledge(folder, MANIFEST)


def test_an_interrupted_save_keeps_the_previous_files(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(file, rows):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "_write_rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_knowledge(folder, knowledge_of(LOGITS + 1), KEY)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert POSTERIORS in before
