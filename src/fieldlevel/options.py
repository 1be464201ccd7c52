"""What the command line calls the fields of a spec: notes for tyro, which says nothing where it is not installed.

A spec is read and written without the command line, so without tyro; only its annotations mention it.
"""

from contextlib import suppress
from typing import Any

__all__ = ["tyro"]


class _Silent:
    """Stands for every note."""

    def __getattr__(self, name: str) -> "_Silent":
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, **note: object) -> "_Silent":
        return self


tyro: Any = _Silent()
with suppress(ModuleNotFoundError):
    import tyro
