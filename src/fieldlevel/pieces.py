"""A piece of work, wherever it is done: on a device, with somebody who listens, its errors fit to be sent."""

import os
import threading
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, TypeVar

import torch

from fieldlevel import __version__, extensions
from fieldlevel.errors import UserError, reason
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.hardware import Unit, unit_of
from fieldlevel.progress import Listener, ignore

Result = TypeVar("Result")
Make = Callable[[int, torch.device], Result]
"""Does the piece of a number on a device."""
Begin = Callable[[], Listener]


class Abandoned(BaseException):
    """Raised by a listener when nobody wants the piece of work any more: its result goes nowhere."""


@dataclass(frozen=True)
class Done(Generic[Result]):
    """What a worker sends of a piece of work: its result or why there is none, and on what it was done."""

    result: Result | None = None
    error: BaseException | None = None
    unit: Unit | None = None

    def take(self) -> Result:
        """The result.

        Raises:
            BaseException: why there is none.
        """
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


class _Worker:
    """What a process that works knows of itself."""

    listener: Listener = staticmethod(ignore)
    one_at_a_time = threading.Lock()
    work: str | None = None
    kept: tuple[object, Any] | None = None


def kept_for_others(key: object, make: Callable[[], Result]) -> Result:
    """What one piece of work made and others of the same work need, of which a worker keeps the last.

    Args:
        key: equal where the same is meant.
        make: makes it where it was not kept.
    """
    if _Worker.work is None:
        return make()
    if _Worker.kept is None or _Worker.kept[0] != key:
        _Worker.kept = None  # before the next one takes memory
        _Worker.kept = key, make()
    return _Worker.kept[1]


def forget_kept() -> None:
    """Give the memory back that `kept_for_others` holds in this process."""
    _Worker.work = _Worker.kept = None


def worker_listener() -> Listener:
    """Listener of whoever spread the work that this process does."""
    return _Worker.listener


def tell_listener(listener: Listener) -> None:
    """Have the work of this process tell somebody of it."""
    _Worker.listener = listener


def make_on(device: torch.device, make: Make[Result], number: int) -> Result:
    """Do a piece of work on a device, which is the one in use meanwhile."""
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        return make(number, device)


def try_piece(make: Make[Result], device: torch.device, number: int) -> Done[Result]:
    """Do a piece of work, or tell why it cannot be done."""
    try:
        return Done(make_on(device, make, number))
    except Exception as error:  # noqa: BLE001 (who spread the work raises it)
        return Done(error=_portable(error))


def _portable(error: Exception) -> Exception:
    """The error, with where it came from, as another process can read it."""
    told = "".join(traceback.format_exception(error))
    try:
        sent: Exception = ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:  # noqa: BLE001 (classes of errors may ask for anything)
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(f"in a worker process:\n{told}")
    return sent


@dataclass(frozen=True)
class Order:
    """How a worker that nobody here started is to do pieces of work.

    Attributes:
        folder: that paths are relative to, the same on all machines.
        device: as the command line has it; each worker chooses its own.
        extensions: modules to import first, as `FIELDLEVEL_EXTENSIONS` has them.
        begin: called in the thread that does a piece, before it; gives the listener there.
        version: of this package, which workers must have too.
        work: that the piece is of, told from others.
    """

    folder: str
    device: str
    extensions: str
    begin: Begin
    version: str = __version__
    work: str = field(default_factory=lambda: uuid.uuid4().hex)

    @classmethod
    def here(cls, device: str, begin: Begin) -> "Order":
        """Work as this process would do it, in the folder where it is."""
        return cls(os.getcwd(), device, os.environ.get(extensions.VARIABLE, ""), begin)  # noqa: PTH109 (a string)


def do_ordered(make: Make[Result], number: int, order: Order) -> Done[Result]:
    """Do a piece of work as ordered; a process does one at a time, by one thread, however many threads ask it to.

    Args:
        make: does the piece of a number on a device.
        number: of the piece.
        order: how.

    Returns:
        What became of it; nothing of a piece that was abandoned.
    """
    with _Worker.one_at_a_time:
        try:
            _check_version(order)
            with _following(order):
                device = _device_of(order)
                done = try_piece(make, device, number)
                return done if done.error is not None else replace(done, unit=unit_of(device))
        except UserError as error:
            return Done(error=error)
        except Abandoned:
            return Done()


def _device_of(order: Order) -> torch.device:
    try:
        return select_device(order.device)
    except UserError as error:
        raise UserError(f"a worker on {os.uname().nodename}: {error}") from None


def _check_version(order: Order) -> None:
    if order.version != __version__:
        told = f"a worker on {os.uname().nodename} has version {__version__} of fieldlevel, the command {order.version}"
        raise UserError(f"{told}; start the workers in the environment of the command")


@contextmanager
def _following(order: Order) -> Iterator[None]:
    folder, n_threads, listener = os.getcwd(), torch.get_num_threads(), worker_listener()  # noqa: PTH109
    _enter(order.folder)
    if _Worker.work != order.work:
        _Worker.work, _Worker.kept = order.work, None
    try:
        torch.set_num_threads(1)
        tell_listener(order.begin())
        os.environ[extensions.VARIABLE] = order.extensions
        extensions.load_extensions()
        yield
    finally:
        tell_listener(listener)
        torch.set_num_threads(n_threads)
        os.chdir(folder)


def _enter(folder: str) -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        told = f"{folder}: a worker on {os.uname().nodename} cannot work there ({reason(error)})"
        raise UserError(f"{told}; workers need the file system that the command is given in") from None
