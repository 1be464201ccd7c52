"""What the site is made of; `make docs` builds it."""

import doctest
import re
from pathlib import Path, PurePosixPath

import docs_site
import notebook_pages
import pytest

import fieldlevel

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return {path: text for path, (text, _) in docs_site.generated_pages().items()}


@pytest.mark.parametrize("module", [docs_site, notebook_pages], ids=lambda module: module.__name__)
def test_examples_of_the_hook(module):
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize("name", fieldlevel.__all__)
def test_every_public_name_is_told(name, made):
    assert f'"heading": "fieldlevel.{name}"' in made["reference/python.md"]


def test_every_module_is_told_once(made):
    blocks = re.findall(r"^::: (\S+)$", "\n".join(text for path, text in made.items() if "modules/" in path), re.M)
    paths = [path for path in (ROOT / "src").rglob("*.py") if path.stem not in ("__init__", "__main__")]
    assert sorted(blocks) == sorted(".".join(path.relative_to(ROOT / "src").with_suffix("").parts) for path in paths)


def test_every_command_and_its_settings_are_told(made):
    for name in docs_site.commands():
        assert f"\n## {name}\n" in made["reference/commands.md"]
    assert "--network.hidden" in docs_site.help_of("train")
    assert not set("╭│╰─") & set(made["reference/commands.md"])


def test_navigation_has_every_page(made):
    navigation = (ROOT / "mkdocs.yml").read_text()
    own = {path.name for path in (ROOT / "docs").glob("*.md")}
    listed = {path for path in made if "modules/" not in path} | own
    assert {path for path in listed if f": {path}\n" not in navigation} == set()


def test_links_of_pages_become_links_of_the_site():
    text = "[a](../docs/trust.md#x) ![b](figures/b.png) [c](https://arxiv.org/abs/1) [d](#here)"
    turned = docs_site.with_site_links(text, PurePosixPath("results/README.md"))
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
def test_what_a_browser_fetches_is_found(html, is_fetched):
    assert bool(docs_site.fetched(html)) == is_fetched


def test_notebooks_become_pages(made):
    page = made["notebooks/infer-and-plot.md"]
    assert page.startswith("# Infer and plot\n")
    assert '```python\npredictor = fieldlevel.load("MockTNG")' in page


def test_changes_are_told(monkeypatch, tmp_path):
    monkeypatch.setattr(docs_site, "ROOT", tmp_path)
    assert docs_site.changelog_page().startswith("# ")
    (tmp_path / "CHANGELOG.md").write_text("# Changes\n\n* one\n")
    assert docs_site.changelog_page() == "# Changes\n\n* one\n"
