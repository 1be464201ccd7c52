"""Seconds until the modern preset has the lowest validation loss of the released recipe, on one data folder.

The released recipe is trained as its authors do (`released_recipe`: float32 without TF32, eight copies of every map,
its own schedule); the loss to reach is its lowest, that of the checkpoint it keeps. Both have the network, split and
batch size given here; time for validation counts on both sides.

    python benchmarks/time_to_loss.py mock-data --suite MockTNG --released-steps 3000 --modern-steps 1500 3000

All 28,200 steps of the released recipe take most of an hour of an H100. With `--released-ms 104`, the milliseconds of
one of its steps by `training_speed`, the same recipe (schedule, symmetries, rates, normalisation) is trained by
`TrainingState` instead, and its seconds are those steps times that, without its validations.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from measuring import arguments_of, print_machine, run, write_numbers
from released_recipe import ReleasedRecipe, train_released

from fieldlevel.data.batches import MapSet
from fieldlevel.data.split import SplitSpec
from fieldlevel.numerics.device import exact_float32, select_device
from fieldlevel.progress import ignore
from fieldlevel.training.precision import seeded
from fieldlevel.training.presets import modern_preset, released_preset
from fieldlevel.training.sources import load_sets, open_data
from fieldlevel.training.state import TrainingState
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class Arguments:
    """Time both recipes to one loss."""

    data: Annotated[Path, tyro.conf.Positional]
    suite: str = "MockTNG"
    hidden: int = 8
    batch: int = 128
    released_steps: int = 3000
    modern_steps: tuple[int, ...] = (3000,)
    """Lengths of runs of the modern preset, whose schedule ends with the run."""
    released_ms: float | None = None
    """Milliseconds of a step of the released recipe, measured elsewhere; it is then trained by `TrainingState`."""
    validate_every: int = 141
    train: float = 0.90
    validation: float = 0.05
    seed: int = 0
    device: str = "auto"
    json: Path | None = None
    """File for the same numbers."""


@dataclass(frozen=True)
class Validation:
    """One validation of a run: seconds of training and validation up to it, and its loss."""

    step: int
    seconds: float
    loss: float


def loss_spec(arguments: Arguments, preset: TrainSpec, n_steps: int) -> TrainSpec:
    """A preset with the network, the split and the budget of the comparison."""
    return replace(
        preset,
        suite=arguments.suite,
        split=SplitSpec(train=arguments.train, validation=arguments.validation),
        network=replace(preset.network, hidden=arguments.hidden),
        batch_size=arguments.batch,
        n_steps=n_steps,
        validate_every=arguments.validate_every,
        seed=arguments.seed,
    )


def sets_of(spec: TrainSpec, directory: Path, device: torch.device) -> tuple[MapSet, MapSet]:
    """Training and validation maps as a preset normalises them."""
    return load_sets(spec, open_data(spec, directory, check=False), device)[1:]


def released_run(spec: TrainSpec, directory: Path, device: torch.device) -> Iterator[Validation]:
    """Validations of the released recipe, at the steps at which `TrainingState` validates."""
    training, validation = sets_of(spec, directory, device)
    with seeded(spec.seed, device), exact_float32(benchmark=True):
        recipe = ReleasedRecipe(spec, training)
        start = time.perf_counter()
        while recipe.step_number < spec.n_steps:
            train_released(recipe, min(spec.validate_every, spec.n_steps - recipe.step_number), ignore)
            loss = recipe.validation_loss(validation)
            yield Validation(recipe.step_number, time.perf_counter() - start, loss)


def charged_run(spec: TrainSpec, directory: Path, device: torch.device, ms: float) -> Iterator[Validation]:
    """Validations of a recipe that `TrainingState` trains, each step charged with so many milliseconds."""
    for row in trained_run(spec, directory, device):
        yield replace(row, seconds=row.step * ms / 1e3)


def trained_run(spec: TrainSpec, directory: Path, device: torch.device) -> Iterator[Validation]:
    """Validations of a recipe that `TrainingState` trains."""
    with seeded(spec.seed, device):
        state = TrainingState(spec, *sets_of(spec, directory, device))
        while state.step < spec.n_steps:
            state.advance(ignore)
            row = state.history[-1]
            yield Validation(row.step, row.seconds, row.validation_loss)


def told(name: str, run: Iterator[Validation]) -> list[Validation]:
    """Validations of a run, each printed as it comes."""
    rows = []
    for row in run:
        print(f"{name:>14} step {row.step:>6} {row.seconds:8.1f} s  validation loss {row.loss:8.3f}", flush=True)
        rows.append(row)
    return rows


def seconds_to(target: float, rows: list[Validation]) -> float | None:
    """Seconds until a run has a validation loss as low as this; None if it never does."""
    return next((row.seconds for row in rows if row.loss <= target), None)


def released(arguments: Arguments, device: torch.device) -> Iterator[Validation]:
    """Validations of the released recipe, run or charged."""
    spec = loss_spec(arguments, released_preset(), arguments.released_steps)
    if arguments.released_ms is None:
        return released_run(spec, arguments.data, device)
    return charged_run(replace(spec, precision="auto"), arguments.data, device, arguments.released_ms)


def time_to_loss(arguments: Arguments, device: torch.device) -> dict[str, Any]:
    """All runs, and the seconds to the lowest validation loss of the released recipe, which is the one it keeps."""
    runs = {"released": told("released", released(arguments, device))}
    target = min(row.loss for row in runs["released"] if math.isfinite(row.loss))
    for n_steps in arguments.modern_steps:
        spec = loss_spec(arguments, modern_preset(), n_steps)
        runs[f"modern {n_steps}"] = told(f"modern {n_steps}", trained_run(spec, arguments.data, device))
    print(f"loss {target:.3f}, the lowest of the released recipe, is reached")
    for name, rows in runs.items():
        seconds, lowest = seconds_to(target, rows), min(row.loss for row in rows)
        reached = "never" if seconds is None else f"after {seconds:.1f} s"
        print(f"  by {name:<14} {reached:<15} lowest {lowest:.3f}, {rows[-1].seconds:.1f} s in all")
    return {"target": target, "runs": {name: [asdict(row) for row in rows] for name, rows in runs.items()}}


def main() -> None:
    """Print the machine, then every validation, then the time to the loss."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    known = print_machine(device)
    numbers = {"machine": known, "arguments": asdict(arguments), **time_to_loss(arguments, device)}
    write_numbers(arguments.json, numbers)


if __name__ == "__main__":
    run(main)
