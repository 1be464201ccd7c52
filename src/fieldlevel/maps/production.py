"""Making the maps of many simulations: spread over processes, stored as they finish, resumable.

Each process has a device of its own. A thread stores what has been computed while the next is computed; computing waits
for a slow disk. What is missing is known to the `ledger`.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, nullcontext
from itertools import islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch

from fieldlevel.errors import UserError
from fieldlevel.maps.cmd_format import Float32Array
from fieldlevel.maps.ledger import Ledger, Plan, SuiteField
from fieldlevel.maps.provenance import Run, describe_hardware, utc_now
from fieldlevel.maps.shards import Shard
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, Progress

Maps = Mapping[SuiteField, Float32Array]
Make = Callable[[int, torch.device], Maps]
"""Makes the maps of one simulation, given its number, on a device; can be pickled."""

_N_AHEAD = 2
"""Simulations that may wait for the disk, and for each process, before computing waits too."""


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


def produce_maps(
    plan: Plan,
    directory: Path,
    make: Make,
    devices: Sequence[torch.device],
    shard: Shard,
    task: str,
    listener: Listener,
) -> list[int]:
    """Make what a folder lacks of a plan; the files get their names when nothing is missing any more.

    Args:
        plan: what the folder is to hold.
        directory: where the files go; several shards may work in it at once.
        make: makes the maps of one simulation.
        devices: one for each process.
        shard: which part of the simulations to make.
        task: what is done, for the progress.
        listener: hears of every simulation.

    Returns:
        Numbers of the simulations that are still missing, those of other shards.

    Raises:
        UserError: the folder holds another plan of the same name, another process works on the same shard, or a
            process of this one was killed.
    """
    ledger = Ledger(plan, directory)
    with ledger.claim(shard) as todo, ledger.discarded_if_empty():
        total = len(shard.of(plan.n_simulations))
        task += f" {shard}" if shard.count > 1 else ""
        listener(Progress(task, total - len(todo), total, "simulations"))
        storage = _Storage(ledger, shard, describe_hardware(devices[: max(1, len(todo))]))
        for finished in _store_all(storage, todo, _results(make, todo, devices[: max(1, len(todo))])):
            listener(Progress(task, total - len(todo) + finished, total, "simulations"))
    ledger.close()
    return ledger.missing()


class _Storage:
    """Stores simulations and keeps the record of this run."""

    def __init__(self, ledger: Ledger, shard: Shard, hardware: str) -> None:
        self.ledger, self.shard, self.hardware = ledger, shard, hardware
        self.started, self.clock, self.n_stored = utc_now(), time.monotonic(), 0

    def store(self, number: int, maps: Maps) -> None:
        """Store the maps of one simulation."""
        self.ledger.write(self.shard, number, maps)
        self.n_stored += 1
        seconds = round(time.monotonic() - self.clock, 3)
        self.ledger.record(Run(str(self.shard), self.hardware, self.started, utc_now(), seconds, self.n_stored))


def _store_all(
    storage: _Storage, todo: Sequence[int], results: Generator[tuple[int, Maps], None, None]
) -> Iterator[int]:
    """Store in a thread of its own; what has been computed is stored even if the rest fails. Yields how many."""
    with closing(results), ThreadPoolExecutor(max_workers=1) as writer:
        waiting: deque[Future[None]] = deque()
        for finished, (place, maps) in enumerate(results, start=1):
            while len(waiting) >= _N_AHEAD:
                waiting.popleft().result()
            waiting.append(writer.submit(storage.store, todo[place], maps))
            yield finished
        for write in waiting:
            write.result()


def _results(
    make: Make, todo: Sequence[int], devices: Sequence[torch.device]
) -> Generator[tuple[int, Maps], None, None]:
    """Place in `todo` and maps of each simulation, as they finish; in this process if it has to be only one."""
    if len(devices) == 1:
        for place, number in enumerate(todo):
            yield place, _make_on(devices[0], make, number)
        return
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for device in devices:
        free.put(str(device))
    pool = ProcessPoolExecutor(len(devices), context, _start_worker, (free,))
    try:
        yield from _stream(pool, make, todo, n_ahead=_N_AHEAD * len(devices))
    except (BrokenProcessPool, BrokenPipeError):  # the latter while a worker starts
        told = "a worker process was killed, perhaps for want of memory"
        raise UserError(f"{told}; take fewer --workers, the same command continues") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _stream(pool: ProcessPoolExecutor, make: Make, todo: Sequence[int], n_ahead: int) -> Iterator[tuple[int, Maps]]:
    """Results as they finish, at most `n_ahead` of them computed or waiting at a time."""
    waiting = enumerate(todo)
    running: dict[Future[Maps], int] = {}
    while True:
        for place, number in islice(waiting, n_ahead - len(running)):
            running[pool.submit(_make_in_worker, make, number)] = place
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            yield running.pop(future), future.result()


class _Worker:
    """What a worker process knows of itself."""

    device = torch.device("cpu")


def _start_worker(free: "SimpleQueue[str]") -> None:
    """Take a device and one thread; an interrupt is the parent's to handle, and no worker outlives it."""
    _Worker.device = torch.device(free.get())
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _make_in_worker(make: Make, number: int) -> Maps:
    return _make_on(_Worker.device, make, number)


def _make_on(device: torch.device, make: Make, number: int) -> Maps:
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        return make(number, device)


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
