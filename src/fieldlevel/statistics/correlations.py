r"""Correlations that joint posteriors claim, beside those of their errors.

With z_i = (theta_i - mu_i) / sigma_i, where mu and sigma are those of a map's posterior and rho_ij its correlation,

    E[z_i z_j] = E[rho_ij]

where posteriors are exact, whatever their shape; the moments alone claim none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.sbc import check_samples

WEAKEST = 0.05
"""Of the correlations that are told."""
N_ERRORS = 3
"""By how many of its own errors one that is told differs from none."""


@dataclass(frozen=True)
class Correlation:
    """Of two parameters.

    Attributes:
        first: number of one parameter.
        second: number of the other.
        claimed: mean over maps of the correlation of the posterior.
        found: of the errors in units of sigma, over maps.
    """

    first: int
    second: int
    claimed: Estimate
    found: Estimate

    def to_json(self, names: list[str]) -> dict[str, Any]:
        """Plain JSON types, with the parameters' names."""
        pair = [names[self.first], names[self.second]]
        return {"parameters": pair, "claimed": self.claimed.to_json(), "found": self.found.to_json()}


def correlations(
    samples: FloatArray, theta: FloatArray, simulation: IntArray, n_bootstrap: int = 400, seed: int = 0
) -> list[Correlation]:
    """Compare the correlations of joint posteriors with those of their errors, by bootstrap over simulations.

    Args:
        samples: of the posteriors, (S, n, P), in any units.
        theta: truths in the same units, (n, P); parameters without any are left out.
        simulation: number of the simulation of each map, (n,).
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        One for each pair of parameters that have truths.

    Raises:
        UserError: shapes that disagree.
    """
    check_samples(samples, theta)
    mean, std = samples.mean(axis=0), samples.std(axis=0)
    centred, z = samples - mean, (theta - mean) / std
    draws = Bootstrap.draw(simulation, n_bootstrap, [seed])
    found = []
    for i, j in combinations(np.flatnonzero(~np.isnan(theta).any(axis=0)), 2):
        claimed = (centred[:, :, i] * centred[:, :, j]).mean(axis=0) / (std[:, i] * std[:, j])
        products = [z[:, i] * z[:, j], z[:, i] ** 2, z[:, j] ** 2]
        (of_claims,) = draws.averages(claimed)
        both, one, other = draws.averages(*products)
        mean = [product.mean() for product in products]
        error = Estimate.from_replicas(float(mean[0] / np.sqrt(mean[1] * mean[2])), both / np.sqrt(one * other))
        found.append(Correlation(int(i), int(j), Estimate.from_replicas(float(claimed.mean()), of_claims), error))
    return found


def telling_pairs(pairs: Sequence[Mapping[str, Any]], always: Sequence[str]) -> list[Mapping[str, Any]]:
    """The pairs among some parameters, then all others that are correlated above the noise, the strongest first.

    Args:
        pairs: correlations as `Correlation.to_json` tells them.
        always: names of the parameters whose pairs are told however weak they are.
    """
    first = [pair for pair in pairs if set(pair["parameters"]) <= set(always)]
    others = [pair for pair in pairs if pair not in first and any(map(_is_above_noise, _both(pair)))]
    return [*first, *sorted(others, key=_strength, reverse=True)]


def _both(pair: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Value and error of what is claimed and of what is found."""
    return [(float(pair[key]["value"]), float(pair[key]["error"])) for key in ("claimed", "found")]


def _strength(pair: Mapping[str, Any]) -> float:
    return max(abs(value) for value, _ in _both(pair))


def _is_above_noise(estimate: tuple[float, float]) -> bool:
    value, error = estimate
    return abs(value) > max(WEAKEST, N_ERRORS * error)
