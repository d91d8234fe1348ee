"""The edge recognizer as a program, without TensorFlow."""

import functools
import json
import os
import re
import signal
import subprocess
import threading

import numpy as np
import pytest
import soundfile
from PIL import Image

from advance_tf import labels
from tests.export.edge_programs import (
    CLIP_SAMPLES,
    EDGE,
    IMAGE_SIZE,
    edge_module,
    expected_probs,
    write_small_model,
)
from tests.imports import ROOT

RATE_HZ = 22_050
INPUTS = edge_module("edge_inputs")
EVENTS = [event.name for event in labels.events()]


@pytest.fixture(scope="module")
def run(edge_python):
    """A function that runs the program: status, lines of output and of errors."""

    def run(*arguments, stdin=b""):
        done = subprocess.run(
            [edge_python, EDGE / "recognize.py", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            timeout=120,
            check=False,
        )
        stderr = done.stderr.decode()
        assert "Traceback" not in stderr, stderr
        noise = ("INFO:", "WARNING:")
        errors = [line for line in stderr.splitlines() if not line.startswith(noise)]
        return done.returncode, done.stdout.decode().splitlines(), errors

    return run


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Three places: a with both files, b with an image, c with a sound."""
    folder = tmp_path_factory.mktemp("places")
    rng = np.random.default_rng(0)
    for name in "ab":
        levels = rng.integers(0, 256, (50, 70, 3), np.uint8)
        Image.fromarray(levels).save(folder / f"{name}.jpg")
    for number, name in enumerate("ac"):
        samples = rng.uniform(-1, 1, 3 * RATE_HZ) * (0.1 + 0.5 * number)
        soundfile.write(folder / f"{name}.wav", samples, RATE_HZ)
    return folder


def expected_ranking(image=None, sound=None, top=5):
    """Scenes and events with their probabilities, best first."""
    probs = expected_probs(
        None if image is None else INPUTS.read_image(image, IMAGE_SIZE),
        None if sound is None else INPUTS.read_sound(sound, CLIP_SAMPLES),
    )
    return ranked(probs["scene_probs"], labels.scenes(), top), ranked(
        probs["event_probs"], EVENTS, top
    )


def ranked(probs, names, top):
    return [(names[k], probs[k]) for k in np.argsort(-probs)[:top]]


def check_ranking(prediction, expected, atol=1e-5):
    for kind, ranking in zip(("scenes", "events"), expected, strict=True):
        found = prediction[kind]
        assert [name for name, _ in found] == [name for name, _ in ranking]
        probs = [prob for _, prob in found]
        np.testing.assert_allclose(probs, [prob for _, prob in ranking], atol=atol)


def test_tensorflow_and_advance_tf_are_not_installed(edge_python):
    for package in ("tensorflow", "keras", "advance_tf"):
        command = [edge_python, "-c", f"import {package}"]
        done = subprocess.run(command, cwd=EDGE, capture_output=True, check=False)
        assert b"ModuleNotFoundError" in done.stderr, package


def test_its_requirements_are_those_of_the_project():
    pins = [
        line
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
    ]
    text = (EDGE / "requirements.txt").read_text(encoding="utf-8")
    wanted = [line for line in text.splitlines() if not line.startswith("#")]
    assert {re.split("==", line)[0] for line in wanted} == {
        *("ai-edge-litert", "numpy", "pillow", "soundfile")
    }
    assert set(wanted) <= set(pins)


@pytest.mark.parametrize("kinds", [("image", "sound"), ("image",), ("sound",)])
def test_one_place(run, edge_model, places, kinds):
    paths = {"image": places / "a.jpg", "sound": places / "c.wav"}
    given = {kind: paths[kind] for kind in kinds}
    flags = [part for kind, path in given.items() for part in (f"--{kind}", path)]
    status, lines, errors = run(edge_model, *flags, "--json", "--top", 3)
    assert (status, errors, len(lines)) == (0, [], 1)
    prediction = json.loads(lines[0])
    answer = {"scene", "confidence", "reason"}
    assert prediction.keys() == answer | {
        *("name", "inputs", "scenes", "events", "seconds")
    }
    assert [prediction["scene"], prediction["confidence"]] == prediction["scenes"][0]
    assert prediction["name"] == next(iter(given.values())).stem
    check_ranking(prediction, expected_ranking(**given, top=3))
    assert 0 < prediction["seconds"] < 60


def test_a_reason_makes_the_scene_unknown(run, edge_model, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    path = tmp_path / "black.png"
    status, lines, _ = run(edge_model, "--image", path, "--json")
    prediction = json.loads(lines[0])
    assert (status, prediction["scene"]) == (0, "unknown")
    assert prediction["reason"] == "dark image"
    assert prediction["confidence"] == prediction["scenes"][0][1]
    _, lines, _ = run(edge_model, "--image", path)
    assert "  unknown: dark image" in lines


def test_a_folder_is_paired_by_stem_and_a_bad_file_is_reported(
    run, edge_model, places, tmp_path
):
    (tmp_path / "bad.jpg").write_bytes((places / "a.jpg").read_bytes()[:900])
    (tmp_path / "worse.wav").write_bytes((places / "a.wav").read_bytes()[:900])
    folders = [places, tmp_path]
    status, lines, errors = run(
        edge_model, "--image", *folders, "--sound", *folders, "--json"
    )
    predictions = {
        prediction["name"]: prediction for prediction in map(json.loads, lines)
    }
    assert status == 1
    assert sorted(predictions) == ["a", "b", "c"]
    check_ranking(
        predictions["a"], expected_ranking(places / "a.jpg", places / "a.wav")
    )
    check_ranking(predictions["b"], expected_ranking(image=places / "b.jpg"))
    check_ranking(predictions["c"], expected_ranking(sound=places / "c.wav"))
    assert len(errors) == 2
    assert errors[0].startswith(f"error: bad: {tmp_path / 'bad.jpg'}")
    assert "truncated" in errors[1]


def test_text_has_the_most_probable_scene_and_the_label(run, places, tmp_path):
    model = write_small_model(tmp_path / "labelled.tflite", label="invented data")
    status, lines, _ = run(model, "--image", places / "a.jpg", "--top", 1)
    (scene, prob), *_ = expected_ranking(image=places / "a.jpg")[0]
    assert status == 0
    assert lines[0] == "*** invented data ***"
    assert lines[1] == "a (image)"
    assert f"{100 * prob:.2f} % {scene}" in lines[3]
    _, lines, _ = run(model, "--image", places / "a.jpg", "--json")
    assert json.loads(lines[0])["label"] == "invented data"


def test_events_from_the_sound_are_not_predicted_for_an_image(run, places, tmp_path):
    model = write_small_model(tmp_path / "sound.tflite", events_of_sound=True)
    image, sound = places / "a.jpg", places / "a.wav"
    _, lines, _ = run(
        model, "--image", image, places / "b.jpg", "--sound", sound, "--json"
    )
    both, alone = map(json.loads, lines)
    assert len(both["events"]) == 5
    assert alone["events"] == []
    assert len(alone["scenes"]) == 5


def test_a_model_of_images_ignores_sounds(run, places, tmp_path):
    model = write_small_model(tmp_path / "image.tflite", modality="image")
    flags = ("--image", places, "--sound", places, "--json")
    status, lines, errors = run(model, *flags)
    predictions = [json.loads(line) for line in lines]
    assert [prediction["inputs"] for prediction in predictions] == [["image"]] * 2
    check_ranking(predictions[0], expected_ranking(image=places / "a.jpg"))
    assert status == 1
    assert errors == ["error: c: This model uses an image only; received none."]
    status, _, errors = run(model, "--pcm", 16_000)
    assert (status, len(errors)) == (1, 1)


def pcm(seconds, rate_hz, channels=1):
    """Noise of increasing amplitude, int16 [frames, channels]."""
    frames = round(seconds * rate_hz)
    amplitude = np.linspace(0.05, 0.9, frames)[:, None]
    samples = np.random.default_rng(0).uniform(-1, 1, (frames, channels)) * amplitude
    return (samples * 32_767).astype("<i2")


def clip_of(samples, rate_hz):
    waveform = samples.astype(np.float32).mean(1) / 32_768
    return INPUTS.fit_clip(INPUTS.resample(waveform, rate_hz), CLIP_SAMPLES)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2)])
def test_a_stream_is_predicted_from_its_last_ten_seconds(
    run, edge_model, places, rate_hz, channels
):
    samples = pcm(25, rate_hz, channels)
    flags = ("--pcm", rate_hz, "--channels", channels, "--every", 8, "--json")
    image = INPUTS.read_image(places / "b.jpg", IMAGE_SIZE)
    for shown in (None, image):
        more = () if shown is None else ("--image", places / "b.jpg")
        status, lines, errors = run(edge_model, *flags, *more, stdin=samples.tobytes())
        assert (status, errors) == (0, [])
        predictions = [json.loads(line) for line in lines]
        assert [p["name"] for p in predictions] == ["8.0 s", "16.0 s", "24.0 s"]
        for seconds, prediction in zip((8, 16, 24), predictions, strict=True):
            last = samples[max(0, seconds - 10) * rate_hz : seconds * rate_hz]
            probs = expected_probs(shown, clip_of(last, rate_hz))
            scenes = ranked(probs["scene_probs"], labels.scenes(), 5)
            events = ranked(probs["event_probs"], EVENTS, 5)
            check_ranking(prediction, (scenes, events))


def test_streams_too_short_and_empty(run, edge_model):
    stream = pcm(3, 16_000).tobytes()
    status, lines, errors = run(edge_model, "--pcm", 16_000, stdin=stream)
    assert (status, len(lines), errors) == (0, 1, [])
    assert lines[0].startswith("3.0 s (waveform) | scenes | ")
    status, lines, errors = run(edge_model, "--pcm", 16_000)
    assert (status, lines, len(errors)) == (1, [], 1)


@pytest.mark.parametrize("ending", ["interrupt", "closed pipe"])
def test_an_endless_stream_ends_cleanly(edge_python, edge_model, ending):
    """The first prediction is printed before the stream ends; then it is stopped."""
    flags = ["--pcm", "16000", "--every", "1"]
    command = [edge_python, EDGE / "recognize.py", edge_model, *flags]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    # A test in a background job inherits ignored interrupts.
    restore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    # The program must flush its output also without this variable.
    environment = os.environ.copy()
    environment.pop("PYTHONUNBUFFERED", None)
    with subprocess.Popen(
        command, **pipes, bufsize=0, env=environment, preexec_fn=restore
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        second = pcm(1, 16_000).tobytes()
        process.stdin.write(second)
        assert process.stdout.readline().startswith(b"1.0 s")
        if ending == "interrupt":
            process.send_signal(signal.SIGINT)
        else:
            process.stdout.close()
            process.stdin.write(second)
        stderr = process.stderr.read().decode()
        watchdog.cancel()
        assert process.wait(timeout=60) == 0
    assert all(line.startswith("INFO:") for line in stderr.splitlines()), stderr


def test_the_benchmark_measures_model_and_reading(run, edge_model, places):
    flags = ("--image", places / "a.jpg", "--sound", places / "a.wav")
    status, lines, _ = run(edge_model, *flags, "--benchmark", 4, "--json")
    measured = json.loads(lines[0])
    assert (status, measured["runs"]) == (0, 4)
    model, both = measured["model_ms"], measured["reading_and_model_ms"]
    assert 0 < model["median"] <= model["p95"]
    assert model["median"] < both["median"] <= both["p95"] < 60_000
    assert 20 < measured["peak_memory_mib"] < 2_000
    _, lines, _ = run(edge_model, *flags, "--benchmark", 1)
    assert re.search(r"model: median [\d.]+ ms, p95 [\d.]+ ms", lines[1])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "Give --image, --sound or --pcm"),
        (("--image", "missing.jpg"), "missing.jpg"),
        (("--image", "a.jpg", "--top", "0"), "--top"),
        (("--pcm", "100"), "8000 to 192000"),
        (("--pcm", "16000", "--channels", "9"), "1 to 8"),
        (("--pcm", "16000", "--sound", "a.wav"), "--pcm may be given with"),
        (("--pcm", "16000", "--every", "nan"), "--every"),
        (("--wrong",), "--wrong"),
    ],
)
def test_errors_are_one_line(run, edge_model, flags, message):
    status, lines, errors = run(edge_model, *flags)
    assert (status, lines, len(errors)) == (1, [], 1)
    assert errors[0].startswith("error: ")
    assert message in errors[0]


def test_a_file_that_is_not_a_model_is_named(run, edge_model, places, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(os.urandom(100))
    for path in (bare, tmp_path / "missing.tflite", places / "a.jpg"):
        status, lines, errors = run(path, "--image", places / "a.jpg")
        assert (status, lines, len(errors)) == (1, [], 1)
        assert str(path) in errors[0]


def test_an_export_predicts_what_the_model_in_memory_predicts(
    run, exported_lite, exported_run, media
):
    from advance_tf.inference.backends import RunModel
    from advance_tf.inference.predictor import Predictor

    model = RunModel(Predictor.from_run(exported_run))
    for number in range(3):
        files = media / f"{number}.jpg", media / f"{number}.wav"
        status, lines, errors = run(
            *(exported_lite, "--image", files[0]),
            *("--sound", files[1], "--json", "--top", 13),
        )
        assert (status, errors) == (0, [])
        found = dict(json.loads(lines[0])["scenes"])
        expected = model.predict(*files).scene_probs
        assert found == pytest.approx(expected, abs=1e-4)


def test_embeddings_get_no_runner(exported_lite):
    model = edge_module("edge_model").Model(str(exported_lite), 1)
    assert "embed" in model._interpreter.get_signature_list()
    assert set(model._runners) == {"recognize", "image_only", "sound_only"}
