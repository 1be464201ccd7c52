r"""Particles as uniform discs on a periodic pixel grid, each pixel by the exact area that it shares with the disc.

In units of the radius the share is the mixed second difference, between the edges u and v of the pixel, of the area
between the axes and the corner,

    A(u, v) = integral from 0 to u of min(v, s(t)) dt,    s(t) = sqrt(1 - t^2),    0 <= u, v <= 1,
            = v min(u, s(v)) + max(I(u) - I(s(v)), 0),    I(t) = (t s(t) + asin t) / 2,

odd in u and in v. The differences of a disc telescope to pi, so mass is conserved to round-off. The cost is about ten
operations for each pixel of the square around the disc. On a CPU they are compiled (`discs_numba`); the tensor
operations below are for a GPU.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from fieldlevel.extras import refuse_without
from fieldlevel.numerics.discs import paint_points

_CORNERS_AT_ONCE = {"cpu": 2**17, "cuda": 2**24}
"""Corners of pixels in one array."""


def paint_discs_exact(positions: Tensor, radius: Tensor, mass: Tensor, n_pixels: int) -> Tensor:
    """Spread the mass of particles uniformly over discs, each pixel by the area that it shares with the disc.

    Args:
        positions: (n, 2) in pixels, any real numbers (wrapped); pixel i covers [i, i + 1).
        radius: (n,) in pixels, also wider than the grid; zero makes a point.
        mass: (n,), or what else is to be spread, of either sign.
        n_pixels: pixels a side.

    Returns:
        (n_pixels, n_pixels) mass in each pixel, float64.

    Example:
        >>> centre, mass = torch.tensor([[8.0, 8.0]]), torch.tensor([3.0])
        >>> image = paint_discs_exact(centre, torch.tensor([1.0]), mass, n_pixels=16)
        >>> [round(value, 12) for value in image[7:9, 7:9].flatten().tolist()]
        [0.75, 0.75, 0.75, 0.75]
    """
    is_point = radius == 0
    image = paint_points(positions[is_point].double(), mass[is_point], radius[is_point], 1, n_pixels)[0]
    x, y, r, m = (column[~is_point].double() for column in (*positions.T, radius, mass))
    paint = add_discs if positions.is_cuda else _add_compiled
    paint(image, torch.stack([x, y, r, m / math.pi]))
    return image if (mass < 0).any() else image.clamp_(min=0)


def paint_layers_exact(
    positions: Tensor, radius: Tensor, mass: Tensor, layer: Tensor, n_layers: int, n_pixels: int
) -> Tensor:
    """Several images at once by `paint_discs_exact`, each particle on its own.

    Args:
        positions: (n, 2) in pixels, as in `paint_discs_exact`.
        radius: (n,) in pixels.
        mass: (n,).
        layer: (n,) whole numbers from 0 to n_layers - 1.
        n_layers: number of images.
        n_pixels: pixels a side.

    Returns:
        (n_layers, n_pixels, n_pixels) mass in each pixel; on a CPU as many at once as PyTorch has threads.
    """

    def paint(number: int) -> Tensor:
        some = layer == number
        return paint_discs_exact(positions[some], radius[some], mass[some], n_pixels)

    with ThreadPoolExecutor(1 if positions.is_cuda else torch.get_num_threads()) as pool:
        return torch.stack(list(pool.map(paint, range(n_layers))))


def _add_compiled(image: Tensor, discs: Tensor) -> None:
    refuse_without("numba")
    from fieldlevel.numerics import discs_numba  # noqa: PLC0415 (slow to import)

    discs_numba.add_discs(image.numpy(), discs.numpy())


def add_discs(image: Tensor, discs: Tensor) -> None:
    """Add discs to an image by tensor operations.

    Args:
        image: (n_pixels, n_pixels) float64, changed in place.
        discs: (4, n) float64: x, y and radius in pixels, mass over pi.
    """
    n_pixels, flat = len(image), image.view(-1)
    for some in _equally_wide(discs):
        centre, (radius, density) = some[:2], some[2:]
        first, last = (centre - radius).floor_(), (centre + radius).floor_()
        x, y = (_pixels(low, high).remainder_(n_pixels) for low, high in zip(first, last, strict=True))
        u, v = (_edges(low - c, n, radius) for low, c, n in zip(first, centre, map(len, (x, y)), strict=True))
        pixel = x.mul_(n_pixels).to(torch.int64)[:, None] + y.to(torch.int64)
        flat.index_add_(0, pixel.flatten(), _shared_area(u, v, density).flatten())


def _equally_wide(table: Tensor) -> Iterator[Tensor]:
    """Columns (x, y, radius, ...) of discs that fit into rectangles of as many pixels, a bounded number at once."""
    n_x, n_y = ((table[:2] + table[2]).floor_() - (table[:2] - table[2]).floor_()).to(torch.int64)
    shape = n_x * (int(n_y.amax()) + 1) + n_y if len(n_y) > 0 else n_x
    ordered, counts = table[:, shape.argsort()], shape.bincount().tolist()
    corners = _CORNERS_AT_ONCE[table.device.type]
    for discs in ordered.split_with_sizes([count for count in counts if count > 0], dim=1):
        n_corners = (2 * float(discs[2, 0]) + 3) ** 2 * discs.shape[1]
        yield from discs.tensor_split(min(math.ceil(n_corners / corners), discs.shape[1]), dim=1)


def _pixels(first: Tensor, last: Tensor) -> Tensor:
    """Numbers of the pixels from the first to the last of each disc, (pixels, n), equally many for all."""
    return first + torch.arange(int(last[0] - first[0]) + 1, device=first.device)[:, None]


def _edges(first: Tensor, n_pixels: int, radius: Tensor) -> Tensor:
    """Edges of the pixels from the centre of each disc, in units of its radius and cut to it, (n_pixels + 1, n)."""
    edges = (first + torch.arange(n_pixels + 1, device=first.device)[:, None]).div_(radius).clamp_(-1, 1)
    edges[0], edges[-1] = -1, 1
    return edges


def _shared_area(u: Tensor, v: Tensor, density: Tensor) -> Tensor:
    """Area that unit discs share with pixels, times a density.

    Args:
        u: (n_x + 1, n) edges of the pixels along the first axis, from -1 to 1.
        v: (n_y + 1, n) along the second.
        density: (n,).

    Returns:
        (n_x, n_y, n).
    """
    (chord_u, chord_v), v_density = ((1 - edges.square()).sqrt_() for edges in (u, v)), v * density
    integral_u, integral_v = (e.asin().addcmul_(e, chord).div_(2) for e, chord in ((u, chord_u), (v, chord_v)))
    integral_s = math.pi / 4 + (v * chord_v).abs_() - integral_v.abs_()
    corner = torch.clamp(u[:, None], -chord_v, chord_v).mul_(v_density)
    beyond = integral_u[:, None] - torch.clamp(integral_u[:, None], -integral_s, integral_s)
    return corner.addcmul_(beyond, v.sign().mul_(density)).diff(dim=0).diff(dim=1)
