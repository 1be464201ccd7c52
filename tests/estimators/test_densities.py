"""Laws of every density of the parameters, and what is particular to each."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import Density, GaussianCopula, Mixture, TruncatedNormal, density_of
from fieldlevel.estimators.moment_head import MomentHead

N_SAMPLES = 40_000
# Four standard errors of a mean of so many samples, in standard deviations.
SAMPLED = 0.02
# Marginals of the flow are those of 512 points.
OF_POINTS = 2e-3

MEAN = torch.tensor([[0.5, 0.4], [0.03, 0.9], [0.3, 0.55]])
STD = torch.tensor([[0.05, 0.1], [0.02, 0.08], [0.2, 0.25]])
CORRELATION = torch.tensor([0.8, -0.5, 0.3])


def truncated() -> TruncatedNormal:
    return TruncatedNormal(MEAN, STD)


def copula(shift: float = 0.0) -> GaussianCopula:
    correlation = torch.eye(2) + (torch.ones(2, 2) - torch.eye(2)) * CORRELATION[:, None, None]
    return GaussianCopula(MEAN + shift, STD, torch.linalg.cholesky(correlation))


def mixture() -> Mixture:
    return Mixture([copula(), copula(0.03)], [3.0, 1.0])


def of_marginals() -> Mixture:
    return Mixture([truncated(), copula()])


def flow() -> Density:
    pytest.importorskip("zuko")
    from fieldlevel.estimators.flow_head import FlowHead  # noqa: PLC0415

    torch.manual_seed(3)
    head = FlowHead(4, 2, n_hidden=8)
    for weight in head.flow.transforms.parameters():
        nn.init.normal_(weight, std=0.3)
    return head.density(head(torch.tensor([[0.0, 1.0, 2.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 3.0, -2.0]])))


DENSITIES: dict[str, Callable[[], Density]] = {
    each.__name__: each for each in (truncated, copula, mixture, of_marginals, flow)
}


@pytest.fixture(params=DENSITIES)
def density(request) -> Density:
    return DENSITIES[request.param]()


def grid(n: int = 400) -> Tensor:
    """Middles of n x n cells of the unit square, (n^2, 1, 2)."""
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return torch.cartesian_prod(middles, middles)[:, None]


def test_shapes(density):
    assert len(density) == 3
    assert density.n_parameters == 2
    assert density.mean.shape == density.std.shape == (3, 2)
    assert density.mean.dtype == density.std.dtype == torch.float64
    assert (density.covariance is not None) == density.is_joint
    if density.covariance is not None:
        assert density.covariance.shape == (3, 2, 2)
    theta = torch.rand(5, 3, 2)
    assert density.log_prob(theta).shape == (5, 3)
    assert density.marginal_cdf(theta).shape == (5, 3, 2)
    assert density.log_prob(theta[0]).shape == (3,)
    assert density.quantile(0.5).shape == (3, 2)
    assert density.quantile(theta).shape == (5, 3, 2)


def test_it_integrates_to_one(density):
    mass = density.log_prob(grid()).exp().mean(0)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0.0, atol=3e-3)


@pytest.mark.parametrize("name", ["truncated", "copula", "mixture", "of_marginals"])
@pytest.mark.parametrize("column", [0, 1])
def test_a_marginal_is_the_integral_over_the_other_parameter(name, column):
    density, n = DENSITIES[name](), 400
    joint = density.log_prob(grid(n)).exp().reshape(n, n, 3).mean(1 - column)
    middles = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    alone = density.marginal([column])
    found = alone.log_prob(middles[:, None, None].expand(-1, 3, 1)).exp()
    inside = slice(4, -4)  # in the very corners a copula is steeper than cells are narrow
    torch.testing.assert_close(found[inside], joint[inside], rtol=0.01, atol=0.01)
    torch.testing.assert_close(alone.std, density.std[:, [column]], rtol=1e-6, atol=0.0)


def test_parameters_of_a_marginal_keep_their_correlations_in_the_order_asked_for():
    correlation = torch.tensor([[1.0, 0.3, -0.6], [0.3, 1.0, 0.2], [-0.6, 0.2, 1.0]], dtype=torch.float64)
    three = GaussianCopula(
        torch.tensor([[0.5, 0.4, 0.6]]), torch.tensor([[0.05, 0.1, 0.08]]), torch.linalg.cholesky(correlation)[None]
    )
    for density in (three, Mixture([three, three])):
        two = density.marginal([2, 0])
        assert two.is_joint
        torch.testing.assert_close(two.mean, three.mean[:, [2, 0]])
        torch.testing.assert_close(two.covariance, three.covariance[:, [2, 0]][:, :, [2, 0]])
    middles = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    place = torch.tensor([[0.55, 0.52]], dtype=torch.float64)
    theta = torch.stack([place[0, 1].expand(2000), middles, place[0, 0].expand(2000)], 1)[:, None]
    integral = three.log_prob(theta).exp().mean(0)
    torch.testing.assert_close(two.log_prob(place).exp(), integral, rtol=1e-4, atol=0.0)


def test_a_flow_has_no_marginal_of_some_parameters():
    density = flow()
    assert density.marginal([0, 1]) is density
    with pytest.raises(UserError, match=r"FlowDensity: .* no closed form; take networks that infer just these"):
        density.marginal([1])


def test_moments_are_those_of_the_density(density):
    theta = grid()
    mass = density.log_prob(theta).exp() / len(theta)
    mean = torch.einsum("nb,nbp->bp", mass, theta.expand(-1, 3, -1))
    variance = torch.einsum("nb,nbp->bp", mass, (theta - mean).square())
    assert ((density.mean - mean) / density.std).abs().max() < SAMPLED
    torch.testing.assert_close(density.std, variance.sqrt(), rtol=0.02, atol=0.0)


def test_samples_have_its_moments_and_lie_in_the_prior(density):
    samples = density.sample(N_SAMPLES, seed=5)
    assert samples.shape == (N_SAMPLES, 3, 2)
    assert bool(((samples >= 0) & (samples <= 1)).all())
    assert ((samples.mean(0) - density.mean) / density.std).abs().max() < SAMPLED
    assert (samples.std(0) / density.std - 1).abs().max() < SAMPLED
    if density.covariance is not None:
        found = torch.stack([torch.corrcoef(samples[:, i].T)[0, 1] for i in range(3)])
        told = density.covariance[:, 0, 1] / density.std.prod(1)
        torch.testing.assert_close(found, told, rtol=0.0, atol=0.04)


def test_seeds_tell_the_samples_and_nothing_else_does(density):
    torch.manual_seed(0)
    first = density.sample(50, seed=7)
    torch.manual_seed(1)
    assert torch.equal(density.sample(50, seed=7), first)
    assert torch.equal(density.sample(80, seed=7)[:20], first[:20]) or isinstance(density, Mixture)
    assert not torch.equal(density.sample(50, seed=8), first)
    before = torch.random.get_rng_state()
    density.sample(5)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_samples_fill_the_quantiles(density):
    samples = density.sample(N_SAMPLES, seed=2)
    for p in (0.025, 0.16, 0.5, 0.84):
        below = (samples < density.quantile(p)).double().mean(0)
        torch.testing.assert_close(below, torch.full_like(below, p), rtol=0.0, atol=SAMPLED / 2)


def test_the_distribution_function_undoes_the_quantiles(density):
    p = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(1)).double()
    found = density.marginal_cdf(density.quantile(p))
    torch.testing.assert_close(found, p, rtol=0.0, atol=OF_POINTS)
    assert (density.marginal_cdf(torch.zeros(3, 2)) == 0).all()
    assert torch.allclose(density.marginal_cdf(torch.ones(3, 2)), torch.ones(3, 2).double())


def test_samples_fill_the_tails_which_end_at_the_edges_of_the_prior(density):
    n, p = 400_000, torch.tensor([3e-4, 1 - 3e-4], dtype=torch.float64)
    low, high = density.quantile(p[:, None, None].expand(2, 3, 2))
    samples = density.sample(n, seed=4)
    for outside in ((samples < low).sum(0), (samples > high).sum(0)):
        assert (outside / n / 3e-4).log().abs().max() < np.log(3)  # those of the flow are extrapolated
    torch.testing.assert_close(density.quantile(0.0), torch.zeros(3, 2).double())
    assert torch.allclose(density.quantile(1.0), torch.ones(3, 2).double())
    parts = torch.tensor([1e-6, 1e-3, 0.3, 1 - 1e-3, 1 - 1e-6], dtype=torch.float64)[:, None, None].expand(-1, 3, 2)
    values = density.quantile(parts)
    assert (values.diff(dim=0) > 0).all()
    torch.testing.assert_close(density.marginal_cdf(values), parts, rtol=0.05, atol=OF_POINTS / 2)


def test_nothing_lies_outside(density):
    outside = torch.tensor([[-1e-6, 0.5], [0.5, 1.0 + 1e-6], [2.0, -3.0]], dtype=torch.float64)
    assert density.log_prob(outside).isneginf().all()
    edges = density.log_prob(torch.tensor([[0.0, 1.0], [1.0, 0.5], [0.5, 0.0]]))
    assert not edges.isnan().any()


def test_parts_are_those_of_the_whole(density):
    theta = torch.rand(3, 2)
    parts = [density.select(slice(0, 1)), density.select([1, 2])]
    joined = type(density).cat(parts)
    for each in (joined, density.select(torch.tensor([True, True, True]))):
        torch.testing.assert_close(each.mean, density.mean)
        torch.testing.assert_close(each.log_prob(theta), density.log_prob(theta))
    torch.testing.assert_close(parts[1].log_prob(theta[1:]), density.log_prob(theta)[1:])
    torch.testing.assert_close(joined.quantile(0.3), density.quantile(0.3))


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(density, p):
    with pytest.raises(UserError, match="must be probabilities between 0 and 1"):
        density.quantile(p)


def test_copula_is_the_normal_itself_far_from_the_edges():
    density = GaussianCopula(MEAN[:1], STD[:1] / 4, torch.linalg.cholesky(torch.tensor([[1.0, 0.8], [0.8, 1.0]]))[None])
    theirs = torch.distributions.MultivariateNormal(density.mean, density.covariance)
    theta = density.sample(500, seed=1)
    torch.testing.assert_close(density.log_prob(theta), theirs.log_prob(theta), rtol=1e-9, atol=1e-9)


def test_copula_tells_the_covariance_of_its_head():
    density = copula()
    told = density.covariance[:, 0, 1] / (density.std[:, 0] * density.std[:, 1])
    torch.testing.assert_close(told, CORRELATION.double(), rtol=0.0, atol=1e-6)


def test_mixture_has_the_law_of_total_covariance():
    density = mixture()
    samples = density.sample(N_SAMPLES, seed=4)
    apart = samples - samples.mean(0)
    found = torch.einsum("nbi,nbj->bij", apart, apart) / N_SAMPLES
    scale = density.std[:, :, None] * density.std[:, None, :]
    assert ((density.covariance - found) / scale).abs().max() < 0.04


def test_mixture_of_one_is_that_one():
    alone, one = copula(), Mixture([copula()], [7.0])
    theta = torch.rand(3, 2)
    torch.testing.assert_close(one.log_prob(theta), alone.log_prob(theta))
    torch.testing.assert_close(one.quantile(0.2), alone.quantile(0.2))
    torch.testing.assert_close(one.std, alone.std)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 1.0], [float("nan"), 1.0]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(UserError, match="give 2 positive numbers"):
        Mixture([copula(), truncated()], weights)


def test_mixtures_of_other_maps_are_refused():
    with pytest.raises(UserError, match="the same maps"):
        Mixture([copula(), copula().select([0, 1])])
    with pytest.raises(UserError, match="the same maps"):
        Mixture([])


def test_moments_alone_are_those_of_truncated_normals():
    torch.manual_seed(0)
    head = MomentHead(4, 2)
    answer = (MEAN, STD)
    density = density_of(head, answer)
    assert isinstance(density, TruncatedNormal)
    torch.testing.assert_close(density.mean, MEAN.double())
    assert not density.mean.requires_grad
    assert isinstance(density_of(head, head(torch.zeros(3, 4))), TruncatedNormal)
