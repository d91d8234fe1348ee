"""Calibration against bins by hand and data of a known temperature."""

import numpy as np
import pytest

from advance_tf.metrics import calibration


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _drawn(seed, samples=20000, classes=5):
    """Logits, and classes drawn from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(samples, classes))
    sums = _softmax(logits).cumsum(axis=1)
    return logits, (rng.random((samples, 1)) > sums[:, :-1]).sum(axis=1)


def test_bins_by_hand():
    # Of four bins (0, ¼], (¼, ½], (½, ¾] and (¾, 1] the first stays empty.
    probs = [[0.5, 0.25, 0.25], [0.1, 0.3, 0.6], [0.7, 0.2, 0.1], [0.0, 1.0, 0.0]]
    measured = calibration.reliability(probs, [0, 2, 1, 1], bins=4)
    np.testing.assert_array_equal(measured.counts, [0, 1, 2, 1])
    np.testing.assert_allclose(measured.accuracy, [np.nan, 1, 0.5, 1])
    np.testing.assert_allclose(measured.confidence, [np.nan, 0.5, 0.65, 1])
    np.testing.assert_array_equal(measured.edges, [0, 0.25, 0.5, 0.75, 1])
    assert measured.ece == pytest.approx((1 * 0.5 + 2 * 0.15 + 1 * 0) / 4)


def test_an_edge_belongs_to_the_bin_below():
    for bins, edge in ((4, 0.5), (15, 1.0), (5, 0.6)):
        probs = [[edge, 1 - edge]]
        counts = calibration.reliability(probs, [0], bins).counts
        assert counts.argmax() == round(edge * bins) - 1


def test_ece_agrees_with_a_loop_over_samples():
    logits, true = _drawn(0, samples=500)
    probs = _softmax(3 * logits)
    top, right = probs.max(axis=1), probs.argmax(axis=1) == true
    gaps = [
        abs(sum(right[inside]) - sum(top[inside]))
        for b in range(15)
        for inside in [(top > b / 15) & (top <= (b + 1) / 15)]
    ]
    measured = calibration.reliability(probs, true)
    assert measured.ece == pytest.approx(sum(gaps) / 500)
    assert measured.counts.sum() == 500


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_recovers_a_known_temperature(temperature):
    logits, true = _drawn(1)
    probs = _softmax(logits * temperature).astype(np.float32)
    fit = calibration.fit_temperature(probs, true)
    assert fit.temperature == pytest.approx(temperature, rel=0.03)
    assert fit.refusal == ""


def test_the_temperature_is_where_the_likelihood_is_flat():
    logits, true = _drawn(2, samples=300)
    probs = _softmax(2 * logits)
    best = calibration.fit_temperature(probs, true).temperature

    def nll(temperature):
        scaled = _softmax(2 * logits / temperature)
        return -np.log(scaled[np.arange(300), true]).mean()

    around = np.geomspace(0.9, 1.1, 21) * best
    assert min(map(nll, around)) >= nll(best) - 1e-12


def test_a_temperature_of_1_leaves_probabilities():
    probs = _softmax(_drawn(3, samples=50)[0]).astype(np.float32)
    probs[0] = [0, 0, 1, 0, 0]
    same = calibration.with_temperature(probs, 1)
    assert same.dtype == np.float32
    np.testing.assert_allclose(same, probs, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2, 20])
def test_a_temperature_divides_logits_and_keeps_predictions(temperature):
    logits = _drawn(4, samples=200)[0]
    probs = _softmax(logits)
    scaled = calibration.with_temperature(probs, temperature)
    np.testing.assert_allclose(
        scaled, _softmax(logits / temperature), rtol=1e-5, atol=1e-30
    )
    np.testing.assert_array_equal(scaled.argmax(axis=1), probs.argmax(axis=1))


def _right(samples, sure=0.9):
    """Probabilities of three classes and classes that are all predicted right."""
    true = np.arange(samples) % 3
    return np.full((samples, 3), (1 - sure) / 2) + (1.5 * sure - 0.5) * np.eye(3)[
        true
    ], true


def test_without_an_error_no_temperature_is_fitted():
    """Fitted, it would be 0.05 and make one error on other samples cost 58 nats."""
    probs, true = _right(100)
    fit = calibration.fit_temperature(probs, true)
    assert fit.temperature == 1
    assert "received 100 samples, all predicted right" in fit.refusal
    true_of_test = np.where(np.arange(100) < 10, (true + 1) % 3, true)
    done = calibration.calibrate(probs, true, probs, true_of_test)
    assert done.refusal == fit.refusal
    assert done.temperature == 1
    expected = -0.9 * np.log(0.9) - 0.1 * np.log(0.05)
    assert done.nll_before == done.nll_after == pytest.approx(expected)
    assert done.before.ece == done.after.ece == pytest.approx(0, abs=1e-12)
    # What the refusal avoids.
    at_bound = calibration.with_temperature(probs, 0.05)[np.arange(100), true_of_test]
    assert -np.log(at_bound.clip(1e-38)).mean() > 5


def test_an_error_among_them_is_enough():
    probs, true = _right(100)
    true[0] = 1
    fit = calibration.fit_temperature(probs, true)
    assert fit.refusal == ""
    # 99 of 100 are right: T where the top probability is 0.99.
    expected = np.log(0.9 / 0.05) / np.log(0.99 / 0.005)
    assert fit.temperature == pytest.approx(expected, rel=1e-4)


def test_too_few_samples_fit_no_temperature():
    logits, true = _drawn(6, samples=50)
    probs = _softmax(2 * logits)
    fit = calibration.fit_temperature(probs[:49], true[:49])
    assert fit.temperature == 1
    assert "at least 50 samples; received 49" in fit.refusal
    enough = calibration.fit_temperature(probs, true)
    assert enough.refusal == ""
    assert 1.2 < enough.temperature < 3


@pytest.mark.parametrize(("sure", "bound"), [(0.9, "20"), (0.35, "0.05")])
def test_an_optimum_at_a_bound_is_refused(sure, bound):
    probs, true = _right(100, sure)
    # All wrong; or one wrong that hardly differs from being right.
    if sure == 0.9:
        true = (true + 1) % 3
    else:
        probs[0] = [1 / 3 - 1e-9, 1 / 3 + 1e-9, 1 / 3]
    fit = calibration.fit_temperature(probs, true)
    assert fit.temperature == 1
    assert f"received one at the bound {bound}." in fit.refusal
    assert "--" not in fit.refusal


def test_one_hot_probabilities_stay_finite():
    sure, wrong = np.eye(3)[np.arange(60) % 3], (np.arange(60) + 1) % 3
    done = calibration.calibrate(sure, wrong, sure, wrong)
    assert done.before.ece == 1
    assert np.isfinite([done.nll_before, done.nll_after]).all()


def test_only_validation_decides_the_temperature():
    logits, true = _drawn(5)
    probs = _softmax(2.5 * logits)
    done = calibration.calibrate(
        probs[:10000], true[:10000], probs[10000:], true[10000:]
    )
    fit = calibration.fit_temperature(probs[:10000], true[:10000])
    assert done.temperature == fit.temperature
    assert done.temperature == pytest.approx(2.5, rel=0.05)
    expected = [
        -np.log(_softmax(scale * logits)[np.arange(20000), true][10000:]).mean()
        for scale in (2.5, 2.5 / done.temperature)
    ]
    assert [done.nll_before, done.nll_after] == pytest.approx(expected)
    assert done.after.ece < 0.02 < 0.1 < done.before.ece
    shuffled = calibration.calibrate(
        probs[:10000], true[:10000], probs[10000:], true[10000:][::-1]
    )
    assert shuffled.temperature == done.temperature


def test_calibration_changes_no_prediction():
    probs = np.array([[0.5 - 1e-9, 0.5 + 1e-9], [0.9, 0.1]])
    done = calibration.calibrate([[0.9, 0.1]] * 100, [0] * 55 + [1] * 45, probs, [1, 0])
    assert done.temperature > 10
    for measured in (done.before, done.after):
        assert np.nansum(measured.accuracy * measured.counts) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.reliability(np.zeros((0, 3)), []), "at least one sample"),
        (lambda c: c.reliability([0.5, 0.5], [0]), r"received shape \(2,\)"),
        (lambda c: c.reliability([[2.0, -1.0]], [0]), "not logits"),
        (lambda c: c.reliability([[0.5, np.nan]], [0]), "sum of nan"),
        (lambda c: c.reliability([[0.5, 0.5]], [2]), r"lie in \[0, 2\)"),
        (lambda c: c.reliability([[0.5, 0.5]], [0, 1]), "received 1 and 2"),
        (lambda c: c.reliability([[0.5, 0.5]], [0], bins=0), "bins must be at least"),
        (lambda c: c.fit_temperature([[3.0, 4.0]], [0]), "sum of 7"),
        (lambda c: c.with_temperature([[0.5, 0.5]], 0), "temperature must be"),
        (lambda c: c.with_temperature([[0.5, 0.5]], np.nan), "received nan"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(calibration)
