"""Mock suites in CMD format: a set of simulations spread over processes and devices, resumable.

Labels and seeds come from `sets`, the maps of one simulation from `simulation`, unfinished work lies in `ledger`. The
result depends neither on the shards nor on the workers, but for the round-off of the devices.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (sets), arXiv:2109.10915 (file format).
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from contextlib import closing, nullcontext
from itertools import islice
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import torch

from fieldlevel.config import SimulateSpec
from fieldlevel.errors import UserError
from fieldlevel.numerics.device import select_device
from fieldlevel.parameters import SURFACE_DENSITIES
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.simulate import simulation
from fieldlevel.simulate.ledger import Ledger
from fieldlevel.simulate.provenance import Run, describe_hardware, utc_now
from fieldlevel.simulate.sets import Row, Shard
from fieldlevel.simulate.simulation import Float32Array, SuiteField

Maps = Mapping[SuiteField, Float32Array]

_WHOLE = Shard()
_N_AHEAD = 2
"""Simulations that may wait for the disk, and for each process, before computing waits too."""


def simulate_suite(
    spec: SimulateSpec,
    directory: Path | str,
    device: str = "auto",
    workers: int = 1,
    listener: Listener = ignore,
    shard: Shard = _WHOLE,
) -> Path:
    """Simulate a suite and its gravity-only twin into a folder of CMD files; continue where a killed run stopped.

    Args:
        spec: the suite, its set, fields and resolution.
        directory: where the files go; several shards may work in it at once.
        device: `"auto"` (every CUDA device, the CPU where there is none), `"cuda"` (every one), `"cuda:1"`, `"cpu"`.
        workers: processes on the CPU, one thread each.
        listener: hears of every simulation.
        shard: which part of the simulations to run; the files get their names when the last part is done.

    Returns:
        The folder.

    Raises:
        UserError: a spec that cannot be run, the folder holds the same suite made with another one, or another process
            works on the same shard.

    Example:
        >>> import tempfile, numpy as np
        >>> toy = SimulateSpec(n_simulations=1, n_particles=16, n_mesh=16, n_pixels=16)
        >>> folder = simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> np.load(folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy").shape
        (15, 16, 16)
    """
    devices = _choose_devices(device, workers)
    _check_spec(spec)
    ledger = Ledger(spec, Path(directory))
    with ledger.claim(shard) as todo:
        _simulate_shard(spec, ledger, shard, todo, devices, listener)
    ledger.close()
    return ledger.directory


def _check_spec(spec: SimulateSpec) -> None:
    is_power_of_two = spec.n_pixels & (spec.n_pixels - 1) == 0
    known, fields = ", ".join(SURFACE_DENSITIES), spec.fields
    allowed = {
        "fields": (len(fields) == len(set(fields) & set(SURFACE_DENSITIES)) > 0, f"{known}, each once"),
        "n_particles": (spec.n_particles >= 8 and spec.n_particles % 2 == 0, "even numbers from 8"),
        "n_mesh": (spec.n_mesh >= spec.n_particles and spec.n_mesh % 2 == 0, "even numbers from n_particles"),
        "step_error": (0 < spec.step_error <= 1, "above 0 to 1"),
        "a_start": (0.005 <= spec.a_start < 1, "0.005 to 1"),
        "n_pixels": (spec.n_pixels >= 16 and is_power_of_two, "16, 32, 64, 128, 256, ..."),
        "n_neighbours": (spec.n_neighbours >= 1, "numbers from 1"),
    }
    for name, (is_allowed, words) in allowed.items():
        if not is_allowed:
            raise UserError(f"{name} = {getattr(spec, name)}: allowed are {words}")


def _choose_devices(name: str, workers: int) -> list[torch.device]:
    """One device for each process."""
    device = select_device(name)
    if device.type == "cpu":
        return [device] * max(1, workers)
    if name in ("auto", "cuda") and torch.cuda.device_count() > 1:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def _simulate_shard(
    spec: SimulateSpec,
    ledger: Ledger,
    shard: Shard,
    todo: Sequence[int],
    devices: Sequence[torch.device],
    listener: Listener,
) -> None:
    """Compute, and store in a thread of its own; what has been computed is stored even if the rest fails."""
    total = len(shard.of(len(ledger.rows)))
    task = f"simulate {spec.suite}" + (f" {shard}" if shard.count > 1 else "")
    listener(Progress(task, total - len(todo), total, "simulations"))
    devices = devices[: max(1, len(todo))]
    storage = _Storage(ledger, shard, describe_hardware(devices))
    rows = [ledger.rows[number] for number in todo]
    with closing(_simulations(spec, rows, devices)) as results, ThreadPoolExecutor(max_workers=1) as writer:
        waiting: deque[Future[None]] = deque()
        for finished, (place, maps) in enumerate(results, start=total - len(todo) + 1):
            while len(waiting) >= _N_AHEAD:
                waiting.popleft().result()
            waiting.append(writer.submit(storage.store, todo[place], maps))
            listener(Progress(task, finished, total, "simulations"))
        for write in waiting:
            write.result()


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


def _simulations(
    spec: SimulateSpec, rows: Sequence[Row], devices: Sequence[torch.device]
) -> Generator[tuple[int, Maps], None, None]:
    """Place in `rows` and maps of each simulation, as they finish; in this process if it has to be only one."""
    if len(devices) == 1:
        for place, row in enumerate(rows):
            yield place, _simulate_on(devices[0], spec, row)
        return
    context = multiprocessing.get_context("spawn")
    free = context.SimpleQueue()
    for device in devices:
        free.put(str(device))
    pool = ProcessPoolExecutor(len(devices), context, _start_worker, (free,))
    try:
        yield from _stream(pool, spec, rows, n_ahead=_N_AHEAD * len(devices))
    finally:
        pool.shutdown(cancel_futures=True)


def _stream(
    pool: ProcessPoolExecutor, spec: SimulateSpec, rows: Sequence[Row], n_ahead: int
) -> Iterator[tuple[int, Maps]]:
    """Results as they finish, at most `n_ahead` of them computed or waiting at a time."""
    waiting = enumerate(rows)
    running: dict[Future[Maps], int] = {}
    while True:
        for place, row in islice(waiting, n_ahead - len(running)):
            running[pool.submit(_simulate_in_worker, spec, row)] = place
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


def _simulate_in_worker(spec: SimulateSpec, row: Row) -> Maps:
    return _simulate_on(_Worker.device, spec, row)


def _simulate_on(device: torch.device, spec: SimulateSpec, row: Row) -> Maps:
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        return simulation.simulate_maps(spec, row, device)


def _exit_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
