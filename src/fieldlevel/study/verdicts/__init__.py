"""What each experiment of the letter claims, what came out, and whether the claim holds.

Every criterion is written down before the numbers are known and stands in the report beside them. It compares a number
x with a bound b. The number has errors from a bootstrap over simulations, down to the 16th percentile x - d and up to
the 84th x + u, and "x above b"

    holds if x - 2 d > b,    fails if x + 2 u <= b,    and is undecided else:

few test simulations leave a claim undecided, they never make it hold. The two errors differ where they must: R² of a
network that always gives the same is at most 0, however few simulations there are. Errors of the same simulations, or
of twins, are compared by their ratio with the same simulations drawn on both sides.

A network that has learnt nothing is robust, is not misled by a destroyed map and makes nothing of permuted labels. Such
claims are judged only where the network knows the parameter on the maps as they are: R² above 0.5, beyond its error.

Per cent are rms relative errors, as the letter gives them; criteria are on the RMSE, which the ratios of the robustness
matrix are of too, and in which simulations of small Omega_m do not outweigh the others.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Mapping

from fieldlevel.statistics.pairs import Experiments
from fieldlevel.statistics.ratios import TransferRatios, transfer_ratios
from fieldlevel.study.mean_only import MeanOnly
from fieldlevel.study.verdicts.gravity_only import judge_gravity_only
from fieldlevel.study.verdicts.null_tests import judge_null_tests
from fieldlevel.study.verdicts.outcomes import SIGNIFICANCE, Verdict
from fieldlevel.study.verdicts.robustness import judge_robustness
from fieldlevel.study.verdicts.small_scales import judge_small_scales
from fieldlevel.study.verdicts.summaries import judge_summaries

__all__ = ["SIGNIFICANCE", "Verdict", "judge"]


def judge(
    experiments: Experiments, mean_only: Mapping[str, MeanOnly], transfer: TransferRatios | None = None
) -> list[Verdict]:
    """A verdict on every experiment that was done.

    Args:
        experiments: results by name, those of one seed.
        mean_only: the predictors that know the mean of a map alone, by suite.
        transfer: ratios of the four pairs, if they are known already.
    """
    pairs = experiments["four pairs"]
    return [
        *judge_robustness(pairs, transfer or transfer_ratios(pairs)),
        *judge_null_tests(experiments),
        *judge_summaries(experiments, mean_only),
        *judge_gravity_only(experiments),
        *judge_small_scales(experiments),
    ]
