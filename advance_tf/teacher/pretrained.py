"""Downloads YAMNet and the authors' checkpoints, each checked by use."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np

from advance_tf import labels
from advance_tf.checksums import file_sha256
from advance_tf.config import FeatureConfig
from advance_tf.data.transfers import (
    LOCK,
    PublishedFile,
    check_url,
    fetch,
    zenodo_files,
)
from advance_tf.extras import check_extra
from advance_tf.locks import lock_folder
from advance_tf.metrics.probabilities import sigmoid
from advance_tf.models import weights
from advance_tf.models.checkpoint_files import read_checkpoint
from advance_tf.models.conversion import convert_tower
from advance_tf.models.resnet import build_resnet
from advance_tf.teacher.yamnet_tower import YamnetTowerTeacher

YAMNET_URL = "https://storage.googleapis.com/audioset"
# Google publishes no checksum; this one is that of the file in use since 2019, as
# several independent projects record it.
YAMNET = PublishedFile(
    "yamnet.h5",
    "sha256:13c3308955bbfaef262f175ac9c40e47b134573a93984f009220dd7cc12a1744",
)
CHECKPOINTS_URL = "https://zenodo.org/api/records/4082894"
_CHECKPOINT_ENDINGS = (".pt", ".pth", ".safetensors")
# Sound → an event among the ten most probable ones, as in YAMNet's own test.
_EXPECTED_EVENTS = {
    "a tone of 440 Hz": "Sine wave",
    "silence": "Silence",
    "white noise": "White noise",
}
_TOP, _CHECK_SECONDS = 10, 3.0


@dataclasses.dataclass(frozen=True)
class Downloaded:
    """A file that was downloaded and used.

    Attributes:
        path: path of the file.
        sha256: measured checksum.
        checksum: published checksum that it was compared with, "" where none is
            known.
        findings: what its use showed, a line each.
    """

    path: pathlib.Path
    sha256: str
    checksum: str
    findings: tuple[str, ...]

    def summary(self) -> str:
        """Path, checksum and findings, as text for a terminal."""
        compared = (
            f"compared with the recorded {self.checksum}"
            if self.checksum
            else "no checksum is published to compare it with"
        )
        lines = [f"{self.path}: sha256 {self.sha256}, {compared}"]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.findings)])


def download_yamnet(
    folder: str | pathlib.Path,
    base_url: str = YAMNET_URL,
    file: PublishedFile = YAMNET,
    *,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> Downloaded:
    """Downloads YAMNet's weights and applies them to three sounds.

    Args:
        folder: folder of the file; created if it does not exist.
        base_url: address of the folder of the file.
        file: its name and checksum.
        retries: as for `fetch`.
        wait_seconds: as for `fetch`.
        progress: show a progress bar.

    Returns:
        The file and the events of a tone, of silence and of noise.

    Raises:
        ValueError: the transfer failed, the checksum differs, the weights do not
            recognize the three sounds, or another process downloads to the folder.
    """
    check_url(base_url, YAMNET_URL)
    folder = pathlib.Path(folder)
    # A file that exists is only read, also in a folder that cannot be written.
    exists = (folder / file.name).exists()
    with contextlib.nullcontext() if exists else lock_folder(folder, LOCK):
        path = fetch(
            file,
            f"{base_url.rstrip('/')}/{file.name}",
            folder,
            retries=retries,
            wait_seconds=wait_seconds,
            progress=progress,
        )
    return Downloaded(path, file_sha256(path), file.checksum, check_yamnet(path))


def check_yamnet(path: str | pathlib.Path) -> tuple[str, ...]:
    """Applies YAMNet to a tone of 440 Hz, to silence and to white noise.

    Args:
        path: `yamnet.h5`, `yamnet.tflite` or the folder of a SavedModel.

    Returns:
        The most probable event of each sound.

    Raises:
        ValueError: the file is not YAMNet, or an expected event is not among the ten
            most probable ones.
    """
    features = FeatureConfig(clip_seconds=_CHECK_SECONDS)
    samples = features.clip_samples
    phase = 2 * np.pi * 440 * np.arange(samples) / features.sample_rate_hz
    sounds = [
        np.sin(phase),
        np.zeros(samples),
        np.random.default_rng(0).uniform(-1, 1, samples),
    ]
    teacher = YamnetTowerTeacher(path, features)
    probs = sigmoid(teacher.logits(np.stack(sounds).astype(np.float32)))
    names = [event.name for event in labels.events()]
    findings = []
    for row, (sound, expected) in zip(probs, _EXPECTED_EVENTS.items(), strict=True):
        best = [names[index] for index in np.argsort(-row, kind="stable")[:_TOP]]
        if expected not in best:
            raise ValueError(
                f"{path} must give {expected!r} among the {_TOP} most probable events "
                f"of {sound}; received {', '.join(best)}. Remove the file and run "
                "`advance download` again."
            )
        findings.append(f"{sound}: {best[0]} {row.max():.2f}")
    return tuple(findings)


def download_checkpoints(
    folder: str | pathlib.Path,
    base_url: str = CHECKPOINTS_URL,
    *,
    retries: int = 5,
    wait_seconds: float = 1.0,
    progress: bool = True,
) -> list[Downloaded]:
    """Downloads the authors' pretrained towers, converts them and applies them.

    Names and checksums are those that the record states. Each tower is written as
    `.npz` beside its checkpoint, for `image_weights` and `audio_weights`.

    Args:
        folder: folder of the files; created if it does not exist.
        base_url: address of the record in Zenodo's interface for programs.
        retries: as for `fetch`.
        wait_seconds: as for `fetch`.
        progress: show progress bars.

    Returns:
        The files and what they hold.

    Raises:
        ImportError: PyTorch, which reads the files, is not installed.
        ValueError: a transfer failed, a checksum differs, a file is not a tower, or
            another process downloads to the folder.
    """
    check_extra("convert", "torch")
    check_url(base_url, CHECKPOINTS_URL)
    folder = pathlib.Path(folder)
    listed = zenodo_files(base_url)
    wanted = {
        file: url
        for file, url in listed.items()
        if file.name.endswith(_CHECKPOINT_ENDINGS)
    }
    if not wanted:
        names = ", ".join(file.name for file in listed) or "none"
        raise ValueError(
            f"{base_url} must have checkpoints ({', '.join(_CHECKPOINT_ENDINGS)}); "
            f"its files are: {names}. Check `base_url`."
        )
    found = []
    with lock_folder(folder, LOCK):
        for file, url in wanted.items():
            path = fetch(
                file,
                url,
                folder,
                retries=retries,
                wait_seconds=wait_seconds,
                progress=progress,
            )
            findings = (convert_checkpoint(path),)
            found.append(Downloaded(path, file_sha256(path), file.checksum, findings))
    return found


def convert_checkpoint(path: pathlib.Path) -> str:
    """Converts the checkpoint of a tower to `.npz` beside it, and applies it.

    Args:
        path: a checkpoint.

    Returns:
        A line about the tower.

    Raises:
        ValueError: it is not a tower, or its embeddings are not finite.
    """
    arrays, metadata = convert_tower(read_checkpoint(path), path.name)
    _check_answers(path, arrays, metadata)
    output = path.with_suffix(".npz")
    weights.save_arrays(output, arrays, metadata)
    return (
        f"{metadata.tower} tower, ResNet-{metadata.depth}, {metadata.outputs} outputs; "
        f"converted to {output}"
    )


def _check_answers(
    path: pathlib.Path,
    arrays: Mapping[str, np.ndarray],
    metadata: weights.TowerMetadata,
) -> None:
    """Raises ValueError unless two inputs have finite embeddings that differ."""
    channels = 3 if metadata.tower == "image" else 1
    tower = build_resnet(
        metadata.depth,
        metadata.width,
        (64, 64, channels),
        first_stride=2 if channels == 3 else 1,
    )
    body, _ = weights.without_head(arrays, metadata)
    weights.assign_arrays(path, weights.layer_arrays(tower), body)
    rng = np.random.default_rng(0)
    scale = 255.0 if channels == 3 else 1.0
    inputs = np.zeros((2, 64, 64, channels), np.float32)
    inputs[1] = scale * rng.uniform(size=inputs.shape[1:])
    embeddings = np.asarray(tower(inputs, training=False))
    if not np.isfinite(embeddings).all() or np.allclose(*embeddings):
        raise ValueError(
            f"{path} must give finite embeddings that differ for a blank input and "
            "for noise; it does not. Remove the file and run `advance download` again."
        )
