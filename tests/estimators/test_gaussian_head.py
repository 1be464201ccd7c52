"""The loss of the head of a multivariate normal is its exact logarithm, whatever targets are known."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from fieldlevel.estimators.correlation import LONGEST_ROW, CorrelationFactor, whitened_terms
from fieldlevel.estimators.gaussian_head import GaussianHead
from fieldlevel.estimators.joint_head import Answer

# Sums of a few float32 numbers of order one.
SINGLE = 1e-4


@pytest.fixture
def head() -> GaussianHead:
    torch.manual_seed(0)
    head = GaussianHead(8, 4)
    head.begin_joining()
    return head


def answer(n: int = 9) -> Answer:
    """Far from the edges of the prior, where the density is that of the normal."""
    generator = torch.Generator().manual_seed(1)
    mean, std = 0.4 + 0.2 * torch.rand(n, 4, generator=generator), 0.005 + 0.02 * torch.rand(n, 4, generator=generator)
    return mean, std, torch.randn(n, 6, generator=generator)


def targets(n: int = 9) -> Tensor:
    mean, std, _ = answer(n)
    return mean + std * torch.randn(n, 4, generator=torch.Generator().manual_seed(2))


def normal(head: GaussianHead, known: Tensor, i: int) -> MultivariateNormal:
    """Of the known targets of map i, from rows and columns of the covariance."""
    mean, std, numbers = answer()
    factor = head.factor(numbers)[i].double()
    covariance = factor @ factor.T * std[i].double() * std[i].double()[:, None]
    return MultivariateNormal(mean[i].double()[known], covariance[known][:, known])


def test_it_is_the_density_of_the_normal(head):
    theta, everything = targets(), torch.ones(4, dtype=torch.bool)
    exact = sum(normal(head, everything, i).log_prob(theta[i].double()) for i in range(9))
    assert head.loss(head.sums(answer(), theta)).item() == pytest.approx(-exact.item() / 9 / 4, rel=SINGLE)
    density = head.density(answer())
    torch.testing.assert_close(density.covariance[2], normal(head, everything, 2).covariance_matrix)


def test_unknown_targets_are_left_out_exactly(head):
    theta = targets()
    theta[2, 1] = theta[5, 0] = theta[5, 3] = theta[6, 1:] = theta[8] = torch.nan
    exact = 0.0
    for i in range(8):
        known = ~theta[i].isnan()
        exact += normal(head, known, i).log_prob(theta[i][known].double()).item()
    sums = head.sums(answer(), theta)
    assert sums[:2].sum().item() == pytest.approx(exact, rel=SINGLE)
    assert sums[2].tolist() == [7.0, 6.0, 7.0, 6.0]


def test_gradients_of_unknown_targets_are_none(head):
    theta = targets()
    theta[:, 1] = torch.nan
    theta[3] = torch.nan
    mean, std, numbers = answer()
    numbers.requires_grad_()
    head.loss(head.sums((mean, std, numbers), theta)).backward()
    assert numbers.grad.isfinite().all()
    assert (numbers.grad[3] == 0).all()
    assert (numbers.grad[:, 0] == 0).all()  # of the second parameter with the first
    assert (numbers.grad[:, 5] != 0).any()


def test_moments_and_standard_deviations_are_those_of_the_moment_head(head):
    features = torch.randn(9, 8)
    mean, std = head.posterior(head(features))
    assert all(torch.equal(*pair) for pair in zip((mean, std), head.moments(features), strict=True))


def test_correlations_are_ones_whatever_the_numbers():
    factor = CorrelationFactor(5)(torch.randn(200, 10).mul(10.0 ** torch.randint(-2, 6, (200, 1))))
    assert (factor.triu(1) == 0).all()
    correlation = factor.double() @ factor.double().mT
    torch.testing.assert_close(correlation.diagonal(dim1=1, dim2=2), torch.ones(200, 5).double(), rtol=1e-6, atol=0.0)
    assert torch.linalg.eigvalsh(correlation).min() > 0
    assert factor.diagonal(dim1=1, dim2=2).min() > 1 / (2 * LONGEST_ROW + 1)


def test_wild_numbers_have_a_finite_loss(head):
    mean, std, numbers = answer()
    numbers = (1e4 * numbers).requires_grad_()
    loss = head.loss(head.sums((mean, std, numbers), targets()))
    loss.backward()
    assert loss.isfinite()
    assert numbers.grad.isfinite().all()


def test_terms_are_those_of_each_parameter_given_those_before():
    correlation = torch.tensor([[[1.0, 0.6], [0.6, 1.0]]])
    residual = torch.tensor([[1.0, -1.0]])
    first, second = whitened_terms(residual, correlation, torch.ones(1, 2, dtype=torch.bool))[0].tolist()
    assert first == pytest.approx(0.5)
    assert second == pytest.approx(((-1.0 - 0.6) / 0.8) ** 2 / 2 + torch.tensor(0.8).log().item())


def test_one_parameter_has_no_correlations():
    head = GaussianHead(3, 1)
    mean, std, numbers = head(torch.zeros(2, 3))
    assert mean.shape == std.shape == (2, 1)
    assert (head.factor(numbers) == 1).all()
    assert head.density((mean, std, numbers)).covariance.shape == (2, 1, 1)


@pytest.mark.parametrize("size", [1e-3, 1.0, 5.0])
def test_a_correlation_matrix_has_numbers_that_tell_it(size):
    torch.manual_seed(0)
    factor = CorrelationFactor(5).double()
    numbers = size * torch.randn(10, dtype=torch.float64)
    (row,) = factor(numbers[None])
    torch.testing.assert_close(factor.numbers_of(row @ row.T), numbers, rtol=1e-6, atol=1e-9)


def test_a_head_starts_from_a_correlation_matrix():
    head, correlation = GaussianHead(4, 3), torch.tensor([[1.0, 0.5, -0.2], [0.5, 1.0, 0.3], [-0.2, 0.3, 1.0]])
    before = head(torch.randn(6, 4))
    head.start_from(correlation)
    density = head.density(head(torch.randn(6, 4)))
    told = density.covariance / density.std[:, :, None] / density.std[:, None, :]
    torch.testing.assert_close(told, correlation.double().expand(6, 3, 3), rtol=0, atol=1e-6)
    assert all((each == 0).all() for each in before[2:])
