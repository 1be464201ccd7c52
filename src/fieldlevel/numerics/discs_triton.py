"""Fused CUDA kernel that spreads particles over slabs, rungs of the ladder of radii and fine cells in one pass.

It computes what `paint_linear` does for `fieldlevel.numerics.discs.paint_slabs`, in integers: weights are rounded to
multiples of 2^-24 of the largest mass, so maps repeat to the bit on the same device. Importing this module needs
Triton.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_PARTS = 1 << 24
_BLOCK = 256


@triton.jit
def _wrapped(x):  # type: ignore[no-untyped-def]
    """Into [0, 1), or 1 by round-off."""
    return x - tl.floor(x)


@triton.jit
def _cells(x, n_fine: tl.constexpr):  # type: ignore[no-untyped-def]
    """Fine cell below a place in [0, 1], the next one, and the weight of the next."""
    place = x * n_fine - 0.5
    lower = tl.floor(place)
    cell = (lower.to(tl.int32) + n_fine) % n_fine
    return cell, (cell + 1) % n_fine, place - lower


@triton.jit
def _rung(square, squares, n_rungs: tl.constexpr):  # type: ignore[no-untyped-def]
    """Lower rung of a squared radius and the weight of the upper one, linear in the square."""
    square = tl.minimum(square, tl.load(squares + n_rungs - 1))
    rung = tl.zeros_like(square).to(tl.int32)
    for above in tl.static_range(1, n_rungs - 1):
        rung += (square >= tl.load(squares + above)).to(tl.int32)
    low = tl.load(squares + rung)
    return rung, (square - low) / (tl.load(squares + rung + 1) - low)


@triton.jit
def _deposit(  # type: ignore[no-untyped-def]
    position,
    radius,
    mass,
    squares,
    nodes,
    parts,
    thickness,
    n_points,
    n_slabs,
    first: tl.constexpr,
    second: tl.constexpr,
    behind: tl.constexpr,
    fills_the_box: tl.constexpr,
    n_rungs: tl.constexpr,
    n_fine: tl.constexpr,
    block: tl.constexpr,
):
    point = tl.program_id(0) * block + tl.arange(0, block)
    inside = point < n_points
    depth = _wrapped(tl.load(position + 3 * point + behind, mask=inside, other=0.0))
    slab = tl.floor(depth / thickness).to(tl.int32)
    if fills_the_box:
        slab = tl.minimum(slab, n_slabs - 1)
    inside = inside & (slab < n_slabs)
    u0, u1, wu = _cells(_wrapped(tl.load(position + 3 * point + first, mask=inside, other=0.0)), n_fine)
    v0, v1, wv = _cells(_wrapped(tl.load(position + 3 * point + second, mask=inside, other=0.0)), n_fine)
    reach = tl.load(radius + point, mask=inside, other=0.0) * n_fine
    rung, wr = _rung(reach * reach, squares, n_rungs)
    whole = tl.load(mass + point, mask=inside, other=0.0) * parts
    for corner in tl.static_range(8):
        level, vr = (rung + 1, wr) if corner & 4 else (rung, 1 - wr)
        u, vu = (u1, wu) if corner & 2 else (u0, 1 - wu)
        v, vv = (v1, wv) if corner & 1 else (v0, 1 - wv)
        amount = tl.floor(vr * vu * vv * whole + 0.5).to(tl.int64)
        image = (slab * n_rungs + level).to(tl.int64) * (n_fine * n_fine)
        tl.atomic_add(nodes + image + u * n_fine + v, amount, mask=inside & (amount != 0), sem="relaxed")


def deposit(
    position: Tensor, radius: Tensor, mass: Tensor, axis: int, slabs: tuple[int, float], squares: Tensor, n_fine: int
) -> Tensor:
    """Mass of particles in fine cells, apart by slab and rung.

    Args:
        position: (n, 3) float32 in units of the box, any real numbers (wrapped).
        radius: (n,) of the discs in units of the box.
        mass: (n,).
        axis: along which the box is cut.
        slabs: how many there are, and their thickness in units of the box.
        squares: (rungs,) squared radii of the ladder in fine cells, ascending from zero.
        n_fine: fine cells a side.

    Returns:
        (slabs, rungs, n_fine, n_fine) float64.
    """
    (n_slabs, thickness), n_rungs = slabs, len(squares)
    if not len(position):
        return torch.zeros(n_slabs, n_rungs, n_fine, n_fine, dtype=torch.float64, device=position.device)
    unit = mass.abs().amax().clamp(min=torch.finfo(mass.dtype).tiny).double()
    nodes = torch.zeros(n_slabs, n_rungs, n_fine, n_fine, dtype=torch.int64, device=position.device)
    planes = [other for other in range(3) if other != axis]
    fills_the_box = n_slabs * thickness > 1 - 1e-6
    _deposit[(triton.cdiv(len(position), _BLOCK),)](
        position.contiguous(),
        radius.contiguous(),
        (mass / unit).to(torch.float32),
        squares,
        nodes,
        _PARTS,
        thickness,
        len(position),
        n_slabs,
        *planes,
        axis,
        fills_the_box,
        n_rungs,
        n_fine,
        _BLOCK,
    )
    return nodes * (unit / _PARTS)
