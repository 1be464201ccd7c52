"""From particles to maps: slabs along the three axes, every particle a uniform disc.

The letter's recipe: 25 x 25 x 5 (Mpc/h)^3 slabs, five along each axis; a particle's disc reaches to its 32nd nearest
neighbour among its own kind; stars are points; the value of a pixel is projected mass over pixel area.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.discs import paint_layers, paint_points
from fieldlevel.numerics.discs_exact import paint_layers_exact
from fieldlevel.parameters import SLABS_PER_AXIS


@dataclass(frozen=True)
class Discs:
    """Particles of one kind ready to be projected; lengths in units of the box side.

    Attributes:
        position: (n, 3), any real numbers (wrapped).
        radius: (n,) of the disc; None for points.
        mass: (n,) in Msun/h.
    """

    position: Tensor
    radius: Tensor | None
    mass: Tensor


@dataclass(frozen=True)
class Slabs:
    """How the box is cut: so many slabs along each axis, one behind the other from the origin.

    Attributes:
        count: slabs along each axis.
        thickness: of a slab over the side of the box; what lies behind the last slab is in no map.
    """

    count: int = SLABS_PER_AXIS
    thickness: float = 1 / SLABS_PER_AXIS


LETTER_SLABS = Slabs()
"""Five slabs that fill the box."""


def project_slabs(
    kinds: Sequence[Discs],
    n_pixels: int,
    box_size_mpc_h: float,
    slabs: Slabs = LETTER_SLABS,
    *,
    exact: bool = False,
) -> Tensor:
    """Surface-density maps of every slab along every axis.

    Args:
        kinds: the particles; all of one precision, which is that of the maps.
        n_pixels: pixels a side.
        box_size_mpc_h: side of the periodic box.
        slabs: how the box is cut.
        exact: discs by their overlap with every pixel instead of the ladder of radii.

    Returns:
        (3 * slabs.count, n_pixels, n_pixels) in (Msun/h)/(Mpc/h)^2; map `slabs.count * axis + slab` has the other two
        axes in their order. Slabs that fill the box hold all the mass.
    """
    pixel_area = (box_size_mpc_h / n_pixels) ** 2
    points = [kind for kind in kinds if kind.radius is None]
    maps = [_project(kind.position, None, kind.mass, n_pixels, slabs, exact=exact) for kind in points]
    discs = [(kind.position, kind.radius, kind.mass) for kind in kinds if kind.radius is not None]
    if discs:
        position, radius, mass = (torch.cat(parts) for parts in zip(*discs, strict=True))
        maps.append(_project(position, radius * n_pixels, mass, n_pixels, slabs, exact=exact))
    return torch.stack(maps).sum(0).div_(pixel_area)


def _project(
    position: Tensor, radius: Tensor | None, mass: Tensor, n_pixels: int, slabs: Slabs, *, exact: bool
) -> Tensor:
    """Mass in the pixels (3 * slabs.count, n_pixels, n_pixels) of discs with radii in pixels, or of points."""
    position = position.remainder(1.0)
    slab = (position / slabs.thickness).floor_()
    fills_the_box = slabs.count * slabs.thickness > 1 - 1e-6
    if fills_the_box:
        slab.clamp_(max=slabs.count - 1)
    paint = paint_layers_exact if exact else paint_layers
    maps = []
    for axis, plane in enumerate(((1, 2), (0, 2), (0, 1))):
        chosen = slice(None) if fills_the_box else slab[:, axis] < slabs.count
        layer = slab[chosen, axis], slabs.count, n_pixels
        pixels = position[chosen][:, plane] * n_pixels
        if radius is None:
            maps.append(paint_points(pixels, mass[chosen], *layer))
        else:
            maps.append(paint(pixels, radius[chosen], mass[chosen], *layer))
    return torch.cat(maps)
