"""The figures of a robustness study with their captions."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

from fieldlevel.figures.distance_bias import draw_distance_bias
from fieldlevel.figures.left_out_ratios import draw_left_out_ratios
from fieldlevel.figures.method_plane import Point, draw_method_plane
from fieldlevel.figures.plate import Plate
from fieldlevel.figures.risk_coverage import draw_risk_coverage
from fieldlevel.figures.transfer_matrices import draw_suite_matrices
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.transfer_matrix import TransferCell, TransferMatrix
from fieldlevel.study.robustness.fold_measures import Fold, Measures
from fieldlevel.study.robustness.robustness_document import headline
from fieldlevel.study.robustness.robustness_results import CHOSEN, RobustnessResults
from fieldlevel.study.robustness.robustness_verdicts import OWN_COST, ROBUST_RATIO
from fieldlevel.study.robustness.roles import SINGLE
from fieldlevel.study.robustness.suite_distances import to_nearest


def robustness_plates(results: RobustnessResults, measures: Measures) -> Iterator[Plate]:
    """Those that a study has data for, in the order of the report."""
    parameters, mock = results.parameters, results.is_mock
    pairs, matrix = _matrix(results, measures)
    yield Plate(
        "matrix",
        "Every suite against every suite",
        "Networks of a single suite, and by each method of all suites but the tested one (rows), tested on a suite "
        "(columns): bias, RMSE over that of the tested suite's own network, and reduced chi^2. Hatched: not tested.",
        "Matrices of coloured cells with numbers, a row of matrices for each measure.",
        lambda: draw_suite_matrices(pairs, matrix, names=results.names, mock=mock),
    )
    if measures.left_out:
        ratios = {
            method: {suite: {name: each.ratio for name, each in fold.items()} for suite, fold in folds.items()}
            for method, folds in measures.left_out.items()
        }
        yield Plate(
            "leave_one_out",
            "Leave one suite out",
            "RMSE on the suite that was left out over that of the oracle, which was trained there with the same "
            f"recipe, rows and steps; bars hold 68% of the bootstrap over simulations. Dashed: {ROBUST_RATIO}.",
            "Points with error bars, a group for each suite, one point a method.",
            lambda: draw_left_out_ratios(ratios, parameters, ROBUST_RATIO, mock=mock),
        )
        points = _points(measures)
        yield Plate(
            "accuracy_robustness",
            "Accuracy against robustness",
            "A point a method: worst RMSE of one network on all suites over that of single-suite networks, and worst "
            f"RMSE on a left-out suite over the oracle's. Dashed: {OWN_COST} and {ROBUST_RATIO}; lower left is better.",
            "Scatter plots, one point a method.",
            lambda: draw_method_plane(points, parameters, (OWN_COST, ROBUST_RATIO), mock=mock),
        )
        method = headline(measures)
        tested = {
            suite: results.predictions(results.left_out(method, suite), suite) for suite in measures.left_out[method]
        }
        yield Plate(
            "risk_coverage",
            "Risk against coverage",
            "RMSE of the maps with the smallest claimed standard deviations, against how many are kept, on each suite "
            f"that was left out ({method}). A curve that does not grow says that error bars do not tell which answers "
            "are bad.",
            "Curves of the error against the part of the maps that is kept, one a suite.",
            lambda: draw_risk_coverage(tested, parameters, mock=mock),
        )
    biases = {SINGLE: _single_biases(results, measures), **_left_out_biases(results, measures)}
    yield Plate(
        "distance_bias",
        "Bias against distance",
        "Size of the bias on a suite that was not trained on, against the rms difference of mean log10 P(k) between it "
        "and the nearest suite that was.",
        "Scatter plots of bias against distance, one point for each network and unseen suite.",
        lambda: draw_distance_bias(biases, parameters, mock=mock),
    )


def _matrix(results: RobustnessResults, measures: Measures) -> tuple[list[PairResult], TransferMatrix]:
    """Rows: networks of single suites, then for each method one of those that have not seen the column's suite."""
    rows = {
        (suite, tested): (pair, fold)
        for (suite, tested), fold in measures.matrix.items()
        for pair in _of(results, suite, tested)
    }
    for method, folds in measures.left_out.items():
        if method != CHOSEN:
            for suite, fold in folds.items():
                pair = results.pairs(results.left_out(method, suite), suite)[0]
                rows[f"others,\n{method}", suite] = (pair, fold)
    pairs = [replace(pair, train_suite=row) for (row, _), (pair, _) in rows.items()]
    return pairs, {place: _cells(fold) for place, (_, fold) in rows.items()}


def _of(results: RobustnessResults, suite: str, tested: str) -> list[PairResult]:
    role = next(role for role in results.tested if role.kind == "matrix" and role.target == suite)
    return results.pairs(role, tested)[:1]


def _cells(fold: Fold) -> dict[str, TransferCell]:
    return {
        name: TransferCell(each.scores["bias"], each.ratio, each.scores["reduced_chi2"]) for name, each in fold.items()
    }


def _points(measures: Measures) -> dict[str, dict[str, Point]]:
    """Worst over suites, at home and left out, by method and parameter."""
    return {
        method: {
            name: (
                max(row[name].ratio.value for row in suites.values()),
                max(fold[name].ratio.value for fold in measures.left_out[method].values()),
            )
            for name in next(iter(suites.values()))
        }
        for method, suites in measures.own_cost.items()
        if method in measures.left_out
    }


_Biases = list[tuple[float, Mapping[str, Estimate]]]


def _single_biases(results: RobustnessResults, measures: Measures) -> _Biases:
    return [
        (results.distances[tested, trained], _biases(fold))
        for (trained, tested), fold in measures.matrix.items()
        if trained != tested
    ]


def _left_out_biases(results: RobustnessResults, measures: Measures) -> dict[str, _Biases]:
    nearest = partial(to_nearest, results.distances)
    return {
        method: [
            (nearest(suite, [other for other in results.suites if other != suite]), _biases(fold))
            for suite, fold in folds.items()
        ]
        for method, folds in measures.left_out.items()
        if method != CHOSEN
    }


def _biases(fold: Fold) -> dict[str, Estimate]:
    return {name: each.scores["bias"] for name, each in fold.items()}
