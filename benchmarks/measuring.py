"""What the benchmarks share: medians after a warm-up, the machine in a line, refusals in a line, numbers in a file."""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch
import tyro

import fieldlevel
from fieldlevel.errors import UserError
from fieldlevel.files import make_place_for, write_text
from fieldlevel.training import torchrun

Arguments = TypeVar("Arguments")

N_REPEATS = 7
"""Of everything timed by `median_seconds`, after a stretch of warm-up."""


def median_seconds(run: Callable[[], object], device: torch.device, n_calls: int = 1) -> float:
    """Median over the repeats of the seconds of one call, after a stretch of warm-up."""
    seconds = []
    for _ in range(1 + N_REPEATS):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(n_calls):
            run()
        synchronise(device)
        seconds.append((time.perf_counter() - start) / n_calls)
    return median(seconds[1:])


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def confine(n_threads: int) -> None:
    """Keep the process on its first cores; before anything else starts threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n_threads])
    torch.set_num_threads(n_threads)


def print_machine(device: torch.device) -> dict[str, str]:
    """Print device, versions and date, and return them."""
    cpu = f"CPU, {torch.get_num_threads()} threads"
    known = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu,
        "torch": torch.__version__,
        "fieldlevel": fieldlevel.__version__,
        "date": datetime.now(UTC).isoformat(timespec="minutes"),
    }
    print("; ".join(f"{key} {value}" for key, value in known.items()))
    return known


def print_cpu(n_threads: int, *packages: str) -> None:
    """Print CPU, cores, load and versions of packages."""
    cpu = next(line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    print(f"{cpu.split(': ')[1]}, {n_threads} of {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}")
    print(", ".join(f"{package} {version(package)}" for package in packages))


def arguments_of(kind: type[Arguments]) -> Arguments:
    """The arguments of a script from its command line.

    Raises:
        UserError: `json`, the file that the numbers go to at the end, cannot be written.
    """
    arguments = tyro.cli(kind)
    path = getattr(arguments, "json", None)
    if path is not None and torchrun.rank() == 0:
        make_place_for(path)
    return arguments


def run(main: Callable[[], None]) -> None:
    """Call the main function of a script; what it refuses is told in one line, with exit code 2."""
    try:
        main()
    except UserError as trouble:
        script = Path(sys.argv[0])
        name = script.parent.name if script.name == "__main__.py" else script.name
        sys.stderr.write(f"{name}: {trouble}\n")
        sys.exit(2)


def write_numbers(path: Path | None, numbers: Mapping[str, Any]) -> None:
    """Write what was measured as JSON, if a file is asked for."""
    if path is not None:
        write_text(path, json.dumps(numbers, indent=2, default=str) + "\n")
