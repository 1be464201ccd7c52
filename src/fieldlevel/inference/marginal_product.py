"""The product of the marginals of several maps, each parameter on a grid of its own that closes in on it."""

import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import Density
from fieldlevel.inference.grid_density import GridDensity

_N_BINS = 2000
_MOST_ROUNDS = 40
_NEGLIGIBLE = -50.0
"""Logarithm of the density of a bin over the densest, below which it is left out: ten standard deviations."""


def product_of_marginals(density: Density) -> GridDensity:
    """The product of the marginals of all maps, parameter by parameter.

    The mean density of a bin comes from the distribution function, so no posterior is too narrow for the first, coarse
    grid; the grid then closes in on the bins that are not negligible.

    Args:
        density: of n maps.

    Returns:
        Of one row.

    Raises:
        UserError: no value of a parameter is possible for all maps.
    """
    n_parameters = density.mean.shape[1]
    low, high = torch.zeros(n_parameters, dtype=torch.float64), torch.ones(n_parameters, dtype=torch.float64)
    for _ in range(_MOST_ROUNDS):
        edges = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, _N_BINS + 1, dtype=torch.float64)
        height = _product_in_bins(density, edges)
        first, last = _kept(height > _NEGLIGIBLE)
        if bool((last - first >= _N_BINS // 4).all()):
            break
        row = torch.arange(n_parameters)
        low, high = edges[row, (first - 1).clamp(min=0)], edges[row, (last + 2).clamp(max=_N_BINS)]
    return GridDensity(edges[None], height.exp()[None])


def _kept(is_kept: Tensor) -> tuple[Tensor, Tensor]:
    """First and last bin of each row that is kept."""
    return is_kept.int().argmax(1), _N_BINS - 1 - is_kept.flip(1).int().argmax(1)


def _product_in_bins(density: Density, edges: Tensor) -> Tensor:
    """Logarithm of the product of the maps' mean densities in bins, over that of the densest, (P, G)."""
    at = edges.T[:, None, :].expand(-1, len(density.mean), -1)
    height = density.marginal_cdf(at).diff(dim=0).clamp(min=0).log().sum(1).T
    highest = height.amax(1, keepdim=True)
    if not bool(highest.isfinite().all()):
        told = (
            "combine: the posteriors of these maps exclude each other, as no value of a parameter is possible for all"
        )
        raise UserError(f"{told}; their error bars do not hold")
    return height - highest
