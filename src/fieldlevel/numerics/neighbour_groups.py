"""Exact distance to the k-th nearest neighbour by tensor operations, for a GPU.

The particles are sorted into a balanced k-d tree; groups of neighbouring particles share a list of the leaves that may
hold a neighbour, nearest first, and keep the k + 1 smallest distances of the leaves they have read; a group is done
when its next leaf is farther than the last of these. A bound from the start comes from the particles of the same
branch.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAF_SIZE = 8
_GROUP_LEVELS = 2
_LEAVES_AT_ONCE = 32
_DISTANCES_AT_ONCE = {"cpu": 2**21, "cuda": 2**25}
_PAIRS_AT_ONCE = {"cpu": 2**22, "cuda": 2**25}
_ROUND_OFF = 1e-12


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
