"""Making the maps of many simulations: spread over processes, stored as they finish, resumable.

Each process has a device of its own. A thread stores what has been computed while the next is computed; computing waits
for a slow disk. What is missing is known to the `ledger`.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from fieldlevel.crews import N_AHEAD, current_crew
from fieldlevel.data.npy_files import Float32Array
from fieldlevel.mapmaking.contents import Plan, SuiteField
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.provenance import Run, utc_now
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.numerics.hardware import Unit, describe_hardware, in_words, unit_of
from fieldlevel.progress import Listener, Progress
from fieldlevel.workers import spread

Maps = Mapping[SuiteField, Float32Array]
MapsOfPlans = Mapping[str, Maps]
"""Maps of one simulation by the name of the plan that they are for."""
Make = Callable[[int, torch.device, Sequence[str]], MapsOfPlans]
"""Makes the maps of one simulation, given its number, on a device, for the plans of these names; can be pickled."""


def produce_maps(
    plans: Sequence[Plan],
    directory: Path,
    make: Make,
    devices: Sequence[torch.device],
    shard: Shard,
    task: str,
    listener: Listener,
) -> list[int]:
    """Make what a folder lacks of some plans; the files of each get their names when none of it is missing any more.

    A simulation that several plans lack is made once for all of them. What each has is counted apart, so a plan that is
    added later, or the rest of a simulation whose storing was interrupted, is made alone.

    Args:
        plans: what the folder is to hold; the same number of simulations each.
        directory: where the files go; several shards may work in it at once.
        make: makes the maps of one simulation.
        devices: one for each process.
        shard: which part of the simulations to make.
        task: what is done, for the progress.
        listener: hears of every simulation.

    Returns:
        Numbers of the simulations that are still missing in some plan, those of other shards.

    Raises:
        UserError: the folder holds another plan of the same name, another process works on the same shard, or a
            process of this one was killed.
    """
    ledgers = [Ledger(plan, directory) for plan in plans]
    with ExitStack() as held:
        wanted = _claim(ledgers, shard, held)
        todo, total = sorted(wanted), len(shard.of(plans[0].n_simulations))
        task += f" {shard}" if shard.count > 1 else ""
        listener(Progress(task, total - len(todo), total, "simulations"))
        used = devices[: max(1, len(todo))]
        storage = _Storage(ledgers, shard, used)
        for finished in _store_all(storage, todo, spread(partial(_make_wanted, make, wanted), todo, used)):
            listener(Progress(task, total - len(todo) + finished, total, "simulations"))
    for ledger in ledgers:
        ledger.close()
    return missing_simulations(plans, directory)


def missing_simulations(plans: Sequence[Plan], directory: Path) -> list[int]:
    """Numbers of the simulations that a folder lacks in some plan.

    Raises:
        UserError: as `Ledger.missing`.
    """
    return sorted({number for plan in plans for number in Ledger(plan, directory).missing()})


def _claim(ledgers: Sequence[Ledger], shard: Shard, held: ExitStack) -> dict[int, tuple[str, ...]]:
    """Keep other processes from a shard of every plan; names of the plans that lack a simulation, by its number."""
    lacking: dict[int, tuple[str, ...]] = {}
    for ledger in ledgers:
        todo = held.enter_context(ledger.claim(shard))
        held.enter_context(ledger.discarded_if_empty())
        for number in todo:
            lacking[number] = (*lacking.get(number, ()), ledger.plan.name)
    return lacking


def _describing(devices: Sequence[torch.device]) -> Callable[[set[Unit]], str]:
    """What tells the hardware: that of the processes of this machine, or of the workers that made something."""
    if (crew := current_crew()) is None:
        here = describe_hardware(devices)
        return lambda units: here
    return lambda units: f"{in_words(units)} ({crew.name})"


class _Made(NamedTuple):
    """Maps, and what they were made on."""

    maps: MapsOfPlans
    unit: Unit


def _make_wanted(make: Make, wanted: Mapping[int, Sequence[str]], number: int, device: torch.device) -> _Made:
    return _Made(make(number, device, wanted[number]), unit_of(device))


class _Storage:
    """Stores simulations and keeps the record of this run, for each plan apart."""

    def __init__(self, ledgers: Sequence[Ledger], shard: Shard, devices: Sequence[torch.device]) -> None:
        self.ledgers = {ledger.plan.name: ledger for ledger in ledgers}
        self.shard, self.hardware = shard, _describing(devices)
        self.units: dict[str, set[Unit]] = {name: set() for name in self.ledgers}
        self.started, self.clock = utc_now(), time.monotonic()
        self.n_stored = dict.fromkeys(self.ledgers, 0)

    def store(self, number: int, made: _Made) -> None:
        """Store the maps of one simulation, and count it as done in each plan when nothing is left to be written."""
        for name, maps in made.maps.items():
            ledger = self.ledgers[name]
            ledger.write(number, maps)
            self.n_stored[name] += 1
            self.units[name].add(made.unit)
            seconds = round(time.monotonic() - self.clock, 3)
            hardware = self.hardware(self.units[name])
            ledger.record(Run(str(self.shard), hardware, self.started, utc_now(), seconds, self.n_stored[name]))
            ledger.note(self.shard, number)


def _store_all(
    storage: _Storage, todo: Sequence[int], results: Generator[tuple[int, _Made], None, None]
) -> Iterator[int]:
    """Store in a thread of its own; what has been computed is stored even if the rest fails. Yields how many."""
    with closing(results), ThreadPoolExecutor(max_workers=1) as writer:
        waiting: deque[Future[None]] = deque()
        for finished, (place, made) in enumerate(results, start=1):
            while len(waiting) >= N_AHEAD:
                waiting.popleft().result()
            waiting.append(writer.submit(storage.store, todo[place], made))
            yield finished
        for write in waiting:
            write.result()
