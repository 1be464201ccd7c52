"""Three heads find a posterior that is known: parameters that are normal in the middle of the prior, seen linearly.

theta = 1/2 + W t with t ~ N(0, 1), and x = A t + n with n ~ N(0, 1): the posterior is normal, with the covariance
C = W^2 (1 + A^t A)^-1 and the mean 1/2 + W (1 + A^t A)^-1 A^t x. The columns of A overlap, so it is correlated.
"""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.densities import Density
from fieldlevel.estimators.network_specs import PerceptronSpec
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train_network

WIDTH = 0.1
RESPONSE = torch.tensor([[3.0, 2.0, 0.0], [2.0, -2.0, 1.0], [1.0, 3.0, 1.0], [0.0, 0.0, 0.3]])
TOLERANCE = 0.05
# Of standard deviations, of means in terms of these, and of covariances.

SPEC = TrainSpec(
    inputs="power spectrum",
    perceptron=PerceptronSpec(n_layers=1, n_neurons=32, dropout=0.0, std_from="softplus"),
    optimiser=OptimiserSpec(learning_rate=1e-2, weight_decay=0.0, beta1=0.9),
    batch_size=1024,
    n_steps=2000,
    validate_every=2000,
)
SMALL = {"n_hidden": 16, "n_context": 4}
FLOW = replace(SPEC, head="flow", head_options=SMALL)
FLOWS = {"flow": FLOW, "affine": replace(FLOW, head_options=SMALL | {"kind": "affine"})}


N_MAPS = 400_000
N_VALIDATION = 10_000
# They choose what joins the parameters, and know a variance to 1.4 per cent.
CASES = {"moments": SPEC, "gaussian": replace(SPEC, head="gaussian")} | FLOWS


def draw(n_maps: int, seed: int) -> MapSet:
    generator = torch.Generator().manual_seed(seed)
    t = torch.randn(n_maps, 3, generator=generator)
    maps = t @ RESPONSE.T + torch.randn(n_maps, len(RESPONSE), generator=generator)
    return MapSet(maps, 0.5 + WIDTH * t, torch.arange(n_maps))


def posterior(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Analytic mean (n, 3) and covariance (3, 3)."""
    covariance = torch.linalg.inv(torch.eye(3) + RESPONSE.T @ RESPONSE)
    return 0.5 + WIDTH * maps @ RESPONSE @ covariance, WIDTH**2 * covariance


@pytest.fixture(scope="module", params=CASES)
def density(request) -> Density:
    spec = CASES[request.param]
    if spec.head == "flow":
        pytest.importorskip("zuko")
    training, validation = draw(N_MAPS, seed=1), draw(N_VALIDATION, seed=2)
    network = train_network(check_train_spec(spec), training, validation).network
    with torch.inference_mode():
        return network.density(draw(300, seed=3).maps[:, None])


def rms(values: Tensor) -> float:
    return values.square().mean().sqrt().item()


def test_means_and_widths(density):
    mean, covariance = posterior(draw(300, seed=3).maps)
    std = covariance.diagonal().sqrt()
    assert rms((density.mean - mean) / std) < TOLERANCE
    assert rms(density.std / std - 1) < TOLERANCE
    assert (density.std.mean(0) / std - 1).abs().max() < TOLERANCE


def test_moments_of_the_samples(density):
    mean, covariance = posterior(draw(300, seed=3).maps)
    std = covariance.diagonal().sqrt()
    samples = density.sample(4000, seed=4)
    assert rms((samples.mean(0) - mean) / std) < TOLERANCE
    assert rms(samples.std(0) / std - 1) < TOLERANCE
    if density.is_joint:
        apart = samples - samples.mean(0)
        found = torch.einsum("nbi,nbj->bij", apart, apart).mean(0) / len(samples)
        assert ((found - covariance) / torch.outer(std, std)).abs().max() < TOLERANCE


def test_covariance(density):
    _, covariance = posterior(draw(1, seed=3).maps)
    std = covariance.diagonal().sqrt()
    assert abs(covariance[0, 1] / (std[0] * std[1])) > 0.2
    assert (density.covariance is None) == (not density.is_joint)
    if density.covariance is not None:
        assert rms((density.covariance - covariance) / torch.outer(std, std)) < TOLERANCE
        assert ((density.covariance.mean(0) - covariance) / torch.outer(std, std)).abs().max() < TOLERANCE


def test_joint_densities_are_near_that_of_the_posterior(density):
    truths = draw(300, seed=3)
    mean, covariance = posterior(truths.maps)
    best = torch.distributions.MultivariateNormal(mean, covariance).log_prob(truths.theta)
    lacking = (best - density.log_prob(truths.theta)).mean()
    assert lacking < 0.03 or not density.is_joint
