import numpy as np
import pytest

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.study import verdict as outcomes


@pytest.mark.parametrize(
    ("value", "error", "above"),
    [
        (1.3, 0.1, "holds"),
        (1.1, 0.1, "undecided"),
        (0.9, 0.1, "undecided"),
        (0.8, 0.1, "fails"),
        (0.7, 0.1, "fails"),
        (1.0, 0.0, "fails"),
        (2.0, np.nan, "undecided"),
        (np.nan, np.nan, "undecided"),
    ],
)
def test_a_bound_is_passed_by_two_errors_or_nothing_is_decided(value, error, above):
    estimate = Estimate(value, error, value - error, value + error)
    opposite = {"holds": "fails", "fails": "holds"}
    assert outcomes.above(estimate, 1.0) == above
    assert outcomes.at_most(estimate, 1.0) == opposite.get(above, "undecided")


def test_errors_to_both_sides_count_each_on_its_own_side():
    skewed = Estimate(-0.016, 0.068, -0.083, -0.001)
    assert outcomes.at_most(skewed, 0.1) == "holds"
    outside_low, outside_high = Estimate(0.95, 0.1, 1.1, 1.3), Estimate(1.05, 0.1, 0.7, 0.9)
    assert outcomes.above(outside_low, 1.0) == outcomes.above(outside_high, 1.0) == "undecided"


def test_one_failure_decides_and_one_open_number_leaves_all_open():
    assert outcomes.all_hold(["holds", "undecided", "fails"]) == "fails"
    assert outcomes.all_hold(["holds", "undecided"]) == "undecided"
    assert outcomes.any_holds(["fails", "undecided"]) == "undecided"
    assert outcomes.any_holds(["fails", "undecided", "holds"]) == "holds"
