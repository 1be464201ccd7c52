"""Whether a network is as good on the suite that it has never seen as on its own: the four pairs.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (Fig. 2).
"""

from collections.abc import Iterator, Sequence

from fieldlevel.parameters import COSMOLOGICAL_NAMES
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.statistics.ratios import TransferRatios
from fieldlevel.study.verdicts.outcomes import (
    PRECONDITION,
    Finding,
    Verdict,
    at_most,
    conclude,
    finding_if_known,
    relative_error,
)

ROBUST_RATIO = 1.25
"""A network counts as robust where its error on the other suite is at most so many times that on its own."""


def judge_robustness(pairs: Sequence[PairResult], transfer: TransferRatios) -> Iterator[Verdict]:
    """Verdict on the four pairs, from the ratios of their errors."""
    own = on_own_suite(pairs)
    findings = {
        f"{pair.name} {name}": _transfer(own[pair.train_suite], pair, name, transfer[pair.name][name])
        for pair in pairs
        if pair.crosses_suites
        for name in COSMOLOGICAL_NAMES
    }
    return conclude(
        "four pairs",
        "A network infers Omega_m and sigma_8 as well from the suite that it has never seen as from its own.",
        f"RMSE on the other suite at most {ROBUST_RATIO} times that on the own one, beyond the error; {PRECONDITION}",
        "3.4% and 2.4% on IllustrisTNG become 3.9% and 2.6% on SIMBA; 4.5% and 2.7% on SIMBA, 4.3% and 2.7%",
        findings,
    )


def _transfer(own: PairResult, other: PairResult, name: str, ratio: Estimate) -> Finding:
    """Robustness of a network; that of one which knows nothing says nothing, its failure does."""
    before, after = relative_error(own.scores, name), relative_error(other.scores, name)
    text = f"{before} becomes {after}, RMSE ratio {ratio.interval()}"
    outcome = at_most(ratio, ROBUST_RATIO)
    return (text, outcome) if outcome == "fails" else finding_if_known(own, [name], text, outcome)
