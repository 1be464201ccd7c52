"""Posteriors of several maps: precision-weighted means, edges of the prior, and maps that must not be multiplied."""

import numpy as np
import pytest
import torch
from scipy import stats

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import GaussianCopula, Mixture, TruncatedNormal
from fieldlevel.inference import product_density
from fieldlevel.inference.combining import combine_density
from fieldlevel.inference.grid_density import GridDensity
from fieldlevel.inference.posterior import Posterior
from fieldlevel.inference.product_density import ProductDensity
from fieldlevel.layout import Layout

DRAWS = 0.05
"""Of a standard deviation, and of a covariance: four errors of some 7,000 effective draws."""


def tensor(values):
    return torch.tensor(values, dtype=torch.float64)


def precision_weighted(means, covariances):
    precision = np.linalg.inv(covariances)
    covariance = np.linalg.inv(precision.sum(0))
    return covariance @ np.einsum("nij,nj->i", precision, means), covariance


def copula(mean, std, correlations):
    factors = torch.stack([torch.linalg.cholesky(tensor([[1, r], [r, 1]])) for r in correlations])
    return GaussianCopula(tensor(mean), tensor(std), factors)


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4])
def test_normal_marginals_give_the_precision_weighted_mean(scale):
    mean, std = 0.5 + 0.02 * scale * np.array([[1, -2], [0, 1], [2.5, 0]]), 0.03 * scale * np.array([[1, 2], [2, 1]])
    std = np.vstack([std, std[:1]])
    combined = combine_density(TruncatedNormal(tensor(mean), tensor(std)))
    for column in range(2):
        covariances = np.square(std[:, column])[:, None, None]
        expected, variance = precision_weighted(mean[:, [column]], covariances)
        assert combined.mean[0, column].item() == pytest.approx(expected.item(), abs=1e-4 * scale)
        assert combined.std[0, column].item() == pytest.approx(variance.item() ** 0.5, rel=1e-4)


def test_a_map_that_knows_nothing_changes_nothing():
    flat = 12**-0.5
    known, flat_beside = tensor([[0.3, 0.6]]), tensor([[0.3, 0.6], [0.5, 0.5], [0.5, 0.5]])
    one = combine_density(TruncatedNormal(known, tensor([[0.02, 0.1]])))
    three = combine_density(TruncatedNormal(flat_beside, tensor([[0.02, 0.1], [flat, flat], [flat, flat]])))
    np.testing.assert_allclose(three.mean, one.mean, rtol=1e-3)
    np.testing.assert_allclose(three.std, one.std, rtol=1e-3)


def test_at_an_edge_it_is_the_integral_over_the_prior():
    density = TruncatedNormal(tensor([[0.05], [0.1], [0.04]]), tensor([[0.04], [0.09], [0.03]]))
    t = torch.linspace(0, 1, 200_001, dtype=torch.float64)
    product = density.log_prob(t[:, None, None].expand(-1, 3, 1)).sum(1).exp()
    mean = (product * t).sum() / product.sum()
    std = (product * (t - mean).square()).sum().div(product.sum()).sqrt()
    combined = combine_density(density)
    assert combined.mean.item() == pytest.approx(mean.item(), rel=1e-4)
    assert combined.std.item() == pytest.approx(std.item(), rel=1e-4)


def test_joint_normals_give_the_precision_weighted_mean_and_covariance():
    mean, std = [[0.5, 0.5], [0.52, 0.49], [0.47, 0.53]], [[0.03, 0.03], [0.02, 0.05], [0.04, 0.02]]
    density = copula(mean, std, [0.8, 0.3, -0.6])
    expected, covariance = precision_weighted(np.array(mean), density.covariance.numpy())
    combined = combine_density(density)
    assert combined.is_joint
    assert combined.n_effective.item() > 3000
    np.testing.assert_allclose(combined.mean[0], expected, atol=DRAWS * covariance[0, 0] ** 0.5)
    np.testing.assert_allclose(combined.covariance[0], covariance, rtol=DRAWS, atol=DRAWS * covariance[0, 0])
    normal = stats.multivariate_normal(expected, covariance)
    points = normal.rvs(20, random_state=1)
    np.testing.assert_allclose(combined.log_prob(tensor(points)[:, None])[:, 0], normal.logpdf(points), atol=DRAWS)


def test_correlations_of_opposite_signs_leave_a_point():
    density = copula([[0.5, 0.5], [0.55, 0.5]], [[0.05, 0.05]] * 2, [0.95, -0.95])
    expected, covariance = precision_weighted(density.mean.numpy(), density.covariance.numpy())
    combined = combine_density(density)
    np.testing.assert_allclose(combined.mean[0], expected, atol=DRAWS * covariance[0, 0] ** 0.5)
    np.testing.assert_allclose(combined.std[0], np.sqrt(np.diag(covariance)), rtol=DRAWS)


def linear_model(precision, truth, n_maps):
    """Normal likelihoods truncated to the prior: copulas of their own moments, and moments of the product."""
    u, random = (
        torch.rand(200_000, len(truth), generator=torch.manual_seed(1)).double().numpy(),
        np.random.default_rng(1),
    )
    noise = random.multivariate_normal(np.zeros(len(truth)), np.linalg.inv(precision), n_maps)
    log_p = [-np.einsum("ni,ij,nj->n", u - truth - x, precision, u - truth - x) / 2 for x in noise]
    moments = []
    for each in [*log_p, np.sum(log_p, axis=0)]:
        weight = np.exp(each - each.max())
        moments.append((np.average(u, axis=0, weights=weight), np.cov(u.T, aweights=weight)))
    mean, covariance = (tensor(np.array(each)) for each in zip(*moments, strict=True))
    std = covariance.diagonal(dim1=1, dim2=2).sqrt()
    factor = torch.linalg.cholesky(covariance / (std[:, :, None] * std[:, None, :]))
    return GaussianCopula(mean[:-1], std[:-1], factor[:-1]), mean[-1], std[-1]


@pytest.mark.parametrize(
    ("precision", "truth"),
    [
        ([[400, 80, 0], [80, 17, 0], [0, 0, 1]], [0.4, 0.5, 0.5]),
        ([[400, 80, 40], [80, 22, 5], [40, 5, 14]], [0.4, 0.5, 0.2]),
        ([[400, 100, 60], [100, 60, 30], [60, 30, 50]], [0.1, 0.1, 0.9]),
    ],
    ids=["degenerate with a flat one", "two nearly flat ones", "at a corner"],
)
def test_joint_normals_are_those_of_the_linear_model_in_the_prior(precision, truth):
    density, mean, std = linear_model(np.array(precision, dtype=float), np.array(truth), 6)
    combined = combine_density(density)
    np.testing.assert_allclose((combined.mean[0] - mean) / std, 0, atol=2 * DRAWS)
    np.testing.assert_allclose(combined.std[0], std, rtol=2 * DRAWS)


@pytest.mark.parametrize("correlation", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("feedback", [[0.25, 0.2], [0.4, 0.28], [0.5, 0.2886]], ids=["falling", "wide", "flat"])
@pytest.mark.parametrize("n_flat", [1, 2])
def test_flat_parameters_drag_no_other_along(n_flat, feedback, correlation):
    """Parents of such marginals lie anywhere: thousands of priors away, with scales of hundreds."""
    at = np.array([0.48, 0.60, 0.46, 0.67, 0.60, 0.53])
    mean = np.column_stack([at, *[feedback[0] + 0.03 * at[::step] for step in (1, -1)[:n_flat]]])
    std = np.column_stack([np.full(6, 0.12), np.full((6, n_flat), feedback[1])])
    matrix = np.full((n_flat + 1, n_flat + 1), correlation)
    matrix[0, 1] *= -1
    matrix[1, 0] *= -1
    np.fill_diagonal(matrix, 1)
    density = GaussianCopula(tensor(mean), tensor(std), torch.linalg.cholesky(tensor(matrix)).expand(6, -1, -1))
    combined, error = combine_density(density), 0.12 / 6**0.5
    assert abs(combined.mean[0, 0].item() - at.mean()) < (0.3 + 2 * correlation) * error
    widened = np.hypot(
        error, 0.12 * correlation * n_flat**0.5
    )  # what a degeneracy with a flat one leaves, however many
    assert 0.9 * error < combined.std[0, 0].item() < 1.1 * widened


def test_weak_correlations_change_the_product_of_marginals_little():
    mean, std = [[0.1, 0.4], [0.12, 0.5], [0.2, 0.55]], [[0.08, 0.28], [0.06, 0.25], [0.1, 0.28]]
    joint = combine_density(copula(mean, std, [0.05, -0.05, 0.1]))
    marginals = combine_density(TruncatedNormal(tensor(mean), tensor(std)))
    np.testing.assert_allclose((joint.mean - marginals.mean) / marginals.std, 0, atol=3 * DRAWS)
    np.testing.assert_allclose(joint.std, marginals.std, rtol=DRAWS)


def test_copulas_of_several_networks_are_multiplied_with_the_moments_of_their_mixture():
    one = copula([[0.5, 0.4], [0.52, 0.42]], [[0.05, 0.28]] * 2, [0.3, 0.3])
    same = combine_density(Mixture([one, one]))
    np.testing.assert_allclose(same.mean, combine_density(one).mean, rtol=1e-6)
    np.testing.assert_allclose(same.std, combine_density(one).std, rtol=1e-6)
    other = copula([[0.53, 0.4], [0.49, 0.42]], [[0.04, 0.28]] * 2, [0.2, 0.4])
    mixture = Mixture([one, other])
    expected, covariance = precision_weighted(mixture.mean[:, :1].numpy(), mixture.std[:, :1, None].square().numpy())
    combined = combine_density(mixture)
    assert combined.mean[0, 0].item() == pytest.approx(expected[0], abs=0.3 * covariance.item() ** 0.5)


def test_a_product_that_lies_where_no_posterior_is_is_refused(monkeypatch):
    density = copula([[0.4, 0.5], [0.42, 0.5]], [[0.02, 0.02]] * 2, [0.5, 0.5])
    elsewhere = GaussianCopula(density.mean + 0.2, density.std, density.factor)
    multiplied = product_density._product_of_copulas
    monkeypatch.setattr(product_density, "_product_of_copulas", lambda _: multiplied(elsewhere))
    with pytest.raises(UserError, match=r"lies where they are exp\(\d+\) times less likely") as refused:
        combine_density(density)
    assert "\n" not in str(refused.value)


def test_many_flat_correlated_posteriors_stay_flat():
    """The product of so many copulas would have no integral at the corners of the prior."""
    combined = combine_density(copula([[0.5, 0.5]] * 40, [[0.2886, 0.2886]] * 40, [0.6] * 40))
    np.testing.assert_allclose(combined.mean, 0.5, atol=0.02)
    np.testing.assert_allclose(combined.std, 12**-0.5, rtol=0.05)


class Tilted(TruncatedNormal):
    """A joint posterior of another kind: product of truncated normals, told as joint."""

    is_joint = True

    @property
    def covariance(self):
        return self.std.square().diag_embed()


def test_joint_posteriors_of_any_kind_are_multiplied_by_their_densities():
    mean, std = tensor([[0.3, 0.1], [0.35, 0.05], [0.32, 0.2]]), tensor([[0.05, 0.09], [0.04, 0.04], [0.1, 0.15]])
    expected, combined = combine_density(TruncatedNormal(mean, std)), combine_density(Tilted(mean, std))
    assert combined.is_joint
    np.testing.assert_allclose(combined.mean, expected.mean, atol=DRAWS * expected.std.max())
    np.testing.assert_allclose(combined.std, expected.std, rtol=DRAWS)
    theta = expected.quantile(0.3)
    np.testing.assert_allclose(combined.log_prob(theta), expected.log_prob(theta), atol=DRAWS)


def flows(mean, std, spread, correlation):
    """Posteriors of a flow whose scores have this spread, in the place of 1, and correlation."""
    pytest.importorskip("zuko")
    from fieldlevel.estimators.flow_density import FlowDensity  # noqa: PLC0415
    from fieldlevel.estimators.score_flow import ScoreFlow  # noqa: PLC0415

    flow = ScoreFlow(2, 1, "spline", n_transforms=1, n_hidden=4, n_bins=4).double()
    numbers = torch.zeros(len(mean), flow.n_numbers, dtype=torch.float64)
    numbers[:, 3:5], numbers[:, 5] = np.log(np.expm1(spread) / np.expm1(1.0)), correlation / (1 - correlation**2) ** 0.5
    return FlowDensity(flow, numbers, TruncatedNormal(tensor(mean), tensor(std)))


def test_flows_that_are_normal_are_multiplied_as_normals():
    mean, std = [[0.5, 0.5], [0.52, 0.49]], [[0.03, 0.03], [0.02, 0.05]]
    density = flows(mean, std, 1.0, 0.6)
    expected, covariance = precision_weighted(density.mean.numpy(), density.covariance.numpy())
    combined = combine_density(density)
    np.testing.assert_allclose(combined.mean[0], expected, atol=DRAWS * covariance[0, 0] ** 0.5)
    np.testing.assert_allclose(combined.covariance[0], covariance, rtol=DRAWS, atol=DRAWS * covariance[0, 0])


@pytest.mark.parametrize("is_mixture", [False, True])
def test_flows_that_have_no_bound_at_the_corners_of_the_prior_are_multiplied(is_mixture):
    """One parameter is nearly as uncertain as the prior; by their densities some draws at its edges were all."""
    density = flows([[0.5, 0.5], [0.52, 0.45], [0.49, 0.55]] * 2, [[0.03, 0.25]] * 6, 1.3, 0.5)
    log_corner = density.log_prob(torch.zeros(6, 2)).min()
    assert log_corner > density.log_prob(density.mean).max()
    combined = combine_density(Mixture([density, density]) if is_mixture else density)
    assert combined.mean[0, 0].item() == pytest.approx(density.mean[:, 0].mean().item(), abs=0.02)
    assert 0.2 < combined.mean[0, 1].item() < 0.8


def test_a_joint_posterior_of_independent_parameters_is_that_of_the_marginals():
    mean, std = [[0.1, 0.5], [0.12, 0.5]], [[0.08, 0.28], [0.06, 0.25]]
    joint = combine_density(copula(mean, std, [0.0, 0.0]))
    marginals = combine_density(TruncatedNormal(tensor(mean), tensor(std)))
    np.testing.assert_allclose(joint.mean, marginals.mean, atol=DRAWS * marginals.std.max())
    np.testing.assert_allclose(joint.std, marginals.std, rtol=DRAWS)
    np.testing.assert_allclose(joint.quantile(0.9), marginals.quantile(0.9), atol=2 * DRAWS * marginals.std.max())


@pytest.mark.parametrize("is_joint", [False, True])
def test_the_order_of_maps_does_not_matter(is_joint):
    mean, std = tensor([[0.5, 0.4], [0.45, 0.42], [0.48, 0.47]]), tensor([[0.05, 0.03], [0.04, 0.05], [0.06, 0.06]])
    density = copula(mean.tolist(), std.tolist(), [0.5, -0.2, 0.9]) if is_joint else TruncatedNormal(mean, std)
    one, other = combine_density(density), combine_density(density.select([2, 0, 1]))
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
    np.testing.assert_allclose(one.std, other.std, rtol=1e-5)


def test_one_map_stays_what_it_is():
    density = TruncatedNormal(tensor([[0.5]]), tensor([[0.1]]))
    assert combine_density(density) is density


@pytest.mark.parametrize("is_joint", [False, True])
def test_maps_that_exclude_each_other_are_refused(is_joint):
    mean, std = [[0.2, 0.5], [0.8, 0.5]], [[0.01, 0.1]] * 2
    density = copula(mean, std, [0.0, 0.0]) if is_joint else TruncatedNormal(tensor(mean), tensor(std))
    with pytest.raises(UserError, match="exclude each other"):
        combine_density(density)


def test_a_product_that_cannot_be_drawn_from_is_refused(monkeypatch):
    density = copula([[0.4, 0.5], [0.6, 0.5]], [[0.05, 0.1]] * 2, [0.0, 0.0])
    monkeypatch.setattr(product_density, "_LEAST_EFFECTIVE", 20_000)
    with pytest.raises(UserError, match=r"of 10000 draws count: they exclude each other, or pile up at an edge"):
        combine_density(density)


@pytest.fixture
def three():
    layout = Layout().select(["Omega_m", "sigma_8"])
    density = TruncatedNormal(tensor([[0.5, 0.5], [0.55, 0.5], [0.6, 0.4]]), tensor([[0.1, 0.1]] * 3))
    return Posterior(density, layout)


def test_maps_of_different_boxes_are_combined_in_physical_units(three):
    combined = three.combine(simulations=[4, 7, 9])
    assert len(combined) == 1
    assert combined.std[0, 0] == pytest.approx(0.04 / 3**0.5, rel=1e-3)
    assert combined.mean[0, 0] == pytest.approx(0.1 + 0.4 * 0.55, rel=1e-3)
    assert combined[0].sample(7).shape == (7, 1, 2)
    known = Posterior(three.density, three.layout, simulations=np.array(["a", "b", "c"]))
    np.testing.assert_array_equal(known.combine().mean, combined.mean)


def test_maps_of_one_box_are_refused_with_the_reason(three):
    with pytest.raises(UserError) as refused:
        three.combine(simulations=[4, 7, 4])
    for words in ("maps 0, 2 are of one box (simulation 4)", "share all of its matter", "hold Omega_m exactly"):
        assert words in str(refused.value)


def test_nobody_guesses_which_maps_share_a_box(three):
    with pytest.raises(UserError, match=r"nobody says which of the 3 maps share a box; give simulations=\[\.\.\.\]"):
        three.combine()
    for wrong in ([1, 2], 3, [[1], [2], [3]]):
        with pytest.raises(UserError, match="for 3 maps; give the number of the simulation of each map"):
            three.combine(simulations=wrong)
    assert len(three[0].combine()) == 1


@pytest.fixture(params=["grid", "product"])
def combined(request):
    if request.param == "grid":
        return combine_density(TruncatedNormal(tensor([[0.3, 0.1], [0.32, 0.2]]), tensor([[0.05, 0.09]] * 2)))
    return combine_density(copula([[0.3, 0.1], [0.32, 0.2]], [[0.05, 0.09]] * 2, [0.5, 0.5]))


def test_quantiles_samples_and_densities_of_a_product_agree(combined):
    samples = combined.sample(20_000, seed=2)
    assert samples.shape == (20_000, 1, 2)
    np.testing.assert_allclose(samples.mean(0), combined.mean, atol=DRAWS * combined.std.max())
    np.testing.assert_allclose(samples.std(0), combined.std, rtol=DRAWS)
    for p in (0.05, 0.5, 0.9):
        np.testing.assert_allclose(combined.marginal_cdf(combined.quantile(p)), p, atol=2e-3)
    several = combined.marginal_cdf(combined.quantile(torch.tensor([0.1, 0.7]).view(2, 1, 1)))
    np.testing.assert_allclose(several[:, 0, 0], [0.1, 0.7], atol=2e-3)
    assert combined.log_prob(tensor([[1.2, 0.1]])).isneginf().all()
    torch.testing.assert_close(combined.sample(3, seed=5), combined.sample(3, seed=5))


def test_rows_of_products(combined):
    both = type(combined).cat([combined, combined])
    assert both.sample(4).shape == (4, 2, 2)
    theta = combined.quantile(0.4)
    np.testing.assert_allclose(both.log_prob(theta.expand(2, 2))[1], combined.log_prob(theta)[0])
    np.testing.assert_allclose(both.select([1]).marginal_cdf(theta), combined.marginal_cdf(theta))
    assert isinstance(both.select(slice(0, 1)), GridDensity | ProductDensity)


def test_a_histogram_knows_its_moments():
    edges, mass = tensor([[[0.0, 0.0, 0.5, 1.0, 1.0]]]), tensor([[[0.0, 3.0, 1.0, 0.0]]])
    density = GridDensity(edges, mass)
    assert density.mean.item() == pytest.approx(0.375)
    assert density.std.item() == pytest.approx((0.75 * 0.125**2 + 0.25 * 0.375**2 + 0.25 / 12) ** 0.5)
    for at, height in ((0.0, 1.5), (0.25, 1.5), (0.75, 0.5), (1.0, 0.5)):
        assert density.log_prob(tensor([[at]])).exp().item() == pytest.approx(height)
    assert density.marginal_cdf(tensor([[0.75]])).item() == pytest.approx(0.875)
    assert [density.quantile(p).item() for p in (0.0, 0.375, 0.875, 1.0)] == pytest.approx([0.0, 0.25, 0.75, 1.0])
