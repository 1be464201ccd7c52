"""Seconds of the first training steps on a GPU, the kernels compiled on the way: one after another, or side by side.

Each way runs in processes of their own. A cold one has an empty cache, as after an installation; a warm one finds what
the cold one compiled.

    python benchmarks/first_step.py --repeats 2
"""

import os
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Literal
from unittest.mock import patch

import torch
from measuring import arguments_of, print_machine, run, synchronise, write_numbers
from training_speed import Arguments as SpeedArguments
from training_speed import random_set, speed_spec

from fieldlevel.estimators.estimator import Estimator
from fieldlevel.numerics.device import select_device
from fieldlevel.training.precision import seeded
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.state import TrainingState

Way = Literal["one by one", "side by side"]
WAYS: tuple[Way, ...] = ("one by one", "side by side")

N_STEPS = 4
"""Three run as they are, the fourth is recorded."""


@dataclass(frozen=True)
class Arguments:
    """Time the first steps."""

    hidden: int = 8
    n_pixels: int = 256
    batch: int = 128
    repeats: int = 1
    """Cold and warm processes of each way."""
    json: Path | None = None
    """File for the same numbers."""
    time_one: Way | None = None
    """Take the steps in this process, and print their seconds."""


def first_steps(arguments: Arguments, way: Way, device: torch.device) -> float:
    """Seconds that the network takes to be built and to take its first steps, on maps that are on the device."""
    sizes = SpeedArguments(n_pixels=arguments.n_pixels, batch=arguments.batch)
    spec = speed_spec(sizes, modern_preset(), arguments.hidden, "bfloat16")
    how = patch.object(Estimator, "compile_kernels") if way == "one by one" else nullcontext()
    with seeded(spec.seed, device), how:
        maps = random_set(sizes, device, n_maps=2 * arguments.batch)
        start = time.perf_counter()
        state = TrainingState(spec, maps, maps)
        for number in range(N_STEPS):
            state.take_step(number)
        synchronise(device)
        return time.perf_counter() - start


def timed_process(arguments: Arguments, way: Way, cache: str) -> float:
    """The same in a new process with this cache of Triton."""
    sizes = {"--hidden": arguments.hidden, "--n-pixels": arguments.n_pixels, "--batch": arguments.batch}
    flags = [str(each) for pair in sizes.items() for each in pair]
    command = [sys.executable, __file__, *flags, "--time-one", way]
    known = os.environ | {"TRITON_CACHE_DIR": cache}
    return float(subprocess.run(command, env=known, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    """Print the medians of both ways."""
    arguments = arguments_of(Arguments)
    device = select_device("cuda")
    if arguments.time_one:
        print(first_steps(arguments, arguments.time_one, device))
        return
    known = print_machine(device)
    print(f"{'kernels compiled':>16} {'cold cache':>12} {'warm cache':>12}  seconds of the first {N_STEPS} steps")
    found: dict[str, dict[str, list[float]]] = {}
    for way in WAYS:
        seconds = []
        for _ in range(arguments.repeats):
            with tempfile.TemporaryDirectory() as cache:
                seconds.append([timed_process(arguments, way, cache) for _ in range(2)])
        cold, warm = (list(column) for column in zip(*seconds, strict=True))
        found[way] = {"cold": cold, "warm": warm}
        print(f"{way:>16} {median(cold):12.1f} {median(warm):12.1f}", flush=True)
    write_numbers(arguments.json, {"machine": known, "arguments": asdict(arguments), "seconds": found})


if __name__ == "__main__":
    run(main)
