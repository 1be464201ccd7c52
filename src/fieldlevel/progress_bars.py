"""Progress as somebody sees it: a bar for every task on a terminal, else a line now and then, on standard error.

It is how the command line reports, and every function of the package that has `verbose=True`.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fieldlevel.errors import printable
from fieldlevel.progress import Listener, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 15.0
"""Where the output is no terminal, a task reports at most this often."""

SECONDS_OF_ESTIMATE = 600.0
"""The time left follows from the pace of the last so many seconds."""


@contextmanager
def telling(listener: Listener, verbose: bool) -> Iterator[Listener]:
    """The listener of a function that was given one and maybe `verbose=True`.

    Args:
        listener: told of every event.
        verbose: whether to show the events, too.

    Yields:
        What the function is to tell.

    Example:
        >>> from fieldlevel.progress import ignore
        >>> with telling(ignore, verbose=False) as listener:
        ...     listener is ignore
        True
    """
    if not verbose:
        yield listener
        return
    with progress_display() as display:

        def both(event: Progress) -> None:
            listener(event)
            display(event)

        yield both


@contextmanager
def progress_display() -> Iterator[Listener]:
    """A bar for every task on a terminal; on a pipe, in a log file or a notebook a line now and then."""
    if find_spec("rich") is None or not _is_terminal():
        yield _LineListener()
        return
    with _bars() as bars:
        yield _BarListener(bars)


def _is_terminal() -> bool:
    from rich.console import Console  # noqa: PLC0415 (needed by whoever watches alone)

    return Console(stderr=True).is_terminal


def _bars() -> "Bars":
    from rich import progress  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415

    columns = (
        progress.TextColumn("{task.description:<22}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[unit]}"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[detail]}"),
    )
    return progress.Progress(*columns, console=Console(stderr=True), speed_estimate_period=SECONDS_OF_ESTIMATE)


class _BarListener:
    """One rich bar a task; a task that begins again, as with another seed, has its clock set back."""

    def __init__(self, bars: "Bars") -> None:
        self.bars = bars
        self.known: dict[str, TaskID] = {}

    def __call__(self, event: Progress) -> None:
        if event.task not in self.known:
            self.known[event.task] = self.bars.add_task(_escaped(event.task), unit=event.unit, detail="")
        bar = self.known[event.task]
        if event.done < self.bars.tasks[bar].completed:
            self.bars.reset(bar)
        self.bars.update(bar, completed=event.done, total=event.total, unit=event.unit, detail=_escaped(event.detail))


def _escaped(text: str) -> str:
    from rich import markup  # noqa: PLC0415

    return markup.escape(printable(text))


class _LineListener:
    """A line at the end of a task and now and then before, with the time left at the pace since its first event.

    A task that begins again, as with another seed, is timed anew.
    """

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.first: dict[str, tuple[float, int]] = {}
        self.done: dict[str, int] = {}

    def __call__(self, event: Progress) -> None:
        now = time.monotonic()
        finished = event.done >= event.total
        if event.done < self.done.get(event.task, 0):
            self.first[event.task], self.last[event.task] = (now, event.done), now
        self.done[event.task] = event.done
        began, done_before = self.first.setdefault(event.task, (now, event.done))
        if not finished and now - self.last.setdefault(event.task, now) < SECONDS_BETWEEN_LINES:
            return
        self.last[event.task] = now
        words = [f"{event.task}: {event.done}/{event.total} {event.unit}", event.detail]
        if not finished and event.done > done_before:
            left = (now - began) / (event.done - done_before) * (event.total - event.done)
            words.insert(1, f"{timedelta(seconds=round(left))} left")
        sys.stderr.write(printable(" ".join(word for word in words if word)) + "\n")
        sys.stderr.flush()
