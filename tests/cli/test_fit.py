"""`advance fit`, `pretrain` and `stats`: files and errors."""

import csv
import json

import numpy as np
import pytest
import soundfile

from advance_tf.config import FeatureConfig, ModelConfig
from advance_tf.models import weights
from advance_tf.models.recognizer import build_recognizer
from tests.commands import run_command
from tests.processes import run_program

SIZES = (
    "--image_size=32",
    "--clip_seconds=0.5",
    *("--image_depth=10", "--audio_depth=10", "--image_width=2", "--audio_width=2"),
)


def test_fit_trains_and_resumes_from_its_folder(fabricated_advance, tmp_path):
    workdir = tmp_path / "run"
    first = run_program(
        "fit",
        f"--data_dir={fabricated_advance}",
        f"--workdir={workdir}",
        *SIZES,
        "--modality=image",
        "--transfer=none",
        "--epochs=1",
        "--batch_size=13",
        f"--cache_dir={tmp_path / 'cache'}",
    )
    assert first[0] == 0, first[2]
    names = {path.name for path in workdir.iterdir()}
    assert names >= {"config.json", "manifest.csv", "best.weights.h5", "log.csv"}
    assert list((workdir / "tensorboard").rglob("*tfevents*"))
    refused = run_command("fit", f"--workdir={workdir}", "--learning_rate=0.5")
    assert refused[0] == 1
    assert "--learning_rate was 1e-05, now 0.5" in refused[2]
    before = (workdir / "log.csv").read_text()
    again = run_program("fit", f"--workdir={workdir}", "--epochs=2")
    assert again[0] == 0, again[2]
    # The first epoch is not trained again: its row is the same, with its seconds.
    after = (workdir / "log.csv").read_text()
    assert after.startswith(before)
    rows = list(csv.DictReader(after.splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert all(float(row["seconds"]) > 0 for row in rows)
    contents = json.loads((workdir / "config.json").read_text())
    assert contents["config"]["training"]["epochs"] == 2


def test_missing_knowledge_names_the_command_and_writes_nothing(
    fabricated_advance, tmp_path
):
    workdir = tmp_path / "run"
    status, _, error = run_command(
        "fit", f"--data_dir={fabricated_advance}", f"--workdir={workdir}"
    )
    assert status == 1
    assert "advance teach" in error
    assert not workdir.exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--data_dir=/nowhere", "--workdir=w"], "/nowhere"),
        (["--data_dir=x"], "--workdir must name the folder"),
        (["--workdir=w", "--epochs=3"], "--data_dir must name a folder"),
        (["--data_dir=x", "--workdir=w", "--alpha=-1"], "--alpha must be at least 0"),
    ],
)
def test_errors_of_fit_are_messages(given, named, tmp_path):
    status, _, error = run_command(
        "fit", *[flag.replace("=w", f"={tmp_path}") for flag in given]
    )
    assert status == 1
    assert named in error


def test_an_image_tower_is_pretrained_and_initializes_a_recognizer(tmp_path):
    import tensorflow as tf

    for name, level in (("dark", 40), ("light", 210)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            rng = np.random.default_rng(number)
            levels = np.clip(rng.normal(level, 20, (32, 32, 3)), 0, 255)
            encoded = tf.io.encode_png(levels.astype(np.uint8)).numpy()
            (tmp_path / "images" / name / f"{number}.png").write_bytes(encoded)
    workdir = tmp_path / "run"
    status, printed, error = run_command(
        "pretrain",
        "--tower=image",
        f"--data_dir={tmp_path / 'images'}",
        f"--workdir={workdir}",
        *SIZES,
        "--epochs=2",
        "--batch_size=4",
    )
    assert status == 0, error
    assert '"accuracy"' in printed
    _, metadata = weights.read_weights(workdir / "tower.npz")
    assert (metadata.tower, metadata.depth, metadata.outputs) == ("image", 10, 2)
    model = ModelConfig(
        image_depth=10,
        image_width=2,
        audio_depth=10,
        audio_width=2,
        image_weights=str(workdir / "tower.npz"),
    )
    features = FeatureConfig(image_size=32, clip_seconds=0.5)
    weights.load_pretrained(build_recognizer(model, features), model)
    again = run_command("pretrain", f"--workdir={workdir}", "--plateau_patience=9")
    assert again[0] == 1
    assert "changed: --plateau_patience" in again[2]


def test_an_audio_tower_is_pretrained_and_is_a_teacher(tmp_path):
    rows = ["clip,labels"]
    time_seconds = np.arange(8000) / 16_000
    for number in range(12):
        pitch_hz, label = ((300, "Speech"), (2500, "/m/05zppz"))[number % 2]
        wave = 0.4 * np.sin(2 * np.pi * pitch_hz * time_seconds)
        soundfile.write(tmp_path / f"{number}.wav", wave, 16_000)
        rows.append(f"{number}.wav,{label}")
    (tmp_path / "tags.csv").write_text("\n".join(rows) + "\n")
    status, printed, error = run_command(
        "pretrain",
        "--tower=audio",
        f"--data_dir={tmp_path}",
        f"--tags={tmp_path / 'tags.csv'}",
        f"--workdir={tmp_path / 'run'}",
        *SIZES,
        "--held_out=0.4",
        "--epochs=1",
        "--batch_size=4",
    )
    assert status == 0, error
    assert '"map"' in printed
    features = FeatureConfig(clip_seconds=0.5)
    tagger = weights.load_audio_tagger(tmp_path / "run" / "tower.npz", features)
    assert tagger.output["event_logits"].shape == (None, 527)


FILE, FOLDER = "--output must be a file", "--output_dir must be a folder"


@pytest.mark.parametrize(
    ("command", "flags", "rule"),
    [
        ("stats", "--data_dir={0} --workdir={0} --output={0}", FILE),
        ("compare", "--methods=a={0} --output={0}", FILE),
        ("convert", "--checkpoint={0}/a.pt --output={0}", FILE),
        ("evaluate", "--workdir={0} --output_dir={0}/a", FOLDER),
        ("figures", "--workdir={0} --output_dir={0}/a", FOLDER),
    ],
)
def test_an_output_is_checked_before_the_work(tmp_path, command, flags, rule):
    (tmp_path / "a").touch()
    status, _, error = run_command(command, *flags.format(tmp_path).split())
    assert status == 1
    assert error.startswith(f"error: {rule}; received")


def test_statistics_are_written_for_the_other_commands(fabricated_advance, tmp_path):
    status, printed, error = run_command(
        "stats",
        f"--data_dir={fabricated_advance}",
        f"--workdir={tmp_path}",
        "--clip_seconds=0.5",
        f"--output={tmp_path / 'stats.csv'}",
    )
    assert status == 0, error
    assert "91 training clips" in printed
    assert len((tmp_path / "stats.csv").read_text().splitlines()) == 65
