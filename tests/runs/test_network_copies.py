"""Runs with towers from files: copies in the run, stored embeddings, errors."""

import dataclasses
import shutil

import numpy as np
import pytest

from advance_tf.checksums import path_sha256
from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.data.advance import AdvanceDataset
from advance_tf.inference.evaluation import evaluate
from advance_tf.inference.predictor import Predictor
from advance_tf.models.backbones.registry import (
    build_backbone,
    store_backbones,
    stored_backbones,
)
from advance_tf.reporting.error_analysis import find_misclassifications
from advance_tf.runs.training import train
from advance_tf.runs.workdir import load_run
from advance_tf.training import embeddings
from tests.models.backbones.network_files import (
    SAMPLES,
    SIDE,
    keras_image,
    write_lite,
)
from tests.training import factories


@pytest.fixture(scope="module")
def dataset(fabricated_advance):
    manifest = factories.build_manifest(fabricated_advance)
    return AdvanceDataset(manifest, fabricated_advance)


def build_config(folder, image):
    config = factories.build_config("", epochs=2, learning_rate=0.03)
    return dataclasses.replace(
        config,
        features=FeatureConfig(image_size=2 * SIDE, clip_seconds=SAMPLES / 16_000),
        model=ModelConfig(
            image_backbone=f"file:{image},output=embedding",
            audio_backbone=f"file:{folder / 'sound.tflite'},output=frames",
            image_frozen_stages=5,
            audio_frozen_stages=5,
            normalize_embeddings=True,
        ),
    )


@pytest.fixture(scope="module")
def trained(dataset, tmp_path_factory):
    """The folder of a run whose files of networks have been removed since."""
    folder = tmp_path_factory.mktemp("run")
    keras_image().save(folder / "image.keras")
    write_lite(folder / "sound.tflite", "one")
    config = build_config(folder, folder / "image.keras")
    train(config, dataset, folder / "run")
    for name in ("image.keras", "sound.tflite"):
        (folder / name).unlink()
    return folder / "run", config


def test_a_run_is_loaded_and_resumed_without_the_files(trained, dataset, tmp_path):
    workdir, config = trained
    moved = tmp_path / "moved"
    shutil.copytree(workdir, moved)
    run = load_run(moved)
    assert str(moved) in run.config.model.image_backbone
    sources = {tower: source.source for tower, source in run.initial_weights.items()}
    assert sources == {"image": "file", "audio": "file"}
    more = dataclasses.replace(config.training, epochs=3)
    longer = train(dataclasses.replace(config, training=more), dataset, moved)
    assert longer.initial_weights == run.initial_weights
    copy = next((moved / "image_backbone").glob("*.keras"))
    contents = bytearray(copy.read_bytes())
    contents[len(contents) // 2] ^= 1
    copy.write_bytes(contents)
    with pytest.raises(ValueError, match=r"image\.keras is damaged: .* Restore it"):
        load_run(moved)


def test_a_run_is_loaded_without_the_folder_of_its_preset(dataset, tmp_path):
    keras_hub = pytest.importorskip("keras_hub")
    folder = tmp_path / "preset"
    network = keras_hub.models.ViTBackbone((28, 28, 3), 7, 1, 2, 8, 16)
    network.save_to_preset(str(folder))
    converter = keras_hub.layers.ViTImageConverter(image_size=(28, 28), scale=1 / 255)
    converter.save_to_preset(str(folder))
    write_lite(tmp_path / "sound.tflite", "one")
    config = build_config(tmp_path, "")
    name = f"kerashub:{folder}"
    model = dataclasses.replace(config.model, image_backbone=name)
    config = dataclasses.replace(config, model=model)
    images = np.random.default_rng(0).uniform(0, 255, (2, 2 * SIDE, 2 * SIDE, 3))
    expected = build_backbone(name, "image", config.features)(images)
    train(config, dataset, tmp_path / "run")
    folder.rename(tmp_path / "elsewhere")
    run = load_run(tmp_path / "run")
    assert str(tmp_path / "run") in run.config.model.image_backbone
    found = run.recognizer.get_layer("image_tower")(images)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    assert run.initial_weights["image"].source == "local preset of KerasHub"


def test_evaluation_uses_the_stored_embeddings(trained, monkeypatch):
    workdir, _ = trained
    run = load_run(workdir)
    pairs = run.pairs_of("test")
    expected = Predictor.from_run(run).predict_pairs(pairs, run.data_dir, batch_size=8)
    found = evaluate(run, "test")
    np.testing.assert_allclose(found.scene_probs, expected.scene_probs, atol=1e-5)

    def refused(*args, **kwargs):
        raise AssertionError("an embedding is computed")

    # The training stored those of the validation pairs, the first evaluation these.
    monkeypatch.setattr(embeddings, "make_dataset", refused)
    monkeypatch.setattr(Predictor, "predict_pairs", refused)
    again = evaluate(load_run(workdir), "test")
    np.testing.assert_array_equal(again.scene_probs, found.scene_probs)
    assert len(evaluate(run, "validation").stems) == 13


def test_errors_of_a_run_without_feature_maps_have_no_maps(trained):
    run = load_run(trained[0])
    evaluation = evaluate(run, "test")
    wrong = np.flatnonzero(evaluation.predicted != evaluation.true)
    assert len(wrong)
    (error,) = find_misclassifications(run, evaluation, 1)
    assert error.for_true.image is error.for_true.log_mel is None
    index = evaluation.stems.index(error.stem)
    probs = evaluation.scene_probs[index]
    margin = np.log(probs[evaluation.predicted[index]] / probs[evaluation.true[index]])
    assert sum(error.margins.values()) == pytest.approx(margin, abs=1e-3)


def test_an_embedding_that_is_not_finite_names_the_pair(dataset, tmp_path):
    network = keras_image()
    network.get_layer("map").set_weights([np.full((3, 5), np.nan, np.float32)])
    network.save(tmp_path / "image.keras")
    write_lite(tmp_path / "sound.tflite")
    config = build_config(tmp_path, tmp_path / "image.keras")
    with pytest.raises(ValueError, match=r"NaN or infinity from the image tower .*jpg"):
        train(config, dataset, tmp_path / "run")


def test_a_wrong_output_is_refused_before_anything_is_written(dataset, tmp_path):
    keras_image().save(tmp_path / "image.keras")
    write_lite(tmp_path / "sound.tflite")
    config = build_config(tmp_path, tmp_path / "image.keras")
    model = dataclasses.replace(
        config.model, audio_backbone=f"file:{tmp_path / 'sound.tflite'},output=logits"
    )
    with pytest.raises(ValueError, match="output must be one of .*frames, .*'logits'"):
        train(dataclasses.replace(config, model=model), dataset, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_network_that_changes_before_the_first_epoch_is_copied_again(
    dataset, tmp_path, monkeypatch
):
    network = keras_image()
    network.save(tmp_path / "image.keras")
    write_lite(tmp_path / "sound.tflite")
    config = build_config(tmp_path, tmp_path / "image.keras")

    def stop(*args, **kwargs):
        raise InterruptedError

    with monkeypatch.context() as patch:
        patch.setattr("advance_tf.runs.training.train_recognizer", stop)
        with pytest.raises(InterruptedError):
            train(config, dataset, tmp_path / "run")
    kernel = network.get_layer("map").get_weights()[0]
    network.get_layer("map").set_weights([2 * kernel])
    network.save(tmp_path / "image.keras")
    run = train(config, dataset, tmp_path / "run")
    copy = tmp_path / "run" / "image_backbone" / "image.keras"
    assert copy.read_bytes() == (tmp_path / "image.keras").read_bytes()
    assert run.initial_weights["image"].sha256 == path_sha256(copy)
    found = run.recognizer.get_layer("image_tower").get_weights()[0]
    np.testing.assert_array_equal(found, 2 * kernel)


def test_the_copy_of_a_backbone_that_is_no_longer_used_is_removed(tmp_path):
    keras_image().save(tmp_path / "image.keras")
    backbone = f"file:{tmp_path / 'image.keras'},output=embedding"
    store_backbones(ModelConfig(image_backbone=backbone), tmp_path)
    assert (tmp_path / "image_backbone").is_dir()
    store_backbones(ModelConfig(), tmp_path)
    assert stored_backbones(ModelConfig(), tmp_path) == ModelConfig()
    assert not (tmp_path / "image_backbone").exists()
