"""Latin hypercubes have one value in each stratum of every column, and follow from names and numbers alone."""

from itertools import combinations

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import Layout, Parameter
from fieldlevel.simulate.designs import BLOCK, first_seed, latin_hypercube
from fieldlevel.suites import layout_of, mock_suites

SUITES = mock_suites()
EDGE = 1e-6
"""Of a stratum: values of five decimals may lie on its lower edge, which is not exact in binary."""


def unit(values: np.ndarray, parameter: Parameter) -> np.ndarray:
    low, high = parameter.low, parameter.high
    if parameter.logarithmic:
        return np.log(values / low) / np.log(high / low)
    return (values - low) / (high - low)


def design(n_rows: int, suite: str = "MockTNG", set_name: str = "LH") -> np.ndarray:
    return latin_hypercube(set_name, n_rows, suite, layout_of(suite))


@pytest.mark.parametrize("n_rows", [1, 2, 7, 50, 1000, 20_000])
@pytest.mark.parametrize("suite", SUITES)
def test_every_column_has_one_value_in_each_stratum(suite, n_rows):
    """As it is written in tables, with five decimals."""
    table = design(n_rows, suite)
    assert table.shape == (n_rows, 6)
    written = np.array([[float(f"{value:.5f}") for value in row] for row in table])
    np.testing.assert_array_equal(written, table)
    for column, parameter in zip(written.T, layout_of(suite).parameters, strict=True):
        strata = np.floor(unit(column, parameter) * n_rows + EDGE)
        np.testing.assert_array_equal(np.sort(strata), np.arange(n_rows))


def test_values_fill_their_strata():
    """They lie anywhere in them, not in the middle: uniform within 4 sigma of 6,000 numbers."""
    table = design(1000)
    shares = [unit(table[:, i], each) * 1000 % 1 for i, each in enumerate(layout_of("MockTNG").parameters)]
    assert abs(np.mean(shares) - 0.5) < 4 / 12**0.5 / 6000**0.5
    assert abs(np.var(shares) - 1 / 12) < 0.004


def test_columns_are_independent():
    """Rank correlations of 1,000 rows are within four of their standard deviations."""
    ranks = design(1000).argsort(axis=0).argsort(axis=0)
    correlations = np.corrcoef(ranks.T)[np.triu_indices(6, k=1)]
    assert np.abs(correlations).max() < 4 / 1000**0.5


def test_the_design_is_pinned():
    """It must not change with the version of SciPy: folders of labels would go on with other rows."""
    assert design(4)[0].tolist() == [0.38521, 0.73439, 0.62041, 1.41372, 0.81017, 0.94657]
    assert first_seed("LH") == 901962914477000000
    assert first_seed("LHtest") == 559352635364000000


def test_cosmology_is_shared_and_feedback_is_not():
    tables = {suite: design(100, suite) for suite in SUITES}
    for one, other in combinations(tables.values(), 2):
        np.testing.assert_array_equal(one[:, :2], other[:, :2])
        assert (one[:, 2:] != other[:, 2:]).mean() > 0.99


def test_another_number_or_set_is_another_design():
    first = design(50)
    for other in (design(51)[:50], design(50, set_name="LHtest")):
        assert not np.isin(first[:, 0], other[:, 0]).all()
        assert (first != other).any(axis=1).all()


@pytest.mark.parametrize("names", [("LH", "LHtest"), ("LHa", "LHb"), ("mine", "yours")])
def test_blocks_of_seeds_are_apart(names):
    one, other = map(first_seed, names)
    assert one % BLOCK == other % BLOCK == 0
    assert one != other
    assert all(BLOCK <= seed <= 10**18 - BLOCK for seed in (one, other))


def test_more_rows_than_values_of_five_decimals_are_refused():
    narrow = Layout((Parameter("Omega_m", low=0.3, high=0.3001, cosmological=True), Parameter("A", low=1.0, high=2.0)))
    assert len(np.unique(latin_hypercube("LH", 10, "Mine", narrow)[:, 0])) == 10
    with pytest.raises(UserError, match="n_simulations = 11: allowed are 1 to 10, as Omega_m is written with five"):
        latin_hypercube("LH", 11, "Mine", narrow)


def test_the_narrowest_strata_of_a_logarithmic_range_hold_a_value():
    """ln 4 halves of 10^5, and not one more."""
    logarithmic = Layout((Parameter("A", low=0.5, high=2.0, logarithmic=True),))
    assert len(np.unique(latin_hypercube("LH", 69_314, "Mine", logarithmic))) == 69_314
    with pytest.raises(UserError, match="n_simulations = 69315: allowed are 1 to 69314, as A is written"):
        latin_hypercube("LH", 69_315, "Mine", logarithmic)
