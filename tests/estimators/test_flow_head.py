"""The head of a normalising flow: exact densities, targets that are not known, and a flow that learns last."""

import sys

import pytest
import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.build import build_estimator, check_imports
from fieldlevel.training.train_spec import TrainSpec

pytest.importorskip("zuko")

from fieldlevel.estimators.cube_flow import CubeFlow
from fieldlevel.estimators.flow_head import FlowHead

# Of float64, where the flow may stretch a thousand times.
EXACT = 1e-9


def wild(kind: str = "spline", n_parameters: int = 3) -> CubeFlow:
    """A flow far from the one that is random, in float64."""
    torch.manual_seed(2)
    flow = CubeFlow(n_parameters, 2, kind, n_transforms=2, n_hidden=8, n_bins=4).double()
    for weight in flow.transforms.parameters():
        nn.init.normal_(weight, std=0.3)
    return flow


def numbers(flow: CubeFlow, n: int = 5) -> Tensor:
    return torch.randn(n, flow.n_numbers, generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("kind", ["spline", "affine"])
@pytest.mark.parametrize("n_parameters", [1, 2, 3])
@torch.no_grad()
def test_the_density_is_that_of_the_points(kind, n_parameters):
    """log p(theta) = log N(u) - log |d theta / du| with theta from u: the way back, by automatic differentiation."""
    flow = wild(kind, n_parameters)
    given, u = numbers(flow), torch.randn(5, n_parameters, dtype=torch.float64) / 2
    theta = flow.point_of(u, given)
    with torch.enable_grad():
        jacobians = torch.stack(
            [
                torch.autograd.functional.jacobian(lambda x, i=i: _point(flow, x, given[i : i + 1]), u[i])
                for i in range(5)
            ]
        )
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(u).sum(1) - torch.linalg.slogdet(jacobians)[1]
    torch.testing.assert_close(flow.log_prob(theta, given), expected, rtol=1e-6, atol=1e-6)


def _point(flow: CubeFlow, u: Tensor, given: Tensor) -> Tensor:
    """theta of u by zuko's own inverse, one map."""
    context, location, triangle = flow._parts(given)
    z = u[None]
    for transform in reversed(flow.transforms):
        z = transform(context).inv(z)
    return torch.special.ndtr(location + (triangle @ z[..., None]).squeeze(-1))[0]


@torch.no_grad()
def test_points_are_those_of_zuko():
    flow = wild()
    given, u = numbers(flow), torch.randn(5, 3, dtype=torch.float64)
    expected = torch.stack([_point(flow, u[i], given[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(flow.point_of(u, given), expected, rtol=EXACT, atol=EXACT)


@torch.no_grad()
def test_a_flow_that_is_none_is_the_prior():
    flow = wild("affine")
    for weight in flow.transforms.parameters():
        nn.init.zeros_(weight)
    given = torch.zeros(4, flow.n_numbers, dtype=torch.float64)
    given[:, 5:8] = torch.tensor(1.0 - 1e-3, dtype=torch.float64).expm1().log()  # scales of one
    found = flow.log_prob(torch.rand(4, 3, dtype=torch.float64), given)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0.0, atol=1e-9)


@pytest.fixture
def head() -> FlowHead:
    torch.manual_seed(0)
    return FlowHead(8, 3, n_hidden=8).eval()


def features(n: int = 9) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(1))


def test_its_loss_is_minus_the_logarithm_of_its_density(head):
    theta = torch.rand(9, 3)
    answer = head(features())
    exact = -head.density(answer).log_prob(theta).mean() / 3
    assert head.loss(head.sums(answer, theta)).item() == pytest.approx(exact.item(), rel=1e-4)


def test_maps_without_targets_do_not_count(head):
    theta = torch.rand(9, 3)
    theta[4:] = torch.nan
    answer = head(features())
    torch.testing.assert_close(head.sums(answer, theta), head.sums((answer[0][:4],), theta[:4]))
    answer[0].retain_grad()
    head.loss(head.sums(answer, theta)).backward()
    assert answer[0].grad.isfinite().all()
    assert (answer[0].grad[4:] == 0).all()


def test_maps_with_some_targets_count(head):
    theta = torch.rand(9, 3)
    theta[:4, 1] = torch.nan
    total, n_maps = head.sums(head(features()), theta).tolist()
    assert n_maps == 9
    assert total == pytest.approx(
        -head.density(head(features())).log_prob(head._completed(theta)).sum().item(), rel=1e-4
    )


def test_location_and_triangle_learn_the_normal_alone():
    """Whatever T is, so that T always reads what has mean 0 and variance 1."""
    flow, theta = wild(), torch.rand(5, 3, dtype=torch.float64)
    given = numbers(flow).requires_grad_()
    (moved,) = torch.autograd.grad(-flow.log_prob(theta, given).sum(), given)
    context, location, triangle = flow._parts(given)
    normal = torch.distributions.MultivariateNormal(location, scale_tril=triangle)
    (expected,) = torch.autograd.grad(-normal.log_prob(torch.special.ndtri(theta)).sum(), given)
    n_context = context.shape[1]
    torch.testing.assert_close(moved[:, n_context:], expected[:, n_context:])
    assert (moved[:, :n_context] != 0).any()


def test_unknown_targets_come_from_the_prior(head):
    theta = torch.rand(4000, 3)
    theta[:, 1] = torch.nan
    for is_training in (False, True):
        filled = head.train(is_training)._completed(theta)
        assert torch.equal(filled[:, [0, 2]], theta[:, [0, 2]])
        assert filled[:, 1].mean().item() == pytest.approx(0.5, abs=0.02)
        assert filled[:, 1].var().item() == pytest.approx(1 / 12, abs=0.005)
        assert torch.corrcoef(filled.T).sub(torch.eye(3)).abs().max() < 0.06
    theta[:, 2] = torch.nan
    apart = head.eval()._completed(theta).diff(dim=1)[:, 1].frac().abs()
    assert apart.var().item() > 0.05
    first = head.eval()._completed(theta)
    assert torch.equal(first, head._completed(theta))
    assert not torch.equal(head.train()._completed(theta), head._completed(theta))


def test_moments_are_those_of_its_density(head):
    answer = head(features())
    mean, std = head.posterior(answer)
    density = head.density(answer)
    torch.testing.assert_close(mean.double(), density.mean)
    torch.testing.assert_close(std.double(), density.std)
    again, _ = head.posterior(answer)
    assert torch.equal(mean, again)


def test_a_density_of_inference_mode_is_of_use_outside(head):
    with torch.inference_mode():
        density = head.density(head(features()))
    assert density.log_prob(torch.rand(9, 3)).isfinite().all()
    assert density.select([0, 2]).sample(3).shape == (3, 2, 3)


def test_a_frozen_flow_learns_once_it_is_told():
    torch.manual_seed(0)
    head, theta = FlowHead(8, 3, frozen=True), torch.rand(9, 3)
    sums = head.sums(head(features()), theta)
    _, *moments = head(features())
    assert torch.equal(head.loss(sums), head.moments.loss(head.moments.sums(tuple(moments), theta)))
    head.loss(sums).backward()
    assert all(weight.grad is None for weight in head.flow.parameters())
    assert all(weight.grad is not None for weight in head.moments.parameters())
    head.zero_grad()
    head.begin_fit()
    head.loss(head.sums(head(features()), theta)).backward()
    assert all(weight.grad is not None for weight in [*head.flow.parameters(), *head.layers.parameters()])
    assert all(weight.grad is None for weight in head.moments.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "planar"}, "kind = planar: allowed are spline and affine"),
        ({"n_hidden": 0}, "n_hidden = 0: must be at least 1"),
        ({"n_transforms": 10**6}, "n_transforms = 1000000: must be at most 16"),
        ({"n_bins": "many"}, "n_bins = 'many': must be a whole number"),
        ({"frozen": 1}, "frozen = 1: must be True or False"),
        ({"dropout": 1.0}, "dropout = 1.0: must be a probability"),
        (
            {"n_layers": 2},
            "those of head = flow are kind, n_transforms, n_hidden, n_bins, n_context, dropout and frozen",
        ),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        build_estimator(TrainSpec(head="flow", head_options=options), (1, 16, 16), 6)


def test_without_zuko_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(UserError, match=r"^head = flow: needs the package zuko; pip install 'fieldlevel\[flows\]'$"):
        check_imports(TrainSpec(head="flow"))
    check_imports(TrainSpec(head="gaussian"))
