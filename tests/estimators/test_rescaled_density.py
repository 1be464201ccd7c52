"""A density made wider or narrower: standard deviations, order, mass, and the edges of the prior."""

import pytest
import torch

from fieldlevel.estimators.densities import GaussianCopula, Mixture, TruncatedNormal
from fieldlevel.estimators.rescaled_density import RescaledDensity, rescaled

MEAN, STD = torch.tensor([[0.5, 0.3], [0.9, 0.6]]), torch.tensor([[0.02, 0.05], [0.08, 0.03]])
SCALE = torch.tensor([[1.5, 0.7], [1.2, 2.0]])
FACTOR = torch.linalg.cholesky(torch.tensor([[1.0, 0.6], [0.6, 1.0]])).expand(2, 2, 2)


def test_marginals_and_copulas_get_other_standard_deviations():
    wide = rescaled(TruncatedNormal(MEAN, STD), SCALE)
    torch.testing.assert_close(wide.std, (STD * SCALE).double())
    torch.testing.assert_close(wide.mean, MEAN.double())
    copula = rescaled(GaussianCopula(MEAN, STD, FACTOR), SCALE)
    torch.testing.assert_close(copula.covariance[:, 0, 1], (0.6 * (STD * SCALE).prod(1)).double())


@pytest.fixture
def mixture():
    return Mixture([GaussianCopula(MEAN, STD, FACTOR), GaussianCopula(MEAN, 0.8 * STD, FACTOR)])


def test_any_other_density_is_stretched_about_its_medians(mixture):
    wide = rescaled(mixture, SCALE)
    assert isinstance(wide, RescaledDensity)
    torch.testing.assert_close(wide.quantile(0.5), mixture.quantile(0.5))
    torch.testing.assert_close(wide.std[0], mixture.std[0] * SCALE[0], rtol=0.02, atol=0)
    torch.testing.assert_close(wide.marginal_cdf(wide.quantile(0.2)), torch.full((2, 2), 0.2, dtype=torch.float64))
    samples = wide.sample(4000, seed=1)
    assert ((samples >= 0) & (samples <= 1)).all()
    torch.testing.assert_close(samples.std(0), wide.std, rtol=0.06, atol=0)
    torch.testing.assert_close(torch.corrcoef(samples[:, 0].T)[0, 1].item(), 0.6, rtol=0.1, atol=0)


def test_its_density_is_that_of_its_samples(mixture):
    wide = rescaled(mixture, SCALE)
    one = RescaledDensity(TruncatedNormal(MEAN[:, :1], STD[:, :1]), SCALE[:, :1].double())
    grid = (torch.arange(20_000, dtype=torch.float64) + 0.5)[:, None, None].expand(-1, 2, 1) / 20_000
    mass = one.log_prob(grid).exp()
    torch.testing.assert_close(mass.mean(0), torch.ones(2, dtype=torch.float64), rtol=1e-3, atol=0)
    torch.testing.assert_close((mass * grid[..., 0]).mean(0), one.mean[:, 0], rtol=1e-3, atol=0)
    assert wide.log_prob(torch.full((2, 2), 1.1)).isneginf().all()


def test_a_scale_of_one_changes_nothing_and_parts_are_those_of_the_whole(mixture):
    same = RescaledDensity(mixture, torch.ones(2, 2, dtype=torch.float64))
    theta = torch.tensor([[0.51, 0.28], [0.88, 0.61]])
    torch.testing.assert_close(same.log_prob(theta), mixture.log_prob(theta))
    wide = rescaled(mixture, SCALE)
    again = RescaledDensity.cat([wide.select(slice(0, 1)), wide.select([1])])
    torch.testing.assert_close(again.log_prob(theta), wide.log_prob(theta))
