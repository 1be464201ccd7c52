r"""Convolutions of many channels: cuDNN convolves, and every step around it is one pass over memory.

From some width on, a convolution costs more arithmetic than memory traffic, and cuDNN's is the fastest. What is left to
save are the passes around it. Forwards they are two: one kernel writes the activated values a = lrelu(s y + t), with
the opposite sides of the map around them where the convolution wraps, and one adds up the outputs and their squares for
the batch norm that follows. Backwards they are three: a is written again instead of being kept, dL/dy = A g + B y + C
likewise, and the last kernel takes the gradient of the wrapped border back to the pixels it was copied from, through
the activation below, and leaves the two sums of that batch norm. The first and the last of these passes also end every
stack of layers, however wide.

Row r of N stands at r + 1 of the N + 2 rows with the border, the first also at N + 1 and the last also at 0, and so for
columns: the gradient of a pixel is the sum over up to four places.

All sums made here are taken in a fixed order. cuDNN may choose algorithms that are not reproducible, unless
`torch.backends.cudnn.deterministic` is set.

References:
    Chetlur et al. 2014, arXiv:1410.0759 (cuDNN); Ioffe & Szegedy 2015, arXiv:1502.03167 (batch norm and its gradient).
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from fieldlevel.estimators.fused.launch import launch
from fieldlevel.estimators.fused.layers import PLAIN, Source
from fieldlevel.estimators.fused.reading import TYPES, coefficient_rows, load, read
from fieldlevel.estimators.fused.tiles import Kind, padded_channels
from fieldlevel.estimators.moment_head import LEAKY_SLOPE

_TILE = 2048
"""Values that a program takes at once: two loads of 16 bytes a thread, in bfloat16."""
_PROGRAMS = 1024
"""Programs that share a sum, at most."""


class _Form(NamedTuple):
    """Pixels around the map that a convolution sees besides, on each side, and its stride."""

    border: int
    stride: int


_FORMS: dict[Kind, _Form] = {"wrap": _Form(1, 1), "halve": _Form(0, 2), "last": _Form(0, 1)}


@triton.jit
def _places(pixel, channel, n_channels: tl.constexpr):  # type: ignore[no-untyped-def]
    return pixel.to(tl.int64)[:, None] * n_channels + channel[None, :]


@triton.jit(do_not_specialize=["n_pixels"])
def _fill(  # type: ignore[no-untyped-def]
    source, saved, coefficients, out, n_pixels, height: tl.constexpr, width: tl.constexpr, border: tl.constexpr,
    n_channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr, mode: tl.constexpr, slope: tl.constexpr,
    dtype: tl.constexpr
):  # fmt: skip
    """What a source means, within a border that wraps around."""
    rows: tl.constexpr = height + 2 * border
    columns: tl.constexpr = width + 2 * border
    pixel = tl.program_id(0) * block + tl.arange(0, block)
    channel = tl.arange(0, padded)
    inside = (pixel < n_pixels)[:, None] & (channel < n_channels)[None, :]
    h = (pixel // columns % rows + (height - border)) % height
    w = (pixel % columns + (width - border)) % width
    at = _places((pixel // (rows * columns) * height + h) * width + w, channel, n_channels)
    first, second, third = coefficient_rows(coefficients, channel, n_channels, mode + 1 if mode != 0 else 0)
    x = read(source, saved, first, second, third, at, inside, mode, slope, False, dtype)
    tl.store(out + _places(pixel, channel, n_channels), x, mask=inside)


@triton.jit
def _store_sums(sums, first, second, channel, padded: tl.constexpr):  # type: ignore[no-untyped-def]
    begin = sums + tl.program_id(0) * 2 * padded
    tl.store(begin + channel, tl.sum(first, axis=0))
    tl.store(begin + padded + channel, tl.sum(second, axis=0))


@triton.jit(do_not_specialize=["n_pixels"])
def _add_squares(  # type: ignore[no-untyped-def]
    y, sums, n_pixels, n_channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr
):  # fmt: skip
    """Sums of y and y^2 over every p-th tile, for p programs."""
    channel = tl.arange(0, padded)
    total = tl.zeros((block, padded), tl.float32)
    total_square = tl.zeros((block, padded), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_pixels, block), tl.num_programs(0)):
        pixel = tile * block + tl.arange(0, block)
        inside = (pixel < n_pixels)[:, None] & (channel < n_channels)[None, :]
        value = load(y, _places(pixel, channel, n_channels), inside, False).to(tl.float32)
        total += value
        total_square += value * value
    _store_sums(sums, total, total_square, channel, padded)


@triton.jit
def _folded(  # type: ignore[no-untyped-def]
    gradient, pixel, channel, inside, height: tl.constexpr, width: tl.constexpr, n_channels: tl.constexpr
):  # fmt: skip
    """Sum of the gradients at all places of these pixels within the border, in float32."""
    r = pixel // width % height
    c = pixel % width
    first_row = pixel // (width * height) * (height + 2)
    own_row = (first_row + r + 1) * (width + 2)
    copied_row = (first_row + tl.where(r == 0, height + 1, 0)) * (width + 2)
    copied_column = tl.where(c == 0, width + 1, 0)
    has_row = inside & ((r == 0) | (r == height - 1))[:, None]
    has_column = inside & ((c == 0) | (c == width - 1))[:, None]
    g = load(gradient, _places(own_row + c + 1, channel, n_channels), inside, False).to(tl.float32)
    g += load(gradient, _places(copied_row + c + 1, channel, n_channels), has_row, False).to(tl.float32)
    g += load(gradient, _places(own_row + copied_column, channel, n_channels), has_column, False).to(tl.float32)
    at = _places(copied_row + copied_column, channel, n_channels)
    return g + load(gradient, at, has_row & has_column, False).to(tl.float32)


@triton.jit(do_not_specialize=["n_pixels"])
def _take_back(  # type: ignore[no-untyped-def]
    gradient, y, coefficients, out, sums, n_pixels, height: tl.constexpr, width: tl.constexpr, border: tl.constexpr,
    n_channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr, slope: tl.constexpr, dtype: tl.constexpr
):  # fmt: skip
    """Gradient before the activation, from the one of the activated map with its border, with its sums."""
    channel = tl.arange(0, padded)
    s, t, mean = coefficient_rows(coefficients, channel, n_channels, 3)
    total = tl.zeros((block, padded), tl.float32)
    total_product = tl.zeros((block, padded), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(n_pixels, block), tl.num_programs(0)):
        pixel = tile * block + tl.arange(0, block)
        inside = (pixel < n_pixels)[:, None] & (channel < n_channels)[None, :]
        at = _places(pixel, channel, n_channels)
        if border == 0:
            g = load(gradient, at, inside, False).to(tl.float32)
        else:
            g = _folded(gradient, pixel, channel, inside, height, width, n_channels)
        saved = load(y, at, inside, False).to(tl.float32)
        g = tl.where(saved * s + t > 0, g, slope * g)
        tl.store(out + at, g.to(dtype), mask=inside)
        total += g
        total_product += g * (saved - mean)
    _store_sums(sums, total, total_product, channel, padded)


def convolve_wide(
    source: Source, weight: Tensor, kind: Kind, dtype: torch.dtype, with_sums: bool
) -> tuple[Tensor, Tensor]:
    """Convolve maps.

    Args:
        source: what is convolved.
        weight: (C', C, k, k).
        kind: of the convolution, but the first.
        dtype: of the factors and of the result.
        with_sums: whether a batch norm follows.

    Returns:
        The result (b, H', W', C'), and the sums of y and y^2 of each program (p, 2, 1, padded channels), or nothing.
    """
    form = _FORMS[kind]
    a = fill_maps(source, form.border, dtype).permute(0, 3, 1, 2)
    with torch.autocast(a.device.type, enabled=False):
        y = functional.conv2d(a, _channels_last(weight, dtype), stride=form.stride).permute(0, 2, 3, 1).contiguous()
    return y, _sum_squares(y) if with_sums else torch.empty(0, device=y.device)


def gradients_wide(
    source: Source, received: Source, weight: Tensor, kind: Kind, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Take a gradient back through a convolution and the activation below it.

    Args:
        source: the activated outputs of the layer below, which were convolved.
        received: gradient of the loss in the outputs of the convolution.
        weight: (C', C, k, k).
        kind: of the convolution, but the first.
        dtype: of the factors and of the gradient that is passed on.

    Returns:
        Gradient of the weights, (C', C, k, k) in float32 and in their layout; gradient g before the activation below,
        (b, H, W, C); its sums of g and g (y - mean) of each program, (p, 2, 1, padded channels).
    """
    form = _FORMS[kind]
    a = fill_maps(source, form.border, dtype).permute(0, 3, 1, 2)
    dy = fill_maps(received, 0, dtype).permute(0, 3, 1, 2)
    factors, stride = (dy, a, _channels_last(weight, dtype)), [form.stride] * 2
    da, dweight, _ = torch.ops.aten.convolution_backward(
        *factors, None, stride, [0, 0], [1, 1], False, [0, 0], 1, [True, True, False]
    )
    g, sums = take_maps_back(da.permute(0, 2, 3, 1).contiguous(), source, form.border, dtype)
    return torch.empty_like(weight, dtype=torch.float32).copy_(dweight), g, sums


def fill_maps(source: Source, border: int, dtype: torch.dtype) -> Tensor:
    """What a source means, with a border that wraps around, (b, H + 2 border, W + 2 border, C)."""
    n_maps, height, width, n_channels = source.tensor.shape
    if (source.mode, border, dtype) == (PLAIN, 0, source.tensor.dtype):
        return source.tensor
    out = source.tensor.new_empty(n_maps, height + 2 * border, width + 2 * border, n_channels, dtype=dtype)
    n_pixels, n_tiles, channels = _cut(out)
    known = {"mode": source.mode, "slope": LEAKY_SLOPE, "dtype": TYPES[dtype], **channels}
    tensor, saved, coefficients = source.pointers
    launch(_fill, (n_tiles,), tensor, saved, coefficients, out, n_pixels, height, width, border, **known)
    return out


def take_maps_back(gradient: Tensor, onto: Source, border: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Gradient before the activation of `onto`, (b, H, W, C), from (b, H + 2 border, W + 2 border, C); its sums."""
    y, _, coefficients = onto.pointers
    out = torch.empty_like(y, dtype=dtype)
    n_pixels, n_tiles, channels = _cut(out)
    sums = torch.empty(min(n_tiles, _PROGRAMS), 2, 1, channels["padded"], device=y.device)
    known = {"slope": LEAKY_SLOPE, "dtype": TYPES[dtype], **channels}
    launch(_take_back, (len(sums),), gradient, y, coefficients, out, sums, n_pixels, *y.shape[1:3], border, **known)
    return out, sums


def _sum_squares(y: Tensor) -> Tensor:
    n_pixels, n_tiles, channels = _cut(y)
    sums = torch.empty(min(n_tiles, _PROGRAMS), 2, 1, channels["padded"], device=y.device)
    launch(_add_squares, (len(sums),), y, sums, n_pixels, **channels)
    return sums


def _cut(maps: Tensor) -> tuple[int, int, dict[str, int]]:
    """Number of pixels, number of tiles, and what the kernels know of channels when they are compiled."""
    n_channels = maps.shape[-1]
    padded = padded_channels(n_channels)
    n_pixels, block = maps.numel() // n_channels, max(_TILE // padded, 1)
    return n_pixels, triton.cdiv(n_pixels, block), {"n_channels": n_channels, "padded": padded, "block": block}


def _channels_last(weight: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.to(dtype, memory_format=torch.channels_last)
