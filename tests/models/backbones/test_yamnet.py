"""YAMNet as a tower: its features, files of weights, and LiteRT's interpretation."""

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from advance_tf.config import FeatureConfig
from advance_tf.models.backbones.registry import build_backbone
from advance_tf.models.backbones.yamnet_network import (
    YamnetPatches,
    build_yamnet,
    event_indices,
    patch_count,
)
from advance_tf.models.backbones.yamnet_weights import EPSILON, layer_shapes

RNG = np.random.default_rng(3)
CLIPS = RNG.normal(0, 0.1, (2, 24_000)).astype(np.float32)
FEATURES = FeatureConfig(clip_seconds=1.5)
DENSE = ("kernel", "bias")


def random_weights(seed=0):
    """Kernels and biases of every layer, of a size that keeps activations near 1."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, (kernel, bias) in layer_shapes().items():
        inputs = np.prod(kernel[:2]) if "depthwise" in name else np.prod(kernel[:-1])
        scale = np.sqrt(2 / inputs)
        values = rng.normal(0, scale, kernel), rng.normal(0, 0.1, bias)
        found[name] = [value.astype(np.float32) for value in values]
    return found


def set_weights(tower, weights):
    for layer in tower.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])
    return tower


def test_patches_are_the_logarithm_of_mel_magnitudes():
    found = YamnetPatches()(tf.constant(CLIPS)).numpy()
    samples = 15_600 + 2 * 7_680
    padded = np.pad(CLIPS, [(0, 0), (0, samples - 24_000)]).astype(np.float64)
    stft = tf.signal.stft(padded, 400, 160, 512)
    mel = tf.signal.linear_to_mel_weight_matrix(
        64, 257, 16_000, 125.0, 7500.0, tf.float64
    )
    log_mel = np.log(np.abs(stft) @ mel + 0.001)  # [2, 192, 64]
    expected = np.stack([log_mel[:, i : i + 96] for i in (0, 48, 96)], axis=1)
    assert found.shape == (2, 3, 96, 64) == (2, patch_count(24_000), 96, 64)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4)


def test_short_clip_is_one_patch():
    clip = CLIPS[:1, :100]
    padded = np.pad(clip, [(0, 0), (0, 15_500)])
    found, expected = (YamnetPatches()(tf.constant(x)) for x in (clip, padded))
    np.testing.assert_array_equal(found, expected)


def test_outputs_are_means_over_the_patches():
    weights = random_weights()
    towers = {
        output: set_weights(build_yamnet(24_000, output), weights)
        for output in ("embedding", "scores", "both")
    }
    found = {name: tower(CLIPS).numpy() for name, tower in towers.items()}
    both = np.concatenate([found["embedding"], found["scores"]], axis=1)
    np.testing.assert_allclose(found["both"], both, rtol=1e-4, atol=1e-5)
    # Patches one at a time, as LiteRT's file takes them: 15,600 samples each.
    single = set_weights(build_yamnet(15_600, "both"), weights)
    padded = np.pad(CLIPS, [(0, 0), (0, 15_600 + 2 * 7_680 - 24_000)])
    parts = [single(padded[:, i : i + 15_600]) for i in (0, 7_680, 15_360)]
    np.testing.assert_allclose(found["both"], np.mean(parts, 0), rtol=1e-3, atol=1e-4)
    assert (found["scores"] > 0).all()
    assert (found["scores"] < 1).all()
    assert towers["embedding"].get_layer("features").output.shape[1:] == (3, 2, 1024)


def test_events_without_a_class_are_left_out():
    assert len(event_indices()) == 521
    missing = set(range(527)) - set(event_indices().tolist())
    assert missing == {1, 2, 12, 32, 33, 277}


@pytest.fixture(scope="module")
def litert(tmp_path_factory):
    """A file of YAMNet with random weights in 8 bits, and those weights."""
    weights = random_weights(1)
    tower = set_weights(build_yamnet(15_600, "scores"), weights)
    converter = tf.lite.TFLiteConverter.from_keras_model(tower)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    clips = RNG.normal(0, 0.1, (4, 1, 15_600)).astype(np.float32)
    converter.representative_dataset = lambda: ([clip] for clip in clips)
    path = tmp_path_factory.mktemp("yamnet") / "yamnet.tflite"
    path.write_bytes(converter.convert())
    return path, weights, clips


def test_litert_weights_are_dequantized(litert):
    path, weights, clips = litert
    tower = build_backbone(
        "yamnet:scores", features=FeatureConfig(clip_seconds=0.975), weights=str(path)
    )
    for name, (kernel, bias) in weights.items():
        found, found_bias = tower.get_layer(name).get_weights()
        # 127 steps of the largest weight of each channel.
        axes = (0, 1) if "depthwise" in name else tuple(range(kernel.ndim - 1))
        step = np.abs(kernel).max(axes, keepdims=True) / 127
        assert (np.abs(found - kernel) <= 0.51 * step).all(), name
        assert np.abs(found - kernel).max() > 0
        np.testing.assert_allclose(found_bias, bias, rtol=0, atol=1e-2)
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], clips[0])
    interpreter.invoke()
    output = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert np.abs(tower(clips[0]) - output).max() < 0.1


def keras_variables(rng):
    """Variables by layer as in TensorFlow's model garden: batch norms have no scale."""
    found = {}
    for name, (kernel, bias) in layer_shapes().items():
        values = rng.normal(0, 0.1, kernel).astype(np.float32)
        if name == "scores":
            found[name] = {"kernel": values, "bias": rng.normal(0, 1, bias)}
            continue
        kind = "depthwise_kernel" if "depthwise" in name else "kernel"
        found[name] = {
            kind: values,
            "beta": rng.normal(0, 1, bias),
            "moving_mean": rng.normal(0, 1, bias),
            "moving_variance": rng.uniform(0.5, 2, bias),
        }
    return found


def write_h5(path, variables):
    """Writes `yamnet.h5` with the names that Keras 2 gives."""
    with h5py.File(path, "w") as file:
        for name, values in variables.items():
            layer = "dense" if name == "scores" else name.replace("_", "/", 1)
            for variable, value in values.items():
                norm = variable in ("beta", "moving_mean", "moving_variance")
                own = f"{layer}/bn" if norm else layer
                file[f"{own}/{own}/{variable}:0"] = value


def write_saved_model(path, variables):
    """Writes variables as the SavedModel of the model garden holds them."""
    network = tf.Module()
    number = 0
    for name, values in variables.items():
        norm = {
            k: v for k, v in values.items() if k not in (*DENSE, "depthwise_kernel")
        }
        for group in ({k: v for k, v in values.items() if k not in norm}, norm):
            if group:
                layer = tf.Module()
                for variable, value in group.items():
                    setattr(layer, variable, tf.Variable(value, name=name))
                setattr(network, f"layer_with_weights-{number}", layer)
                number += 1
    module = tf.Module()
    module._yamnet = network
    tf.saved_model.save(module, str(path))


@pytest.mark.parametrize(
    ("name", "write"), [("yamnet.h5", write_h5), ("yamnet", write_saved_model)]
)
def test_batch_norms_of_keras_weights_are_folded(name, write, tmp_path):
    variables = keras_variables(np.random.default_rng(4))
    write(tmp_path / name, variables)
    tower = build_backbone(
        "yamnet:both", features=FEATURES, weights=str(tmp_path / name)
    )
    # The published code has no limit of the activations.
    assert tower.get_layer("layer1_relu").max_value is None
    image = RNG.normal(size=(1, 6, 4, 1)).astype(np.float32)
    for layer in ("layer1_conv", "layer2_depthwise_conv", "layer14_pointwise_conv"):
        values = variables[layer]
        kernel = values.get("kernel", values.get("depthwise_kernel"))
        given = np.tile(image, (1, 1, 1, kernel.shape[2]))
        convolve = tf.nn.depthwise_conv2d if "depthwise" in layer else tf.nn.conv2d
        stride = tower.get_layer(layer).strides[0]
        x = convolve(given, kernel, [1, stride, stride, 1], "SAME")
        x = (x - values["moving_mean"]) / np.sqrt(values["moving_variance"] + EPSILON)
        expected = x + values["beta"]
        found = tower.get_layer(layer)(given)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    np.testing.assert_array_equal(
        tower.get_layer("scores").kernel, variables["scores"]["kernel"]
    )


def test_other_files_are_an_error(tmp_path):
    for name in ("a.h5", "a.tflite"):
        (tmp_path / name).write_bytes(b"text")
        with pytest.raises(ValueError, match=rf"{name} must hold YAMNet's weights"):
            build_backbone("yamnet", features=FEATURES, weights=str(tmp_path / name))
    with pytest.raises(ValueError, match=r"existing file .*received 'none\.h5'"):
        build_backbone("yamnet", features=FEATURES, weights="none.h5")


def test_tower_trains_in_mixed_precision_with_float32_patches():
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        tower = build_yamnet(15_600)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert tower.get_layer("patches").compute_dtype == "float32"
    assert tower.get_layer("layer2_pointwise_conv").compute_dtype == "bfloat16"
    reference = set_weights(build_yamnet(15_600), random_weights(2))
    clip = CLIPS[:, :15_600]
    expected = reference(clip).numpy()
    found = tf.cast(set_weights(tower, random_weights(2))(clip), tf.float32).numpy()
    assert np.abs(found - expected).mean() < 0.05 * np.abs(expected).mean()
