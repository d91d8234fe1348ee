"""`advance export`: files, errors, and that nothing incomplete is written."""

import json

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf

from advance_tf import labels
from advance_tf.inference.loading import load_model
from advance_tf.runs.workdir import load_run
from advance_tf.serving import agreement, verify_export
from tests.commands import run_command
from tests.serving.test_signing import write_keys
from tests.untrained_run import copy_run


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return copy_run(tmp_path_factory)


def first_pair(workdir):
    """The first image of the run's data, and the sound of the same place."""
    image = min((workdir / "data").glob("vision/*/*.jpg"))
    return image, workdir / "data" / "sound" / image.parent.name / f"{image.stem}.wav"


def test_versions_are_numbered_and_equal_predict(workdir, tmp_path):
    flags = f"--workdir={workdir}", f"--export_dir={tmp_path / 'models'}"
    private, public = write_keys(tmp_path / "keys")
    (tmp_path / "models" / "1").mkdir(parents=True)
    status, printed, error = run_command("export", *flags, f"--signing_key={private}")
    assert status == 0, error
    folder = tmp_path / "models" / "2"
    assert str(folder) in printed
    assert not list((tmp_path / "models" / "1").iterdir())
    verify_export(folder, public)
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "synthetic data" in card
    assert "leaky" in card
    assert "Not evaluated" in card
    assert (folder / "assets" / "events.csv").is_file()
    image, sound = first_pair(workdir)
    _, printed, _ = run_command(
        *("predict", f"--workdir={workdir}", f"--image={image}"),
        *(f"--sound={sound}", "--json", "--top=13"),
    )
    ranking = json.loads(printed)["scenes"]
    probs = {entry["name"]: entry["probability"] for entry in ranking}
    outputs = tf.saved_model.load(str(folder)).signatures["serving_default"](
        image_bytes=tf.constant([image.read_bytes()]),
        sound_bytes=tf.constant([sound.read_bytes()]),
    )
    expected = [probs[scene] for scene in labels.scenes()]
    np.testing.assert_allclose(outputs["scene_probs"][0], expected, atol=1e-5)


@pytest.fixture
def measured(monkeypatch):
    """Sets the agreement that an export measures for `recognize`."""
    measure = agreement.measure

    def set_to(value):
        def measured(*given):
            figures = measure(*given)
            figures["signatures"]["recognize"]["agreement"] = value
            return figures

        monkeypatch.setattr(agreement, "measure", measured)

    return set_to


def test_int8_is_written_with_its_figures(workdir, tmp_path, measured):
    # The least that is accepted without --min_agreement.
    measured(0.97)
    status, printed, error = run_command(
        *("export", f"--workdir={workdir}", f"--export_dir={tmp_path / 'edge'}"),
        *("--format=tflite", "--quantization=int8", "--calibration_pairs=4"),
    )
    assert status == 0, error
    assert "recognize: agreement with float32 0.9700" in printed
    folder = tmp_path / "edge" / "1"
    figures = json.loads((folder / "figures.json").read_text())
    assert figures["min_agreement"] == 0.97
    assert figures["bytes"] == (folder / "advance-int8.tflite").stat().st_size
    image, sound = first_pair(workdir)
    expected, found = (
        load_model(path).predict(image=image, sound=sound)
        for path in (workdir, folder / "advance-int8.tflite")
    )
    # The logits, up to one number for all: the probabilities of this run are near 0, 1.
    before, after = (
        np.log([answer.scene_probs[scene] for scene in labels.scenes()])
        for answer in (expected, found)
    )
    difference = np.abs(after - before).max()
    assert 1e-4 * np.ptp(before) < difference < 0.03 * np.ptp(before)
    assert "CONV_2D" in figures["operators"]
    # Towers of 16 channels at most, whose biases and first convolution are a tenth.
    for shares in figures["weights"].values():
        assert sum(shares.values()) == pytest.approx(1)
        assert shares["8 bits"] > 0.5
    card = (folder / "model_card.md").read_text()
    assert "int8" in card
    share = figures["weights"]["sound"]["8 bits"]
    assert f"sound tower, share of the bytes of weights in 8 bits | {share:.4g}" in card


def test_onnx_is_written_with_labels(workdir, tmp_path):
    status, printed, error = run_command(
        *("export", f"--workdir={workdir}", f"--export_dir={tmp_path / 'onnx'}"),
        "--format=onnx",
    )
    assert status == 0, error
    folder = tmp_path / "onnx" / "1"
    assert str(folder / "advance.onnx") in printed
    assert len(json.loads((folder / "labels.json").read_text())["events"]) == 527
    session = onnxruntime.InferenceSession(str(folder / "advance.onnx"))
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.uniform(0, 255, (2, 32, 32, 3)).astype(np.float32),
        "log_mel": rng.normal(size=(2, 40, 64)).astype(np.float32),
    }
    found = session.run(["scene_logits"], inputs)[0]
    expected = load_run(workdir).recognizer.predict(inputs, verbose=0)
    largest = np.abs(expected["scene_logits"]).max()
    np.testing.assert_allclose(found, expected["scene_logits"], atol=1e-5 * largest)


@pytest.mark.parametrize(
    ("flags", "found", "least"),
    [
        (["--quantization=float16"], 0.989, "0.99"),
        (["--quantization=float16", "--min_agreement=0.9"], 0.89, "0.9"),
    ],
)
def test_a_low_agreement_writes_nothing(
    workdir, tmp_path, measured, flags, found, least
):
    measured(found)
    status, _, error = run_command(
        *("export", f"--workdir={workdir}", f"--export_dir={tmp_path / 'edge'}"),
        *("--format=tflite", *flags),
    )
    assert status == 1
    assert f"must agree with float32 on at least {least} of the pairs" in error
    assert not list((tmp_path / "edge").iterdir())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--export_dir must name the folder to write"),
        (["--export_dir={out}", "--data_dir=nowhere"], "must exist: an export is"),
        (["--export_dir={taken}", "--version=1"], "never overwritten"),
        (
            ["--export_dir={out}", "--format=onnx", "--quantization=int8"],
            "--quantization must be used with --format=tflite; received --format=onnx.",
        ),
        (
            ["--export_dir={out}", "--format=tflite", "--bad_rows=error"],
            "--bad_rows must be used with --format=saved_model; received",
        ),
        (
            ["--export_dir={out}", "--format=onnx", "--top=5"],
            "--top must be used with --format=saved_model; received --format=onnx.",
        ),
        (
            ["--export_dir={out}", "--min_agreement=0.5"],
            "--min_agreement must be used with --format=tflite",
        ),
        (
            ["--export_dir={out}", "--format=tflite", "--min_agreement=0.5"],
            "--min_agreement must be used with a quantization other than none; rec",
        ),
        (
            [
                *("--export_dir={out}", "--format=tflite", "--quantization=dynamic"),
                "--calibration_pairs=5",
            ],
            "must be used with --quantization=int8; received --quantization=dynamic.",
        ),
    ],
)
def test_errors_are_one_line(workdir, tmp_path, flags, message):
    (tmp_path / "taken" / "1").mkdir(parents=True)
    folders = {"out": tmp_path / "out", "taken": tmp_path / "taken"}
    given = [flag.format(**folders) for flag in flags]
    status, _, error = run_command("export", f"--workdir={workdir}", *given)
    assert status == 1
    assert message in error
