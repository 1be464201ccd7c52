"""Where the time of a training step goes, kernel by kernel, on a GPU.

The step is that of `fieldlevel train` on random maps, replayed as one CUDA graph; times are those of the kernels, so
gaps between them show as the difference between their sum and the time of a step.

    python benchmarks/step_profile.py --hidden 8 --n-shown 40
"""

import time
from dataclasses import dataclass
from typing import Any

import torch
import tyro
from measuring import print_machine, run
from torch.profiler import ProfilerActivity, profile
from training_speed import Arguments as SpeedArguments
from training_speed import Precision, random_set, speed_spec

from fieldlevel.numerics.device import select_device
from fieldlevel.training.precision import seeded
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.state import TrainingState


@dataclass(frozen=True)
class Arguments:
    """Profile training steps."""

    hidden: int = 8
    n_pixels: int = 256
    batch: int = 128
    precision: Precision = "bfloat16"
    n_steps: int = 10
    n_warm_up: int = 10
    n_shown: int = 40
    """Kernels to print, those that take longest."""


def kernel_times(state: TrainingState, first: int, n_steps: int) -> dict[str, tuple[float, float]]:
    """Milliseconds and calls of every kernel in a step, by name, the longest first."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        take(state, first, n_steps)
    averages: Any = profiler.key_averages()
    kernels = [each for each in averages if each.self_device_time_total > 0]
    return {
        each.key: (each.self_device_time_total / 1e3 / n_steps, each.count / n_steps)
        for each in sorted(kernels, key=lambda each: -each.self_device_time_total)
    }


def take(state: TrainingState, first: int, n_steps: int) -> float:
    """Take steps; returns milliseconds a step."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    for step in range(first, first + n_steps):
        state.take_step(step)
    torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - start) / n_steps


def main() -> None:
    """Print the machine, then the kernels of a step."""
    arguments = tyro.cli(Arguments)
    device = select_device("cuda")
    print_machine(device)
    sizes = SpeedArguments(n_pixels=arguments.n_pixels, batch=arguments.batch, n_maps=2 * arguments.batch)
    spec = speed_spec(sizes, modern_preset(), arguments.hidden, arguments.precision)
    with seeded(spec.seed, device):
        state = TrainingState(spec, random_set(sizes, device, sizes.n_maps), random_set(sizes, device, n_maps=1))
        take(state, 0, arguments.n_warm_up)
        ms = take(state, arguments.n_warm_up, arguments.n_steps)
        times = kernel_times(state, arguments.n_warm_up, arguments.n_steps)
    total, calls = (sum(each) for each in zip(*times.values(), strict=True))
    print(f"step {ms:.3f} ms; {calls:.0f} kernels take {total:.3f} ms")
    for name, (milliseconds, count) in list(times.items())[: arguments.n_shown]:
        print(f"{milliseconds:8.3f} ms {count:6.1f} calls  {name[:110]}")


if __name__ == "__main__":
    run(main)
