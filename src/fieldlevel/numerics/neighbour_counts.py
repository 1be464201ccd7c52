r"""Estimated distance to the k-th nearest neighbour from counts in spheres around the cells of a mesh.

    N(x; R) = (n * W_R)(x),    W_R(k) = 3 (sin kR - kR cos kR) / (kR)^3 * 4/3 pi R^3,

is taken by FFT for a ladder of radii; log N is interpolated in log R to the wanted count, and the particles read the
density R^-3. In the field it agrees with the exact search to a few per cent; in haloes smaller than a cell it follows
R ~ N^(1/3) below the smallest radius.
"""

import math
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from fieldlevel.numerics.mesh import (
    cic_window,
    fourier,
    inverse_fourier,
    is_fused,
    multiply_modes,
    paint_cic,
    read_cic,
    squared_wavenumber,
)

_SMALLEST_RADIUS = 0.5
_SMALL_MASS = 1 / 16
"""Of a particle on the mesh, whose fused painting holds masses up to 32,767 in a cell."""


def mesh_neighbour_distance(positions: Tensor, n_mesh: int, k: int, ratio: float = 1.36) -> Tensor:
    """Estimated distance to the k-th nearest neighbour, from counts in spheres around the cells of a mesh.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped).
        n_mesh: cells a side of the mesh and of the box.
        k: which neighbour.
        ratio: of neighbouring radii in the ladder, from half a cell to the sphere of a void fifty times below the mean.

    Returns:
        (n,) distances in cells, float32.
    """
    mean_radius = n_mesh * (3 * (k + 1) / (4 * math.pi * len(positions))) ** (1 / 3)
    n_rungs = max(math.ceil(math.log(3.7 * mean_radius / _SMALLEST_RADIUS, ratio)), 0)
    ladder = [_SMALLEST_RADIUS * ratio**rung for rung in range(n_rungs + 1)]
    counts = paint_cic(positions, n_mesh, _SMALL_MASS).div_(_SMALL_MASS)
    radius_on_mesh = _radius_of_count(counts, k + 1, ladder)
    return read_cic(radius_on_mesh.pow_(-3)[None], positions)[0].pow_(-1 / 3)


def _radius_of_count(counts: Tensor, wanted: float, ladder: list[float]) -> Tensor:
    """Radius [cells] of the sphere around each cell that holds the wanted number of particles.

    With L(R) = ln N(x; R), ln R grows over each rung of the ladder by the share of the rung that L needs to get from
    its lower end to ln(wanted), none where it is already above and all where it stays below.
    """
    counts_k = fourier(counts)
    below = _count_in_spheres(counts_k, ladder[0]).log_()
    log_radius = (math.log(wanted) - below).div_(3).clamp_(max=0).add_(math.log(ladder[0]))
    climb = _climb_fused if is_fused(counts) else _climb
    for inner, outer in pairwise(ladder):
        climb(log_radius, below, _count_in_spheres(counts_k, outer), math.log(wanted), math.log(outer / inner))
    return log_radius.exp_()


def _climb(log_radius: Tensor, below: Tensor, counts: Tensor, log_wanted: float, log_ratio: float) -> None:
    """One rung up, in place: `below` is ln N at its lower end and then at its upper one, where `counts` is N."""
    above = counts.log_()
    rise = torch.sub(above, below).clamp_(min=1e-6)
    log_radius.add_(below.sub_(log_wanted).neg_().div_(rise).clamp_(0, 1), alpha=log_ratio)
    below.copy_(above)


def _climb_fused(log_radius: Tensor, below: Tensor, counts: Tensor, log_wanted: float, log_ratio: float) -> None:
    from fieldlevel.numerics.neighbours_triton import climb  # noqa: PLC0415 (exists where Triton does)

    climb(log_radius, below, counts, log_wanted, log_ratio)


def _count_in_spheres(counts_k: Tensor, radius: float) -> Tensor:
    """Particles within `radius` cells of each cell centre, at least a small positive number."""
    window = _sphere_window(counts_k.shape[0], radius, counts_k.device)
    return inverse_fourier(multiply_modes(counts_k.clone(), window)).clamp_(min=1e-3)


@lru_cache(maxsize=32)
def _sphere_window(n_mesh: int, radius: float, device: torch.device) -> Tensor:
    """Volume of a sphere times its Fourier transform, divided by the cloud-in-cell window, (n, n, n//2 + 1) float32."""
    x = squared_wavenumber(n_mesh, device).sqrt_().mul_(radius)
    sphere = torch.where(x < 0.1, 1 - x**2 / 10, 3 * (torch.sin(x) - x * torch.cos(x)) / x.clamp(min=1e-3) ** 3)
    return sphere.div_(cic_window(n_mesh, device)).mul_(4 / 3 * math.pi * radius**3)
