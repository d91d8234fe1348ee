"""Converted towers compute what PyTorch computes, and broken keys are named."""

import dataclasses

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from advance_tf.models import conversion
from advance_tf.models.checkpoint_files import read_checkpoint
from advance_tf.models.resnet import build_resnet
from advance_tf.models.weights import (
    TowerMetadata,
    assign_arrays,
    layer_arrays,
    load_tower,
    save_arrays,
    without_head,
)
from tests.models.torch_resnet import made_resnet

IMAGE = {"channels": 3, "first_stride": 2, "shape": (256, 256, 3)}
AUDIO = {"channels": 1, "first_stride": 1, "shape": (400, 64, 1)}


def sample_of(kind, batch=2):
    rng = np.random.default_rng(0)
    if kind is IMAGE:
        levels = rng.integers(0, 256, (batch, 16, 16, 3))
        # Blocks of a colour: neighbouring pixels of an image are alike.
        return levels.repeat(16, 1).repeat(16, 2).astype(np.float32)
    return rng.normal(size=(batch, *kind["shape"])).astype(np.float32)


def nchw(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def pair(kind, depth, width, outputs=7):
    """A PyTorch ResNet, its arrays, and our tower with them."""
    x = sample_of(kind)
    model = made_resnet(
        depth, width, kind["channels"], outputs, kind["first_stride"], nchw(x)
    )
    arrays = {key: value.numpy() for key, value in model.state_dict().items()}
    arrays = {k: a for k, a in arrays.items() if "num_batches" not in k}
    made, metadata = conversion.convert_tower(arrays, "model.pt")
    tower = build_resnet(depth, width, kind["shape"], kind["first_stride"])
    body, _ = without_head(made, metadata)
    assign_arrays("model.pt", layer_arrays(tower), body)
    return model, made, metadata, tower, x


@pytest.mark.parametrize("kind", [IMAGE, AUDIO], ids=["image", "audio"])
@pytest.mark.parametrize(("depth", "width"), [(18, 8), (50, 8)])
def test_embeddings_and_logits_equal_those_of_pytorch(kind, depth, width):
    model, made, metadata, tower, x = pair(kind, depth, width)
    with torch.no_grad():
        embedding, logits = model.embed(nchw(x)).numpy(), model(nchw(x)).numpy()
    ours = np.asarray(tower(x))
    assert np.abs(embedding).max() > 0.1
    np.testing.assert_allclose(ours, embedding, atol=1e-4)
    ours_logits = ours @ made["head/kernel"] + made["head/bias"]
    np.testing.assert_allclose(ours_logits, logits, atol=1e-4)
    name = "image" if kind is IMAGE else "audio"
    assert metadata == TowerMetadata(name, depth, width, 7, "model.pt")


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_every_depth_is_recognized_by_its_keys(depth):
    model = made_resnet(depth, 2, 3, 5, 2, torch.randn(2, 3, 32, 32))
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    found = conversion.find_architecture(arrays, "model.pt")
    assert found == conversion.Architecture(depth, 2, 3)
    assert found.tower == "image"


@pytest.fixture(scope="module")
def small():
    """The weights of a small image ResNet, as arrays."""
    model = made_resnet(18, 2, 3, 5, 2, torch.randn(2, 3, 32, 32))
    found = {key: value.numpy() for key, value in model.state_dict().items()}
    return {k: a for k, a in found.items() if "num_batches" not in k}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("layer2.0.bn1.running_var"), "missing: layer2.0.bn1.running"),
        (lambda a: a.update({"layer2.0.se.weight": np.ones(2)}), "layer2.0.se.weight"),
        (
            lambda a: a.update({"bn1.bias": np.zeros(3, "f")}),
            r"bn1.bias is \(3,\), wanted \(2,\)",
        ),
        (lambda a: a.update({"fc.bias": np.zeros(4, "f")}), r"fc.weight is \(5, 16\)"),
        (lambda a: a.pop("fc.bias"), "missing: fc.bias"),
        (
            lambda a: a.update({"bn1.bias": np.full(2, np.nan, "f")}),
            "not finite: bn1.bias",
        ),
        (lambda a: a.pop("conv1.weight"), "must hold conv1.weight"),
        (
            lambda a: [a.pop(k) for k in list(a) if k.startswith("layer3.1.")],
            r"basic blocks \(2, 2, 1, 2\)",
        ),
    ],
)
def test_a_key_that_does_not_fit_is_named(small, change, message):
    arrays = dict(small)
    change(arrays)
    with pytest.raises(ValueError, match=message):
        conversion.convert_tower(arrays, "model.pt")


def test_a_tower_without_classifier_has_no_head(small):
    arrays = {k: a for k, a in small.items() if not k.startswith("fc.")}
    made, metadata = conversion.convert_tower(arrays, "model.pt")
    assert metadata.outputs == 0
    assert not [name for name in made if name.startswith("head/")]


def test_imagenet_inputs_are_built_in():
    model, made, _, tower, x = pair(IMAGE, 18, 8)
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    arrays = {k: a for k, a in arrays.items() if "num_batches" not in k}
    made, metadata = conversion.convert_tower(arrays, "model.pt", inputs="imagenet")
    assign_arrays("model.pt", layer_arrays(tower), without_head(made, metadata)[0])
    # Away from the border the first block sees what PyTorch's sees.
    mean = np.array(conversion.IMAGENET_MEAN, np.float32)
    std = np.array(conversion.IMAGENET_STD, np.float32)
    normalized = nchw((x / 255 - mean) / std)
    with torch.no_grad():
        expected = model.bn1(model.conv1(normalized)).numpy().transpose(0, 2, 3, 1)
    first = tower.get_layer("bn1").output
    ours = np.asarray(keras.Model(tower.input, first)(x))
    np.testing.assert_allclose(ours[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-4)
    with pytest.raises(ValueError, match="three channels"):
        conversion.fold_imagenet_inputs({"conv1/kernel": np.zeros((7, 7, 1, 2))})


def test_a_converted_file_is_loaded_as_a_tower(tmp_path, small):
    path = tmp_path / "model.safetensors"
    save_file(small, path)
    made, metadata = conversion.convert_tower(read_checkpoint(path), path.name)
    save_arrays(tmp_path / "tower.npz", made, metadata)
    tower = build_resnet(18, 2, (32, 32, 3))
    found = load_tower(tmp_path / "tower.npz", tower, dataclasses.replace(metadata))
    assert found == metadata
    np.testing.assert_array_equal(
        tower.get_layer("layer1_0_conv1").kernel,
        small["layer1.0.conv1.weight"].transpose(2, 3, 1, 0),
    )
