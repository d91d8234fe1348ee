"""Masks, temperatures, confidence and reasons: the same answers from every artefact."""

import numpy as np
import onnxruntime
import pytest

from advance_tf import labels
from advance_tf.inference.backends import _image_bytes
from advance_tf.inference.examples import Example
from advance_tf.inference.loading import load_model
from advance_tf.inference.rejection import reason_text
from advance_tf.metrics.probabilities import softmax
from advance_tf.reporting.answers import AnswerExplainer
from advance_tf.runs.workdir import load_run
from advance_tf.serving.export import export_litert
from tests.inference.conftest import RATE_HZ, TEMPERATURES, noise_image, noise_sound
from tests.untrained_run import copy_run, exported_litert

KINDS = ("run", "saved_model", "litert", "onnx")


def _cases():
    full = np.sign(noise_sound(0)).astype(np.float32)
    return {
        "both": ({"image": noise_image(0), "sound": noise_sound(0)}, ""),
        "image": ({"image": noise_image(0)}, ""),
        "sound": ({"sound": noise_sound(0)}, ""),
        "blank": ({"image": np.full((40, 40, 3), 90, np.uint8)}, "blank image"),
        "silent": ({"sound": np.zeros(RATE_HZ, np.float32)}, "silent sound"),
        "clipped": ({"image": noise_image(0), "sound": full}, "clipped sound"),
        "far": ({"image": 255 * (noise_image(0) > 90).astype(np.uint8)}, "image far"),
    }


@pytest.mark.parametrize("case", _cases())
def test_every_artefact_gives_the_same_answer(models, case):
    given, reason = _cases()[case]
    if "sound" in given:
        given = given | {"rate_hz": RATE_HZ}
    expected = models["run"].predict(**given)
    assert reason in expected.reason
    assert (expected.scene == "unknown") == bool(reason)
    for kind in KINDS[1:]:
        found = models[kind].predict(**given)
        assert found.scene_probs == pytest.approx(expected.scene_probs, abs=1e-4)
        assert found.confidence == pytest.approx(expected.confidence, abs=1e-4)
        assert (found.reason, found.scene) == (expected.reason, expected.scene)
        assert found.notes == expected.notes


def test_an_absent_input_has_no_effect_and_its_own_temperature(models):
    predictor = models["run"].predictor
    inputs = predictor.inputs(noise_image(0)[None], noise_sound(0)[None])
    inputs["present"] = np.array([[1, 0]], np.float32)
    first = predictor.predict(inputs)
    inputs[predictor.sound_input] = inputs[predictor.sound_input] + 5
    second = predictor.predict(inputs)
    np.testing.assert_allclose(first.scene_probs, second.scene_probs, atol=1e-6)
    expected = softmax(first.logits["scene_logits"] / TEMPERATURES["image"])
    np.testing.assert_allclose(first.scene_probs, expected, atol=1e-6)
    alone = models["run"].predict(image=noise_image(0))
    np.testing.assert_allclose(
        [alone.scene_probs[name] for name in labels.scenes()],
        first.scene_probs[0],
        atol=1e-6,
    )
    assert alone.notes[0] == "no sound given: the answer is from the image alone"


def test_a_low_confidence_is_unknown(models):
    model = models["run"]
    answer = model.predict(image=noise_image(0))
    model.min_confidence = answer.confidence + 1e-3
    try:
        rejected = model.predict(image=noise_image(0))
    finally:
        model.min_confidence = 0.0
    assert (rejected.scene, rejected.reason) == ("unknown", "low confidence")
    assert rejected.scenes == answer.scenes
    assert '"scene": "unknown"' in rejected.to_json()


def test_the_signature_states_scene_confidence_and_reason(models):
    signature = models["saved_model"]._signatures["image_only"]
    blank = _image_bytes(np.full((40, 40, 3), 90, np.uint8))
    found = signature(image_bytes=[_image_bytes(noise_image(0)), blank, b"none"])
    scenes = found["scene"].numpy().tolist()
    answers = [models["run"].predict(image=noise_image(0)).scene, "unknown", ""]
    assert [scene.decode() for scene in scenes] == answers
    assert found["confidence"].numpy()[2] == 0
    texts = [text.decode() for text in found["reason"].numpy()]
    flags = found["reason_flags"].numpy()
    assert texts == [reason_text(row) for row in flags]
    assert (texts[0], texts[2]) == ("", "")


def test_a_run_without_the_file_checks_the_inputs_alone(tmp_path_factory):
    models = [load_model(copy_run(tmp_path_factory))]
    models.append(load_model(exported_litert(tmp_path_factory)))
    assert models[0].predictor.calibration is None
    clipped = np.sign(noise_sound(0)).astype(np.float32)
    for model in models:
        blank = model.predict(image=np.zeros((32, 32, 3), np.uint8))
        assert (blank.scene, blank.reason) == ("unknown", "blank image")
        for sound, reason in ((0 * clipped, "silent"), (clipped, "clipped")):
            answer = model.predict(sound=sound, rate_hz=RATE_HZ)
            assert (answer.scene, answer.reason) == ("unknown", f"{reason} sound")
        answer = model.predict(image=255 * (noise_image(0) > 90).astype(np.uint8))
        assert (answer.reason, answer.scene) == ("", answer.scenes[0][0])
    measured = models[0].measure([Example("black", image=np.zeros((8, 8, 3), "u1"))])
    assert measured.flags.tolist() == [[1, 0, 0, 0, 0]]


def test_a_run_without_the_file_has_the_temperature_1(tmp_path_factory):
    model = load_model(copy_run(tmp_path_factory))
    answer = model.predict(image=noise_image(0))
    assert "received zeros" in answer.notes[0]
    predictor = model.predictor
    inputs = predictor.inputs(noise_image(0)[None], np.zeros((1, 16_000), np.float32))
    inputs["log_mel"] = np.zeros_like(inputs["log_mel"])
    expected = softmax(predictor.predict(inputs).logits["scene_logits"])[0]
    found = [answer.scene_probs[name] for name in labels.scenes()]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", ["saved_model", "litert", "onnx"])
def test_an_export_states_which_reasons_it_lacks(models, kind):
    explainer = AnswerExplainer(models[kind].path)
    answer = explainer.explain(noise_image(0), (noise_sound(0), RATE_HZ))
    assert answer.prediction.ok
    assert answer.image_map is answer.log_mel_map is None
    assert answer.no_maps.startswith("An exported model has no activation maps")
    # ONNX files with an event head have no posteriors either.
    assert answer.no_events.startswith("This exported model has no posteriors")


def test_the_figures_of_int8_compare_the_answers(models, tmp_path):
    run = load_run(models["folder"])
    options = {"quantization": "int8", "calibration_pairs": 4, "min_agreement": 0}
    written = export_litert(run, tmp_path, **options)
    pairs = run.pairs_of("test")
    files = [
        {"image": run.data_dir / pair.image, "sound": run.data_dir / pair.sound}
        for pair in pairs
    ]
    before, after = (
        [model.predict(**given).scene for given in files]
        for model in (models["litert"], load_model(written.path))
    )
    figures = written.figures["signatures"]["recognize"]
    # The inputs of the run are far from those that its distances are fitted on.
    assert 0 < figures["unknown_float32"] == np.mean([a == "unknown" for a in before])
    assert figures["unknown"] == np.mean([b == "unknown" for b in after])
    equal = [a == b for a, b in zip(before, after, strict=True)]
    assert figures["equal_answers"] == pytest.approx(np.mean(equal))


def test_an_onnx_file_alone_has_calibrated_probabilities(models):
    inputs = models["run"].predictor.inputs(
        np.stack([noise_image(k) for k in range(3)]),
        np.stack([noise_sound(k) for k in range(3)]),
    )
    inputs["present"] = np.array([[1, 1], [1, 0], [0, 1]], np.float32)
    session = onnxruntime.InferenceSession(str(models["onnx"].path))
    names = ["scene_logits", "scene_probs", "confidence"]
    logits, probs, confidence = session.run(names, inputs)
    temperatures = np.array([TEMPERATURES[k] for k in ("both", "image", "sound")])
    expected = softmax(logits.astype(np.float64) / temperatures[:, None])
    np.testing.assert_allclose(probs, expected, atol=1e-6)
    np.testing.assert_allclose(confidence, expected.max(axis=1), atol=1e-6)
    # Without the temperatures they would differ.
    assert np.abs(softmax(logits) - expected).max() > 1e-3
