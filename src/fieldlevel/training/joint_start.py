r"""Correlations of scores that are more than noise: what a joint head starts from (`training.joint_fit`).

Of the normal scores z of maps the correlation of parameters i and j over all maps is

    r_ij = sum_s S_ij / (A_i A_j)^{1/2},    S_ij = sum z_i z_j over the maps of simulation s,    A_i = sum_s S_ii.

Maps of a simulation share their targets, so its error e_ij is that of simulations: with deviations d_s = S_ij / (A_i
A_j)^{1/2} - r_ij (S_ii / A_i + S_jj / A_j) / 2 of n of them, e_ij^2 = n / (n - 1) sum_s d_s^2. Few simulations of
parameters that maps hardly tell have large ones by the chance of their targets. So what is kept is

    r_ij (1 - (N_ERRORS e_ij / r_ij)^2)    where that factor is positive, else none.

References:
    Breiman 1995, Technometrics 37, 373 (the non-negative garrote).
"""

import numpy as np

from fieldlevel.arrays import BoolArray, FloatArray, IntArray

N_ERRORS = 3.0
LEAST_EIGENVALUE = 0.05
"""Of what is kept; a matrix that has a smaller one is drawn towards no correlations."""


def correlations_above_noise(score: FloatArray, known: BoolArray, theta: FloatArray) -> FloatArray:
    """The correlation matrix of scores, without what may be noise.

    Args:
        score: normal scores of the targets of maps, (n, P).
        known: which targets are known, (n, P).
        theta: targets, (n, P); maps of one simulation have the same ones, NaN in the same places.

    Returns:
        Positive definite, (P, P), ones on its diagonal; zero for pairs that no two simulations tell.
    """
    simulation = np.unique(np.nan_to_num(theta, nan=-1.0), axis=0, return_inverse=True)[1].ravel()
    n_parameters = score.shape[1]
    kept = np.eye(n_parameters)
    for i in range(n_parameters):
        for j in range(i):
            both = known[:, i] & known[:, j]
            kept[i, j] = kept[j, i] = _garrote(score[both, i], score[both, j], simulation[both])
    least = np.linalg.eigvalsh(kept)[0]
    part = min(1.0, (1.0 - LEAST_EIGENVALUE) / (1.0 - least)) if least < 1.0 else 1.0
    return np.asarray(np.eye(n_parameters) + part * (kept - np.eye(n_parameters)))


def _garrote(one: FloatArray, other: FloatArray, simulation: IntArray) -> float:
    """The correlation of two scores, each (n,), that is kept."""
    place = np.unique(simulation, return_inverse=True)[1].ravel()
    products, *squares = (np.bincount(place, weights=each) for each in (one * other, one * one, other * other))
    totals = [each.sum() for each in squares]
    n = len(products)
    if n < 2 or not min(totals) > 0:
        return 0.0
    parts = products / np.sqrt(totals[0] * totals[1])
    r = float(parts.sum())
    apart = parts - r * (squares[0] / totals[0] + squares[1] / totals[1]) / 2
    squared_error = float((apart**2).sum()) * n / (n - 1)
    return r * max(0.0, 1.0 - N_ERRORS**2 * squared_error / max(r * r, np.finfo(float).tiny))
