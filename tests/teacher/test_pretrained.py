"""YAMNet and checkpoints from a local server: transfer, checksum, and their use."""

import hashlib
import io
import json

import numpy as np
import pytest
import torch

from advance_tf import labels
from advance_tf.data.transfers import LOCK, PublishedFile
from advance_tf.locks import LockedError, lock_folder
from advance_tf.models.weights import read_weights
from advance_tf.teacher import pretrained
from tests.data.file_server import serving
from tests.models.torch_resnet import create_resnet
from tests.processes import run_program

SETTINGS = {"retries": 1, "wait_seconds": 0.0, "progress": False}
EVENTS = [event.name for event in labels.events()]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server():
    with serving() as files:
        yield files


class Teacher:
    """Recognizes the sounds by their mean square and by their zero crossings."""

    names = ("Sine wave", "Silence", "White noise")

    def __init__(self, path, features):
        assert path.exists()
        assert features.clip_samples == 48_000

    def logits(self, waveforms):
        power = np.square(waveforms).mean(axis=1)
        crossings = (np.diff(np.sign(waveforms)) != 0).sum(axis=1)
        # A tone of 440 Hz crosses zero 2640 times in 3 s.
        found = np.where(power == 0, 1, np.where(abs(crossings - 2640) < 5, 0, 2))
        logits = np.random.default_rng(0).uniform(-5, -4, (len(waveforms), 527))
        for row, number in enumerate(found):
            logits[row, EVENTS.index(self.names[number])] = 2.0
        return logits.astype(np.float32)


class Deaf(Teacher):
    names = ("Speech", "Silence", "Music")


def published(contents):
    return PublishedFile("yamnet.h5", f"sha256:{hashlib.sha256(contents).hexdigest()}")


def test_yamnet_is_downloaded_and_applied(server, tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "YamnetTowerTeacher", Teacher)
    contents = np.random.default_rng(0).bytes(200_000)
    server.contents["/yamnet.h5"] = contents
    server.drop_after = [90_000]
    found = pretrained.download_yamnet(
        tmp_path / "new", f"{server.url}/", published(contents), **SETTINGS
    )
    assert server.ranges == [None, "bytes=90000-"]
    assert found.path.read_bytes() == contents
    assert found.findings == (
        "a tone of 440 Hz: Sine wave 0.88",
        "silence: Silence 0.88",
        "white noise: White noise 0.88",
    )
    # A file that is there is used, also where the folder cannot be written.
    monkeypatch.setattr(pretrained, "lock_folder", None)
    again = pretrained.download_yamnet(
        tmp_path / "new", server.url, published(contents), **SETTINGS
    )
    assert again == found
    digest = hashlib.sha256(contents).hexdigest()
    assert f"sha256 {digest}, compared with the recorded" in found.summary()


@pytest.mark.parametrize("name", ["yamnet", "checkpoints"])
def test_one_process_at_a_time_downloads_to_a_folder(server, tmp_path, name):
    url = serve_record(server, {"AID.pt": b"x", "yamnet.h5": b"x"})
    requests = len(server.ranges)
    with lock_folder(tmp_path, LOCK):
        with pytest.raises(LockedError, match="One download at a time may use"):
            if name == "yamnet":
                pretrained.download_yamnet(tmp_path, server.url, **SETTINGS)
            else:
                requests += 1  # The record.
                pretrained.download_checkpoints(tmp_path, url, **SETTINGS)
    assert len(server.ranges) == requests


def test_weights_that_do_not_recognize_a_tone_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "YamnetTowerTeacher", Deaf)
    (tmp_path / "yamnet.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match="'Sine wave' among the 10 most probable"):
        pretrained.check_yamnet(tmp_path / "yamnet.h5")


def test_the_published_file_is_that_of_the_model_garden():
    assert f"{pretrained.YAMNET_URL}/{pretrained.YAMNET.name}" == (
        "https://storage.googleapis.com/audioset/yamnet.h5"
    )
    assert len(pretrained.YAMNET.checksum) == len("sha256:") + 64


def checkpoint(channels, outputs):
    torch.manual_seed(0)
    shape = (2, channels, 64, 64)
    model = create_resnet(18, 2, channels, outputs, 1, torch.randn(*shape))
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    return file.getvalue()


def serve_record(server, contents):
    files = []
    for name, data in contents.items():
        server.contents[f"/{name}"] = data
        checksum = f"md5:{hashlib.md5(data).hexdigest()}"
        link = f"{server.url}/{name}"
        files.append({"key": name, "checksum": checksum, "links": {"self": link}})
    server.contents["/record"] = json.dumps({"files": files}).encode()
    return f"{server.url}/record"


def test_checkpoints_are_converted_and_applied(server, tmp_path):
    url = serve_record(
        server,
        {"AID.pt": checkpoint(3, 30), "audio.pt": checkpoint(1, 527), "a.txt": b""},
    )
    image, audio = pretrained.download_checkpoints(tmp_path, url, **SETTINGS)
    assert "image tower, ResNet-18, 30 outputs" in image.findings[0]
    _, metadata = read_weights(tmp_path / "audio.npz")
    assert (metadata.tower, metadata.outputs) == ("audio", 527)
    assert not (tmp_path / "a.txt").exists()
    assert audio.checksum.startswith("md5:")
    assert "md5:" in audio.summary()


def test_a_record_without_checkpoints_is_an_error(server, tmp_path):
    url = serve_record(server, {"a.txt": b"text"})
    with pytest.raises(
        ValueError, match=r"must have checkpoints.*its files are: a.txt"
    ):
        pretrained.download_checkpoints(tmp_path / "new", url, **SETTINGS)
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_that_answers_a_constant_is_refused(server, tmp_path):
    state = torch.load(io.BytesIO(checkpoint(3, 30)), weights_only=True)
    state["conv1.weight"][:] = 0
    file = io.BytesIO()
    torch.save(state, file)
    url = serve_record(server, {"AID.pt": file.getvalue()})
    with pytest.raises(ValueError, match=r"AID.pt must give finite embeddings that"):
        pretrained.download_checkpoints(tmp_path, url, **SETTINGS)
    assert not (tmp_path / "AID.npz").exists()


def test_the_command_reports_another_file_in_one_line(server, tmp_path):
    server.contents["/yamnet.h5"] = b"<html>"
    flags = f"--folder={tmp_path}", f"--base_url={server.url}"
    status, _, error = run_program("download", "yamnet", *flags)
    assert status == 1
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "must have the SHA-256 checksum 13c33089" in error
    assert "needs" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["download.lock"]


def test_the_command_needs_a_folder_and_a_known_name():
    assert "--folder must name a folder" in run_program("download", "yamnet")[2]
    error = run_program("download", "vggish")[2]
    assert "--what must be one of advance, yamnet, checkpoints" in error
