"""Exact distance to the k-th nearest neighbour in a periodic box.

On a CPU by the compiled k-d tree of `neighbours_numba`, on a GPU by the tensor operations of `neighbour_groups`. An
estimate that is a few per cent off and many times faster is in `neighbour_counts`.
"""

import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.extras import refuse_without
from fieldlevel.numerics.neighbour_groups import grouped_neighbour_distance


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
    refuse_without("numba")
    from fieldlevel.numerics import neighbours_numba  # noqa: PLC0415 (slow to import)

    return torch.from_numpy(neighbours_numba.tree_neighbour_distance(wrapped.numpy(), float(box), k, workers))
