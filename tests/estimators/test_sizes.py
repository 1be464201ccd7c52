"""Sizes and shapes that networks and their loss take, and those that PyTorch would bend to fit."""

import json

import numpy as np
import pytest
import torch

from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.estimators.moments import moment_loss
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.spec_io import to_json
from fieldlevel.training.train_spec import TrainSpec


@pytest.mark.parametrize("kind", [np.int64, np.int8, np.uint16])
def test_numbers_of_numpy_are_taken_and_can_be_written(kind):
    networks = [
        MomentNetwork(kind(16), kind(1), np.float32(0.5), kind(1), kind(6)),
        MomentPerceptron(kind(8), kind(1), kind(4), np.float64(0.5), kind(6)),
    ]
    for network in networks:
        assert json.loads(json.dumps(network.sizes)) == network.sizes


def test_a_spec_of_numbers_of_numpy_is_that_of_pythons():
    spec = TrainSpec(network=NetworkSpec(hidden=np.int64(4)), seed=np.int32(2))
    assert to_json(spec) == to_json(TrainSpec(network=NetworkSpec(hidden=4), seed=2))


def test_a_spec_of_anything_else_is_refused():
    with pytest.raises(UserError, match="seed: of type object; give numbers or text"):
        to_json(TrainSpec(seed=object()))


@pytest.mark.parametrize("value", [0, -1, 1.0, 1.5, "1", None, True, [1], np.float64(1)])
@pytest.mark.parametrize("name", ["hidden", "n_channels", "n_parameters", "n_pixels"])
def test_sizes_are_whole_numbers_of_at_least_one(name, value):
    sizes = {"n_pixels": 16, "hidden": 1, "dropout": 0.0} | {name: value}
    with pytest.raises(UserError, match=f"{name} = "):
        MomentNetwork(**sizes)


@pytest.mark.parametrize("value", [1.0, -0.1, float("nan"), "0.5", None, True, 10**400])
def test_dropout_is_a_probability(value):
    for make in (lambda: MomentNetwork(16, 1, value), lambda: MomentPerceptron(8, 1, 4, value)):
        with pytest.raises(UserError, match=r"dropout = .*probability"):
            make()


@pytest.mark.parametrize(
    "shapes",
    [
        ((4, 6), (4, 6), (4, 1)),
        ((4, 6), (4, 6), (1, 6)),
        ((4, 6), (6,), (4, 6)),
        ((4, 6), (4, 6), (4,)),
        ((4, 6), (4, 6), ()),
        ((6,), (6,), (6,)),
        ((4, 6), (4, 6), (6, 4)),
        ((4, 1, 6), (4, 1, 6), (4, 1, 6)),
        ((0, 6), (0, 6), (0, 6)),
        ((4, 0), (4, 0), (4, 0)),
        ((4, 6), (4, 12), (4, 6)),
    ],
)
def test_shapes_that_would_be_broadcast_are_refused(shapes):
    with pytest.raises(UserError, match=r"moments of shapes mean .*, std .*, theta") as refused:
        moment_loss(*(torch.ones(shape) for shape in shapes))
    assert all(str(shape) in str(refused.value) for shape in shapes)


def test_moments_are_tensors():
    with pytest.raises(UserError, match="theta is ndarray"):
        moment_loss(torch.ones(4, 6), torch.ones(4, 6), np.ones((4, 6)))
