"""A training step of laptop size on one core, change by change, beside the same network in plain PyTorch.

    python benchmarks/cpu_step.py --json cpu-step.json

The reference is the released recipe (`released_recipe`): PyTorch's modules, circular padding and AdamW, in float32 and
eager, with batches as large. `before` is the step of `fieldlevel train` without what was done for CPUs: maps in the
order of memory that PyTorch makes, Muon's iteration on the wide matrices. Each change is then made alone, and both of
them together; bfloat16 is what `precision = "bfloat16"` does, which pays where the processor multiplies such numbers
(`avx512_bf16`, `amx_bf16`).

All of them take their steps in turn, in one process on one thread. What counts is the time of the process, not of the
wall: others may use the machine, though what they do to its caches is felt. Medians over the rounds; the gain is the
median over the rounds of one less the ratio to `before`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from measuring import arguments_of, print_cpu, run, write_numbers
from released_recipe import ReleasedRecipe

from fieldlevel.data.batches import MapSet
from fieldlevel.training import muon, state, step
from fieldlevel.training.precision import Precision, autocast, seeded
from fieldlevel.training.presets import laptop_training
from fieldlevel.training.state import TrainingState, validation_loss
from fieldlevel.training.train_spec import TrainSpec

N_WARM_UP = 3
"""Rounds before the clock counts."""
BEFORE = "before"


@dataclass(frozen=True)
class Arguments:
    """Time the training step on a CPU."""

    hidden: int = 4
    n_pixels: int = 64
    batch: int = 32
    n_maps: int = 2250
    """Random maps to train on."""
    n_rounds: int = 60
    """Steps to time of each variant."""
    json: Path | None = None
    """File for the same numbers."""
    seed: int = 0


class Variant(NamedTuple):
    """Which of the changes are made."""

    is_channels_last: bool = False
    iterates_on_grams: bool = False
    precision: Precision = "float32"


VARIANTS = {
    BEFORE: Variant(),
    "channels last": Variant(is_channels_last=True),
    "small matrices in Muon": Variant(iterates_on_grams=True),
    "both": Variant(True, True),
    "both, bfloat16": Variant(True, True, "bfloat16"),
}


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the variant.
        ms: process time of a step, median over the rounds.
        least_ms: the least of them.
        gain: of the time of `before`; None for the reference.
        validation_ms: of one map with its eight symmetries; None for the reference.
    """

    name: str
    ms: float
    least_ms: float
    gain: float | None
    validation_ms: float | None


@contextmanager
def changed(variant: Variant) -> Iterator[None]:
    """The package as a variant has it, while it lasts."""
    order = torch.channels_last if variant.is_channels_last else torch.contiguous_format
    least = muon.LEAST_ROWS if variant.iterates_on_grams else 1 << 30
    with (
        patch.object(step, "MEMORY_FORMAT", order),
        patch.object(state, "MEMORY_FORMAT", order),
        patch.object(muon, "LEAST_ROWS", least),
    ):
        yield


def random_set(arguments: Arguments) -> MapSet:
    """Gaussian white noise with random targets."""
    generator = torch.Generator().manual_seed(arguments.seed)
    maps = torch.randn(arguments.n_maps, arguments.n_pixels, arguments.n_pixels, generator=generator)
    theta = torch.rand(arguments.n_maps, 6, generator=generator)
    return MapSet(maps, theta, torch.arange(arguments.n_maps))


def spec_of(arguments: Arguments) -> TrainSpec:
    """The laptop's training in the sizes of the benchmark."""
    laptop = laptop_training()
    return replace(
        laptop,
        network=replace(laptop.network, hidden=arguments.hidden),
        batch_size=arguments.batch,
        seed=arguments.seed,
    )


def training_of(variant: Variant, arguments: Arguments, maps: MapSet) -> TrainingState:
    """A training at its start."""
    spec = replace(spec_of(arguments), precision=variant.precision)
    with changed(variant), seeded(arguments.seed, torch.device("cpu")):
        return TrainingState(spec, maps, maps)


def ms_of(do: Callable[[], object]) -> float:
    """Process time of a call."""
    start = process_time()
    do()
    return 1e3 * (process_time() - start)


def measure(arguments: Arguments) -> list[Row]:
    """Steps of all variants in turn."""
    maps = random_set(arguments)
    with seeded(arguments.seed, torch.device("cpu")):
        released = ReleasedRecipe(spec_of(arguments), maps)
    trainings = {name: training_of(variant, arguments, maps) for name, variant in VARIANTS.items()}
    reference = "plain PyTorch (released recipe)"
    times: dict[str, list[float]] = {reference: [], **{name: [] for name in VARIANTS}}
    for number in range(N_WARM_UP + arguments.n_rounds):
        times[reference].append(ms_of(released.take_step))
        for name, training in trainings.items():
            with changed(VARIANTS[name]):
                times[name].append(ms_of(lambda number=number, training=training: training.take_step(number)))
    counted = {name: each[N_WARM_UP:] for name, each in times.items()}
    validated = {name: validation_ms(training, name, arguments) for name, training in trainings.items()}
    return [row_of(name, counted, validated.get(name)) for name in counted]


def validation_ms(training: TrainingState, name: str, arguments: Arguments) -> float:
    """Process time of the validation loss of a map."""
    n_maps = min(arguments.n_maps, 32)
    whole = training.validation
    few = MapSet(whole.maps[:n_maps], whole.theta[:n_maps], whole.simulation[:n_maps])

    def validate() -> None:
        with autocast(VARIANTS[name].precision, torch.device("cpu")):
            validation_loss(training.network, few, arguments.batch)

    return median(ms_of(validate) for _ in range(3)) / n_maps


def row_of(name: str, times: dict[str, list[float]], validated: float | None) -> Row:
    """The numbers of one variant."""
    own = times[name]
    gain = None
    if name in VARIANTS:
        gain = 1.0 - median(ours / theirs for ours, theirs in zip(own, times[BEFORE], strict=True))
    return Row(name, median(own), min(own), gain, validated)


def print_rows(rows: list[Row]) -> None:
    """The table."""
    print(f"{'':<33} {'ms a step':>9} {'least':>7} {'gain':>7} {'ms a map validated':>19}")
    for row in rows:
        gain = "-" if row.gain is None else f"{row.gain:.0%}"
        validated = "-" if row.validation_ms is None else f"{row.validation_ms:.2f}"
        print(f"{row.name:<33} {row.ms:9.1f} {row.least_ms:7.1f} {gain:>7} {validated:>19}", flush=True)


def main() -> None:
    """Measure, print and write."""
    arguments = arguments_of(Arguments)
    torch.set_num_threads(1)
    print_cpu(1, "torch")
    rows = measure(arguments)
    print_rows(rows)
    numbers: dict[str, Any] = {"arguments": asdict(arguments), "rows": [asdict(row) for row in rows]}
    write_numbers(arguments.json, numbers)


if __name__ == "__main__":
    run(main)
