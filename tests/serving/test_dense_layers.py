"""Exported heads with a hidden layer and a normalization of the embeddings."""

import dataclasses

import keras
import numpy as np
import pytest

from advance_tf.inference.predictor import Predictor
from advance_tf.models.heads import embedding_model
from advance_tf.models.recognizer import build_recognizer
from advance_tf.serving.inference_model import InferenceModel
from tests.serving.factories import FEATURES, create_source, model_config


@pytest.mark.parametrize("transfer", ["kl_audio", "kl_audiovisual"])
def test_the_export_predicts_what_the_recognizer_predicts(transfer):
    model = model_config(modality="both", head_units=7, normalize_embeddings=True)
    keras.utils.set_random_seed(3)
    recognizer = build_recognizer(model, FEATURES, transfer)
    for tower in ("image_tower", "audio_tower"):
        weights = create_source().recognizer.get_layer(tower).get_weights()
        recognizer.get_layer(tower).set_weights(weights)
    rng = np.random.default_rng(0)
    image = rng.uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    waveform = rng.normal(0, 0.1, (3, FEATURES.clip_samples)).astype(np.float32)
    predictor = Predictor(recognizer, FEATURES)
    embeddings = embedding_model(recognizer)(predictor.inputs(image, waveform))
    for tower, values in embeddings.items():
        layer = recognizer.get_layer(f"{tower}_normalization")
        layer.adapt(np.vstack([values, 0.9 * values[:2], 1.2 * values[1:]]))
    source = dataclasses.replace(create_source(transfer), recognizer=recognizer)
    found = InferenceModel(source).probs(image, waveform)
    expected = predictor.predict_decoded(image, waveform)
    np.testing.assert_allclose(found["scene_probs"], expected.scene_probs, atol=1e-4)
    np.testing.assert_allclose(found["event_probs"], expected.events.probs, atol=1e-4)
    assert np.ptp(expected.scene_probs, axis=0).max() > 0.01
