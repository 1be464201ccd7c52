"""A training that is stopped at a step, as by an interrupt."""

from collections.abc import Callable

from fieldlevel.progress import Progress


class InterruptionError(Exception):
    """Raised where an interrupt would come."""


def interrupt_at(step: int) -> Callable[[Progress], None]:
    """A listener that stops a training once it has done so many steps."""

    def listener(event: Progress) -> None:
        if event.task.startswith("train") and event.done == step:
            raise InterruptionError

    return listener
