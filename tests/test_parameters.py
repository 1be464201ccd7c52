import numpy as np
import pytest

from fieldlevel.parameters import (
    MAXIMA,
    MINIMA,
    PARAMETER_NAMES,
    PARAMETERS,
    from_unit_interval,
    is_mock,
    nbody_twin,
    to_unit_interval,
)


def test_columns_are_interleaved_as_in_cmd_files():
    assert PARAMETER_NAMES == ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")


def test_priors_and_fiducial_point_of_camels():
    assert [(p.minimum, p.maximum, p.fiducial) for p in PARAMETERS] == [
        (0.1, 0.5, 0.3), (0.6, 1.0, 0.8), (0.25, 4, 1), (0.25, 4, 1), (0.5, 2, 1), (0.5, 2, 1),
    ]  # fmt: skip


def test_unit_interval_there_and_back():
    theta = np.random.default_rng(0).uniform(MINIMA, MAXIMA, (20, 6))
    unit = to_unit_interval(theta)
    assert unit.min() >= 0
    assert unit.max() <= 1
    mean, std = from_unit_interval(unit, np.full((20, 6), 0.1))
    np.testing.assert_allclose(mean, theta)
    np.testing.assert_allclose(std, np.broadcast_to(0.1 * (MAXIMA - MINIMA), (20, 6)))


@pytest.mark.parametrize(("suite", "mock"), [("MockTNG", True), ("Nbody_MockSIMBA", True), ("Nbody_SIMBA", False)])
def test_mock_suites_are_known_by_name(suite, mock):
    assert is_mock(suite) is mock


def test_twin_of_a_twin_is_itself():
    assert nbody_twin(nbody_twin("MockTNG")) == "Nbody_MockTNG"
