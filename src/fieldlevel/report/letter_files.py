"""The files of a letter: figures, report, predictions and, last, `metrics.json`."""

from pathlib import Path
from typing import Any

from fieldlevel.json_files import write_json
from fieldlevel.locks import refuse_foreign
from fieldlevel.report.drawn_plates import ReportFigure, draw_plates
from fieldlevel.report.page import write_report
from fieldlevel.statistics.pairs import write_predictions
from fieldlevel.study.document import letter_document
from fieldlevel.study.finished import OURS, forget_letter
from fieldlevel.study.letter_plates import letter_plates
from fieldlevel.study.results import LetterResults


def write_letter(out: Path, results: LetterResults) -> dict[str, Any]:
    """Write figures, report.html, predictions.csv and, last, metrics.json.

    Args:
        out: output folder.
        results: what the experiments gave.

    Returns:
        Contents of metrics.json.
    """
    refuse_foreign(out, OURS)
    forget_letter(out)
    figures = draw_letter(out / "figures", results)
    write_predictions(out / "predictions.csv", {key.label: tested for key, tested in results.experiments.items()})
    write_report(out / "report.html", results, figures)
    document = letter_document(results, out, [figure.path for figure in figures.values()])
    write_json(out / "metrics.json", document)
    return document


def draw_letter(folder: Path, results: LetterResults) -> dict[str, ReportFigure]:
    """Draw and save all figures as PDF and PNG.

    Args:
        folder: where to save them; made if need be.
        results: what the experiments gave.

    Returns:
        What the report embeds, by heading.
    """
    return draw_plates(folder, letter_plates(results))
