"""The report of a robustness study: `report.html`, `report.md`, figures and, last, `summary.json`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldlevel.errors import UserError
from fieldlevel.files import read_text, starts_with
from fieldlevel.json_files import holds_json, holds_keys, read_json_object, write_json
from fieldlevel.locks import refuse_foreign
from fieldlevel.report.drawn_plates import ReportFigure, draw_plates
from fieldlevel.report.headline import robustness_headline, tally
from fieldlevel.report.page import page_environment, write_pages
from fieldlevel.report.robustness_sentences import DEFINITIONS, limits_of, summarise_robustness
from fieldlevel.statistics.pairs import write_predictions
from fieldlevel.statistics.shift_sources import ShiftSources
from fieldlevel.study.robustness.fold_measures import Fold, Measures, measure_all
from fieldlevel.study.robustness.robustness_document import FORMAT, headline, robustness_document
from fieldlevel.study.robustness.robustness_plates import robustness_plates
from fieldlevel.study.robustness.robustness_results import TITLE, RobustnessResults
from fieldlevel.study.robustness.robustness_verdicts import judge_left_out, judge_robustness
from fieldlevel.study.verdict import Verdict
from fieldlevel.suites import MOCK_MARK

FILES = ("report.html", "report.md", "predictions.csv", "summary.json")


def _is_summary(path: Path) -> bool:
    if holds_keys(path, "title", "worst_ratio_leave_one_out", "coverage68_by_fold"):
        return True
    return path.is_file() and (path.parent / "runs").is_dir() and not holds_json(path)


ROBUSTNESS_FILES = {
    "report.html": lambda path: starts_with(path, "<!DOCTYPE html>") and TITLE in read_text(path),
    "report.md": lambda path: starts_with(path, f"# {TITLE}"),
    "predictions.csv": lambda path: starts_with(path, "data,experiment,train_suite,"),
    "summary.json": _is_summary,
}
"""What a study replaces, and how it is known."""


def read_finished_robustness(out: Path, key: str) -> dict[str, Any] | None:
    """Contents of summary.json if the folder holds a finished study of this key with all its files, else None."""
    try:
        document = read_json_object(out / "summary.json")
    except UserError:
        return None
    names = document.get("figures")
    if (document.get("format"), document.get("key")) != (FORMAT, key) or not isinstance(names, list):
        return None
    return document if all((out / str(name)).is_file() for name in (*FILES, *names)) else None


def write_robustness(out: Path, results: RobustnessResults) -> dict[str, Any]:
    """Write figures, report, predictions and, last, summary.json.

    Args:
        out: output folder.
        results: of the study.

    Returns:
        Contents of summary.json.
    """
    refuse_foreign(out, ROBUSTNESS_FILES)
    (out / "summary.json").unlink(missing_ok=True)
    measures = measure_all(results)
    verdicts = list(judge_robustness(results, measures))
    figures = draw_plates(out / "figures", robustness_plates(results, measures))
    write_predictions(out / "predictions.csv", {role.label: pairs for role, pairs in results.tested.items()})
    _write_pages(out, results, measures, verdicts, figures)
    paths, told = [each.path for each in figures.values()], list(summarise_robustness(results, measures))
    document = robustness_document(results, measures, verdicts, told, paths, out)
    write_json(out / "summary.json", document)
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class _Table:
    label: str
    first: str
    caption: str
    rows: Sequence[tuple[str, Fold]]


def _write_pages(
    out: Path,
    results: RobustnessResults,
    measures: Measures,
    verdicts: Sequence[Verdict],
    figures: Mapping[str, ReportFigure],
) -> None:
    environment = page_environment(results.names)
    method = headline(measures)
    folds = judge_left_out(results, measures, method) if method else {}
    words = {
        "title": TITLE,
        "mark": MOCK_MARK if results.is_mock else "",
        "results": results,
        "measures": measures,
        "verdicts": verdicts,
        "figures": figures,
        "folder": out,
        "definitions": DEFINITIONS,
        "words": {suite: (results.method_of(method, suite), fold.word) for suite, fold in folds.items()},
        "headline": robustness_headline(folds, results.suites, results.is_mock),
        "tally": tally(verdicts),
        "summary": list(summarise_robustness(results, measures)),
        "limits": list(limits_of(results)),
        "tables": [table for table in _tables(results, measures) if table.rows],
        "shifts": list(_shifts(results, measures)),
        "has_adaptation": any(measures.adapted.values()),
        "has_controls": any(measures.controls.values()),
        "has_choices": any(choice.scores for choice in (*results.choices.values(), *results.adapting.values())),
        "facts_told": {**results.facts, **results.provenance},
    }
    write_pages(out / "report.html", environment, "robustness", words)


def _tables(results: RobustnessResults, measures: Measures) -> Iterable[_Table]:
    yield _Table(
        "Every suite against every suite",
        "trained → tested",
        "Networks of a single suite; the ratio is to the network of the tested suite.",
        [(f"{one} → {other}", fold) for (one, other), fold in measures.matrix.items()],
    )
    yield _Table(
        "Leave one suite out",
        "left out: method",
        "Networks on all suites but the tested one. τ is what leave-one-out among these asks for, by the same method.",
        [
            (f"{suite}: {_named(results, method, suite)}", fold)
            for method, folds in measures.left_out.items()
            for suite, fold in folds.items()
        ],
    )
    yield _Table(
        "Adaptation",
        "left out: shown",
        "Transductive: networks that see maps of the left-out suite without labels, of rows that nobody has labels of. "
        "The oracle has the same labelled rows. Shifted: rows of the lower half of the prior alone.",
        _of_roles(measures.adapted),
    )
    yield _Table("Controls", "left out: control", "Controls, one seed each.", _of_roles(measures.controls))


def _shifts(results: RobustnessResults, measures: Measures) -> Iterable[tuple[str, str, ShiftSources]]:
    for method, suites in measures.shifts.items():
        for suite, found in suites.items():
            for name, each in found.items():
                yield f"{suite}: {_named(results, method, suite)}", name, each


def _named(results: RobustnessResults, method: str, suite: str) -> str:
    used = results.method_of(method, suite)
    return method if used == method else f"{method} ({used})"


def _of_roles(folds: Mapping[str, Mapping[Any, Fold]]) -> list[tuple[str, Fold]]:
    return [
        (f"{suite}: {role.method}, {role.detail}", fold) for suite, each in folds.items() for role, fold in each.items()
    ]
