"""Two processes on the loopback train like one, and resume when one was killed."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from advance_tf.config import ModelConfig
from advance_tf.config_io import to_dict
from advance_tf.models.resnet import BatchNorm
from advance_tf.training import cluster
from advance_tf.training.callbacks import CHECKPOINT
from advance_tf.training.recognition import train_recognizer
from tests.imports import ROOT
from tests.training import factories
from tests.training.test_recognition import read_state

EPOCHS = 3
WAIT_SECONDS = 120


def free_ports(count):
    """Ports that no process uses at the moment."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("localhost", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def write_towers(folder):
    """Networks whose graphs take a second; the image's has a batch norm."""
    image = keras.Input((32, 32, 3))
    # A bias before a batch norm has no gradient but rounding, which Adam scales up.
    x = keras.layers.Conv2D(6, 4, strides=4, use_bias=False)(image)
    x = keras.layers.ReLU()(BatchNorm(name="norm")(x))
    keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)).save(
        folder / "image.keras"
    )
    waveform = keras.Input((16_000,))
    x = keras.layers.Reshape((160, 100))(waveform)
    x = keras.layers.Dense(6, activation="tanh")(x)
    keras.Model(waveform, keras.layers.GlobalMaxPooling1D()(x)).save(
        folder / "sound.keras"
    )
    return {
        "image_backbone": f"file:{folder / 'image.keras'},levels=unit",
        "audio_backbone": f"file:{folder / 'sound.keras'}",
    }


@pytest.fixture(scope="module")
def setup(fabricated_advance, tmp_path_factory):
    """Files of a configuration without dropout, whose masks would differ."""
    folder = tmp_path_factory.mktemp("setup")
    config = factories.build_config(
        fabricated_advance,
        "none",
        epochs=EPOCHS,
        batch_size=12,
        strategy="one",
    )
    config = dataclasses.replace(config, model=ModelConfig(**write_towers(folder)))
    manifest = factories.build_manifest(fabricated_advance)
    manifest.save(folder / "manifest.csv")
    (folder / "config.json").write_text(json.dumps(to_dict(config)))
    return folder, config, manifest


def start_cluster(setup, workdir, processes=2):
    """Starts `advance fit` in every process of a cluster."""
    hosts = [f"localhost:{port}" for port in free_ports(processes)]
    command = [
        *(sys.executable, "-m", "advance_tf", "fit", f"--workdir={workdir}"),
        f"--config={setup[0] / 'config.json'}",
        f"--manifest={setup[0] / 'manifest.csv'}",
        "--strategy=multi_worker",
    ]
    started = []
    for index in range(processes):
        place = {"type": "worker", "index": index}
        cluster_of_task = {"cluster": {"worker": hosts}, "task": place}
        started.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=os.environ | {"TF_CONFIG": json.dumps(cluster_of_task)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    return started


def finish(processes):
    """Exit status and standard error of each process."""
    try:
        return [
            (process.returncode, error)
            for process in processes
            for _, error in [process.communicate(timeout=WAIT_SECONDS)]
        ]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def trained(setup, tmp_path_factory):
    """Checkpoint and log of an uninterrupted run of two processes."""
    workdir = tmp_path_factory.mktemp("trained") / "run"
    for status, error in finish(start_cluster(setup, workdir)):
        assert status == 0, error
    return read_state(workdir)


def test_two_processes_train_like_one(setup, trained, tmp_path):
    _, config, manifest = setup
    train_recognizer(config, manifest, tmp_path, knowledge=None)
    arrays, rows = read_state(tmp_path)
    assert arrays.keys() == trained[0].keys()
    for name in arrays.keys() - {"progress"}:
        found = trained[0][name]
        np.testing.assert_allclose(found, arrays[name], rtol=0, atol=1e-5)
    assert len(rows) == len(trained[1]) == EPOCHS
    for row, found in zip(rows, trained[1], strict=True):
        assert row.keys() == found.keys()
        for name, value in row.items():
            np.testing.assert_allclose(
                float(found[name]), float(value), rtol=0, atol=1e-5, err_msg=name
            )


def test_a_run_resumes_after_a_worker_was_killed(setup, trained, tmp_path):
    workdir = tmp_path / "run"
    chief, worker = start_cluster(setup, workdir)
    deadline = time.monotonic() + WAIT_SECONDS
    while not (workdir / CHECKPOINT).exists() and time.monotonic() < deadline:
        assert chief.poll() is None, chief.communicate()
        time.sleep(0.01)
    worker.kill()
    (status, error), _ = finish([chief, worker])
    assert status == 1
    assert error.splitlines()[-1].startswith("error: All 2 processes of a cluster must")
    assert "Traceback" not in error
    assert 1 <= len(read_state(workdir)[1]) < EPOCHS
    for status, error in finish(start_cluster(setup, workdir)):
        assert status == 0, error
    arrays, rows = read_state(workdir)
    assert rows == trained[1]
    for name, value in trained[0].items():
        np.testing.assert_array_equal(arrays[name], value, err_msg=name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
    ],
)
def test_a_cluster_must_be_described(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match=r"needs the environment variable TF_CONFIG"):
        cluster.join_cluster()
