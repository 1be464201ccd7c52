r"""How unusual one map is: a conformal p-value among the maps of held-out simulations.

Maps of one simulation share its initial conditions and feedback, so they are not exchangeable with one another, but
simulations are. Of a map of a new simulation with the score s, and K held-out simulations with the scores
\(s_{kj}\), \(j = 1 \ldots n_k\),

$$ p = \frac{1 + \sum_k n_k^{-1} \#\{j : s_{kj} \ge s\}}{K + 1} $$

is below any \(\alpha\) with a probability of at most \(\alpha\), whatever the distributions are: each simulation counts
once, however many maps it has. p cannot be below 1 / (K + 1) so. For scores beyond all that are known it falls on from
there as the tail of a Pareto law through the largest of them (Hill's estimate), which is no guarantee, but tells maps
that are slightly odd from ones that are absurd.

Maps of a network whose training maps were smoothed by many widths are each compared with the few of every held-out
simulation that were smoothed most nearly as they were (`trust_reference.Reference.p_values`): scores of one width may
be larger than those of another, and then own maps of that width would be called unlike too often beside all of them.

References:
    Dunn, Wasserman & Ramdas 2022, arXiv:1809.07441; Lee, Barber & Willett 2023, arXiv:2306.06342; Hill 1975, Ann.
    Statist. 3, 1163.
"""

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray

LEAST_P = 1e-9
_OF_TAIL = 0.1
"""Share of the scores that the tail is measured on, ten at least."""
LARGEST_FALL = 30.0
"""Of the exponent of the tail."""


def conformal_p(scores: FloatArray, known: FloatArray, simulation: IntArray) -> FloatArray:
    """P-values of maps, each by itself.

    Args:
        scores: of the maps, (m,), positive, larger where they are more unusual.
        known: of maps of held-out simulations, (n,).
        simulation: number of the simulation of each of those, (n,).

    Returns:
        (m,), above zero.

    Example:
        >>> known, simulation = np.arange(1.0, 100.0), np.arange(99)
        >>> conformal_p(np.array([0.5, 50.5, 99.0]), known, simulation).tolist()
        [1.0, 0.5, 0.02]
        >>> bool(conformal_p(np.array([200.0]), known, simulation)[0] < 0.01)
        True
    """
    _, place, counts = np.unique(simulation, return_inverse=True, return_counts=True)
    order = np.argsort(known)
    above = np.append(np.cumsum((1 / counts[place])[order][::-1])[::-1], 0.0)
    n_simulations = len(counts)
    p = (1 + above[np.searchsorted(known[order], scores, side="left")]) / (n_simulations + 1)
    return np.maximum(p * _beyond(scores, known), LEAST_P)


def _beyond(scores: FloatArray, known: FloatArray) -> FloatArray:
    """How far p falls beyond the largest known score, (m,), 1 before it."""
    tail = np.sort(known)[-max(10, round(_OF_TAIL * len(known))) :]
    if not tail[0] > 0:
        return np.where(scores > tail[-1], 0.0, 1.0)
    fall = np.clip(1 / max(float(np.log(tail / tail[0]).mean()), 1 / LARGEST_FALL), 1.0, LARGEST_FALL)
    ratio = tail[-1] / np.maximum(scores, tail[-1])
    return np.asarray(np.where(np.isfinite(scores), ratio**fall, 0.0))
