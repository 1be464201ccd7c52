"""What was built is whole: `built.py WHEEL SDIST` looks at description, links and files of both."""

import re
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED = ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "setup.py", "docs/design.md", "tests/conftest.py")


def broken_links(description: str) -> list[str]:
    """Links of a page that lead nowhere from an index of packages."""
    links = re.findall(r"\]\(([^)\s]*)[^)]*\)|(?:src|href)=[\"']([^\"']*)", description)
    return [link for pair in links for link in pair if link and not link.startswith(("https://", "http://", "mailto:"))]


def main(wheel: Path, sdist: Path) -> None:
    """End with a line for the first thing that is wrong."""
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
        (record,) = (name for name in held if name.endswith(".dist-info/METADATA"))
        metadata = message_from_bytes(archive.read(record))
    description = str(metadata.get_payload())
    if not description.startswith("# fieldlevel"):
        sys.exit(f"{wheel.name}: no description")
    if broken := broken_links(description):
        sys.exit(f"{wheel.name}: links of its description that lead nowhere: {', '.join(broken)}")
    package = ROOT / "src" / "fieldlevel"
    wanted = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    lacking = sorted(name for name in wanted - held if "__pycache__" not in name)
    with tarfile.open(sdist) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    lacking += [name for name in NEEDED if name not in names]
    if lacking:
        sys.exit(f"left out: {', '.join(lacking)}")
    sizes = (f"{path.name} {path.stat().st_size / 1e6:.1f} MB" for path in (wheel, sdist))
    sys.stdout.write(f"built: {', '.join(sizes)}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
