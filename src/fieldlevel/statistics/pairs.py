"""A network trained on one suite and tested on one, and all of those that make an experiment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fieldlevel.parameters import MOCK_MARK, is_mock
from fieldlevel.statistics.metrics import Scores
from fieldlevel.statistics.predictions import CSV_COLUMNS, Predictions, write_table

PREDICTION_COLUMNS = ("data", "experiment", "train_suite", "test_suite", "seed", *CSV_COLUMNS)
"""Of the table of all experiments: where from, then the columns of a pair."""


@dataclass(frozen=True)
class PairResult:
    """A network trained on one suite and tested on one: a cell of the four-pair table.

    Attributes:
        train_suite: suite that the network was trained on.
        test_suite: suite that it was tested on.
        predictions: posterior moments of the tested maps.
        scores: every measure of every parameter.
        seed: that the network was trained with.
    """

    train_suite: str
    test_suite: str
    predictions: Predictions
    scores: Scores
    seed: int = 0

    @property
    def crosses_suites(self) -> bool:
        """Whether the network had never seen the tested suite."""
        return self.train_suite != self.test_suite

    @property
    def is_mock(self) -> bool:
        """Whether the network or the tested maps come from a mock suite."""
        return is_mock(self.train_suite) or is_mock(self.test_suite)

    @property
    def name(self) -> str:
        """The pair in words, e.g. `SIMBA → IllustrisTNG`."""
        return f"{self.train_suite} → {self.test_suite}"


Experiments = Mapping[str, Sequence[PairResult]]
"""Tested networks by experiment."""


def on_own_suite(results: Iterable[PairResult]) -> dict[str, PairResult]:
    """Those of networks tested on their own suite, by suite."""
    return {result.train_suite: result for result in results if not result.crosses_suites}


def write_predictions(path: Path, experiments: Experiments) -> None:
    """Write the predictions of all experiments into one CSV file, columns `PREDICTION_COLUMNS`."""
    rows = (
        (_origin(pair), name, pair.train_suite, pair.test_suite, pair.seed, *row)
        for name, pairs in experiments.items()
        for pair in pairs
        for row in pair.predictions.rows()
    )
    write_table(path, PREDICTION_COLUMNS, rows)


def _origin(pair: PairResult) -> str:
    return MOCK_MARK if pair.is_mock else "CMD files"
