"""Errors beside one another: of a network on another suite, of another network, on changed maps."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.parameters import COSMOLOGICAL_COLUMNS, COSMOLOGICAL_NAMES, PARAMETER_NAMES, is_nbody
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, Metric, ratio
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.statistics.predictions import Predictions


def error_ratio(
    baseline: Predictions,
    other: Predictions,
    metric: str = "rmse",
    baseline_metric: str | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    names: Sequence[str] = PARAMETER_NAMES,
) -> dict[str, Estimate]:
    """Error of some predictions divided by that of others: on another suite, of another network, on changed maps.

    Where both sides hold the same simulations, or twins with the same initial conditions and cosmology, each resampling
    draws the same ones on both sides, so that what they have in common cancels; else both are drawn independently.

    Args:
        baseline: what is compared with.
        other: what is compared.
        metric: key of the measure.
        baseline_metric: key of the measure of the baseline; the same by default.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.
        names: of the parameters to compare.

    Returns:
        Ratio of each parameter by name.

    Raises:
        UserError: unknown measure or fewer than two resamplings.

    Example:
        >>> theta, simulation = np.linspace(1.0, 2.0, 12).reshape(2, 6), np.arange(2)
        >>> narrow, wide = (Predictions(theta, theta + d, theta, simulation, simulation) for d in (0.1, 0.3))
        >>> error_ratio(narrow, wide)["sigma_8"].value.__round__(4)
        3.0
    """
    below_metric, above_metric = _metric(baseline_metric or metric), _metric(metric)
    below = Bootstrap.draw(baseline.simulation, n_bootstrap, [seed, 0])
    is_paired = _share_simulations(baseline, other)
    above = Bootstrap.draw(other.simulation, n_bootstrap, [seed, 0 if is_paired else 1])
    ratios = {}
    for name in names:
        value, replicas = above_metric.measure(other, name, above)
        baseline_value, baseline_replicas = below_metric.measure(baseline, name, below)
        quotients = ratio(replicas, baseline_replicas)
        ratios[name] = Estimate.from_replicas(float(ratio(value, baseline_value)), quotients)
    return ratios


def _metric(key: str) -> Metric:
    if key not in METRICS:
        raise UserError(f"error ratio: no measure {key!r}; choose from {', '.join(METRICS)}")
    return METRICS[key]


def _share_simulations(one: Predictions, other: Predictions) -> bool:
    """Whether both hold the same simulations or twins: the same numbers, each with the same cosmology on both sides."""
    numbers, first = np.unique(one.simulation, return_index=True)
    other_numbers, other_first = np.unique(other.simulation, return_index=True)
    if not np.array_equal(numbers, other_numbers):
        return False
    return np.allclose(one.theta[first][:, COSMOLOGICAL_COLUMNS], other.theta[other_first][:, COSMOLOGICAL_COLUMNS])


TransferRatios = Mapping[str, Mapping[str, Estimate]]
"""Error over the error on the network's own suite, by `PairResult.name` and parameter name."""


def transfer_ratios(pairs: Iterable[PairResult], n_bootstrap: int = 1000) -> TransferRatios:
    """RMSE of each network on another suite over that on its own, where both were tested.

    Gravity-only suites have no feedback: pairs with one have the ratios of Omega_m and sigma_8 alone.

    Args:
        pairs: tested networks, one of each training suite.
        n_bootstrap: resamplings of the simulations.
    """
    tested = list(pairs)
    own = on_own_suite(tested)
    return {
        pair.name: error_ratio(
            own[pair.train_suite].predictions, pair.predictions, n_bootstrap=n_bootstrap, names=_meaningful(pair)
        )
        for pair in tested
        if pair.crosses_suites and pair.train_suite in own
    }


def _meaningful(pair: PairResult) -> Sequence[str]:
    """Parameters without those of feedback where a side of the pair has no feedback."""
    return COSMOLOGICAL_NAMES if is_nbody(pair.train_suite) or is_nbody(pair.test_suite) else PARAMETER_NAMES
