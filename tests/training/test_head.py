from dataclasses import replace

import pytest
import torch
from torch import nn

from fieldlevel.data.batches import Batch
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.training.head import fit_head
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

SPEC = TrainSpec(batch_size=64, head_batches=5, optimiser=OptimiserSpec(learning_rate=0.1, weight_decay=0.0))
SCATTER = 0.3
# 4,000 draws give a standard deviation to 1.1 per cent.
SAMPLED = 0.05


@pytest.fixture
def network() -> MomentNetwork:
    torch.manual_seed(1)
    return MomentNetwork(16, 2, dropout=0.8, std_from="softplus")


def batches(n: int) -> list[Batch]:
    """Maps that tell nothing of their targets, which scatter around zero."""
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(1, 1, 16, 16, generator=generator).expand(SPEC.batch_size, -1, -1, -1)
    targets = (SCATTER * torch.randn(SPEC.batch_size, 6, generator=generator) for _ in range(n))
    return [Batch(maps, theta, torch.zeros(len(theta), dtype=torch.int64)) for theta in targets]


@pytest.mark.parametrize("method", ["AdamW", "Muon"])
def test_standard_deviation_becomes_the_scatter_of_the_targets_around_the_mean(network, method):
    spec = replace(SPEC, head_batches=400, optimiser=replace(SPEC.optimiser, method=method))
    fit_head(network, batches(400), spec)
    mean, std = network(batches(1)[0][0][:1])
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0.0, atol=SAMPLED)
    torch.testing.assert_close(std, torch.full_like(std, SCATTER), rtol=2 * SAMPLED, atol=0.0)


def test_head_alone_changes(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fit_head(network, batches(5), SPEC)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {f"head.{name}" for name in network.head.state_dict()}


def test_a_single_batch_is_learnt_from(network):
    before = network.head.FC2.weight.detach().clone()
    fit_head(network, batches(1), replace(SPEC, head_batches=1))
    assert not torch.equal(network.head.FC2.weight, before)


def test_nothing_is_left_to_chance_by_dropout(network):
    other = MomentNetwork(16, 2, dropout=0.0, std_from="softplus")
    other.load_state_dict(network.state_dict())
    for each in (network, other):
        fit_head(each, batches(5), SPEC)
    assert torch.equal(network.head.FC2.weight, other.head.FC2.weight)


def test_features_keep_no_gradient(network):
    fit_head(network, batches(1), SPEC)
    assert all(parameter.grad is None for parameter in network.features.parameters())


def test_without_batches_nothing_changes(network):
    before = nn.utils.parameters_to_vector(network.parameters()).clone()
    fit_head(network, [], replace(SPEC, head_batches=0))
    assert torch.equal(nn.utils.parameters_to_vector(network.parameters()), before)
    assert not network.training
