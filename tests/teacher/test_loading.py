"""Teachers of files, and the teacher that an audio tower starts from."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import Config, FeatureConfig, ModelConfig
from advance_tf.teacher.loading import find_teacher, load_teacher
from advance_tf.teacher.yamnet_tower import YamnetTowerTeacher
from tests.models.backbones.test_yamnet import (
    keras_variables,
    write_h5,
    write_saved_model,
)

FEATURES = FeatureConfig(clip_seconds=0.975)


# Of the events that YAMNet has no class for.
MISSING = [1, 2, 12, 32, 33, 277]
SMALLEST = 1e-4


def create_variables():
    """Variables with which the scores depend on the clip."""
    variables = keras_variables(np.random.default_rng(4))
    for name, values in variables.items():
        if name != "scores":
            depthwise = "depthwise_kernel" in values
            kernel = values["depthwise_kernel" if depthwise else "kernel"]
            kernel *= 10 * np.sqrt(2 / np.prod(kernel.shape[: 2 if depthwise else 3]))
            values["beta"] *= 0.1
            values["moving_mean"] *= 0.1
    return variables


def published_scores(variables, clips):
    """Scores of YAMNet before the sigmoid, in float64 as in its published code.

    The batch norms follow the convolutions; a clip of 0.975 s is one patch.
    """
    stft = tf.signal.stft(np.float64(clips), 400, 160, 512)
    mel = tf.signal.linear_to_mel_weight_matrix(
        64, 257, 16_000, 125.0, 7500.0, tf.float64
    )
    x = np.log(np.abs(stft) @ mel + 0.001)[..., None]  # [B, 96, 64, 1]
    for name, values in variables.items():
        if name == "scores":
            break
        layer, _, kind = name.partition("_")
        depthwise = kind == "depthwise_conv"
        kernel = np.float64(values["depthwise_kernel" if depthwise else "kernel"])
        halved = layer in ("layer1", "layer3", "layer5", "layer7", "layer13")
        stride = 2 if halved and kind != "pointwise_conv" else 1
        convolve = tf.nn.depthwise_conv2d if depthwise else tf.nn.conv2d
        x = convolve(x, kernel, [1, stride, stride, 1], "SAME")
        x = (x - values["moving_mean"]) / np.sqrt(values["moving_variance"] + 1e-4)
        x = tf.nn.relu(x + values["beta"])
    embedding = np.mean(x, axis=(1, 2))  # [B, 1024]
    return embedding @ variables["scores"]["kernel"] + variables["scores"]["bias"]


def file_hash(path):
    """The hash of a file, or of the names and the hashes of the files of a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    parts = [f"{file.relative_to(path)}\n{file_hash(file)}" for file in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "write"), [("yamnet.h5", write_h5), ("yamnet", write_saved_model)]
)
def test_keras_runs_the_published_weights(name, write, tmp_path):
    variables = create_variables()
    clips = np.random.default_rng(0).normal(0, 0.1, (2, 15_600)).astype(np.float32)
    clips[1] *= 0.1
    # The clips have different scores, most of which are neither 0 nor 1.
    scores = variables["scores"]
    scores["kernel"] *= 2 / np.subtract(*published_scores(variables, clips)).std()
    scores["bias"] -= published_scores(variables, clips).mean(axis=0)
    write(tmp_path / name, variables)
    teacher = load_teacher(tmp_path / name, FEATURES)
    assert isinstance(teacher, YamnetTowerTeacher)
    probs = 1 / (1 + np.exp(-published_scores(variables, clips)))
    probs = np.clip(probs, SMALLEST, 1 - SMALLEST)
    assert ((probs > SMALLEST) & (probs < 1 - SMALLEST)).mean() > 0.9
    covered = np.delete(np.arange(527), MISSING)
    expected = np.full((2, 527), np.log(SMALLEST / (1 - SMALLEST)))
    expected[:, covered] = np.log(probs / (1 - probs))
    assert np.abs(expected[0] - expected[1]).mean() > 1
    found = teacher.logits(clips)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    assert np.flatnonzero(teacher.event_mask).tolist() == covered.tolist()
    text = f"yamnet in Keras {file_hash(tmp_path / name)}"
    assert teacher.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_file_of_nothing_known_is_an_error(tmp_path):
    (tmp_path / "yamnet.h5").write_bytes(b"x")
    with pytest.raises(ValueError, match="yamnet"):
        load_teacher(tmp_path / "yamnet.h5", FEATURES)
    with pytest.raises(ValueError, match=r"none\.npz"):
        load_teacher(tmp_path / "none.npz", FEATURES)


def test_teacher_is_the_network_that_the_audio_tower_starts_from(yamnet_file):
    def teacher_of(**settings):
        return find_teacher(Config(features=FEATURES, model=ModelConfig(**settings)))

    found = teacher_of(audio_backbone="yamnet", audio_weights=str(yamnet_file))
    assert isinstance(found, YamnetTowerTeacher)
    assert found.sha256 == YamnetTowerTeacher(yamnet_file, FEATURES).sha256
    assert teacher_of(audio_backbone="yamnet") is None
