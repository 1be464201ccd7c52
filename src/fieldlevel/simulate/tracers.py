r"""More particles than were simulated: tracers interpolated on the Lagrangian lattice.

Cold matter is a sheet in phase space, and a simulation knows it at the points q of a lattice. Between them the sheet is
interpolated: from n^3 particles (2n)^3 tracers, the particles themselves and halfway between neighbours

    x(q + e/2) = 1/8 sum over the corners c of the cell of x(q + c e),    e in {0, 1}^3 without 0,

trilinear, with x not wrapped and x(q + n) = x(q) + L. It is exact for every displacement that is linear in q.

A baryon model has moved each gas particle by itself, some far away: halfway between two of those is nowhere in
particular. So the sheet is that of the gravity run, and the seven tracers that belong to a particle take its baryonic
displacement and nothing else: the particle is split, and its parts lie around it as the undisturbed sheet does. Of a
star they would lie around it too, but stars are points in the maps, and a point that is split is the same point.

References:
    Abel, Hahn & Kaehler 2012, arXiv:1111.3944 (the dark-matter sheet); Hahn & Angulo 2016, arXiv:1501.01959.
"""

from itertools import product

import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.simulate.feedback import Species

_STEPS = [step for step in product((0, 1), repeat=3) if any(step)]
MOST = 1 + len(_STEPS)
"""Tracers of a particle, itself among them."""


def sheet_offsets(position: Tensor, n_mesh: int) -> Tensor:
    """From each particle of a lattice to its seven tracers.

    Args:
        position: (n^3, 3) in cells of the force mesh, not wrapped, in the order of the lattice.
        n_mesh: cells a side of the box.

    Returns:
        (7, n^3, 3) in cells.
    """
    n = round(len(position) ** (1 / 3))
    grid = position.view(n, n, n, 3)
    offsets = [_halfway(grid, step, n_mesh) - grid for step in _STEPS]
    return torch.stack(offsets).view(len(_STEPS), -1, 3)


def _halfway(grid: Tensor, step: tuple[int, ...], n_mesh: int) -> Tensor:
    """The mean of the particles at both ends along each axis in which the step is one."""
    for axis in (axis for axis in range(3) if step[axis]):
        ahead = grid.roll(-1, dims=axis)
        ahead.select(axis, -1)[..., axis] += n_mesh
        grid = (grid + ahead).mul_(0.5)
    return grid


def tracers(species: Species, n_particles: int, n_mesh: int) -> tuple[Tensor, Tensor]:
    """The particles of a kind and, behind them, their tracers.

    Args:
        species: the kind.
        n_particles: a side of its lattice.
        n_mesh: cells a side of the box.

    Returns:
        Positions (8 n, 3) in cells, the n particles first, and a number (8 n,) for each: of particles their place on
        the lattice.

    Raises:
        UserError: a baryon model that does not say which particle is which.
    """
    offsets = sheet_offsets(_sheet(species, n_particles), n_mesh)
    index = places(species, n_particles)
    own = offsets if species.index is None else offsets[:, index]
    position = torch.cat([species.position[None], species.position + own])
    number = index + n_particles**3 * torch.arange(MOST, device=index.device)[:, None]
    return position.view(-1, 3), number.flatten()


def places(species: Species, n_particles: int) -> Tensor:
    """Place of each particle on the lattice of its kind, (n,) int64.

    Raises:
        UserError: a baryon model that does not say which particle is which.
    """
    if species.index is not None:
        return species.index
    if len(species.position) != n_particles**3:
        raise UserError(
            "this baryon model does not say which point of the lattice its particles are (Species.index), so there are "
            "neither lattices nor tracers; return GravityRun.species(...)"
        )
    return torch.arange(n_particles**3, device=species.position.device)


def _sheet(species: Species, n_particles: int) -> Tensor:
    """Positions of the whole lattice under gravity alone, or where the model has moved all of it a little."""
    if species.lattice_position is not None:
        return species.lattice_position
    places(species, n_particles)
    return species.position
