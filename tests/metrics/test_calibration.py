"""Calibration against hand-computed bins and data with a known temperature."""

import numpy as np
import pytest

from advance_tf.metrics import calibration


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _sample(seed, samples=20000, classes=5):
    """Logits, and classes sampled from their softmax."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(scale=2, size=(samples, classes))
    sums = _softmax(logits).cumsum(axis=1)
    return logits, (rng.random((samples, 1)) > sums[:, :-1]).sum(axis=1)


def test_bins_computed_by_hand():
    # Of four bins (0, ¼], (¼, ½], (½, ¾] and (¾, 1] the first is empty.
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
    logits, true = _sample(0, samples=500)
    probs = _softmax(3 * logits)
    top, correct = probs.max(axis=1), probs.argmax(axis=1) == true
    gaps = [
        abs(sum(correct[inside]) - sum(top[inside]))
        for b in range(15)
        for inside in [(top > b / 15) & (top <= (b + 1) / 15)]
    ]
    measured = calibration.reliability(probs, true)
    assert measured.ece == pytest.approx(sum(gaps) / 500)
    assert measured.counts.sum() == 500


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_recovers_a_known_temperature(temperature):
    logits, true = _sample(1)
    probs = _softmax(logits * temperature).astype(np.float32)
    fit = calibration.fit_temperature(probs, true)
    assert fit.temperature == pytest.approx(temperature, rel=0.03)
    assert fit.refusal == ""


def test_the_temperature_minimizes_the_negative_log_likelihood():
    logits, true = _sample(2, samples=300)
    probs = _softmax(2 * logits)
    best = calibration.fit_temperature(probs, true).temperature

    def nll(temperature):
        scaled = _softmax(2 * logits / temperature)
        return -np.log(scaled[np.arange(300), true]).mean()

    neighbours = np.geomspace(0.9, 1.1, 21) * best
    assert min(map(nll, neighbours)) >= nll(best) - 1e-12


def test_a_temperature_of_1_leaves_probabilities_unchanged():
    probs = _softmax(_sample(3, samples=50)[0]).astype(np.float32)
    probs[0] = [0, 0, 1, 0, 0]
    unchanged = calibration.with_temperature(probs, 1)
    assert unchanged.dtype == np.float32
    np.testing.assert_allclose(unchanged, probs, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("temperature", [0.05, 0.5, 2, 20])
def test_a_temperature_divides_logits_and_keeps_predictions(temperature):
    logits = _sample(4, samples=200)[0]
    probs = _softmax(logits)
    scaled = calibration.with_temperature(probs, temperature)
    np.testing.assert_allclose(
        scaled, _softmax(logits / temperature), rtol=1e-5, atol=1e-30
    )
    np.testing.assert_array_equal(scaled.argmax(axis=1), probs.argmax(axis=1))


def _all_correct(samples, top=0.9):
    """Probabilities of three classes, and classes that are all predicted correctly."""
    true = np.arange(samples) % 3
    return np.full((samples, 3), (1 - top) / 2) + (1.5 * top - 0.5) * np.eye(3)[
        true
    ], true


def test_without_a_wrong_prediction_the_fit_is_refused():
    """A fit would end at 0.05, where one error on other samples costs 58 nats."""
    probs, true = _all_correct(100)
    fit = calibration.fit_temperature(probs, true)
    assert fit.temperature == 1
    assert "received 100 samples, all predicted correctly" in fit.refusal
    true_of_test = np.where(np.arange(100) < 10, (true + 1) % 3, true)
    result = calibration.calibrate(probs, true, probs, true_of_test)
    assert result.refusal == fit.refusal
    assert result.temperature == 1
    expected = -0.9 * np.log(0.9) - 0.1 * np.log(0.05)
    assert result.nll_before == result.nll_after == pytest.approx(expected)
    assert result.before.ece == result.after.ece == pytest.approx(0, abs=1e-12)
    # The loss that the refusal avoids.
    at_bound = calibration.with_temperature(probs, 0.05)[np.arange(100), true_of_test]
    assert -np.log(at_bound.clip(1e-38)).mean() > 5


def test_one_wrong_prediction_is_enough():
    probs, true = _all_correct(100)
    true[0] = 1
    fit = calibration.fit_temperature(probs, true)
    assert fit.refusal == ""
    # 99 of 100 are correct: T where the top probability is 0.99.
    expected = np.log(0.9 / 0.05) / np.log(0.99 / 0.005)
    assert fit.temperature == pytest.approx(expected, rel=1e-4)


def test_too_few_samples_are_refused():
    logits, true = _sample(6, samples=50)
    probs = _softmax(2 * logits)
    fit = calibration.fit_temperature(probs[:49], true[:49])
    assert fit.temperature == 1
    assert "at least 50 samples; received 49" in fit.refusal
    enough = calibration.fit_temperature(probs, true)
    assert enough.refusal == ""
    assert 1.2 < enough.temperature < 3


@pytest.mark.parametrize(("top", "bound"), [(0.9, "20"), (0.35, "0.05")])
def test_an_optimum_at_a_bound_is_refused(top, bound):
    probs, true = _all_correct(100, top)
    # All wrong, or one wrong by a small margin.
    if top == 0.9:
        true = (true + 1) % 3
    else:
        probs[0] = [1 / 3 - 1e-9, 1 / 3 + 1e-9, 1 / 3]
    fit = calibration.fit_temperature(probs, true)
    assert fit.temperature == 1
    assert f"received the bound {bound}." in fit.refusal
    assert "--" not in fit.refusal


def test_one_hot_probabilities_stay_finite():
    one_hot, wrong = np.eye(3)[np.arange(60) % 3], (np.arange(60) + 1) % 3
    result = calibration.calibrate(one_hot, wrong, one_hot, wrong)
    assert result.before.ece == 1
    assert np.isfinite([result.nll_before, result.nll_after]).all()


def test_the_temperature_depends_on_validation_only():
    logits, true = _sample(5)
    probs = _softmax(2.5 * logits)
    result = calibration.calibrate(
        probs[:10000], true[:10000], probs[10000:], true[10000:]
    )
    fit = calibration.fit_temperature(probs[:10000], true[:10000])
    assert result.temperature == fit.temperature
    assert result.temperature == pytest.approx(2.5, rel=0.05)
    expected = [
        -np.log(_softmax(scale * logits)[np.arange(20000), true][10000:]).mean()
        for scale in (2.5, 2.5 / result.temperature)
    ]
    assert [result.nll_before, result.nll_after] == pytest.approx(expected)
    assert result.after.ece < 0.02 < 0.1 < result.before.ece
    shuffled = calibration.calibrate(
        probs[:10000], true[:10000], probs[10000:], true[10000:][::-1]
    )
    assert shuffled.temperature == result.temperature


def test_calibration_changes_no_prediction():
    probs = np.array([[0.5 - 1e-9, 0.5 + 1e-9], [0.9, 0.1]])
    result = calibration.calibrate(
        [[0.9, 0.1]] * 100, [0] * 55 + [1] * 45, probs, [1, 0]
    )
    assert result.temperature > 10
    for measured in (result.before, result.after):
        assert np.nansum(measured.accuracy * measured.counts) == 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.reliability(np.zeros((0, 3)), []), "at least one sample"),
        (lambda c: c.reliability([0.5, 0.5], [0]), r"received shape \(2,\)"),
        (lambda c: c.reliability([[2.0, -1.0]], [0]), "not logits"),
        (lambda c: c.reliability([[0.5, np.nan]], [0]), "sum of nan"),
        (lambda c: c.reliability([[0.5, 0.5]], [2]), r"be in \[0, 2\)"),
        (lambda c: c.reliability([[0.5, 0.5]], [0, 1]), "received 1 and 2"),
        (lambda c: c.reliability([[0.5, 0.5]], [0], bins=0), "bins must be at least"),
        (lambda c: c.fit_temperature([[3.0, 4.0]], [0]), "sum of 7"),
        (lambda c: c.with_temperature([[0.5, 0.5]], 0), "temperature must be"),
        (lambda c: c.with_temperature([[0.5, 0.5]], np.nan), "received nan"),
    ],
)
def test_invalid_input_is_rejected(call, message):
    with pytest.raises(ValueError, match=message):
        call(calibration)
