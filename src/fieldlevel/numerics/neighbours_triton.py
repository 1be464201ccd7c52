"""Fused CUDA kernel for the search of radii by counts in spheres. Importing this module needs Triton."""

import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 1024


@triton.jit
def _climb(log_radius, below, counts, log_wanted, log_ratio, n, block: tl.constexpr):  # type: ignore[no-untyped-def]
    cell = tl.program_id(0) * block + tl.arange(0, block)
    inside = cell < n
    above = tl.log(tl.load(counts + cell, mask=inside, other=1.0))
    under = tl.load(below + cell, mask=inside, other=0.0)
    share = (log_wanted - under) / tl.maximum(above - under, 1e-6)
    share = tl.minimum(tl.maximum(share, 0.0), 1.0)
    radius = tl.load(log_radius + cell, mask=inside, other=0.0)
    tl.store(log_radius + cell, radius + share * log_ratio, mask=inside)
    tl.store(below + cell, above, mask=inside)


def climb(log_radius: Tensor, below: Tensor, counts: Tensor, log_wanted: float, log_ratio: float) -> None:
    """One rung of `fieldlevel.numerics.neighbour_counts` up, in place; all three (n, n, n) float32."""
    n = log_radius.numel()
    _climb[(triton.cdiv(n, _BLOCK),)](log_radius, below, counts, log_wanted, log_ratio, n, _BLOCK)
