"""The synthetic data set: layout, labels, images, and events of each scene."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data import layout, tagged_clips
from advance_tf.data.layout import read_notice
from advance_tf.data.synthetic import images, pairs, sounds


def test_pairs_are_in_the_layout_and_labelled_as_synthetic(tmp_path):
    assert pairs.write_pairs(tmp_path, sites_per_scene=1) == 26
    found = layout.scan(tmp_path).pairs
    assert len(found) == 26
    assert {pair.scene for pair in found} == set(labels.scenes())
    assert len({pair.site for pair in found}) == 13
    assert read_notice(tmp_path).startswith("synthetic data")


def test_tagged_clips_are_read_back(tmp_path):
    # A folder that does not exist, as a string.
    folder = str(tmp_path / "clips")
    pairs.write_tagged_clips(folder, clips=3, progress=False)
    clips = tagged_clips.read_tags(f"{folder}/tags.csv", folder)
    assert len(clips) == 3
    assert all(1 <= len(clip.events) <= 3 for clip in clips)


def test_images_vary_and_differ_between_scenes():
    means = {}
    for scene in labels.scenes():
        painted = [images.paint(scene, np.random.default_rng(n)) for n in (0, 1)]
        assert painted[0].shape == (160, 160, 3)
        assert painted[0].dtype == np.uint8
        assert np.abs(painted[0].astype(int) - painted[1]).mean() > 3
        means[scene] = painted[0].mean((0, 1))
    assert means["beach"][0] > means["forest"][0] + 50


@pytest.mark.parametrize("event", sounds.SYNTHESES)
def test_every_event_is_in_audioset_and_audible(event):
    assert event in {entry.name for entry in labels.events()}
    wave = sounds.synthesize([event], np.random.default_rng(0))
    assert wave.shape == (220_500,)
    assert np.abs(wave).max() == pytest.approx(0.5, abs=1e-3)
    assert wave.std() > 0.01


def test_events_have_the_probabilities_of_their_scene():
    rng = np.random.default_rng(0)
    drawn = [sounds.draw_events("airport", rng) for _ in range(300)]
    aircraft = np.mean(["Aircraft" in events for events in drawn])
    waves = np.mean(["Waves, surf" in events for events in drawn])
    assert 0.9 < aircraft < 0.99
    assert waves < 0.08
    assert all(drawn)
