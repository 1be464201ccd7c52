r"""Fused CUDA kernels for the particle mesh: painting, gradient, reading, kick and drift in one pass over memory each.

They compute what `fieldlevel.numerics.mesh` computes. Painting adds integers: weights are rounded to multiples of
2^-16, and sums of integers do not depend on the order in which threads arrive, so a simulation repeats to the bit on
the same device. A cell can hold 32,767 times the mass unit.

Painting is bound by atomic additions. Two cells next to each other along the last axis share a 64-bit integer, so a
particle makes four additions instead of eight: pairs begin at even cells in one mesh and at odd cells in another, and
the mass of a cell is the sum of the halves that are its own. The kick reads the gradient in half precision, a quarter
of whose memory traffic it is bound by: 2^-11 of each value, unbiased, where time steps err by a hundred times more.

Importing this module needs Triton, which CUDA builds of PyTorch bring with them.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

_PARTS = 1 << 16
"""Of the mass unit that weights are rounded to."""
_SLOPE_UNIT = 16.0
"""Of gradients in half precision: in cells up to a million, far above those of any halo, and normal from 0.001."""
_BLOCK = 256


@triton.jit
def _corner(x, n_mesh: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    """Lower node, upper node and weight of the upper node along one periodic axis."""
    lower = tl.floor(x)
    cell = lower.to(tl.int32) % n_mesh
    cell = tl.where(cell < 0, cell + n_mesh, cell).to(index)
    above = tl.where(cell == n_mesh - 1, 0, cell + 1)
    return cell, above, x - lower


@triton.jit
def _paint(position, pairs, scale, n_points, n_mesh: tl.constexpr, block: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    point = tl.program_id(0).to(index) * block + tl.arange(0, block)
    inside = point < n_points
    x0, x1, wx = _corner(tl.load(position + 3 * point, mask=inside, other=0.0), n_mesh, index)
    y0, y1, wy = _corner(tl.load(position + 3 * point + 1, mask=inside, other=0.0), n_mesh, index)
    z0, _, wz = _corner(tl.load(position + 3 * point + 2, mask=inside, other=0.0), n_mesh, index)
    half: tl.constexpr = n_mesh // 2
    of_parity = pairs + (z0 % 2).to(tl.int64) * (n_mesh * n_mesh * half)
    for corner in tl.static_range(4):
        x, vx = (x1, wx) if corner & 2 else (x0, 1 - wx)
        y, vy = (y1, wy) if corner & 1 else (y0, 1 - wy)
        mass = vx * vy * scale
        lower = tl.floor(mass * (1 - wz) + 0.5).to(tl.int64)
        upper = tl.floor(mass * wz + 0.5).to(tl.int64)
        place = of_parity + (x * n_mesh + y) * half + z0 // 2
        tl.atomic_add(place, lower + (upper << 32), mask=inside, sem="relaxed")


@triton.jit
def _lower(pair):  # type: ignore[no-untyped-def]
    """The signed integer in the low half of a pair."""
    return (pair << 32) >> 32


@triton.jit
def _upper(pair):  # type: ignore[no-untyped-def]
    """The signed integer in the high half, which a negative low half has borrowed from."""
    return (pair - _lower(pair)) >> 32


@triton.jit
def _density(pairs, density, unit, n_mesh: tl.constexpr, block: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    half: tl.constexpr = n_mesh // 2
    n_pairs: tl.constexpr = n_mesh * n_mesh * half
    pair = tl.program_id(0).to(index) * block + tl.arange(0, block)
    inside = pair < n_pairs
    along = pair % half
    before = tl.where(along == 0, pair + half - 1, pair - 1)
    even = tl.load(pairs + pair, mask=inside, other=0)
    odd = tl.load(pairs + n_pairs + pair, mask=inside, other=0)
    odd_before = tl.load(pairs + n_pairs + before, mask=inside, other=0)
    first = (_lower(even) + _upper(odd_before)).to(tl.float32) * unit
    second = (_upper(even) + _lower(odd)).to(tl.float32) * unit
    place = 2 * tl.program_id(0).to(index) * block + tl.arange(0, 2 * block)
    tl.store(density + place, tl.interleave(first, second), mask=place < 2 * n_pairs)


@triton.jit
def _slope(field, base, step, coordinate, n_mesh: tl.constexpr, inside):  # type: ignore[no-untyped-def]
    """Fourth-order central difference along an axis whose nodes lie `step` apart; `base` is node 0 of the line."""
    ahead = tl.where(coordinate + 1 >= n_mesh, coordinate + 1 - n_mesh, coordinate + 1)
    ahead2 = tl.where(coordinate + 2 >= n_mesh, coordinate + 2 - n_mesh, coordinate + 2)
    behind = tl.where(coordinate < 1, coordinate - 1 + n_mesh, coordinate - 1)
    behind2 = tl.where(coordinate < 2, coordinate - 2 + n_mesh, coordinate - 2)
    near = tl.load(field + base + ahead * step, mask=inside) - tl.load(field + base + behind * step, mask=inside)
    far = tl.load(field + base + ahead2 * step, mask=inside) - tl.load(field + base + behind2 * step, mask=inside)
    return (8.0 * near - far) / 12.0


@triton.jit
def _gradient(field, slope, unit, n_mesh: tl.constexpr, block: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    """The gradient in multiples of a unit, in the precision of `slope`."""
    cell = tl.program_id(0).to(index) * block + tl.arange(0, block)
    inside = cell < n_mesh * n_mesh * n_mesh
    z = cell % n_mesh
    y = (cell // n_mesh) % n_mesh
    x = cell // (n_mesh * n_mesh)
    plane: tl.constexpr = n_mesh * n_mesh
    n_numbers: tl.constexpr = 4 * plane * n_mesh
    gx = _slope(field, cell - x * plane, plane, x, n_mesh, inside)
    gy = _slope(field, cell - y * n_mesh, n_mesh, y, n_mesh, inside)
    gz = _slope(field, cell - z, 1, z, n_mesh, inside)
    interleaved = tl.reshape(tl.join(tl.join(gx, gz), tl.join(gy, tl.zeros_like(gx))), (4 * block,)) / unit
    place = 4 * tl.program_id(0).to(index) * block + tl.arange(0, 4 * block)
    tl.store(slope + place, interleaved.to(slope.dtype.element_ty), mask=place < n_numbers)


@triton.jit
def _read(slope, x, y, z, inside, n_mesh: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    """Interleaved gradient interpolated linearly to the points."""
    x0, x1, wx = _corner(x, n_mesh, index)
    y0, y1, wy = _corner(y, n_mesh, index)
    z0, z1, wz = _corner(z, n_mesh, index)
    gx, gy, gz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for corner in tl.static_range(8):
        i, vx = (x1, wx) if corner & 4 else (x0, 1 - wx)
        j, vy = (y1, wy) if corner & 2 else (y0, 1 - wy)
        k, vz = (z1, wz) if corner & 1 else (z0, 1 - wz)
        node = slope + 4 * ((i * n_mesh + j) * n_mesh + k)
        weight = vx * vy * vz
        gx += weight * tl.load(node, mask=inside, other=0.0).to(tl.float32)
        gy += weight * tl.load(node + 1, mask=inside, other=0.0).to(tl.float32)
        gz += weight * tl.load(node + 2, mask=inside, other=0.0).to(tl.float32)
    return gx, gy, gz


@triton.jit
def _sample(field, position, out, n_points, n_mesh: tl.constexpr, block: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    """One field interpolated linearly to the points."""
    point = tl.program_id(0).to(index) * block + tl.arange(0, block)
    inside = point < n_points
    x0, x1, wx = _corner(tl.load(position + 3 * point, mask=inside, other=0.0), n_mesh, index)
    y0, y1, wy = _corner(tl.load(position + 3 * point + 1, mask=inside, other=0.0), n_mesh, index)
    z0, z1, wz = _corner(tl.load(position + 3 * point + 2, mask=inside, other=0.0), n_mesh, index)
    value = tl.zeros_like(wx)
    for corner in tl.static_range(8):
        i, vx = (x1, wx) if corner & 4 else (x0, 1 - wx)
        j, vy = (y1, wy) if corner & 2 else (y0, 1 - wy)
        k, vz = (z1, wz) if corner & 1 else (z0, 1 - wz)
        value += vx * vy * vz * tl.load(field + (i * n_mesh + j) * n_mesh + k, mask=inside, other=0.0)
    tl.store(out + point, value, mask=inside)


@triton.jit
def _gather(slope, position, out, n_points, n_mesh: tl.constexpr, block: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    point = tl.program_id(0).to(index) * block + tl.arange(0, block)
    inside = point < n_points
    x = tl.load(position + 3 * point, mask=inside, other=0.0)
    y = tl.load(position + 3 * point + 1, mask=inside, other=0.0)
    z = tl.load(position + 3 * point + 2, mask=inside, other=0.0)
    gx, gy, gz = _read(slope, x, y, z, inside, n_mesh, index)
    tl.store(out + 3 * point, gx, mask=inside)
    tl.store(out + 3 * point + 1, gy, mask=inside)
    tl.store(out + 3 * point + 2, gz, mask=inside)


@triton.jit
def _push(  # type: ignore[no-untyped-def]
    slope,
    position,
    velocity,
    keep,
    kick,
    drift,
    n_points,
    n_mesh: tl.constexpr,
    block: tl.constexpr,
    index: tl.constexpr,
):
    point = tl.program_id(0).to(index) * block + tl.arange(0, block)
    inside = point < n_points
    x = tl.load(position + 3 * point, mask=inside, other=0.0)
    y = tl.load(position + 3 * point + 1, mask=inside, other=0.0)
    z = tl.load(position + 3 * point + 2, mask=inside, other=0.0)
    gx, gy, gz = _read(slope, x, y, z, inside, n_mesh, index)
    vx = keep * tl.load(velocity + 3 * point, mask=inside) + kick * gx
    vy = keep * tl.load(velocity + 3 * point + 1, mask=inside) + kick * gy
    vz = keep * tl.load(velocity + 3 * point + 2, mask=inside) + kick * gz
    tl.store(velocity + 3 * point, vx, mask=inside)
    tl.store(velocity + 3 * point + 1, vy, mask=inside)
    tl.store(velocity + 3 * point + 2, vz, mask=inside)
    tl.store(position + 3 * point, x + drift * vx, mask=inside)
    tl.store(position + 3 * point + 1, y + drift * vy, mask=inside)
    tl.store(position + 3 * point + 2, z + drift * vz, mask=inside)


@triton.jit
def _multiply(modes, kernel, n_modes, block: tl.constexpr, index: tl.constexpr):  # type: ignore[no-untyped-def]
    """Complex numbers times real ones."""
    part = 2 * tl.program_id(0).to(index) * block + tl.arange(0, 2 * block)
    inside = part < 2 * n_modes
    factor = tl.load(kernel + part // 2, mask=inside, other=0.0)
    tl.store(modes + part, factor * tl.load(modes + part, mask=inside, other=0.0), mask=inside)


def _blocks(n: int) -> tuple[int]:
    return (triton.cdiv(n, _BLOCK),)


def _index(n_mesh: int, n_points: int = 0) -> tl.dtype:
    """What counts the numbers of gradients and points: wider where there are 2^31 of them, which is a little slower."""
    is_narrow = max(4 * n_mesh**3, 3 * n_points) + 4 * _BLOCK < 2**31
    return tl.int32 if is_narrow else tl.int64


def paint_species(positions: Sequence[Tensor], n_mesh: int, masses: Sequence[float]) -> Tensor:
    """Mass in each cell (n, n, n) of several kinds of particles, see `fieldlevel.numerics.mesh.paint_species`.

    Args:
        positions: (p_i, 3) float32 in cells of each kind.
        n_mesh: cells a side, even.
        masses: of a particle of each kind, of either sign.
    """
    device = positions[0].device
    pairs = torch.zeros(2, n_mesh, n_mesh, n_mesh // 2, dtype=torch.int64, device=device)
    for kind, mass in zip(positions, masses, strict=True):
        index = _index(n_mesh, len(kind))
        _paint[_blocks(len(kind))](kind.contiguous(), pairs, mass * _PARTS, len(kind), n_mesh, _BLOCK, index)
    density = torch.empty(n_mesh, n_mesh, n_mesh, device=device)
    _density[_blocks(density.numel() // 2)](pairs, density, 1 / _PARTS, n_mesh, _BLOCK, _index(n_mesh))
    return density


def read_field(field: Tensor, positions: Tensor) -> Tensor:
    """A field (n, n, n) interpolated to the particles: (p,)."""
    out, n_points, n_mesh = torch.empty_like(positions[:, 0]), len(positions), field.shape[0]
    _sample[_blocks(n_points)](field, positions, out, n_points, n_mesh, _BLOCK, _index(n_mesh, n_points))
    return out


def gradient_at(field: Tensor, positions: Tensor) -> Tensor:
    """Gradient of a field (n, n, n) interpolated to the particles: (p, 3) per cell."""
    slope, out = _interleaved_gradient(field, torch.float32, 1.0), torch.empty_like(positions)
    n_points, n_mesh = len(positions), field.shape[0]
    _gather[_blocks(n_points)](slope, positions, out, n_points, n_mesh, _BLOCK, _index(n_mesh, n_points))
    return out


def push_particles(
    position: Tensor, velocity: Tensor, potential: Tensor, *, keep: float, kick: float, drift: float
) -> None:
    """Kick and drift in place, see `fieldlevel.numerics.mesh.push_particles`."""
    slope = _interleaved_gradient(potential, torch.float16, _SLOPE_UNIT)
    n_points, n_mesh = len(position), potential.shape[0]
    of_unit, index = kick * _SLOPE_UNIT, _index(n_mesh, n_points)
    _push[_blocks(n_points)](slope, position, velocity, keep, of_unit, drift, n_points, n_mesh, _BLOCK, index)


def _interleaved_gradient(field: Tensor, precision: torch.dtype, unit: float) -> Tensor:
    slope = field.new_empty(*field.shape, 4, dtype=precision)
    _gradient[_blocks(field.numel())](field, slope, unit, field.shape[0], _BLOCK, _index(field.shape[0]))
    return slope


def multiply_modes(modes: Tensor, kernel: Tensor) -> None:
    """Multiply complex64 modes in place by a float32 kernel of the same strides; both fill their memory."""
    _multiply[_blocks(modes.numel())](torch.view_as_real(modes), kernel, modes.numel(), _BLOCK, _index(modes.shape[0]))
