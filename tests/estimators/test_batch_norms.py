import pytest
import torch
from torch import nn

from fieldlevel.estimators.batch_norms import measure_statistics

# Averages of a few float32 numbers in another order.
SINGLE = 1e-6


@pytest.fixture
def norm() -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(2)
    norm.running_mean.fill_(7.0)
    norm.running_var.fill_(9.0)
    return norm


@pytest.fixture
def batches() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [level + torch.randn(3, 2, 4, 4, generator=generator) for level in (0.0, 1.0, 5.0)]


def test_statistics_are_plain_averages_over_all_batches(norm, batches):
    measure_statistics(nn.Sequential(nn.Identity(), norm), batches)
    variances = [batch.transpose(0, 1).flatten(1).var(1) for batch in batches]
    torch.testing.assert_close(norm.running_mean, torch.cat(batches).mean((0, 2, 3)), rtol=SINGLE, atol=SINGLE)
    torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0), rtol=SINGLE, atol=SINGLE)


def test_second_norm_sees_what_the_first_gives_in_training_mode(norm, batches):
    after = nn.BatchNorm2d(2)
    measure_statistics(nn.Sequential(norm, after), batches)
    torch.testing.assert_close(after.running_mean, torch.zeros(2), rtol=0.0, atol=SINGLE)


@pytest.mark.parametrize("mode", [True, False])
def test_mode_and_momentum_are_as_before(norm, batches, mode):
    layers = nn.Sequential(norm).train(mode)
    measure_statistics(layers, batches)
    assert (layers.training, norm.training, norm.momentum) == (mode, mode, 0.1)


def test_no_gradient_is_kept(norm, batches):
    measure_statistics(nn.Sequential(nn.Conv2d(2, 2, 1), norm), batches)
    assert not norm.running_mean.requires_grad


def test_without_batches_the_moving_averages_stay(norm):
    measure_statistics(norm, [])
    assert norm.running_mean.tolist() == [7.0, 7.0]


def test_layers_without_batch_norms_draw_no_batches():
    measure_statistics(nn.Identity(), iter(pytest.fail, None))
