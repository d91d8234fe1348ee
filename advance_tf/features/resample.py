"""Band-limited resampling between any two rates, as TensorFlow operations."""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

# Zero crossings of the sinc on each side, at the lower of the two rates, and the
# shape parameter of its Kaiser window.
_CROSSINGS = 64
_KAISER_BETA = 9.5
# i0(β) e^(−β)
_KAISER_PEAK = float(np.i0(_KAISER_BETA)) * math.exp(-_KAISER_BETA)
# Middle of the transition band as a share of the lower Nyquist frequency.
_CUTOFF = 0.9525
# Input rates whose filters are constants of the graph.
_COMMON_RATES_HZ = (22_050, 44_100, 48_000, 32_000)
# Number of successive outputs that are computed by one product. A smaller number saves
# coefficients that are 0, a larger one has faster products.
_GROUP_OUTPUTS = 80


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
    # i0(β r) e^(−β), with scaled Bessel functions, which do not overflow.
    window = tf.math.bessel_i0e(_KAISER_BETA * root) * tf.exp(
        _KAISER_BETA * (root - 1.0)
    )
    within = tf.abs(scaled) < _CROSSINGS
    # One constant for all factors: graphs would combine several of them and round
    # differently from the same operations without a graph.
    filter = (_CUTOFF / _KAISER_PEAK) * (ratio * sinc * window)
    return tf.where(within, filter, tf.zeros_like(sinc))


def _greatest_common_divisor(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Euclid's algorithm on int64 scalars."""
    return tf.while_loop(lambda a, b: b > 0, lambda a, b: (b, a % b), (a, b))[0]


class _Blocks(NamedTuple):
    """Division of a waveform into blocks of outputs with equal coefficients.

    Block k has the outputs k · outputs … and begins at input k · inputs. Each group
    of its outputs depends on `band` inputs, not more than one block has.

    Attributes:
        inputs: int64 scalar, number of inputs of a block.
        outputs: int64 scalar, number of outputs of a block.
        up: int64 scalar, outputs of the shortest period of the coefficients.
        down: int64 scalar, inputs of this period.
        band: int64 scalar, number of inputs that a group depends on.
        reach: int64 scalar, number of inputs on each side of an output.
        ratio: float32 scalar, min(1, up / down).
    """

    inputs: tf.Tensor
    outputs: tf.Tensor
    up: tf.Tensor
    down: tf.Tensor
    band: tf.Tensor
    reach: tf.Tensor
    ratio: tf.Tensor


def _divide(up: tf.Tensor, down: tf.Tensor) -> _Blocks:
    """Returns the blocks for the ratio of the rates up / down in lowest terms."""
    ratio = tf.minimum(1.0, tf.cast(up, tf.float32) / tf.cast(down, tf.float32))
    reach = tf.cast(tf.math.ceil(_CROSSINGS / ratio), tf.int64)
    # One input more on each side covers the fractions.
    band = (_GROUP_OUTPUTS - 1) * down // up + 2 * reach + 2
    repeats = (band + down - 1) // down
    return _Blocks(down * repeats, up * repeats, up, down, band, reach, ratio)


def _group(blocks: _Blocks, number: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
    """Coefficients of one group of outputs.

    Args:
        blocks: the division.
        number: int64 scalar, number of the group in the block.

    Returns:
        The first input of the group, int64, relative to the block and without
        `reach`; and the coefficients, float32 [band, _GROUP_OUTPUTS].
    """
    outputs = number * _GROUP_OUTPUTS + tf.range(_GROUP_OUTPUTS, dtype=tf.int64)
    steps = outputs * blocks.down
    # Positions of the outputs in inputs, as integers and fractions: one float32
    # number would be off by up to 0.004 samples.
    index = steps // blocks.up
    fraction = tf.cast(steps % blocks.up, tf.float32) / tf.cast(blocks.up, tf.float32)
    first = index[0]
    # [band, _GROUP_OUTPUTS]
    distance = tf.range(blocks.band)[:, None] - blocks.reach - (index - first)[None, :]
    return first, _windowed_sinc(tf.cast(distance, tf.float32) - fraction, blocks.ratio)


# Graphs optimize the arithmetic of the coefficients, which changes their last bit.
# Here it is a graph everywhere, also where operations run without one.
_traced_group = tf.function(_group, autograph=False)


def _pad(
    waveform: tf.Tensor, inputs: tf.Tensor | int, reach: tf.Tensor | int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Adds zeros on both sides; returns the waveform and the number of blocks."""
    samples = tf.size(waveform, out_type=tf.int64)
    count = samples // inputs + 1
    # A group of the last block ends within the next two blocks.
    after = (count + 2) * inputs - samples - reach
    zeros = [tf.zeros(tf.stack([size]), waveform.dtype) for size in (reach, after)]
    return tf.concat([zeros[0], waveform, zeros[1]], 0), count


def _rows(
    padded: tf.Tensor,
    first: tf.Tensor | int,
    count: tf.Tensor,
    inputs: tf.Tensor | int,
    band: tf.Tensor | int,
) -> tf.Tensor:
    """The inputs of one group in each block: [count, band]."""
    part = padded[first : first + count * inputs]
    return tf.reshape(part, tf.stack([count, inputs]))[:, :band]


def _any_rate(
    waveform: tf.Tensor, rate_hz: tf.Tensor, target_rate_hz: int
) -> tf.Tensor:
    """Resamples from a rate that is known when the graph runs."""
    target = tf.constant(target_rate_hz, tf.int64)
    divisor = _greatest_common_divisor(rate_hz, target)
    blocks = _divide(target // divisor, rate_hz // divisor)
    padded, count = _pad(waveform, blocks.inputs, blocks.reach)
    groups = (blocks.outputs + _GROUP_OUTPUTS - 1) // _GROUP_OUTPUTS

    def group(number: tf.Tensor) -> tf.Tensor:
        first, matrix = _traced_group(blocks, number)
        rows = _rows(padded, first, count, blocks.inputs, blocks.band)
        return tf.matmul(rows, matrix)

    # [groups, count, _GROUP_OUTPUTS]; one after another, to bound the memory.
    parts = tf.map_fn(
        group,
        tf.range(groups),
        fn_output_signature=tf.TensorSpec([None, _GROUP_OUTPUTS], tf.float32),
        parallel_iterations=1,
    )
    outputs = tf.reshape(tf.transpose(parts, [1, 0, 2]), tf.stack([count, -1]))
    return tf.reshape(outputs[:, : blocks.outputs], [-1])


@functools.cache
def _constant_groups(
    rate_hz: int, target_rate_hz: int
) -> tuple[int, int, list[tuple[int, np.ndarray]]]:
    """Inputs of a block, reach, and first input and coefficients of each group."""
    divisor = math.gcd(rate_hz, target_rate_hz)
    up, down = target_rate_hz // divisor, rate_hz // divisor
    with tf.init_scope():
        blocks = _divide(tf.constant(up, tf.int64), tf.constant(down, tf.int64))
        outputs = int(blocks.outputs)
        groups = []
        for number in range(-(-outputs // _GROUP_OUTPUTS)):
            first, matrix = _group(blocks, tf.constant(number, tf.int64))
            columns = np.asarray(matrix)[:, : outputs - number * _GROUP_OUTPUTS]
            inside = np.flatnonzero(columns.any(axis=1))
            start, end = int(inside[0]), int(inside[-1]) + 1
            groups.append((int(first) + start, columns[start:end]))
        return int(blocks.inputs), int(blocks.reach), groups


def _constant_rate(waveform: tf.Tensor, rate_hz: int, target_rate_hz: int) -> tf.Tensor:
    """Resamples from a common rate, with the filter as constants of the graph."""
    inputs, reach, groups = _constant_groups(rate_hz, target_rate_hz)
    padded, count = _pad(waveform, inputs, reach)
    parts = [
        tf.matmul(_rows(padded, first, count, inputs, len(matrix)), tf.constant(matrix))
        for first, matrix in groups
    ]
    # [count, outputs] → [count · outputs]
    return tf.reshape(tf.concat(parts, axis=1), [-1])


def input_span(
    start: tf.Tensor, count: tf.Tensor, rate_hz: tf.Tensor, target_rate_hz: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The part of a waveform that a range of resampled samples depends on.

        resample(x)[start : start + count] = resample(x[first : first + n])[skip : …]

    The part begins at a whole second, where the coefficients begin again, so that
    resampling it gives the same samples as resampling the waveform.

    >>> [int(n) for n in input_span(80_000, 160_000, 22_050, 16_000)]
    [88200, 242640, 16000]

    Args:
        start: int64 scalar, first resampled sample.
        count: int64 scalar, number of resampled samples.
        rate_hz: int scalar, rate of the waveform.
        target_rate_hz: rate of the result in Hz.

    Returns:
        int64 scalars: the first input; the number of inputs, which may exceed those
        of the waveform; and the number of resampled samples to skip.
    """
    rate, target = tf.cast(rate_hz, tf.int64), tf.constant(target_rate_hz, tf.int64)
    start, count = tf.cast(start, tf.int64), tf.cast(count, tf.int64)
    # Inputs on each side of an output, and one for its fraction.
    reach = _CROSSINGS * tf.maximum(rate, target) // target + 2
    second = tf.maximum(start * rate // target - reach, 0) // rate
    end = (start + count) * rate // target + reach
    first = second * rate
    return first, end - first, start - second * target


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
        The time is proportional to n, plus that of evaluating the coefficients,
        which are constants for the common rates.
    """
    rate_hz = tf.cast(rate_hz, tf.int64)
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
    rates = tf.constant([target_rate_hz, *common], tf.int64)
    match = tf.cast(rates == rate_hz, tf.int32)
    index = tf.reduce_sum(match * tf.range(1, len(common) + 2))
    resampled = tf.switch_case(index, branches)
    samples = tf.size(waveform, out_type=tf.int64)
    return resampled[: resampled_length(samples, rate_hz, target_rate_hz)]


def resampled_length(
    samples: tf.Tensor, rate_hz: tf.Tensor, target_rate_hz: int
) -> tf.Tensor:
    """Returns ceil(n · target / rate), the number of samples of `resample`, int64."""
    rate = tf.cast(rate_hz, tf.int64)
    return (samples * target_rate_hz + rate - 1) // rate
