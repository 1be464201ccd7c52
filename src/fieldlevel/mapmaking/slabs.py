"""From particles to maps: slabs along the three axes, every particle a uniform disc.

The letter's recipe: 25 x 25 x 5 (Mpc/h)^3 slabs, five along each axis; a particle's disc reaches to its 32nd nearest
neighbour among its own kind; stars are points; the value of a pixel is projected mass over pixel area.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.numerics.discs import paint_layers, paint_points, paint_slabs
from fieldlevel.numerics.discs_exact import paint_layers_exact
from fieldlevel.numerics.memory import check_fits
from fieldlevel.numerics.mesh import is_fused
from fieldlevel.numerics.neighbours import neighbour_distance


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
    """How the box is cut: so many slabs along each axis, one behind the other from the origin; the letter's five.

    Attributes:
        count: slabs along each axis.
        thickness: of a slab over the side of the box; what lies behind the last slab is in no map.

    Raises:
        UserError: slabs that do not fit into the box.
    """

    count: int = 5
    thickness: float = 1 / 5

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.count * self.thickness <= 1 + 1e-6:
            raise UserError(
                f"{self.count} slabs of {self.thickness:g} box sides: take at least one, and what fits in the box"
            )

    @property
    def fills_the_box(self) -> bool:
        """Whether no particle lies behind the last slab."""
        return self.count * self.thickness > 1 - 1e-6

    def slab_of(self, depth: Tensor) -> Tensor:
        """Number of the slab at each depth, of any shape, in sides of the box; whole, in the dtype of `depth`."""
        slab = (depth.remainder(1.0) / self.thickness + _ON_FACE).floor_()
        return slab.clamp_(max=self.count - 1) if self.fills_the_box else slab


MOST_PIXELS, MOST_SLABS = 8192, 1024
"""Pixels a side of a map, and slabs along an axis."""

LETTER_SLABS = Slabs()
"""Five slabs that fill the box."""

_ON_FACE = 1e-12
"""A particle so little before a slab, as round-off puts one that stands on its face, is in it."""


def project_particles(
    position: npt.ArrayLike,
    mass: npt.ArrayLike,
    box_size_mpc_h: float,
    radius: npt.ArrayLike | None = None,
    *,
    n_pixels: int = 256,
    n_neighbours: int = 32,
    slabs: Slabs = LETTER_SLABS,
) -> npt.NDArray[np.float64]:
    """Maps of particles in arrays, one kind at a time: the maps of several kinds add up.

    Args:
        position: (n, 3) in Mpc/h, any real numbers (wrapped).
        mass: (n,) in Msun/h, or what else is to be spread.
        box_size_mpc_h: side of the periodic box.
        radius: (n,) of the discs in Mpc/h, zero for points; the distance to the n-th neighbour when omitted.
        n_pixels: pixels a side.
        n_neighbours: which neighbour.
        slabs: how the box is cut.

    Returns:
        (3 * slabs.count, n_pixels, n_pixels) surface densities in (Msun/h)/(Mpc/h)^2, in the order of CMD: map
        `slabs.count * axis + slab`.

    Raises:
        UserError: arrays that do not fit together or are not finite, a negative radius, no box, too few particles.

    Example:
        >>> maps = project_particles([[1.0, 1, 1]], [2e10], box_size_mpc_h=25, radius=[0.5], n_pixels=16)
        >>> maps.shape, round(float(maps[0].sum()) * (25 / 16) ** 2 / 1e10, 12)
        ((15, 16, 16), 2.0)
    """
    place, weight = _as_numbers("positions", position), _as_numbers("masses", mass)
    reach = None if radius is None else _as_numbers("radii", radius)
    box = _one_number("box_size_mpc_h", box_size_mpc_h)
    _check_arrays(place, weight, reach, box)
    n_pixels, n_neighbours = _count("n_pixels", n_pixels, MOST_PIXELS), _count("n_neighbours", n_neighbours)
    check_fits(24 * slabs.count * n_pixels**2, f"{3 * slabs.count} maps of {n_pixels}^2 pixels", "lower n_pixels")
    points = torch.from_numpy(place)
    if reach is None:
        distance = neighbour_distance(points, box, n_neighbours, torch.get_num_threads()).double()
    else:
        distance = torch.from_numpy(reach)
    discs = Discs(points / box, distance / box, torch.from_numpy(weight))
    maps: npt.NDArray[np.float64] = project_slabs([discs], n_pixels, box, slabs, exact=True).numpy()
    if not np.isfinite(maps).all():
        raise UserError("maps are not finite: the masses are too large; take another unit")
    return maps


def _as_numbers(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """A copy in double precision of what can only be meant as numbers.

    Raises:
        UserError: words, complex numbers, rows of several lengths, or masked values, whose mask would be lost.
    """
    if isinstance(values, np.ma.MaskedArray) and (n := int(np.ma.getmaskarray(values).sum())):
        raise UserError(f"{name}: {n} values are masked; leave such particles out")
    try:
        array = np.asarray(values)
        if array.dtype.kind in "biufO" and not (array.dtype.kind == "O" and any(map(np.iscomplexobj, array.flat))):
            return np.array(array, dtype=np.float64, order="C")
    except (TypeError, ValueError, RuntimeError):
        raise UserError(f"{name}: no array of numbers; give one number for each entry") from None
    raise UserError(f"{name} of type {array.dtype}: give real numbers")


def _one_number(name: str, value: float) -> float:
    number = _as_numbers(name, value)
    if number.size != 1:
        raise UserError(f"{name} of shape {number.shape}: give one number")
    return float(number.reshape(-1)[0])


def _count(name: str, value: float, most: int | None = None) -> int:
    number = _one_number(name, value)
    if not (1 <= number <= (most or 2**62)) or number != int(number):
        allowed = "a whole number from 1" + (f" to {most}" if most else "")
        raise UserError(f"{name} = {value}: give {allowed}")
    return int(number)


def _check_arrays(
    position: npt.NDArray[np.float64],
    mass: npt.NDArray[np.float64],
    radius: npt.NDArray[np.float64] | None,
    box_size_mpc_h: float,
) -> None:
    if not 0 < box_size_mpc_h < np.inf:
        raise UserError(f"box_size_mpc_h = {box_size_mpc_h}: give the side of the box, a positive number")
    if position.ndim != 2 or position.shape[1] != 3:
        raise UserError(f"positions of shape {position.shape}: give (n, 3)")
    columns = {"masses": mass} if radius is None else {"masses": mass, "radii": radius}
    for name, values in columns.items():
        if values.shape != position.shape[:1]:
            raise UserError(f"{name} of shape {values.shape} for {len(position)} positions: give one for each")
    for name, values in {"positions": position, **columns}.items():
        if not np.isfinite(values).all():
            raise UserError(f"{name}: NaN or infinite; leave such particles out")
    if radius is not None and ((radius < 0) | (radius > box_size_mpc_h)).any():
        raise UserError(f"radii: some are not between 0, a point, and the box, {box_size_mpc_h:g} Mpc/h")


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
    if radius is not None and is_fused(position) and not exact:
        cut, reach = (slabs.count, slabs.thickness), radius / n_pixels
        return torch.cat([paint_slabs(position, reach, mass, axis, cut, n_pixels) for axis in range(3)])
    position, slab = position.remainder(1.0), slabs.slab_of(position)
    paint = paint_layers_exact if exact else paint_layers
    maps = []
    for axis, plane in enumerate(((1, 2), (0, 2), (0, 1))):
        chosen = slice(None) if slabs.fills_the_box else slab[:, axis] < slabs.count
        layer = slab[chosen, axis], slabs.count, n_pixels
        pixels = position[chosen][:, plane] * n_pixels
        if radius is None:
            maps.append(paint_points(pixels, mass[chosen], *layer))
        else:
            maps.append(paint(pixels, radius[chosen], mass[chosen], *layer))
    return torch.cat(maps)
