r"""Distance to the k-th nearest neighbour in a periodic box: the exact search and an estimate on a mesh.

`neighbour_distance` is exact (k-d tree). `mesh_neighbour_distance` counts the particles in spheres around every cell,

    N(x; R) = (n * W_R)(x),    W_R(k) = 3 (sin kR - kR cos kR) / (kR)^3 * 4/3 pi R^3,

by FFT for a ladder of radii and interpolates log N in log R to the wanted count. In the field it agrees with the exact
search to a few per cent; in haloes smaller than a cell it follows R ~ N^(1/3) below the smallest radius.
"""

from itertools import pairwise

import torch
from scipy.spatial import cKDTree
from torch import Tensor

from fieldlevel.numerics.mesh import cic_window, fourier, inverse_fourier, nearest_cell, paint_cic, squared_wavenumber


def neighbour_distance(positions: Tensor, n_mesh: int, k: int) -> Tensor:
    """Exact distance to the k-th nearest neighbour, the particle itself not counted.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped), n > k.
        n_mesh: side of the periodic box in cells.
        k: which neighbour, 1 the nearest.

    Returns:
        (n,) distances in cells, float32.

    Example:
        >>> line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
        >>> neighbour_distance(line, n_mesh=8, k=1).tolist()
        [1.0, 1.0, 2.0]
    """
    wrapped = positions.double().remainder(n_mesh).cpu().numpy() % n_mesh
    distance, _ = cKDTree(wrapped, boxsize=[n_mesh] * 3).query(wrapped, k=[k + 1])
    return torch.from_numpy(distance[:, 0]).to(device=positions.device, dtype=torch.float32)


def mesh_neighbour_distance(positions: Tensor, n_mesh: int, k: int, n_radii: int = 12) -> Tensor:
    """Estimated distance to the k-th nearest neighbour, from counts in spheres around the cells of a mesh.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped).
        n_mesh: cells a side of the mesh and of the box.
        k: which neighbour.
        n_radii: radii in the ladder, from half a cell to the sphere of a void fifty times below the mean density.

    Returns:
        (n,) distances in cells, float32.
    """
    radius_on_mesh = _radius_of_count(paint_cic(positions, n_mesh), k + 1, n_radii)
    return radius_on_mesh.view(-1)[nearest_cell(positions, n_mesh)]


def _radius_of_count(counts: Tensor, wanted: float, n_radii: int) -> Tensor:
    """Radius [cells] of the sphere around each cell that holds the wanted number of particles."""
    n_mesh = counts.shape[0]
    mean_radius = (3 * wanted / (4 * torch.pi * counts.double().mean().item())) ** (1 / 3)
    ladder = torch.logspace(-0.3, torch.log10(torch.tensor(3.7 * mean_radius)).item(), n_radii).tolist()
    k = squared_wavenumber(n_mesh, counts.device).sqrt()
    counts_k = fourier(counts) / cic_window(n_mesh, counts.device)
    below = _count_in_spheres(counts_k, k, ladder[0])
    radius: Tensor = ladder[0] * (wanted / below).pow(1 / 3).clamp(max=1)
    for inner, outer in pairwise(ladder):
        above = torch.maximum(_count_in_spheres(counts_k, k, outer), below * (1 + 1e-6))
        fraction = torch.log(wanted / below) / torch.log(above / below)
        crossing = inner * (outer / inner) ** fraction.clamp(0, 1)
        radius = torch.where(below < wanted, crossing, radius)
        below = above
    return radius


def _count_in_spheres(counts_k: Tensor, k: Tensor, radius: float) -> Tensor:
    """Particles within `radius` cells of each cell centre; at least a small positive number."""
    x = (k * radius).clamp(min=1e-3)
    window = 3 * (torch.sin(x) - x * torch.cos(x)) / x**3
    window = torch.where(k * radius < 0.1, 1 - (k * radius) ** 2 / 10, window)
    volume = 4 / 3 * torch.pi * radius**3
    return inverse_fourier(counts_k * window).mul_(volume).clamp_(min=1e-3)
