import dataclasses
import json
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.console import print_letter
from fieldlevel.errors import UserError
from fieldlevel.figures import draw_four_pairs, save_figure
from fieldlevel.layout import Layout
from fieldlevel.report.drawn_plates import ReportFigure
from fieldlevel.report.page import write_report
from fieldlevel.report.typeset import typeset
from fieldlevel.statistics.metrics import METRICS, evaluate
from fieldlevel.statistics.pairs import PairResult, write_predictions
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.ratios import transfer_ratios
from fieldlevel.study.document import metrics_document
from fieldlevel.study.jobs import NetworkRun
from fieldlevel.study.keys import FIRST
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import Verdict
from fieldlevel.training.train_spec import TrainSpec

LAYOUT = Layout()
MINIMA, MAXIMA, PARAMETER_NAMES = LAYOUT.lows, LAYOUT.highs, LAYOUT.names

PNGS: dict[bool, bytes] = {}
"""Of figures that were drawn, by whether they are of mock maps."""
VOID = {"source", "meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags in order, with every end tag checked against its start, and the text in each kind of element."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.text = [], [], {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
            self.text.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        for tag in set(self.open):
            self.text[tag][-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@cache
def make_pair(train, test, *, informative=(1, 1, 0, 0, 0, 0), claimed=1.0, bias=0.0, seed=0):
    rng = np.random.default_rng(seed)
    theta = MINIMA + rng.random((40, 6)) * (MAXIMA - MINIMA)
    std = 0.05 * (MAXIMA - MINIMA) * np.ones_like(theta)
    mean = np.where(informative, theta + std * (rng.normal(size=theta.shape) + bias), (MINIMA + MAXIMA) / 2)
    predictions = Predictions(theta, mean, claimed * std, np.arange(40), np.arange(40))
    return PairResult(train, test, predictions, evaluate(predictions, 200))


def trained(suite):
    history = {"step": np.array([1200.0]), "seconds": np.array([312.2])}
    return NetworkRun(TrainSpec(), Path(suite), {}, 941_234, history, -8.71)


@pytest.fixture
def make_results():
    def make(first="MockTNG", second="MockSIMBA", *, mock=True, **own):
        suites = [(first, first), (first, second), (second, second), (second, first)]
        pairs = tuple(make_pair(a, b, seed=i, **(own if a == b else {})) for i, (a, b) in enumerate(suites))
        return LetterResults(
            title="The four pairs",
            suites=(first, second),
            experiments={FIRST: pairs},
            transfer=transfer_ratios(pairs, n_bootstrap=50),
            facts={"fingerprint": "ab12", "test simulations": 40, "split seed": 1},
            trained={FIRST: {suite: trained(suite) for suite in (first, second)}},
            provenance={"commit": "0f21a2e", "hardware": "2 cores <&>"},
            is_mock=mock,
        )

    return make


def write(path, results, drawn=None):
    """A report with a figure of four points, which lies beside it."""
    png = path.parent / "four_pairs.png"
    if results.is_mock not in PNGS:
        save_figure(draw_four_pairs(results.pairs[:1], mock=results.is_mock), png.with_suffix(""))
        PNGS[results.is_mock] = png.read_bytes()
    if not png.exists():
        png.write_bytes(PNGS[results.is_mock])
    usual = {"Figure 2": ReportFigure(png, "Mean minus truth for Omega_m.", "Two panels & <points>")}
    write_report(path, results, usual if drawn is None else drawn)


def render(results, tmp_path):
    path = tmp_path / "report.html"
    write(path, results)
    assert not list(tmp_path.glob(".*"))
    return path.read_text()


def test_mock_report_says_so_everywhere(make_results, tmp_path):
    page = Page(render(make_results(), tmp_path))
    assert "MOCK DATA" in page.text["title"][0]
    assert any("MOCK DATA" in text for text in page.text["header"])
    assert len(page.all("table")) == 10
    assert len(page.text["figcaption"]) == len(page.all("table")) + len(page.all("img"))
    assert all("MOCK DATA" in text for text in page.text["figcaption"])


def test_real_report_never_says_mock(make_results, tmp_path):
    results = make_results("IllustrisTNG", "SIMBA", mock=False)
    assert "mock" not in render(results, tmp_path).lower()
    document = metrics_document(results)
    del document["spec"]  # whose settings of simulations, unused here, name a mock suite
    assert "mock" not in json.dumps(document).lower()


def test_mock_suites_cannot_pass_as_real(make_results):
    with pytest.raises(ValueError, match="MockSIMBA, MockTNG must be declared as mock"):
        dataclasses.replace(make_results(), is_mock=False)


def test_page_is_self_contained(make_results, tmp_path):
    page = Page(render(make_results(), tmp_path))
    assert all(image["src"].startswith("data:image/png;base64,") for image in page.all("img"))
    assert not page.all("link")
    assert all("src" not in script for script in page.all("script"))
    assert "@import" not in page.text["style"][0]
    assert page.text["style"][0].count("url(") == page.text["style"][0].count("url(data:font/woff;base64,") == 3
    assert all(source["srcset"].startswith("data:image/png;base64,") for source in page.all("source"))


def test_page_is_accessible(make_results, tmp_path):
    page = Page(render(make_results(), tmp_path))
    assert page.all("html")[0]["lang"] == "en"
    assert page.all("img")[0]["alt"] == "Two panels & <points>"
    assert all(header.get("scope") in {"row", "col"} for header in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(section["aria-labelledby"] in ids for section in page.all("section"))


def test_text_from_outside_is_escaped(make_results, tmp_path):
    html = render(dataclasses.replace(make_results(), title="A <script>alert(1)</script>"), tmp_path)
    assert "<script>alert" not in html
    assert "2 cores &lt;&amp;&gt;" in html


def test_every_number_and_definition_stands_in_the_page(make_results, tmp_path):
    results = make_results()
    page = Page(render(results, tmp_path))
    for pair in results.pairs:
        for name in PARAMETER_NAMES:
            for key, metric in METRICS.items():
                assert pair.scores[name][key].text(metric.percent) in page.text["td"]
    assert page.text["dd"] == [metric.definition for metric in METRICS.values()]
    for row in results.transfer.values():
        assert all(ratio.text() in page.text["td"] for ratio in row.values())


def test_letters_numbers_stand_beside_ours_in_the_right_row(make_results, tmp_path):
    page = Page(render(make_results(), tmp_path))
    rows = [text.split() for text in page.text["tr"] if "MockTNG → MockSIMBA" in text]
    assert [row[-1] for row in rows[:2]] == ["3.9%", "2.6%"]
    assert "fails, as expected" in page.text["td"]


def test_suites_outside_the_letter_have_no_published_numbers(make_results, tmp_path):
    page = Page(render(make_results("Astrid", "SIMBA", mock=False), tmp_path))
    rows = [text.split() for text in page.text["tr"] if "Astrid → SIMBA" in text]
    assert [row[-1] for row in rows[:2]] == ["–", "–"]


def shown(results, tmp_path):
    page = Page(render(results, tmp_path))
    return {text.split(":")[0]: text.replace("\xa0", " ") for text in page.text["li"] if ": " in text}


def test_findings_follow_the_numbers(make_results, tmp_path):
    good = shown(make_results(), tmp_path)["MockTNG → MockTNG"]
    assert "not constrained: ASN1, AAGN1, ASN2, AAGN2" in good
    assert good.count("honest within the error") == 2
    assert good.count("no bias beyond its error") == 2
    assert "too small by a factor" in shown(make_results(claimed=0.5), tmp_path)["MockTNG → MockTNG"]
    assert "too large by a factor" in shown(make_results(claimed=2.0), tmp_path)["MockTNG → MockTNG"]
    assert "has a mean bias of" in shown(make_results(bias=2.0), tmp_path)["MockTNG → MockTNG"]


def test_robustness_follows_the_numbers(make_results, tmp_path):
    assert "within the errors" in shown(make_results(), tmp_path)["Trained on MockTNG"]
    assert "shrinks by a factor" in shown(make_results(bias=3.0), tmp_path)["Trained on MockTNG"]


@pytest.fixture
def judged(make_results):
    """One verdict of each outcome."""
    verdicts = [
        Verdict(f"{outcome} test", "A claim.", "R² above 0.5", "R² = 0.4 (0.3 to 0.6)", "nothing", outcome)
        for outcome in ("holds", "fails", "undecided")
    ]
    return dataclasses.replace(make_results(), verdicts=verdicts)


def test_outcomes_of_verdicts_are_words_in_every_form(judged, tmp_path, capsys):
    page = Page(render(judged, tmp_path))
    cells = {attributes["class"] for attributes in page.all("td") if "outcome" in attributes.get("class", "")}
    assert cells == {"text outcome holds", "text outcome fails", "text outcome undecided"}
    assert [text for text in page.text["td"] if text in {"holds", "fails", "undecided"}] == [
        "holds",
        "fails",
        "undecided",
    ]
    markdown = (tmp_path / "report.md").read_text()
    for outcome in ("holds", "**fails**", "undecided"):
        assert f"| {outcome.strip('*')} test | A claim. | {outcome} | R²" in markdown
    print_letter(metrics_document(judged), tmp_path)
    printed = capsys.readouterr().out
    assert all(f"{outcome} test" in printed for outcome in ("holds", "fails", "undecided"))
    assert sum(line.split()[2:3] == [line.split()[0]] for line in printed.splitlines() if " test " in line) == 3


def test_outcomes_are_in_the_document(judged):
    verdicts = json.loads(json.dumps(metrics_document(judged)))["verdicts"]
    assert [verdict["outcome"] for verdict in verdicts] == ["holds", "fails", "undecided"]
    assert all("holds" not in verdict for verdict in verdicts)


def test_the_document_has_every_number_of_a_verdict_by_itself(judged):
    verdict = dataclasses.replace(judged.verdicts[0], findings={"a → b Omega_m": ("ratio 1.1", "holds")})
    document = metrics_document(dataclasses.replace(judged, verdicts=[verdict]))
    assert json.loads(json.dumps(document)) == document
    assert document["verdicts"][0]["findings"] == [
        {"where": "a → b Omega_m", "measured": "ratio 1.1", "outcome": "holds"}
    ]


def test_infinite_chi2_is_printed_not_hidden(make_results, tmp_path):
    results = make_results(claimed=0.0)
    assert "∞" in Page(render(results, tmp_path)).text["td"]
    json.dumps(metrics_document(results), allow_nan=False)


def test_metrics_document_is_plain_json(make_results):
    results = make_results()
    document = metrics_document(results)
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["data"] == "MOCK DATA"
    assert document["definitions"].keys() == METRICS.keys()
    assert document["pairs"][1]["letter"]["Omega_m"] == "3.9%"
    assert document["pairs"][1]["scores"]["sigma_8"]["r2"]["value"] == results.pairs[1].scores["sigma_8"]["r2"].value
    assert document["networks"][0]["n_steps"] == 1200


def test_missing_figure_is_named(make_results, tmp_path):
    lost = {"Figure 1": ReportFigure(tmp_path / "maps.png", "Maps.", "Maps")}
    with pytest.raises(UserError, match=r"maps.png: figure cannot be read"):
        write(tmp_path / "report.html", make_results(), lost)
    assert not (tmp_path / "report.html").exists()


def test_symbols_are_typeset_after_escaping():
    assert typeset("<Omega_m> of A_AGN2", PARAMETER_NAMES) == "&lt;Ω<sub>m</sub>&gt; of <i>A</i><sub>AGN2</sub>"


@pytest.mark.parametrize(
    ("names", "html"),
    [
        (["n_s_x"], "<i>n</i><sub>s_x</sub> and Omega"),
        (["Omega"], "n_s_x and Ω"),
        (["Omega", "Omega_b", "n_s_x"], "<i>n</i><sub>s_x</sub> and Ω"),
        ([], "n_s_x and Omega"),
    ],
)
def test_names_of_any_number_of_parts_are_typeset(names, html):
    assert typeset("n_s_x and Omega", names) == html


def test_a_parameter_of_one_suite_bears_its_name():
    names = ["A_SN1", "A_SN1[SIMBA]"]
    assert (
        typeset("A_SN1[SIMBA] and A_SN1", names) == "<i>A</i><sub>SN1</sub><sup>SIMBA</sup> and <i>A</i><sub>SN1</sub>"
    )


def test_names_of_suites_make_no_html_and_no_formula(make_results, tmp_path):
    results = make_results("<img src=x onerror=alert(1)>", "=cmd|' /C calc'!A0", mock=False)
    write(tmp_path / "report.html", results)
    for name in ("report.html", "report.md"):
        assert "<img src=x" not in (tmp_path / name).read_text()
    write_predictions(tmp_path / "predictions.csv", {"four pairs": results.pairs})
    assert ",=cmd" not in (tmp_path / "predictions.csv").read_text()
    assert ",'=cmd" in (tmp_path / "predictions.csv").read_text()


def test_the_verdict_comes_first_then_contents_then_figures_then_tables(judged, tmp_path):
    html = render(judged, tmp_path)
    order = ['class="answer', "<nav", 'id="figures"', 'id="verdicts"', 'id="pairs"']
    places = [html.index(part) for part in order]
    assert places == sorted(places)
    markdown = (tmp_path / "report.md").read_text()
    order = ["**Do networks infer", "## Figures", "## Verdicts", "## The four pairs"]
    assert [markdown.index(part) for part in order] == sorted(markdown.index(part) for part in order)


def test_every_section_is_in_the_contents_and_every_link_leads_somewhere(judged, tmp_path):
    page = Page(render(judged, tmp_path))
    links = [link["href"] for link in page.all("a") if link["href"].startswith("#")]
    assert links == [f"#{section['aria-labelledby']}" for section in page.all("section")]
    assert {link[1:] for link in links} <= {tag.get("id") for _, tag in page.tags}


def test_every_table_is_folded_and_scrolls_without_its_caption(judged, tmp_path):
    html = render(judged, tmp_path)
    tables = html.count("<table")
    assert html.count("<details") == tables == html.count("</table>\n</div>\n</figure>\n</details>")
    assert "<details open" not in html
    assert "<caption" not in html


def test_verdicts_have_a_row_for_every_number(judged, tmp_path):
    findings = {"a → b Omega_m": ("ratio 1.1", "holds"), "a → b sigma_8": ("ratio 2; more", "fails")}
    verdict = dataclasses.replace(judged.verdicts[0], outcome="fails", findings=findings, measured="joined")
    page = Page(render(dataclasses.replace(judged, verdicts=[verdict]), tmp_path))
    rows = [text for text in page.text["tr"] if "ratio" in text]
    assert [row.startswith("a → b") for row in rows] == [True, True]
    assert [row.endswith(word) for row, word in zip(rows, ("holds", "fails"), strict=True)] == [True, True]
    assert "joined" not in "".join(page.text["td"])
    markdown = (tmp_path / "report.md").read_text()
    assert "|  | a → b Omega_m | holds | ratio 1.1 |" in markdown
    assert "|  | a → b sigma_8 | **fails** | ratio 2; more |" in markdown


def test_answers_outside_the_prior_are_told_as_such(make_results, tmp_path):
    pair = make_pair("MockTNG", "MockTNG", bias=1e6)
    results = dataclasses.replace(make_results(), experiments={FIRST: (pair, *make_results().pairs[1:])})
    page = Page(render(results, tmp_path))
    text = next(text for text in page.text["tr"] if "MockTNG → MockTNG" in text)
    assert text.count("outside the prior") == 4
    assert "outside the prior" in (tmp_path / "report.md").read_text()
    assert all("e" not in cell for cell in page.text["td"] if "%" in cell)


def test_dark_pages_have_dark_figures_on_screens_alone(make_results, tmp_path):
    png = tmp_path / "four_pairs.png"
    write(tmp_path / "report.html", make_results())
    dark = {"Figure 2": ReportFigure(png, "Caption.", "Words", b"dark")}
    write(tmp_path / "report.html", make_results(), dark)
    (source,) = Page((tmp_path / "report.html").read_text()).all("source")
    assert source == {
        "media": "screen and (prefers-color-scheme: dark)",
        "srcset": "data:image/png;base64,ZGFyaw==",
    }
