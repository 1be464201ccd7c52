"""Work spread over a `concurrent.futures.Executor`: that of a cluster, or any other.

A crew stands in the place of the processes that `workers.spread` would start, for all work inside a context. A piece
whose worker dies is the executor's to give to another one; whoever stops the work takes back what is not done.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from fieldlevel.errors import UserError, reason
from fieldlevel.numerics.device import devices_elsewhere
from fieldlevel.numerics.hardware import Unit
from fieldlevel.pieces import Begin, Done, Make, Order, Result, do_ordered, forget_kept
from fieldlevel.progress import Listener, Progress, ignore

N_AHEAD = 2
"""Pieces of work, being done or waiting to be taken, for each process."""
_FEWEST = 4
"""Workers that pieces are handed out for at least, as more may join."""
_SECONDS = 1.0
"""After which it is looked again whether workers have joined."""

_current: ContextVar["Crew | None"] = ContextVar("crew", default=None)


def current_crew() -> "Crew | None":
    """Who does the work that is spread here; None where processes of this machine do."""
    return _current.get()


@contextmanager
def given_to(crew: "Crew") -> Iterator[None]:
    """Context in which a crew does the work that is spread."""
    token = _current.set(crew)
    try:
        with devices_elsewhere():
            yield
    finally:
        _current.reset(token)


def _nobody() -> Listener:
    return ignore


def _heard_by_nobody(listener: Listener) -> AbstractContextManager[Begin]:
    """For executors whose workers have no way to tell."""
    return nullcontext(_nobody)


@dataclass(frozen=True)
class Crew:
    """Workers that somebody else started.

    Attributes:
        executor: gives them work.
        name: of all of them, for people.
        device: as the command line has it; each worker chooses its own.
        count: how many workers there are now.
        telling: given a listener, a context that yields what gives workers one in its place.
        units: devices that have done a piece of work, as workers told.
    """

    executor: Executor
    name: str
    device: str
    count: Callable[[], int]
    telling: Callable[[Listener], AbstractContextManager[Begin]] = _heard_by_nobody
    units: set[Unit] = field(default_factory=set, compare=False)

    def spread(
        self, make: Make[Result], todo: Sequence[int], listener: Listener
    ) -> Generator[tuple[int, Result], None, None]:
        """As `workers.spread`.

        Raises:
            UserError: the workers are gone, or a piece of work killed several of them.
        """
        try:
            with self.telling(listener) as begin:
                hand_out = partial(self.executor.submit, do_ordered, make, order=Order.here(self.device, begin))
                with closing(self._results(hand_out, todo, listener)) as results:
                    for place, done in results:
                        yield place, done.take()
        finally:
            forget_kept()  # where workers are threads of this process

    def _results(
        self, hand_out: Callable[[int], "Future[Done[Result]]"], todo: Sequence[int], listener: Listener
    ) -> Generator[tuple[int, Done[Result]], None, None]:
        waiting, doing = enumerate(todo), dict[Future[Done[Result]], int]()
        watch = _Watch(self, listener)
        try:
            while True:
                n_free = max(0, N_AHEAD * max(_FEWEST, watch.look()) - len(doing))
                doing |= {self._hand(hand_out, number): place for place, number in islice(waiting, n_free)}
                if not doing:
                    return
                for future in wait(doing, _SECONDS, FIRST_COMPLETED).done:
                    yield doing.pop(future), self._take(future)
        finally:
            for future in doing:
                future.cancel()

    def _hand(self, hand_out: Callable[[int], "Future[Done[Result]]"], number: int) -> "Future[Done[Result]]":
        try:
            return hand_out(number)
        except Exception:
            self.count()  # which tells of a connection that is lost
            raise

    def _take(self, future: "Future[Done[Result]]") -> Done[Result]:
        try:
            done = future.result()
        except CancelledError:
            raise UserError(f"{self.name}: the connection is lost; the same command continues") from None
        except Exception as error:
            told = f"{self.name}: {reason(error).partition('. ')[0]}"  # what follows tells of dask's pages
            raise UserError(f"{told}; the workers' logs may tell more, and the same command continues") from error
        if done.unit is not None:
            self.units.add(done.unit)
        return done


class _Watch:
    """Counts workers, and says so while there are none."""

    def __init__(self, crew: Crew, listener: Listener) -> None:
        self.crew, self.listener, self.is_waiting = crew, listener, False

    def look(self) -> int:
        n_workers = self.crew.count()
        if n_workers == 0 or self.is_waiting:
            self.listener(Progress(f"wait for workers of {self.crew.name}", min(1, n_workers), 1, "workers"))
        self.is_waiting = n_workers == 0
        return n_workers
