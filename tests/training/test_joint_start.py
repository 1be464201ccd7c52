"""Correlations that a joint head starts from: those that no chance of few simulations makes."""

import numpy as np
import pytest

from fieldlevel.training.joint_start import LEAST_EIGENVALUE, N_ERRORS, correlations_above_noise

N_MAPS = 15


def scores(n: int, correlation: float, seed: int, shared: float = 0.0):
    """Of two parameters; a part of the variance is shared by the maps of a simulation, as that of targets is."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky([[1.0, correlation], [correlation, 1.0]])
    of_simulation, of_map = rng.standard_normal((n, 1, 2)), rng.standard_normal((n, N_MAPS, 2))
    score = (np.sqrt(shared) * of_simulation + np.sqrt(1 - shared) * of_map) @ factor.T
    theta = np.repeat(rng.random((n, 2)), N_MAPS, axis=0)
    return score.reshape(-1, 2), np.ones((n * N_MAPS, 2), dtype=bool), theta


@pytest.mark.parametrize("correlation", [0.5, -0.8])
def test_a_correlation_is_kept(correlation):
    found = correlations_above_noise(*scores(400, correlation, 1))
    assert found[0, 1] == found[1, 0] == pytest.approx(correlation, abs=0.03)
    assert np.diag(found).tolist() == [1.0, 1.0]


def test_chance_of_few_simulations_is_left_out():
    """Errors that all maps of a simulation share, as those of parameters that maps do not tell."""
    found = [correlations_above_noise(*scores(30, 0.0, seed, shared=1.0))[0, 1] for seed in range(300)]
    assert np.mean(np.array(found) != 0) < 0.03
    as_if_independent = []
    for seed in range(30):
        score, known, _ = scores(30, 0.0, seed, shared=1.0)
        alone = np.random.default_rng(seed).random((len(score), 2))
        as_if_independent.append(correlations_above_noise(score, known, alone)[0, 1])
    assert np.mean(np.array(as_if_independent) != 0) > 0.3


def test_what_is_barely_above_the_noise_is_drawn_towards_none():
    found = np.array([correlations_above_noise(*scores(100, 0.35, seed, shared=1.0))[0, 1] for seed in range(100)])
    raw = np.array([np.corrcoef(scores(100, 0.35, seed, shared=1.0)[0].T)[0, 1] for seed in range(100)])
    assert (np.abs(found) < np.abs(raw)).all()
    assert N_ERRORS * 0.9 / np.sqrt(100) < raw[found != 0].min()


def test_targets_that_are_not_known_leave_the_others():
    score, known, theta = scores(200, 0.6, 2)
    known[: len(known) // 2, 1] = False
    theta[~known] = np.nan
    half = slice(len(known) // 2, None)
    expected = correlations_above_noise(score[half], known[half], theta[half])
    np.testing.assert_allclose(correlations_above_noise(score * known, known, theta), expected)
    known[:, 1] = False
    assert correlations_above_noise(score, known, theta).tolist() == np.eye(2).tolist()


def test_it_is_positive_definite():
    score, _, theta = scores(50, 0.0, 3)
    same = np.concatenate([score[:, :1], score[:, :1], -score[:, :1]], axis=1)
    found = correlations_above_noise(same, np.ones_like(same, dtype=bool), theta)
    assert np.linalg.eigvalsh(found)[0] == pytest.approx(LEAST_EIGENVALUE)


@pytest.mark.parametrize("n", [0, 1])
def test_of_one_simulation_nothing_is_told(n):
    score, known, theta = scores(max(n, 1), 0.9, 4)
    rows = slice(0, n * N_MAPS)
    assert correlations_above_noise(score[rows], known[rows], theta[rows]).tolist() == np.eye(2).tolist()
