"""Exact distance to the k-th nearest neighbour on a CPU, compiled.

The particles are put into the order of a balanced k-d tree and asked in that order. The sphere around one particle that
holds its k neighbours holds as many for the next one after growing by the step between the two, so each search starts
with a bound that is nearly tight. Periodic images are found by asking again for the particle shifted by the box, as far
as its sphere reaches across a face.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from fieldlevel.numerics.compiled import compiled

Array = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

_LEAF_SIZE = 24
_SPARE = 48
"""Distances kept beyond the k + 1 smallest before they are sorted out."""
_ROUND_OFF = 1e-14
"""Room in a bound, of the box: coordinates are known to that."""
_QUERIES_AT_ONCE = 2**16


def tree_neighbour_distance(wrapped: Array, box: float, k: int, n_threads: int = 1) -> npt.NDArray[np.float32]:
    """Exact distance to the k-th nearest neighbour.

    Args:
        wrapped: (n, 3) in cells, from 0 to box, n > k.
        box: side of the periodic box in cells.
        k: which neighbour, 1 the nearest.
        n_threads: threads of the search; the result does not depend on them.

    Returns:
        (n,) distances in cells.
    """
    points, order = wrapped.copy(), np.arange(len(wrapped))
    n_leaves = 2 ** max(math.ceil(math.log2(len(points) / _LEAF_SIZE)), 0)
    leaf_size = math.ceil(len(points) / n_leaves)
    _plant(points, order, n_leaves, leaf_size)
    square = np.empty(len(points))
    low, high = _boxes(points, n_leaves, leaf_size)
    search = partial(_search, points, _leaves(points, n_leaves, leaf_size), low, high, box, k, square)
    edges = [*range(0, len(points), _QUERIES_AT_ONCE), len(points)]
    with ThreadPoolExecutor(n_threads) as pool:
        list(pool.map(search, edges[:-1], edges[1:]))
    distance = np.empty(len(points), dtype=np.float32)
    distance[order] = np.sqrt(square)
    return distance


@compiled
def _plant(points: Array, order: Numbers, n_leaves: int, leaf_size: int) -> None:
    """Put the points into the order of a k-d tree: halves across the longest side, down to leaves of one size."""
    size = n_leaves * leaf_size
    while size > leaf_size:
        for first in range(0, len(points), size):
            last, middle = min(first + size, len(points)), first + size // 2
            if middle < last:
                axis, longest = 0, -1.0
                for i in range(3):
                    side = points[first:last, i].max() - points[first:last, i].min()
                    if side > longest:
                        axis, longest = i, side
                _halve(points, order, axis, first, last - 1, middle)
        size //= 2


@compiled
def _halve(points: Array, order: Numbers, axis: int, first: int, last: int, middle: int) -> None:
    """Hoare's selection: points before the middle are not beyond it, those after it not before it."""
    while first < last:
        pivot = points[(first + last) // 2, axis]
        i, j = first, last
        while i <= j:
            while points[i, axis] < pivot:
                i += 1
            while points[j, axis] > pivot:
                j -= 1
            if i <= j:
                for c in range(3):
                    points[i, c], points[j, c] = points[j, c], points[i, c]
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            last = j
        elif middle >= i:
            first = i
        else:
            return


def _leaves(points: Array, n_leaves: int, leaf_size: int) -> Array:
    """Coordinates leaf by leaf, (n_leaves, 3, leaf_size), at infinity where there is no point."""
    padded = np.full((n_leaves * leaf_size, 3), np.inf)
    padded[: len(points)] = points
    return np.ascontiguousarray(padded.reshape(n_leaves, leaf_size, 3).transpose(0, 2, 1))


def _boxes(points: Array, n_leaves: int, leaf_size: int) -> tuple[Array, Array]:
    """Corners of the boxes of all branches, (2 * n_leaves, 3); the children of branch i are 2i and 2i + 1."""
    starts = np.arange(0, len(points), leaf_size)
    low, high = np.full((2 * n_leaves, 3), np.inf), np.full((2 * n_leaves, 3), -np.inf)
    low[n_leaves : n_leaves + len(starts)] = np.minimum.reduceat(points, starts)
    high[n_leaves : n_leaves + len(starts)] = np.maximum.reduceat(points, starts)
    while n_leaves > 1:
        level = slice(n_leaves, 2 * n_leaves)
        n_leaves //= 2
        low[n_leaves : 2 * n_leaves] = low[level].reshape(-1, 2, 3).min(1)
        high[n_leaves : 2 * n_leaves] = high[level].reshape(-1, 2, 3).max(1)
    return low, high


@compiled
def _search(
    points: Array, leaves: Array, low: Array, high: Array, box: float, k: int, square: Array, first: int, last: int
) -> None:
    """Squared distance to neighbour k of the points from first to last."""
    nearest = np.empty(k + 1 + _SPARE + leaves.shape[2])
    bound = np.inf
    for i in range(first, last):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if i > first:
            step = math.sqrt((x - points[i - 1, 0]) ** 2 + (y - points[i - 1, 1]) ** 2 + (z - points[i - 1, 2]) ** 2)
            bound = (math.sqrt(bound) + step + _ROUND_OFF * box) ** 2
        count, bound = _visit(leaves, low, high, x, y, z, k, nearest, 0, bound)
        r = math.sqrt(bound)
        if min(x, y, z) < r or max(x, y, z) + r >= box:
            for shift in range(27):
                u, v, w = x + (shift % 3 - 1) * box, y + (shift // 3 % 3 - 1) * box, z + (shift // 9 - 1) * box
                if shift != 13 and _gap(low, high, 1, u, v, w) < bound:
                    count, bound = _visit(leaves, low, high, u, v, w, k, nearest, count, bound)
        bound = _smallest(nearest, count, k)
        if bound >= (box / 2) ** 2:
            bound = _among_all(points, box, k, i)
        square[i] = bound


@compiled
def _visit(
    leaves: Array,
    low: Array,
    high: Array,
    x: float,
    y: float,
    z: float,
    k: int,
    nearest: Array,
    count: int,
    bound: float,
) -> tuple[int, float]:
    """Add the squared distances within the bound, the nearer boxes first; the bound falls as they become too many."""
    n_leaves, leaf_size = leaves.shape[0], leaves.shape[2]
    nodes, gaps = np.empty(64, np.int64), np.empty(64)
    nodes[0], gaps[0], top = 1, 0.0, 1
    while top > 0:
        top -= 1
        node = nodes[top]
        if gaps[top] >= bound:
            continue
        if node < n_leaves:
            left, right = _gap(low, high, 2 * node, x, y, z), _gap(low, high, 2 * node + 1, x, y, z)
            near = 2 * node + (right < left)
            nodes[top], gaps[top] = 4 * node + 1 - near, max(left, right)
            nodes[top + 1], gaps[top + 1] = near, min(left, right)
            top += 2
            continue
        leaf = leaves[node - n_leaves]
        for j in range(leaf_size):
            s = (leaf[0, j] - x) ** 2 + (leaf[1, j] - y) ** 2 + (leaf[2, j] - z) ** 2
            nearest[count] = s
            count += s < bound
        if count > k + _SPARE:
            bound = _smallest(nearest, count, k)
            count = k + 1
    return count, bound


@compiled
def _gap(low: Array, high: Array, node: int, x: float, y: float, z: float) -> float:
    """Squared distance to a box."""
    u = max(low[node, 0] - x, x - high[node, 0], 0.0)
    v = max(low[node, 1] - y, y - high[node, 1], 0.0)
    w = max(low[node, 2] - z, z - high[node, 2], 0.0)
    return float(u * u + v * v + w * w)


@compiled
def _smallest(values: Array, count: int, k: int) -> float:
    """Value number k from 0 of the first values by Hoare's selection; smaller ones go before it."""
    first, last = 0, count - 1
    while first < last:
        pivot = values[(first + last) // 2]
        i, j = first, last
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            last = j
        elif k >= i:
            first = i
        else:
            break
    return float(values[k])


@compiled
def _among_all(points: Array, box: float, k: int, i: int) -> float:
    """Squared distance to neighbour k by the nearest images of all points: its sphere reaches across half the box."""
    square = np.zeros(len(points))
    for axis in range(3):
        along = np.abs(points[:, axis] - points[i, axis])
        square += np.minimum(along, box - along) ** 2
    return _smallest(square, len(square), k)
