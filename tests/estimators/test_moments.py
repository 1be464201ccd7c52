import math

import pytest
import torch
from torch import Tensor

from fieldlevel.estimators.moments import loss_from_sums, moment_loss, moment_sums

# Sums and logarithms of a few hundred float32 numbers.
SINGLE = 1e-5


def random_outputs(n_maps: int, n_parameters: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mean, std, theta = torch.rand(3, n_maps, n_parameters, generator=generator)
    return mean, std, theta


def symmetric_sample(mean: Tensor, std: Tensor, n: int = 2000) -> Tensor:
    """Quantiles of a normal distribution with exactly this mean and standard deviation in every column."""
    quantiles = torch.special.ndtri((torch.arange(n, dtype=torch.float64) + 0.5) / n)
    return mean + std * (quantiles / quantiles.std(unbiased=False))[:, None]


def test_loss_is_the_letters_formula_with_means():
    mean = [[0.1, 0.5], [0.4, 0.2], [0.3, 0.9]]
    std = [[0.4, 0.1], [0.2, 0.3], [0.3, 0.6]]
    theta = [[0.3, 0.4], [0.1, 0.8], [0.2, 0.1]]
    expected = 0.0
    for i in range(2):
        errors = [(theta[n][i] - mean[n][i]) ** 2 for n in range(3)]
        excess = [(errors[n] - std[n][i] ** 2) ** 2 for n in range(3)]
        expected += (math.log(sum(errors) / 3) + math.log(sum(excess) / 3)) / 2
    assert moment_loss(*map(torch.tensor, (mean, std, theta))).item() == pytest.approx(expected, rel=SINGLE)


def test_loss_is_stationary_and_lowest_at_the_moments_of_the_posterior():
    truth = torch.tensor([[0.2, 0.5, 0.8], [0.05, 0.7, 0.3]], dtype=torch.float64)
    theta = symmetric_sample(*truth)

    def loss(moments: Tensor) -> Tensor:
        mean, std = moments[:, None].expand(-1, len(theta), -1)
        return moment_loss(mean, std, theta)

    at_truth = truth.clone().requires_grad_()
    loss(at_truth).backward()
    assert at_truth.grad.abs().max() < 1e-3
    for kind in range(2):
        for parameter in range(3):
            for change in (0.9, 1.1):
                moved = truth.clone()
                moved[kind, parameter] *= change
                assert loss(moved) > loss(truth)


@pytest.mark.parametrize("n_in_chunk", [1, 7, 50])
def test_sums_of_chunks_give_the_loss_of_the_whole(n_in_chunk):
    outputs = random_outputs(50)
    chunks = zip(*(part.split(n_in_chunk) for part in outputs), strict=True)
    sums = torch.stack([moment_sums(*chunk) for chunk in chunks]).sum(0)
    assert sums.shape == (3, 6)
    assert loss_from_sums(sums).item() == pytest.approx(moment_loss(*outputs).item(), rel=SINGLE)


def test_loss_does_not_depend_on_the_size_of_the_batch_or_the_number_of_parameters():
    outputs = random_outputs(20)
    loss = moment_loss(*outputs).item()
    assert moment_loss(*(part.repeat(3, 1) for part in outputs)).item() == pytest.approx(loss, rel=SINGLE)
    assert moment_loss(*(part.repeat(1, 2) for part in outputs)).item() == pytest.approx(loss, rel=SINGLE)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_loss_is_float32_whatever_the_precision_of_the_network(dtype):
    mean, std, theta = (part.to(dtype) for part in random_outputs(20))
    in_float32 = moment_loss(mean.float(), std.float(), theta.float())
    with torch.autocast("cpu", torch.bfloat16):
        loss = moment_loss(mean, std, theta)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, in_float32)


def test_squared_error_is_the_first_term():
    mean, std, theta = random_outputs(20)
    first, second, _ = (moment_sums(mean, std, theta) / 20).log()
    assert loss_from_sums(moment_sums(mean, std, theta)[::2]).item() == pytest.approx(first.mean().item(), rel=SINGLE)
    assert moment_loss(mean, std, theta).item() == pytest.approx((first + second).mean().item(), rel=SINGLE)
