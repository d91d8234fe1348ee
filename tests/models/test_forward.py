"""The forward pass on arrays against the Keras model of the same weights."""

import h5py
import numpy as np
import pytest

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.forward import read_forward_pass, read_layer_arrays
from advance_tf.models.recognizer import build_recognizer

FEATURES = FeatureConfig(image_size=32, clip_seconds=0.8)


def write(folder, model, transfer="none"):
    """A recognizer with batch norms that are not trivial, and its weights file."""
    recognizer = build_recognizer(model, FEATURES, transfer)
    rng = np.random.default_rng(3)
    for tower in ("image_tower", "audio_tower"):
        for layer in recognizer.get_layer(tower).layers:
            if hasattr(layer, "moving_mean"):
                for variable in (layer.gamma, layer.beta, layer.moving_mean):
                    variable.assign(rng.uniform(0.5, 1.0, variable.shape))
                wide = 1e4 if layer.name == "bn1" else 1.0
                layer.moving_variance.assign(np.full(layer.gamma.shape, wide))
    path = folder / "a.weights.h5"
    recognizer.save_weights(path)
    return recognizer, path


def inputs(rows):
    rng = np.random.default_rng(rows)
    return {
        "image": rng.uniform(0, 255, (rows, 32, 32, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(rows, FEATURES.frames, 64)).astype(np.float32),
    }


def close(found, expected):
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=1e-5 * scale, rtol=0)


@pytest.mark.parametrize(
    ("modality", "image_depth", "audio_depth", "transfer"),
    [
        ("both", 50, 18, "kl_audiovisual"),
        ("image", 18, 34, "none"),
        ("sound", 18, 50, "sq_audio"),
    ],
)
def test_logits_and_embeddings_equal_those_of_keras(
    tmp_path, modality, image_depth, audio_depth, transfer
):
    model = ModelConfig(
        modality=modality,
        image_depth=image_depth,
        audio_depth=audio_depth,
        image_width=8,
        audio_width=8,
        dropout=0.5,
    )
    recognizer, path = write(tmp_path, model, transfer)
    forward = read_forward_pass(path, model, FEATURES)
    assert forward is not None
    assert forward.sizes == {k: v.shape[-1] for k, v in recognizer.output.items()}
    # The first call has no graph, the others share one.
    for rows in (2, 1, 3):
        given = inputs(rows)
        expected = recognizer(given, training=False)
        found = forward(given)
        kinds = ("image", "sound") if modality == "both" else (modality,)
        further = {f"{kind}_embedding" for kind in kinds}
        assert found.keys() == expected.keys() | further
        for name, logits in expected.items():
            close(found[name], logits)
    embeddings = forward.embed(given)
    assert tuple(embeddings) == kinds
    maps = {"image": given["image"], "sound": given["log_mel"][..., None]}
    towers = {"image": "image_tower", "sound": "audio_tower"}
    for kind in kinds:
        close(embeddings[kind], recognizer.get_layer(towers[kind])(maps[kind]))


def test_arrays_have_the_names_of_their_layers(tmp_path):
    model = ModelConfig(
        modality="both", image_depth=10, audio_depth=10, image_width=4, audio_width=4
    )
    recognizer, path = write(tmp_path, model)
    found = read_layer_arrays(path)
    assert found.keys() == {"", "image_tower", "audio_tower"}
    norm = recognizer.get_layer("audio_tower").get_layer("layer3_0_downsample_1")
    variables = (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
    arrays = found["audio_tower"]["layer3_0_downsample_1"]
    assert len(arrays) == 4
    for array, variable in zip(arrays, variables, strict=True):
        np.testing.assert_array_equal(array, variable)


def test_other_files_and_settings_need_the_keras_model(tmp_path):
    model = ModelConfig(
        modality="both", image_depth=10, audio_depth=10, image_width=4, audio_width=4
    )
    _, path = write(tmp_path, model)
    assert read_forward_pass(path, model, FEATURES) is not None
    for other in (
        ModelConfig(
            modality="both",
            image_depth=34,
            audio_depth=10,
            image_width=4,
            audio_width=4,
        ),
        ModelConfig(
            modality="both",
            image_depth=10,
            audio_depth=10,
            image_width=4,
            audio_width=8,
        ),
    ):
        assert read_forward_pass(path, other, FEATURES) is None
    with h5py.File(path, "a") as file:
        # One more head.
        file.copy("layers/dense", "layers/dense_1")
        file["layers/dense_1/vars"].attrs["name"] = "altitude_head"
    assert read_forward_pass(path, model, FEATURES) is None
    path.write_bytes(b"no HDF5")
    assert read_forward_pass(path, model, FEATURES) is None
