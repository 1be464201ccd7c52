"""The map of one slab, for maps that are each made from particles of their own."""

import torch
from torch import Tensor

from fieldlevel.mapmaking.slabs import Discs, Slabs
from fieldlevel.numerics.discs import paint_layers, paint_points, paint_slabs
from fieldlevel.numerics.mesh import is_fused


def project_one_slab(discs: Discs, axis: int, slab: int, n_pixels: int, box_size_mpc_h: float, slabs: Slabs) -> Tensor:
    """One of the maps of `slabs.project_slabs`, from the particles of its slab only.

    Args:
        discs: the particles of one kind.
        axis: along which the slab is seen.
        slab: number of the slab along that axis.
        n_pixels: pixels a side.
        box_size_mpc_h: side of the periodic box.
        slabs: how the box is cut.

    Returns:
        (n_pixels, n_pixels) in (Msun/h)/(Mpc/h)^2, map `slabs.count * axis + slab` to round-off.
    """
    inside = slabs.slab_of(discs.position[:, axis]) == slab
    place, mass, pixel_area = discs.position[inside], discs.mass[inside], (box_size_mpc_h / n_pixels) ** 2
    if discs.radius is not None and is_fused(place):
        return paint_slabs(place, discs.radius[inside], mass, axis, (1, 1.0), n_pixels)[0] / pixel_area
    first, second = (other for other in range(3) if other != axis)
    position = place[:, (first, second)].remainder(1.0) * n_pixels
    layer = torch.zeros_like(mass), 1, n_pixels
    if discs.radius is None:
        painted = paint_points(position, mass, *layer)
    else:
        painted = paint_layers(position, discs.radius[inside] * n_pixels, mass, *layer)
    return painted[0] / pixel_area


def numbers_in_slabs(position: Tensor, slabs: Slabs) -> Tensor:
    """Particles in each slab, (3 * slabs.count,) int64 in the order of the maps, of positions (n, 3) in box sides."""
    counts = [torch.bincount(slabs.slab_of(position[:, axis]).long(), minlength=slabs.count) for axis in range(3)]
    return torch.cat([count[: slabs.count] for count in counts])
