r"""How every network does on every suite: bias, error over that of the suite's own network, honesty of the error bars.

For networks trained on A and tested on B, and each parameter,

    bias(A, B)       = <mu - theta>,
    rmse_ratio(A, B) = RMSE(A on B) / RMSE(B on B),
    reduced_chi2     = <(theta - mu)^2 / sigma^2>;

0, 1 and 1 are ideal. The ratio tells what is lost by not having been trained on B; `ratios.transfer_ratios` tells how
much worse than at home a network is. Whatever is tested on the same simulations is measured with the same resamplings
of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from fieldlevel.errors import UserError
from fieldlevel.layout import Parameter
from fieldlevel.statistics.bootstrap import Bootstrap
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.ratios import error_ratio, meaningful_names

IDEALS = {"bias": 0.0, "rmse_ratio": 1.0, "reduced_chi2": 1.0}
"""Measures of a cell, and what a network that is at home everywhere would have."""


@dataclass(frozen=True)
class TransferCell:
    """How a network infers one parameter on one suite.

    Attributes:
        bias: mean error, in units of the parameter.
        rmse_ratio: RMSE over that of the network trained on the tested suite; undefined where none was.
        reduced_chi2: mean squared error in units of the claimed one.
    """

    bias: Estimate
    rmse_ratio: Estimate
    reduced_chi2: Estimate

    def bias_of_prior(self, parameter: Parameter) -> Estimate:
        """The bias in units of the width of the prior."""
        width = parameter.high - parameter.low
        return Estimate(*(part / width for part in (self.bias.value, self.bias.error, self.bias.low, self.bias.high)))


TransferMatrix = Mapping[tuple[str, str], Mapping[str, TransferCell]]
"""Cells by the suites trained and tested on, then by the name of the parameter."""


def transfer_matrix(pairs: Iterable[PairResult], n_bootstrap: int = 1000, seed: int = 0) -> TransferMatrix:
    """Measure every pair of suites and each parameter that means something there.

    Args:
        pairs: tested networks, one for each suite trained on and suite tested on, in any order; some may be missing.
        n_bootstrap: resamplings of the simulations.
        seed: of the resampling.

    Returns:
        Cells in the order of the pairs. A parameter that the network of the tested suite does not have, or a suite
        without a network of its own, has an undefined ratio.

    Raises:
        UserError: two networks for one pair, or fewer than two resamplings.
    """
    tested: dict[tuple[str, str], PairResult] = {}
    for pair in pairs:
        if tested.setdefault((pair.train_suite, pair.test_suite), pair) is not pair:
            raise UserError(f"transfer matrix: {pair.name} twice; give the networks of one seed")
    return {
        place: _cells(pair, tested.get((pair.test_suite, pair.test_suite)), n_bootstrap, seed)
        for place, pair in tested.items()
    }


def _cells(pair: PairResult, own: PairResult | None, n_bootstrap: int, seed: int) -> dict[str, TransferCell]:
    """A cell for each parameter of a pair, beside the network of the tested suite."""
    draws = Bootstrap.draw(pair.predictions.simulation, n_bootstrap, [seed, 0])
    ratios = _ratios(pair, own, n_bootstrap, seed)
    undefined = Estimate(*4 * [np.nan])

    def measured(key: str, name: str) -> Estimate:
        return Estimate.from_replicas(*METRICS[key].measure(pair.predictions, name, draws))

    return {
        name: TransferCell(measured("bias", name), ratios.get(name, undefined), measured("reduced_chi2", name))
        for name in meaningful_names(pair)
    }


def _ratios(pair: PairResult, own: PairResult | None, n_bootstrap: int, seed: int) -> dict[str, Estimate]:
    if own is None:
        return {}
    names = meaningful_names(own, pair)
    return error_ratio(own.predictions, pair.predictions, n_bootstrap=n_bootstrap, seed=seed, names=names)
