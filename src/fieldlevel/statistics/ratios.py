"""Errors beside one another: of a network on another suite, of another network, on changed maps."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, Metric, ratio
from fieldlevel.statistics.pairs import PairResult, by_key
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.shared_parameters import main_parameters, shared_parameters
from fieldlevel.suites import is_nbody


def error_ratio(
    baseline: Predictions,
    other: Predictions,
    metric: str = "rmse",
    baseline_metric: str | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    names: Sequence[str] | None = None,
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
        names: of the parameters to compare; by default all that both sides have.

    Returns:
        Ratio of each parameter by name.

    Raises:
        UserError: unknown measure, a parameter that a side does not have, or fewer than two resamplings.

    Example:
        >>> theta, simulation = np.linspace(1.0, 2.0, 12).reshape(2, 6), np.arange(2)
        >>> narrow, wide = (Predictions(theta, theta + d, theta, simulation, simulation) for d in (0.1, 0.3))
        >>> error_ratio(narrow, wide)["sigma_8"].value.__round__(4)
        3.0
    """
    below_metric, above_metric = _metric(baseline_metric or metric), _metric(metric)
    if names is None:
        names = [parameter.name for parameter in shared_parameters([baseline.layout, other.layout])]
    below = Bootstrap.draw(baseline.simulation, n_bootstrap, [seed, 0])
    is_paired = share_simulations(baseline, other)
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


def share_simulations(one: Predictions, other: Predictions) -> bool:
    """Whether both hold the same simulations or twins: the same numbers, each with the same cosmology on both sides.

    Where the sides have no cosmological parameter in common, all parameters that they have tell.
    """
    numbers, first = np.unique(one.simulation, return_index=True)
    other_numbers, other_first = np.unique(other.simulation, return_index=True)
    if not np.array_equal(numbers, other_numbers):
        return False
    names = [parameter.name for parameter in main_parameters([one.layout, other.layout])]
    truths = [(one.moments_of(name)[0][first], other.moments_of(name)[0][other_first]) for name in names]
    known = [sides for sides in truths if np.isfinite(sides).all()]
    return bool(known) and all(np.allclose(*sides) for sides in known)


TransferRatios = Mapping[str, Mapping[str, Estimate]]
"""Error over the error on the network's own suite, by `PairResult.name` and parameter name."""


def transfer_ratios(pairs: Iterable[PairResult], n_bootstrap: int = 1000) -> TransferRatios:
    """RMSE of each network on another suite over that on its own, where both were tested.

    Each is compared with the network of its own training suite and seed. Gravity-only suites have no feedback: pairs
    with one have the ratios of the cosmological parameters alone.

    Args:
        pairs: tested networks, one of each training suite.
        n_bootstrap: resamplings of the simulations.
    """
    tested = list(pairs)
    own = by_key(pair for pair in tested if not pair.crosses_suites)
    sides = [(own.get((pair.train_suite, pair.train_suite, pair.seed)), pair) for pair in tested if pair.crosses_suites]
    return {
        pair.name: error_ratio(
            home.predictions, pair.predictions, n_bootstrap=n_bootstrap, names=meaningful_names(home, pair)
        )
        for home, pair in sides
        if home is not None
    }


def meaningful_names(*pairs: PairResult) -> list[str]:
    """Parameters that all pairs have, without those of feedback where one was trained or tested without feedback."""
    shared = shared_parameters(pair.layout for pair in pairs)
    gravity_only = any(is_nbody(suite) for pair in pairs for suite in (pair.train_suite, pair.test_suite))
    return [parameter.name for parameter in shared if parameter.cosmological or not gravity_only]
