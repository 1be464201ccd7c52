"""The matrix of all suites, trained on by tested on: bias, RMSE over that of the tested suite's own network, chi²."""

from collections.abc import Mapping
from dataclasses import dataclass

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.results import LetterResults


@dataclass(frozen=True)
class TransferCell:
    """A network on the maps of a suite.

    Attributes:
        bias: mean error, in units of the parameter.
        ratio: RMSE over that of the network that was trained on the tested suite; None for that network itself.
        reduced_chi2: mean squared error in units of the claimed one.
    """

    bias: Estimate
    ratio: Estimate | None
    reduced_chi2: Estimate


TransferTable = Mapping[str, Mapping[str, TransferCell]]
"""By trained and by tested suite."""


def transfer_tables(results: LetterResults) -> dict[str, TransferTable]:
    """A matrix for each parameter that claims are about; none of two suites, whose pairs stand in the main table."""
    if len(results.suites) == 2:
        return {}
    return {name: _table(results, name) for name in results.judged}


def _table(results: LetterResults, name: str) -> TransferTable:
    own, table = results.own, dict[str, dict[str, TransferCell]]()
    for pair in results.pairs:
        scores, native = pair.scores[name], own[pair.test_suite].predictions
        ratio = error_ratio(native, pair.predictions, names=[name])[name] if pair.crosses_suites else None
        table.setdefault(pair.train_suite, {})[pair.test_suite] = TransferCell(
            scores["bias"], ratio, scores["reduced_chi2"]
        )
    return table
