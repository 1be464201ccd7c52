"""Progress events: long work reports what it has done, one module of the package draws it.

Library functions take a `Listener` and call it; they never print. `fieldlevel.console` is the listener of the command
line, `ignore` the default everywhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of a long task.

    Attributes:
        task: what is being done, e.g. `"simulate MockTNG"`; events with the same task move the same bar.
        done: units finished so far.
        total: units in all; the task is over when `done == total`.
        unit: what is counted, in the plural.
        detail: a short remark, e.g. the current loss.
    """

    task: str
    done: int
    total: int
    unit: str
    detail: str = ""


Listener = Callable[[Progress], None]


def ignore(event: Progress) -> None:
    """Listen to nothing."""
