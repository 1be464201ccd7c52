"""The loss of the head of a multivariate normal is its exact logarithm, whatever targets are known."""

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from fieldlevel.estimators.correlation import LONGEST_ROW, CorrelationFactor, whitened_terms
from fieldlevel.estimators.gaussian_head import LEAST_STD, GaussianHead

# Sums of a few float32 numbers of order one.
SINGLE = 1e-4


@pytest.fixture
def head() -> GaussianHead:
    torch.manual_seed(0)
    return GaussianHead(8, 4)


def features(n: int = 9) -> Tensor:
    return 2 * torch.randn(n, 8, generator=torch.Generator().manual_seed(1))


def targets(n: int = 9) -> Tensor:
    return torch.rand(n, 4, generator=torch.Generator().manual_seed(2))


def normal(answer: tuple[Tensor, Tensor, Tensor], known: Tensor, i: int) -> MultivariateNormal:
    """Of the known targets of map i, from rows and columns of the covariance."""
    mean, std, factor = (part[i].double().detach() for part in answer)
    covariance = factor @ factor.T * std * std[:, None]
    return MultivariateNormal(mean[known], covariance[known][:, known])


def test_it_is_the_density_of_the_normal(head):
    answer, theta = head(features()), targets()
    everything = torch.ones(4, dtype=torch.bool)
    exact = sum(normal(answer, everything, i).log_prob(theta[i].double()) for i in range(9))
    assert head.loss(head.sums(answer, theta)).item() == pytest.approx(-exact.item() / 9 / 4, rel=SINGLE)


def test_unknown_targets_are_left_out_exactly(head):
    answer, theta = head(features()), targets()
    theta[2, 1] = theta[5, 0] = theta[5, 3] = theta[6, 1:] = theta[8] = torch.nan
    exact = 0.0
    for i in range(8):
        known = ~theta[i].isnan()
        exact += normal(answer, known, i).log_prob(theta[i][known].double()).item()
    sums = head.sums(answer, theta)
    assert sums[0].sum().item() == pytest.approx(-exact, rel=SINGLE)
    assert sums[2].tolist() == [7.0, 6.0, 7.0, 6.0]


def test_gradients_of_unknown_targets_are_none(head):
    theta = targets()
    theta[:, 1] = torch.nan
    theta[3] = torch.nan
    answer = [part.detach().requires_grad_() for part in head(features())]
    head.loss(head.sums(tuple(answer), theta)).backward()
    for part in answer:
        assert part.grad.isfinite().all()
        assert (part.grad[3] == 0).all()
    assert (answer[0].grad[:, 1] == 0).all()
    assert (answer[1].grad[:, 1] == 0).all()
    assert (answer[2].grad[:, 1] == 0).all()


def test_nothing_known_is_no_loss(head):
    sums = head.sums(head(features()), torch.full((9, 4), torch.nan))
    assert head.loss(sums).item() == 0.0
    assert head.warm_up_loss(sums).item() == 0.0


def test_parameters_of_all_scales_have_gradients_of_the_same_size_in_their_own_widths():
    """As with the logarithms of the letter's loss, none drowns the others."""
    std = torch.tensor([[0.003, 0.03, 0.3]]).expand(64, -1)
    mean = torch.full((64, 3), 0.5, requires_grad=True)
    theta = 0.5 + std * torch.randn(64, 1, generator=torch.Generator().manual_seed(0))
    head = GaussianHead(2, 3)
    head.loss(head.sums((mean, std, torch.eye(3).expand(64, -1, -1)), theta)).backward()
    sizes = (mean.grad * std).square().mean(0).sqrt()
    torch.testing.assert_close(sizes, sizes[0].expand(3))


def test_warm_up_has_no_gradient_for_the_covariance(head):
    answer = [part.detach().requires_grad_() for part in head(features())]
    loss = head.warm_up_loss(head.sums(tuple(answer), targets()))
    mean, *others = torch.autograd.grad(loss, answer, allow_unused=True, materialize_grads=True)
    assert (mean != 0).any()
    assert all((other == 0).all() for other in others)


def test_correlations_are_ones_whatever_the_numbers():
    factor = CorrelationFactor(5)(torch.randn(200, 10).mul(10.0 ** torch.randint(-2, 6, (200, 1))))
    assert (factor.triu(1) == 0).all()
    correlation = factor.double() @ factor.double().mT
    torch.testing.assert_close(correlation.diagonal(dim1=1, dim2=2), torch.ones(200, 5).double(), rtol=1e-6, atol=0.0)
    assert torch.linalg.eigvalsh(correlation).min() > 0
    assert factor.diagonal(dim1=1, dim2=2).min() > 1 / (2 * LONGEST_ROW + 1)


def test_wild_numbers_have_a_finite_loss(head):
    answer = head(1e4 * features())
    loss = head.loss(head.sums(answer, targets()))
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in head.parameters())
    assert (answer[1] >= LEAST_STD).all()


def test_terms_are_those_of_each_parameter_given_those_before():
    correlation = torch.tensor([[[1.0, 0.6], [0.6, 1.0]]])
    residual = torch.tensor([[1.0, -1.0]])
    first, second = whitened_terms(residual, correlation, torch.ones(1, 2, dtype=torch.bool))[0].tolist()
    assert first == pytest.approx(0.5)
    assert second == pytest.approx(((-1.0 - 0.6) / 0.8) ** 2 / 2 + torch.tensor(0.8).log().item())


def test_one_parameter_has_no_correlations():
    head = GaussianHead(3, 1)
    mean, std, factor = head(torch.zeros(2, 3))
    assert mean.shape == std.shape == (2, 1)
    assert (factor == 1).all()
    assert head.density((mean, std, factor)).covariance.shape == (2, 1, 1)


def test_autocast_leaves_its_precision(head):
    plain = head.sums(head(features()), targets())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = head.sums(head(features()), targets())
    assert torch.equal(plain, same)
