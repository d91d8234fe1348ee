"""One contract for a run, a SavedModel, a LiteRT and an ONNX file."""

import io
import json
import pathlib
import shutil
import zipfile

import numpy as np
import onnx
import pytest
import soundfile
import tensorflow as tf

from advance_tf import labels
from advance_tf.checksums import replacing_checked
from advance_tf.inference.backends import SAVED_MODEL_METADATA, SHA256_FLATBUFFER
from advance_tf.inference.examples import Example
from advance_tf.inference.loading import load_model
from advance_tf.runs.workdir import load_run
from advance_tf.training.callbacks import BEST_WEIGHTS

KINDS = ("run", "saved_model", "litert", "onnx")
# The tolerances of the exporter.
TOLERANCE = {"run": 1e-6, "saved_model": 1e-5, "litert": 1e-4, "onnx": 1e-4}


@pytest.fixture(scope="module")
def media(tmp_path_factory) -> dict[str, object]:
    """One place as paths, as bytes and as arrays."""
    rng = np.random.default_rng(7)
    pixels = rng.integers(0, 256, (8, 9, 3), np.uint8).repeat(6, 0).repeat(6, 1)
    stereo = rng.normal(0, 0.1, (30_000, 2)).astype(np.float32)
    folder = tmp_path_factory.mktemp("media")
    (folder / "a.png").write_bytes(tf.io.encode_png(pixels).numpy())
    file = io.BytesIO()
    soundfile.write(file, stereo, 22_050, format="WAV", subtype="FLOAT")
    (folder / "a.wav").write_bytes(file.getvalue())
    (folder / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "bad.wav").write_bytes(b"RIFF\x04\x00\x00\x00WAVE")
    return {
        "folder": folder,
        "paths": {"image": folder / "a.png", "sound": str(folder / "a.wav")},
        "bytes": {
            "image": (folder / "a.png").read_bytes(),
            "sound": file.getvalue(),
        },
        "arrays": {"image": pixels, "sound": stereo, "rate_hz": 22_050},
        "pair": {"image": pixels, "sound": (stereo, 22_050)},
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["paths", "bytes", "arrays", "pair"])
def test_every_form_of_input_gives_the_same_prediction(models, media, kind, form):
    expected = models["run"].predict(**media["paths"])
    found = models[kind].predict(**media[form])
    assert found.status == "ok"
    assert set(found.scene_probs) == set(labels.scenes())
    assert found.scene_probs == pytest.approx(expected.scene_probs, abs=TOLERANCE[kind])
    assert found.event_probs == pytest.approx(expected.event_probs, abs=TOLERANCE[kind])
    assert found.scenes[0][0] == max(found.scene_probs, key=found.scene_probs.get)
    assert (found.scene, found.reason) == (expected.scene, expected.reason)
    assert found.event_source == expected.event_source
    assert found.label == expected.label
    path = str(media["folder"] / "a.png")
    assert found.image == (path if form == "paths" else None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["image", "sound"])
def test_one_input_alone(models, media, kind, given):
    only = {given: media["paths"][given]}
    expected = models["run"].predict(**only)
    found = models[kind].predict(**only)
    assert found.scene_probs == pytest.approx(expected.scene_probs, abs=TOLERANCE[kind])
    assert found.notes == expected.notes
    assert any("the answer is from the" in note for note in found.notes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_example_has_a_status_and_the_others_are_predicted(models, media, kind):
    folder: pathlib.Path = media["folder"]
    examples = [
        media["paths"],
        {"image": folder / "bad.jpg", "sound": folder / "a.wav"},
        {"image": folder / "a.png", "sound": folder / "bad.wav"},
        {"image": folder / "nowhere.png"},
        {"sound": folder / "a.mp3"},
        {"image": media["arrays"]["image"].astype(np.float32)},
        {"sound": (np.full(9, np.nan, np.float32), 16_000)},
        {"sound": np.zeros(9, np.float32), "rate_hz": 100},
        (None, None),
        {"sound": np.zeros(9, np.float32), "rate_hz": 22_050.5},
        {"sound": np.zeros(9, np.float32), "rate_hz": "22050"},
        {"sound": (np.zeros(9, np.float32), 16_000, 1)},
        ("a.jpg", "a.wav", 16_000),
        {"rate_hz": 16_000},
        {"sound": [0.0, 0.5], "rate_hz": 16_000},
        media["arrays"] | {"rate_hz": 22_050.0},
    ]
    found = list(models[kind].predict_batch(examples, batch_size=4))
    assert [one.ok for one in found] == [True, *[False] * 14, True]
    for one, name in zip(
        found[1:5], ["bad.jpg", "bad.wav", "nowhere.png", "a.mp3"], strict=True
    ):
        assert str(folder / name) in one.status
        assert one.scenes == one.events == ()
    assert "uint8 [H, W, 3]" in found[5].status
    assert "finite" in found[6].status
    assert "8000 to 192000 Hz" in found[7].status
    assert "received 22050.5" in found[9].status
    assert "received '22050'" in found[10].status
    assert "received a tuple of length 3" in found[11].status
    assert "received tuple of length 3" in found[12].status
    assert "must have an image or a sound" in found[13].status
    assert "a path, bytes or an array; received list" in found[14].status
    assert found[0].scene_probs == pytest.approx(found[15].scene_probs, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_of_1e20_is_a_status_and_no_probability_is_nan(models, media, kind):
    sounds = []
    for value in (0.5, 1e20, np.nan, np.inf):
        file = io.BytesIO()
        samples = np.append(np.zeros(16_000, np.float32), np.float32(value))
        soundfile.write(file, samples, 16_000, format="WAV", subtype="FLOAT")
        sounds.append(file.getvalue())
    examples = [media["paths"] | {"sound": sound} for sound in sounds]
    found = list(models[kind].predict_batch(examples, batch_size=4))
    assert [one.ok for one in found] == [True, False, False, False]
    for one in found[1:]:
        assert "a sample that is NaN, infinite or beyond ±65536" in one.status
        assert one.scenes == one.events == ()
    assert np.isfinite(list(found[0].scene_probs.values())).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_rate_of_a_file_is_that_of_its_header(models, media, kind):
    model, paths = models[kind], media["paths"]
    expected = model.predict(sound=paths["sound"])
    examples = [
        {"sound": paths["sound"], "rate_hz": 8_000},
        {"sound": (paths["sound"], 8_000)},
        Example("a", sound=(paths["sound"], 8_000)),
    ]
    for found in model.predict_batch(examples):
        assert (found.status, found.name) == ("ok", "a")
        assert found.sound == paths["sound"]
        assert found.scene_probs == pytest.approx(expected.scene_probs, abs=1e-6)
    wrong = model.predict(sound=("lake.mp3", 16_000))
    assert "lake.mp3 must exist" in wrong.status
    assert model.predict(image=paths["image"], rate_hz=16_000).ok
    with pytest.raises(ValueError, match="must have an image or a sound"):
        model.predict(rate_hz=16_000)


def test_a_run_states_the_source_of_its_events_before_a_prediction(models):
    model = load_model(models["folder"])
    assert model.event_source == "event head (audiovisual_event_logits)"
    assert not model.events_from_sound


def test_load_model_opens_a_run_in_memory(models, media):
    found = load_model(load_run(models["folder"])).predict(**media["paths"])
    expected = models["run"].predict(**media["paths"])
    assert found.scene_probs == pytest.approx(expected.scene_probs, abs=1e-6)
    assert found.label == expected.label


@pytest.mark.parametrize("kind", KINDS)
def test_embeddings(models, media, kind):
    expected = models["run"].embed(**media["paths"])
    found = models[kind].embed(**media["arrays"])
    assert expected.joint.shape == (2 * expected.image.size,)
    for name in ("image", "sound", "joint"):
        reference = getattr(expected, name)
        scale = np.abs(reference).max()
        np.testing.assert_allclose(
            getattr(found, name), reference, atol=1e-3 * scale, err_msg=name
        )
    alone = models[kind].embed(image=media["paths"]["image"])
    assert alone.sound is None
    assert alone.joint is None
    np.testing.assert_allclose(alone.image, found.image, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="cannot be decoded|must be a valid"):
        models[kind].embed(image=media["folder"] / "bad.jpg")


def test_other_paths_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "b.tflite").write_bytes(b"no flatbuffer")
    (tmp_path / "c.onnx").write_bytes(b"no graph")
    with pytest.raises(ValueError, match=r"must be the folder of a run .* received"):
        load_model(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"must be the folder of a run"):
        load_model(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"must be a file of `advance export`"):
        load_model(tmp_path / "b.tflite")
    with pytest.raises(ValueError, match=r"must be an ONNX file of `advance export`"):
        load_model(tmp_path / "c.onnx")


def test_damaged_weights_of_a_run_are_refused(models, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(models["folder"], folder)
    path = folder / BEST_WEIGHTS
    with replacing_checked(path) as temporary:
        shutil.copy(models["folder"] / BEST_WEIGHTS, temporary)
    load_model(folder)
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)
    with pytest.raises(ValueError, match=r"best\.weights\.h5 is damaged"):
        load_model(folder)


@pytest.mark.parametrize("contents", ["{", "{}", "[]", '{"modality": 3}'])
def test_damaged_metadata_of_a_saved_model_is_named(contents, tmp_path):
    path = tmp_path / SAVED_MODEL_METADATA
    path.parent.mkdir()
    path.write_text(contents)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    rule = "metadata.json must describe the SavedModel; reading it failed: .* again"
    with pytest.raises(ValueError, match=rule):
        load_model(tmp_path)


def flipped(contents, place):
    changed = bytearray(contents)
    changed[place] ^= 1
    return bytes(changed)


@pytest.mark.parametrize(
    "name", ["saved_model.pb", SAVED_MODEL_METADATA, "assets/events.csv"]
)
def test_a_changed_byte_of_a_saved_model_is_refused(models, tmp_path, name):
    folder = tmp_path / "1"
    shutil.copytree(models["saved_model"].path, folder)
    # Whoever writes about the model changes nothing that is read.
    (folder / "model_card.md").write_text("notes")
    contents = (folder / name).read_bytes()
    (folder / name).write_bytes(flipped(contents, len(contents) // 2))
    with pytest.raises(ValueError, match=rf"{name} is damaged: .* Restore it from"):
        load_model(folder)
    (folder / "checksums.json").unlink()
    (folder / "saved_model.pb").write_bytes(b"\x0a\x05no")
    # As one of an earlier version.
    with pytest.raises(
        ValueError, match="must (be a complete|describe the) SavedModel"
    ):
        load_model(folder)


def test_a_changed_byte_of_a_litert_file_is_refused(models, tmp_path):
    path, contents = tmp_path / "a.tflite", models["litert"].path.read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(contents))
    start = archive.getinfo("metadata.json").header_offset
    for place in (start // 2, start - 1):
        path.write_bytes(flipped(contents, place))
        with pytest.raises(ValueError, match=r"a\.tflite is damaged: .* Copy it again"):
            load_model(path)
    # In the metadata, which the archive checks.
    path.write_bytes(flipped(contents, start + 200))
    with pytest.raises(ValueError, match=r"a\.tflite must be a file of .* Bad CRC-32"):
        load_model(path)


def test_a_litert_file_without_a_checksum_is_opened(models, tmp_path):
    """As one of an earlier version, whose flatbuffer may be damaged too."""
    contents = models["litert"].path.read_bytes()
    archive = zipfile.ZipFile(io.BytesIO(contents))
    metadata = json.loads(archive.read("metadata.json"))
    metadata.pop(SHA256_FLATBUFFER)
    body = contents[: archive.getinfo("metadata.json").header_offset]
    path = tmp_path / "a.tflite"
    for start, problem in ((body[:64], ""), (b"\0" * 64, "must be a complete file")):
        path.write_bytes(start + body[64:])
        with zipfile.ZipFile(path, "a") as written:
            written.writestr("metadata.json", json.dumps(metadata))
        if problem:
            with pytest.raises(ValueError, match=rf"a\.tflite {problem} .* again"):
                load_model(path)
        else:
            assert load_model(path).modality == "both"


def test_a_changed_byte_of_an_onnx_file_is_refused(models, tmp_path):
    path, contents = tmp_path / "a.onnx", models["onnx"].path.read_bytes()
    stored = onnx.load(models["onnx"].path).graph.initializer
    weights = contents.index(max((one.raw_data for one in stored), key=len)) + 9
    # In the weights; in the key and the value of the checksum at the end.
    for place in (weights, len(contents) - 70, len(contents) - 1):
        path.write_bytes(flipped(contents, place))
        with pytest.raises(ValueError, match=r"a\.onnx is damaged: .* Copy it again"):
            load_model(path)
    path.write_bytes(contents[:-40])
    with pytest.raises(ValueError, match=r"a\.onnx "):
        load_model(path)
    path.write_bytes(contents)
    assert load_model(path).modality == "both"
