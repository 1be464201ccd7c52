"""Packages that only some of the work needs: they come with the extras of `pyproject.toml`."""

import importlib
from typing import Any

from fieldlevel.errors import UserError


def need(module: str, extra: str) -> Any:
    """Import a module of another package.

    Args:
        module: its import path.
        extra: that brings it.

    Raises:
        UserError: it is not there, with the line that installs it.

    Example:
        >>> need("math", "none").pi
        3.141592653589793
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        told = f"{error.name or module} is not installed"
        raise UserError(f"{told}; pip install 'fieldlevel[{extra}]', or pip install {extra}") from None


def known(module: str) -> Any | None:
    """A module of another package, None where that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None
