"""A folder of results that is committed: made aside, in its place when it is whole, and small."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldlevel.console import say
from fieldlevel.errors import UserError


@contextmanager
def replaced_whole(out: Path, made: Collection[str]) -> Iterator[Path]:
    """Give an empty folder beside `out` that takes its place on leaving without an error.

    Args:
        out: the folder, which may be there.
        made: names of all that may lie in it.

    Raises:
        UserError: `out` is a file, or holds what was not made here.
    """
    strange = sorted({path.name for path in out.iterdir()} - {*made}) if out.is_dir() else []
    if strange or (out.exists() and not out.is_dir()):
        held = f"holds {strange[0]}, which was not made here" if strange else "is a file"
        raise UserError(f"{out}: {held}; name another folder with --out")
    aside, before = (out.with_name(f".{state}.{out.name}") for state in ("part", "before"))
    if before.exists() and not out.exists():
        before.rename(out)
    for path in (aside, before):
        shutil.rmtree(path, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        if out.exists():
            out.rename(before)
        aside.rename(out)
    finally:
        if before.exists() and not out.exists():
            before.rename(out)
        for path in (aside, before):
            shutil.rmtree(path, ignore_errors=True)


def print_sizes(out: Path) -> None:
    """Print how large each file of a folder is, and all."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    for path in files:
        say(f"{path.stat().st_size / 1e3:10.1f} kB  {path.relative_to(out)}")
    say(f"{sum(path.stat().st_size for path in files) / 1e3:10.1f} kB  {out}")
