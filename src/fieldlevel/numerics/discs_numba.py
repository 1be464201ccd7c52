"""Exact discs on a CPU, compiled; `fieldlevel.numerics.discs_exact` has the formula."""

import math

import numpy as np
import numpy.typing as npt

from fieldlevel.numerics.compiled import compiled

Array = npt.NDArray[np.float64]


@compiled
def add_discs(image: Array, discs: Array) -> None:
    """Add discs to an image, each pixel by the area that it shares with the disc.

    Args:
        image: (n_pixels, n_pixels), changed in place.
        discs: (4, n): x, y and radius in pixels, mass over pi.
    """
    n_pixels = len(image)
    n_edges = int(2 * discs[2].max()) + 3 if discs.shape[1] > 0 else 0
    u, s_u, i_u = np.empty(n_edges), np.empty(n_edges), np.empty(n_edges)
    v, s_v, i_v = np.empty(n_edges), np.empty(n_edges), np.empty(n_edges)
    limit, sign, above, below = np.empty(n_edges), np.empty(n_edges), np.empty(n_edges), np.empty(n_edges)
    for disc in range(discs.shape[1]):
        x, y, radius, density = discs[0, disc], discs[1, disc], discs[2, disc], discs[3, disc]
        row, n_rows = _cut(x, radius, u, s_u, i_u)
        column, n_columns = _cut(y, radius, v, s_v, i_v)
        row, column = row % n_pixels, column % n_pixels
        for j in range(n_columns + 1):
            sign[j] = density if v[j] > 0 else -density
            limit[j] = math.pi / 4 + abs(v[j] * s_v[j]) - abs(i_v[j])
            v[j] *= density
            below[j] = limit[j] * sign[j] - math.pi / 4 * sign[j] - s_v[j] * v[j]
        for i in range(1, n_rows + 1):
            for j in range(n_columns + 1):
                beyond = i_u[i] - min(max(i_u[i], -limit[j]), limit[j])
                above[j] = v[j] * min(max(u[i], -s_v[j]), s_v[j]) + sign[j] * beyond
            pixel = column
            for j in range(n_columns):
                image[row, pixel] += (above[j + 1] - below[j + 1]) - (above[j] - below[j])
                pixel = pixel + 1 if pixel + 1 < n_pixels else 0
            row = row + 1 if row + 1 < n_pixels else 0
            above, below = below, above


@compiled
def _cut(centre: float, radius: float, t: Array, s: Array, integral: Array) -> tuple[int, int]:
    """First pixel of a disc along an axis, their number n, and t, s(t), I(t) of the n + 1 edges."""
    first = math.floor(centre - radius)
    n = math.floor(centre + radius) - first + 1
    t[0], s[0], integral[0] = -1.0, 0.0, -math.pi / 4
    t[n], s[n], integral[n] = 1.0, 0.0, math.pi / 4
    for i in range(1, n):
        t[i] = min(max((first - centre + i) / radius, -1.0), 1.0)
        s[i] = math.sqrt(1 - t[i] * t[i])
        integral[i] = (t[i] * s[i] + math.asin(t[i])) / 2
    return first, n
