"""`resume.pt`: the state of an unfinished run, complete or absent."""

import math
import time
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from fieldlevel.errors import UserError, reason
from fieldlevel.files import check_regular, write_bytes

VERSION = 4
"""Of what a state holds: 2 has several optimisers, 4 a key of all maps of its data; there was no 3."""
QUICK = 0.1
"""Seconds: writing that takes less is never put off."""
SHARE = 0.05
"""Of the time that other writing may take."""


_REMEDY = "delete it to start this run again"
_OF_DAMAGED_FILES = (
    *(OSError, EOFError, RuntimeError, UnpicklingError, LookupError, TypeError, ValueError),
    *(ArithmeticError, AssertionError, AttributeError, ImportError, MemoryError),
)
"""What PyTorch raises where bytes are not what they should be; it has no fewer."""


class Resumable(Protocol):
    """What goes on from a state."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; one of these errors where it does not fit: `ValueError` or what PyTorch raises."""


class ResumeFile:
    """The state on disk: written again as often as that costs little.

    Args:
        path: the file.
        key: of the run, its spec and its data; the state of another one is refused.
        earlier: keys that earlier versions knew this run by.
    """

    def __init__(self, path: Path, key: str, earlier: Sequence[str] = ()) -> None:
        self.path = path
        self._key = key
        self._known = (key, *earlier)
        self._written = -math.inf
        self._seconds = 0.0

    def is_due(self) -> bool:
        """Whether enough time went by since the state was written."""
        return self._seconds < QUICK or time.monotonic() - self._written > self._seconds / SHARE

    def read(self) -> dict[str, Any] | None:
        """The state, None where there is none.

        Raises:
            UserError: it cannot be read, or is of another version or run.
        """
        if not self.path.exists():
            return None
        state = read_state(self.path)
        key = state.pop("key", None)
        if not isinstance(key, str) or key not in self._known:
            raise UserError(
                f"{self.path}: belongs to another spec or other data; train in another folder, or delete it"
            )
        return state

    def restore(self, run: Resumable) -> None:
        """Have a run go on from the state, if there is one.

        Raises:
            UserError: it cannot be read, is of another version or run, or does not fit the run.
        """
        state = self.read()
        if state is None:
            return
        try:
            run.load_state_dict(state)
        except _OF_DAMAGED_FILES as error:
            raise UserError(f"{self.path}: damaged ({reason(error)}); {_REMEDY}") from None

    def write(self, state: Mapping[str, Any]) -> None:
        """Write the state; errors as in `write_state`."""
        started = time.monotonic()
        write_state(self.path, {**state, "key": self._key})
        self._written = time.monotonic()
        self._seconds = self._written - started


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run.

    PyTorch's own writer of files tells a full disk as an internal error, so it writes into memory here.

    Args:
        path: the file; one of that name is replaced.
        state: tensors, numbers and text.

    Raises:
        OSError: the disk is full, or the file may not be written.
    """
    buffer = BytesIO()
    torch.save({**state, "version": VERSION}, buffer)
    write_bytes(path, buffer.getvalue())


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of a run, tensors on the CPU.

    Raises:
        UserError: the file cannot be read, or was written by another version.
    """
    check_regular(path, _REMEDY)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _OF_DAMAGED_FILES:
        state = None
    if not isinstance(state, dict):
        raise UserError(f"{path}: cannot be read; {_REMEDY}") from None
    version = state.pop("version", 1)
    if not isinstance(version, int) or version != VERSION:
        raise UserError(f"{path}: written by another version of fieldlevel; {_REMEDY}")
    return state
