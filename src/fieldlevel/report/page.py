"""The page of a letter as HTML that reads nothing from elsewhere, and as Markdown."""

import base64
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from fieldlevel.errors import UserError
from fieldlevel.files import read_bytes, write_text
from fieldlevel.report.drawn_plates import ReportFigure
from fieldlevel.report.embedded_fonts import embedded_fonts
from fieldlevel.report.headline import letter_headline, tally
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

FONTS = "/* fonts */"
"""Where a style sheet takes them up."""


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
        "headline": letter_headline(results),
        "tally": tally(results.verdicts),
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
    write_pages(path, environment, "report", words)


def write_pages(path: Path, environment: Environment, template: str, words: Mapping[str, Any]) -> None:
    """Render an HTML page with the letters that it needs, and the same as Markdown beside it.

    Args:
        path: HTML file to write; the Markdown file beside it has the suffix .md.
        environment: that reads the templates.
        template: name of both templates, without their endings.
        words: what stands in them.
    """
    html = environment.get_template(f"{template}.html.jinja").render(words)
    write_text(path, html.replace(FONTS, embedded_fonts(html), 1))
    markdown = environment.get_template(f"{template}.md.jinja").render(words)
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
    environment.filters |= {"typeset": partial(typeset, names=names), "data_uri": data_uri, "png": png}
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
    return png(content)


def png(content: bytes) -> str:
    """The bytes of a PNG as part of a page."""
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"
