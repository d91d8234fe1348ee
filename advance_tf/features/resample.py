"""Band-limited resampling between any two rates, as TensorFlow operations."""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import special

# Zero crossings of the sinc on each side, at the lower of the two rates, and the
# shape parameter of its Kaiser window.
_CROSSINGS = 64
_KAISER_BETA = 9.5
# Middle of the transition band as a share of the lower Nyquist frequency.
_CUTOFF = 0.9525
# Input rates whose filters are constants of the graph.
_COMMON_RATES_HZ = (22_050, 44_100, 48_000, 32_000)
# Number of outputs that share one band of a constant matrix.
_BAND_OUTPUTS = 80
# With more coefficients than this, windows are gathered instead of a dense matrix.
_MAX_DENSE = 4_000_000


def _windowed_sinc(offsets: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    """Evaluates the filter at distances of `offsets` input samples.

    Args:
        offsets: float32, any shape.
        ratio: float32 scalar, min(1, target rate / input rate): the bandwidth.

    Returns:
        float32 of the shape of `offsets`.
    """
    scaled = offsets * ratio
    angle = math.pi * _CUTOFF * scaled
    sinc = tf.where(
        tf.abs(angle) < 1e-6,
        tf.ones_like(angle),
        tf.sin(angle) / tf.where(tf.abs(angle) < 1e-6, tf.ones_like(angle), angle),
    )
    inside = tf.clip_by_value(1.0 - tf.square(scaled / _CROSSINGS), 0.0, 1.0)
    root = tf.sqrt(inside)
    # i0(β r) / i0(β) with scaled Bessel functions, which do not overflow.
    window = (
        tf.math.bessel_i0e(_KAISER_BETA * root)
        * tf.exp(_KAISER_BETA * (root - 1.0))
        / float(special.i0e(_KAISER_BETA))
    )
    within = tf.abs(scaled) < _CROSSINGS
    return tf.where(within, _CUTOFF * ratio * sinc * window, tf.zeros_like(sinc))


def _greatest_common_divisor(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Euclid's algorithm on int32 scalars."""
    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (a, b))[0]


def _reach(ratio: tf.Tensor) -> tf.Tensor:
    """Number of input samples on each side that an output depends on, int32."""
    return tf.cast(tf.math.ceil(_CROSSINGS / ratio), tf.int32)


def _dense_filter(
    up: tf.Tensor | int, down: tf.Tensor | int, ratio: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the matrix [2 · block, outputs] of a block and the next, and `block`.

    Blocks are long enough that no output depends on samples after the next block.
    """
    reach = _reach(ratio)
    repeats = (2 * reach + down) // down
    block, outputs = down * repeats, up * repeats
    index, fraction = _positions(outputs, up, down)
    # [2 · block, outputs]
    distance = tf.range(2 * block)[:, None] - reach - index[None, :]
    return _windowed_sinc(tf.cast(distance, tf.float32) - fraction, ratio), block


def _positions(
    count: tf.Tensor | int, up: tf.Tensor | int, down: tf.Tensor | int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Positions of `count` outputs in input samples.

    Returns:
        Integer parts, int32 [count], and fractions, float32 [count]. One float32
        number would be off by up to 0.004 samples.
    """
    steps = tf.range(tf.cast(count, tf.int64)) * tf.cast(down, tf.int64)
    up = tf.cast(up, tf.int64)
    fraction = tf.cast(steps % up, tf.float32) / tf.cast(up, tf.float32)
    return tf.cast(steps // up, tf.int32), fraction


def _windows(
    waveform: tf.Tensor, block: tf.Tensor | int, reach: tf.Tensor | int
) -> tf.Tensor:
    """Concatenates each block of inputs with the next one: [blocks, 2 · block]."""
    samples = tf.size(waveform)
    blocks = samples // block + 1
    padded = tf.pad(waveform, [[reach, (blocks + 1) * block - samples - reach]])
    # [blocks + 1, block]
    rows = tf.reshape(padded, [blocks + 1, block])
    return tf.concat([rows[:-1], rows[1:]], axis=1)


def _apply_banded(windows: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """Multiplies windows [blocks, 2 · block] with a banded matrix [2 · block, outputs].

    Each group of columns is multiplied with the rows of its own band only, which
    is a third of the operations at 22,050 Hz.
    """
    groups = max(1, matrix.shape[1] // _BAND_OUTPUTS)
    parts = []
    for columns in np.array_split(matrix, groups, axis=1):
        rows = np.flatnonzero(columns.any(axis=1))
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        parts.append(tf.matmul(windows[:, band], tf.constant(columns[band])))
    return tf.concat(parts, axis=1)


def _apply_gathered(
    waveform: tf.Tensor, up: tf.Tensor, down: tf.Tensor, ratio: tf.Tensor
) -> tf.Tensor:
    """Computes one period of outputs after another, each from its own inputs."""
    reach = _reach(ratio)
    # [up]
    first, fraction = _positions(up, up, down)
    taps = tf.range(2 * reach + 1)
    # [up, taps]
    offsets = tf.cast(taps - reach, tf.float32)[None, :] - fraction[:, None]
    coefficients = _windowed_sinc(offsets, ratio)
    samples = tf.size(waveform)
    periods = samples // down + 1
    padded = tf.pad(waveform, [[reach, (periods + 1) * down - samples + reach]])
    indices = first[:, None] + taps[None, :]

    def period(number: tf.Tensor) -> tf.Tensor:
        start = number * down
        window = padded[start : start + down + 2 * reach + 1]
        return tf.reduce_sum(tf.gather(window, indices) * coefficients, axis=1)

    # [periods, up]
    outputs = tf.map_fn(
        period, tf.range(periods), fn_output_signature=tf.float32, parallel_iterations=1
    )
    return tf.reshape(outputs, [-1])


def _any_rate(
    waveform: tf.Tensor, rate_hz: tf.Tensor, target_rate_hz: int
) -> tf.Tensor:
    """Resamples from a rate that is known when the graph runs."""
    divisor = _greatest_common_divisor(rate_hz, tf.constant(target_rate_hz))
    up, down = target_rate_hz // divisor, rate_hz // divisor
    ratio = tf.minimum(1.0, tf.cast(up, tf.float32) / tf.cast(down, tf.float32))
    reach = _reach(ratio)
    repeats = tf.cast((2 * reach + down) // down, tf.int64)
    coefficients = (
        2 * repeats * repeats * tf.cast(down, tf.int64) * tf.cast(up, tf.int64)
    )

    def dense() -> tf.Tensor:
        matrix, block = _dense_filter(up, down, ratio)
        return tf.reshape(tf.matmul(_windows(waveform, block, reach), matrix), [-1])

    return tf.cond(
        coefficients <= _MAX_DENSE,
        dense,
        lambda: _apply_gathered(waveform, up, down, ratio),
    )


def _constant_rate(waveform: tf.Tensor, rate_hz: int, target_rate_hz: int) -> tf.Tensor:
    """Resamples from a common rate, with the filter as constants of the graph."""
    divisor = math.gcd(rate_hz, target_rate_hz)
    up, down = target_rate_hz // divisor, rate_hz // divisor
    with tf.init_scope():
        ratio = tf.constant(min(1.0, up / down), tf.float32)
        reach = int(_reach(ratio))
        matrix, block = _dense_filter(up, down, ratio)
        matrix, block = np.asarray(matrix), int(block)
    # [blocks, 2 · block] → [blocks, outputs] → [blocks · outputs]
    windows = _windows(waveform, block, reach)
    return tf.reshape(_apply_banded(windows, matrix), [-1])


def resample(
    waveform: tf.Tensor, rate_hz: tf.Tensor | int, target_rate_hz: int = 16_000
) -> tf.Tensor:
    """Resamples a waveform by convolution with a Kaiser-windowed sinc.

        y[m] = Σ_n x[n] h(m · rate / target − n)

    With f the lower of the two Nyquist frequencies, the pass-band up to 0.90 f is
    flat within 0.01 dB and the stop-band from f on is below −90 dB. A waveform at
    the target rate is returned unchanged.

    >>> resample(tf.zeros([22_050]), 22_050).shape
    TensorShape([16000])

    Args:
        waveform: float32 [n].
        rate_hz: int scalar, rate of the waveform, 8,000 to 192,000 Hz.
        target_rate_hz: rate of the result in Hz.

    Returns:
        float32 [ceil(n · target / rate)]; samples outside the waveform count as 0.
    """
    rate_hz = tf.cast(rate_hz, tf.int32)
    common = [rate for rate in _COMMON_RATES_HZ if rate != target_rate_hz]
    branches: list[Callable[[], tf.Tensor]] = [
        lambda: _any_rate(waveform, rate_hz, target_rate_hz),
        lambda: waveform,
    ]
    for rate in common:
        branches.append(
            functools.partial(_constant_rate, waveform, rate, target_rate_hz)
        )
    # Branch 0 is any rate, 1 the target rate, 2 and higher the common rates.
    rates = tf.constant([target_rate_hz, *common])
    match = tf.cast(rates == rate_hz, tf.int32)
    index = tf.reduce_sum(match * tf.range(1, len(common) + 2))
    resampled = tf.switch_case(index, branches)
    samples = tf.size(waveform, out_type=tf.int64)
    rate = tf.cast(rate_hz, tf.int64)
    length = (samples * target_rate_hz + rate - 1) // rate
    return resampled[: tf.cast(length, tf.int32)]
