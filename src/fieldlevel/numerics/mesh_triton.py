r"""Fused CUDA kernels for the particle mesh: painting, gradient, kick and drift in one pass over memory each.

They compute what `fieldlevel.numerics.mesh` computes. Painting adds integers: weights are rounded to multiples of
2^-16, and sums of integers do not depend on the order in which threads arrive, so a simulation repeats to the bit on
the same device. A cell can hold 32,767 times the mass unit. Importing this module needs Triton, which CUDA builds of
PyTorch bring with them.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_UNIT = 1 << 16
_BLOCK = 256


@triton.jit
def _corner(x, n_mesh: tl.constexpr):  # type: ignore[no-untyped-def]
    """Lower node, upper node and weight of the upper node along one periodic axis."""
    lower = tl.floor(x)
    cell = lower.to(tl.int32) % n_mesh
    cell = tl.where(cell < 0, cell + n_mesh, cell)
    above = tl.where(cell == n_mesh - 1, 0, cell + 1)
    return cell, above, x - lower


@triton.jit
def _paint(position, counts, scale, n_points, n_mesh: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    point = tl.program_id(0) * block + tl.arange(0, block)
    inside = point < n_points
    x0, x1, wx = _corner(tl.load(position + 3 * point, mask=inside, other=0.0), n_mesh)
    y0, y1, wy = _corner(tl.load(position + 3 * point + 1, mask=inside, other=0.0), n_mesh)
    z0, z1, wz = _corner(tl.load(position + 3 * point + 2, mask=inside, other=0.0), n_mesh)
    for corner in tl.static_range(8):
        x, vx = (x1, wx) if corner & 4 else (x0, 1 - wx)
        y, vy = (y1, wy) if corner & 2 else (y0, 1 - wy)
        z, vz = (z1, wz) if corner & 1 else (z0, 1 - wz)
        weight = tl.floor(vx * vy * vz * scale + 0.5).to(tl.int32)
        tl.atomic_add(counts + (x * n_mesh + y) * n_mesh + z, weight, mask=inside, sem="relaxed")


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
def _gradient(field, slope, n_mesh: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    cell = tl.program_id(0) * block + tl.arange(0, block)
    inside = cell < n_mesh * n_mesh * n_mesh
    z = cell % n_mesh
    y = (cell // n_mesh) % n_mesh
    x = cell // (n_mesh * n_mesh)
    plane = n_mesh * n_mesh
    gx = _slope(field, cell - x * plane, plane, x, n_mesh, inside)
    gy = _slope(field, cell - y * n_mesh, n_mesh, y, n_mesh, inside)
    gz = _slope(field, cell - z, 1, z, n_mesh, inside)
    interleaved = tl.join(tl.join(gx, gz), tl.join(gy, tl.zeros_like(gx)))
    first = 4 * tl.program_id(0) * block
    place = first + tl.arange(0, 4 * block)
    tl.store(slope + place, tl.reshape(interleaved, (4 * block,)), mask=place < 4 * plane * n_mesh)


@triton.jit
def _read(slope, x, y, z, inside, n_mesh: tl.constexpr):  # type: ignore[no-untyped-def]
    """Interleaved gradient interpolated linearly to the points."""
    x0, x1, wx = _corner(x, n_mesh)
    y0, y1, wy = _corner(y, n_mesh)
    z0, z1, wz = _corner(z, n_mesh)
    gx, gy, gz = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    for corner in tl.static_range(8):
        i, vx = (x1, wx) if corner & 4 else (x0, 1 - wx)
        j, vy = (y1, wy) if corner & 2 else (y0, 1 - wy)
        k, vz = (z1, wz) if corner & 1 else (z0, 1 - wz)
        node = slope + 4 * ((i * n_mesh + j) * n_mesh + k)
        weight = vx * vy * vz
        gx += weight * tl.load(node, mask=inside, other=0.0)
        gy += weight * tl.load(node + 1, mask=inside, other=0.0)
        gz += weight * tl.load(node + 2, mask=inside, other=0.0)
    return gx, gy, gz


@triton.jit
def _gather(slope, position, out, n_points, n_mesh: tl.constexpr, block: tl.constexpr):  # type: ignore[no-untyped-def]
    point = tl.program_id(0) * block + tl.arange(0, block)
    inside = point < n_points
    x = tl.load(position + 3 * point, mask=inside, other=0.0)
    y = tl.load(position + 3 * point + 1, mask=inside, other=0.0)
    z = tl.load(position + 3 * point + 2, mask=inside, other=0.0)
    gx, gy, gz = _read(slope, x, y, z, inside, n_mesh)
    tl.store(out + 3 * point, gx, mask=inside)
    tl.store(out + 3 * point + 1, gy, mask=inside)
    tl.store(out + 3 * point + 2, gz, mask=inside)


@triton.jit
def _push(  # type: ignore[no-untyped-def]
    slope, position, velocity, keep, kick, drift, n_points, n_mesh: tl.constexpr, block: tl.constexpr
):
    point = tl.program_id(0) * block + tl.arange(0, block)
    inside = point < n_points
    x = tl.load(position + 3 * point, mask=inside, other=0.0)
    y = tl.load(position + 3 * point + 1, mask=inside, other=0.0)
    z = tl.load(position + 3 * point + 2, mask=inside, other=0.0)
    gx, gy, gz = _read(slope, x, y, z, inside, n_mesh)
    vx = keep * tl.load(velocity + 3 * point, mask=inside) + kick * gx
    vy = keep * tl.load(velocity + 3 * point + 1, mask=inside) + kick * gy
    vz = keep * tl.load(velocity + 3 * point + 2, mask=inside) + kick * gz
    tl.store(velocity + 3 * point, vx, mask=inside)
    tl.store(velocity + 3 * point + 1, vy, mask=inside)
    tl.store(velocity + 3 * point + 2, vz, mask=inside)
    tl.store(position + 3 * point, x + drift * vx, mask=inside)
    tl.store(position + 3 * point + 1, y + drift * vy, mask=inside)
    tl.store(position + 3 * point + 2, z + drift * vz, mask=inside)


def _blocks(n: int) -> tuple[int]:
    return (triton.cdiv(n, _BLOCK),)


def new_counts(n_mesh: int, device: torch.device) -> Tensor:
    """An empty integer mesh for `add_particles`."""
    return torch.zeros(n_mesh, n_mesh, n_mesh, dtype=torch.int32, device=device)


def add_particles(counts: Tensor, positions: Tensor, mass: float) -> None:
    """Paint particles of one mass onto an integer mesh, in place.

    Args:
        counts: (n, n, n) int32, multiples of 2^-16 of the mass unit.
        positions: (p, 3) float32, contiguous, in cells.
        mass: of each particle.
    """
    n_mesh = counts.shape[0]
    _paint[_blocks(len(positions))](positions, counts, mass * _UNIT, len(positions), n_mesh, _BLOCK)


def density(counts: Tensor) -> Tensor:
    """Mass in each cell, float32, of an integer mesh."""
    return counts * (1 / _UNIT)


def gradient_at(field: Tensor, positions: Tensor) -> Tensor:
    """Gradient of a field (n, n, n) interpolated to the particles: (p, 3) per cell."""
    slope, out = _interleaved_gradient(field), torch.empty_like(positions)
    _gather[_blocks(len(positions))](slope, positions, out, len(positions), field.shape[0], _BLOCK)
    return out


def push_particles(
    position: Tensor, velocity: Tensor, potential: Tensor, *, keep: float, kick: float, drift: float
) -> None:
    """Kick and drift in place, see `fieldlevel.numerics.mesh.push_particles`."""
    slope = _interleaved_gradient(potential)
    n_points, n_mesh = len(position), potential.shape[0]
    _push[_blocks(n_points)](slope, position, velocity, keep, kick, drift, n_points, n_mesh, _BLOCK)


def _interleaved_gradient(field: Tensor) -> Tensor:
    slope = field.new_empty(*field.shape, 4)
    _gradient[_blocks(field.numel())](field, slope, field.shape[0], _BLOCK)
    return slope
