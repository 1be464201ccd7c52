"""Haloes by watershed on a mesh: every dense cell climbs to the local maximum of the smoothed density.

Only tensor operations, so the same code runs on CPU and CUDA: each dense cell points to the densest of itself and its
26 neighbours, pointers are followed by repeated squaring, and particles take the peak of their cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.mesh import fourier, inverse_fourier, nearest_cell, paint_cic, smooth_gaussian
from fieldlevel.simulate.nbody import Particles


@dataclass(frozen=True)
class Haloes:
    """Haloes of one simulation; lengths in cells of the force mesh.

    Attributes:
        member: (n,) bool, which particles belong to a halo.
        halo: (n_members,) int64, the halo of each member, in the order of the particles.
        n_particles: (n_haloes,) members of each halo.
        offset: (n_members, 3) nearest periodic image of each member minus the halo's centre, the weighted mean of the
            members nearest to the peak.
        spin_axis: (n_haloes, 3) unit vector along the angular momentum.
    """

    member: Tensor
    halo: Tensor
    n_particles: Tensor
    offset: Tensor
    spin_axis: Tensor


def find_haloes(particles: Particles, sigma: float, threshold: float) -> Haloes:
    """Group particles around the density peaks that they fall to.

    Args:
        particles: positions and velocities.
        sigma: Gaussian smoothing of the density in cells.
        threshold: lowest density over the mean that belongs to a halo.

    Returns:
        The haloes, in the order of their peak cells.
    """
    n_mesh, x = particles.n_mesh, particles.position
    counts_k = fourier(paint_cic(x, n_mesh)) * (n_mesh**3 / len(x))
    density = inverse_fourier(smooth_gaussian(counts_k, sigma))
    cell = nearest_cell(x, n_mesh)
    peak = _peak_of_cell(density, threshold)[cell]
    member = peak >= 0
    peaks, halo = torch.unique(peak[member], return_inverse=True)
    n_particles = torch.bincount(halo, minlength=len(peaks)).to(x.dtype)

    peak_position = torch.stack([peaks // n_mesh**2, peaks // n_mesh % n_mesh, peaks % n_mesh], dim=1).to(x.dtype)
    offset = x[member] - peak_position[halo]
    offset = offset - n_mesh * (offset / n_mesh).round()
    inner = torch.exp(-0.5 * offset.square().sum(1))[:, None] + 1e-6
    centre = _sum_by_halo(inner * offset, halo, len(peaks)) / _sum_by_halo(inner, halo, len(peaks))
    offset = offset - centre[halo]
    momentum = torch.linalg.cross(offset, particles.velocity[member])
    spin = _sum_by_halo(momentum, halo, len(peaks))
    spin_axis = spin / spin.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return Haloes(member, halo, n_particles, offset, spin_axis)


def _peak_of_cell(density: Tensor, threshold: float) -> Tensor:
    """Flat index of the local maximum that each cell above the threshold climbs to, (n^3,); -1 elsewhere."""
    dense = (density.view(-1) > threshold).nonzero()[:, 0]
    neighbours = _neighbourhood(dense, density.shape[0])
    uphill = neighbours.gather(1, density.view(-1)[neighbours].argmax(1, keepdim=True))[:, 0]
    place = torch.full_like(density.view(-1), -1, dtype=torch.int64)
    place[dense] = torch.arange(len(dense), device=density.device)
    target = place[uphill]
    while not torch.equal(further := target[target], target):
        target = further
    place[dense] = dense[target]
    return place


def _neighbourhood(cells: Tensor, n_mesh: int) -> Tensor:
    """Flat indices (n, 27) of each cell and the 26 around it, periodic; the cell itself first."""
    steps = torch.tensor([0, -1, 1], device=cells.device)
    index = torch.zeros(len(cells), 27, dtype=torch.int64, device=cells.device)
    for axis, step in enumerate(torch.cartesian_prod(steps, steps, steps).T):
        coordinate = cells // n_mesh ** (2 - axis) % n_mesh
        index = index * n_mesh + (coordinate[:, None] + step).remainder(n_mesh)
    return index


def _sum_by_halo(values: Tensor, halo: Tensor, n_haloes: int) -> Tensor:
    return values.new_zeros(n_haloes, values.shape[1]).index_add_(0, halo, values)
