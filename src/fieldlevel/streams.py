"""Standard output and standard error that take whatever is written to them.

Names of files come from anywhere, and a terminal, a pipe or a log file need not take them, nor the symbols of tables:

* What an encoding lacks is spelled, never raised; characters that steer a terminal are escaped.
* A closed stream is as `/dev/null`, and a pipe whose reader has gone becomes so: the command goes on with its work, and
  its exit code is that of the work.
* A standard output that is full is an error, once. There is nobody to be told of a full standard error.
"""

import codecs
import io
import os
import select
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from fieldlevel.errors import one_line

_SPELLED = "fieldlevel.spelled"
_SPELLING = {
    "σ": "sigma", "μ": "mu", "χ": "chi", "Ω": "Omega", "±": "+-", "×": "x", "²": "^2", "³": "^3", "→": "->", "·": "-",
    "–": "-", "•": "*", "—": "-", "−": "-", "…": "...", "≤": "<=", "≥": ">=", "≈": "~",
}  # fmt: skip


def prepare() -> None:
    """Make the standard streams of this process such as the module says; those that somebody put there stay."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, f"__{name}__") is None and getattr(sys, name) is None:
            setattr(sys, name, _open_null(number))
        stream = getattr(sys, name)
        if number and stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _patient(stream, number))


@contextmanager
def flushed() -> Iterator[None]:
    """Context at whose end standard output has been written.

    Raises:
        OSError: it could not be.
    """
    try:
        yield
    finally:
        sys.stdout.flush()


def say_error(message: str) -> None:
    """One line on standard error, the package's name before it."""
    with suppress(OSError):
        sys.stderr.write(f"fieldlevel: {one_line(message)}\n")
        sys.stderr.flush()


def show_warning(message: Warning | str, *_where: Any, **_more: Any) -> None:
    """A warning as one line, in the place of `warnings.showwarning`."""
    say_error(f"warning: {message}")


@contextmanager
def brief_warnings() -> Iterator[None]:
    """Context in which a warning is one line."""
    before, warnings.showwarning = warnings.showwarning, show_warning
    try:
        yield
    finally:
        warnings.showwarning = before


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    return "".join(_SPELLING.get(each) or ascii(each)[1:-1] for each in text), error.end


codecs.register_error(_SPELLED, _spelled)


class _Descriptor(io.FileIO):
    """A file descriptor that is never in the way of the work."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.is_gone = False

    def write(self, data: Any) -> int:
        if self.is_gone:
            return len(data)
        try:
            return self._write_when_ready(data)
        except OSError as error:
            self.is_gone = True
            if isinstance(error, BrokenPipeError) or self.fileno() != 1:
                return len(data)
            error.filename = "standard output"
            raise

    def _write_when_ready(self, data: Any) -> int:
        while (written := super().write(data)) is None:
            select.select([], [self], [])
        return written


def _patient(stream: io.TextIOWrapper, number: int) -> TextIO:
    with suppress(OSError):
        stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(number)),
        encoding=stream.encoding,
        errors=_SPELLED,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _open_null(number: int) -> TextIO:
    """`/dev/null` as that file descriptor, so that no other file gets the number."""
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        with suppress(OSError):
            os.fstat(number)
            return os.fdopen(null, "r" if number == 0 else "w")
        os.dup2(null, number)
        os.close(null)
    return open(number, "r" if number == 0 else "w", closefd=False)
