"""Making the maps of many simulations: spread over processes, stored as they finish, resumable.

Each process has a device of its own. A thread stores what has been computed while the next is computed; computing waits
for a slow disk. What is missing is known to the `ledger`.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import torch

from fieldlevel.data.npy_files import Float32Array
from fieldlevel.mapmaking.contents import Plan, SuiteField
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.provenance import Run, describe_hardware, utc_now
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.progress import Listener, Progress
from fieldlevel.workers import N_AHEAD, spread

Maps = Mapping[SuiteField, Float32Array]
Make = Callable[[int, torch.device], Maps]
"""Makes the maps of one simulation, given its number, on a device; can be pickled."""


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
        for finished in _store_all(storage, todo, spread(make, todo, devices[: max(1, len(todo))])):
            listener(Progress(task, total - len(todo) + finished, total, "simulations"))
    ledger.close()
    return ledger.missing()


class _Storage:
    """Stores simulations and keeps the record of this run."""

    def __init__(self, ledger: Ledger, shard: Shard, hardware: str) -> None:
        self.ledger, self.shard, self.hardware = ledger, shard, hardware
        self.started, self.clock, self.n_stored = utc_now(), time.monotonic(), 0

    def store(self, number: int, maps: Maps) -> None:
        """Store the maps of one simulation, and count it as done when nothing is left to be written."""
        self.ledger.write(number, maps)
        self.n_stored += 1
        seconds = round(time.monotonic() - self.clock, 3)
        self.ledger.record(Run(str(self.shard), self.hardware, self.started, utc_now(), seconds, self.n_stored))
        self.ledger.note(self.shard, number)


def _store_all(
    storage: _Storage, todo: Sequence[int], results: Generator[tuple[int, Maps], None, None]
) -> Iterator[int]:
    """Store in a thread of its own; what has been computed is stored even if the rest fails. Yields how many."""
    with closing(results), ThreadPoolExecutor(max_workers=1) as writer:
        waiting: deque[Future[None]] = deque()
        for finished, (place, maps) in enumerate(results, start=1):
            while len(waiting) >= N_AHEAD:
                waiting.popleft().result()
            waiting.append(writer.submit(storage.store, todo[place], maps))
            yield finished
        for write in waiting:
            write.result()
