"""What the site of the documentation holds beside the pages of docs/: a hook of mkdocs (mkdocs.yml).

It adds pages made of the package (reference of Python, of modules, of the command line), of notebooks/, of the
pages of results/ and of CHANGELOG.md. Links between files of the repository, as pages have them, become links of the
site. A site that would make a reader's browser ask another machine for anything is refused.
"""

import contextlib
import importlib
import inspect
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import Any

from notebook_pages import notebook_page, read_notebook, run_notebook

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "fieldlevel"

_LINK = re.compile(r"(?<=\]\()(?P<target>[^)#\s:]+)(?=[)#])")
"""A relative target in Markdown; those with a scheme have a colon."""
_FRAME = re.compile(r"[╭╮╰╯│─]+|^ *-{9,} *$")
"""Of help texts, which says nothing."""
_FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself, by element."""
_ONLY_NAMED = {"canonical", "prev", "next", "author", "license"}
"""Kinds of <link> that name a page and fetch nothing."""


def site_path(path: PurePosixPath) -> str:
    """Where a file of the repository lies in the site; its path is relative to the root.

    Example:
        >>> site_path(PurePosixPath("docs/trust.md")), site_path(PurePosixPath("notebooks/own-snapshots.ipynb"))
        ('trust.md', 'notebooks/own-snapshots.md')
    """
    known = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
    if str(path) in known:
        return known[str(path)]
    if path.suffix == ".ipynb":
        return str(path.with_suffix(".md"))
    return str(path.relative_to("docs")) if path.parts[0] == "docs" else str(path)


def linked(markdown: str, source: PurePosixPath) -> Iterator[PurePosixPath]:
    """Files of the repository that a page of it links to, relative to its root."""
    for match in _LINK.finditer(markdown):
        yield PurePosixPath(os.path.normpath(source.parent / match["target"]))


def with_site_links(markdown: str, source: PurePosixPath) -> str:
    """The page with its links between files of the repository as links of the site.

    Example:
        >>> with_site_links("[folder](../results/letter-mock/README.md)", PurePosixPath("docs/letter.md"))
        '[folder](results/letter-mock/README.md)'
    """
    here = PurePosixPath(site_path(source)).parent

    def moved(match: re.Match[str]) -> str:
        target = PurePosixPath(os.path.normpath(source.parent / match["target"]))
        return os.path.relpath(site_path(target), here)

    return _LINK.sub(moved, markdown)


def modules() -> dict[str, list[str]]:
    """Names of the modules of the package, by the part of it they belong to; "" for those at its top."""
    found = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if path.stem not in ("__init__", "__main__"):
            found[parts[0] if len(parts) > 1 else ""].append(".".join(["fieldlevel", *parts]))
    return dict(found)


def public_names() -> dict[str, list[str]]:
    """The names that `import fieldlevel` gives, by the module that defines them."""
    import fieldlevel  # noqa: PLC0415 (the functions above need no package)

    found = defaultdict(list)
    for name in fieldlevel.__all__:
        found[f"fieldlevel.{fieldlevel._PUBLIC[name]}"].append(name)
    return dict(found)


def _block(name: str, **options: Any) -> str:
    """What mkdocstrings replaces by the docstrings of an object; JSON is YAML."""
    return f"::: {name}\n    options: {json.dumps(options)}\n"


def python_page() -> str:
    """Everything public, classes before functions, in alphabetical order."""
    where = {name: module for module, names in public_names().items() for name in names}
    ordered = sorted(where, key=lambda name: (name[0].islower(), name.lower()))
    blocks = [_block(f"{where[name]}.{name}", heading=f"fieldlevel.{name}") for name in ordered]
    start = "# Python\n\nAll of `import fieldlevel`; what lies deeper is told [module by module](modules/index.md).\n"
    return "\n".join([start, *blocks])


def module_pages() -> dict[str, str]:
    """A page for every part of the package, and one that lists them; public names stand on the page of Python."""
    public = public_names()
    pages = {}
    rows = ["# Modules", "", "| part | what it is |", "|---|---|"]
    for part, names in modules().items():
        title = f"fieldlevel.{part}".rstrip(".")
        said = (inspect.getdoc(importlib.import_module(title)) or "").split("\n")[0]
        rows.append(f"| [{title}]({part or 'top'}.md) | {said} |")
        blocks = [_block(name, filters=["!^_", *(f"!^{of}$" for of in public.get(name, []))]) for name in names]
        pages[f"reference/modules/{part or 'top'}.md"] = "\n".join([f"# {title}", "", said, "", *blocks])
    return {"reference/modules/index.md": "\n".join([*rows, ""]), **pages}


def _said(*arguments: str) -> str:
    """What the command line prints, without frames."""
    from fieldlevel.arguments import parse  # noqa: PLC0415

    said = io.StringIO()
    os.environ.update(COLUMNS="100", NO_COLOR="1", TERM="dumb")
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        parse(arguments)
    lines = (_FRAME.sub("", line).rstrip() for line in said.getvalue().splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def help_of(command: str) -> str:
    """All that a command says of its settings; with `--help-all` where `--help` tells only the first ones."""
    brief = _said(command, "--help")
    return _said(command, "--help-all") if "--help-all" in brief else brief


def commands() -> list[str]:
    """Names of the commands, in their order."""
    from typing import get_args  # noqa: PLC0415

    from fieldlevel.arguments import name_of  # noqa: PLC0415
    from fieldlevel.commands import Command  # noqa: PLC0415

    return [name_of(kind) for kind in get_args(Command)]


def commands_page() -> str:
    """The help of every command."""
    parts = [f"## {name}\n\n```text\n{help_of(name)}\n```\n" for name in commands()]
    start = (
        "# Command line\n\nWhat `fieldlevel COMMAND --help` says. Exit codes: 0 done, 1 failed, 2 bad usage or data,"
    )
    return "\n".join([f"{start} 130 interrupted, 143 terminated.\n", *parts])


def notebooks() -> list[Path]:
    """Those of the repository."""
    return sorted((ROOT / "notebooks").glob("*.ipynb"))


def notebook_results() -> Iterator[tuple[str, str | bytes]]:
    """Pages of the notebooks after their run, and figures, by path in the site."""
    for notebook in notebooks():
        text, figures = notebook_page(notebook.stem, run_notebook(notebook))
        yield f"notebooks/{notebook.stem}.md", with_site_links(text, PurePosixPath("notebooks") / notebook.name)
        yield from ((f"notebooks/{name}", figure) for name, figure in figures.items())


def changelog_page() -> str:
    """CHANGELOG.md, where there is one."""
    path = ROOT / "CHANGELOG.md"
    return path.read_text() if path.exists() else "# Changes\n\nNo release yet: this is version 0.1.0, unreleased.\n"


def generated_pages() -> dict[str, tuple[str, PurePosixPath]]:
    """By path in the site: text, of notebooks before their run, and the file to whose place its links are relative."""
    own = {"reference/python.md": python_page(), "reference/commands.md": commands_page(), **module_pages()}
    pages = {path: (text, PurePosixPath("docs") / path) for path, text in own.items()}
    pages["changelog.md"] = (changelog_page(), PurePosixPath("CHANGELOG.md"))
    for notebook in notebooks():
        source = PurePosixPath("notebooks") / notebook.name
        pages[site_path(source)] = (notebook_page(notebook.stem, read_notebook(notebook))[0], source)
    for page in sorted((ROOT / "results").glob("*/README.md")):
        source = PurePosixPath(page.relative_to(ROOT).as_posix())
        pages[str(source)] = (page.read_text(), source)
    return pages


def fetched(html: str) -> list[str]:
    """Addresses of other machines that a browser asks by itself when it shows the page.

    Example:
        >>> fetched('<a href="https://arxiv.org"></a><img src="https://there/a.png"><img src="a.png">')
        ['https://there/a.png']
    """
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            given = dict(attrs)
            address = given.get(_FETCHED.get(tag, ""), "") or ""
            if re.match(r"(https?:)?//", address) and given.get("rel") not in _ONLY_NAMED:
                found.append(address)

    Reader().feed(html)
    return found


def on_config(config: Any) -> Any:
    """Let the navigation list the pages of the modules (a hook of mkdocs)."""
    (reference,) = (entry["Reference"] for entry in config.nav if "Reference" in entry)
    for entry in reference:
        if "Modules" in entry:
            entry["Modules"] = list(module_pages())
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add what is made to the files of docs/ (a hook of mkdocs), and the files that pages of the repository link to."""
    from mkdocs.structure.files import File  # noqa: PLC0415

    texts = [(path.read_text(), PurePosixPath("docs") / path.name) for path in DOCS.glob("*.md")]
    for path, (text, source) in generated_pages().items():
        files.append(File.generated(config, path, content=with_site_links(text, source)))
        texts.append((text, source))
    for path, content in notebook_results():
        if (page := files.get_file_from_path(path)) is not None:
            files.remove(page)
        files.append(File.generated(config, path, content=content))
    targets = {target for text, source in texts for target in linked(text, source)}
    for target in sorted(targets):
        copied = target.parts[0] in ("results", "notebooks", "examples") and target.suffix != ".md"
        if copied and (ROOT / target).is_file() and files.get_file_from_path(str(target)) is None:
            files.append(File.generated(config, str(target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Turn the links of a page of docs/ (a hook of mkdocs)."""
    if page.file.generated_by is not None:
        return markdown
    return with_site_links(markdown, PurePosixPath("docs") / page.file.src_uri)


def on_post_build(*, config: Any) -> None:
    """Refuse a site with pages that ask other machines for something (a hook of mkdocs)."""
    from mkdocs.exceptions import PluginError  # noqa: PLC0415

    for path in Path(config.site_dir).rglob("*.html"):
        if found := fetched(path.read_text()):
            raise PluginError(f"{path.relative_to(config.site_dir)} would fetch {', '.join(found)}")
