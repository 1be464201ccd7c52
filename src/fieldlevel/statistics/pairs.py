"""A network trained on one suite and tested on one, and all of those that make an experiment."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import METRICS, Scores
from fieldlevel.statistics.predictions import NUMBER_COLUMNS, Predictions, csv_columns, write_table
from fieldlevel.suites import MOCK_MARK, is_mock

ORIGIN_COLUMNS = ("data", "experiment", "train_suite", "test_suite", "seed", *NUMBER_COLUMNS)
"""First columns of the table of all experiments: where from, and which map; those of the parameters follow."""

OUTSIDE_PRIOR = "outside the prior"
"""Stands for the measures of answers that lie there: how far tells nothing."""
_OF_ANSWERS = METRICS.keys() - {"squared_correlation", "mean_std"}

PairKey = tuple[str, str, int]
"""Suite that a network was trained on, suite that it was tested on, seed of its training."""


@dataclass(frozen=True)
class PairResult:
    """A network trained on one suite and tested on one: a cell of the table of all pairs.

    Attributes:
        train_suite: suite that the network was trained on.
        test_suite: suite that it was tested on.
        predictions: posterior moments of the tested maps.
        scores: every measure of every parameter.
        seed: that the network was trained with.
        train_set: of the suite, that the network was trained on.
        test_set: of the suite, that it was tested on.
    """

    train_suite: str
    test_suite: str
    predictions: Predictions
    scores: Scores
    seed: int = 0
    train_set: str = "LH"
    test_set: str = "LH"

    def __repr__(self) -> str:
        mark = f", {MOCK_MARK}" if self.is_mock else ""
        return f"<PairResult {self.name}{mark}: seed {self.seed}, {self.predictions.n_maps} maps>"

    @property
    def key(self) -> PairKey:
        """By which the same network on the same suite is found in other experiments."""
        return self.train_suite, self.test_suite, self.seed

    @property
    def layout(self) -> Layout:
        """Of the tested maps, with the parameters that were inferred."""
        return self.predictions.layout

    @property
    def crosses_suites(self) -> bool:
        """Whether the network had never seen the tested suite."""
        return self.train_suite != self.test_suite

    @property
    def is_mock(self) -> bool:
        """Whether the network or the tested maps come from a mock suite."""
        return is_mock(self.train_suite) or is_mock(self.test_suite) or self.layout.is_mock

    @property
    def name(self) -> str:
        """The pair in words, e.g. `SIMBA → IllustrisTNG`."""
        return f"{self.train_suite} → {self.test_suite}"

    def is_outside_prior(self, name: str) -> bool:
        """Whether answers of a parameter must lie outside its prior: their RMSE is above the width of the prior.

        Truths and answers within the prior are nowhere further apart than that.
        """
        parameter = self.layout.parameters[self.layout.column(name)]
        return self.scores[name]["rmse"].value > parameter.high - parameter.low

    def text(self, name: str, key: str, with_error: bool = True) -> str:
        """A measure of a parameter in words, `outside the prior` where that is all that can be said of the answers."""
        if key in _OF_ANSWERS and self.is_outside_prior(name):
            return OUTSIDE_PRIOR
        return self.scores[name][key].text(METRICS[key].percent, with_error)


Experiments = Mapping[Any, Sequence[PairResult]]
"""Tested networks by experiment; what stands for an experiment, text or key, gives its name as `str`."""


def on_own_suite(results: Iterable[PairResult]) -> dict[str, PairResult]:
    """Those of networks tested on their own suite, by suite."""
    return {result.train_suite: result for result in results if not result.crosses_suites}


def by_key(results: Iterable[PairResult]) -> dict[PairKey, PairResult]:
    """Tested networks by what they were trained and tested on and their seed, to match those of two experiments."""
    return {result.key: result for result in results}


def write_predictions(path: Path, experiments: Experiments) -> None:
    """Write the predictions of all experiments into one CSV file.

    Columns are `ORIGIN_COLUMNS` and those of all parameters that occur, in the order of their first occurrence; cells
    are empty where a pair does not have the parameter.
    """
    columns = dict.fromkeys(
        column for pairs in experiments.values() for pair in pairs for column in _moment_columns(pair)
    )
    rows = (
        (_origin(pair), str(experiment), pair.train_suite, pair.test_suite, pair.seed, *row)
        for experiment, pairs in experiments.items()
        for pair in pairs
        for row in _rows(pair, list(columns))
    )
    write_table(path, (*ORIGIN_COLUMNS, *columns), rows)


def _moment_columns(pair: PairResult) -> tuple[str, ...]:
    return csv_columns(pair.layout)[len(NUMBER_COLUMNS) :]


def _rows(pair: PairResult, columns: Sequence[str]) -> Iterable[list[object]]:
    """Numbers of each map and its moments, one for each of these columns, empty where there is none."""
    n, given = len(NUMBER_COLUMNS), _moment_columns(pair)
    places = [given.index(column) + n if column in given else None for column in columns]
    for row in pair.predictions.rows():
        yield [*row[:n], *("" if place is None else row[place] for place in places)]


def _origin(pair: PairResult) -> str:
    return MOCK_MARK if pair.is_mock else "CMD files"
