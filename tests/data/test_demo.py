"""The synthetic data set: layout, labels, events that depend on the scene."""

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.data import demo, demo_images, demo_sounds, layout, tagged
from advance_tf.data.notice import read_notice


def test_pairs_are_in_the_layout_and_say_that_they_are_synthetic(tmp_path):
    assert demo.write_pairs(tmp_path, sites_per_scene=1) == 26
    pairs = layout.scan(tmp_path).pairs
    assert len(pairs) == 26
    assert {pair.scene for pair in pairs} == set(labels.scenes())
    assert len({pair.site for pair in pairs}) == 13
    assert read_notice(tmp_path).startswith("synthetic data")


def test_tagged_clips_are_read_by_pretraining(tmp_path):
    demo.write_tagged_clips(tmp_path, clips=3)
    clips = tagged.read_tags(tmp_path / demo.TAGS, tmp_path)
    assert len(clips) == 3
    assert all(1 <= len(clip.events) <= 3 for clip in clips)


def test_every_scene_is_painted_and_looks_of_its_own():
    means = {}
    for scene in labels.scenes():
        painted = [demo_images.paint(scene, np.random.default_rng(n)) for n in (0, 1)]
        assert painted[0].shape == (160, 160, 3)
        assert painted[0].dtype == np.uint8
        assert np.abs(painted[0].astype(int) - painted[1]).mean() > 3
        means[scene] = painted[0].mean((0, 1))
    assert means["beach"][0] > means["forest"][0] + 50


@pytest.mark.parametrize("event", demo_sounds.SYNTHESES)
def test_every_event_is_one_of_audiosets_and_sounds(event):
    assert event in {known.name for known in labels.events()}
    wave = demo_sounds.synthesize([event], np.random.default_rng(0))
    assert wave.shape == (220_500,)
    assert np.abs(wave).max() == pytest.approx(0.5, abs=1e-3)
    assert wave.std() > 0.01


def test_events_follow_their_scene():
    rng = np.random.default_rng(0)
    drawn = [demo_sounds.draw_events("airport", rng) for _ in range(300)]
    aircraft = np.mean(["Aircraft" in events for events in drawn])
    waves = np.mean(["Waves, surf" in events for events in drawn])
    assert 0.9 < aircraft < 0.99
    assert waves < 0.08
    assert all(drawn)
