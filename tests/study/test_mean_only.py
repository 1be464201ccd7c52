import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.study.mean_only import guess_from_mean, pool_violators, predict_from_mean

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


def test_the_guess_from_the_mean_never_turns_over(tmp_path):
    """Few maps are very dense; a cubic fitted to them all falls there."""
    found = predict_from_mean(write(tmp_path, 0.4), SPLIT)
    ordered = found.predictions.mean[np.argsort(found.mean_density)]
    steps = np.diff(ordered, axis=0)
    assert all((column >= 0).all() or (column <= 0).all() for column in steps.T)
    assert (steps[:, 0] >= 0).all()


@pytest.mark.parametrize(
    ("heights", "weights", "expected"),
    [
        ([1.0, 2.0, 3.0], [1, 1, 1], [1, 2, 3]),
        ([3.0, 2.0, 1.0], [1, 1, 1], [2, 2, 2]),
        ([1.0, 3.0, 0.0], [1, 1, 2], [1, 1, 1]),
        ([0.0, 2.0, 1.0, 5.0, 4.0], [1, 3, 1, 1, 1], [0, 1.75, 1.75, 4.5, 4.5]),
    ],
)
def test_violators_are_pooled(heights, weights, expected):
    assert pool_violators(np.array(heights), np.array(weights)).tolist() == expected


def test_a_falling_curve_is_found_as_well_and_kept_beyond_its_ends():
    x = np.arange(1.0, 301.0)
    guess = guess_from_mean(x, -x[:, None], np.array([0.5, 150.0, 900.0]))[:, 0]
    assert guess == pytest.approx([-5.5, -150, -295.5], abs=2)
