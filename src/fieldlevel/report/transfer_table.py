"""The matrices of a letter of several suites as tables: trained on by tested on, one for each parameter."""

from collections.abc import Mapping

from fieldlevel.statistics.transfer_matrix import TransferCell
from fieldlevel.study.results import LetterResults

TransferTable = Mapping[str, Mapping[str, TransferCell]]
"""By trained and by tested suite."""


def transfer_tables(results: LetterResults) -> dict[str, TransferTable]:
    """A table for each parameter that claims are about; none of two suites, whose pairs stand in the main table."""
    if len(results.suites) == 2:
        return {}
    return {name: _table(results, name) for name in results.judged}


def _table(results: LetterResults, name: str) -> TransferTable:
    cells, suites = results.transfer_matrix, results.suites
    return {trained: {tested: cells[trained, tested][name] for tested in suites} for trained in suites}
