"""Laws that hold for every estimator, whatever its body and head."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.build import build_estimator, outline_estimator, restore_estimator
from fieldlevel.estimators.estimator import Estimator, Head, count_features
from fieldlevel.estimators.joint_head import JointHead
from fieldlevel.estimators.moment_head import MomentHead
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec, settings_in_use
from fieldlevel.training.train_spec import TrainSpec

# Sums of a few hundred float32 numbers in another order.
SINGLE = 1e-5

SPEC = TrainSpec(network=NetworkSpec(hidden=1, dropout=0.0), perceptron=PerceptronSpec(n_neurons=8, dropout=0.0))
OF_MAPS, OF_SUMMARIES = (1, 16, 16), (1, 12)
ESTIMATORS = {
    "network": (SPEC, OF_MAPS),
    "perceptron": (replace(SPEC, inputs="power spectrum"), OF_SUMMARIES),
    "own body": (replace(SPEC, body="own_parts:Body"), OF_MAPS),
    "own body of summaries": (replace(SPEC, inputs="power spectrum", body="own_parts:Body"), OF_SUMMARIES),
    "own head": (replace(SPEC, head="own_parts:GaussianHead"), OF_MAPS),
    "own head of summaries": (replace(SPEC, inputs="one-point PDF", head="own_parts:GaussianHead"), OF_SUMMARIES),
    "gaussian": (replace(SPEC, head="gaussian"), OF_MAPS),
    "gaussian of summaries": (replace(SPEC, inputs="power spectrum", head="gaussian"), OF_SUMMARIES),
    "flow": (replace(SPEC, head="flow", head_options={"n_hidden": 8}), OF_MAPS),
    "both": (replace(SPEC, body="own_parts:Body", head="own_parts:HeadWithNorm"), OF_MAPS),
}


@pytest.fixture(params=ESTIMATORS)
def made(request) -> tuple[TrainSpec, Estimator]:
    if request.param == "flow":
        pytest.importorskip("zuko")
    torch.manual_seed(0)
    spec, shape = ESTIMATORS[request.param]
    return spec, build_estimator(spec, shape, n_outputs=6)


def inputs_of(estimator: Estimator, n: int = 10) -> torch.Tensor:
    return torch.randn(n, *estimator.shape, generator=torch.Generator().manual_seed(1))


def test_features_and_moments_have_the_shapes_that_it_tells(made):
    _, estimator = made
    assert estimator.features_of(inputs_of(estimator)).shape == (10, estimator.n_features)
    assert estimator.n_outputs == 6
    for moment in estimator.posterior(inputs_of(estimator)):
        assert moment.shape == (10, 6)


def test_the_answer_is_that_of_the_head_to_the_features(made):
    _, estimator = made
    x = inputs_of(estimator.eval())
    mean, std = estimator.posterior(x)
    again = estimator.head.posterior(estimator.answer_of(estimator.features_of(x)))
    assert torch.equal(mean, again[0])
    assert torch.equal(std, again[1])
    assert (std >= 0).all()


def test_sums_of_chunks_give_the_loss_of_the_whole(made):
    _, estimator = made
    estimator.eval()
    theta = torch.rand(10, 6, generator=torch.Generator().manual_seed(2))
    theta[:4, 1] = torch.nan
    x = inputs_of(estimator)
    parts = [estimator.sums(estimator(x[i : i + 3]), theta[i : i + 3]) for i in range(0, 10, 3)]
    whole = estimator.loss(estimator.sums(estimator(x), theta))
    torch.testing.assert_close(estimator.loss(sum(parts)), whole, rtol=SINGLE, atol=SINGLE)
    assert whole.shape == ()


def test_gradients_reach_every_parameter(made):
    _, estimator = made
    x, theta = inputs_of(estimator), torch.rand(10, 6)
    estimator.loss(estimator.sums(estimator(x), theta)).backward()
    if isinstance(estimator.head, JointHead):  # what joins the moments is fitted once they stand
        estimator.head.begin_joining()
        estimator.loss(estimator.sums(estimator(x), theta)).backward()
    lacking = [name for name, p in estimator.named_parameters() if p.requires_grad and p.grad is None]
    assert not lacking


def test_its_sizes_and_its_spec_make_it_again(made):
    spec, estimator = made
    again = restore_estimator(spec, estimator.sizes)
    again.load_state_dict(estimator.state_dict())
    x = inputs_of(estimator)
    assert torch.equal(again.eval().posterior(x)[0], estimator.eval().posterior(x)[0])
    shapes = {name: value.shape for name, value in outline_estimator(spec, estimator.sizes).state_dict().items()}
    assert shapes == {name: value.shape for name, value in estimator.state_dict().items()}


def test_settling_measures_statistics_and_moves_no_weight(made):
    _, estimator = made
    weights = [parameter.detach().clone() for parameter in estimator.parameters()]
    batches = [inputs_of(estimator), 2 * inputs_of(estimator)]
    drawn = iter(batches)
    estimator.eval().settle(drawn)
    assert all(torch.equal(*pair) for pair in zip(weights, estimator.parameters(), strict=True))
    assert not estimator.training
    has_norms = any("running" in name for name in estimator.state_dict())
    assert len(list(drawn)) == (0 if has_norms else 2)


def test_inputs_of_another_shape_are_refused():
    estimator = build_estimator(ESTIMATORS["own body"][0], OF_MAPS, 6)
    with pytest.raises(UserError, match=r"maps of shape \(3, 1, 8, 8\): this network takes \(n, 1, 16, 16\)"):
        estimator(torch.zeros(3, 1, 8, 8))


def test_names_in_files_are_those_of_the_released_networks_and_of_earlier_versions():
    names = {name: list(build_estimator(*ESTIMATORS[name], 6).state_dict()) for name in ("network", "perceptron")}
    assert names["network"][0] == "features.C01.weight"
    assert names["network"][-1] == "head.FC2.bias"
    assert names["perceptron"] == [f"layers.{n}.{kind}" for n in (0, 3, 6, 9) for kind in ("weight", "bias")]


class Counted(nn.Module):
    n_features = 7

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise AssertionError("needless")


def test_features_are_counted_once_they_are_not_told():
    assert count_features(Counted(), OF_MAPS) == 7
    body = nn.Sequential(nn.Conv2d(1, 3, 4, stride=4), nn.BatchNorm2d(3)).train()
    before = body[1].running_mean.clone()
    assert count_features(body, OF_MAPS) == 48
    assert body.training
    assert torch.equal(body[1].running_mean, before)


class Pair(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


@pytest.mark.parametrize("body", [Pair(), nn.Flatten(0)])
def test_what_makes_no_features_is_refused(body):
    with pytest.raises(UserError, match="it must make features of shape"):
        count_features(body, OF_MAPS)


def test_kernels_of_a_body_are_used_where_it_has_them():
    class Body(nn.Flatten):
        compiled = 0

        def features_of(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * self(x)

        def compile_kernels(self, x: torch.Tensor) -> None:
            self.compiled += len(x)

    estimator = Estimator(Body(), MomentHead(256, 2), OF_MAPS, 2)
    x = inputs_of(estimator)
    estimator.compile_kernels(x)
    assert estimator.body.compiled == 10
    assert torch.equal(estimator.features_of(x), 2 * x.flatten(1))


def test_one_part_that_cannot_be_recorded_is_enough():
    body, head = nn.Flatten(), MomentHead(256, 2)
    assert Estimator(body, head, OF_MAPS, 2).is_recordable
    head.is_recordable = False
    assert not Estimator(body, head, OF_MAPS, 2).is_recordable


def test_a_head_has_sums_loss_and_posterior():
    class HalfHead(Head):
        def sums(self, answer: torch.Tensor, theta: torch.Tensor) -> torch.Tensor:
            return answer

    with pytest.raises(TypeError, match="abstract"):
        HalfHead()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("network", ("hidden", "dropout", "std_from"))),
        ({"head": "m:Head"}, ("network", ("hidden",))),
        ({"inputs": "power spectrum"}, ("perceptron", ("n_layers", "n_neurons", "dropout", "std_from"))),
        ({"inputs": "power spectrum", "head": "m:Head"}, ("perceptron", ("n_layers", "n_neurons", "dropout"))),
        ({"body": "m:Body"}, ("", ())),
    ],
)
def test_settings_that_are_used_are_those_of_what_is_there(change, expected):
    assert settings_in_use(TrainSpec(**change)) == expected
