"""The page of a letter as HTML that reads nothing from elsewhere, and as Markdown."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from fieldlevel.errors import UserError
from fieldlevel.files import read_bytes, write_text
from fieldlevel.report.sentences import findings, open_questions, summarise
from fieldlevel.report.transfer_table import transfer_tables
from fieldlevel.report.typeset import typeset
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.study.document import MAIN_METRICS
from fieldlevel.study.network_facts import network_facts, search_facts
from fieldlevel.study.numerics_sets import training_words
from fieldlevel.study.particle_weighing import WEIGHED
from fieldlevel.study.published_accuracies import BIBTEX, SOURCE, SOURCE_URL, published_accuracies
from fieldlevel.study.results import LetterResults
from fieldlevel.suites import MOCK_MARK


@dataclass(frozen=True)
class ReportFigure:
    """A PNG to embed.

    Attributes:
        path: the PNG file.
        caption: what it shows, in sentences.
        description: the same for who cannot see it.
    """

    path: Path
    caption: str
    description: str


def write_report(path: Path, results: LetterResults, figures: Mapping[str, ReportFigure]) -> None:
    """Render the results as one self-contained HTML page, which reads nothing from the network, and as Markdown.

    Args:
        path: HTML file to write; the Markdown file beside it has the suffix .md.
        results: what to tell.
        figures: what to embed, by heading.

    Raises:
        UserError: a figure that cannot be read.
    """
    environment = page_environment(results.names)
    words = {
        "results": results,
        "figures": figures,
        "networks": network_facts(results),
        "searches": search_facts(results),
        "heading": f"The {results.first_label}" if len(results.suites) == 2 else results.first_label.capitalize(),
        "tables": transfer_tables(results),
        "weighed": WEIGHED,
        "training_words": training_words,
        "mark": MOCK_MARK if results.is_mock else "",
        "summary": summarise(results),
        "proven": list(findings(results)),
        "open_questions": list(open_questions(results)),
        "metrics": METRICS,
        "main_metrics": [METRICS[key] for key in MAIN_METRICS],
        "parameters": results.names,
        "cosmological": results.cosmological,
        "published": published_accuracies,
        "source": SOURCE,
        "source_url": SOURCE_URL,
        "bibtex": BIBTEX,
        "folder": path.parent,
    }
    write_text(path, environment.get_template("report.html.jinja").render(words))
    markdown = environment.get_template("report.md.jinja").render(words)
    for escaped, plain in (("&#34;", '"'), ("&#39;", "'"), ("&gt;", ">")):  # which make no HTML without a `<`
        markdown = markdown.replace(escaped, plain)
    write_text(path.with_suffix(".md"), markdown)


def page_environment(names: Sequence[str]) -> Environment:
    """What the templates of pages are read with.

    Args:
        names: of the parameters that are to be typeset.
    """
    environment = Environment(
        loader=PackageLoader("fieldlevel"),
        autoescape=select_autoescape(["html.jinja", "md.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": partial(typeset, names=names), "data_uri": data_uri}
    return environment


def data_uri(path: Path) -> str:
    """A PNG as part of a page.

    Raises:
        UserError: it cannot be read.
    """
    try:
        content = read_bytes(path, "draw the figures first")
    except UserError as error:
        raise UserError(str(error).replace(f"{path}: ", f"{path}: figure ", 1)) from None
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
