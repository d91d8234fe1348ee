"""Recordings that end before their header states."""

import tracemalloc

import numpy as np
import pytest
import soundfile

from advance_tf.data.recordings import ClipRule, TooShortError, write_wav
from advance_tf.data.truncation import missing_end
from advance_tf.features.wav_sizes import UNKNOWN_SIZES

RATE_HZ = 16_000
STATED = {
    "wav": ("WAV", None),
    "rf64": ("RF64", None),
    "w64": ("W64", None),
    "aiff": ("AIFF", None),
    "au": ("AU", None),
}
OGG = {"ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS")}
DECODED = {"flac": ("FLAC", None), "mp3": ("MP3", None)}


def write_noise(path, kind):
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE_HZ)
    soundfile.write(path, noise, RATE_HZ, format=kind[0], subtype=kind[1])


def cut(path, fraction=0.4):
    contents = path.read_bytes()
    path.write_bytes(contents[: int(fraction * len(contents))])


@pytest.mark.parametrize("ending", [*STATED, *OGG])
def test_a_cut_off_file_is_found(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_noise(path, (STATED | OGG)[ending])
    assert not missing_end(path)
    cut(path)
    expected = "bytes of samples, the file has" if ending in STATED else "Ogg"
    assert expected in missing_end(path)


@pytest.mark.parametrize("size", [0, *UNKNOWN_SIZES])
def test_an_unknown_size_is_complete(tmp_path, size):
    path = tmp_path / "a.wav"
    write_noise(path, STATED["wav"])
    contents = bytearray(path.read_bytes())
    contents[40:44] = size.to_bytes(4, "little")
    path.write_bytes(contents)
    assert not missing_end(path)


@pytest.mark.parametrize("ending", [*STATED, *OGG, *DECODED])
def test_a_truncated_recording_is_refused_or_converted_as_far_as_it_goes(
    tmp_path, ending
):
    source, path = tmp_path / f"00001.{ending}", tmp_path / "00001-out.wav"
    write_noise(source, (STATED | OGG | DECODED)[ending])
    assert not write_wav(source, path, ClipRule())
    cut(source)
    # libsndfile reports FLAC itself.
    refused = (ValueError, soundfile.SoundFileError)
    with pytest.raises(refused, match=r"complete|header states|lost sync"):
        write_wav(source, path, ClipRule())
    assert write_wav(source, path, ClipRule(), allow_truncated=True)
    seconds = soundfile.info(path).duration
    # Compressed data do not end exactly at 40 % of the time.
    assert 2.5 < seconds < 5.0


def test_a_long_recording_is_not_held_in_memory(tmp_path):
    """Also with `allow_truncated`, where its length is known at the end only."""
    source, path = tmp_path / "00001.flac", tmp_path / "00001.wav"
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, 2_000_000, np.int16)
    soundfile.write(source, samples, 16_000)
    tracemalloc.start()
    assert not write_wav(source, path, ClipRule(), allow_truncated=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # A block has 4096 samples; the recording has 8 MB in float32.
    assert peak < 2_000_000
    np.testing.assert_array_equal(soundfile.read(path, dtype="int16")[0], samples)


@pytest.mark.parametrize("ending", [*STATED, *OGG])
def test_a_file_that_ends_in_its_header_is_no_crash(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    write_noise(path, {**STATED, **OGG}[ending])
    contents = path.read_bytes()
    for size in range(48):
        path.write_bytes(contents[:size])
        with pytest.raises((ValueError, TooShortError, soundfile.SoundFileError)):
            write_wav(path, tmp_path / "b.wav", ClipRule())
