r"""Fused CUDA kernels for the first blocks of the moment network, where memory traffic is nearly all of the time.

Only the outputs y of the convolutions are stored: (b, H, W, C), without bias. What PyTorch keeps besides (padded,
normalised and activated copies) is computed where it is read. With s = gamma / std and t = beta - s mean of a batch
norm, the next convolution reads a = lrelu(s y + t) around its pixels, wraps indices instead of padding, and leaves the
sums of its own y and y^2 for the batch norm that follows. The bias before a batch norm cancels and its gradient is
zero; it shifts the running mean alone.

Backwards, with z = s y + t, x = (y - mean) / std, g = dL/dz and n values a channel,

    dbeta = sum g,    dgamma = sum g x,    dL/dy = s (g - dbeta / n - x dgamma / n) = A g + B y + C,

so the kernel that writes g leaves both sums, and its readers compute dL/dy where they need it. All sums are taken in a
fixed order: a step repeats to the bit on the same device.

Every pass is one product of matrices. A *group* of output pixels sees a *window* of input pixels: rows are groups, the
inner index runs over pixels and channels of the window, columns over pixels and channels of the group, and the weights
are spread over a matrix in which some entries are zero. Two by two outputs see four by four inputs, so every input is
read and activated four times and not nine. The transposed convolution has the same form, and the gradient of the
spread weights is the transposed window times the gradient of the group.

Importing this module needs Triton, which CUDA builds of PyTorch bring with them.

References:
    Ioffe & Szegedy 2015, arXiv:1502.03167 (batch norm and its gradient); Chetlur et al. 2014, arXiv:1410.0759
    (convolution as a product of matrices that are never stored).
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.models.cnn import LEAKY_SLOPE, MomentNetwork

Pass = Literal["forward", "data", "weight"]
Kind = Literal["first", "wrap", "halve"]

_PLAIN, _ACTIVATED, _GRADIENT = 0, 1, 2
"""What a kernel makes of what it reads: nothing, lrelu(s y + t), A g + B y + C."""
_STORE, _STATISTICS, _DERIVATIVE = 0, 1, 2
"""How a convolution ends: y alone, with the sums of y and y^2, as g with the sums of g and g (y - mean)."""
_SMALLEST = 16
"""Rows and columns that a tensor core takes at least."""
_ELEMENTWISE = 4096
"""Values that one program of an elementwise kernel takes."""
_TYPES = {torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


@dataclass(frozen=True)
class Tiles:
    """How one kernel cuts its work.

    Attributes:
        group: rows and columns of output pixels that share a window.
        chunk: rows and columns of window pixels in one product.
        channels: of a window pixel in one product, at most.
        columns: of the group's pixels times channels in one program, at most.
        block: groups in a tile.
        width: columns of groups in a tile, at most; the rest of `block` are rows, then maps.
        depth: tiles that a program works through; for the weights, programs that share the sum.
        n_warps: of 32 threads.
        n_stages: of the software pipeline.
    """

    group: tuple[int, int] = (1, 1)
    chunk: tuple[int, int] = (1, 1)
    channels: int = 64
    columns: int = 128
    block: int = 128
    width: int = 32
    depth: int = 1
    n_warps: int = 4
    n_stages: int = 3


_WIDE: dict[Pass, Tiles] = {
    "forward": Tiles(channels=64, columns=128, block=128, n_warps=8),
    "data": Tiles(channels=64, columns=128, block=64, n_warps=8, n_stages=2),
    "weight": Tiles(channels=128, columns=128, block=64, depth=16, n_warps=8, n_stages=2),
}
"""For any number of channels."""

TILES: dict[tuple[Pass, Kind, int, int], Tiles] = {
    ("forward", "first", 1, 16): Tiles((2, 2), (4, 4), block=128, depth=4),
    ("weight", "first", 1, 16): Tiles((2, 2), (4, 4), block=128, depth=528),
    ("forward", "wrap", 16, 16): Tiles((2, 2), (1, 4), block=64, depth=8, n_stages=1),
    ("data", "wrap", 16, 16): Tiles((2, 2), (1, 2), block=64, depth=8, n_stages=1),
    ("weight", "wrap", 16, 16): Tiles((2, 2), (2, 4), block=64, depth=132, n_warps=8, n_stages=2),
    ("forward", "halve", 16, 16): Tiles((1, 1), (2, 2), block=128, depth=4),
    ("data", "halve", 16, 16): Tiles((2, 2), (1, 1), block=64, depth=8),
    ("weight", "halve", 16, 16): Tiles((1, 1), (2, 2), block=128, depth=528),
    ("forward", "wrap", 16, 32): Tiles((1, 2), (1, 4), block=64, depth=8, n_stages=1),
    ("data", "wrap", 16, 32): Tiles((2, 2), (1, 1), block=64, depth=4, n_stages=1),
    ("weight", "wrap", 16, 32): Tiles((1, 2), (1, 4), block=64, depth=88, n_warps=8, n_stages=2),
    ("forward", "wrap", 32, 32): Tiles((1, 2), (1, 2), block=64, depth=8, n_stages=1),
    ("data", "wrap", 32, 32): Tiles((1, 2), (1, 1), block=64, depth=8, n_stages=1),
    ("weight", "wrap", 32, 32): Tiles((1, 2), (1, 4), block=64, depth=88, n_warps=8, n_stages=2),
    ("forward", "halve", 32, 32): Tiles((1, 1), (1, 2), block=128, depth=4),
    ("data", "halve", 32, 32): Tiles((2, 2), (1, 1), columns=64, block=64, depth=4, n_stages=2),
    ("weight", "halve", 32, 32): Tiles((1, 1), (2, 2), block=64, depth=264, n_stages=2),
    ("forward", "wrap", 32, 64): Tiles((1, 1), (1, 1), block=128, depth=2),
    ("data", "wrap", 32, 64): Tiles((1, 1), (1, 1), block=128, depth=2, n_stages=2),
    ("weight", "wrap", 32, 64): Tiles((1, 1), (1, 4), block=64, depth=88, n_warps=8, n_stages=2),
    ("forward", "wrap", 64, 64): Tiles((1, 1), (1, 1), block=128, depth=2),
    ("data", "wrap", 64, 64): Tiles((1, 1), (1, 1), block=128, depth=2, n_warps=8, n_stages=2),
    ("weight", "wrap", 64, 64): Tiles((1, 1), (1, 4), block=64, depth=88, n_warps=8, n_stages=2),
    ("forward", "halve", 64, 64): Tiles((1, 1), (1, 1), block=128),
    ("data", "halve", 64, 64): Tiles((2, 2), (1, 1), block=64, depth=2, n_warps=8, n_stages=2),
    ("weight", "halve", 64, 64): Tiles((1, 1), (1, 2), block=64, depth=132, n_warps=8, n_stages=2),
}
"""Tiles by pass, kind of convolution, and its input and output channels padded to powers of two."""


@triton.jit
def _tile_groups(tile, n_rows: tl.constexpr, n_columns: tl.constexpr, tile_shape: tl.constexpr):  # type: ignore[no-untyped-def]
    """First map of a tile; map (from the first), row and column of each of its groups."""
    n_maps: tl.constexpr = tile_shape[0]
    height: tl.constexpr = tile_shape[1]
    width: tl.constexpr = tile_shape[2]
    across: tl.constexpr = n_columns // width
    down: tl.constexpr = n_rows // height
    member = tl.arange(0, n_maps * height * width)
    column = (tile % across) * width + member % width
    row = (tile // across % down) * height + member // width % height
    return tile // (across * down) * n_maps, member // (width * height), row, column


@triton.jit
def _rows(coefficients, channel, n_channels: tl.constexpr, n_rows: tl.constexpr):  # type: ignore[no-untyped-def]
    """The first three coefficients of each column, as rows; zeros for those that are not there."""
    known = channel < n_channels
    zero = tl.zeros_like(channel).to(tl.float32)
    first, second, third = zero, zero, zero
    if n_rows > 0:
        first = tl.load(coefficients + channel, mask=known, other=0.0)
        second = tl.load(coefficients + n_channels + channel, mask=known, other=0.0)
    if n_rows > 2:
        third = tl.load(coefficients + 2 * n_channels + channel, mask=known, other=0.0)
    return first[None, :], second[None, :], third[None, :]


@triton.jit
def _load(tensor, at, inside, is_whole: tl.constexpr):  # type: ignore[no-untyped-def]
    return tl.load(tensor + at) if is_whole else tl.load(tensor + at, mask=inside, other=0.0)


@triton.jit
def _read(  # type: ignore[no-untyped-def]
    tensor, saved, first, second, third, at, inside, mode: tl.constexpr, slope: tl.constexpr,
    is_whole: tl.constexpr, dtype: tl.constexpr
):  # fmt: skip
    """Values as they are, activated, or the gradient A g + B y + C; zero outside."""
    x = _load(tensor, at, inside, is_whole)
    if mode == 1:
        x = x.to(tl.float32) * first + second
        x = tl.maximum(x, slope * x)
    if mode == 2:
        x = x.to(tl.float32) * first + (_load(saved, at, inside, is_whole).to(tl.float32) * second + third)
    if mode != 0 and not is_whole:
        x = tl.where(inside, x, 0.0)
    return x.to(dtype)


@triton.jit
def _inner(step, window: tl.constexpr, chunk: tl.constexpr, padded: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Row, column and channel of the window that a chunk's inner index runs over."""
    inner = tl.arange(0, chunk[0] * chunk[1] * block)
    part = step // (padded // block)
    down = part // (window[1] // chunk[1]) * chunk[0] + inner // (chunk[1] * block)
    across = part % (window[1] // chunk[1]) * chunk[1] + inner // block % chunk[1]
    return down, across, step % (padded // block) * block + inner % block


@triton.jit
def _window(  # type: ignore[no-untyped-def]
    member, row, column, first, n_maps, down, across, channel, n_rows: tl.constexpr, n_columns: tl.constexpr,
    stride: tl.constexpr, origin: tl.constexpr, n_channels: tl.constexpr
):  # fmt: skip
    """Offset from the first map and presence of each (group, window pixel x channel) of a chunk."""
    height: tl.constexpr = n_rows * stride[0]
    width: tl.constexpr = n_columns * stride[1]
    h = (row * stride[0] + origin)[:, None] + down[None, :] & (height - 1)
    w = (column * stride[1] + origin)[:, None] + across[None, :] & (width - 1)
    at = ((member[:, None] * height + h) * width + w) * n_channels + channel[None, :]
    return at, (first + member < n_maps)[:, None] & (channel < n_channels)[None, :]


@triton.jit
def _group(  # type: ignore[no-untyped-def]
    member, row, column, first, n_maps, pixel, channel, n_rows: tl.constexpr, n_columns: tl.constexpr,
    group: tl.constexpr, n_channels: tl.constexpr
):  # fmt: skip
    """Offset from the first map and presence of each (group, group pixel x channel)."""
    h = (row * group[0])[:, None] + (pixel // group[1])[None, :]
    w = (column * group[1])[:, None] + (pixel % group[1])[None, :]
    at = ((member[:, None] * (n_rows * group[0]) + h) * (n_columns * group[1]) + w) * n_channels + channel[None, :]
    return at, (first + member < n_maps)[:, None] & (channel < n_channels)[None, :]


@triton.jit
def _fold(y, n_channels: tl.constexpr):  # type: ignore[no-untyped-def]
    """Sum over the pixels of a group, (rows, pixels x channels) to (rows, channels)."""
    return tl.sum(tl.reshape(y, (y.shape[0], y.shape[1] // n_channels, n_channels)), axis=1)


@triton.jit(do_not_specialize=["n_maps", "n_tiles", "depth"])
def _convolve(  # type: ignore[no-untyped-def]
    source, source_saved, source_coefficients, weights, out, out_saved, out_coefficients, sums, n_maps, n_tiles, depth,
    n_rows: tl.constexpr, n_columns: tl.constexpr, tile_shape: tl.constexpr, is_whole: tl.constexpr,
    stride: tl.constexpr, window: tl.constexpr, group: tl.constexpr, chunk: tl.constexpr, origin: tl.constexpr,
    n_in: tl.constexpr, padded_in: tl.constexpr, block_in: tl.constexpr, mode: tl.constexpr,
    n_out: tl.constexpr, padded_out: tl.constexpr, block_out: tl.constexpr, ending: tl.constexpr,
    slope: tl.constexpr, dtype: tl.constexpr, precision: tl.constexpr
):  # fmt: skip
    n_steps: tl.constexpr = (window[0] // chunk[0]) * (window[1] // chunk[1]) * (padded_in // block_in)
    n_all: tl.constexpr = group[0] * group[1] * padded_out
    per_map_in: tl.constexpr = n_rows * stride[0] * n_columns * stride[1] * n_in
    per_map_out: tl.constexpr = n_rows * group[0] * n_columns * group[1] * n_out
    index = tl.program_id(1) * block_out + tl.arange(0, block_out)
    factor, shift, mean = _rows(out_coefficients, index % padded_out, n_out, 3 if ending == 2 else 0)
    n_sums: tl.constexpr = min(block_out, padded_out)
    n_held: tl.constexpr = n_sums if ending == 1 else block_out
    total = tl.zeros((n_held,), tl.float32)
    total_product = tl.zeros((n_held,), tl.float32)
    down, across, channel = _inner(0, window, chunk, padded_in, block_in)
    A, B, C = _rows(source_coefficients, channel, n_in, mode + 1 if mode != 0 else 0)
    if n_steps == 1:
        entry = ((down * window[1] + across) * padded_in + channel)[:, None] * n_all + index[None, :]
        matrix = tl.load(weights + entry)
    start = tl.program_id(0) * depth
    for tile in range(start, tl.minimum(start + depth, n_tiles)):
        first, member, row, column = _tile_groups(tile, n_rows, n_columns, tile_shape)
        begin_in = tl.cast(first, tl.int64) * per_map_in
        begin = tl.cast(first, tl.int64) * per_map_out
        y = tl.zeros((tile_shape[0] * tile_shape[1] * tile_shape[2], block_out), tl.float32)
        for step in range(n_steps):
            if n_steps != 1:
                down, across, channel = _inner(step, window, chunk, padded_in, block_in)
                entry = ((down * window[1] + across) * padded_in + channel)[:, None] * n_all + index[None, :]
                matrix = tl.load(weights + entry)
            if block_in != padded_in:
                A, B, C = _rows(source_coefficients, channel, n_in, mode + 1 if mode != 0 else 0)
            at, inside = _window(
                member, row, column, first, n_maps, down, across, channel, n_rows, n_columns, stride, origin, n_in
            )
            x = _read(
                source + begin_in, source_saved + begin_in, A, B, C, at, inside, mode, slope, is_whole[0], dtype
            )  # fmt: skip
            y = tl.dot(x, matrix, y, input_precision=precision)
        to, inside_out = _group(
            member, row, column, first, n_maps, index // padded_out, index % padded_out, n_rows, n_columns, group, n_out
        )
        if ending == 2:
            saved = _load(out_saved + begin, to, inside_out, is_whole[1]).to(tl.float32)
            y = tl.where(saved * factor + shift > 0, y, slope * y)
        if is_whole[1]:
            tl.store(out + begin + to, y.to(dtype))
        else:
            y = tl.where(inside_out, y, 0.0)
            tl.store(out + begin + to, y.to(dtype), mask=inside_out)
        if ending == 1:  # here a thread holds several pixels of a group, below several groups
            total += tl.sum(_fold(y, n_sums), axis=0)
            total_product += tl.sum(_fold(y * y, n_sums), axis=0)
        if ending == 2:
            total += tl.sum(y, axis=0)
            total_product += tl.sum(y * (saved - mean), axis=0)
    if ending != 0:
        n_stored: tl.constexpr = n_all // block_out * n_sums
        begin_sums = sums + tl.program_id(0) * 2 * n_stored + tl.program_id(1) * n_sums + tl.arange(0, n_sums)
        tl.store(begin_sums, tl.sum(_fold(total[None, :], n_sums), axis=0))
        tl.store(begin_sums + n_stored, tl.sum(_fold(total_product[None, :], n_sums), axis=0))


@triton.jit(do_not_specialize=["n_maps", "n_tiles"])
def _correlate(  # type: ignore[no-untyped-def]
    source, source_coefficients, gradient, gradient_saved, gradient_coefficients, out, n_maps, n_tiles,
    n_rows: tl.constexpr, n_columns: tl.constexpr, tile_shape: tl.constexpr, is_whole: tl.constexpr,
    stride: tl.constexpr, window: tl.constexpr, group: tl.constexpr, chunk: tl.constexpr, origin: tl.constexpr,
    n_in: tl.constexpr, padded_in: tl.constexpr, block_in: tl.constexpr, mode: tl.constexpr,
    n_out: tl.constexpr, padded_out: tl.constexpr, block_out: tl.constexpr, gradient_mode: tl.constexpr,
    slope: tl.constexpr, dtype: tl.constexpr, precision: tl.constexpr
):  # fmt: skip
    n_steps: tl.constexpr = (window[0] // chunk[0]) * (window[1] // chunk[1]) * (padded_in // block_in)
    n_all: tl.constexpr = group[0] * group[1] * padded_out
    per_map_in: tl.constexpr = n_rows * stride[0] * n_columns * stride[1] * n_in
    per_map_out: tl.constexpr = n_rows * group[0] * n_columns * group[1] * n_out
    index = tl.program_id(0) // n_steps * block_out + tl.arange(0, block_out)
    down, across, channel = _inner(tl.program_id(0) % n_steps, window, chunk, padded_in, block_in)
    s, t, _ = _rows(source_coefficients, channel, n_in, 2 if mode == 1 else 0)
    A, B, C = _rows(gradient_coefficients, index % padded_out, n_out, 3 if gradient_mode == 2 else 0)
    total = tl.zeros((chunk[0] * chunk[1] * block_in, block_out), tl.float32)
    for tile in range(tl.program_id(1), n_tiles, tl.num_programs(1)):
        first, member, row, column = _tile_groups(tile, n_rows, n_columns, tile_shape)
        begin_in = tl.cast(first, tl.int64) * per_map_in
        begin = tl.cast(first, tl.int64) * per_map_out
        at, inside = _window(
            member, row, column, first, n_maps, down, across, channel, n_rows, n_columns, stride, origin, n_in
        )
        x = _read(source + begin_in, source, s, t, t, at, inside, mode, slope, is_whole[0], dtype)
        to, inside_out = _group(
            member, row, column, first, n_maps, index // padded_out, index % padded_out, n_rows, n_columns, group, n_out
        )
        dy = _read(
            gradient + begin, gradient_saved + begin, A, B, C, to, inside_out, gradient_mode, slope, is_whole[1], dtype
        )
        total = tl.dot(tl.trans(x), dy, total, input_precision=precision)
    entry = ((down * window[1] + across) * padded_in + channel)[:, None] * n_all + index[None, :]
    begin_out = tl.program_id(1).to(tl.int64) * (window[0] * window[1] * padded_in * n_all)
    tl.store(out + begin_out + entry, total)


@triton.jit
def _activate(  # type: ignore[no-untyped-def]
    y, coefficients, out, n_pixels, n_channels: tl.constexpr, padded: tl.constexpr, block: tl.constexpr,
    slope: tl.constexpr, dtype: tl.constexpr
):  # fmt: skip
    pixel = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    channel = tl.arange(0, padded)
    at = pixel[:, None] * n_channels + channel[None, :]
    inside = (pixel < n_pixels)[:, None] & (channel < n_channels)[None, :]
    s, t, _ = _rows(coefficients, channel, n_channels, 2)
    tl.store(out + at, _read(y, y, s, t, t, at, inside, 1, slope, False, dtype), mask=inside)


@triton.jit
def _derive(  # type: ignore[no-untyped-def]
    gradient, y, coefficients, out, sums, n_pixels, n_channels: tl.constexpr, padded: tl.constexpr,
    block: tl.constexpr, slope: tl.constexpr, dtype: tl.constexpr
):  # fmt: skip
    """Gradient before the activation, from the one after it, with its sums for the batch norm."""
    pixel = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    channel = tl.arange(0, padded)
    at = pixel[:, None] * n_channels + channel[None, :]
    inside = (pixel < n_pixels)[:, None] & (channel < n_channels)[None, :]
    s, t, mean = _rows(coefficients, channel, n_channels, 3)
    saved = _load(y, at, inside, False).to(tl.float32)
    g = _load(gradient, at, inside, False).to(tl.float32)
    g = tl.where(saved * s + t > 0, g, slope * g)
    tl.store(out + at, g.to(dtype), mask=inside)
    begin_sums = sums + tl.program_id(0) * 2 * padded
    tl.store(begin_sums + channel, tl.sum(g, axis=0))
    tl.store(begin_sums + padded + channel, tl.sum(g * (saved - mean), axis=0))


@triton.jit(do_not_specialize=["n_values"])
def _normalise(  # type: ignore[no-untyped-def]
    sums, gamma, beta, bias, running_mean, running_var, n_batches, out, n_values, momentum, eps,
    n_channels: tl.constexpr, padded: tl.constexpr
):  # fmt: skip
    """Coefficients of a batch norm from the sums of y and y^2, and its running statistics with the bias in the mean."""
    channel = tl.arange(0, padded)
    known = channel < n_channels
    mean = tl.load(sums + channel) / n_values
    variance = tl.maximum(tl.load(sums + padded + channel) / n_values - mean * mean, 0.0)
    unbiased = (variance * n_values / (n_values - 1)).to(tl.float32)
    mean, variance = mean.to(tl.float32), variance.to(tl.float32)
    inverse = 1.0 / tl.sqrt_rn(variance + eps)
    scale = tl.load(gamma + channel, mask=known, other=0.0) * inverse
    shift = tl.load(beta + channel, mask=known, other=0.0) - mean * scale
    tl.store(out + channel, scale, mask=known)
    tl.store(out + n_channels + channel, shift, mask=known)
    tl.store(out + 2 * n_channels + channel, mean, mask=known)
    tl.store(out + 3 * n_channels + channel, inverse, mask=known)
    before = tl.load(running_mean + channel, mask=known, other=0.0)
    after = mean + tl.load(bias + channel, mask=known, other=0.0)
    tl.store(running_mean + channel, before + momentum * (after - before), mask=known)
    before = tl.load(running_var + channel, mask=known, other=0.0)
    tl.store(running_var + channel, before + momentum * (unbiased - before), mask=known)
    tl.store(n_batches, tl.load(n_batches) + 1)


@triton.jit(do_not_specialize=["n_values"])
def _settle(sums, coefficients, out, n_values, n_channels: tl.constexpr, padded: tl.constexpr):  # type: ignore[no-untyped-def]
    """A, B, C, dgamma and dbeta from the sums of g and g (y - mean)."""
    channel = tl.arange(0, padded)
    known = channel < n_channels
    scale = tl.load(coefficients + channel, mask=known, other=0.0)
    mean = tl.load(coefficients + 2 * n_channels + channel, mask=known, other=0.0)
    inverse = tl.load(coefficients + 3 * n_channels + channel, mask=known, other=0.0)
    dbeta = tl.load(sums + channel)
    dgamma = tl.load(sums + padded + channel) * inverse
    on_y = -scale * inverse * dgamma / n_values
    constant = -scale * dbeta / n_values - on_y * mean
    tl.store(out + channel, scale, mask=known)
    tl.store(out + n_channels + channel, on_y.to(tl.float32), mask=known)
    tl.store(out + 2 * n_channels + channel, constant.to(tl.float32), mask=known)
    tl.store(out + 3 * n_channels + channel, dgamma.to(tl.float32), mask=known)
    tl.store(out + 4 * n_channels + channel, dbeta.to(tl.float32), mask=known)


@dataclass(frozen=True)
class Layer:
    """One convolution with the batch norm that may follow it."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d | None

    @property
    def kind(self) -> Kind:
        """Which of the three convolutions of the network this is."""
        if self.convolution.stride == (2, 2):
            return "halve"
        return "first" if self.norm is None else "wrap"

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Weight and bias of the convolution, then of the batch norm."""
        return (*self.convolution.parameters(), *(() if self.norm is None else self.norm.parameters()))

    @property
    def bias(self) -> Tensor:
        """Bias of the convolution, without its graph."""
        return self.convolution.get_parameter("bias").detach()

    def tiles(self, passing: Pass) -> Tiles:
        """The tiles in use for one of the three passes."""
        n_in, n_out = (_padded(n) for n in (self.convolution.in_channels, self.convolution.out_channels))
        return TILES.get((passing, self.kind, n_in, n_out), _fallback(passing, self.kind))


def _fallback(passing: Pass, kind: Kind) -> Tiles:
    if kind == "first":
        return TILES[passing, kind, 1, _SMALLEST]
    if (passing, kind) == ("data", "halve"):
        return replace(_WIDE[passing], group=(2, 2))
    return _WIDE[passing]


@dataclass(frozen=True)
class Source:
    """Numbers (b, H, W, C) that a kernel reads, and the coefficients (k, C) that turn them into what is meant."""

    tensor: Tensor
    mode: int = _PLAIN
    coefficients: Tensor | None = None
    saved: Tensor | None = None

    @property
    def pointers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers, what the gradient refers to, coefficients; the numbers stand in for what is not read."""
        saved = self.tensor if self.saved is None else self.saved
        return self.tensor, saved, self.tensor if self.coefficients is None else self.coefficients


@dataclass(frozen=True)
class _Form:
    """How groups of output pixels see windows of input pixels."""

    step: int
    kernel: int
    origin: int
    stride: tuple[int, int]
    window: tuple[int, int]
    group: tuple[int, int]

    def weights(self, n_in: int, n_out: int) -> tuple[int, ...]:
        """Shape of the spread weights."""
        return (*self.window, _padded(n_in), *self.group, _padded(n_out))

    def entries(self, spread: Tensor, n_in: int, n_out: int) -> Tensor:
        """Where the weights stand among the spread ones: a view (k, k, group, group, n_in, n_out)."""
        down, across, channel, group_down, group_across, out = spread.stride()
        strides = (down, across, self.step * down + group_down, self.step * across + group_across, channel, out)
        return spread.as_strided((self.kernel, self.kernel, *self.group, n_in, n_out), strides)


def _form(kind: Kind | Literal["double"], tiles: Tiles) -> _Form:
    if kind == "double":
        return _Form(step=0, kernel=1, origin=0, stride=(1, 1), window=(1, 1), group=(2, 2))
    step, kernel, origin = (2, 2, 0) if kind == "halve" else (1, 3, -1)
    sides = zip(tiles.group, tiles.chunk, strict=True)
    window = tuple(triton.cdiv(step * (side - 1) + kernel, chunk) * chunk for side, chunk in sides)
    stride = (step * tiles.group[0], step * tiles.group[1])
    return _Form(step, kernel, origin, stride, (window[0], window[1]), tiles.group)


def _padded(channels: int) -> int:
    return 1 if channels == 1 else max(_SMALLEST, triton.next_power_of_2(channels))


def _spread(weight: Tensor, form: _Form, dtype: torch.dtype) -> Tensor:
    """Weights (C', C, k, k) as the matrix of a form; those of a transposed convolution (C, C', 2, 2) likewise."""
    if form.step == 0:
        n_in, n_out = weight.shape[:2]
        spread = torch.zeros(form.weights(n_in, n_out), dtype=dtype, device=weight.device)
        spread[0, 0, :n_in, :, :, :n_out] = weight.permute(0, 2, 3, 1)
        return spread
    n_out, n_in = weight.shape[:2]
    spread = torch.zeros(form.weights(n_in, n_out), dtype=dtype, device=weight.device)
    form.entries(spread, n_in, n_out).copy_(weight.permute(2, 3, 1, 0)[:, :, None, None])
    return spread


def _cut(source: Tensor, form: _Form, tiles: Tiles, n_in: int, n_out: int) -> tuple[int, dict[str, Any]]:
    """Number of tiles, and what both kernels know when they are compiled."""
    n_maps, height, width, _ = source.shape
    n_rows, n_columns = height // form.stride[0], width // form.stride[1]
    across = min(tiles.width, n_columns)
    down = min(tiles.block // across, n_rows)
    maps = tiles.block // (across * down)
    padded_in, padded_out = _padded(n_in), _padded(n_out)
    are_full = n_maps % maps == 0
    known = {
        "n_rows": n_rows,
        "n_columns": n_columns,
        "tile_shape": (maps, down, across),
        "is_whole": (are_full and n_in == padded_in, are_full and n_out == padded_out),
        "stride": form.stride,
        "window": form.window,
        "group": form.group,
        "chunk": tiles.chunk,
        "origin": form.origin,
        "n_in": n_in,
        "padded_in": padded_in,
        "block_in": min(tiles.channels, padded_in),
        "n_out": n_out,
        "padded_out": padded_out,
        "block_out": min(tiles.columns, form.group[0] * form.group[1] * padded_out),
        "slope": LEAKY_SLOPE,
        "precision": "ieee",
        "num_warps": tiles.n_warps,
        "num_stages": tiles.n_stages,
    }
    return triton.cdiv(n_maps, maps) * (n_rows // down) * (n_columns // across), known


def convolve(
    source: Source,
    weight: Tensor,
    kind: Kind | Literal["double"],
    tiles: Tiles,
    dtype: torch.dtype,
    ending: int = _STORE,
    onto: Source | None = None,
) -> tuple[Tensor, Tensor]:
    """Convolve maps, or take a gradient back through a convolution.

    Args:
        source: what is convolved.
        weight: (C', C, k, k); for the transposed convolution of stride 2, `"double"`, (C, C', 2, 2).
        kind: of the convolution.
        tiles: how the work is cut.
        dtype: of the result.
        ending: store alone; with the sums of y and y^2; or as the gradient g before the activation of `onto`, with the
            sums of g and g (y - mean).
        onto: what was convolved, at the pixels of the result.

    Returns:
        The result (b, H', W', C'), and the sums of each program (p, 2, parts of a group, padded channels).
    """
    form = _form(kind, tiles)
    n_in, n_out = weight.shape[:2] if kind == "double" else weight.shape[1::-1]
    n_tiles, known = _cut(source.tensor, form, tiles, n_in, n_out)
    rows, columns = known["n_rows"] * form.group[0], known["n_columns"] * form.group[1]
    out = torch.empty(len(source.tensor), rows, columns, n_out, dtype=dtype, device=weight.device)
    padded, block = known["padded_out"], known["block_out"]
    n_programs, n_all = triton.cdiv(n_tiles, tiles.depth), form.group[0] * form.group[1] * padded
    sums = torch.empty(n_programs, 2, n_all // max(block, padded), padded, device=weight.device)
    onto = Source(out) if onto is None else onto
    pointers = *source.pointers, _spread(weight, form, dtype), out, onto.tensor, onto.pointers[2], sums
    _convolve[n_programs, n_all // block](
        *pointers, len(out), n_tiles, tiles.depth, mode=source.mode, ending=ending, dtype=_TYPES[dtype], **known
    )
    return out, sums


def correlate(
    source: Source, gradient: Source, weight_shape: torch.Size, kind: Kind, tiles: Tiles, dtype: torch.dtype
) -> Tensor:
    """Gradient of the weights of a convolution, (C', C, k, k) in float32.

    Args:
        source: what was convolved.
        gradient: of the loss in the outputs of the convolution.
        weight_shape: (C', C, k, k).
        kind: of the convolution.
        tiles: how the work is cut.
        dtype: in which the factors are multiplied; sums are taken in float32.
    """
    form = _form(kind, tiles)
    n_out, n_in = weight_shape[:2]
    n_tiles, known = _cut(source.tensor, form, tiles, n_in, n_out)
    n_programs, shape = min(tiles.depth, n_tiles), form.weights(n_in, n_out)
    n_steps = form.window[0] * form.window[1] * shape[2] // (tiles.chunk[0] * tiles.chunk[1] * known["block_in"])
    parts = torch.empty(n_programs, *shape, device=source.tensor.device)
    n_cuts = shape[3] * shape[4] * shape[5] // known["block_out"]
    tensors = source.pointers[0], source.pointers[2], *gradient.pointers, parts
    _correlate[n_steps * n_cuts, n_programs](
        *tensors,
        len(source.tensor),
        n_tiles,
        mode=source.mode,
        gradient_mode=gradient.mode,
        dtype=_TYPES[dtype],
        **known,
    )
    return form.entries(parts.sum(0), n_in, n_out).sum((2, 3)).permute(3, 2, 0, 1)


def activate(source: Source) -> Tensor:
    """Normalised and activated values of stored convolution outputs, (b, H, W, C)."""
    y, out = source.tensor, torch.empty_like(source.tensor)
    n_channels = y.shape[-1]
    padded = _padded(n_channels)
    n_pixels, block = y.numel() // n_channels, max(_ELEMENTWISE // padded, 1)
    _activate[(triton.cdiv(n_pixels, block),)](
        y, source.coefficients, out, n_pixels, n_channels, padded, block, LEAKY_SLOPE, _TYPES[y.dtype]
    )
    return out


def derive(gradient: Tensor, onto: Source) -> tuple[Tensor, Tensor]:
    """Gradient before the activation, from the one after it, (b, H, W, C), with its sums as in `convolve`."""
    out = torch.empty_like(onto.tensor)
    n_channels = out.shape[-1]
    padded = _padded(n_channels)
    n_pixels, block = out.numel() // n_channels, max(_ELEMENTWISE // padded, 1)
    n_programs = triton.cdiv(n_pixels, block)
    sums = torch.empty(n_programs, 2, 1, padded, device=out.device)
    _derive[(n_programs,)](
        gradient, onto.tensor, onto.coefficients, out, sums, n_pixels, n_channels, padded, block, LEAKY_SLOPE,
        _TYPES[out.dtype]
    )  # fmt: skip
    return out, sums


def _add_up(sums: Tensor) -> Tensor:
    """Two sums of each channel, padded, in float64."""
    return sums.sum((0, 2), dtype=torch.float64)


def _batch_coefficients(layer: Layer, sums: Tensor, n_values: int) -> Tensor:
    """Scale, shift, mean and inverse deviation of the batch (4, C); the running statistics take the batch in."""
    norm = layer.norm
    if norm is None:
        return _bias_alone(layer)
    out = torch.empty(4, norm.num_features, device=sums.device)
    _normalise[(1,)](
        _add_up(sums), norm.weight, norm.bias, layer.bias, norm.running_mean, norm.running_var,
        norm.num_batches_tracked, out, n_values, norm.momentum, norm.eps, norm.num_features, sums.shape[3]
    )  # fmt: skip
    return out


def _running_coefficients(layer: Layer) -> Tensor:
    norm = layer.norm
    if norm is None:
        return _bias_alone(layer)
    mean = norm.get_buffer("running_mean") - layer.bias
    inverse = torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
    scale = norm.weight * inverse
    return torch.stack([scale, norm.bias - mean * scale, mean, inverse])


def _bias_alone(layer: Layer) -> Tensor:
    one, zero = torch.ones_like(layer.bias), torch.zeros_like(layer.bias)
    return torch.stack([one, layer.bias, zero, one])


def _gradient_coefficients(coefficients: Tensor, sums: Tensor, n_values: int) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients A, B, C of the gradient before a batch norm (3, C), and the gradients of its weight and bias."""
    n_channels = coefficients.shape[1]
    out = torch.empty(5, n_channels, device=sums.device)
    _settle[(1,)](_add_up(sums), coefficients, out, n_values, n_channels, sums.shape[3])
    return out[:3], out[3], out[4]


class _Stack(torch.autograd.Function):
    """All fused layers in training: maps and parameters in, activated values of the last layer out."""

    @staticmethod
    def forward(ctx: Any, layers: Sequence[Layer], dtype: torch.dtype, maps: Tensor, *parameters: Tensor) -> Tensor:
        sources = list(_forward(layers, maps, dtype, training=True))
        ctx.layers, ctx.dtype = layers, dtype
        saved = [tensor for source in sources[1:] for tensor in (source.tensor, source.coefficients)]
        ctx.save_for_backward(maps, *saved, *(layer.convolution.weight for layer in layers))
        return activate(sources[-1])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        n = len(ctx.layers)
        maps, *saved = ctx.saved_tensors
        outputs = zip(saved[: 2 * n : 2], saved[1 : 2 * n : 2], strict=True)
        sources = [Source(maps), *(Source(y, _ACTIVATED, coefficients) for y, coefficients in outputs)]
        gradients = _backward(ctx.layers, sources, saved[2 * n :], gradient.contiguous(), ctx.dtype)
        return None, None, None, *gradients


def _forward(layers: Sequence[Layer], maps: Tensor, dtype: torch.dtype, training: bool) -> Iterator[Source]:
    """The maps, then the outputs of each layer with the coefficients that activate them."""
    yield (source := Source(maps))
    for layer in layers:
        ending = _STATISTICS if training and layer.norm is not None else _STORE
        weight, tiles = layer.convolution.weight.detach(), layer.tiles("forward")
        y, sums = convolve(source, weight, layer.kind, tiles, dtype, ending)
        n_values = y.numel() // y.shape[-1]
        coefficients = _batch_coefficients(layer, sums, n_values) if training else _running_coefficients(layer)
        yield (source := Source(y, _ACTIVATED, coefficients))


def _backward(
    layers: Sequence[Layer], sources: Sequence[Source], weights: Sequence[Tensor], gradient: Tensor, dtype: torch.dtype
) -> list[Tensor | None]:
    """Gradients of all parameters in order, from the one of the activated output."""
    gradients: list[Tensor | None] = []
    g, sums = derive(gradient, sources[-1])
    for layer, source, output, weight in zip(layers[::-1], sources[-2::-1], sources[:0:-1], weights[::-1], strict=True):
        own, received = _layer_gradients(layer, source, output, g, sums, dtype)
        gradients = [*own, *gradients]
        if source.mode == _ACTIVATED:
            g, sums = _pass_back(layer, weight, received, source, dtype)
    return gradients


def _layer_gradients(
    layer: Layer, source: Source, output: Source, g: Tensor, sums: Tensor, dtype: torch.dtype
) -> tuple[list[Tensor | None], Source]:
    """Gradients of the parameters of one layer, and the one of its convolution's outputs as kernels read it."""
    A_B_C, dgamma, dbeta = _gradient_coefficients(output.pointers[2], sums, g.numel() // g.shape[-1])
    received = Source(g) if layer.norm is None else Source(g, _GRADIENT, A_B_C, output.tensor)
    others = [dbeta] if layer.norm is None else [None, dgamma, dbeta]
    shape = layer.convolution.weight.shape
    return [correlate(source, received, shape, layer.kind, layer.tiles("weight"), dtype), *others], received


def _pass_back(
    layer: Layer, weight: Tensor, received: Source, onto: Source, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Gradient before the activation of the layer below, with its sums."""
    tiles = layer.tiles("data")
    if layer.kind == "halve":
        return convolve(received, weight, "double", tiles, dtype, _DERIVATIVE, onto)
    return convolve(received, weight.flip(2, 3).transpose(0, 1), "wrap", tiles, dtype, _DERIVATIVE, onto)


def first_layers(features: nn.Sequential, n_blocks: int) -> tuple[Layer, ...]:
    """Convolutions of the first blocks of a network, with their batch norms.

    Raises:
        UserError: a number of blocks that the network does not have.
    """
    layers = tuple(
        Layer(module, after if isinstance(after, nn.BatchNorm2d) else None)
        for module, after in pairwise(features.children())
        if isinstance(module, nn.Conv2d)
    )
    if not 1 <= n_blocks <= len(layers) // 3:
        raise UserError(f"n_blocks = {n_blocks}: this network has 1 to {len(layers) // 3} blocks to fuse")
    return layers[: 3 * n_blocks]


def remaining_blocks(features: nn.Sequential, n_blocks: int) -> nn.Sequential:
    """The modules that take on from `fused_blocks`; they are shared with the network."""
    return nn.Sequential(OrderedDict(list(features.named_children())[9 * n_blocks - 1 :]))


def can_fuse(network: MomentNetwork, maps: Tensor) -> bool:
    """Whether `fused_blocks` serves this network now: one channel, bfloat16 autocast on a GPU that computes in it.

    In float32 PyTorch is faster. Gradients reach the parameters in training mode alone, and never the maps.
    """
    device = maps.device
    is_bfloat16 = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type) == torch.bfloat16
    are_float32 = all(parameter.dtype == torch.float32 for parameter in network.features.parameters())
    has_gradient = torch.is_grad_enabled() and (maps.requires_grad or not network.training)
    is_native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return network.n_channels == 1 and is_native and is_bfloat16 and are_float32 and not has_gradient


def fused_blocks(features: nn.Sequential, maps: Tensor, n_blocks: int) -> Tensor:
    """Run the first blocks of `MomentNetwork.features`.

    Values are stored in bfloat16 under autocast to it, else in float32; statistics and sums are at least float32. In
    training mode the batch norms use and record the statistics of the batch, and gradients reach the parameters; in
    evaluation mode they use the running ones, and no gradient is kept.

    Args:
        features: of a network with one channel and float32 parameters on the device of the maps.
        maps: normalised maps, (b, 1, N, N).
        n_blocks: blocks to run.

    Returns:
        Activated output of the last of them, (b, C, N / 2^n, N / 2^n), channels last.

    Raises:
        UserError: a number of blocks that the network does not have.
    """
    layers, dtype = first_layers(features, n_blocks), _storage_dtype(maps.device)
    pixels = maps.permute(0, 2, 3, 1).contiguous()
    with torch.cuda.device_of(maps):  # type: ignore[no-untyped-call]
        if features.training:
            parameters = [parameter for layer in layers for parameter in layer.parameters]
            a: Tensor = _Stack.apply(layers, dtype, pixels, *parameters)  # type: ignore[no-untyped-call]
        else:
            with torch.no_grad():
                *_, last = _forward(layers, pixels, dtype, training=False)
                a = activate(last)
    return a.permute(0, 3, 1, 2)


def _storage_dtype(device: torch.device) -> torch.dtype:
    is_on = torch.is_autocast_enabled(device.type)
    return torch.bfloat16 if is_on and torch.get_autocast_dtype(device.type) == torch.bfloat16 else torch.float32
