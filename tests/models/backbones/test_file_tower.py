"""Networks in files as towers, against the same networks in NumPy."""

import builtins

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models.backbones.file_tower import LEVELS, FileEncoder, FileTower
from advance_tf.models.backbones.network_files import open_network
from advance_tf.models.backbones.registry import (
    build_backbone,
    check_backbones,
    export_problems,
    find_backbone,
)
from advance_tf.models.folding import fold_batch_norms
from tests.models.backbones.network_files import (
    BLOCKS,
    SAMPLES,
    SIDE,
    image_vectors,
    keras_image,
    move_weights_beside,
    sound_vectors,
    write_bytes_network,
    write_lite,
    write_onnx,
    write_onnx_sound,
    write_saved_model,
    write_signatures,
)

# The image of the file is half as large; the clip has two and a half windows.
FEATURES = FeatureConfig(image_size=2 * SIDE, clip_seconds=0.125, sample_rate_hz=20_000)
RNG = np.random.default_rng(1)
IMAGES = RNG.uniform(0, 255, (3, 2 * SIDE, 2 * SIDE, 3)).astype(np.float32)
CLIPS = RNG.normal(0, 0.1, (3, 2_500)).astype(np.float32)
HALVED = IMAGES.reshape(3, SIDE, 2, SIDE, 2, 3).mean((2, 4))
WINDOWS = np.stack([CLIPS[:, s : s + SAMPLES] for s in (0, 750, 1_500)], 1)
SOUND = np.mean([sound_vectors(WINDOWS[:, k]) for k in range(3)], axis=0)


def tower_of(path, kind, **options):
    name = ",".join([f"file:{path}", *(f"{k}={v}" for k, v in options.items())])
    return build_backbone(name, kind, FEATURES)


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keras") / "image.keras"
    keras_image().save(path)
    return path


def test_keras_file_has_the_chosen_output_or_the_map_of_a_layer(keras_file):
    tower = tower_of(keras_file, "image", output="embedding")
    np.testing.assert_allclose(tower(IMAGES), image_vectors(HALVED), atol=1e-5)
    scores = tower_of(keras_file, "image", output="scores")(IMAGES)
    np.testing.assert_allclose(
        scores, 1 / (1 + np.exp(-image_vectors(HALVED))), atol=1e-5
    )
    mapped = tower_of(keras_file, "image", output="map")
    assert mapped.get_layer("features").output.shape == (None, SIDE, SIDE, 5)
    np.testing.assert_allclose(mapped(IMAGES), image_vectors(HALVED), atol=1e-5)
    np.testing.assert_allclose(
        fold_batch_norms(mapped)(IMAGES), image_vectors(HALVED), atol=1e-5
    )
    assert len(mapped.trainable_variables) == 1


@pytest.mark.parametrize("levels", list(LEVELS))
def test_levels_are_what_the_network_expects(keras_file, levels):
    expected = {
        "byte": HALVED,
        "unit": HALVED / 255,
        "signed": HALVED / 127.5 - 1,
        "imagenet": (HALVED / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    }[levels]
    found = tower_of(keras_file, "image", output="embedding", levels=levels)(IMAGES)
    np.testing.assert_allclose(found, image_vectors(expected), rtol=0, atol=1e-5)


def test_file_without_a_size_takes_that_of_the_option_or_of_the_images(tmp_path):
    path = tmp_path / "any.keras"
    keras_image(None).save(path)
    small = tower_of(path, "image", output="map", size=SIDE)
    assert small.get_layer("features").output.shape[1] == SIDE
    full = tower_of(path, "image", output="map")
    assert full.get_layer("features").output.shape[1] == 2 * SIDE


@pytest.mark.parametrize("batch", ["B", 1])
def test_onnx_file_with_channels_first(tmp_path, batch):
    path = write_onnx(tmp_path / "image.onnx", batch)
    tower = tower_of(path, "image", output="embedding")
    assert tower.output_shape == (None, 5)
    np.testing.assert_allclose(tower(IMAGES), image_vectors(HALVED), atol=1e-5)
    np.testing.assert_allclose(
        tower.predict_on_batch(IMAGES), image_vectors(HALVED), atol=1e-5
    )


@pytest.mark.parametrize("batch", ["any", "one", "none"])
@pytest.mark.parametrize("write", [write_saved_model, write_lite])
def test_waveform_is_cut_into_windows_and_averaged(tmp_path, write, batch):
    path = write(tmp_path / "sound.tflite", batch)
    tower = tower_of(path, "audio", output="frames", sample_rate_hz=20_000)
    for found in (tower(CLIPS), tower.predict_on_batch(CLIPS[:2])):
        np.testing.assert_allclose(found, SOUND[: len(found)], rtol=0, atol=1e-5)


def test_onnx_file_of_waveforms_with_two_outputs(tmp_path):
    path = write_onnx_sound(tmp_path / "sound.onnx")
    with pytest.raises(ValueError, match="output must be one of frames, scores for"):
        tower_of(path, "audio")
    found = tower_of(path, "audio", output="frames")(CLIPS)
    np.testing.assert_allclose(found, SOUND, rtol=0, atol=1e-5)
    frames = np.tanh(WINDOWS.reshape(3, 3, -1, 100) @ BLOCKS)
    expected = frames.max(axis=2).mean(axis=1)
    found = tower_of(path, "audio", output="scores")(CLIPS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["network", "network.tflite"])
def test_the_signature_of_a_file_with_several_is_chosen(tmp_path, kind):
    path = write_signatures(tmp_path / kind, ["basic", "embeddings"])
    for number, signature in enumerate(("basic", "embeddings")):
        tower = tower_of(path, "audio", signature=signature)
        for found in (tower(CLIPS), tower.predict_on_batch(CLIPS[:2])):
            expected = 2**number * SOUND[: len(found)]
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    for options, received in (({}, "none"), ({"signature": "b"}, "'b'")):
        message = (
            f"signature must be one of basic, embeddings .*; received {received}. "
        )
        with pytest.raises(ValueError, match=f"^{message}"):
            tower_of(path, "audio", **options)
    # The copy of a run keeps the option.
    backbone = find_backbone(f"file:{path},signature=embeddings")
    backbone.store(tmp_path / "run")
    tower = build_backbone(backbone.stored_name(tmp_path / "run"), "audio", FEATURES)
    np.testing.assert_allclose(tower(CLIPS), 2 * SOUND, rtol=0, atol=1e-5)
    restored = FileEncoder.from_config(tower.get_layer("network").get_config())
    assert restored.signature == "embeddings"


def test_the_default_signature_of_several_is_named_so(tmp_path):
    path = write_signatures(tmp_path / "network", ["a", "serving_default"])
    found = tower_of(path, "audio")(CLIPS)
    np.testing.assert_allclose(found, 2 * SOUND, rtol=0, atol=1e-5)


def test_a_shorter_clip_is_padded(tmp_path):
    path = write_lite(tmp_path / "sound.tflite")
    features = FeatureConfig(clip_seconds=0.025, sample_rate_hz=20_000)
    tower = build_backbone(f"file:{path},output=frames", "audio", features)
    padded = np.pad(CLIPS[:, :500], ((0, 0), (0, 500)))
    np.testing.assert_allclose(tower(CLIPS[:, :500]), sound_vectors(padded), atol=1e-5)


def test_integer_input_and_output_are_converted_by_their_scales(tmp_path):
    """A file in 8 bits, with uint8 levels."""
    levels = keras.Input((SIDE, SIDE, 3), batch_size=1)
    model = keras.Model(levels, keras.layers.Dense(5, use_bias=False)(levels))
    kernel = np.random.default_rng(2).normal(0, 1 / 255, (3, 5)).astype(np.float32)
    model.layers[-1].set_weights([kernel])
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[None]] for image in HALVED)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    path = tmp_path / "image.tflite"
    path.write_bytes(converter.convert())
    found = tower_of(path, "image")(IMAGES)
    np.testing.assert_allclose(found, HALVED.mean((1, 2)) @ kernel, rtol=0, atol=0.02)


@pytest.mark.parametrize("kind", ["saved", "lite.tflite", "onnx.onnx"])
def test_levels_of_a_network_of_integers_are_rounded(tmp_path, kind):
    path = write_bytes_network(tmp_path / kind)
    levels = np.array([[127.6, 3.2, 255.0]], np.float32)
    (name,) = (network := open_network(path)).outputs
    np.testing.assert_array_equal(network.compute(levels, name), [[128, 3, 255]])


def test_the_run_has_a_copy_of_the_file(tmp_path):
    path = write_saved_model(tmp_path / "sound")
    backbone = find_backbone(f"file:{path},output=frames")
    backbone.store(tmp_path / "run" / "audio_backbone")
    source = backbone.weights_source("file")
    assert (source.source, len(source.sha256)) == ("file", 64)
    copied = backbone.stored_name(tmp_path / "run" / "audio_backbone")
    path.rename(tmp_path / "elsewhere")
    tower = build_backbone(copied, "audio", FEATURES)
    np.testing.assert_allclose(tower(CLIPS), SOUND, rtol=0, atol=1e-5)
    assert find_backbone(copied).weights_source("file").sha256 == source.sha256


def test_the_copy_of_an_onnx_file_has_the_weights_beside_it(tmp_path):
    path = write_onnx(tmp_path / "image.onnx")
    weights = move_weights_beside(path)
    backbone = find_backbone(f"file:{path},output=embedding")
    source = backbone.weights_source("file")
    expected = np.asarray(build_backbone(backbone.name, "image", FEATURES)(IMAGES))
    backbone.store(tmp_path / "run" / "image_backbone")
    copied = backbone.stored_name(tmp_path / "run" / "image_backbone")
    assert find_backbone(copied).weights_source("file").sha256 == source.sha256
    weights.write_bytes(bytes(len(weights.read_bytes())))
    assert backbone.weights_source("file").sha256 != source.sha256
    found = build_backbone(copied, "image", FEATURES)(IMAGES)
    np.testing.assert_array_equal(found, expected)


def test_formats_that_a_file_cannot_be_exported_in(tmp_path, keras_file):
    saved = write_saved_model(tmp_path / "sound")
    onnx_file = write_onnx(tmp_path / "image.onnx")

    def problems(image, audio="resnet"):
        return export_problems(ModelConfig(image_backbone=image, audio_backbone=audio))

    assert problems(f"file:{keras_file}") == {}
    assert set(problems("resnet", f"file:{saved}")) == {"LiteRT", "ONNX"}
    found = problems(f"file:{onnx_file}")
    assert set(found) == {"SavedModel", "LiteRT", "ONNX"}
    assert "Predict with the run itself (`load_model`)" in found["ONNX"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "output must be one of embedding, scores .*received none"),
        (",output=logits", "one of embedding, scores for .*received 'logits'"),
        (",output=scores,size=8", "size must be that of the file, 16 x 16; received 8"),
        (",output=scores,size=-8", "size must be a positive integer; received '-8'"),
        (",levels=bgr", "levels must be one of byte, unit, signed, imagenet; rec"),
        (
            ",output=scores,signature=a",
            "signature must be left out for .* received 'a'",
        ),
        (",depth=8", "options of a backbone must be output, .*received 'depth=8'"),
    ],
)
def test_wrong_options_are_errors(tmp_path, options, message):
    path = write_onnx(tmp_path / "image.onnx")
    with pytest.raises(ValueError, match=message):
        build_backbone(f"file:{path}{options}", "image", FEATURES)


def test_a_file_that_does_not_fit_is_an_error(tmp_path, keras_file):
    sound = write_lite(tmp_path / "sound.tflite")
    with pytest.raises(ValueError, match=r"must take one image .*is \(None, 1000\)"):
        tower_of(sound, "image", output="frames")
    with pytest.raises(ValueError, match=r"one waveform .*is \(None, 16, 16, 3\)"):
        tower_of(keras_file, "audio", output="map")
    with pytest.raises(ValueError, match="sample_rate_hz must be 32000 for"):
        tower_of(sound, "audio", output="frames", sample_rate_hz=32_000)
    (tmp_path / "text.tflite").write_text("no model")
    with pytest.raises(ValueError, match="text.tflite must be a network with one"):
        tower_of(tmp_path / "text.tflite", "audio")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match="text.keras must be a functional model"):
        tower_of(tmp_path / "text.keras", "image")
    with pytest.raises(ValueError, match="existing .keras, .tflite or .onnx file"):
        tower_of(tmp_path / "none.onnx", "image")
    backbone = FileTower(f"file:{sound}")
    with pytest.raises(ValueError, match="holds its weights; received 'a.npz'"):
        backbone.weights_source("a.npz")


def test_only_a_keras_file_can_be_trained(tmp_path, keras_file):
    sound = write_lite(tmp_path / "sound.tflite")
    settings = {
        "image_backbone": f"file:{keras_file},output=embedding",
        "audio_backbone": f"file:{sound},output=frames",
    }
    with pytest.raises(ValueError, match="audio_frozen_stages must be 5 with .*rece"):
        check_backbones(ModelConfig(**settings), FEATURES)
    check_backbones(ModelConfig(**settings, audio_frozen_stages=5), FEATURES)


def test_onnx_needs_its_extra(tmp_path, monkeypatch):
    path = write_onnx(tmp_path / "image.onnx")
    imported = builtins.__import__

    def missing(name, *args, **kwargs):
        if name == "onnxruntime":
            raise ImportError(name="onnxruntime")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(
        "importlib.import_module", lambda name: missing(name), raising=True
    )
    with pytest.raises(ImportError, match=r"install 'advance_tf\[onnx\]'"):
        tower_of(path, "image", output="scores")
