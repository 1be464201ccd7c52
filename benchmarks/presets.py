"""Lowest validation loss of the released recipe and of the modern preset after the same number of steps.

Same maps, split, network width, batch size and number of steps; what the presets are about differs: optimiser,
schedule, learning rate, weight decay, dropout, augmentation, normaliser, precision. The modern preset is also run with
AdamW, plain and with short gradients. The median over seeds is the figure to quote.

    python benchmarks/presets.py --data mock-data --suite MockTNG --n-steps 1000 --hidden 4 --seeds 3
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
import tyro

from fieldlevel.config import OptimiserSpec, SplitSpec, TrainSpec, modern_preset, released_preset
from fieldlevel.maps.catalogue import open_suite, split_simulations
from fieldlevel.maps.loader import fit_normaliser, load_map_set
from fieldlevel.numerics.device import select_device
from fieldlevel.training.loop import train_network

ADAMW = OptimiserSpec(learning_rate=8e-3, weight_decay=0.05)
"""In place of Muon in the modern preset."""

VARIANTS = {
    "released": released_preset(),
    "modern": modern_preset(),
    "modern, AdamW": replace(modern_preset(), optimiser=ADAMW),
    "modern, AdamW, short gradients": replace(modern_preset(), optimiser=replace(ADAMW, longest_gradient=1.0)),
}


@dataclass(frozen=True)
class Arguments:
    """Compare the training presets on one suite."""

    data: Path
    suite: str = "MockTNG"
    n_steps: int = 1000
    hidden: int = 4
    batch_size: int = 64
    seeds: int = 3
    train: float = 0.75
    validation: float = 0.10
    device: str = "auto"


def equal_terms(arguments: Arguments, preset: TrainSpec, seed: int) -> TrainSpec:
    """A preset with the size of the comparison."""
    return replace(
        preset,
        suite=arguments.suite,
        split=SplitSpec(train=arguments.train, validation=arguments.validation),
        network=replace(preset.network, hidden=arguments.hidden),
        batch_size=arguments.batch_size,
        n_steps=arguments.n_steps,
        validate_every=max(arguments.n_steps // 20, 1),
        seed=seed,
    )


def lowest_loss(arguments: Arguments, preset: TrainSpec, seed: int) -> tuple[float, float]:
    """Lowest validation loss and seconds of one run."""
    spec, device = equal_terms(arguments, preset, seed), select_device(arguments.device)
    suite = open_suite(arguments.data, arguments.suite, check=False)
    split = split_simulations(suite.n_simulations, spec.split.seed, spec.split.train, spec.split.validation)
    normaliser = fit_normaliser(suite, split.train if spec.normaliser == "train" else None)
    training = load_map_set(suite, split.train, normaliser, device)
    validation = load_map_set(suite, split.validation, normaliser, device)
    start = time.perf_counter()
    trained = train_network(spec, training, validation)
    return trained.validation_loss, time.perf_counter() - start


def main() -> None:
    """Print a line a run and the medians."""
    arguments = tyro.cli(Arguments)
    device = select_device(arguments.device)
    hardware = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{hardware}; {arguments}")
    for name, preset in VARIANTS.items():
        runs = [lowest_loss(arguments, preset, seed) for seed in range(arguments.seeds)]
        losses = " ".join(f"{loss:.3f}" for loss, _ in runs)
        seconds = median(seconds for _, seconds in runs)
        middle = median(loss for loss, _ in runs)
        print(f"{name:>30}: median {middle:.3f} of {losses}; {seconds:.0f} s a run", flush=True)


if __name__ == "__main__":
    main()
