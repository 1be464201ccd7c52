r"""Distance to the k-th nearest neighbour in a periodic box: the exact search and an estimate on a mesh.

`neighbour_distance` is exact: SciPy's k-d tree on a CPU, on a GPU a search that is all tensor operations. There, the
particles are sorted into a balanced k-d tree; groups of neighbouring particles share a list of the leaves that may hold
a neighbour, nearest first, and keep the k + 1 smallest distances of the leaves they have read; a group is done when its
next leaf is farther than the last of these. A bound from the start comes from the particles of the same branch.

`mesh_neighbour_distance` counts the particles in spheres around every cell,

    N(x; R) = (n * W_R)(x),    W_R(k) = 3 (sin kR - kR cos kR) / (kR)^3 * 4/3 pi R^3,

by FFT for a ladder of radii and interpolates log N in log R to the wanted count; the particles read the density R^-3.
In the field it agrees with the exact search to a few per cent; in haloes smaller than a cell it follows R ~ N^(1/3)
below the smallest radius.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.numerics.mesh import cic_window, fourier, inverse_fourier, paint_cic, read_cic, squared_wavenumber

Positions = npt.NDArray[np.float64]
_SMALLEST_RADIUS = 0.5
_QUERIES_AT_ONCE = 2**17
_TREE_LEAF_SIZE = 32
_MARGIN = 1.5
"""Images are kept to this many times the mean distance to neighbour k."""
_LEAF_SIZE = 8
_GROUP_LEVELS = 2
_LEAVES_AT_ONCE = 32
_DISTANCES_AT_ONCE = {"cpu": 2**21, "cuda": 2**25}
_PAIRS_AT_ONCE = {"cpu": 2**22, "cuda": 2**25}
_ROUND_OFF = 1e-12


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


def grouped_neighbour_distance(wrapped: Tensor, box: float, k: int) -> Tensor:
    """Exact distance to the k-th nearest neighbour by tensor operations, in bounded memory; made for a GPU.

    Args:
        wrapped: (n, 3) float64 in cells, from 0 to box, n > k.
        box: side of the periodic box in cells.
        k: which neighbour, 1 the nearest.

    Returns:
        (n,) distances in cells, float32.
    """
    tree = _plant(wrapped, box)
    bound, queries = _bound_in_branch(tree, k), tree.branches(tree.group_level)
    square = torch.empty(queries.shape[:2], dtype=torch.float64, device=wrapped.device)
    size = queries.shape[1] * tree.leaves.shape[1] * _LEAVES_AT_ONCE
    n_at_once = max(_DISTANCES_AT_ONCE[wrapped.device.type] // size, 1)
    for some in torch.arange(len(queries), device=wrapped.device).tensor_split(math.ceil(len(queries) / n_at_once)):
        for groups, leaves in _leaves_within(tree, some, bound):
            square[groups] = _squared_distance(tree, queries[groups], leaves, k)
    distance = torch.empty(square.numel(), dtype=torch.float32, device=wrapped.device)
    return distance.index_copy_(0, tree.index, square.sqrt_().float().flatten())[: len(wrapped)]


@dataclass(frozen=True)
class _Pairs:
    """Groups and the leaves near them: by group, the nearest leaf first.

    Attributes:
        start: (groups,) of each group's pairs.
        end: (groups,).
        leaf: (pairs,).
        gap: (pairs,) squared distance between the boxes of the group and of the leaf.
    """

    start: Tensor
    end: Tensor
    leaf: Tensor
    gap: Tensor


@dataclass(frozen=True)
class _Tree:
    """Balanced k-d tree over particles; places without one stand at infinity.

    Attributes:
        leaves: (n_leaves + 1, leaf_size, 3) positions; the last leaf is empty.
        index: (n_leaves * leaf_size,) of each place's particle, n and more for empty ones.
        centre: of the box around the particles of each branch, (2^level, 3) for each level from the root to the leaves.
        half: half the sides of these boxes, minus infinity for empty ones.
        box: side of the periodic box.
    """

    leaves: Tensor
    index: Tensor
    centre: list[Tensor]
    half: list[Tensor]
    box: float

    @property
    def n_levels(self) -> int:
        """Levels below the root."""
        return len(self.centre) - 1

    @property
    def group_level(self) -> int:
        """Level of the branches whose particles share a list of leaves."""
        return max(self.n_levels - _GROUP_LEVELS, 0)

    def branches(self, level: int) -> Tensor:
        """Positions in the branches of a level, (2^level, particles, 3)."""
        return self.leaves[:-1].view(2**level, -1, 3)


def _plant(wrapped: Tensor, box: float) -> _Tree:
    """Split the particles in halves across the longest side until at most eight are left."""
    n = len(wrapped)
    n_levels = max(math.ceil(math.log2(n / _LEAF_SIZE)), 0)
    n_leaves = 2**n_levels
    points = wrapped.new_full((n_leaves * -(-n // n_leaves), 3), math.inf)
    points[:n] = wrapped
    index = torch.arange(len(points), device=wrapped.device)
    for level in range(n_levels):
        branches = points.view(2**level, -1, 3)
        longest = (_largest(branches) - branches.amin(1)).argmax(1)
        along = branches.gather(2, longest[:, None, None].expand(-1, branches.shape[1], 1))[..., 0]
        order = along.argsort(1)
        points = branches.gather(1, order[..., None].expand(-1, -1, 3))
        index = index.view_as(order).gather(1, order)
    leaves = points.reshape(n_leaves, -1, 3)
    nobody = torch.full_like(leaves[:1], math.inf)
    return _Tree(torch.cat([leaves, nobody]), index.flatten(), *_boxes(leaves), box)


def _largest(points: Tensor) -> Tensor:
    return torch.where(points.isfinite(), points, -math.inf).amax(1)


def _boxes(leaves: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Centre and half the sides of the boxes around the branches, from the root to the leaves."""
    low, high = [leaves.amin(1)], [_largest(leaves)]
    while len(low[0]) > 1:
        low.insert(0, low[0].view(-1, 2, 3).amin(1))
        high.insert(0, high[0].view(-1, 2, 3).amax(1))
    pairs = list(zip(low, high, strict=True))
    return [((a + b) / 2).nan_to_num_(0) for a, b in pairs], [(b - a) / 2 for a, b in pairs]


def _squared_separation(queries: Tensor, points: Tensor, box: float) -> Tensor:
    """Between the nearest images, (..., queries, points) of (..., queries, 3) and (..., points, 3)."""
    total = queries.new_zeros(())
    for axis in range(3):
        along = (queries[..., :, None, axis] - points[..., None, :, axis]).abs_()
        total = total + torch.minimum(along, box - along).square_()
    return total


def _bound_in_branch(tree: _Tree, k: int) -> Tensor:
    """Upper bound of the squared distance to neighbour k for each group, from the particles of a branch around it."""
    wanted = max(math.ceil(math.log2(4 * (k + 1) / tree.leaves.shape[1])), _GROUP_LEVELS)
    branches = tree.branches(max(tree.n_levels - wanted, 0))
    size = branches.shape[1]
    bounds = []
    n_parts = math.ceil(len(branches) * size**2 / _DISTANCES_AT_ONCE[branches.device.type])
    for some in branches.tensor_split(min(n_parts, len(branches))):
        square = _squared_separation(some, some, tree.box)
        last = square.topk(min(k + 1, size), largest=False).values.amax(-1)
        bounds.append(last if size > k else torch.full_like(last, math.inf))
    groups = tree.branches(tree.group_level)
    by_group = torch.cat(bounds).view(groups.shape[:2])
    return _farthest(by_group, groups).clamp_(max=tree.box**2)


def _farthest(square: Tensor, queries: Tensor) -> Tensor:
    """Largest squared distance of the queries that are particles, with room for round-off."""
    return torch.where(queries[..., 0].isfinite(), square, 0).amax(-1) * (1 + _ROUND_OFF)


def _leaves_within(tree: _Tree, groups: Tensor, bound: Tensor) -> Iterator[tuple[Tensor, _Pairs]]:
    """Leaves nearer to each group than its bound; the groups are divided where that would be too many at once."""
    pairs = _descend(tree, groups, bound[groups])
    if pairs is not None:
        yield groups, pairs
        return
    for some in groups.chunk(2):
        yield from _leaves_within(tree, some, bound)


def _descend(tree: _Tree, groups: Tensor, bound: Tensor) -> _Pairs | None:
    """From the root to the leaves, through the branches within the bound of each group; None if they are too many."""
    owner = torch.arange(len(groups), device=groups.device)
    branch = torch.zeros_like(owner)
    for level in range(tree.n_levels + 1):
        if level > 0:
            branch = torch.stack([2 * branch, 2 * branch + 1], 1).flatten()
            owner = owner.repeat_interleave(2)
        gap = _squared_gap(tree, groups[owner], level, branch)
        near = gap <= bound[owner]
        owner, branch, gap = owner[near], branch[near], gap[near]
        if len(groups) > 1 and len(owner) > _PAIRS_AT_ONCE[groups.device.type]:
            return None
    order = gap.argsort()
    order = order[owner[order].argsort(stable=True)]
    count = owner.bincount(minlength=len(groups))
    end = count.cumsum(0)
    return _Pairs(end - count, end, branch[order], gap[order])


def _squared_gap(tree: _Tree, groups: Tensor, level: int, branch: Tensor) -> Tensor:
    """Squared distance between the boxes of groups and of branches, slightly too small rather than too large."""
    along = (tree.centre[tree.group_level][groups] - tree.centre[level][branch]).abs_()
    along = torch.minimum(along, tree.box - along)
    sides = tree.half[tree.group_level][groups] + tree.half[level][branch]
    return (along - sides - _ROUND_OFF * tree.box).clamp_(min=0).square_().sum(-1)


def _squared_distance(tree: _Tree, queries: Tensor, pairs: _Pairs, k: int) -> Tensor:
    """Of each query's neighbour k, (groups, queries) for (groups, queries, 3)."""
    nearest = queries.new_full((*queries.shape[:2], k + 1), math.inf)
    steps = torch.arange(_LEAVES_AT_ONCE, device=queries.device)
    place, active = pairs.start.clone(), torch.arange(len(queries), device=queries.device)
    while len(active) > 0:
        chosen = place[active, None] + steps
        leaf = torch.where(chosen < pairs.end[active, None], pairs.leaf[chosen.clamp_(max=len(pairs.leaf) - 1)], -1)
        points = tree.leaves[leaf].flatten(1, 2)
        square = _squared_separation(queries[active], points, tree.box)
        best = torch.cat([nearest[active], square], -1).topk(k + 1, largest=False).values
        nearest[active] = best
        place[active] += _LEAVES_AT_ONCE
        more = place[active] < pairs.end[active]
        gap = pairs.gap[place[active].clamp_(max=len(pairs.gap) - 1)]
        active = active[more & (gap <= _farthest(best.amax(-1), queries[active]))]
    return nearest.amax(-1)


def mesh_neighbour_distance(positions: Tensor, n_mesh: int, k: int, ratio: float = 1.36) -> Tensor:
    """Estimated distance to the k-th nearest neighbour, from counts in spheres around the cells of a mesh.

    Args:
        positions: (n, 3) in cells, any real numbers (wrapped).
        n_mesh: cells a side of the mesh and of the box.
        k: which neighbour.
        ratio: of neighbouring radii in the ladder, from half a cell to the sphere of a void fifty times below the mean.

    Returns:
        (n,) distances in cells, float32.
    """
    mean_radius = n_mesh * (3 * (k + 1) / (4 * math.pi * len(positions))) ** (1 / 3)
    n_rungs = math.ceil(math.log(3.7 * mean_radius / _SMALLEST_RADIUS, ratio))
    ladder = [_SMALLEST_RADIUS * ratio**rung for rung in range(n_rungs + 1)]
    radius_on_mesh = _radius_of_count(paint_cic(positions, n_mesh), k + 1, ladder)
    return read_cic(radius_on_mesh.pow_(-3)[None], positions)[0].pow_(-1 / 3)


def _radius_of_count(counts: Tensor, wanted: float, ladder: list[float]) -> Tensor:
    """Radius [cells] of the sphere around each cell that holds the wanted number of particles.

    With L(R) = ln N(x; R), ln R grows over each rung of the ladder by the share of the rung that L needs to get from
    its lower end to ln(wanted), none where it is already above and all where it stays below.
    """
    counts_k = fourier(counts)
    below = _log_count_in_spheres(counts_k, ladder[0])
    log_radius = (math.log(wanted) - below).div_(3).clamp_(max=0).add_(math.log(ladder[0]))
    for inner, outer in pairwise(ladder):
        above = _log_count_in_spheres(counts_k, outer)
        rise = torch.sub(above, below).clamp_(min=1e-6)
        log_radius.add_(below.sub_(math.log(wanted)).neg_().div_(rise).clamp_(0, 1), alpha=math.log(outer / inner))
        below = above
    return log_radius.exp_()


def _log_count_in_spheres(counts_k: Tensor, radius: float) -> Tensor:
    """Logarithm of the particles within `radius` cells of each cell centre, at least of a small positive number."""
    window = _sphere_window(counts_k.shape[0], radius, counts_k.device)
    return inverse_fourier(counts_k * window).clamp_(min=1e-3).log_()


@lru_cache(maxsize=32)
def _sphere_window(n_mesh: int, radius: float, device: torch.device) -> Tensor:
    """Volume of a sphere times its Fourier transform, divided by the cloud-in-cell window, (n, n, n//2 + 1) float32."""
    x = squared_wavenumber(n_mesh, device).sqrt_().mul_(radius)
    sphere = torch.where(x < 0.1, 1 - x**2 / 10, 3 * (torch.sin(x) - x * torch.cos(x)) / x.clamp(min=1e-3) ** 3)
    return sphere.div_(cic_window(n_mesh, device)).mul_(4 / 3 * math.pi * radius**3)
