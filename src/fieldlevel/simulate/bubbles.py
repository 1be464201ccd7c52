r"""Isotropic bubbles of hot gas: which of them a particle is in, and where it is blown.

A bubble of radius R is filled by the gas that was in it, the more evenly the emptier it was,

    r'^3 = r^3 + u R^3 (1 - (r / R)^3),

with u uniform in (0, 1), how far a particle mixes with the shell: gas near the centre fills the bubble evenly, that at
the rim stays. Where bubbles overlap, a particle belongs to the one that it is deepest in.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.mesh import nearest_cell

_LARGEST_MESH = 128
_AT_ONCE = 1 << 24
_INDEX_BITS = 24
_NONE = (1 << 62) - 1


@dataclass(frozen=True)
class Bubbles:
    """Bubbles in a periodic box; lengths in cells of the force mesh.

    Attributes:
        centre: (b, 3), any real numbers (wrapped).
        radius: (b,).
        n_mesh: cells a side.
    """

    centre: Tensor
    radius: Tensor
    n_mesh: int

    def blown(self, position: Tensor, mixing: Tensor) -> Tensor:
        """Positions (n, 3) after the bubbles have grown; `mixing` is u of each particle, (n,)."""
        cell = nearest_cell(position * (self._n_cells / self.n_mesh), self._n_cells)
        deepest = self._deepest()[cell]
        inside = (deepest != _NONE).nonzero()[:, 0]
        bubble = deepest[inside] & ((1 << _INDEX_BITS) - 1)
        offset = position[inside] - self.centre[bubble]
        offset = offset - self.n_mesh * (offset / self.n_mesh).round()
        moved = blown_out(offset, self.radius[bubble], mixing[inside])
        return position.index_add(0, inside, moved - offset)

    @property
    def _n_cells(self) -> int:
        return min(self.n_mesh, _LARGEST_MESH)

    def _deepest(self) -> Tensor:
        """For each cell of a coarse mesh, depth and, in the lower bits, number of the bubble it is deepest in."""
        n, scale = self._n_cells, self._n_cells / self.n_mesh
        deepest = torch.full((n**3,), _NONE, dtype=torch.int64, device=self.centre.device)
        reach = (self.radius * scale + 1).ceil().to(torch.int64).clamp(max=n // 2 - 1)
        for cells in sorted(set(reach.tolist())):
            around = _sphere(cells, deepest.device)
            for bubble in (reach == cells).nonzero()[:, 0].split(max(1, _AT_ONCE // len(around))):
                centre = self.centre[bubble] * scale
                offset = around + (centre.round() - centre)[:, None]
                depth = offset.norm(dim=2) / (self.radius[bubble] * scale)[:, None]
                key = ((depth.clamp(max=2**20) * 2**16).to(torch.int64) << _INDEX_BITS) | bubble[:, None]
                cell = nearest_cell((centre.round()[:, None] + around).view(-1, 3), n)
                deepest.scatter_reduce_(0, cell, key.view(-1), "amin")
        return deepest


def _sphere(reach: int, device: torch.device) -> Tensor:
    """Whole numbers (m, 3) no farther from the origin than `reach`."""
    axis = torch.arange(-reach, reach + 1, device=device)
    points: Tensor = torch.cartesian_prod(axis, axis, axis)
    return points[points.square().sum(1) <= reach**2]


def blown_out(offset: Tensor, radius: Tensor, mixing: Tensor) -> Tensor:
    """Offsets (n, 3) from the centres of bubbles of `radius` (n,) after they have grown; beyond them nothing moves."""
    distance = offset.norm(dim=1).clamp(min=1e-3)
    pushed = mixing.to(distance.dtype) * (radius**3 - distance**3).clamp(min=0)
    stretch: Tensor = (1 + pushed / distance**3).pow(1 / 3)
    return offset * stretch[:, None]
