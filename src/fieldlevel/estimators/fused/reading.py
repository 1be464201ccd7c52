"""Device functions that every kernel reads with.

Each loads stored numbers and makes of them what is meant: nothing, lrelu(s y + t), or A g + B y + C.
"""

import torch
import triton
import triton.language as tl

TYPES = {torch.bfloat16: tl.bfloat16, torch.float32: tl.float32}


@triton.jit
def coefficient_rows(coefficients, channel, n_channels: tl.constexpr, n_rows: tl.constexpr):  # type: ignore[no-untyped-def]
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
def load(tensor, at, inside, is_whole: tl.constexpr):  # type: ignore[no-untyped-def]
    """Numbers as they are stored; zero outside, unless all are inside."""
    return tl.load(tensor + at) if is_whole else tl.load(tensor + at, mask=inside, other=0.0)


@triton.jit
def read(  # type: ignore[no-untyped-def]
    tensor, saved, first, second, third, at, inside, mode: tl.constexpr, slope: tl.constexpr,
    is_whole: tl.constexpr, dtype: tl.constexpr
):  # fmt: skip
    """Values as they are, activated, or the gradient A g + B y + C; zero outside."""
    x = load(tensor, at, inside, is_whole)
    if mode == 1:
        x = x.to(tl.float32) * first + second
        x = tl.maximum(x, slope * x)
    if mode == 2:
        x = x.to(tl.float32) * first + (load(saved, at, inside, is_whole).to(tl.float32) * second + third)
    if mode != 0 and not is_whole:
        x = tl.where(inside, x, 0.0)
    return x.to(dtype)
