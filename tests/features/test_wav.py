"""Every WAV coding against NumPy, and invalid files."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.features.wav import decode_wav

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE


def encode(samples, code, bits):
    """Bytes of samples in [-1, 1), little-endian."""
    if code == FLOAT:
        return samples.astype(f"<f{bits // 8}").tobytes()
    levels = np.round(samples * 2 ** (bits - 1)).astype(np.int64)
    levels = np.clip(levels, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    if bits == 8:
        return (levels + 128).astype(np.uint8).tobytes()
    return b"".join(int(v).to_bytes(bits // 8, "little", signed=True) for v in levels)


def chunk(tag, body, size=None):
    padding = b"\0" * (len(body) % 2)
    return tag + struct.pack("<I", len(body) if size is None else size) + body + padding


def wav(samples, code=PCM, bits=16, rate_hz=22_050, extensible=False, **changes):
    """A WAV file; `changes` replaces fields of its header."""
    frames = np.atleast_2d(samples.T).T
    fields = {
        "code": EXTENSIBLE if extensible else code,
        "channels": frames.shape[1],
        "rate_hz": rate_hz,
        "align": frames.shape[1] * bits // 8,
        "bits": bits,
        "size": None,
        "before": b"",
    } | changes
    fmt = struct.pack(
        "<HHIIHH",
        fields["code"],
        fields["channels"],
        fields["rate_hz"],
        min(fields["rate_hz"] * fields["align"], 2**32 - 1),
        fields["align"],
        fields["bits"],
    )
    if extensible:
        guid = struct.pack("<H", code) + bytes(14)
        fmt += struct.pack("<HHI", 22, bits, 0) + guid
    body = encode(frames.ravel(), code, bits)
    samples_chunk = chunk(b"data", body, fields["size"])
    chunks = chunk(b"fmt ", fmt) + fields["before"] + samples_chunk
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def random_samples(channels=1, count=300):
    return np.random.default_rng(channels).uniform(-0.99, 0.99, (count, channels))


TRACED = tf.function(decode_wav, input_signature=[tf.TensorSpec([], tf.string)] * 2)


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(
    ("code", "bits", "step"),
    [
        (PCM, 8, 2**-7),
        (PCM, 16, 2**-15),
        (PCM, 24, 2**-22),
        (PCM, 32, 2**-22),
        (FLOAT, 32, 1e-7),
        (FLOAT, 64, 1e-7),
    ],
)
def test_every_coding_equals_the_samples(code, bits, step, extensible):
    samples = random_samples()
    contents = wav(samples, code, bits, extensible=extensible)
    found, rate_hz = TRACED(contents, "a.wav")
    assert int(rate_hz) == 22_050
    np.testing.assert_allclose(found, samples[:, 0], atol=step)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 8])
def test_channels_are_averaged(channels):
    samples = random_samples(channels)
    found, _ = TRACED(wav(samples), "a.wav")
    np.testing.assert_allclose(found, samples.mean(1), atol=2**-15)


@pytest.mark.parametrize("rate_hz", [8_000, 44_099, 192_000])
def test_rates_are_read(rate_hz):
    assert int(TRACED(wav(random_samples(), rate_hz=rate_hz), "a.wav")[1]) == rate_hz


def test_unknown_chunks_of_any_size_are_skipped():
    before = chunk(b"LIST", b"abc") + chunk(b"junk", b"") + chunk(b"bext", bytes(602))
    samples = random_samples()
    found, _ = TRACED(wav(samples, before=before), "a.wav")
    np.testing.assert_allclose(found, samples[:, 0], atol=2**-15)


def test_unknown_size_reads_to_the_end():
    samples = random_samples()
    found, _ = TRACED(wav(samples, size=0xFFFFFFFF), "a.wav")
    np.testing.assert_allclose(found, samples[:, 0], atol=2**-15)


def test_samples_that_are_not_finite_become_zero():
    samples = random_samples()
    samples[3] = np.nan
    samples[5] = np.inf
    found, _ = TRACED(wav(samples, FLOAT, 32), "a.wav")
    assert np.isfinite(found).all()
    assert found[3] == found[5] == 0


def test_parallel_map_reads_every_file():
    files = [wav(random_samples(count=100 + n)) for n in range(6)]
    dataset = tf.data.Dataset.from_tensor_slices(files).map(
        lambda contents: decode_wav(contents, "x"), num_parallel_calls=4
    )
    assert [len(found) for found, _ in dataset] == [100 + n for n in range(6)]


@pytest.mark.parametrize(
    ("code", "bits", "kind"),
    [(PCM, 16, "<i2"), (PCM, 32, "<i4"), (FLOAT, 32, "<f4"), (FLOAT, 64, "<f8")],
)
def test_eager_and_compiled_equal_numpy_exactly(code, bits, kind):
    contents = wav(random_samples(), code, bits)
    stored = np.frombuffer(contents[44:], kind)
    scale = 1 if code == FLOAT else 2.0 ** (bits - 1)
    expected = stored.astype(np.float32) / np.float32(scale)
    for decode in (decode_wav, TRACED):
        found, _ = decode(tf.constant(contents), "a.wav")
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_extreme_values_of_the_range(bits):
    samples = np.array([-1.0, 0.0, 1.0])
    found, _ = TRACED(wav(samples, PCM, bits), "a.wav")
    # The largest 32-bit value rounds to 1 in float32.
    np.testing.assert_allclose(found, [-1, 0, 1 - 2.0 ** (1 - bits)], atol=1e-7)


def test_extensible_24_bit_channels_are_averaged():
    samples = random_samples(5)
    contents = wav(samples, PCM, 24, extensible=True)
    found, _ = TRACED(contents, "a.wav")
    np.testing.assert_allclose(found, samples.mean(1), atol=2**-22)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_unknown_size_with_an_incomplete_last_frame(size):
    samples = random_samples(2)
    contents = wav(samples, size=size)[:-3]
    found, _ = TRACED(contents, "a.wav")
    np.testing.assert_allclose(found, samples.mean(1)[:-1], atol=2**-15)


def test_chunks_after_the_samples_are_ignored():
    samples = random_samples()
    contents = wav(samples) + chunk(b"LIST", bytes(100))
    assert len(TRACED(contents, "a.wav")[0]) == len(samples)


def test_file_of_many_empty_chunks_raises():
    contents = GOOD[:36] + chunk(b"junk", b"") * 5_000
    with pytest.raises(tf.errors.InvalidArgumentError, match="no data chunk"):
        TRACED(contents, "a.wav")


GOOD = wav(random_samples())


@pytest.mark.parametrize(
    ("contents", "problem"),
    [
        (b"", "empty"),
        (b"RIFF", "not a RIFF/WAVE"),
        (b"ID3\x04" + bytes(60), "not a RIFF/WAVE"),
        (GOOD[:20], "no complete fmt"),
        (GOOD[:36], "no data chunk"),
        (GOOD[:-10], "truncated"),
        (wav(random_samples(), size=0), "no sample"),
        (wav(random_samples(), size=0xFFFFFFF0), "truncated"),
        (wav(random_samples(), channels=0, align=0), "channels"),
        (wav(random_samples(9)), "channels"),
        (wav(random_samples(), rate_hz=7_999), "rate"),
        (wav(random_samples(), rate_hz=0xFFFFFFFF), "rate"),
        (wav(random_samples(), code=2), "coding"),
        (wav(random_samples(), align=7), "block"),
        (wav(random_samples(), FLOAT, 16), "coding"),
        (wav(random_samples(), rate_hz=0), "rate"),
        (
            GOOD[:12] + chunk(b"junk", b"", size=0xFFFFFFFF) + GOOD[12:],
            "no complete fmt",
        ),
        (GOOD[:12] + chunk(b"data", bytes(40)), "no complete fmt"),
        (GOOD[:12] + chunk(b"fmt ", bytes(16)) + GOOD[36:], "coding"),
    ],
)
def test_invalid_file_raises_with_its_name_and_problem(contents, problem):
    with pytest.raises(tf.errors.InvalidArgumentError, match=problem) as raised:
        TRACED(contents, "sound/lake/00001.wav")
    assert "sound/lake/00001.wav" in str(raised.value)
