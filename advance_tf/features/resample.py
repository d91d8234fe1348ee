"""Band-limited resampling between any two rational rates, in graph."""

import functools
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy import special

# Zero crossings of the sinc on each side, at the lower of the two rates, and the
# shape of its Kaiser window.
_CROSSINGS = 64
_KAISER_BETA = 9.5
# Middle of the transition band as a share of the lower Nyquist frequency.
_CUTOFF = 0.9525
# Rates whose filters are worth keeping as constants.
_COMMON_RATES_HZ = (22_050, 44_100, 48_000, 32_000)
# Outputs that share one band of a constant matrix.
_BAND_OUTPUTS = 80
# Above so many coefficients the dense matrix gives way to gathered windows.
_MAX_DENSE = 4_000_000


def _windowed_sinc(offsets: tf.Tensor, ratio: tf.Tensor) -> tf.Tensor:
    """The filter at distances of `offsets` input samples, float32.

    Args:
        offsets: float32, any shape.
        ratio: min(1, target rate / input rate), float32: the bandwidth.
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
    # i0(b r) / i0(b) with scaled Bessel functions, which do not overflow.
    window = (
        tf.math.bessel_i0e(_KAISER_BETA * root)
        * tf.exp(_KAISER_BETA * (root - 1.0))
        / float(special.i0e(_KAISER_BETA))
    )
    within = tf.abs(scaled) < _CROSSINGS
    return tf.where(within, _CUTOFF * ratio * sinc * window, tf.zeros_like(sinc))


def _greatest_common_divisor(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (a, b))[0]


def _reach(ratio) -> tf.Tensor:
    """Input samples on each side that an output depends on, int32."""
    return tf.cast(tf.math.ceil(_CROSSINGS / ratio), tf.int32)


def _dense_filter(up, down, ratio) -> tuple[tf.Tensor, tf.Tensor]:
    """Matrix [2 · block, outputs] of one block of inputs and the next.

    Blocks are made long enough that no output looks beyond the next block.
    """
    reach = _reach(ratio)
    repeats = (2 * reach + down) // down
    block, outputs = down * repeats, up * repeats
    whole, share = _positions(outputs, up, down)
    distance = tf.range(2 * block)[:, None] - reach - whole[None, :]
    return _windowed_sinc(tf.cast(distance, tf.float32) - share, ratio), block


def _positions(count, up, down) -> tuple[tf.Tensor, tf.Tensor]:
    """Places of `count` outputs in input samples: whole int32, share float32.

    Kept apart, because float32 places would be off by up to 0.004 samples.
    """
    steps = tf.range(tf.cast(count, tf.int64)) * tf.cast(down, tf.int64)
    up = tf.cast(up, tf.int64)
    share = tf.cast(steps % up, tf.float32) / tf.cast(up, tf.float32)
    return tf.cast(steps // up, tf.int32), share


def _windows(waveform, block, reach) -> tf.Tensor:
    """Each block of inputs with the next one, [blocks, 2 · block]."""
    samples = tf.size(waveform)
    blocks = samples // block + 1
    padded = tf.pad(waveform, [[reach, (blocks + 1) * block - samples - reach]])
    rows = tf.reshape(padded, [blocks + 1, block])
    return tf.concat([rows[:-1], rows[1:]], axis=1)


def _apply_banded(windows: tf.Tensor, matrix: np.ndarray) -> tf.Tensor:
    """The product with a matrix whose columns are zero but for a band.

    A group of columns needs the rows of its own band only, a third of the work
    at 22,050 Hz.
    """
    groups = max(1, matrix.shape[1] // _BAND_OUTPUTS)
    parts = []
    for columns in np.array_split(matrix, groups, axis=1):
        rows = np.flatnonzero(columns.any(axis=1))
        band = slice(int(rows[0]), int(rows[-1]) + 1)
        parts.append(tf.matmul(windows[:, band], tf.constant(columns[band])))
    return tf.concat(parts, axis=1)


def _apply_gathered(waveform, up, down, ratio) -> tf.Tensor:
    """One period of outputs after another, each from its own window of inputs."""
    reach = _reach(ratio)
    first, share = _positions(up, up, down)
    taps = tf.range(2 * reach + 1)
    offsets = tf.cast(taps - reach, tf.float32)[None, :] - share[:, None]
    coefficients = _windowed_sinc(offsets, ratio)
    samples = tf.size(waveform)
    periods = samples // down + 1
    padded = tf.pad(waveform, [[reach, (periods + 1) * down - samples + reach]])
    places = first[:, None] + taps[None, :]

    def period(number):
        start = number * down
        window = padded[start : start + down + 2 * reach + 1]
        return tf.reduce_sum(tf.gather(window, places) * coefficients, axis=1)

    outputs = tf.map_fn(
        period, tf.range(periods), fn_output_signature=tf.float32, parallel_iterations=1
    )
    return tf.reshape(outputs, [-1])


def _any_rate(waveform, rate_hz, target_rate_hz) -> tf.Tensor:
    divisor = _greatest_common_divisor(rate_hz, tf.constant(target_rate_hz))
    up, down = target_rate_hz // divisor, rate_hz // divisor
    ratio = tf.minimum(1.0, tf.cast(up, tf.float32) / tf.cast(down, tf.float32))
    reach = _reach(ratio)
    repeats = tf.cast((2 * reach + down) // down, tf.int64)
    coefficients = (
        2 * repeats * repeats * tf.cast(down, tf.int64) * tf.cast(up, tf.int64)
    )

    def dense():
        matrix, block = _dense_filter(up, down, ratio)
        return tf.reshape(tf.matmul(_windows(waveform, block, reach), matrix), [-1])

    return tf.cond(
        coefficients <= _MAX_DENSE,
        dense,
        lambda: _apply_gathered(waveform, up, down, ratio),
    )


def _constant_rate(waveform, rate_hz: int, target_rate_hz: int) -> tf.Tensor:
    """The dense form with its matrix as constants of the graph."""
    divisor = math.gcd(rate_hz, target_rate_hz)
    up, down = target_rate_hz // divisor, rate_hz // divisor
    with tf.init_scope():
        ratio = tf.constant(min(1.0, up / down), tf.float32)
        reach = int(_reach(ratio))
        matrix, block = _dense_filter(up, down, ratio)
        matrix, block = np.asarray(matrix), int(block)
    windows = _windows(waveform, block, reach)
    return tf.reshape(_apply_banded(windows, matrix), [-1])


def resample(waveform: tf.Tensor, rate_hz, target_rate_hz: int = 16_000) -> tf.Tensor:
    """The waveform at another rate: convolution with a Kaiser-windowed sinc.

        y[m] = Σ_n x[n] h(m · rate / target − n)

    With f the lower of the two Nyquist frequencies: pass-band to 0.90 f within
    0.01 dB, stop-band from 1.0 f below −90 dB. The same function serves
    training and serving; at the target rate it changes nothing.

    Args:
        waveform: float32 [n].
        rate_hz: int scalar, its rate; 8,000 to 192,000 Hz.
        target_rate_hz: the rate wanted.

    Returns:
        float32 [ceil(n · target / rate)]; the samples outside are taken as 0.
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
    known = tf.constant([target_rate_hz, *common])
    match = tf.cast(known == rate_hz, tf.int32)
    index = tf.reduce_sum(match * tf.range(1, len(common) + 2))
    resampled = tf.switch_case(index, branches)
    samples = tf.size(waveform, out_type=tf.int64)
    wide = tf.cast(rate_hz, tf.int64)
    length = (samples * target_rate_hz + wide - 1) // wide
    return resampled[: tf.cast(length, tf.int32)]
