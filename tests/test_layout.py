import numpy as np
import pytest

from fieldlevel.layout import CAMELS_PARAMETERS, Layout
from fieldlevel.suites import is_mock, nbody_twin

CMD = Layout()


def test_columns_are_interleaved_as_in_cmd_files():
    assert CMD.names == ("Omega_m", "sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2")


def test_priors_and_fiducial_point_of_camels():
    assert [(p.low, p.high, p.fiducial) for p in CAMELS_PARAMETERS] == [
        (0.1, 0.5, 0.3), (0.6, 1.0, 0.8), (0.25, 4, 1), (0.25, 4, 1), (0.5, 2, 1), (0.5, 2, 1),
    ]  # fmt: skip


def test_unit_interval_there_and_back():
    theta = np.random.default_rng(0).uniform(CMD.lows, CMD.highs, (20, 6))
    unit = CMD.to_unit_interval(theta)
    assert unit.min() >= 0
    assert unit.max() <= 1
    mean, std = CMD.from_unit_interval(unit, np.full((20, 6), 0.1))
    np.testing.assert_allclose(mean, theta)
    np.testing.assert_allclose(std, np.broadcast_to(0.1 * (CMD.highs - CMD.lows), (20, 6)))


@pytest.mark.parametrize(("suite", "mock"), [("MockTNG", True), ("Nbody_MockSIMBA", True), ("Nbody_SIMBA", False)])
def test_mock_suites_are_known_by_name(suite, mock):
    assert is_mock(suite) is mock


def test_twin_of_a_twin_is_itself():
    assert nbody_twin(nbody_twin("MockTNG")) == "Nbody_Mock"
    assert nbody_twin(nbody_twin("SIMBA")) == "Nbody_SIMBA"
