"""A recognizer of waveforms: data set, cache, prediction, maps, files and teacher."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.config import (
    Config,
    DataConfig,
    FeatureConfig,
    ModelConfig,
    TransferConfig,
)
from advance_tf.config_io import from_dict, to_dict
from advance_tf.data.cache import PairCache
from advance_tf.data.dataset import make_dataset
from advance_tf.data.manifest import make_manifest
from advance_tf.data.pair_files import PairFiles
from advance_tf.data.synthetic.pairs import write_pairs
from advance_tf.features.frontend import Frontend
from advance_tf.inference.backends import RunModel
from advance_tf.inference.evaluation import evaluate
from advance_tf.inference.predictor import Predictor
from advance_tf.models.backbones.contract import WeightsSource
from advance_tf.models.backbones.registry import FAMILIES
from advance_tf.models.recognizer import build_recognizer, tower_sound
from advance_tf.reporting.activation_maps import ActivationMaps, compute_maps
from advance_tf.runs.training import check_towers
from advance_tf.runs.workdir import MANIFEST, load_run, write_config
from advance_tf.serving import parity
from advance_tf.serving.export import export_onnx
from advance_tf.serving.inference_model import InferenceModel, Source
from advance_tf.serving.litert import LiteModel, convert
from advance_tf.serving.saved_model import write_saved_model
from advance_tf.training.callbacks import BEST_WEIGHTS
from tests.models.backbones.tiny import Tiny

FEATURES = FeatureConfig(image_size=32, clip_seconds=1.0)
MODEL = ModelConfig(
    image_backbone="tiny",
    audio_backbone="tiny",
    image_frozen_stages=5,
    audio_frozen_stages=5,
)


@pytest.fixture(scope="module", autouse=True)
def tiny():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "tiny", Tiny)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained run of the tiny backbone on synthetic pairs."""
    folder = tmp_path_factory.mktemp("run")
    write_pairs(folder / "data", sites_per_scene=2)
    config = Config(
        data=DataConfig(data_dir=str(folder / "data")),
        features=FEATURES,
        model=MODEL,
        transfer=TransferConfig(transfer="kl_audio"),
    )
    manifest = make_manifest(config.data)
    manifest.save(folder / MANIFEST)
    write_config(folder, config, manifest)
    keras.utils.set_random_seed(0)
    recognizer = build_recognizer(MODEL, FEATURES, "kl_audio")
    recognizer.save_weights(folder / BEST_WEIGHTS)
    return load_run(folder)


@pytest.fixture(scope="module")
def decoded(run):
    encoded = parity.EncodedPairs(run).some("test", 3)
    return encoded, parity.decode(Source.from_run(run), encoded)


def first_batch(run, count=3, **settings):
    pairs = run.manifest.pairs_of("test")[:count]
    files = PairFiles(pairs, run.data_dir, FEATURES, **settings)
    return next(iter(make_dataset(files, count)))


def test_run_states_backbones_and_weights(run):
    assert run.initial_weights == {
        "image": WeightsSource("tiny"),
        "audio": WeightsSource("tiny"),
    }
    old = to_dict(Config())
    for tower in ("image", "audio"):
        del old["model"][f"{tower}_backbone"]
    assert from_dict(old) == Config()


def test_data_set_and_cache_hold_waveforms(run, tmp_path):
    pairs = run.manifest.pairs_of("test")[:3]
    inputs, _ = first_batch(run, sound_input="waveform")
    assert set(inputs) == {"image", "waveform"}
    frontend = Frontend(FEATURES)
    expected = [frontend.read_waveform(run.data_dir / pair.sound) for pair in pairs]
    np.testing.assert_array_equal(inputs["waveform"], expected)
    cache = PairCache(tmp_path, FEATURES, "waveform")
    cache.fill(pairs, run.data_dir, progress=False)
    cached, _ = first_batch(run, sound_input="waveform", cache=cache)
    np.testing.assert_array_equal(cached["waveform"], expected)
    log_mel, _ = first_batch(run)
    np.testing.assert_allclose(
        frontend.encode_sound(np.stack(expected)), log_mel["log_mel"], atol=1e-4
    )
    assert PairCache(tmp_path, FEATURES).folder != cache.folder
    with pytest.raises(ValueError, match="cache must hold the sounds as log_mel"):
        first_batch(run, cache=cache)


def test_prediction_evaluation_and_embeddings_agree(run, decoded):
    encoded, arrays = decoded
    predictor = Predictor.from_run(run)
    inputs = predictor.inputs(*arrays)
    np.testing.assert_array_equal(inputs["waveform"], arrays.waveform)
    expected = predictor.predict(inputs).scene_probs
    model = RunModel(predictor)
    for pair, row in zip(encoded, expected, strict=True):
        found = model.predict(pair.image, pair.sound).scene_probs
        ordered = [found[scene] for scene in labels.scenes()]
        np.testing.assert_allclose(ordered, row, atol=1e-5)
    embeddings = predictor.embed(inputs)
    assert {k: v.shape for k, v in embeddings.items()} == {
        "image": (3, 4),
        "sound": (3, 4),
    }
    evaluation = evaluate(run, "test")
    sources = evaluation.details["initial_weights"]
    assert sources["audio"] == dataclasses.asdict(WeightsSource("tiny"))


def test_maps_split_the_logits(run):
    inputs, _ = first_batch(run, sound_input="waveform")
    maps = ActivationMaps(run.recognizer)(inputs, np.array([0, 1, 2]))
    expected = run.recognizer(inputs)["scene_logits"]
    np.testing.assert_allclose(maps.scene_logits, expected, atol=1e-4)
    assert maps.log_mel.shape == (3, 50, 20)
    pairs = run.manifest.pairs_of("test")[:2]
    found = compute_maps(run, pairs, run.data_dir, [0, 1])
    log_mel, _ = first_batch(run, 2)
    np.testing.assert_allclose(
        found.log_mel_db, Frontend(FEATURES).denormalize(log_mel["log_mel"]), atol=1e-3
    )


def test_exported_models_predict_what_the_run_predicts(run, decoded, tmp_path):
    encoded, arrays = decoded
    source = Source.from_run(run)
    expected = parity.reference_probs(source, arrays)
    model = InferenceModel(source, litert=True)
    lite = LiteModel(convert(model, tmp_path / "work"))
    assert parity.largest_difference(expected, lite.probs(arrays)) < 1e-4
    folder = tmp_path / "saved_model"
    folder.mkdir()
    write_saved_model(folder, InferenceModel(source), warmup=encoded[0]._asdict())
    skew = parity.saved_model_skew(folder, source, encoded)
    assert max(skew["bytes"], skew["tensors"]) < 1e-5


def test_format_that_a_tower_lacks_is_an_error(run, tmp_path, caplog):
    with pytest.raises(ValueError, match="possible in ONNX .*tiny: it is tiny"):
        export_onnx(run, tmp_path / "onnx", split="test")
    assert not (tmp_path / "onnx").exists()
    check_towers(MODEL, run.config.features)
    assert "cannot be exported as ONNX. tiny: it is tiny" in caplog.text


def test_efficientnet_and_yamnet_are_exported_as_they_predict():
    features = FeatureConfig(image_size=32, clip_seconds=0.5)
    model = ModelConfig(image_backbone="efficientnet_lite0", audio_backbone="yamnet")
    keras.utils.set_random_seed(0)
    source = Source(build_recognizer(model, features, "kl_audio"), features)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    waveform = rng.normal(0, 0.1, (2, 8_000)).astype(np.float32)
    found = InferenceModel(source).probs(tf.constant(image), tf.constant(waveform))
    expected = source.predictor().predict_decoded(image, waveform)
    np.testing.assert_allclose(found["scene_probs"], expected.scene_probs, atol=1e-5)
    np.testing.assert_allclose(found["event_probs"], expected.events.probs, atol=1e-5)


def test_one_input_of_a_tower_is_its_own(run):
    waveform = np.zeros((1, 16_000), np.float32)
    assert tower_sound(run.recognizer, waveform) is waveform
    resnet = build_recognizer(
        ModelConfig(
            modality="both",
            image_depth=10,
            audio_depth=10,
            image_width=2,
            audio_width=2,
        ),
        FEATURES,
    )
    assert tower_sound(resnet, np.zeros((1, 40, 64))).shape == (1, 40, 64, 1)
