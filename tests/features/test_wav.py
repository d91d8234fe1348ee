"""Every WAV coding against NumPy, and invalid files."""

import struct

import numpy as np
import pytest
import tensorflow as tf

from advance_tf.features import wav as wav_module
from advance_tf.features import wav_header
from advance_tf.features.wav import decode_wav
from advance_tf.features.wav_sizes import UNKNOWN_SIZES

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


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, -70_000.0])
@pytest.mark.parametrize("bits", [32, 64])
def test_a_sample_that_is_not_finite_or_too_large_is_a_problem(value, bits):
    samples = random_samples(2, 30)
    samples[-1, 1] = value
    with pytest.raises(tf.errors.InvalidArgumentError, match="a.wav must .* infinite"):
        TRACED(wav(samples, FLOAT, bits), "a.wav")


def test_samples_of_several_blocks_are_checked(monkeypatch):
    monkeypatch.setattr(wav_module, "_CHECKED_BYTES", 64)
    read = tf.function(wav_module.read_checked)
    samples = random_samples(count=100) * 60_000
    good = read(tf.constant(wav(samples, FLOAT, 32)))
    assert (good.problem.numpy(), int(good.samples)) == (b"", 100)
    for place in (0, 20, 99):
        bad = samples.copy()
        bad[place] = 1e20
        header = read(tf.constant(wav(bad, FLOAT, 32)))
        assert b"beyond" in header.problem.numpy()
        assert int(header.samples) == 0


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


@pytest.mark.parametrize("size", UNKNOWN_SIZES)
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


def wav_of(fmt_size, **options):
    """A mono 16-bit file whose fmt chunk has zeros up to `fmt_size` bytes."""
    contents = wav(random_samples(), **options)
    fmt = contents[20:36] + bytes(fmt_size - 16)
    return contents[:12] + chunk(b"fmt ", fmt) + contents[36:]


@pytest.mark.parametrize("fmt_size", [16, 18, 40, 17, 20, 50])
@pytest.mark.parametrize("before", [b"", chunk(b"LIST", bytes(26))])
def test_header_with_and_without_the_loop_gives_the_same(fmt_size, before):
    """Only sizes 16, 18 and 40 without another chunk are read at fixed positions."""
    contents = wav_of(fmt_size, before=before)
    header = wav_header.read_header(tf.constant(contents))
    fmt, _, data, _ = wav_header._search_chunks(
        contents, tf.constant(len(contents), tf.int64)
    )
    assert int(fmt) == 20
    assert int(header.data_start) == int(data) == contents.index(b"data") + 8
    assert (int(header.channels), int(header.rate_hz)) == (1, 22_050)
    assert (int(header.samples), int(header.data_bytes)) == (300, 600)
    found, _ = TRACED(contents, "a.wav")
    np.testing.assert_array_equal(found, TRACED(wav(random_samples()), "a.wav")[0])


def test_canonical_file_is_read_without_the_loop(monkeypatch):
    def fail(*_):
        raise AssertionError("The loop over the chunks was used.")

    monkeypatch.setattr(wav_header, "_search_chunks", fail)
    for extensible in (False, True):
        contents = wav(random_samples(), extensible=extensible)
        assert int(wav_header.read_header(tf.constant(contents)).samples) == 300


@pytest.mark.parametrize("first", [0, 7, 299, 300, 1000])
@pytest.mark.parametrize("channels", [1, 3])
def test_part_of_a_file_equals_that_part_of_all_samples(first, channels):
    contents = tf.constant(wav(random_samples(channels), PCM, 24))
    header = wav_header.read_header(contents)
    part = wav_module.read_samples(contents, header, first, tf.constant(50, tf.int64))
    complete = wav_module.read_samples(contents, header)
    np.testing.assert_array_equal(part, complete[first : first + 50])


def test_size_zero_before_samples_is_an_unknown_size():
    samples = random_samples()
    for before in (b"", chunk(b"FLLR", bytes(4044))):
        found, _ = TRACED(wav(samples, size=0, before=before), "a.wav")
        np.testing.assert_allclose(found, samples[:, 0], atol=2**-15)


def test_odd_chunk_without_its_pad_byte_is_skipped():
    samples = random_samples()
    unpadded = chunk(b"LIST", b"abcde")[:-1]
    for before in (unpadded, unpadded + chunk(b"fact", bytes(4))):
        found, _ = TRACED(wav(samples, before=before), "a.wav")
        np.testing.assert_allclose(found, samples[:, 0], atol=2**-15)


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
        (wav(random_samples(count=0)), "no sample"),
        (wav(random_samples(), size=0)[:44] + chunk(b"LIST", bytes(20)), "no sample"),
        (wav(random_samples(), size=0xFFFFFFF0), "truncated"),
        (wav(random_samples(), channels=0, align=0), "channels"),
        (wav(random_samples(9)), "channels"),
        (wav(random_samples(), rate_hz=7_999), "rate"),
        (wav(random_samples(), rate_hz=0xFFFFFFFF), "rate"),
        (wav(random_samples(), code=85), "its coding is not PCM"),
        (wav(random_samples(), code=6), "A-law, which `advance prepare` converts"),
        (b"RF64" + GOOD[4:], "an RF64 file, which `advance prepare` converts"),
        (b"riff\x2e\x91\xcf\x11" + GOOD[8:], "a W64 file, which `advance prepare`"),
        (b"RIFF" + bytes(4) + b"AVI " + GOOD[12:], "not a RIFF/WAVE"),
        (GOOD[:42], "no data chunk"),
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
