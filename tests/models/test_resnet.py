"""The towers' topology: sizes, names, padding, and narrow widths."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.models.resnet import BLOCKS, build_resnet, embedding_size
from advance_tf.models.weights import layer_arrays
from tests.imports import ROOT


def trainable(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_the_papers_towers_have_the_papers_parameters():
    image = build_resnet(101)
    audio = build_resnet(50, 64, (400, 64, 1), first_stride=1, name="audio_tower")
    assert trainable(image) == 42_500_160
    assert trainable(audio) == 23_501_760
    assert image.output_shape == audio.output_shape == (None, 2048)
    assert image.get_layer("features").output.shape == (None, 8, 8, 2048)
    assert audio.get_layer("features").output.shape == (None, 25, 4, 2048)


@pytest.mark.parametrize("depth", BLOCKS)
def test_every_depth_has_its_layers_and_embedding(depth):
    model = build_resnet(depth, 2, (32, 32, 3))
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    shortcuts = [x for x in convolutions if "downsample" in x.name]
    # The name of a ResNet counts the dense layer too.
    assert len(convolutions) - len(shortcuts) == depth - 1
    assert len(shortcuts) == (3 if depth < 50 else 4)
    assert model.output_shape == (None, embedding_size(depth, 2))
    assert all(not x.use_bias for x in convolutions)


def expected_keys(depth):
    """PyTorch's keys of a tower, by rule."""
    names = ["conv1.weight", *(f"bn1.{n}" for n in ("weight", "bias"))]
    names += ["bn1.running_mean", "bn1.running_var"]
    steps = 3 if depth >= 50 else 2
    for stage, blocks in enumerate(BLOCKS[depth], start=1):
        for block in range(blocks):
            prefix = f"layer{stage}.{block}"
            pairs = [(f"conv{n}", f"bn{n}") for n in range(1, steps + 1)]
            if block == 0 and (stage > 1 or steps == 3):
                pairs.append(("downsample.0", "downsample.1"))
            for convolution, norm in pairs:
                names.append(f"{prefix}.{convolution}.weight")
                for part in ("weight", "bias", "running_mean", "running_var"):
                    names.append(f"{prefix}.{norm}.{part}")
    return names


_PARTS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def torch_name(name):
    layer, variable = name.split("/")
    if layer.startswith("layer"):
        stage, block, rest = layer.split("_", 2)
        rest = rest.replace("downsample_", "downsample.")
        layer = f"{stage}.{block}.{rest}"
    return f"{layer}.{_PARTS[variable]}"


@pytest.mark.parametrize("depth", [18, 50, 101])
def test_layers_are_named_after_pytorchs_keys(depth):
    names = layer_arrays(build_resnet(depth, 1, (32, 32, 3)))
    assert sorted(map(torch_name, names)) == sorted(expected_keys(depth))


def test_the_rule_gives_the_published_keys():
    path = ROOT / "tests/golden/checkpoint_keys.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    keys = [line.split()[0] for line in lines if line and not line.startswith("#")]
    keys = [k for k in keys if not k.endswith("num_batches_tracked")]
    towers = [k for k in keys if not k.startswith("fc.")]
    assert towers == [
        *towers[: len(expected_keys(101))],
        *towers[-len(expected_keys(50)) :],
    ]
    assert sorted(towers) == sorted(expected_keys(101) + expected_keys(50))


def test_the_first_convolution_pads_alike_on_all_sides():
    model = build_resnet(18, 1, (8, 8, 1))
    first = keras.Model(model.input, model.get_layer("conv1").output)
    image = np.random.default_rng(0).normal(size=(8, 8)).astype(np.float32)
    kernel = first.get_layer("conv1").kernel.numpy()[..., 0, 0]
    padded = np.pad(image, 3)
    expected = [
        [(padded[y : y + 7, x : x + 7] * kernel).sum() for x in range(0, 8, 2)]
        for y in range(0, 8, 2)
    ]
    found = first(image[None, ..., None])[0, ..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [1, 4, 8])
@pytest.mark.parametrize("depth", [18, 50])
def test_narrow_towers_learn(depth, width):
    """Strided 1×1 convolutions on 8 channels crash in oneDNN."""
    model = build_resnet(depth, width, (40, 24, 1), first_stride=1)

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(model(x, training=True) ** 2)
        return tape.gradient(total, model.trainable_variables)

    found = gradients(tf.random.stateless_normal([4, 40, 24, 1], [1, 2]))
    assert all(np.isfinite(g).all() for g in found)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [((20,), "depth must be one of 18"), ((18, 0), "must be at least 1")],
)
def test_bad_arguments_are_refused(arguments, named):
    with pytest.raises(ValueError, match=named):
        build_resnet(*arguments)
