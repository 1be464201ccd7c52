"""Interrupts of the command line: one line and an end within seconds, from the first import to the last moment.

The first SIGINT or SIGTERM while a command works raises KeyboardInterrupt, so that it leaves its folders in order. The
next one, or `SECONDS_TO_TIDY_UP`, ends the process where it stands, with the processes that it started: what lies on
the disk is complete or absent then too (`fieldlevel.files`). Before a command works, and while it imports, there is
nothing to put in order, and half an import fails in many ways: the first one ends the process there.

Python answers signals in its main thread between two steps of its own. A thread that is told of them by
`signal.set_wakeup_fd` sees to it that a main thread which is busy elsewhere ends as well.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # the less is imported here, the earlier interrupts are answered
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType
    from typing import Any, NoReturn

SECONDS_TO_TIDY_UP = 3.0

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_IMPORTING = "<frozen importlib._bootstrap>"
_SHOW_CURSOR = b"\x1b[?25h"


class _Signals:
    """What has been heard and said so far."""

    received: int | None = None
    is_told: bool = False
    is_working: bool = False
    before: dict[int, Any] | None = None
    hooks: tuple[Any, Any] | None = None
    watch: int | None = None


def install() -> None:
    """Answer interrupts from now on; those that are ignored, as in the background of a shell, stay so.

    Signals that somebody else handles, and all of them outside the main thread, are left alone.
    """
    if _Signals.before is not None:
        return
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    before: dict[int, Any] = {number: signal.getsignal(number) for number in usual}
    try:
        for number, handler in usual.items():
            if before[number] == handler:
                signal.signal(number, _answer)
    except ValueError:  # not the main thread
        return
    _Signals.before = before
    import threading  # noqa: PLC0415 (see above)

    _Signals.hooks = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = _unless_interrupted(sys.unraisablehook)
    threading.excepthook = _unless_interrupted(threading.excepthook)
    _watch()


def _uninstall() -> None:
    for number, handler in (_Signals.before or {}).items():
        if signal.getsignal(number) is _answer:
            signal.signal(number, handler)
    if _Signals.hooks is not None:
        import threading  # noqa: PLC0415 (see above)

        sys.unraisablehook, threading.excepthook = _Signals.hooks
    if _Signals.watch is not None:
        signal.set_wakeup_fd(-1)
        os.close(_Signals.watch)
    _Signals.before = _Signals.hooks = _Signals.watch = None


class raised:  # noqa: N801 (a context, as those of contextlib)
    """Context in which the first interrupt raises KeyboardInterrupt; whatever else follows from it becomes one too."""

    def __enter__(self) -> None:
        self.is_first = _Signals.before is None
        _Signals.received, _Signals.is_told = None, False
        install()
        _Signals.is_working = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _Signals.is_working = False
        if _Signals.received is not None:
            if not isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt
        elif self.is_first:
            _uninstall()


def exit_code() -> int:
    """Of an interrupted command: 128 and the number of the signal."""
    return 128 + (_Signals.received or signal.SIGINT)


def tell(write: Callable[[str], object]) -> None:
    """Say once that the command was interrupted.

    Args:
        write: prints a line.
    """
    is_told, _Signals.is_told = _Signals.is_told, True
    if not is_told and os.environ.get("RANK", "0") == "0":  # one of all that torchrun started
        write(f"{_WORDS[signal.Signals(_Signals.received or signal.SIGINT)]}; the same command continues")


def leave(code: int) -> NoReturn:
    """End this process: at once after an interrupt, as threads and finalizers could hold it up."""
    if _Signals.received is not None:
        _end()
    sys.exit(code)


def _answer(number: int, frame: FrameType | None) -> None:
    is_first = _Signals.received is None
    _Signals.received = _Signals.received or number
    if is_first and _Signals.is_working and not _is_importing(frame):
        raise KeyboardInterrupt
    _end()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != _IMPORTING:
        frame = frame.f_back
    return frame is not None


def _end() -> NoReturn:
    """End this process and those that it started, here."""
    for child in getattr(sys.modules.get("multiprocessing"), "active_children", list)():
        child.kill()
    tell(_write)
    os._exit(exit_code())


def _write(line: str) -> None:
    cursor = _SHOW_CURSOR if os.isatty(2) else b""
    try:
        os.write(2, cursor + f"fieldlevel: {line}\n".encode())
    except OSError:
        return


def _unless_interrupted(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    """What an interrupt leaves in threads and finalizers is no news."""

    def tell_others(arguments: Any) -> None:
        if _Signals.received is None:
            hook(arguments)

    return tell_others


def _watch() -> None:
    import threading  # noqa: PLC0415 (see above)

    told, telling = os.pipe()
    os.set_blocking(telling, False)
    before = signal.set_wakeup_fd(telling, warn_on_full_buffer=False)
    if before != -1:
        signal.set_wakeup_fd(before)
        return
    _Signals.watch = telling
    threading.Thread(target=_end_in_time, args=(told,), daemon=True).start()


def _end_in_time(told: int) -> None:
    """End the process if it has not done so itself a while after an interrupt."""
    import time  # noqa: PLC0415 (see above)

    while heard := os.read(told, 1):
        if signal.getsignal(heard[0]) is _answer:
            time.sleep(SECONDS_TO_TIDY_UP)
            if _Signals.is_working or _Signals.received is None:
                _Signals.received = _Signals.received or heard[0]
                _end()
    os.close(told)
