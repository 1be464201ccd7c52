"""Progress events: long work reports what it has done, one module of the package draws it.

Library functions take a `Listener` and call it; they never print. `progress_display` is the listener of the command
line and of `verbose=True` (`fieldlevel.progress_bars`), `ignore` the default everywhere else.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One step of a long task.

    Attributes:
        task: what is being done, e.g. `"simulate MockTNG"`; events with the same task move the same bar.
        done: units finished so far.
        total: units in all; the task is over when `done == total`.
        unit: what is counted, in the plural.
        detail: a short remark, e.g. the current loss.
        numbers: what it tells as numbers, by name. Of a training `loss` (of the last step; at a validation the mean
            since the one before), `learning_rate` and, at validations alone, `validation_loss`; of a search also
            `trial`.

    Example:
        >>> event = Progress("train MockTNG", 10, 400, "steps", numbers={"loss": -3.5, "learning_rate": 1e-3})
        >>> event.done / event.total, event.numbers["loss"]
        (0.025, -3.5)
    """

    task: str
    done: int
    total: int
    unit: str
    detail: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict, hash=False)


Listener = Callable[[Progress], None]


def ignore(event: Progress) -> None:
    """Listen to nothing."""
