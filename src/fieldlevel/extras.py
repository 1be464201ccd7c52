"""Packages that only some of the work needs: they come with the extras of `pyproject.toml`.

Modules that need one import it as any other, and who asks for such a module (`fieldlevel.<name>`, a command) tells
`lacking` of it. What needs one only here and there asks with `need`, or before long work with `refuse_without`.
"""

import importlib
from importlib.util import find_spec
from typing import Any

from fieldlevel.errors import UserError

EXTRAS = {
    "h5py": "snapshots",
    "hdf5plugin": "hdf5",
    "numba": "snapshots",
    "scipy": "simulate",
    "optuna": "tune",
    "matplotlib": "report",
    "jinja2": "report",
    "zuko": "flows",
    "pandas": "pandas",
    "getdist": "getdist",
    "distributed": "dask",
    "dask_jobqueue": "slurm",
    "sbi": "sbi",
    "tensorboard": "tensorboard",
}
"""The extra that brings each package."""


def need(module: str) -> Any:
    """Import a module of another package.

    Args:
        module: its import path.

    Raises:
        UserError: it is not there, with the line that installs it.

    Example:
        >>> need("math").pi
        3.141592653589793
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UserError(lacking(error) or str(error)) from None


def known(module: str) -> Any | None:
    """A module of another package, None where that is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def refuse_without(*packages: str) -> None:
    """Refuse work that will need packages that are not installed, without importing them.

    Raises:
        UserError: the first that is not there, with the line that installs it.

    Example:
        >>> refuse_without("math")
    """
    for package in packages:
        if not _is_there(package):
            raise UserError(_told(package, EXTRAS[package]))


def lacking(error: ModuleNotFoundError, extra: str | None = None) -> str | None:
    """What to say where a package of an extra is missing.

    Args:
        error: of an import that failed.
        extra: that brings all that the work needs; that of the package when omitted.

    Returns:
        A line that names package and extra; None of a module that no extra brings.

    Example:
        >>> lacking(ModuleNotFoundError(name="optuna"))
        "optuna is not installed; pip install 'fieldlevel[tune]', or pip install optuna"
    """
    package = (error.name or "").partition(".")[0]
    return _told(package, extra or EXTRAS[package]) if package in EXTRAS else None


def _told(package: str, extra: str) -> str:
    return f"{package} is not installed; pip install 'fieldlevel[{extra}]', or pip install {package}"


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return False
