"""`advance split`, `prepare` and `download`: output, errors and exit status."""

import re

import numpy as np
import pytest
import soundfile

from advance_tf.data.manifest import Manifest
from tests.commands import run_command
from tests.data.factories import write_files, write_pair_files


@pytest.fixture
def data_dir(tmp_path):
    write_pair_files(tmp_path / "data", *(f"sports land/{n:05d}" for n in range(10)))
    return tmp_path / "data"


def test_split_writes_a_manifest_and_prints_its_counts(data_dir, tmp_path):
    flags = f"--data_dir={data_dir}", f"--workdir={tmp_path / 'run'}"
    status, printed, _ = run_command("split", *flags)
    assert status == 0
    rows = [line.split() for line in printed.splitlines()]
    assert ["sports", "land", "7", "(7)", "1", "(1)", "2", "(2)"] in rows
    assert ["all", "7", "(7)", "1", "(1)", "2", "(2)"] in rows
    manifest = Manifest.load(tmp_path / "run" / "manifest.csv")
    assert len(manifest.pairs) == 10
    assert run_command("split", *flags)[0] == 0
    status, _, error = run_command("split", *flags, "--split_seed=1")
    assert status == 1
    assert "it holds another split" in error
    assert Manifest.load(tmp_path / "run" / "manifest.csv") == manifest


def test_split_by_pair_states_that_it_leaks(data_dir, tmp_path):
    path = tmp_path / "pairs.csv"
    status, printed, _ = run_command(
        *("split", f"--data_dir={data_dir}", f"--manifest={path}"),
        "--split_protocol=pair",
    )
    assert status == 0
    assert "leaky: places shared between training and test" in printed


def test_split_names_bad_files_or_counts_them(data_dir, tmp_path):
    write_files(data_dir, "vision/sports land/00010.jpg")
    flags = f"--data_dir={data_dir}", f"--workdir={tmp_path / 'run'}"
    status, _, error = run_command("split", *flags)
    assert status == 1
    assert "unpaired image (1): vision/sports land/00010.jpg" in error
    assert "--allow_missing" in error
    status, _, warned = run_command("split", *flags, "--allow_missing")
    assert status == 0
    assert "unpaired image (1)" in warned


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Either --manifest or --workdir must name where to write; received neith"),
        (["--workdir=run"], "--data_dir must name"),
        (["--workdir=run", "--manifest=a.csv"], "Either .*; received both"),
    ],
)
def test_split_names_a_missing_flag(flags, message):
    status, _, error = run_command("split", *flags)
    assert status == 1
    assert re.match(f"error: {message}", error)


def test_prepare_counts_and_fails_for_a_bad_file(tmp_path):
    write_files(tmp_path / "images", "lake/00001.jpg", contents=b"\xff\xd8\xff\xe0")
    write_files(tmp_path / "images", "lake/00002.jpg", contents=b"\xff\xd8\xff\xe0")
    write_files(tmp_path / "sounds", "lake/00002.flac")
    sound = tmp_path / "sounds" / "lake" / "00001.flac"
    soundfile.write(sound, np.zeros(30_000), 10_000)
    flags = [
        f"--image_dir={tmp_path / 'images'}",
        f"--sound_dir={tmp_path / 'sounds'}",
        f"--data_dir={tmp_path / 'out'}",
        "--rate_hz=16000",
    ]
    status, printed, error = run_command("prepare", *flags)
    assert status == 1
    assert "00002.flac" in error
    assert "written:          1 pairs" in printed
    written = soundfile.info(tmp_path / "out" / "sound" / "lake" / "00001.wav")
    assert (written.samplerate, written.frames) == (16_000, 48_000)
    (tmp_path / "images" / "lake" / "00002.jpg").unlink()
    (tmp_path / "sounds" / "lake" / "00002.flac").unlink()
    status, printed, _ = run_command("prepare", *flags)
    assert status == 0
    assert "up to date:       1 pairs" in printed


def test_a_bad_file_is_named_with_the_flags_of_the_command(tmp_path):
    write_files(tmp_path / "images", "lake/00001.jpg", contents=b"\xff\xd8\xff\xe0")
    (tmp_path / "sounds" / "lake").mkdir(parents=True)
    soundfile.write(tmp_path / "sounds" / "lake" / "00001.wav", np.zeros(9000), 4000)
    status, _, error = run_command(
        "prepare",
        f"--image_dir={tmp_path / 'images'}",
        f"--sound_dir={tmp_path / 'sounds'}",
        f"--data_dir={tmp_path / 'out'}",
    )
    assert status == 1
    assert "it is 4000 Hz. Resample it with --rate_hz\n" in error
    (tmp_path / "classes.csv").write_text("file,class\nlake/00001.wav,rain\n")
    sound = tmp_path / "sounds" / "lake" / "00001.wav"
    flags = [
        f"--sound_dir={tmp_path / 'sounds'}",
        f"--classes={tmp_path / 'classes.csv'}",
        f"--data_dir={tmp_path / 'clips'}",
    ]
    status, _, error = run_command("prepare-clips", *flags)
    assert status == 1
    assert "it is 4000 Hz. Resample it\n" in error
    soundfile.write(sound, np.zeros(9000), 16_000)
    sound.write_bytes(sound.read_bytes()[:1044])
    status, _, error = run_command("prepare-clips", *flags)
    assert "or set --allow_truncated\n" in error


def test_download_keeps_existing_folders(data_dir):
    status, printed, _ = run_command("download", f"--data_dir={data_dir}")
    assert status == 0
    assert "nothing, all folders exist" in printed
    assert "10 pairs of 10 sites in 1 of 13 scenes" in printed


def test_download_needs_a_folder_and_http(tmp_path):
    assert "--data_dir must name a folder" in run_command("download")[2]
    flags = f"--data_dir={tmp_path}", "--base_url=file:///etc"
    status, _, error = run_command("download", *flags)
    assert status == 1
    assert "--base_url must begin with http" in error
