"""Shared by all tests: TensorFlow on the CPU without messages, a fabricated ADVANCE."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.memory import keep_freed_memory

# As the commands do.
keep_freed_memory()

RATE_HZ = 22_050
SECONDS = 1.5


@pytest.fixture(scope="session")
def fabricated_advance(tmp_path_factory):
    """A folder in ADVANCE's layout: 13 scenes of 10 sites, one pair each.

    Each scene has a colour in images of 48 px and a pitch in sounds of 1.5 s at
    22,050 Hz, both with noise, so that small models can learn the scenes.
    """
    import soundfile
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("advance")
    time_seconds = np.arange(round(RATE_HZ * SECONDS)) / RATE_HZ
    for number, scene in enumerate(labels.scenes()):
        color = np.random.default_rng(number).integers(40, 216, 3)
        for name in ("vision", "sound"):
            (folder / name / scene).mkdir(parents=True)
        for site in range(10):
            stem = f"{number * 10 + site:05d}"
            rng = np.random.default_rng((number, site))
            image = np.clip(color + rng.normal(0, 12, (48, 48, 3)), 0, 255)
            encoded = tf.io.encode_jpeg(image.astype(np.uint8), quality=95)
            (folder / "vision" / scene / f"{stem}.jpg").write_bytes(encoded.numpy())
            wave = 0.4 * np.sin(2 * np.pi * 200 * 1.25**number * time_seconds)
            wave += rng.normal(0, 0.02, wave.shape)
            path = folder / "sound" / scene / f"{stem}.wav"
            soundfile.write(path, wave, RATE_HZ, subtype="PCM_16")
    return folder
