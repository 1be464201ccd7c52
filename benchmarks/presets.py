"""Validation loss of the released recipe, of the modern preset and of its variants after as many steps.

It is that of the network of the lowest loss in training, as it then predicts.

Same maps, split, network width, batch size and number of steps; what the presets are about differs: optimiser,
schedule, learning rate, weight decay, dropout, augmentation, normaliser, precision. Beside the loss, the root mean
square of the relative errors of Omega_m and sigma_8 over the validation maps. The median over seeds is the figure to
quote.

    python benchmarks/presets.py --data mock-data --suite MockTNG --n-steps 1000 --hidden 4 --seeds 3
    python benchmarks/presets.py --data mock-data --n-steps 4000 --hidden 8 --batch-size 128 --train 0.9 \
        --validation 0.05 --only modern "decay 0.3" "dropout 0.1"
"""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measuring import arguments_of, print_machine, run, write_numbers

from fieldlevel.data.batches import MapSet
from fieldlevel.data.split import SplitSpec
from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.layout import Layout
from fieldlevel.numerics.device import exact_float32, select_device
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.training.presets import modern_preset, released_preset
from fieldlevel.training.sources import load_sets, open_data
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train_network

CMD = Layout()

N_AT_ONCE = 64
"""Maps in a network without gradients, times eight symmetries."""

MODERN = modern_preset()

ADAMW = OptimiserSpec(learning_rate=8e-3)
"""In place of Muon in the modern preset."""


def with_adamw(**changes: Any) -> TrainSpec:
    """The modern preset with AdamW, which may have other constants."""
    return replace(MODERN, optimiser=replace(ADAMW, **changes))


def with_muon(**changes: Any) -> TrainSpec:
    """The modern preset with other constants of Muon."""
    return replace(MODERN, optimiser=replace(MODERN.optimiser, **changes))


VARIANTS = {
    "released": released_preset(),
    "modern": MODERN,
    "AdamW": with_adamw(),
    "AdamW, short gradients": with_adamw(longest_gradient=1.0),
    "AdamW, decay": with_adamw(weight_decay=0.05),
    "AdamW, twice the rate": with_adamw(learning_rate=1.6e-2),
    "half the rate": with_muon(learning_rate=2e-2),
    "decay 2e-4": with_muon(weight_decay=2e-4),
    "decay 0.3": with_muon(weight_decay=0.3),
    "momentum 0.9": with_muon(beta1=0.9),
    "dropout 0.1": replace(MODERN, network=replace(MODERN.network, dropout=0.1)),
    "without shifts": replace(MODERN, augmentation="symmetries"),
}
"""By name; all but the released preset are the modern one with one change."""


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
    only: tuple[str, ...] = ()
    """Variants to train; all when empty."""
    device: str = "auto"
    json: Path | None = None
    """File for the figures of every run, written after each variant."""


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


@dataclass(frozen=True)
class Outcome:
    """What one run found: validation loss, rms relative errors of Omega_m and sigma_8, seconds of the training."""

    loss: float
    errors: tuple[float, float]
    seconds: float


def train_variant(arguments: Arguments, preset: TrainSpec, seed: int) -> Outcome:
    """Train a preset with the size of the comparison."""
    spec, device = equal_terms(arguments, preset, seed), select_device(arguments.device)
    _, training, validation = load_sets(spec, open_data(spec, arguments.data, check=False), device)
    start = time.perf_counter()
    trained = train_network(spec, training, validation)
    seconds = time.perf_counter() - start
    return Outcome(trained.validation_loss, relative_errors(trained.network, validation), seconds)


@torch.inference_mode()
def relative_errors(network: Estimator, validation: MapSet) -> tuple[float, float]:
    """Rms relative error over all views of the maps, of Omega_m and sigma_8, as the network predicts."""
    chunks = [slice(first, first + N_AT_ONCE) for first in range(0, validation.n_maps, N_AT_ONCE)]
    with exact_float32():
        moments = [network.posterior(validation.views(chunk)) for chunk in chunks]
    means, stds = (torch.cat(parts).cpu().numpy() for parts in zip(*moments, strict=True))
    targets = torch.cat([validation.theta[chunk].repeat(validation.n_views, 1) for chunk in chunks]).cpu().numpy()
    (mean, std), (theta, _) = CMD.from_unit_interval(means, stds), CMD.from_unit_interval(targets, stds)
    Omega_m, sigma_8 = (METRICS["rms_relative_error"](theta[:, i], mean[:, i], std[:, i]) for i in (0, 1))
    return Omega_m, sigma_8


def main() -> None:
    """Print a line a variant: the medians over the seeds, and every loss."""
    arguments = arguments_of(Arguments)
    device = select_device(arguments.device)
    unknown = [name for name in arguments.only if name not in VARIANTS]
    if unknown:
        raise UserError(f"only: no variant {unknown[0]!r}; choose from {', '.join(map(repr, VARIANTS))}")
    known = print_machine(device)
    found: dict[str, list[dict[str, Any]]] = {}
    print(arguments)
    print(f"{'variant':>24} {'loss':>8} {'Omega_m':>8} {'sigma_8':>8} {'seconds':>8}  losses of the seeds")
    for name in arguments.only or VARIANTS:
        outcomes = [train_variant(arguments, VARIANTS[name], seed) for seed in range(arguments.seeds)]
        Omega_m, sigma_8 = (100 * median(each.errors[i] for each in outcomes) for i in (0, 1))
        figures = f"{median(each.loss for each in outcomes):8.3f} {Omega_m:7.2f}% {sigma_8:7.2f}%"
        found[name] = [asdict(each) for each in outcomes]
        write_numbers(arguments.json, {"machine": known, "arguments": asdict(arguments), "runs": found})
        losses = " ".join(f"{each.loss:.3f}" for each in outcomes)
        print(f"{name:>24} {figures} {median(each.seconds for each in outcomes):8.0f}  {losses}", flush=True)


if __name__ == "__main__":
    run(main)
