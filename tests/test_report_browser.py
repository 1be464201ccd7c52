"""The report in a real browser: `pip install playwright` and a Chromium on the path; left out without them."""

import json
import shutil

import pytest

from fieldlevel.report import write_letter
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.runner import run_letter

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path")]


@pytest.fixture(scope="module")
def report(tiny_letter, with_maps, tmp_path_factory):
    out = with_maps(tmp_path_factory.mktemp("letter"))
    data = prepare_data(tiny_letter, None, out, device="cpu")
    write_letter(out, run_letter(tiny_letter, data, out, device="cpu"))
    return out / "report.html"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, report):
    """The opened report; whatever it says on the console or asks from elsewhere fails the test."""
    page, complaints = browser.new_page(), []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None)
    page.goto(report.as_uri())
    yield page
    assert complaints == []
    page.close()


def unfold(page):
    page.get_by_role("button", name="Open all tables").click()
    assert page.evaluate("[...document.querySelectorAll('details')].every(fold => fold.open)")


def test_every_figure_is_seen(page):
    widths = page.eval_on_selector_all("img", "images => images.map(image => [image.naturalWidth, image.clientWidth])")
    assert len(widths) >= 8
    assert all(natural > 500 and shown > 300 for natural, shown in widths)


def test_a_table_is_sorted_by_a_click_and_by_the_keyboard(page):
    unfold(page)
    table = page.locator("table.sortable:not(.verdicts)").first
    column = 2
    values = "t => [...t.tBodies[0].rows].map(row => Number(row.cells[2].dataset.value))"
    button = table.locator("thead th").nth(column).locator("button")
    button.click()
    rising = table.evaluate(values)
    assert rising == sorted(rising)
    button.focus()
    page.keyboard.press("Enter")
    assert table.evaluate(values) == sorted(rising, reverse=True)
    assert table.locator("thead th").nth(column).get_attribute("aria-sort") == "descending"


def test_the_keyboard_reaches_every_table(page):
    """Tab from the top stops at each fold, at each scrollable table and at each of its headers."""
    unfold(page)
    page.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
    wanted = page.evaluate("document.querySelectorAll('.scroll, th button, a, summary').length")
    reached = set()
    for _ in range(wanted + 2):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(reached) >= wanted


def test_tables_are_folded_until_one_asks_for_them(page):
    seen = "[...document.querySelectorAll('table')].filter(table => table.checkVisibility()).length"
    assert page.evaluate(seen) == 0
    summary = page.locator("details.verdict summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.evaluate(seen) == 1
    unfold(page)
    assert page.evaluate(seen) == page.locator("table").count()
    page.get_by_role("button", name="Close all tables").click()
    assert page.evaluate(seen) == 0


@pytest.mark.parametrize("width", [1280, 800, 400])
def test_nothing_is_wider_than_the_page_but_within_what_scrolls(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    unfold(page)
    wide = """[...document.querySelectorAll('main *')]
        .filter(each => !each.parentElement.closest('.scroll, pre') && each.getBoundingClientRect().right > innerWidth)
        .map(each => each.outerHTML.slice(0, 80))"""
    assert page.evaluate(wide) == []
    assert page.evaluate("document.querySelectorAll('.scroll figcaption, caption').length") == 0
    assert page.evaluate("[...document.querySelectorAll('table')].every(each => each.closest('.scroll'))")


def test_contents_lead_to_their_sections(page):
    for link in page.locator("nav a").all():
        link.click()
        section = page.evaluate("document.querySelector(location.hash).getBoundingClientRect().top")
        bottom = page.evaluate("scrollY + innerHeight >= document.documentElement.scrollHeight - 1")
        assert abs(section) < 40 or bottom


def test_text_has_the_letters_of_the_figures(page):
    assert page.evaluate("[...document.fonts].some(font => font.family == 'Figures' && font.status == 'loaded')")


def test_dark_pages_show_dark_figures_and_paper_light_ones(page):
    shown = "[...document.querySelectorAll('img')].map(image => image.currentSrc)"
    light = page.evaluate(shown)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"({shown}).every((source, number) => source != {json.dumps(light)}[number])")
    page.emulate_media(color_scheme="dark", media="print")
    page.wait_for_function(f"({shown}).every((source, number) => source == {json.dumps(light)}[number])")


def test_paper_has_the_tables_too(page):
    page.emulate_media(media="print")
    heights = "[...document.querySelectorAll('table')].map(table => table.getBoundingClientRect().height)"
    assert min(page.evaluate(heights)) > 20


def test_light_and_dark_differ_and_the_page_fits_a_phone(page):
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
    unfold(page)
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_it_prints(page, tmp_path):
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000
