"""What the site is made of; `make docs` builds it."""

import doctest
import re
from pathlib import Path, PurePosixPath

import pytest

import fieldlevel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(site) -> dict[str, str]:
    return {path: text for path, (text, _) in site.generated_pages().items()}


def test_examples_of_the_hook(site):
    assert doctest.testmod(site).failed == 0


@pytest.mark.parametrize("name", fieldlevel.__all__)
def test_every_public_name_is_told(name, made):
    assert f'"heading": "fieldlevel.{name}"' in made["reference/python.md"]


def test_every_module_is_told_once(made):
    blocks = re.findall(r"^::: (\S+)$", "\n".join(text for path, text in made.items() if "modules/" in path), re.M)
    paths = [path for path in (ROOT / "src").rglob("*.py") if path.stem not in ("__init__", "__main__")]
    assert sorted(blocks) == sorted(".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in paths)


def test_every_command_and_its_settings_are_told(site, made):
    for name in site.commands():
        assert f"\n## {name}\n" in made["reference/commands.md"]
    assert "--network.hidden" in site.help_of("train")
    assert not set("╭│╰─") & set(made["reference/commands.md"])


def test_navigation_has_every_page(site, made):
    navigation = (ROOT / "mkdocs.yml").read_text()
    own = {path.name for path in (ROOT / "docs").glob("*.md")}
    listed = {path for path in made if "modules/" not in path} | own
    assert {path for path in listed if f": {path}\n" not in navigation} == set()


def test_links_of_pages_become_links_of_the_site(site):
    text = "[a](../docs/trust.md#x) ![b](figures/b.png) [c](https://arxiv.org/abs/1) [d](#here)"
    turned = site.with_site_links(text, PurePosixPath("results/README.md"))
    assert turned == "[a](../trust.md#x) ![b](figures/b.png) [c](https://arxiv.org/abs/1) [d](#here)"


@pytest.mark.parametrize(
    ("html", "is_fetched"),
    [
        ('<script src="https://there/a.js"></script>', True),
        ('<link rel="stylesheet" href="//there/a.css">', True),
        ('<link rel="canonical" href="https://there/">', False),
        ('<a href="https://there/">there</a>', False),
        ('<img src="a.png">', False),
    ],
)
def test_what_a_browser_fetches_is_found(html, is_fetched, site):
    assert bool(site.fetched(html)) == is_fetched


def test_notebooks_become_pages(made):
    page = made["notebooks/infer-and-plot.md"]
    assert page.startswith("# Infer and plot\n")
    assert '```python\npredictor = fieldlevel.load("MockTNG")' in page


def test_changes_are_told(site, monkeypatch, tmp_path):
    monkeypatch.setattr(site, "ROOT", tmp_path)
    assert site.changelog_page().startswith("# ")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n* one\n")
    assert site.changelog_page() == "# Changes\n\n* one\n"
