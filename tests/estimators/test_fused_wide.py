"""Convolutions of many channels and their gradients against PyTorch's in double precision.

They run on a CUDA device, or slowly in Triton's interpreter: TRITON_INTERPRET=1 pytest -m gpu.
"""

import os
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from fieldlevel.estimators.fused.layers import ACTIVATED, GRADIENT, Source
from fieldlevel.estimators.moment_head import LEAKY_SLOPE

pytest.importorskip("triton")
from fieldlevel.estimators.fused import wide
from fieldlevel.estimators.fused.wide import convolve_wide, gradients_wide

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("no_tf32"),
    pytest.mark.skipif(
        DEVICE == "cpu" and "TRITON_INTERPRET" not in os.environ, reason="needs CUDA or the interpreter"
    ),
]

ROUND_OFF = 1e-5  # float32 sums, relative to the largest value
A_LITTLE = 0.02  # a few roundings to 8 bits, relative 2-norm

KINDS = {"wrap": (1, 1, 3), "halve": (0, 2, 2), "last": (0, 1, 4)}
"""Border, stride and side of each convolution."""
SIZES = [(3, 8, 20, 24), (2, 8, 16, 32), (3, 4, 3, 12)]
"""Maps, pixels a side, channels in and out: of blocks that are filled or not."""


@pytest.fixture(params=[2048, 64], ids=["one tile", "many tiles"], autouse=True)
def tile(request, monkeypatch) -> None:
    """Few values at once for few programs: every one takes several tiles, and the last of them less than a full one."""
    monkeypatch.setattr(wide, "_TILE", request.param)
    monkeypatch.setattr(wide, "_PROGRAMS", 5)


class Step(NamedTuple):
    """A convolution of activated maps and what goes back through it, with PyTorch's results in double precision."""

    source: Source
    received: Source
    weight: Tensor
    y: Tensor
    dweight: Tensor
    g: Tensor


def step_of(kind: str, size: tuple[int, int, int, int]) -> Step:
    torch.manual_seed(3)
    n_maps, n_pixels, n_in, n_out = size
    border, stride, side = KINDS[kind]
    below, weight = torch.randn(n_maps, n_pixels, n_pixels, n_in), torch.randn(n_out, n_in, side, side)
    s_t_mean, A_B_C = torch.randn(3, n_in), torch.randn(3, n_out)
    exact = weight.double().requires_grad_()
    z = (below.double() * s_t_mean[0] + s_t_mean[1]).requires_grad_()
    a = functional.leaky_relu(z, LEAKY_SLOPE).permute(0, 3, 1, 2)
    y = functional.conv2d(functional.pad(a, (border,) * 4, mode="circular"), exact, stride=stride).permute(0, 2, 3, 1)
    g = torch.randn(y.shape)
    y.backward(A_B_C[0] * g + A_B_C[1] * y.detach() + A_B_C[2])
    below, weight, s_t_mean, A_B_C, g = (x.to(DEVICE) for x in (below, weight, s_t_mean, A_B_C, g))
    received = Source(g, GRADIENT, A_B_C, y.detach().float().contiguous().to(DEVICE))
    results = (x.detach().to(DEVICE) for x in (y, exact.grad, z.grad))
    return Step(Source(below, ACTIVATED, s_t_mean), received, weight, *results)


def assert_near(ours: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(ours.double(), expected, rtol=0, atol=ROUND_OFF * expected.abs().max().item())


def distance(ours: Tensor, exact: Tensor) -> float:
    return ((ours.double() - exact).norm() / exact.norm()).item()


def assert_sums(sums: Tensor, first: Tensor, second: Tensor) -> None:
    """Of both over maps and pixels, with nothing in the channels that only fill a block."""
    n_programs, two, one, padded = sums.shape
    n_channels = first.shape[-1]
    assert (two, one, padded) == (2, 1, 32 if n_channels > 16 else 16)
    assert n_programs <= 5
    totals = sums.sum((0, 2), dtype=torch.float64)
    for ours, values in zip(totals, (first, second), strict=True):
        tolerance = ROUND_OFF * values.abs().sum((0, 1, 2)).max().item()
        torch.testing.assert_close(ours[:n_channels], values.sum((0, 1, 2)), rtol=0, atol=tolerance)
    assert not totals[:, n_channels:].any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_their_sums(kind, size):
    step = step_of(kind, size)
    y, sums = convolve_wide(step.source, step.weight, kind, torch.float32, with_sums=True)
    assert y.is_contiguous()
    assert_near(y, step.y)
    assert_sums(sums, step.y, step.y.square())
    again, nothing = convolve_wide(step.source, step.weight, kind, torch.float32, with_sums=False)
    assert torch.equal(again, y)
    assert not nothing.numel()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_and_their_sums(kind, size):
    step = step_of(kind, size)
    dweight, g, sums = gradients_wide(step.source, step.received, step.weight, kind, torch.float32)
    assert_near(dweight, step.dweight)
    assert g.is_contiguous()
    assert_near(g, step.g)
    below, mean = step.source.tensor.double(), step.source.coefficients[2]
    assert_sums(sums, step.g, step.g * (below - mean))


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_that_needs_no_coefficients(kind):
    step = step_of(kind, SIZES[0])
    A, B, C = step.received.coefficients
    plain = Source(A * step.received.tensor + B * step.received.saved + C)
    dweight, g, _ = gradients_wide(step.source, plain, step.weight, kind, torch.float32)
    assert_near(dweight, step.dweight)
    assert_near(g, step.g)


def test_border_repeats_the_opposite_side():
    source = step_of("wrap", SIZES[0]).source
    maps = wide.fill_maps(source, 0, torch.float32)
    expected = functional.pad(maps.permute(0, 3, 1, 2), (1,) * 4, mode="circular").permute(0, 2, 3, 1)
    assert torch.equal(wide.fill_maps(source, 1, torch.float32), expected)


def test_gradient_of_the_weights_has_their_layout():
    step = step_of("wrap", SIZES[0])
    for memory_format in (torch.contiguous_format, torch.channels_last):
        weight = step.weight.contiguous(memory_format=memory_format)
        dweight, *_ = gradients_wide(step.source, step.received, weight, "wrap", torch.float32)
        assert dweight.stride() == weight.stride()
        assert_near(dweight, step.dweight)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_rounds_a_few_times(kind):
    step, dtype = step_of(kind, SIZES[1]), torch.bfloat16
    source = Source(step.source.tensor.to(dtype), ACTIVATED, step.source.coefficients)
    received = Source(
        step.received.tensor.to(dtype), GRADIENT, step.received.coefficients, step.received.saved.to(dtype)
    )
    y, sums = convolve_wide(source, step.weight, kind, dtype, with_sums=True)
    dweight, g, g_sums = gradients_wide(source, received, step.weight, kind, dtype)
    assert (y.dtype, g.dtype) == (dtype, dtype)
    assert (sums.dtype, g_sums.dtype, dweight.dtype) == (torch.float32,) * 3
    assert distance(y, step.y) < A_LITTLE
    assert distance(dweight, step.dweight) < A_LITTLE
    assert distance(g, step.g) < A_LITTLE


def test_autocast_leaves_float32_alone():
    step = step_of("wrap", SIZES[0])
    with torch.autocast(DEVICE, torch.bfloat16):
        y, _ = convolve_wide(step.source, step.weight, "wrap", torch.float32, with_sums=True)
    assert_near(y, step.y)
