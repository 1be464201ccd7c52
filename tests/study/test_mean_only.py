import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.study.mean_only import predict_from_mean

SPLIT = SplitSpec(train=0.7, validation=0.1)


def write(folder, scatter: float):
    """Flat maps of a density that follows Omega_m up to a scatter."""
    random = np.random.default_rng(1)
    n = 60
    theta = np.column_stack([random.uniform(0.1, 0.5, n), random.uniform(0.6, 1, n), np.ones((n, 4))])
    theta[:, 2:] *= random.uniform(0.5, 2, (n, 4))
    density = 5 * CRITICAL_DENSITY * np.repeat(theta[:, 0], 15) * np.exp(scatter * random.standard_normal(15 * n))
    np.save(
        folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy",
        np.ones((15 * n, 16, 16), "<f4") * density[:, None, None].astype("<f4"),
    )
    np.savetxt(folder / "params_LH_MockTNG.txt", theta, fmt="%.6f")
    return open_suite(folder, "MockTNG", check=False)


def test_a_mean_without_scatter_tells_omega_m_and_nothing_else(tmp_path):
    found = predict_from_mean(write(tmp_path, 0.0), SPLIT)
    assert found.scores["Omega_m"]["r2"].value > 0.99
    assert np.corrcoef(found.mean_density, found.predictions.theta[:, 0])[0, 1] == pytest.approx(1, abs=1e-6)
    assert found.scores["sigma_8"]["r2"].value < 0.3


def test_the_error_is_that_of_the_scatter(tmp_path):
    """A fifth of scatter in the density is a fifth in Omega_m, less what the prior knows."""
    found = predict_from_mean(write(tmp_path, 0.2), SPLIT)
    assert 0.1 < found.scores["Omega_m"]["rms_relative_error"].value < 0.35
    assert found.scores["Omega_m"]["reduced_chi2"].value == pytest.approx(1, abs=0.6)


def test_empty_maps_have_a_mean_too(tmp_path):
    suite = write(tmp_path, 0.1)
    maps = np.load(tmp_path / "Maps_Mtot_MockTNG_LH_z=0.00.npy")
    maps[::7] = 0
    np.save(tmp_path / "Maps_Mtot_MockTNG_LH_z=0.00.npy", maps)
    found = predict_from_mean(open_suite(tmp_path, suite.suite, check=False), SPLIT)
    assert np.isfinite(found.predictions.mean).all()
    assert found.scores["Omega_m"]["r2"].value > 0.5


def test_only_test_simulations_are_predicted(tmp_path):
    suite = write(tmp_path, 0.1)
    found = predict_from_mean(suite, SPLIT)
    test = split_simulations(60, SPLIT.seed, SPLIT.train, SPLIT.validation).test
    assert sorted(set(found.predictions.simulation)) == sorted(test)
    np.testing.assert_allclose(found.mean_density, suite.maps[found.predictions.map_index].mean((1, 2)), rtol=1e-6)
