"""Suites whose maps show a parameter twice: by a signal that all have, and by a nuisance that follows it in some."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from fieldlevel.data.batches import MapSet
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train_network

N_PIXELS = 8
SIGNAL_NOISE, NUISANCE_NOISE = 0.7, 0.3
"""In units of the prior's standard deviation: the nuisance is the better measure where it follows the parameter."""


class Projections(nn.Module):
    """A few projections of a map and a layer of activations, perhaps behind batch norms."""

    def __init__(self, shape: Sequence[int], n_features: int = 16, norms: bool = False) -> None:
        super().__init__()
        norm = nn.BatchNorm1d(n_features) if norms else nn.Identity()
        flat = nn.Linear(math.prod(shape), n_features)
        self.layers = nn.Sequential(nn.Flatten(), flat, norm, nn.LeakyReLU(0.2), nn.Linear(n_features, n_features))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


SPEC = TrainSpec(
    body="toy_suites:Projections",
    optimiser=OptimiserSpec(learning_rate=1e-2, weight_decay=0.0, beta1=0.9),
    augmentation="symmetries",
    precision="float32",
    batch_size=96,
    n_steps=400,
    validate_every=100,
    statistics_batches=20,
)


def templates() -> tuple[Tensor, Tensor]:
    """Of signal and nuisance: a disc and a ring, the same turned and mirrored."""
    row = torch.arange(N_PIXELS) - (N_PIXELS - 1) / 2
    radius = (row[:, None].square() + row[None].square()).sqrt()
    disc, ring = (radius < 2).float(), ((radius >= 2) & (radius < 4)).float()
    return disc / disc.norm(), ring / ring.norm()


def suite(
    follows: float, number: int, n_maps: int = 600, seed: int = 0, mark: float = 0.0, scale: float = 1.0
) -> MapSet:
    """Maps in which the nuisance is `follows` times the parameter, with noise; rows are universes of all suites.

    Args:
        follows: slope of the nuisance.
        number: of the source.
        n_maps: one a simulation.
        seed: of the universes.
        mark: added to the nuisance, by which the suite is known.
        scale: of the pixels.
    """
    shared = torch.Generator().manual_seed(seed)
    own = torch.Generator().manual_seed(1000 * seed + number + 1)
    theta = torch.rand(n_maps, 1, generator=shared)
    unit = (theta - 0.5) * math.sqrt(12)
    signal = unit + SIGNAL_NOISE * torch.randn(n_maps, 1, generator=shared)
    nuisance = mark + follows * unit + NUISANCE_NOISE * torch.randn(n_maps, 1, generator=own)
    one, other = templates()
    maps = scale * (signal[..., None] * one + nuisance[..., None] * other)
    numbers = torch.arange(n_maps)
    return MapSet(maps, theta, numbers, torch.full_like(numbers, number), torch.zeros_like(numbers))


def unlabelled(maps: MapSet) -> MapSet:
    """The same without targets."""
    return replace(maps, theta=torch.full_like(maps.theta, torch.nan))


def with_sources(spec: TrainSpec, training: Sequence[MapSet]) -> TrainSpec:
    """The spec of a training on such suites, one a source."""
    labelled = [bool(each.theta.isfinite().any()) for each in training]
    return replace(spec, sources=tuple(SourceSpec(f"A{i}", labelled=each) for i, each in enumerate(labelled)))


def error_on(tested: MapSet, spec: TrainSpec, training: Sequence[MapSet], validation: Sequence[MapSet]) -> float:
    """Root mean square error of a network in units of the prior's standard deviation."""
    spec = with_sources(spec, training)
    network = train_network(spec, MapSet.joined(training), MapSet.joined(validation)).network.eval()
    with torch.inference_mode():
        mean, _ = network.posterior(tested.maps[:, None])
    return (mean - tested.theta).square().mean().sqrt().item() * math.sqrt(12)
