"""Code of somebody's own: what goes wrong in it is told in a line with its place there, and not as a defect of ours."""

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fieldlevel.errors import OneLineError, UserError, reason
from fieldlevel.trouble import of_memory

_OTHERS = (str(Path(__file__).parent), *{sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}, "<")
"""Where files begin that are none of somebody's own."""
_SAYING_WHERE = (ImportError, SyntaxError)


@contextmanager
def told(what: str, remedy: str) -> Iterator[None]:
    """Turn whatever is raised inside into a `UserError`; errors of this package and of full memory stay what they are.

    Args:
        what: was tried, and with which code.
        remedy: what to do.

    Raises:
        UserError: what was tried, the error, the file and the line of somebody's own that it comes from, the remedy.

    Example:
        >>> with told("body = my_networks:Net: fails", "mend it"):
        ...     {}["width"]
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: body = my_networks:Net: fails (KeyError: 'width'); mend it
    """
    try:
        yield
    except OneLineError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, RuntimeError | MemoryError) and of_memory(error) is not None:
            raise
        raise UserError(f"{what} ({_in_words(error)}{_place(error)}); {remedy}") from error


def _in_words(error: BaseException) -> str:
    said = reason(error)
    return said if isinstance(error, _SAYING_WHERE) else f"{type(error).__name__}: {said}".removesuffix(": ")


def _place(error: BaseException) -> str:
    """The innermost line of somebody's own that the error came through."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_OTHERS)]
    return f", line {own[-1].lineno} of {Path(own[-1].filename).name}" if own else ""
