"""Optuna's journal on disk, for processes that may be killed at any moment.

Every event of a search is a line of one append-only file. SQLite is not used: Optuna's documentation advises against
it for parallel processes, and its locks fail on many network file systems. Optuna's own lock of the journal outlives a
killed process by 30 seconds and may be taken from one that only sleeps; the lock here ends with its process.
"""

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from optuna.exceptions import OptunaError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from fieldlevel.errors import UserError
from fieldlevel.files import check_regular
from fieldlevel.json_files import parse_json
from fieldlevel.locks import locked

_OF_STRANGE_EVENTS = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, OptunaError, RuntimeError, TypeError, ValueError),
)
"""What Optuna raises where events are not what they should be."""


def open_journal(path: Path) -> JournalStorage:
    """Storage in a file, which is made if need be; any number of processes may have it open.

    Args:
        path: the journal; its lock is a hidden file beside it while somebody writes.

    Returns:
        Storage for an Optuna study.

    Raises:
        UserError: a line of the journal is damaged, or the lines do not fit together.
    """
    check_regular(path, f"delete {path.parent} to search anew")
    if path.is_symlink():
        raise UserError(f"{path}: is a link, through which another file would be changed; take it away")
    backend = JournalFileBackend(str(path), lock_obj=_ProcessLock(path))
    _check_lines(path)
    with naming_journal(path):
        return JournalStorage(backend)


@contextmanager
def naming_journal(path: Path) -> Iterator[None]:
    """Say of what Optuna makes of strange events that the journal holds them.

    Raises:
        UserError: with the journal.
    """
    try:
        yield
    except _OF_STRANGE_EVENTS:
        told = f"{path}: not the journal of a search, or one that was changed"
        raise UserError(f"{told}; bring it back, or delete {path.parent} to search anew") from None


def _check_lines(path: Path) -> None:
    """Refuse a line that is no event; a last one without an end is still being written, or will be cut off."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if _is_event(line) or not (line.endswith(b"\n") or _holds_more(line)):
                continue
            told = f"{path}: line {number} is damaged"
            raise UserError(f"{told}; delete that line if it is foreign, or {path.parent} to search anew")


def _is_event(line: bytes) -> bool:
    try:
        event = parse_json(line.decode(), "an event")
    except (UserError, UnicodeDecodeError):
        return False
    return isinstance(event, dict) and "op_code" in event


def _holds_more(line: bytes) -> bool:
    """Whether an event and something after it stand in one line, which no killed process leaves."""
    try:
        json.JSONDecoder().raw_decode(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return False
    return True


class _ProcessLock(JournalFileOpenLock):
    """A lock that ends with its process; whoever gets it first mends what a killed writer left."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        self._held = ExitStack()

    def acquire(self) -> bool:
        self._held.enter_context(locked(self._path.with_name(f".{self._path.name}.lock"), wait=True))
        _cut_half_line(self._path)
        return True

    def release(self) -> None:
        self._held.close()


def _cut_half_line(path: Path) -> None:
    """Cut off a last line without an end: the next event would be appended to it, and neither could be read.

    One that is whole but for its end, as editors leave it, gets that.
    """
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        if size == 0 or _last_byte(file.fileno(), size) == b"\n":
            return
        file.seek(0)
        start = file.read().rfind(b"\n") + 1
        file.seek(start)
        if _is_event(file.read()):
            file.write(b"\n")
        else:
            file.truncate(start)


def _last_byte(file: int, size: int) -> bytes:
    return os.pread(file, 1, size - 1)
