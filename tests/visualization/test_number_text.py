"""Numbers as a reader wants them."""

import pytest

from advance_tf.visualization import number_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.99934, "0.9993"),
        (0.834, "0.83"),
        (0.0951, "0.10"),
        (0.0031, "0.0031"),
        (1e-5, "<0.0001"),
    ],
)
def test_probabilities_keep_the_digits_that_count(value, text):
    assert number_text.probability(value) == text


def test_numbers_are_readable():
    assert number_text.percent(0.12345) == "12.3"
    assert number_text.percent(float("nan")) == "–"
    assert number_text.signed(-1.234) == "−1.23"
    assert number_text.signed(0.5, 1) == "+0.5"
    assert number_text.signed(-0.001) == "+0.00"
