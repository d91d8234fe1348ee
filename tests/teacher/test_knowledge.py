"""Event knowledge: training pairs only, stored, loaded, and refused."""

import dataclasses

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data.layout import Pair
from advance_tf.teacher import knowledge as module
from advance_tf.teacher.knowledge import (
    POSTERIORS,
    build_knowledge,
    load_knowledge,
    save_knowledge,
    sigmoid,
    soft_labels_path,
)
from tests.teacher.made import EVENTS, made_logits, made_manifest

MANIFEST = made_manifest()
LOGITS = made_logits(MANIFEST)
MASK = np.arange(EVENTS) % 90 != 3
TRAINING = np.array(MANIFEST.splits) == "training"
KEY = "0123456789abcdef"


def built(logits=LOGITS, manifest=MANIFEST):
    return build_knowledge(manifest, logits, MASK, "made", "b" * 64)


def array_names(knowledge):
    arrays = {"posteriors": knowledge.posteriors, "logits": knowledge.teacher_logits}
    return arrays | knowledge.relevances


@pytest.fixture
def folder(tmp_path):
    save_knowledge(tmp_path, built(), KEY)
    return tmp_path


def test_posteriors_are_the_means_of_the_training_pairs():
    knowledge = built()
    for index, scene in enumerate(labels.scenes()):
        own = TRAINING & np.array([pair.scene == scene for pair in MANIFEST.pairs])
        assert own.sum() == 2
        soft = 1 / (1 + np.exp(-np.float64(LOGITS[own])))
        expected = soft.mean(axis=0) * MASK
        np.testing.assert_allclose(knowledge.posteriors[index], expected, rtol=1e-6)
        lengths = [np.linalg.norm(d[index]) for d in knowledge.relevances.values()]
        np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_test_and_validation_places_change_nothing_but_their_own_soft_labels():
    other = np.where(TRAINING[:, None], LOGITS, 50 * made_logits(MANIFEST, 1))
    before, after = built(), built(other)
    np.testing.assert_array_equal(before.posteriors, after.posteriors)
    for mode, directions in before.relevances.items():
        np.testing.assert_array_equal(directions, after.relevance(mode))
    moved = np.where(~TRAINING[:, None], LOGITS, made_logits(MANIFEST, 1))
    assert np.abs(built(moved).posteriors - before.posteriors).max() > 0.1


def test_other_scenes_of_test_pairs_change_nothing():
    scenes = labels.scenes()
    pairs = [
        pair if chosen else dataclasses.replace(pair, scene=scenes[0])
        for pair, chosen in zip(MANIFEST.pairs, TRAINING, strict=True)
    ]
    relabelled = dataclasses.replace(MANIFEST, pairs=tuple(pairs))
    np.testing.assert_array_equal(
        built(manifest=relabelled).posteriors, built().posteriors
    )


def test_events_that_the_teacher_lacks_are_zero_whatever_it_says():
    spoilt = np.where(MASK, LOGITS, np.float32(30))
    for name, rows in array_names(built(spoilt)).items():
        if name != "logits":
            assert not rows[:, ~MASK].any()
            np.testing.assert_array_equal(rows, array_names(built())[name])


def test_targets_follow_the_order_of_the_pairs():
    chosen = [MANIFEST.pairs[index] for index in (9, 2, 30)]
    targets = built().targets_for(chosen)
    np.testing.assert_array_equal(targets["teacher_logits"], LOGITS[[9, 2, 30]])
    expected = 1 / (1 + np.exp(-np.float64(LOGITS[[9, 2, 30]])))
    np.testing.assert_allclose(targets["soft_labels"], expected, rtol=1e-6)
    assert {rows.dtype.name for rows in targets.values()} == {"float32"}


def test_a_pair_without_soft_labels_is_named():
    stranger = Pair("99999", "beach", "99999", "a.jpg", "a.wav")
    with pytest.raises(ValueError, match=r"1 have none, the first is beach/99999"):
        built().targets_for([MANIFEST.pairs[0], stranger])
    same_stem = dataclasses.replace(MANIFEST.pairs[0], scene="lake")
    with pytest.raises(ValueError, match="first is lake/"):
        built().targets_for([same_stem])


def test_sigmoid_does_not_overflow():
    np.testing.assert_allclose(
        sigmoid([-1000, -20, 0, 3, 1000]),
        [0, np.exp(-20) / (1 + np.exp(-20)), 0.5, 1 / (1 + np.exp(-3)), 1],
        rtol=1e-6,
    )


def test_what_is_saved_is_loaded(folder):
    loaded, saved = load_knowledge(folder, MANIFEST), built()
    for name, rows in array_names(saved).items():
        np.testing.assert_array_equal(array_names(loaded)[name], rows)
    np.testing.assert_array_equal(loaded.event_mask, MASK)
    assert (loaded.keys, loaded.teacher) == (saved.keys, "made")
    assert loaded.teacher_sha256 == "b" * 64
    with np.load(folder / POSTERIORS) as stored:
        assert tuple(stored["scenes"]) == labels.scenes()
        assert stored["event_names"][0] == labels.events()[0].name
        assert str(stored["manifest_sha256"]) == MANIFEST.sha256


def test_an_unknown_relevance_and_one_without_direction_are_refused():
    with pytest.raises(ValueError, match="one of gram, centered_pca"):
        built().relevance("pca")
    same = built(np.repeat(LOGITS[:1], len(LOGITS), axis=0))
    same.relevance("gram")
    with pytest.raises(ValueError, match=r"those of airport, beach.*--relevance=gram"):
        same.relevance("centered_pca")


def test_another_manifest_is_refused(folder):
    other = dataclasses.replace(MANIFEST, splits=MANIFEST.splits[::-1])
    with pytest.raises(ValueError, match=r"manifest_sha256 in use.*training places"):
        load_knowledge(folder, other)


def test_missing_knowledge_names_the_program(folder):
    with pytest.raises(ValueError, match=r"advance_tf\.teach --data_dir=… --workdir=…"):
        load_knowledge(folder / "nowhere", MANIFEST)
    soft_labels_path(folder, KEY).unlink()
    with pytest.raises(ValueError, match=rf"soft_labels-{KEY}\.npz does not exist"):
        load_knowledge(folder, MANIFEST)


@pytest.mark.parametrize("name", ["scenes", "event_mids", "event_names"])
def test_other_scenes_or_events_are_refused(folder, name):
    with np.load(folder / POSTERIORS) as stored:
        arrays = dict(stored)
    arrays[name] = np.roll(arrays[name], 1)
    np.savez_compressed(folder / POSTERIORS, **arrays)
    with pytest.raises(ValueError, match=rf"hold the {name} in use; .* where .*teach"):
        load_knowledge(folder, MANIFEST)
    arrays[name] = arrays[name][:-1]
    np.savez_compressed(folder / POSTERIORS, **arrays)
    with pytest.raises(ValueError, match=rf"the {name} in use; it has \d+ of them"):
        load_knowledge(folder, MANIFEST)


def test_soft_labels_of_another_teacher_are_refused(folder):
    other = dataclasses.replace(built(), teacher_sha256="c" * 64)
    save_knowledge(folder / "other", other, KEY)
    path = soft_labels_path(folder, KEY)
    path.write_bytes(soft_labels_path(folder / "other", KEY).read_bytes())
    with pytest.raises(ValueError, match="hold the teacher_sha256 in use"):
        load_knowledge(folder, MANIFEST)


@pytest.mark.parametrize("name", [POSTERIORS, f"soft_labels-{KEY}.npz"])
def test_damaged_files_are_refused_or_harmless(folder, name):
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    damaged = [b"", b"not a file", whole[: len(whole) // 2], whole[:-30]]
    for at in rng.integers(0, len(whole), 60):
        damaged.append(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
    refused = 0
    expected = array_names(built())
    for contents in damaged:
        (folder / name).write_bytes(contents)
        try:
            loaded = load_knowledge(folder, MANIFEST)
        except ValueError as error:
            refused += "advance_tf.teach" in str(error)
        else:
            # A byte of the archive that nothing depends on, such as a date.
            for key, rows in array_names(loaded).items():
                np.testing.assert_array_equal(rows, expected[key])
    assert refused >= 50


def test_a_file_with_an_array_missing_or_misshapen_is_refused(folder):
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


def test_an_interrupted_save_leaves_the_old_files(folder, monkeypatch):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def interrupted(path, **arrays):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_knowledge(folder, built(LOGITS + 1), KEY)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert module.POSTERIORS in before
