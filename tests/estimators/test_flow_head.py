"""The head of a normalising flow: exact densities of scores, and targets that are not known."""

import sys

import pytest
import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.build import build_estimator, check_imports
from fieldlevel.training.train_spec import TrainSpec

pytest.importorskip("zuko")

from fieldlevel.estimators.flow_head import FlowHead
from fieldlevel.estimators.joint_head import scores
from fieldlevel.estimators.score_flow import ScoreFlow

# Of float64, where the flow may stretch a thousand times.
EXACT = 1e-9


def wild(kind: str = "spline", n_parameters: int = 3) -> ScoreFlow:
    """A flow far from the one that is random, in float64."""
    torch.manual_seed(2)
    flow = ScoreFlow(n_parameters, 2, kind, n_transforms=2, n_hidden=8, n_bins=4).double()
    for weight in flow.transforms.parameters():
        nn.init.normal_(weight, std=0.3)
    return flow


def numbers(flow: ScoreFlow, n: int = 5) -> Tensor:
    return torch.randn(n, flow.n_numbers, generator=torch.Generator().manual_seed(3)).double()


@pytest.mark.parametrize("kind", ["spline", "affine"])
@pytest.mark.parametrize("n_parameters", [1, 2, 3])
@torch.no_grad()
def test_the_density_is_that_of_the_points(kind, n_parameters):
    """r = log N(u) - log |dz / du| - log N(z) with z from u: the way back, by automatic differentiation."""
    flow = wild(kind, n_parameters)
    given, u = numbers(flow), torch.randn(5, n_parameters, dtype=torch.float64) / 2
    score, normal = flow.score_of(u, given), torch.distributions.Normal(0.0, 1.0)
    with torch.enable_grad():
        jacobians = torch.stack(
            [
                torch.autograd.functional.jacobian(lambda x, i=i: _point(flow, x, given[i : i + 1]), u[i])
                for i in range(5)
            ]
        )
    expected = (normal.log_prob(u) - normal.log_prob(score)).sum(1) - torch.linalg.slogdet(jacobians)[1]
    torch.testing.assert_close(flow.log_ratio(score, given), expected, rtol=1e-6, atol=1e-6)


def _point(flow: ScoreFlow, u: Tensor, given: Tensor) -> Tensor:
    """Score of u by zuko's own inverse, one map."""
    context, location, triangle = flow._parts(given)
    z = u[None]
    for transform in reversed(flow.transforms):
        z = transform(context).inv(z)
    return (location + (triangle @ z[..., None]).squeeze(-1))[0]


@torch.no_grad()
def test_points_are_those_of_zuko():
    flow = wild()
    given, u = numbers(flow), torch.randn(5, 3, dtype=torch.float64)
    expected = torch.stack([_point(flow, u[i], given[i : i + 1]) for i in range(5)])
    torch.testing.assert_close(flow.score_of(u, given), expected, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("kind", ["spline", "affine"])
@torch.no_grad()
def test_a_new_flow_with_numbers_of_zero_is_none(kind):
    flow, score = ScoreFlow(3, 2, kind, n_transforms=2, n_hidden=8, n_bins=4).double(), 4 * torch.randn(9, 3).double()
    given = torch.zeros(9, flow.n_numbers, dtype=torch.float64)
    torch.testing.assert_close(flow.log_ratio(score, given), score.new_zeros(9), rtol=0.0, atol=EXACT)
    torch.testing.assert_close(flow.score_of(score, given), score, rtol=EXACT, atol=EXACT)


@pytest.fixture
def head() -> FlowHead:
    torch.manual_seed(0)
    head = FlowHead(8, 3, n_hidden=8).eval()
    for weight in head.joining_parameters():
        nn.init.normal_(weight, std=0.3)
    head.begin_joining()
    return head


def features(n: int = 9) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(1))


def test_maps_with_some_targets_count(head):
    theta = torch.rand(9, 3)
    theta[:4, 1] = torch.nan
    mean, std, numbers = head(features())
    known, score, _ = scores(mean, std, theta)
    of_ratio, _, n_known = head.sums((mean, std, numbers), theta)
    assert n_known.tolist() == [9.0, 5.0, 9.0]
    expected = head.flow.log_ratio(head._completed(score, known), numbers).sum()
    assert of_ratio.sum().item() == pytest.approx(expected.item(), rel=1e-4)


def test_location_and_triangle_learn_the_normal_alone():
    """Whatever T is, so that T always reads what has mean 0 and variance 1."""
    flow, score = wild(), torch.randn(5, 3, dtype=torch.float64)
    given = numbers(flow).requires_grad_()
    (moved,) = torch.autograd.grad(-flow.log_ratio(score, given).sum(), given)
    context, location, triangle = flow._parts(given)
    normal = torch.distributions.MultivariateNormal(location, scale_tril=triangle)
    (expected,) = torch.autograd.grad(-normal.log_prob(score).sum(), given)
    n_context = context.shape[1]
    torch.testing.assert_close(moved[:, n_context:], expected[:, n_context:])
    assert (moved[:, :n_context] != 0).any()


def test_unknown_targets_come_from_their_marginals(head):
    score, known = torch.randn(4000, 3), torch.ones(4000, 3, dtype=torch.bool)
    score[:, 1], known[:, 1] = 0.0, False
    filled = head._completed(score, known)
    assert torch.equal(filled[:, [0, 2]], score[:, [0, 2]])
    assert filled[:, 1].mean().item() == pytest.approx(0.0, abs=0.06)
    assert filled[:, 1].var().item() == pytest.approx(1.0, abs=0.08)
    assert torch.corrcoef(filled.T).sub(torch.eye(3)).abs().max() < 0.06
    score[:, 2], known[:, 2] = 0.0, False
    again = head._completed(score, known)
    assert torch.corrcoef(again.T).sub(torch.eye(3)).abs().max() < 0.06
    assert torch.equal(again, head._completed(score, known))


def test_moments_are_those_of_its_density(head):
    answer = head(features())
    mean, std = head.posterior(answer)
    density = head.density(answer)
    torch.testing.assert_close(mean, density.mean.float())
    torch.testing.assert_close(std, density.std.float())
    again, _ = head.posterior(answer)
    assert torch.equal(mean, again)


def test_a_density_of_inference_mode_is_of_use_outside(head):
    with torch.inference_mode():
        density = head.density(head(features()))
    assert density.log_prob(torch.rand(9, 3)).isfinite().all()
    assert density.select([0, 2]).sample(3).shape == (3, 2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "planar"}, "kind = planar: allowed are spline and affine"),
        ({"n_hidden": 0}, "n_hidden = 0: must be at least 1"),
        ({"n_transforms": 10**6}, "n_transforms = 1000000: must be at most 16"),
        ({"n_bins": "many"}, "n_bins = 'many': must be a whole number"),
        ({"frozen": False}, "frozen = False: must be True; a flow that learns with the network diverges"),
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
