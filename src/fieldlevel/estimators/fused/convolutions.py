"""Convolutions, forwards and backwards, as products of matrices that are never stored.

Every pass is one product. A *group* of output pixels sees a *window* of input pixels: rows are groups, the inner index
runs over pixels and channels of the window, columns over pixels and channels of the group, and the weights are spread
over a matrix in which some entries are zero. Two by two outputs see four by four inputs, so every input is read and
activated four times and not nine. The transposed convolution has the same form, and the gradient of the spread weights
is the transposed window times the gradient of the group.

References:
    Chetlur et al. 2014, arXiv:1410.0759 (convolution as such a product).
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import triton
import triton.language as tl
from torch import Tensor

from fieldlevel.estimators.fused.launch import launch
from fieldlevel.estimators.fused.layers import Source
from fieldlevel.estimators.fused.reading import TYPES, coefficient_rows, load, read
from fieldlevel.estimators.fused.tiles import Kind, Tiles, padded_channels
from fieldlevel.estimators.moment_head import LEAKY_SLOPE

STORE, STATISTICS, DERIVATIVE = 0, 1, 2
"""How a convolution ends: y alone, with the sums of y and y^2, as g with the sums of g and g (y - mean)."""


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
    factor, shift, mean = coefficient_rows(out_coefficients, index % padded_out, n_out, 3 if ending == 2 else 0)
    n_sums: tl.constexpr = min(block_out, padded_out)
    n_held: tl.constexpr = n_sums if ending == 1 else block_out
    total = tl.zeros((n_held,), tl.float32)
    total_product = tl.zeros((n_held,), tl.float32)
    down, across, channel = _inner(0, window, chunk, padded_in, block_in)
    A, B, C = coefficient_rows(source_coefficients, channel, n_in, mode + 1 if mode != 0 else 0)
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
                A, B, C = coefficient_rows(source_coefficients, channel, n_in, mode + 1 if mode != 0 else 0)
            at, inside = _window(
                member, row, column, first, n_maps, down, across, channel, n_rows, n_columns, stride, origin, n_in
            )
            x = read(
                source + begin_in, source_saved + begin_in, A, B, C, at, inside, mode, slope, is_whole[0], dtype
            )  # fmt: skip
            y = tl.dot(x, matrix, y, input_precision=precision)
        to, inside_out = _group(
            member, row, column, first, n_maps, index // padded_out, index % padded_out, n_rows, n_columns, group, n_out
        )
        if ending == 2:
            saved = load(out_saved + begin, to, inside_out, is_whole[1]).to(tl.float32)
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
    source, source_coefficients, gradient, gradient_saved, gradient_coefficients, derived, out, n_maps, n_tiles,
    n_rows: tl.constexpr, n_columns: tl.constexpr, tile_shape: tl.constexpr, is_whole: tl.constexpr,
    stride: tl.constexpr, window: tl.constexpr, group: tl.constexpr, chunk: tl.constexpr, origin: tl.constexpr,
    n_in: tl.constexpr, padded_in: tl.constexpr, block_in: tl.constexpr, mode: tl.constexpr,
    n_out: tl.constexpr, padded_out: tl.constexpr, block_out: tl.constexpr, gradient_mode: tl.constexpr,
    is_stored: tl.constexpr, slope: tl.constexpr, dtype: tl.constexpr, precision: tl.constexpr
):  # fmt: skip
    n_steps: tl.constexpr = (window[0] // chunk[0]) * (window[1] // chunk[1]) * (padded_in // block_in)
    n_all: tl.constexpr = group[0] * group[1] * padded_out
    per_map_in: tl.constexpr = n_rows * stride[0] * n_columns * stride[1] * n_in
    per_map_out: tl.constexpr = n_rows * group[0] * n_columns * group[1] * n_out
    index = tl.program_id(0) // n_steps * block_out + tl.arange(0, block_out)
    down, across, channel = _inner(tl.program_id(0) % n_steps, window, chunk, padded_in, block_in)
    step = tl.full((block_out,), tl.program_id(0) % n_steps, tl.int32)
    s, t, _ = coefficient_rows(source_coefficients, channel, n_in, 2 if mode == 1 else 0)
    A, B, C = coefficient_rows(gradient_coefficients, index % padded_out, n_out, 3 if gradient_mode == 2 else 0)
    total = tl.zeros((chunk[0] * chunk[1] * block_in, block_out), tl.float32)
    for tile in range(tl.program_id(1), n_tiles, tl.num_programs(1)):
        first, member, row, column = _tile_groups(tile, n_rows, n_columns, tile_shape)
        begin_in = tl.cast(first, tl.int64) * per_map_in
        begin = tl.cast(first, tl.int64) * per_map_out
        at, inside = _window(
            member, row, column, first, n_maps, down, across, channel, n_rows, n_columns, stride, origin, n_in
        )
        x = read(source + begin_in, source, s, t, t, at, inside, mode, slope, is_whole[0], dtype)
        to, inside_out = _group(
            member, row, column, first, n_maps, index // padded_out, index % padded_out, n_rows, n_columns, group, n_out
        )
        dy = read(
            gradient + begin, gradient_saved + begin, A, B, C, to, inside_out, gradient_mode, slope, is_whole[1], dtype
        )
        if is_stored:
            tl.store(derived + begin + to, dy, mask=inside_out & (step == 0)[None, :])
        total = tl.dot(tl.trans(x), dy, total, input_precision=precision)
    entry = ((down * window[1] + across) * padded_in + channel)[:, None] * n_all + index[None, :]
    begin_out = tl.program_id(1).to(tl.int64) * (window[0] * window[1] * padded_in * n_all)
    tl.store(out + begin_out + entry, total)


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
        return (*self.window, padded_channels(n_in), *self.group, padded_channels(n_out))

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


def _spread(weight: Tensor, form: _Form, dtype: torch.dtype) -> Tensor:
    """Weights (C', C, k, k) as the matrix of a form; those of a transposed convolution (C, C', 2, 2) likewise."""
    is_transposed = form.step == 0
    n_in, n_out = weight.shape[:2] if is_transposed else weight.shape[1::-1]
    spread = torch.zeros(form.weights(n_in, n_out), dtype=dtype, device=weight.device)
    if is_transposed:
        spread[0, 0, :n_in, :, :, :n_out] = weight.permute(0, 2, 3, 1)
    else:
        form.entries(spread, n_in, n_out).copy_(weight.permute(2, 3, 1, 0)[:, :, None, None])
    return spread


def _cut(source: Tensor, form: _Form, tiles: Tiles, n_in: int, n_out: int) -> tuple[int, dict[str, Any]]:
    """Number of tiles, and what both kernels know when they are compiled."""
    n_maps, height, width, _ = source.shape
    n_rows, n_columns = height // form.stride[0], width // form.stride[1]
    across = min(tiles.width, n_columns)
    down = min(tiles.block // across, n_rows)
    maps = tiles.block // (across * down)
    padded_in, padded_out = padded_channels(n_in), padded_channels(n_out)
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
    ending: int = STORE,
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
    numbers = len(out), n_tiles, tiles.depth
    known |= {"mode": source.mode, "ending": ending, "dtype": TYPES[dtype]}
    launch(_convolve, (n_programs, n_all // block), *pointers, *numbers, **known)
    return out, sums


def correlate(
    source: Source,
    gradient: Source,
    weight_shape: torch.Size,
    kind: Kind,
    tiles: Tiles,
    dtype: torch.dtype,
    is_stored: bool = False,
) -> tuple[Tensor, Source]:
    """Gradient of the weights of a convolution.

    Args:
        source: what was convolved.
        gradient: of the loss in the outputs of the convolution.
        weight_shape: (C', C, k, k).
        kind: of the convolution.
        tiles: how the work is cut.
        dtype: in which the factors are multiplied; sums are taken in float32.
        is_stored: whether to store the gradient as it was multiplied, for a kernel that reads it many times over.

    Returns:
        The gradient of the weights (C', C, k, k) in float32, and that in the outputs as it is best read from now on.
    """
    form = _form(kind, tiles)
    n_out, n_in = weight_shape[:2]
    n_tiles, known = _cut(source.tensor, form, tiles, n_in, n_out)
    n_programs, shape = min(tiles.depth, n_tiles), form.weights(n_in, n_out)
    n_steps = form.window[0] * form.window[1] * shape[2] // (tiles.chunk[0] * tiles.chunk[1] * known["block_in"])
    parts = torch.empty(n_programs, *shape, device=source.tensor.device)
    n_cuts = shape[3] * shape[4] * shape[5] // known["block_out"]
    derived = torch.empty_like(gradient.tensor, dtype=dtype) if is_stored else gradient.tensor
    tensors = source.pointers[0], source.pointers[2], *gradient.pointers, derived, parts
    known |= {"mode": source.mode, "gradient_mode": gradient.mode, "is_stored": is_stored, "dtype": TYPES[dtype]}
    launch(_correlate, (n_steps * n_cuts, n_programs), *tensors, len(source.tensor), n_tiles, **known)
    weights = form.entries(parts.sum(0), n_in, n_out).sum((2, 3)).permute(3, 2, 0, 1)
    return weights, Source(derived) if is_stored else gradient
