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


def with_unknown_targets() -> tuple[Tensor, Tensor, Tensor]:
    """Outputs of 20 maps; the first seven do not know parameter 2, the first three not parameter 4 either."""
    mean, std, theta = random_outputs(20)
    theta[:7, 2] = theta[:3, 4] = torch.nan
    return mean, std, theta


def test_a_map_without_a_target_does_not_count_for_that_output():
    outputs = with_unknown_targets()
    first = {2: 7, 4: 3}
    losses = [moment_loss(*(part[first.get(i, 0) :, i : i + 1] for part in outputs)).item() for i in range(6)]
    assert moment_loss(*outputs).item() == pytest.approx(sum(losses) / 6, rel=SINGLE)
    assert moment_sums(*outputs)[2].tolist() == [20, 20, 13, 20, 17, 20]


@pytest.mark.parametrize("n_in_chunk", [1, 2, 7])
def test_sums_with_unknown_targets_add_up_too(n_in_chunk):
    outputs = with_unknown_targets()
    chunks = zip(*(part.split(n_in_chunk) for part in outputs), strict=True)
    sums = torch.stack([moment_sums(*chunk) for chunk in chunks]).sum(0)
    torch.testing.assert_close(sums, moment_sums(*outputs), rtol=SINGLE, atol=0.0)
    assert loss_from_sums(sums).item() == pytest.approx(moment_loss(*outputs).item(), rel=SINGLE)


def test_an_output_without_any_target_is_left_out_of_the_mean():
    mean, std, theta = random_outputs(20)
    theta[:, [1, 5]] = torch.nan
    known = [0, 2, 3, 4]
    expected = moment_loss(mean[:, known], std[:, known], theta[:, known]).item()
    assert moment_loss(mean, std, theta).item() == pytest.approx(expected, rel=SINGLE)


def test_no_gradient_comes_from_a_target_that_is_not_known():
    mean, std, theta = with_unknown_targets()
    theta[:, 0] = torch.nan
    outputs = torch.stack([mean, std]).requires_grad_()
    moment_loss(*outputs, theta).backward()
    assert torch.equal(outputs.grad != 0, (~theta.isnan()).expand(2, -1, -1))


def test_without_any_target_there_is_nothing_to_learn():
    mean, std, theta = random_outputs(20)
    outputs = torch.stack([mean, std]).requires_grad_()
    loss = moment_loss(*outputs, torch.full_like(theta, torch.nan))
    loss.backward()
    assert loss == 0
    assert not outputs.grad.any()


@pytest.mark.parametrize("n_parameters", [1, 3, 6, 28])
def test_known_targets_keep_their_bits(n_parameters):
    mean, std, theta = random_outputs(128, n_parameters)
    ours, theirs = (torch.stack([mean, std]).requires_grad_() for _ in range(2))
    squared_error = (theta - theirs[0]).square()
    sums = torch.stack([squared_error.sum(0), (squared_error - theirs[1].square()).square().sum(0)])
    expected, loss = (sums / 128).log().sum(0).mean(), moment_loss(*ours, theta)
    for each in (expected, loss):
        each.backward()
    assert torch.equal(loss, expected)
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("place", [0, 1])
def test_an_output_that_is_no_number_is_not_hidden_by_what_is_not_known(place):
    outputs = with_unknown_targets()
    outputs[place][0, 3] = torch.nan
    assert moment_loss(*outputs).isnan()
