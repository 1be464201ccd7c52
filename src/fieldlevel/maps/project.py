"""From particles to maps: slabs along the three axes, every particle a uniform disc.

The letter's recipe: 25 x 25 x 5 (Mpc/h)^3 slabs, five along each axis; a particle's disc reaches to its 32nd nearest
neighbour among its own kind; stars are points; the value of a pixel is projected mass over pixel area.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.discs import paint_discs
from fieldlevel.parameters import SLABS_PER_AXIS


@dataclass(frozen=True)
class Discs:
    """Particles ready to be projected; lengths in units of the box side.

    Attributes:
        position: (n, 3), any real numbers (wrapped).
        radius: (n,) of the disc; zero for points.
        mass: (n,) in Msun/h.
    """

    position: Tensor
    radius: Tensor
    mass: Tensor

    @staticmethod
    def concatenate(parts: "list[Discs]") -> "Discs":
        """All particles of several species."""
        joined = (torch.cat([getattr(part, name) for part in parts]) for name in ("position", "radius", "mass"))
        return Discs(*joined)


def project_slabs(discs: Discs, n_pixels: int, box_size_mpc_h: float) -> Tensor:
    """Surface-density maps of every slab along every axis.

    Args:
        discs: the particles.
        n_pixels: pixels a side.
        box_size_mpc_h: side of the periodic box.

    Returns:
        (15, n_pixels, n_pixels) in (Msun/h)/(Mpc/h)^2; map 5 * axis + slab has the other two axes in their order. The
        five slabs of an axis hold all the mass.
    """
    pixel_area = (box_size_mpc_h / n_pixels) ** 2
    position = discs.position.remainder(1.0)
    slab = (position * SLABS_PER_AXIS).to(torch.int64).clamp(max=SLABS_PER_AXIS - 1)
    maps = []
    for axis, plane in enumerate(((1, 2), (0, 2), (0, 1))):
        for number in range(SLABS_PER_AXIS):
            inside = (slab[:, axis] == number).nonzero()[:, 0]
            pixels = position[inside][:, plane] * n_pixels
            maps.append(paint_discs(pixels, discs.radius[inside] * n_pixels, discs.mass[inside] / pixel_area, n_pixels))
    return torch.stack(maps)
