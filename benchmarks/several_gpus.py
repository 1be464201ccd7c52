r"""Training one network on several GPUs beside training it on one, in the same processes.

    torchrun --nproc-per-node 2 benchmarks/several_gpus.py --hidden 8 --json several.json

Each process first trains alone on a GPU of its own, all of them at once; then they join and share the batch that each
of them had, and last they share one as many times as large. A step is timed as in `training_speed`: `TrainingState` on
random maps, which every process holds. The share is the rate beside that of as many GPUs without anything to exchange.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import torch
from measuring import arguments_of, print_machine, run, write_numbers
from training_speed import Arguments as SpeedArguments
from training_speed import Method, Precision, time_fieldlevel

from fieldlevel.errors import UserError
from fieldlevel.training import distributed, torchrun

METHODS: tuple[Method, ...] = ("AdamW", "Muon")


@dataclass(frozen=True)
class Arguments:
    """Time training on the processes of torchrun."""

    hidden: int = 8
    n_pixels: int = 256
    batch: int = 128
    """Of one GPU alone, and of all that share it."""
    n_steps: int = 60
    """Steps to time, rounded up to whole stretches."""
    n_maps: int = 13_500
    precision: Precision = "bfloat16"
    device: str = "auto"
    json: Path | None = None
    """File for the same numbers."""


@dataclass(frozen=True)
class Row:
    """A line of the table; the memory is that of tensors on one GPU, resident maps included."""

    method: str
    n_processes: int
    batch: int
    ms_per_step: float
    maps_per_s: float
    share: float
    peak_gb: float | None


def check(arguments: Arguments) -> None:
    """Refuse what could not be shared, before anything is timed."""
    if arguments.batch % torchrun.n_processes():
        raise UserError(f"batch = {arguments.batch}: must be a multiple of the {torchrun.n_processes()} processes")
    if arguments.device not in ("auto", "cpu", "cuda"):
        raise UserError(f"device {arguments.device!r}: each process takes a GPU of its own; use auto, cuda or cpu")


def own_device(name: str) -> torch.device:
    """Where this process trains alone: its place on the machine decides."""
    device = distributed.own_device(name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def time_row(arguments: Arguments, method: Method, batch: int, device: torch.device, alone: float | None) -> Row:
    """Steps of all ranks, or of this process if it has not joined."""
    sizes = SpeedArguments(n_pixels=arguments.n_pixels, batch=batch, n_steps=arguments.n_steps, n_maps=arguments.n_maps)
    speed = time_fieldlevel(sizes, arguments.hidden, device, arguments.precision, method)
    rate, n = 1e3 * batch / speed.ms_per_step, distributed.n_ranks()
    return Row(method, n, batch, speed.ms_per_step, rate, rate / (n * (alone or rate)), speed.peak_gb)


def rows(arguments: Arguments) -> Iterator[Row]:
    """Each method alone, then with the batch of one shared and with that of one for each, if anybody shares."""
    alone = {
        method: time_row(arguments, method, arguments.batch, own_device(arguments.device), None) for method in METHODS
    }
    yield from alone.values()
    n_processes = torchrun.n_processes()
    if n_processes == 1:
        return
    with distributed.process_group(arguments.device) as device:
        for method, times in product(METHODS, (1, n_processes)):
            yield time_row(arguments, method, times * arguments.batch, device, alone[method].maps_per_s)


def print_row(row: Row) -> None:
    """A line of the table."""
    peak = "-" if row.peak_gb is None else f"{row.peak_gb:.1f}"
    print(
        f"{row.method:<8} {row.n_processes:>9} {row.batch:>6} {row.ms_per_step:8.2f} {row.maps_per_s:9.0f} "
        f"{row.share:6.0%} {peak:>10}",
        flush=True,
    )


def main() -> None:
    """Print the machine and the table, once."""
    arguments = arguments_of(Arguments)
    check(arguments)
    is_first = torchrun.rank() == 0
    known = {}
    if is_first:
        known = print_machine(own_device(arguments.device))
        print(f"hidden {arguments.hidden}, {arguments.n_pixels}^2 pixels, {arguments.precision}")
        print(f"{'':<8} {'processes':>9} {'batch':>6} {'ms/step':>8} {'maps/s':>9} {'share':>6} {'memory, GB':>10}")
    found = []
    for row in rows(arguments):
        found.append(asdict(row))
        if is_first:
            print_row(row)
    if is_first:
        write_numbers(arguments.json, {"machine": known, "arguments": asdict(arguments), "rows": found})


if __name__ == "__main__":
    run(main)
