"""What pages point to is there, and is named nowhere but where it can be found."""

import ast
import os
import re
from pathlib import Path

import docs_site
import pytest

ROOT = Path(__file__).parents[2]
HOSTS = (
    "https://arxiv.org/abs/",
    "https://camels-multifield-dataset.readthedocs.io",
    "https://download.pytorch.org/whl/cpu",
)
"""Where pages may point to outside of the repository."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Of headings, as code hosts and the site make them."""
    plain = (re.sub(r"<[^>]*>|[^\w\- ]", "", heading).strip().lower() for heading in HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in plain}


@pytest.fixture(scope="module")
def made() -> set[str]:
    """Pages of the site that are in no file."""
    return {f"docs/{path}" for path in docs_site.generated_pages() if path.startswith("reference/")}


def test_files_that_are_linked_to_exist(page, made):
    for target in LINK.findall(page.prose):
        if "://" not in target and not target.startswith("#"):
            path = os.path.normpath(page.path.parent / target.partition("#")[0])
            assert (ROOT / path).exists() or path in made, target


def test_anchors_exist(page, made):
    for target in LINK.findall(page.prose):
        name, _, anchor = target.partition("#")
        path = ROOT / page.path.parent / name if name else ROOT / page.path
        if anchor and "://" not in target:
            assert anchor in anchors(path.read_text()), target


def test_other_addresses_are_of_known_places(page):
    for address in re.findall(r"https?://[^\s)\"'>`]+", page.text):
        assert address.startswith(HOSTS), address


def messages() -> list[str]:
    """What the page of troubleshooting quotes."""
    rows = (ROOT / "docs" / "troubleshooting.md").read_text()
    return re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)


@pytest.fixture(scope="module")
def said() -> str:
    """All texts in the code of the package; what is filled in is left out."""
    texts = []
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                texts.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.append(node.value)
    return "\n".join(texts)


def test_messages_were_found():
    assert len(messages()) > 25


@pytest.mark.parametrize("message", messages())
def test_messages_of_troubleshooting_are_those_of_the_package(message, said):
    assert message in said
