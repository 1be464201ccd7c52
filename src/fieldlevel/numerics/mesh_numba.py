"""Cloud-in-cell painting, reading and pushing on a CPU, compiled; `fieldlevel.numerics.mesh` has the formulas.

Each particle is taken once, in the order in which they lie in memory, and touches eight nodes. Painting is one thread's
work, so that its sums do not depend on the number of threads; reading is that of all that PyTorch may take. Positions
that are not finite give numbers that are not, and touch nothing outside the mesh.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.numerics.compiled import compiled

Array = npt.NDArray[np.floating]
_AT_ONCE = 1 << 16


def paint_species(positions: Sequence[Tensor], n_mesh: int, masses: Sequence[float]) -> Tensor:
    """Paint kinds of particles onto one periodic mesh.

    Args:
        positions: (n_i, 3) in cells of each kind, any real numbers (wrapped).
        n_mesh: cells a side.
        masses: mass of a particle of each kind.

    Returns:
        (n_mesh, n_mesh, n_mesh) mass in each cell.
    """
    mesh = positions[0].new_zeros((n_mesh,) * 3)
    for kind, mass in zip(positions, masses, strict=True):
        _paint_periodic(kind.numpy(), mass, mesh.numpy())
    return mesh


def paint_linear(positions: Tensor, mass: Tensor, nodes: Tensor) -> Tensor:
    """Add particles to the nodes of a mesh that is not periodic.

    Args:
        positions: (n, 3), coordinate i within [0, nodes.shape[i] - 1].
        mass: (n,).
        nodes: changed in place.

    Returns:
        The nodes.
    """
    _paint_open(positions.numpy(), mass.numpy(), nodes.numpy())
    return nodes


def read_fields(fields: Tensor, positions: Tensor) -> Tensor:
    """Interpolate periodic fields to the particles.

    Args:
        fields: (n, n, n, c), contiguous.
        positions: (p, 3) in cells, any real numbers (wrapped).

    Returns:
        (p, c) values.
    """
    values = positions.new_empty(len(positions), fields.shape[-1])
    _share(_read, len(positions), fields.numpy(), positions.numpy(), values.numpy())
    return values


def gradient(field: Tensor) -> Tensor:
    """Fourth-order central differences of a periodic field (n, n, n) per cell, as (n, n, n, 3)."""
    slopes = field.new_empty(*field.shape, 3)
    _share(_differentiate, len(field), field.numpy(), slopes.numpy(), at_once=8)
    return slopes


def push_particles(
    position: Tensor, velocity: Tensor, potential: Tensor, *, keep: float, kick: float, drift: float
) -> None:
    """Kick, then drift, in place; see `mesh.push_particles`."""
    slopes, factors = gradient(potential).numpy(), np.array([keep, kick, drift], dtype=position.numpy().dtype)
    _share(_push, len(position), slopes, position.numpy(), velocity.numpy(), factors)


def _share(work: Callable[..., None], n_pieces: int, *arrays: Array, at_once: int = _AT_ONCE) -> None:
    """Let PyTorch's number of threads do `work(first, last, *arrays)` of all pieces."""
    if torch.get_num_threads() == 1:
        work(0, n_pieces, *arrays)
        return
    edges = [*range(0, n_pieces, at_once), n_pieces]
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(lambda first, last: work(first, last, *arrays), edges[:-1], edges[1:]))


@compiled
def _cell(x: float, last: int) -> int:
    """The interval of an axis that holds a coordinate; the first for NaN and infinity, which the weights then show."""
    return min(max(int(x), 0), last)


@compiled
def _below(x: float, n: int) -> tuple[int, int, float, float]:
    """The two nodes of a periodic axis around a coordinate, and their weights."""
    wrapped = x if 0 <= x < n else x - n * math.floor(x / n)
    low = _cell(wrapped, n - 1)
    above = wrapped - low
    return low, low + 1 if low + 1 < n else 0, 1 - above, above


@compiled
def _around(x: float, y: float, z: float, n: int) -> tuple[tuple[np.uintp, ...], tuple[float, ...]]:
    """Flat index of the eight nodes of a periodic mesh around a point, unsigned, and their weights."""
    i, i_next, x, x_next = _below(x, n)
    j, j_next, y, y_next = _below(y, n)
    k, k_next, z, z_next = _below(z, n)
    a, b, c, d = (i * n + j) * n, (i * n + j_next) * n, (i_next * n + j) * n, (i_next * n + j_next) * n
    nodes = (
        np.uintp(a + k),
        np.uintp(a + k_next),
        np.uintp(b + k),
        np.uintp(b + k_next),
        np.uintp(c + k),
        np.uintp(c + k_next),
        np.uintp(d + k),
        np.uintp(d + k_next),
    )
    e, f, g, h = x * y, x * y_next, x_next * y, x_next * y_next
    return nodes, (e * z, e * z_next, f * z, f * z_next, g * z, g * z_next, h * z, h * z_next)


@compiled
def _paint_periodic(positions: Array, mass: float, mesh: Array) -> None:
    n, cells = len(mesh), mesh.reshape(-1)
    for p in range(len(positions)):
        nodes, weights = _around(positions[p, 0], positions[p, 1], positions[p, 2], n)
        for corner in range(8):
            cells[nodes[corner]] += weights[corner] * mass


@compiled
def _paint_open(positions: Array, mass: Array, nodes: Array) -> None:
    last_i, last_j, last_k = nodes.shape[0] - 2, nodes.shape[1] - 2, nodes.shape[2] - 2
    for p in range(len(positions)):
        i = _cell(positions[p, 0], last_i)
        j = _cell(positions[p, 1], last_j)
        k = _cell(positions[p, 2], last_k)
        x, y, z = positions[p, 0] - i, positions[p, 1] - j, positions[p, 2] - k
        low, high = mass[p] * (1 - z), mass[p] * z
        for row, column, weight in (
            (i, j, (1 - x) * (1 - y)),
            (i, j + 1, (1 - x) * y),
            (i + 1, j, x * (1 - y)),
            (i + 1, j + 1, x * y),
        ):
            nodes[row, column, k] += weight * low
            nodes[row, column, k + 1] += weight * high


@compiled
def _read(first: int, last: int, fields: Array, positions: Array, values: Array) -> None:
    n, n_channels, flat = len(fields), fields.shape[3], fields.reshape(-1, fields.shape[3])
    for p in range(first, last):
        nodes, weights = _around(positions[p, 0], positions[p, 1], positions[p, 2], n)
        for channel in range(n_channels):
            total = 0.0
            for corner in range(8):
                total += weights[corner] * flat[nodes[corner], channel]
            values[p, channel] = total


@compiled
def _push(first: int, last: int, slopes: Array, position: Array, velocity: Array, factors: Array) -> None:
    keep, kick, drift = factors
    n, flat = len(slopes), slopes.reshape(-1)
    for p in range(first, last):
        nodes, weights = _around(position[p, 0], position[p, 1], position[p, 2], n)
        x = y = z = 0.0
        for corner in range(8):
            start, weight = np.uintp(3) * nodes[corner], weights[corner]
            x += weight * flat[start]
            y += weight * flat[start + np.uintp(1)]
            z += weight * flat[start + np.uintp(2)]
        velocity[p, 0] = keep * velocity[p, 0] + kick * x
        velocity[p, 1] = keep * velocity[p, 1] + kick * y
        velocity[p, 2] = keep * velocity[p, 2] + kick * z
        for axis in range(3):
            position[p, axis] += drift * velocity[p, axis]


@compiled
def _differentiate(first: int, last: int, field: Array, slopes: Array) -> None:
    n = len(field)
    near, far = 2.0 / 3.0, -1.0 / 12.0
    for i in range(first, last):
        up, down, up2, down2 = (i + 1) % n, (i - 1) % n, (i + 2) % n, (i - 2) % n
        for j in range(n):
            right, left, right2, left2 = (j + 1) % n, (j - 1) % n, (j + 2) % n, (j - 2) % n
            for k in range(n):
                front, back = k + 1 if k + 1 < n else 0, k - 1 if k > 0 else n - 1
                front2, back2 = front + 1 if front + 1 < n else 0, back - 1 if back > 0 else n - 1
                x = near * (field[up, j, k] - field[down, j, k]) + far * (field[up2, j, k] - field[down2, j, k])
                y = near * (field[i, right, k] - field[i, left, k]) + far * (field[i, right2, k] - field[i, left2, k])
                z = near * (field[i, j, front] - field[i, j, back]) + far * (field[i, j, front2] - field[i, j, back2])
                slopes[i, j, k, 0], slopes[i, j, k, 1], slopes[i, j, k, 2] = x, y, z
