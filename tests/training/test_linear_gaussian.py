"""A problem whose posterior is known: maps that are linear in the parameters, with white Gaussian noise.

x = sum_i theta_i T_i + n, with theta ~ N(0, 1) and n ~ N(0, sigma^2) in every pixel. The posterior is normal, with

    covariance C = (1 + T T^t / sigma^2)^-1    and    mean C T x / sigma^2.

The templates T_i do not change under the eight symmetries of the square, so augmentation and validation leave the
posterior as it is; they overlap, so the marginal widths are not the conditional ones.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train_network

N_PIXELS = 16
NOISE = 0.35
# The posterior is 0.37 times as wide as the prior, so the mean must be learned to a seventh of its own width.
TOLERANCE = 0.05

SPEC = TrainSpec(
    augmentation="symmetries",
    network=NetworkSpec(hidden=2, dropout=0.0),
    optimiser=OptimiserSpec(learning_rate=0.06, weight_decay=1e-4),
    batch_size=128,
    n_steps=600,
    validate_every=600,
    seed=1,
)


def templates() -> Tensor:
    """Two overlapping templates of unit norm, symmetric about the middle of the map, shape (2, N, N)."""
    wave = torch.cos(2 * torch.pi * (torch.arange(N_PIXELS) - (N_PIXELS - 1) / 2) / N_PIXELS)
    flat = torch.ones(N_PIXELS, N_PIXELS)
    pair = torch.stack([flat, 0.6 * flat + wave[:, None] + wave])
    return pair / pair.square().sum((1, 2), keepdim=True).sqrt()


def draw(n_maps: int, seed: int, sigma: float = NOISE) -> MapSet:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.randn(n_maps, 2, generator=generator)
    noise = torch.randn(n_maps, N_PIXELS, N_PIXELS, generator=generator)
    return MapSet(torch.einsum("np,pij->nij", theta, templates()) / sigma + noise, theta, torch.arange(n_maps))


def posterior(maps: Tensor, sigma: float = NOISE) -> tuple[Tensor, Tensor]:
    """Analytic mean (n, 2) and marginal standard deviation (2,) for maps in units of the noise."""
    response = templates().flatten(1) / sigma
    covariance = torch.linalg.inv(torch.eye(2) + response @ response.T)
    return maps.flatten(1) @ response.T @ covariance, covariance.diagonal().sqrt()


def rms(values: Tensor) -> Tensor:
    """Over maps and parameters."""
    return values.square().mean().sqrt()


def infer(network: MomentNetwork, maps: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        mean, std = network(maps[:, None])
    return mean, std


def test_trained_network_finds_the_analytic_posterior():
    """Means: rms difference in units of the prior's width. Standard deviations: rms relative difference."""
    network = train_network(SPEC, draw(20_000, seed=1), draw(500, seed=2)).network
    maps = draw(2000, seed=3).maps
    mean, std = infer(network, maps)
    true_mean, true_std = posterior(maps)
    assert rms(mean - true_mean) < TOLERANCE
    assert rms(std / true_std - 1) < TOLERANCE


def test_labels_of_other_maps_leave_the_prior():
    training, validation = draw(20_000, seed=1), draw(500, seed=2)
    permuted = MapSet(training.maps, training.theta.roll(1, 0), training.simulation)
    permuted_too = MapSet(validation.maps, validation.theta.roll(1, 0), validation.simulation)
    short, maps = replace(SPEC, n_steps=250, validate_every=250), draw(2000, seed=3).maps
    n_good = 0
    for seed in (1, 2, 3):  # at this learning rate one in five collapses, another one after any change of round-off
        mean, std = infer(train_network(replace(short, seed=seed), permuted, permuted_too).network, maps)
        n_good += bool(max(rms(mean), rms(std - 1)) < 0.1)
        if n_good == 2:
            return
    pytest.fail(f"{n_good} of three networks find the prior")


def test_squared_error_warm_up_prevents_the_collapse_to_the_prior():
    """From these starting weights the narrowest network keeps its means near the prior unless they are fitted first."""
    training, validation, test = (draw(n, seed, sigma=0.5) for seed, n in enumerate((8000, 500, 1000), start=1))

    def error(n_warm_up: int) -> float:
        spec = TrainSpec(
            augmentation="symmetries",
            network=NetworkSpec(hidden=1, dropout=0.0),
            optimiser=OptimiserSpec(learning_rate=0.01),
            n_steps=250,
            validate_every=50,
            squared_error_steps=n_warm_up,
        )
        mean, _ = infer(train_network(spec, training, validation).network, test.maps)
        return rms(mean - posterior(test.maps, sigma=0.5)[0]).item()

    collapsed = error(0)
    assert collapsed > 0.7
    assert error(100) < collapsed / 2
