"""Converted towers and recognizers equal PyTorch; invalid keys are named."""

import dataclasses

import keras
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from advance_tf import labels
from advance_tf.config import Config, FeatureConfig, TransferConfig
from advance_tf.models import conversion
from advance_tf.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD
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
from advance_tf.runs.conversion import build_converted_recognizer
from tests.models.torch_resnet import (
    AUDIO,
    IMAGE,
    Fusion,
    convert_pair,
    create_resnet,
    random_inputs,
    to_arrays,
    to_nchw,
)


@pytest.mark.parametrize("kind", [IMAGE, AUDIO], ids=["image", "audio"])
@pytest.mark.parametrize(("depth", "width"), [(18, 8), (50, 8)])
def test_embeddings_and_logits_equal_those_of_pytorch(kind, depth, width):
    model, converted, metadata, tower, x = convert_pair(kind, depth, width)
    with torch.no_grad():
        embedding, logits = model.embed(to_nchw(x)).numpy(), model(to_nchw(x)).numpy()
    found = np.asarray(tower(x))
    assert np.abs(embedding).max() > 0.1
    np.testing.assert_allclose(found, embedding, atol=1e-4)
    found_logits = found @ converted["head/kernel"] + converted["head/bias"]
    np.testing.assert_allclose(found_logits, logits, atol=1e-4)
    name = "image" if kind is IMAGE else "audio"
    assert metadata == TowerMetadata(name, depth, width, 7, "model.pt")


@pytest.mark.parametrize("depth", [10, 18, 34, 50, 101, 152])
def test_depth_is_inferred_from_the_keys(depth):
    model = create_resnet(depth, 2, 3, 5, 2, torch.randn(2, 3, 32, 32))
    arrays = {k: v.numpy() for k, v in model.state_dict().items()}
    found = conversion.find_architecture(arrays, "model.pt")
    assert found == conversion.Architecture(depth, 2, 3)
    assert found.tower == "image"


@pytest.fixture(scope="module")
def small_arrays():
    """The arrays of a small image ResNet."""
    model = create_resnet(18, 2, 3, 5, 2, torch.randn(2, 3, 32, 32))
    return to_arrays(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("layer2.0.bn1.running_var"), "missing: layer2.0.bn1.running"),
        (lambda a: a.update({"layer2.0.se.weight": np.ones(2)}), "layer2.0.se.weight"),
        (
            lambda a: a.update({"bn1.bias": np.zeros(3, "f")}),
            r"bn1.bias is \(3,\), must be \(2,\)",
        ),
        (lambda a: a.update({"fc.bias": np.zeros(4, "f")}), r"fc.weight is \(5, 16\)"),
        (lambda a: a.pop("fc.bias"), "missing: fc.bias"),
        (
            lambda a: a.update({"bn1.bias": np.full(2, np.nan, "f")}),
            "not finite: bn1.bias",
        ),
        (lambda a: a.pop("conv1.weight"), "must contain conv1.weight"),
        (
            lambda a: [a.pop(k) for k in list(a) if k.startswith("layer3.1.")],
            r"basic blocks \(2, 2, 1, 2\)",
        ),
    ],
)
def test_invalid_key_of_a_tower_is_named(small_arrays, change, message):
    arrays = dict(small_arrays)
    change(arrays)
    with pytest.raises(ValueError, match=message):
        conversion.convert_tower(arrays, "model.pt")


def test_tower_without_classifier_has_no_head(small_arrays):
    arrays = {k: a for k, a in small_arrays.items() if not k.startswith("fc.")}
    converted, metadata = conversion.convert_tower(arrays, "model.pt")
    assert metadata.outputs == 0
    assert not [name for name in converted if name.startswith("head/")]


def test_imagenet_inputs_are_folded_into_the_first_layers():
    model, _, _, tower, x = convert_pair(IMAGE, 18, 8)
    arrays = to_arrays(model)
    converted, metadata = conversion.convert_tower(
        arrays, "model.pt", inputs="imagenet"
    )
    body, _ = without_head(converted, metadata)
    assign_arrays("model.pt", layer_arrays(tower), body)
    # The outputs are equal except at the border.
    mean = np.array(IMAGENET_MEAN, np.float32)
    std = np.array(IMAGENET_STD, np.float32)
    normalized = to_nchw((x / 255 - mean) / std)
    with torch.no_grad():
        expected = model.bn1(model.conv1(normalized)).numpy().transpose(0, 2, 3, 1)
    first = tower.get_layer("bn1").output
    found = np.asarray(keras.Model(tower.input, first)(x))
    np.testing.assert_allclose(found[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-4)
    with pytest.raises(ValueError, match=r"^`inputs=imagenet` needs .* three channels"):
        conversion.fold_imagenet_inputs({"conv1/kernel": np.zeros((7, 7, 1, 2))})


def test_converted_file_is_loaded_as_a_tower(tmp_path, small_arrays):
    path = tmp_path / "model.safetensors"
    save_file(small_arrays, path)
    converted, metadata = conversion.convert_tower(read_checkpoint(path), path.name)
    save_arrays(tmp_path / "tower.npz", converted, metadata)
    tower = build_resnet(18, 2, (32, 32, 3))
    found = load_tower(tmp_path / "tower.npz", tower, dataclasses.replace(metadata))
    assert found == metadata
    np.testing.assert_array_equal(
        tower.get_layer("layer1_0_conv1").kernel,
        small_arrays["layer1.0.conv1.weight"].transpose(2, 3, 1, 0),
    )


@pytest.fixture(scope="module")
def fusion_arrays():
    """The arrays of a recognizer without an event head."""
    return to_arrays(Fusion(""))


@pytest.mark.parametrize(
    ("events_on", "transfer", "output"),
    [
        ("joint", "kl_audiovisual", "audiovisual_event_logits"),
        ("audio", "kl_audio", "audio_event_logits"),
        ("", "none", None),
    ],
)
def test_recognizer_logits_equal_those_of_pytorch(events_on, transfer, output):
    model = Fusion(events_on).eval()
    arrays = to_arrays(model)
    assert conversion.is_fusion(arrays)
    converted = conversion.convert_fusion(arrays, "fusion.pt")
    assert converted.transfer == transfer
    config = Config(
        model=converted.model,
        features=FeatureConfig(),
        transfer=TransferConfig(transfer=transfer),
    )
    recognizer = build_converted_recognizer(converted, config)
    image, log_mel = random_inputs(IMAGE), random_inputs(AUDIO)
    with torch.no_grad():
        scenes, events = model(to_nchw(image), to_nchw(log_mel))
    found = recognizer({"image": image, "log_mel": log_mel[..., 0]})
    # The outputs of the authors' model are in their order of the scenes.
    by_scene = dict(zip(labels.scenes_as_published(), scenes.numpy().T, strict=True))
    expected = np.stack([by_scene[name] for name in labels.scenes()], axis=1)
    np.testing.assert_allclose(found["scene_logits"], expected, atol=1e-4)
    assert set(found) == {"scene_logits"} | ({output} if output else set())
    if output:
        np.testing.assert_allclose(found[output], events.numpy(), atol=1e-4)


@pytest.mark.parametrize("single_input", ["image", "sound"])
def test_a_recognizer_of_one_input_equals_that_of_pytorch(single_input):
    """FusionNet_uni: both heads on one embedding; it is "image" in the code."""
    model = Fusion("audio").eval()
    size = {"image": 64, "sound": 32}[single_input]
    model.fusion_fc = torch.nn.Linear(size, 13)
    model.KD_fc = torch.nn.Linear(size, 527)
    converted = conversion.convert_fusion(
        to_arrays(model), "uni.pt", scene_order="name", single_input=single_input
    )
    assert converted.model.modality == single_input
    assert converted.transfer == "kl_audiovisual"
    config = Config(
        model=converted.model, transfer=TransferConfig(transfer=converted.transfer)
    )
    recognizer = build_converted_recognizer(converted, config)
    image, log_mel = random_inputs(IMAGE), random_inputs(AUDIO)
    with torch.no_grad():
        net, x = (
            (model.image_net, image)
            if single_input == "image"
            else (model.audio_net, log_mel)
        )
        embedding = net.embed(to_nchw(x))
        scenes, events = model.fusion_fc(embedding), model.KD_fc(embedding)
    found = recognizer({"image": image, "log_mel": log_mel[..., 0]})
    np.testing.assert_allclose(found["scene_logits"], scenes.numpy(), atol=1e-4)
    np.testing.assert_allclose(
        found["audiovisual_event_logits"], events.numpy(), atol=1e-4
    )


def test_scenes_sorted_by_name_keep_their_order(fusion_arrays):
    converted = conversion.convert_fusion(
        fusion_arrays, "fusion.pt", scene_order="name"
    )
    kernel, bias = converted.heads["scene_head"]
    np.testing.assert_array_equal(kernel, fusion_arrays["fusion_fc.weight"].T)
    np.testing.assert_array_equal(bias, fusion_arrays["fusion_fc.bias"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("fusion_fc.bias"), "missing: fusion_fc.bias"),
        (lambda a: a.update({"neck.weight": np.ones(2)}), "unexpected: neck.weight"),
        (
            lambda a: a.update({"fusion_fc.weight": np.ones((13, 95), "f")}),
            r"fusion_fc.weight is \(13, 95\), must be \(13, 96\)",
        ),
        (
            lambda a: a.pop("audio_net.layer1.0.bn1.bias"),
            r"\(audio_net\.\*\) must .* missing: layer1.0.bn1.bias",
        ),
        (
            lambda a: a.update({"image_net.conv1.weight": np.ones((8, 1, 7, 7), "f")}),
            "must be an image tower",
        ),
        (
            lambda a: a.update({"KD_fc.bias": np.ones(527, "f")}),
            "missing: KD_fc.weight",
        ),
    ],
)
def test_invalid_key_of_a_recognizer_is_named(fusion_arrays, change, message):
    arrays = dict(fusion_arrays)
    change(arrays)
    with pytest.raises(ValueError, match=message):
        conversion.convert_fusion(arrays, "fusion.pt")


def test_checkpoint_without_a_tower_raises(fusion_arrays):
    arrays = {k: a for k, a in fusion_arrays.items() if not k.startswith("audio_net.")}
    with pytest.raises(
        ValueError, match=r"\(audio_net\.\*\) must contain conv1.weight"
    ):
        conversion.convert_fusion(arrays, "fusion.pt")
