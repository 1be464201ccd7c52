"""Networks that come with the package, asked for by name instead of by the path of a weights file."""

import os
from pathlib import Path

from fieldlevel.errors import UserError

FOLDER = Path(__file__).parents[1] / "trained"
"""Holds one `<name>.safetensors` a network."""

SUFFIX = ".safetensors"


def trained_names() -> list[str]:
    """Names of the networks that come with the package, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def find_weights(weights: str | Path) -> Path:
    """The weights file that a user means: a path is taken as it is, a bare name is looked up in the package.

    A name is bare if it has neither a separator nor a suffix. A file or folder that has a bare name is meant by it.

    Args:
        weights: path of a weights file, which need not exist, or name of a network that comes with the package.

    Raises:
        UserError: a bare name that is neither there nor in the package, with the names that are.
    """
    path = Path(weights)
    if path.name != os.fspath(weights) or path.suffix or path.exists():
        return path
    names = trained_names()
    if path.name not in names:
        known = ", ".join(names) or "none does"
        raise UserError(f"{path}: no such file, and no network of that name comes with fieldlevel ({known})")
    return FOLDER / f"{path.name}{SUFFIX}"
