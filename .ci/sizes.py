"""Megabytes on disk of the package and of each extra, where `fieldlevel[all]` is installed: `python .ci/sizes.py`."""

import sys
from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

EXTRAS = ("simulate", "snapshots", "hdf5", "tune", "report", "letter", "flows", "getdist", "pandas", "slurm", "all")


def needed(requirement: str) -> set[str]:
    """Distributions that a requirement brings, itself included."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(requirement)]
    while waiting:
        asked = waiting.pop()
        for extra in (new := {(canonicalize_name(asked.name), each) for each in ("", *asked.extras)} - found):
            for each in map(Requirement, metadata.requires(extra[0]) or ()):
                if each.marker is None or each.marker.evaluate({"extra": extra[1]}):
                    waiting.append(each)
        found |= new
    return {name for name, _ in found}


def megabytes(names: Iterable[str]) -> float:
    """Of the files of distributions, but for bytecode."""
    files = [path for name in names for path in metadata.files(name) or () if path.suffix != ".pyc"]
    return sum(path.locate().stat().st_size for path in files if path.locate().is_file()) / 1e6


def main() -> None:
    """A line for PyTorch with what it requires, for the package on top of that, and for each extra on top of that."""
    torch, base = needed("torch"), needed("fieldlevel")
    told = [("torch, with what it requires", torch), ("fieldlevel", base - torch)]
    told += [(f"[{extra}]", needed(f"fieldlevel[{extra}]") - base) for extra in EXTRAS]
    for what, names in told:
        largest = sorted(names, key=lambda name: -megabytes([name]))[:5]
        parts = ", ".join(f"{name} {megabytes([name]):.1f}" for name in largest)
        sys.stdout.write(f"{what}: {megabytes(names):.1f} MB ({parts})\n")


if __name__ == "__main__":
    main()
