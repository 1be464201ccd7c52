"""Haloes by watershed on a mesh: every dense cell climbs to the local maximum of the smoothed density.

Only tensor operations, so the same code runs on CPU and CUDA: each dense cell points to the densest of itself and its
26 neighbours, pointers are followed by repeated squaring, and particles of any kind take the peak of their cell.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.mesh import nearest_cell
from fieldlevel.simulate.nbody import Particles

_PARTS = 1 << 36
"""Of the largest value that sums over the particles of a halo are rounded to."""


@dataclass(frozen=True)
class Members:
    """The particles of one kind that belong to haloes; lengths in cells of the force mesh.

    Attributes:
        index: (m,) int64, which particles of the kind they are, ascending.
        halo: (m,) int64, the halo of each.
        offset: (m, 3) nearest periodic image of each minus the halo's centre.
    """

    index: Tensor
    halo: Tensor
    offset: Tensor


@dataclass(frozen=True)
class Haloes:
    """Haloes of one simulation in the order of their peak cells; lengths in cells of the force mesh.

    Attributes:
        of_cell: (n_mesh^3,) int64, the halo that each cell belongs to; -1 outside.
        centre: (n_haloes, 3) mass-weighted mean of the particles nearest to the peak.
        mass: (n_haloes,) in units of the mean mass per lattice point.
        spin_axis: (n_haloes, 3) unit vector along the angular momentum about `centre`, in the frame of the box: the
            motion of the whole halo counts where its centre of mass is beside its peak.
        n_mesh: cells a side.
    """

    of_cell: Tensor
    centre: Tensor
    mass: Tensor
    spin_axis: Tensor
    n_mesh: int

    def members(self, position: Tensor) -> Members:
        """Which of the particles at `position`, (n, 3) in cells, belong to haloes."""
        return _members(self.of_cell, self.centre, self.n_mesh, position)


def _members(of_cell: Tensor, centre: Tensor, n_mesh: int, position: Tensor) -> Members:
    halo = of_cell[nearest_cell(position, n_mesh)]
    index = (halo >= 0).nonzero()[:, 0]
    halo = halo[index]
    offset = position[index] - centre[halo]
    return Members(index, halo, offset - n_mesh * (offset / n_mesh).round())


def find_haloes(particles: Particles, density: Tensor, threshold: float) -> Haloes:
    """Group particles around the density peaks that they fall to.

    Args:
        particles: of all kinds.
        density: (n_mesh, n_mesh, n_mesh) total density over its mean, smoothed as little as the peaks allow.
        threshold: lowest density that belongs to a halo.

    Returns:
        The haloes.
    """
    n_mesh = particles.n_mesh
    peaks, of_cell = _watershed(density, threshold)
    peak = torch.stack([peaks // n_mesh**2, peaks // n_mesh % n_mesh, peaks % n_mesh], dim=1).to(density.dtype)
    kinds = [_members(of_cell, peak, n_mesh, position) for position in particles.kinds]
    halo = torch.cat([kind.halo for kind in kinds])
    offset = torch.cat([kind.offset for kind in kinds])
    velocity = torch.cat([v[kind.index] for v, kind in zip(particles.velocity.chunk(len(kinds)), kinds, strict=True)])
    mass = torch.cat([m * torch.ones_like(kind.offset[:, :1]) for m, kind in zip(particles.mass, kinds, strict=True)])

    def total(values: Tensor) -> Tensor:
        return _sums(values, halo, len(peaks))

    inner = mass * torch.exp(-0.5 * offset.square().sum(1, keepdim=True)) + 1e-6
    shift = total(inner * offset) / total(inner).clamp(min=1e-6)
    spin = total(mass * torch.linalg.cross(offset - shift[halo], velocity))
    spin_axis = spin / spin.norm(dim=1, keepdim=True).clamp(min=1e-12)
    return Haloes(of_cell, peak + shift, total(mass)[:, 0], spin_axis, n_mesh)


def _sums(values: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Sums (n_groups, c) of values (m, c) of each group, in integers, whose sums do not depend on their order."""
    if not len(values):
        return values.new_zeros(n_groups, values.shape[1])
    largest = values.abs().amax(0).clamp(min=1e-30).double()
    parts = (values / largest).mul_(_PARTS).round_().to(torch.int64)
    sums = torch.zeros(n_groups, values.shape[1], dtype=torch.int64, device=values.device).index_add_(0, group, parts)
    return (sums * (largest / _PARTS)).to(values.dtype)


def _watershed(density: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Flat indices of the local maxima, ascending, and for every cell the number of the one it climbs to or -1."""
    dense = (density.view(-1) > threshold).nonzero()[:, 0]
    neighbours = _neighbourhood(dense, density.shape[0])
    uphill = neighbours.gather(1, density.view(-1)[neighbours].argmax(1, keepdim=True))[:, 0]
    of_cell = torch.full_like(density.view(-1), -1, dtype=torch.int64)
    of_cell[dense] = torch.arange(len(dense), device=density.device)
    target = of_cell[uphill]
    while not torch.equal(further := target[target], target):
        target = further
    peaks, number = torch.unique(dense[target], return_inverse=True)
    of_cell[dense] = number
    return peaks, of_cell


def _neighbourhood(cells: Tensor, n_mesh: int) -> Tensor:
    """Flat indices (n, 27) of each cell and the 26 around it, periodic; the cell itself first."""
    steps = torch.tensor([0, -1, 1], device=cells.device)
    index = torch.zeros(len(cells), 27, dtype=torch.int64, device=cells.device)
    for axis, step in enumerate(torch.cartesian_prod(steps, steps, steps).T):
        coordinate = cells // n_mesh ** (2 - axis) % n_mesh
        index = index * n_mesh + (coordinate[:, None] + step).remainder(n_mesh)
    return index
