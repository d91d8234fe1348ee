"""Shared by all tests: TensorFlow on one CPU core, their order, a made-up ADVANCE."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
# The tests run side by side; threads of one would only wait for those of another.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from advance_tf import labels
from advance_tf.memory import keep_freed_memory

# As the commands do.
keep_freed_memory()

# The files that take longest, from the longest on. They start first, so that the
# processes of pytest-xdist end at about the same time; it keeps this order with
# --no-loadscope-reorder.
SLOW_FILES = (
    "training/test_cluster.py",
    "cli/test_reproduce.py",
    "training/test_recognition.py",
    "docs/test_tutorial.py",
    "test_core_install.py",
    "inference/test_contract.py",
    "cli/test_fit.py",
    "cli/test_startup.py",
    "cli/test_convert.py",
    "training/test_pretraining.py",
    "training/test_partly_frozen.py",
    "inference/test_waveform_input.py",
    "cli/test_export.py",
    "cli/test_report_page.py",
    "reporting/test_app.py",
    "serving/test_saved_model.py",
)


def pytest_collection_modifyitems(items):
    """Moves the tests of the slow files to the front."""
    tests = pathlib.Path(__file__).parent
    places = {tests / name: place for place, name in enumerate(SLOW_FILES)}
    # The sort is stable.
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
