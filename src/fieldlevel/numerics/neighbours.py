"""Exact distance to the k-th nearest neighbour in a periodic box.

On a CPU by SciPy's k-d tree, on a GPU by the tensor operations of `neighbour_groups`. An estimate that is a few per
cent off and many times faster is in `neighbour_counts`.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.numerics.neighbour_groups import grouped_neighbour_distance

Positions = npt.NDArray[np.float64]
_QUERIES_AT_ONCE = 2**17
_TREE_LEAF_SIZE = 32
_MARGIN = 1.5
"""Images are kept to this many times the mean distance to neighbour k."""


def neighbour_distance(positions: Tensor, box: float, k: int, workers: int = 1) -> Tensor:
    """Exact distance to the k-th nearest neighbour, the particle itself not counted.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped), n > k.
        box: side of the periodic box in cells.
        k: which neighbour, 1 the nearest.
        workers: threads of the search on a CPU.

    Returns:
        (n,) distances in cells, float32, on the device of the positions.

    Raises:
        UserError: for fewer than k + 1 particles.

    Example:
        >>> line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
        >>> neighbour_distance(line, box=8, k=1).tolist()
        [1.0, 1.0, 2.0]
    """
    if len(positions) <= k:
        raise UserError(f"{len(positions)} particles have no neighbour number {k}: give at least {k + 1}")
    wrapped = positions.double().remainder(box)
    wrapped = wrapped.where(wrapped < box, 0.0)
    if positions.is_cuda:
        return grouped_neighbour_distance(wrapped, box, k)
    return torch.from_numpy(_tree_distance(wrapped.cpu().numpy(), box, k, workers)).to(positions.device)


def _tree_distance(wrapped: Positions, box: float, k: int, workers: int) -> npt.NDArray[np.float32]:
    """By SciPy's tree of the particles and their images in a margin around the box, faster than a periodic one.

    A distance is exact if it reaches neither beyond the margin nor, where a particle could be met twice, beyond half
    the box; the others are searched again in a periodic tree.
    """
    margin = min(_MARGIN * box * (3 * (k + 1) / (4 * math.pi * len(wrapped))) ** (1 / 3), box / 2)
    distance = _query_tree(_with_images(wrapped, box, margin), np.arange(len(wrapped)), k, workers)
    covered = np.minimum(margin + np.minimum(wrapped, box - wrapped).min(1), box / 2)
    unsure = np.flatnonzero(distance >= covered * (1 - 1e-6))
    if len(unsure) > 0:
        distance[unsure] = _query_tree(wrapped, unsure, k, workers, box)
    return distance


def _with_images(wrapped: Positions, box: float, margin: float) -> Positions:
    """The particles, then their periodic images within a margin around the box."""
    for axis in range(3):
        along = wrapped[:, axis]
        step = box * np.eye(3)[axis]
        wrapped = np.concatenate([wrapped, wrapped[along < margin] + step, wrapped[along >= box - margin] - step])
    return wrapped


def _query_tree(
    points: Positions, queries: npt.NDArray[np.int64], k: int, workers: int, box: float | None = None
) -> npt.NDArray[np.float32]:
    """Distance from some of the points to neighbour k, periodic if a box is given.

    The points are looked up in the order of the leaves: the neighbourhood of the last one is still in the cache.
    """
    tree = cKDTree(points, leafsize=_TREE_LEAF_SIZE, balanced_tree=False, compact_nodes=False, boxsize=box)
    wanted = np.zeros(len(points), dtype=bool)
    wanted[queries] = True
    order = tree.indices[wanted[tree.indices]]
    distance = np.empty(len(points), dtype=np.float32)
    for some in np.array_split(order, math.ceil(len(order) / _QUERIES_AT_ONCE)):
        distance[some] = tree.query(points[some], k=[k + 1], workers=workers)[0][:, 0]
    return distance[queries]
