"""`summary.json`: the numbers of a robustness study in plain JSON types, those that claims are about first."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fieldlevel.spec_io import to_json
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.study.robustness.fold_measures import Fold, FoldMeasure, Measures, worst
from fieldlevel.study.robustness.robust_methods import POOLED
from fieldlevel.study.robustness.robustness_results import CHOSEN, TITLE, RobustnessResults
from fieldlevel.study.robustness.robustness_verdicts import judge_left_out
from fieldlevel.study.robustness.roles import ALL_TARGET
from fieldlevel.study.verdict import Verdict
from fieldlevel.suites import MOCK_MARK

FORMAT = "3"


def robustness_document(
    results: RobustnessResults,
    measures: Measures,
    verdicts: Sequence[Verdict],
    sentences: Sequence[str],
    figures: Sequence[Path],
    out: Path,
) -> dict[str, Any]:
    """Contents of `summary.json`.

    Args:
        results: of the study.
        measures: of it.
        verdicts: of it.
        sentences: that sum it up.
        figures: PNG of each; a PDF lies beside it.
        out: output folder.

    Returns:
        First `worst_ratio_leave_one_out`, `worst_ratio_adapted`, `coverage68_by_fold` (the lowest of the parameters,
        with transfer error bars where there are any) and `own_cost` of the headline method, None where a part was not
        done.
    """
    method = headline(measures)
    return {
        "format": FORMAT,
        "title": TITLE,
        "key": results.key,
        "data_mark": MOCK_MARK if results.is_mock else "",
        **_claims(results, measures, method),
        "method": method,
        "method_by_fold": {s: results.method_of(method, s) for s in results.suites} if method else {},
        "sentences": list(sentences),
        "suites": list(results.suites),
        "parameters": list(results.names),
        "verdicts": [verdict.to_json() for verdict in verdicts],
        "folds": {
            name: {suite: fold.word for suite, fold in judge_left_out(results, measures, name).items()}
            for name in measures.left_out
        },
        "matrix": {f"{one} → {other}": _fold(fold) for (one, other), fold in measures.matrix.items()},
        "leave_one_out": {
            name: {suite: _fold(fold) for suite, fold in folds.items()} for name, folds in measures.left_out.items()
        },
        "shifts": {
            method: {suite: {name: each.to_json() for name, each in found.items()} for suite, found in suites.items()}
            for method, suites in measures.shifts.items()
        },
        "adaptation": {suite: _roles(roles) for suite, roles in measures.adapted.items() if roles},
        "controls": {suite: _roles(roles) for suite, roles in measures.controls.items() if roles},
        "cost": {
            name: {suite: _fold(fold) for suite, fold in suites.items()} for name, suites in measures.own_cost.items()
        },
        "choices": {suite: choice.told_scores for suite, choice in results.choices.items()},
        "adapting_choices": {suite: choice.told_scores for suite, choice in results.adapting.items()},
        "set_tests": {f"{role.label} on {suite}": p for (role, suite), p in results.set_p.items()},
        "distances": {f"{one} – {other}": each for (one, other), each in results.distances.items()},
        "data_facts": dict(results.facts),
        "provenance": dict(results.provenance),
        "spec": json.loads(to_json(results.spec)),
        "figures": [str(path.with_suffix(s).relative_to(out)) for path in figures for s in (".pdf", ".png")],
    }


def headline(measures: Measures) -> str:
    """The method that claims are about: the chosen one of each fold, pooling where that is everywhere the best."""
    return next((name for name in (CHOSEN, POOLED) if name in measures.left_out), "")


def _claims(results: RobustnessResults, measures: Measures, method: str) -> dict[str, Any]:
    used = {results.method_of(method, suite) for suite in results.suites} if method else set()
    left_out = measures.left_out.get(method, {})
    adapted = [fold for roles in measures.adapted.values() for role, fold in roles.items() if role.detail == ALL_TARGET]
    costs = [fold for name, suites in measures.own_cost.items() if name in used for fold in suites.values()]
    folds = {"worst_ratio_leave_one_out": [*left_out.values()], "worst_ratio_adapted": adapted, "own_cost": costs}
    worst_of = {name: worst(ratios_of(each)) for name, each in folds.items()}
    values = {name: None if each is None else each.to_json()["value"] for name, each in worst_of.items()}
    return {
        **values,
        "coverage68_by_fold": {suite: min(map(_coverage, fold.values())) for suite, fold in left_out.items()},
        "by_parameter": {
            name: {p: max((fold[p].ratio for fold in each), key=_value).to_json() for p in results.names}
            for name, each in folds.items()
            if each
        },
    }


def _value(estimate: Estimate) -> float:
    return estimate.value


def ratios_of(folds: Iterable[Fold]) -> list[Estimate]:
    """Of all parameters of some folds."""
    return [each.ratio for fold in folds for each in fold.values()]


def _coverage(each: FoldMeasure) -> float:
    return (each.transfer_coverage or each.coverage).value


def _roles(roles: Mapping[Any, Fold]) -> dict[str, Any]:
    return {f"{role.method}, {role.detail}": _fold(fold) for role, fold in roles.items()}


def _fold(fold: Fold) -> dict[str, Any]:
    return {name: measure_to_json(each) for name, each in fold.items()}


def measure_to_json(each: FoldMeasure) -> dict[str, Any]:
    """Plain JSON types."""
    single = {"ratio": each.ratio, "coverage68": each.coverage, "width": each.width}
    wide = {
        "transfer_reduced_chi2": each.transfer_chi2,
        "transfer_coverage68": each.transfer_coverage,
        "transfer_width": each.transfer_width,
    }
    told = {**each.scores, **single, **{name: value for name, value in wide.items() if value is not None}}
    plain: dict[str, Any] = {name: estimate.to_json() for name, estimate in told.items()}
    return plain if each.tau is None else {**plain, "tau": each.tau}
