import numpy as np
import pytest

from fieldlevel.statistics.estimates import Estimate


@pytest.mark.parametrize(
    ("estimate", "percent", "text"),
    [
        (Estimate(0.98712, 0.00123, 0, 0), False, "0.9871 ± 0.0012"),
        (Estimate(0.0342, 0.0015, 0, 0), True, "3.42 ± 0.15%"),
        (Estimate(-0.5, 0.2, 0, 0), False, "−0.50 ± 0.20"),
        (Estimate(123.4, 45.6, 0, 0), False, "123 ± 46"),
        (Estimate(0.12345, np.nan, np.nan, np.nan), False, "0.123"),
        (Estimate(-np.inf, np.nan, np.nan, np.nan), False, "−∞"),
    ],
)
def test_text_has_two_digits_of_the_error(estimate, percent, text):
    assert estimate.text(percent) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(-0.016, 0.068, -0.083, -0.001), "−0.016 (−0.083 to −0.001)"),
        (Estimate(10.21, 0.4, 9.8, 10.66), "10.21 (9.80 to 10.66)"),
        (Estimate(1.0, 0.0, 1.0, 1.0), "1"),
        (Estimate(0.12345, np.nan, np.nan, np.nan), "0.123"),
        (Estimate(np.nan, np.nan, np.nan, np.nan), "undefined"),
        (Estimate(9.5e12, 8.9e12, 1e12, 2e13), "9.5e12 ± 8.9e12"),
    ],
)
def test_interval_has_two_digits_of_the_error(estimate, text):
    assert estimate.interval() == text
