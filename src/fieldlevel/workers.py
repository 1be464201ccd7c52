"""Work spread over processes, each with a device of its own: simulations, projections, networks."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from itertools import islice
from multiprocessing.queues import SimpleQueue
from typing import Any, TypeVar

import torch

from fieldlevel.errors import UserError
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, Progress, ignore

Result = TypeVar("Result")

N_AHEAD = 2
"""Pieces of work that wait for each process."""


def choose_devices(name: str, workers: int) -> list[torch.device]:
    """One device for each process.

    Args:
        name: `"auto"` (every CUDA device, the CPU where there is none), `"cuda"` (every one), `"cuda:1"`, `"cpu"`.
        workers: processes on the CPU.

    Raises:
        UserError: no such device, or no process to work.
    """
    if workers < 1:
        raise UserError(f"workers = {workers}: allowed are numbers from 1")
    device = select_device(name)
    if device.type == "cpu":
        return [device] * workers
    if name in ("auto", "cuda") and torch.cuda.device_count() > 1:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def spread(
    make: Callable[[int, torch.device], Result],
    todo: Sequence[int],
    devices: Sequence[torch.device],
    listener: Listener = ignore,
) -> Generator[tuple[int, Result], None, None]:
    """Do pieces of work as devices get free.

    Args:
        make: does the piece of a number on a device and may tell `worker_listener()` of it; can be pickled.
        todo: numbers of the pieces.
        devices: one for each process; with a single one the work is done in this process.
        listener: hears what the workers tell.

    Returns:
        Place in `todo` and result of each piece, as they finish.

    Raises:
        UserError: a worker was killed.
    """
    if len(devices) == 1:
        _Worker.listener = listener
        for place, number in enumerate(todo):
            yield place, _make_on(devices[0], make, number)
        return
    context = multiprocessing.get_context("spawn")
    free, events = context.SimpleQueue(), context.SimpleQueue()
    for device in devices:
        free.put(str(device))
    threading.Thread(target=_pass_on, args=(events, listener), daemon=True).start()
    pool = ProcessPoolExecutor(len(devices), context, _start_worker, (free, events))
    try:
        yield from _stream(pool, make, todo, n_ahead=N_AHEAD * len(devices))
    except (BrokenProcessPool, BrokenPipeError):  # the latter while a worker starts
        told = "a worker process was killed, perhaps for want of memory"
        raise UserError(f"{told}; take fewer --workers, the same command continues") from None
    finally:
        pool.shutdown(cancel_futures=True)
        events.put(None)


def worker_listener() -> Listener:
    """Listener of whoever spread the work that this process does."""
    return _Worker.listener


def _pass_on(events: "SimpleQueue[Progress | None]", listener: Listener) -> None:
    while (event := events.get()) is not None:
        listener(event)


def _stream(
    pool: ProcessPoolExecutor, make: Callable[[int, torch.device], Result], todo: Sequence[int], n_ahead: int
) -> Iterator[tuple[int, Result]]:
    """Results as they finish, at most `n_ahead` of them computed or waiting at a time."""
    waiting = enumerate(todo)
    running: dict[Future[Result], int] = {}
    while True:
        for place, number in islice(waiting, n_ahead - len(running)):
            with _interrupts_held():
                running[pool.submit(_make_in_worker, make, number)] = place
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have an interrupt wait; a process that is started meanwhile never gets one, from its first import on.

    Ctrl-C goes to all processes of a terminal, but is this one's to handle.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """What a worker process knows of itself."""

    device = torch.device("cpu")
    listener: Listener = staticmethod(ignore)


def _start_worker(free: "SimpleQueue[str]", events: "SimpleQueue[Progress | None]") -> None:
    """Take a device and one thread; no worker outlives its parent."""
    _Worker.device = torch.device(free.get())
    _Worker.listener = events.put
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _make_in_worker(make: Callable[[int, torch.device], Result], number: int) -> Result:
    return _make_on(_Worker.device, make, number)


def _make_on(device: torch.device, make: Callable[[int, torch.device], Result], number: int) -> Result:
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        return make(number, device)


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
