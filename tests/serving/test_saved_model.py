"""A SavedModel predicts what the model in memory predicts, row by row."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from advance_tf import labels
from advance_tf.serving import parity, saved_model
from advance_tf.serving.inference_model import InferenceModel
from tests.serving.factories import create_pairs, create_source, knowledge

PAIRS = create_pairs(7)


def written(folder, source, **options):
    """The signatures of a written and loaded SavedModel."""
    warmup = PAIRS[0]._asdict()
    saved_model.write_saved_model(
        folder, InferenceModel(source), warmup=warmup, **options
    )
    return tf.saved_model.load(str(folder)).signatures


def call(signature, pairs=PAIRS, **changes):
    given = {
        "image_bytes": [pair.image for pair in pairs],
        "sound_bytes": [pair.sound for pair in pairs],
    } | changes
    outputs = signature(**{k: tf.constant(v, tf.string) for k, v in given.items()})
    return {name: value.numpy() for name, value in outputs.items()}


@pytest.fixture(scope="module")
def source():
    return create_source()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of the SavedModel of `signatures`."""
    return tmp_path_factory.mktemp("saved") / "1"


@pytest.fixture(scope="module")
def signatures(source, folder):
    return written(folder, source)


@pytest.mark.parametrize(
    ("transfer", "given"),
    [
        ("kl_audio", {"knowledge": knowledge()}),
        ("event", {"knowledge": knowledge()}),
        ("none", {}),
    ],
)
def test_predictions_equal_those_in_memory_at_every_rate(tmp_path, transfer, given):
    source = create_source(transfer, **given)
    written(tmp_path / "1", source)
    assert_equal_to_memory(tmp_path / "1", source)


def test_predictions_of_an_event_head_equal_those_in_memory(folder, signatures, source):
    assert_equal_to_memory(folder, source)


def assert_equal_to_memory(folder, source):
    skew = parity.saved_model_skew(folder, source, parity.with_other_rates(PAIRS))
    assert set(skew) == {"bytes", "tensors"}
    assert max(skew.values()) <= 1e-5


@pytest.mark.parametrize("modality", ["image", "sound"])
def test_a_model_of_one_modality_has_its_own_signature(tmp_path, modality):
    source = create_source("none", modality)
    found = written(tmp_path / "1", source)
    other = {"image": "sound", "sound": "image"}[modality]
    assert f"{modality}_only" in found
    assert f"{other}_only" not in found
    assert parity.saved_model_skew(tmp_path / "1", source, PAIRS)["bytes"] <= 1e-5
    # A broken file of an unused input is not an error.
    broken = call(found["serving_default"], **{f"{other}_bytes": [b""] * len(PAIRS)})
    assert set(broken["status"]) == {b"ok"}


def test_a_skewed_artefact_is_refused(folder, signatures):
    other = create_source()
    kernel = other.recognizer.get_layer("scene_head").kernel
    kernel.assign(kernel * 1.01)
    with pytest.raises(ValueError, match=r"within 1e-05 .*; by bytes it differs by"):
        parity.saved_model_skew(folder, other, PAIRS)


def test_the_rounding_in_memory_is_measured_against_float64(source):
    decoded = parity.decode(source, PAIRS)
    expected = parity.reference_probs(source, decoded)
    assert 0 < parity.rounding(source, decoded, expected) < 1e-5
    wrong = {"scene_probs": expected["scene_probs"] + 0.25}
    assert parity.rounding(source, decoded, wrong) == pytest.approx(0.25, abs=1e-5)


def test_inputs_are_checked_without_a_calibration(source, signatures):
    assert source.calibration is None
    blank = tf.io.encode_png(np.full((8, 8, 3), 90, np.uint8)).numpy()
    images = [blank, PAIRS[0].image]
    found = signatures["image_only"](image_bytes=tf.constant(images))
    assert found["reason"].numpy().tolist() == [b"blank image", b""]
    assert found["scene"].numpy()[0] == b"unknown"


def test_names_are_ranked_and_complete(signatures):
    found = call(signatures["serving_default"])
    assert found["scene_names"][0].tolist() == [s.encode() for s in labels.scenes()]
    names = [event.name.encode() for event in labels.events()]
    assert found["event_names"][1].tolist() == names
    np.testing.assert_allclose(found["scene_probs"].sum(1), 1, atol=1e-5)
    for label, known in (("scene", labels.scenes()), ("event", None)):
        probs = found[f"{label}_probs"]
        best = np.argsort(-probs, axis=1, kind="stable")[:, :5]
        rows = np.arange(len(PAIRS))[:, None]
        np.testing.assert_array_equal(found[f"top_{label}_probs"], probs[rows, best])
        expected = found[f"{label}_names"][rows, best]
        np.testing.assert_array_equal(found[f"top_{label}_names"], expected)
        assert known is None or len(known) == probs.shape[1]


def test_a_bad_row_has_its_status_and_zeros(signatures):
    images = [pair.image for pair in PAIRS]
    images[2] = b"no image"
    unchanged = call(signatures["serving_default"])
    found = call(signatures["serving_default"], image_bytes=images)
    assert found["status"][2].startswith(b"the image must be")
    for name in ("scene_probs", "event_probs", "top_scene_probs"):
        np.testing.assert_array_equal(found[name][2], 0)
    assert set(found["top_event_names"][2]) == {b""}
    others = [row for row in range(len(PAIRS)) if row != 2]
    difference = found["scene_probs"][others] - unchanged["scene_probs"][others]
    assert np.abs(difference).max() < 1e-6


def test_tensors_that_are_not_finite_have_a_status(signatures):
    image = tf.zeros((2, 40, 50, 3), tf.uint8)
    for value in (np.nan, 1e20):
        waveform = tf.constant([[0.1, value], [0.1, 0.2]])
        found = signatures["features"](image=image, waveform=waveform)
        rule = "the waveform must be finite, within ±65536 and hold at least one sample"
        assert found["status"].numpy().tolist() == [rule.encode(), b"ok"]
    assert np.isfinite(found["scene_probs"]).all()


def test_bad_rows_fail_the_request_with_the_option(tmp_path, source):
    found = written(tmp_path / "1", source, bad_rows="error", top=3)
    assert call(found["serving_default"])["top_scene_probs"].shape == (7, 3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="the image must be"):
        call(found["serving_default"], image_bytes=[b"x"] * len(PAIRS))


def test_a_request_without_rows_is_refused(signatures):
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one row"):
        call(signatures["serving_default"], pairs=[])


def test_events_from_the_sound_are_not_predicted_for_an_image(tmp_path):
    found = written(tmp_path / "1", create_source("kl_audio"))
    contents = tf.constant([PAIRS[0].image])
    assert "event_probs" not in found["image_only"](image_bytes=contents)
    contents = tf.constant([PAIRS[0].sound])
    assert "event_probs" in found["sound_only"](sound_bytes=contents)


def test_a_model_of_images_predicts_no_events_from_the_sound(tmp_path):
    source = create_source("kl_audio", "image", knowledge=knowledge())
    found = written(tmp_path / "1", source)
    assert "event_probs" not in call(found["serving_default"])
    assert parity.saved_model_skew(tmp_path / "1", source, PAIRS)["bytes"] <= 1e-5


def test_the_event_head_can_be_left_out(tmp_path):
    found = written(tmp_path / "1", create_source(events=False))
    assert not [name for name in call(found["serving_default"]) if "event" in name]


def test_warmup_requests_can_be_run(folder, signatures):
    path = str(folder / saved_model.WARMUP)
    names = []
    for record in tf.data.TFRecordDataset(path):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        given = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(value) for key, value in given.items()}
        assert signatures[name](**inputs)["status"].numpy().tolist() == [b"ok"]
        names.append(name)
    assert sorted(names) == ["image_only", "serving_default", "sound_only"]


def test_a_version_is_written_completely_or_not_at_all(tmp_path):
    with saved_model.new_folder(tmp_path / "1") as folder:
        (folder / "a").touch()
        assert not (tmp_path / "1").exists()
        assert folder.name == "1"
        assert not folder.parent.name.isdecimal()
    assert (tmp_path / "1" / "a").exists()
    with pytest.raises(RuntimeError), saved_model.new_folder(tmp_path / "2"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["1"]
    with pytest.raises(ValueError, match="never overwritten"):
        with saved_model.new_folder(tmp_path / "1"):
            pass
    (tmp_path / "7").mkdir()
    (tmp_path / "note").mkdir()
    assert saved_model.next_version(tmp_path) == 8
    assert saved_model.next_version(tmp_path / "none") == 1
