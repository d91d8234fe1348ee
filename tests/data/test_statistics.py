"""Statistics of the mel bands against NumPy."""

import numpy as np

from advance_tf.config import DataConfig, FeatureConfig
from advance_tf.data.manifest import make_manifest
from advance_tf.data.statistics import RunningStats, log_mel_statistics
from advance_tf.features.frontend import waveform_from_bytes
from advance_tf.features.log_mel import log_mel_db


def test_batches_of_any_size_give_the_statistics_of_all_rows():
    rng = np.random.default_rng(0)
    rows = rng.normal(1e6, [0.1, 3.0], (1000, 2))
    running = RunningStats(2)
    for part in np.split(rows, [1, 2, 400, 999]):
        running.add(part)
    assert running.count == 1000
    np.testing.assert_allclose(running.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(running.std, rows.std(0), rtol=1e-6)


def test_statistics_of_clips(fabricated_advance):
    features = FeatureConfig(clip_seconds=0.5)
    manifest = make_manifest(DataConfig(data_dir=str(fabricated_advance)))
    pairs = manifest.pairs_of("training")[:6]
    found = log_mel_statistics(pairs, fabricated_advance, features, progress=False)
    clips = [
        log_mel_db(
            waveform_from_bytes(
                (fabricated_advance / pair.sound).read_bytes(), features
            ),
            features,
        ).numpy()
        for pair in pairs
    ]
    frames = np.concatenate(clips)
    np.testing.assert_allclose(found.mean_db, frames.mean(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found.std_db, frames.std(0), rtol=1e-4, atol=1e-4)
