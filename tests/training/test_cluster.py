"""Two processes on the loopback train like one, and resume when either was killed."""

import dataclasses
import json
import os
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
from advance_tf.training.callbacks import LOG
from advance_tf.training.session import run_progress
from tests.imports import ROOT
from tests.processes import free_ports
from tests.training import factories
from tests.training.resumption import read_state, train

EPOCHS = 6
WAIT_SECONDS = 300


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


def start_cluster(folder, workdir, processes=2):
    """Starts `advance fit` in every process of a cluster."""
    hosts = [f"localhost:{port}" for port in free_ports(processes)]
    command = [
        *(sys.executable, "-m", "advance_tf", "fit", f"--workdir={workdir}"),
        f"--config={folder / 'config.json'}",
        f"--manifest={folder / 'manifest.csv'}",
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


def interrupt(processes, killed, workdir, epochs):
    """Kills a process after that epoch; returns status and errors of the other.

    The chief finds that the other is lost when its heartbeat is, after ten seconds.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while run_progress(workdir).epochs < epochs:
        assert processes[0].poll() is None, processes[0].communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    processes[killed].kill()
    return finish(processes)[1 - killed]


def lines(workdir):
    """The lines of the log after its header."""
    path = workdir / LOG
    return path.read_text().splitlines()[1:] if path.exists() else []


def test_two_processes_of_which_each_was_killed_train_like_one(setup, tmp_path):
    """A run resumes after its last finished epoch, whichever process was killed.

    A process alone sums the gradients in another order, which changed a weight by up to
    1.1e-5 on a busy machine. A step with another state of Adam, or on other pairs,
    differs by the learning rate, 0.003.
    """
    folder, config, manifest = setup
    workdir, resumed = tmp_path / "run", []
    for killed in (1, 0):
        epochs = run_progress(workdir).epochs + 1
        started = start_cluster(folder, workdir)
        status, error = interrupt(started, killed, workdir, epochs)
        assert status == 1
        last = error.splitlines()[-1]
        assert last.startswith("error: All 2 processes of a cluster must")
        assert "Traceback" not in error
        finished = run_progress(workdir).epochs
        assert epochs <= finished <= len(lines(workdir)) < EPOCHS
        # With the seconds, which a restart from the first epoch would change.
        resumed.append(lines(workdir)[:finished])
    for status, error in finish(start_cluster(folder, workdir)):
        assert status == 0, error
    for finished in resumed:
        assert lines(workdir)[: len(finished)] == finished
    found, found_rows = read_state(workdir)
    _, expected, rows = train(tmp_path / "alone", config, manifest)
    assert found.keys() == expected.keys()
    assert found["precision"] == expected["precision"] == "float32"
    for name in expected.keys() - {"precision", "progress"}:
        np.testing.assert_allclose(found[name], expected[name], rtol=0, atol=5e-5)
    assert len(found_rows) == len(rows) == EPOCHS
    for own, row in zip(found_rows, rows, strict=True):
        assert own.keys() == row.keys()
        for name, value in row.items():
            np.testing.assert_allclose(
                float(own[name]), float(value), rtol=0, atol=1e-5, err_msg=name
            )


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
