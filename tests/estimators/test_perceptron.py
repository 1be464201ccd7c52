import pytest
import torch

from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.estimators.build import build_estimator, restore_estimator
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.training.train_spec import TrainSpec


def test_it_has_the_layers_of_its_spec():
    network = MomentPerceptron(n_inputs=10, n_layers=3, n_neurons=7, dropout=0.0)
    widths = [layer.weight.shape for layer in network.layers if isinstance(layer, torch.nn.Linear)]
    assert widths == [(7, 10), (7, 7), (7, 7), (12, 7)]


def test_the_standard_deviation_is_the_square_of_an_output():
    network = MomentPerceptron(n_inputs=4, n_layers=1, n_neurons=5, dropout=0.0)
    x = torch.randn(3, 1, 4, generator=torch.Generator().manual_seed(1))
    mean, std = network(x)
    out = network.layers(x[:, 0])
    torch.testing.assert_close(mean, out[:, :6])
    torch.testing.assert_close(std, out[:, 6:].square())


@pytest.mark.parametrize(
    "change", [{"n_inputs": 0}, {"n_layers": 0}, {"n_neurons": 0}, {"dropout": 1.0}, {"std_from": "cube"}]
)
def test_sizes_that_cannot_be_are_refused(change):
    with pytest.raises(UserError, match=next(iter(change))):
        MomentPerceptron(**({"n_inputs": 4, "n_layers": 1, "n_neurons": 2, "dropout": 0.1} | change))


def test_the_standard_deviation_can_be_the_softplus_of_an_output():
    network = MomentPerceptron(n_inputs=4, n_layers=1, n_neurons=5, dropout=0.0, std_from="softplus")
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(x)[1], network.layers(x)[:, 6:].exp().log1p())


@pytest.mark.parametrize("std_from", ["square", "softplus"])
def test_a_spec_builds_its_network_and_the_sizes_build_it_again(std_from):
    of_maps = TrainSpec(network=NetworkSpec(std_from=std_from))
    deep = PerceptronSpec(n_layers=2, n_neurons=3, std_from=std_from)
    of_summaries = TrainSpec(inputs="power spectrum", perceptron=deep)
    maps, summary = build_estimator(of_maps, (1, 32, 32), 6), build_estimator(of_summaries, (1, 16), 6)
    assert isinstance(maps, MomentNetwork)
    assert isinstance(summary, MomentPerceptron)
    for spec, network in ((of_maps, maps), (of_summaries, summary)):
        again = restore_estimator(spec, network.sizes)
        again.load_state_dict(network.state_dict())
        assert again.std_from == std_from


@pytest.mark.parametrize(
    ("inputs", "sizes"),
    [
        ("maps", {"n_pixels": 16, "hidden": 1, "dropout": 0.0}),
        ("power spectrum", {"n_inputs": 4, "n_layers": 1, "n_neurons": 2, "dropout": 0.0}),
    ],
)
def test_networks_saved_before_there_was_a_choice_square_their_output(inputs, sizes):
    assert restore_estimator(TrainSpec(inputs=inputs), sizes).std_from == "square"
