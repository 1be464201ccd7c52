"""Heads of joint posteriors: new ones tell the posterior of their moments, and learn scores once these stand."""

import pytest
import torch
from torch import Tensor, nn

from fieldlevel.estimators.densities import GaussianCopula, TruncatedNormal
from fieldlevel.estimators.flow_head import FlowHead
from fieldlevel.estimators.gaussian_head import GaussianHead
from fieldlevel.estimators.joint_head import JointHead, scores
from fieldlevel.estimators.rescaled_density import rescaled

# Sums of a few float32 numbers of order one.
SINGLE = 1e-4


@pytest.fixture(params=[GaussianHead, FlowHead])
def head(request) -> JointHead:
    if request.param is FlowHead:
        pytest.importorskip("zuko")
    torch.manual_seed(0)
    return request.param(8, 3)


@pytest.fixture
def wild(head) -> JointHead:
    """One that has learnt something, if nothing good."""
    for weight in head.joining_parameters():
        nn.init.normal_(weight, std=0.3)
    head.begin_joining()
    return head


def features(n: int = 9) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(1))


def targets(n: int = 9) -> Tensor:
    return torch.rand(n, 3, generator=torch.Generator().manual_seed(2))


def marginals(head: JointHead) -> TruncatedNormal:
    mean, std, _ = head(features())
    return TruncatedNormal(mean, std)


def test_a_new_one_tells_the_posterior_of_its_moments(head):
    found = head.density(head(features()))
    torch.testing.assert_close(found.log_prob(targets()), marginals(head).log_prob(targets()))
    torch.testing.assert_close(found.std, marginals(head).std, rtol=2e-3, atol=0.0)


def test_until_it_is_told_it_learns_the_moments_alone(head):
    mean, std, _ = answer = head(features())
    sums = head.sums(answer, targets())
    assert torch.equal(head.loss(sums), head.moments.loss(head.moments.sums((mean, std), targets())))
    assert torch.equal(head.warm_up_loss(sums), head.moments.warm_up_loss(sums))
    head.loss(sums).backward()
    assert all(weight.grad is None for weight in head.joining_parameters())
    assert all((weight.grad != 0).any() for weight in head.moments.parameters())


def test_told_it_learns_all_but_the_moments(wild):
    wild.loss(wild.sums(wild(features()), targets())).backward()
    assert all((weight.grad != 0).any() for weight in wild.joining_parameters())
    assert all(weight.grad is None for weight in wild.moments.parameters())


def test_its_loss_is_minus_the_logarithm_of_its_density(wild):
    answer = wild(features())
    exact = -wild.density(answer).log_prob(targets()).mean() / 3
    assert (wild.density(answer).log_prob(targets()) - marginals(wild).log_prob(targets())).abs().max() > 0.1
    assert wild.loss(wild.sums(answer, targets())).item() == pytest.approx(exact.item(), rel=SINGLE)


def test_maps_without_targets_do_not_count(wild):
    theta = targets()
    theta[4:] = torch.nan
    mean, std, numbers = wild(features())
    numbers.retain_grad()
    sums = wild.sums((mean, std, numbers), theta)
    torch.testing.assert_close(sums, wild.sums(tuple(part[:4] for part in (mean, std, numbers)), theta[:4]))
    wild.loss(sums).backward()
    assert numbers.grad.isfinite().all()
    assert (numbers.grad[4:] == 0).all()


def test_nothing_known_is_no_loss(wild):
    sums = wild.sums(wild(features()), torch.full((9, 3), torch.nan))
    assert wild.loss(sums).item() == wild.warm_up_loss(sums).item() == 0.0


def test_targets_far_from_a_narrow_posterior_and_at_the_edges_have_a_finite_loss(wild):
    _, _, numbers = wild(features())
    mean, std = torch.full((9, 3), 0.5), torch.full((9, 3), 1e-7)
    theta = torch.tensor([0.0, 1.0, 0.9]).expand(9, 3)
    loss = wild.loss(wild.sums((mean, std, numbers), theta))
    loss.backward()
    assert loss.isfinite()
    assert all(weight.grad.isfinite().all() for weight in wild.joining_parameters())


def test_autocast_leaves_its_precision(wild):
    plain = wild.sums(wild(features()), targets())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(plain, wild.sums(wild(features()), targets()))


def test_a_calibration_widens_the_marginals_and_leaves_what_joins_them(wild):
    answer = mean, std, numbers = wild(features())
    with torch.no_grad():
        mean, std, scale = 0.5 + mean / 100, std / 100, torch.tensor([1.5, 0.8, 1.2]).expand(9, 3)
        answer = (mean, std, numbers)
        narrow, wide = wild.density(answer), rescaled(wild.density(answer), scale)
        expected = wild.density((mean, std * scale, numbers))
    torch.testing.assert_close(wide.std / narrow.std, scale.double(), rtol=1e-3, atol=0.0)
    torch.testing.assert_close(wide.log_prob(mean), expected.log_prob(mean))


def test_scores_are_normal_numbers_of_the_posterior_and_zero_where_nothing_is_known():
    mean, std = torch.full((20_000, 2), 0.1), torch.full((20_000, 2), 0.08)
    theta = TruncatedNormal(mean[:1], std[:1]).sample(20_000, seed=3)[:, 0].float()
    theta[::4, 1] = torch.nan
    known, score, log_marginal = scores(mean, std, theta)
    assert torch.equal(known, ~theta.isnan())
    assert (score[::4, 1] == 0).all()
    assert (log_marginal[::4, 1] == 0).all()
    values = score[known]
    assert values.mean().item() == pytest.approx(0.0, abs=0.03)
    assert values.std().item() == pytest.approx(1.0, abs=0.03)
    expected = GaussianCopula(mean[:1], std[:1], torch.eye(2)[None]).log_prob(theta[1:2].double())
    assert log_marginal[1].sum().item() == pytest.approx(expected.item(), rel=SINGLE)
