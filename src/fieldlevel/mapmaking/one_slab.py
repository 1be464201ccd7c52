"""The map of one slab, for maps that are each made from particles of their own."""

import torch
from torch import Tensor

from fieldlevel.mapmaking.slabs import Discs, Slabs
from fieldlevel.numerics.discs import paint_layers, paint_points, paint_slabs
from fieldlevel.numerics.mesh import is_fused

_ON_FACE = 1e-12


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
    inside = _slab_of(discs.position[:, axis], slabs) == slab
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
    counts = [torch.bincount(_slab_of(position[:, axis], slabs).long(), minlength=slabs.count) for axis in range(3)]
    return torch.cat([count[: slabs.count] for count in counts])


def _slab_of(depth: Tensor, slabs: Slabs) -> Tensor:
    """Number of the slab that holds each particle, by its place along the axis in sides of the box."""
    slab = (depth.remainder(1.0) / slabs.thickness + _ON_FACE).floor_()
    fills_the_box = slabs.count * slabs.thickness > 1 - 1e-6
    return slab.clamp_(max=slabs.count - 1) if fills_the_box else slab
