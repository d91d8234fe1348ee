"""Image classes and tagged clips: selection, targets, weights and batches."""

import numpy as np
import pytest
import soundfile
import tensorflow as tf

from advance_tf.config import FeatureConfig
from advance_tf.data.pretraining import (
    make_clip_dataset,
    make_image_dataset,
    multi_hot,
    read_image_folder,
    sampling_weights,
)
from advance_tf.data.sampling import TrainingEpochs
from advance_tf.data.tagged_clips import TaggedClip
from advance_tf.features.frontend import Frontend
from tests.data.factories import write_files

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.5)


def write_image_folder(root, counts, order=1):
    for name, count in list(counts.items())[::order]:
        (root / name).mkdir()
        for number in list(range(count))[::order]:
            (root / name / f"{number:02d}.jpg").write_bytes(b"x")
        (root / name / "notes.txt").write_text("not an image")
    return root


def test_a_fifth_of_each_class_is_for_validation(tmp_path):
    folder = read_image_folder(write_image_folder(tmp_path, {"b": 10, "a": 20}))
    assert folder.classes == ("a", "b")
    validation = [index for _, index in folder.validation]
    assert (validation.count(0), validation.count(1)) == (4, 2)
    paths = {path for path, _ in folder.training + folder.validation}
    assert len(paths) == 30
    assert not set(folder.training) & set(folder.validation)


def test_validation_depends_on_the_seed_and_not_on_the_order_of_files(tmp_path):
    counts = {"a": 12, "b": 12}
    for name in ("forward", "backward"):
        (tmp_path / name).mkdir()
    one = read_image_folder(write_image_folder(tmp_path / "forward", counts), seed=1)
    again = read_image_folder(
        write_image_folder(tmp_path / "backward", counts, -1), seed=1
    )
    other = read_image_folder(tmp_path / "forward", seed=2)
    assert one == again
    assert one.validation != other.validation


@pytest.mark.parametrize(
    ("counts", "message"),
    [({"a": 3}, "has 1"), ({"a": 3, "b": 1}, "'b' has 1"), ({}, "has 0")],
)
def test_too_few_classes_or_images_are_an_error(tmp_path, counts, message):
    with pytest.raises(ValueError, match=message):
        read_image_folder(write_image_folder(tmp_path, counts))


def test_a_fraction_out_of_range_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match="^validation_fraction must be between 0 and 1"
    ):
        read_image_folder(tmp_path, validation_fraction=1.0)


def test_targets_and_sampling_weights():
    clips = [TaggedClip("", e) for e in ((0,), (0,), (0, 2), (5,))]
    targets = multi_hot(clips)
    assert targets.shape == (4, 527)
    assert targets.sum() == 5
    weights = sampling_weights(targets)
    expected = np.array([1 / 3, 1 / 3, 1 / 3 + 1, 1])
    np.testing.assert_allclose(weights, expected / expected.sum())
    # Each event is drawn with the same probability.
    np.testing.assert_allclose(weights[2] + weights[0] + weights[1], 2 / 3)


def test_clips_without_events_cannot_be_balanced():
    with pytest.raises(ValueError, match="At least one clip must have an event"):
        sampling_weights(np.zeros((2, 527), np.float32))


def test_images_of_evaluation_are_decoded_in_order(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8)
    for number, image in enumerate(pixels):
        (tmp_path / f"{number}.png").write_bytes(tf.io.encode_png(image).numpy())
    images = [("2.png", 1), ("0.png", 0), ("1.png", 1)]
    inputs, targets = zip(
        *make_image_dataset(images, tmp_path, FEATURES, 2), strict=True
    )
    assert np.concatenate([part["class"] for part in targets]).tolist() == [1, 0, 1]
    expected = [Frontend(FEATURES).read_image(pixels[n]) for n in (2, 0, 1)]
    found = np.concatenate([part["image"] for part in inputs])
    np.testing.assert_allclose(found, np.stack(expected), atol=1e-3)


@pytest.fixture
def clips(tmp_path):
    """Five clips of 1 s: four of event 0, one of event 5."""
    rng = np.random.default_rng(0)
    for number in range(5):
        wave = rng.uniform(-0.5, 0.5, 16_000)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000, subtype="PCM_16")
    return [TaggedClip(f"{n}.wav", (5,) if n == 4 else (0,)) for n in range(5)]


def test_clips_of_evaluation_are_cut_at_the_centre_in_order(clips, tmp_path):
    batches = make_clip_dataset(clips, tmp_path, FEATURES, 2)
    inputs, targets = zip(*batches, strict=True)
    events = np.concatenate([part["events"] for part in targets])
    np.testing.assert_array_equal(events, multi_hot(clips))
    frontend = Frontend(FEATURES)
    found = np.concatenate([part["log_mel"] for part in inputs])
    for row in (0, 4):
        waveform = frontend.read_waveform(tmp_path / clips[row].path)
        np.testing.assert_allclose(found[row], frontend.log_mel(waveform), atol=1e-4)


def test_training_draws_rare_events_as_often_as_common_ones(clips, tmp_path):
    epochs = TrainingEpochs(augmentation="none")
    batches = make_clip_dataset(clips * 20, tmp_path, FEATURES, 100, training=epochs)
    ((_, targets),) = batches
    share = targets["events"].numpy()[:, 5].sum() / 100
    # A fifth of the clips and half of the draws, with a standard deviation of 0.05.
    assert abs(share - 0.5) < 0.15


def test_balanced_clips_are_drawn_in_rounds_over_the_events(clips, tmp_path):
    """As many clips of every event, exactly, in each pair of consecutive draws."""
    epochs = TrainingEpochs(sampling="balanced", augmentation="none")
    batches = make_clip_dataset(
        clips * 4, tmp_path, FEATURES, 20, training=epochs, mixup_strength=0
    )
    ((_, targets),) = batches
    events = targets["events"].numpy()
    used = np.flatnonzero(events.sum(0))
    assert len(used) == 2
    np.testing.assert_array_equal(events[:, used].sum(0), [10, 10])
    np.testing.assert_array_equal(events[0::2, used] + events[1::2, used], 1)


def test_only_clips_of_augmented_epochs_are_masked(clips, tmp_path):
    """Order and cuts are the same, those of the seed."""
    plain, masked = (
        next(iter(make_clip_dataset(clips, tmp_path, FEATURES, 5, **settings)))[0]
        for settings in (
            {"training": TrainingEpochs(0, 0, "fixed", how), "mixup_strength": 0}
            for how in ("none", "real")
        )
    )
    gap = np.abs(masked["log_mel"] - plain["log_mel"]).max(axis=(1, 2))
    assert (gap > 0.1).all()


def test_mixup_mixes_the_targets_of_a_training_batch(clips, tmp_path):
    epochs = TrainingEpochs(seed=2, sampling="fixed")
    batches = make_clip_dataset(clips, tmp_path, FEATURES, 5, training=epochs)
    ((_, targets),) = batches
    events = targets["events"].numpy()
    np.testing.assert_allclose(events.sum(1), 1, rtol=1e-5)
    assert ((events[:, 5] > 0) & (events[:, 5] < 1)).any()


def test_foreign_entries_are_neither_classes_nor_images(tmp_path):
    write_files(tmp_path, "farm/1.jpg", "farm/2.jpg", "port/1.jpg", "port/2.jpg")
    write_files(tmp_path, ".ipynb_checkpoints/1.jpg", "__MACOSX/1.jpg")
    write_files(tmp_path, "farm/._1.jpg", "port/Thumbs.db", "desktop.ini")
    images = read_image_folder(tmp_path, validation_fraction=0.5)
    assert images.classes == ("farm", "port")
    paths = {path for path, _ in images.training + images.validation}
    assert paths == {"farm/1.jpg", "farm/2.jpg", "port/1.jpg", "port/2.jpg"}
