"""Work spread over processes, each with a device of its own: simulations, projections, networks, searches.

Inside `fieldlevel.on_cluster` the same pieces of work go to the workers of a cluster instead (`crews`).

A worker is a process and a pipe, with nothing shared beside them: one that is killed, or whose parent is, leaves
nothing behind, and whoever stops the work ends them all at once.
"""

import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection, resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic

import torch

from fieldlevel import streams
from fieldlevel.crews import N_AHEAD, current_crew
from fieldlevel.errors import UserError
from fieldlevel.extensions import load_extensions
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.kept_tensors import KeptTensors
from fieldlevel.numerics.memory import keep_freed_memory
from fieldlevel.pieces import Done, Make, Result, make_on, tell_listener, try_piece
from fieldlevel.progress import Listener, Progress, ignore

_HELD = {signal.SIGINT, signal.SIGTERM}
_NOT_GUARDED = 97
"""Exit code of a worker that would have started workers itself."""
_GUARD = 'put the call under `if __name__ == "__main__":`, as every worker process reads the script'


def choose_devices(name: str, workers: int) -> list[torch.device]:
    """One device for each process; on a cluster that of this one.

    Args:
        name: `"auto"` (every CUDA device, the CPU where there is none), `"cuda"` (every one), `"cuda:1"`, `"cpu"`.
        workers: processes on the CPU.

    Raises:
        UserError: no such device, or no process to work.
    """
    _leave_if_unguarded()
    if (crew := current_crew()) is not None:
        if workers != 1:
            raise UserError(f"workers = {workers}: the work goes to {crew.name}, which has its own; leave them out")
        return [select_device(name)]
    if workers < 1:
        raise UserError(f"workers = {workers}: allowed are numbers from 1")
    if workers > (most := _most_workers()):
        raise UserError(f"workers = {workers}: allowed are at most {most} on a machine of {os.cpu_count()} cores")
    device = select_device(name)
    if device.type == "cpu":
        return [device] * workers
    if name in ("auto", "cuda") and torch.cuda.device_count() > 1:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def _most_workers() -> int:
    return max(64, 4 * (os.cpu_count() or 1))


def spread(
    make: Make[Result],
    todo: Sequence[int],
    devices: Sequence[torch.device],
    listener: Listener = ignore,
) -> Generator[tuple[int, Result], None, None]:
    """Do pieces of work as devices get free.

    Args:
        make: does the piece of a number on a device and may tell `worker_listener()` of it; can be pickled.
        todo: numbers of the pieces.
        devices: one for each process; with a single one the work is done in this process. Those of a cluster have
            theirs.
        listener: hears what the workers tell.

    Returns:
        Place in `todo` and result of each piece, as they finish.

    Raises:
        UserError: a worker was killed, or the script that asks for several has no main guard.
    """
    if (crew := current_crew()) is not None:
        yield from crew.spread(make, todo, listener)
        return
    if len(devices) == 1:
        tell_listener(listener)
        tensors = KeptTensors(devices[0])
        for place, number in enumerate(todo):
            with tensors.in_use():
                made = make_on(devices[0], make, number)
            yield place, made
        return
    _check_script()
    with _started(devices[: len(todo)]) as workers:
        yield from _Crew(workers, make, todo, listener).results()


@dataclass(frozen=True)
class _Hired:
    """A worker as its parent sees it."""

    process: BaseProcess
    pipe: "Connection[Any, Any]"


@dataclass(frozen=True)
class _Ready:
    """What a worker sends once it can be given work."""


class _Crew(Generic[Result]):
    """Workers and the work that they are given, at most `N_AHEAD` pieces for each being done or waiting to be taken."""

    def __init__(self, workers: Sequence[_Hired], make: Make[Result], todo: Sequence[int], listener: Listener) -> None:
        self.workers, self.make = {worker.pipe: worker for worker in workers}, make
        self.todo, self.listener = todo, listener
        self.waiting, self.idle = enumerate(todo), list[Any]()
        self.places: dict[Any, int] = {}
        self.ready: set[Any] = set()
        self.finished: SimpleQueue[tuple[int, Done[Result]]] = SimpleQueue()
        self.lock, self.free = threading.Lock(), N_AHEAD * len(workers)

    def results(self) -> Iterator[tuple[int, Result]]:
        """Results as they finish."""
        threading.Thread(target=self._listen, daemon=True).start()
        for _ in self.todo:
            place, done = self.finished.get()
            yield place, done.take()
            with self.lock:
                self.free += 1
            self._assign()

    def _assign(self) -> None:
        with self.lock:
            while self.idle and self.free:
                place, number = next(self.waiting, (None, None))
                if place is None:
                    return
                pipe, self.free = self.idle.pop(), self.free - 1
                self.places[pipe] = place
                with suppress(OSError):  # a worker that is gone, which `_listen` notices
                    pipe.send(number)

    def _listen(self) -> None:
        """Hear all workers until they are gone."""
        pipes: list[Any] = list(self.workers)
        try:
            while pipes:
                for pipe in connection.wait(pipes):
                    if not self._hear(pipe):
                        pipes.remove(pipe)
        except Exception as error:  # noqa: BLE001 (raised where the results are taken)
            self.finished.put((0, Done(error=error)))

    def _hear(self, pipe: Any) -> bool:
        """Take what a worker sent; whether it is still there."""
        try:
            told = pipe.recv()
            if isinstance(told, _Ready):
                pipe.send(self.make)
                self.ready.add(pipe)
        except (EOFError, ConnectionError):
            process = self.workers[pipe].process
            process.join()
            told = UserError(_why_gone(process.exitcode, is_ready=pipe in self.ready))
            self.finished.put((0, Done(error=told)))
            return False
        if isinstance(told, Progress):
            self.listener(told)
            return True
        if isinstance(told, Done):
            self.finished.put((self.places.pop(pipe), told))
        self.idle.append(pipe)
        self._assign()
        return True


def _why_gone(exit_code: int | None, *, is_ready: bool) -> str:
    """What to tell of a worker that ended while it was needed."""
    if exit_code == _NOT_GUARDED:
        return f"several workers need a main guard in the script: {_GUARD}"
    if exit_code is not None and exit_code > 0 and not is_ready:
        return f"a worker process could not start (exit code {exit_code}, see above); in a script {_GUARD}"
    told = "a worker process was killed, perhaps for want of memory"
    return f"{told}; take fewer --workers, the same command continues"


def _leave_if_unguarded() -> None:
    """End a worker that reads a script without a main guard, before it does the work of the script once more."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_NOT_GUARDED)


def _check_script() -> None:
    """Refuse a script that workers cannot read, or that would do its work once more in each, before any is started."""
    _leave_if_unguarded()
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if path is None or getattr(main, "__spec__", None) is not None:
        return
    if not Path(path).exists():
        raise UserError(f"workers: a script from {path} cannot have several, as each reads it; save it as a file")
    if b"__name__" not in Path(path).read_bytes():
        raise UserError(f"{path}: several workers need a main guard in the script: {_GUARD}")


@contextmanager
def _started(devices: Sequence[torch.device]) -> Iterator[list[_Hired]]:
    """Processes that wait for work; they are gone when the context is left."""
    context = multiprocessing.get_context("spawn")
    is_brief = warnings.showwarning is streams.show_warning
    workers: list[_Hired] = []
    try:
        with _interrupts_held():
            for device in devices:
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(theirs, device, is_brief), daemon=True)
                workers.append(_Hired(process, ours))
                process.start()
                theirs.close()
        yield workers
    finally:
        for worker in workers:
            if worker.process.pid is not None:
                worker.process.kill()
        for worker in workers:
            if worker.process.pid is not None:
                worker.process.join()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Have an interrupt wait; a process that is started meanwhile never gets one, from its first import on.

    Ctrl-C goes to all processes of a terminal, but is this one's to handle.
    """
    heard: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in _HELD} if is_main else {}
    for held in handlers:
        signal.signal(held, lambda number, _: heard.append(number))
    resource_tracker.ensure_running()  # which unblocks interrupts when it starts
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for held, handler in handlers.items():
            signal.signal(held, handler)
        for number in heard[:1]:
            signal.raise_signal(number)


def _work(pipe: "Connection[Any, Any]", device: torch.device, is_brief: bool) -> None:
    """Do what the parent sends, until it sends no more; no worker outlives its parent."""
    parent = multiprocessing.parent_process()
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    if is_brief:
        streams.prepare()
        warnings.showwarning = streams.show_warning
    torch.set_num_threads(1)
    if device.type == "cpu":
        keep_freed_memory()
    load_extensions()
    sending = threading.Lock()  # work may have threads of its own that tell of it

    def send(told: Progress | _Ready | Done[Any]) -> None:
        with sending:
            pipe.send(told)

    tell_listener(send)
    with suppress(EOFError, ConnectionError):
        send(_Ready())
        make = pipe.recv()
        with KeptTensors(device).in_use():
            while True:
                send(try_piece(make, device, pipe.recv()))


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
