"""The product of the joint posteriors of several maps: an exact density, and weighted draws for everything else.

Gaussian copulas are multiplied as the multivariate normals that they are far from the edges of the prior, truncated to
it: those of the parents of their marginals. At a corner of the prior the density of a copula has no bound, and the
product of many of them no integral.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import Density, GaussianCopula, TruncatedNormal
from fieldlevel.estimators.truncated_normal import parent_of
from fieldlevel.inference.copula_proposal import LogDensity, effective_number, weighted_draws
from fieldlevel.inference.marginal_product import product_of_marginals
from fieldlevel.numerics.random import uniform

_N_DRAWS = 10_000
_LEAST_EFFECTIVE = 200
_MOST_DENSITIES = 1 << 17
"""That are worked out at a time."""
_STREAM = 2830
"""Of `fieldlevel.numerics.random`."""


class ProductDensity(Density):
    """Products of joint posteriors; every row is one product.

    `log_prob` is the product itself, exact up to its normalisation; that, the moments, quantiles and samples come from
    weighted draws.

    Args:
        products: of each row, the natural logarithm of the product up to a constant, (..., P) to (...).
        draws: (N, b, P).
        weights: of the draws, adding up to one, (N, b).
        log_norms: natural logarithms of their integrals, (b,).
    """

    is_joint = True

    def __init__(self, products: Sequence[LogDensity], draws: Tensor, weights: Tensor, log_norms: Tensor) -> None:
        self._products, self._draws, self._weights, self._log_norms = tuple(products), draws, weights, log_norms
        self.mean = (weights[..., None] * draws).sum(0)
        apart = draws - self.mean
        self.covariance: Tensor = torch.einsum("nb,nbi,nbj->bij", weights, apart, apart)
        self.std = self.covariance.diagonal(dim1=1, dim2=2).sqrt()

    @classmethod
    def of(cls, density: Density, seed: int = 0) -> "ProductDensity":
        """The product of the posteriors of n maps, one row.

        Args:
            density: of the maps, joint.
            seed: of the draws.

        Raises:
            UserError: hardly any draw counts.
        """
        product = log_product(density)
        roughly = product_of_marginals(TruncatedNormal(density.mean, density.std))
        with torch.no_grad():
            draws, log_weights = weighted_draws(product, roughly, _N_DRAWS, seed)
        n_effective = effective_number(log_weights)
        if not n_effective >= _LEAST_EFFECTIVE:
            told = f"combine: of the product of these posteriors {n_effective:.0f} of {_N_DRAWS} draws count"
            raise UserError(f"{told}: they exclude each other, or pile up at an edge of the prior")
        log_norm = log_weights.logsumexp(0) - math.log(_N_DRAWS)
        return cls([product], draws[:, None], log_weights.softmax(0)[:, None], log_norm[None])

    @property
    def n_effective(self) -> Tensor:
        """Draws without weights that would tell as much, (b,)."""
        return 1 / self._weights.square().sum(0)

    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Draws by their weights, (n_samples, b, P); of more than `n_effective` many stand there twice."""
        n_rows = len(self.mean)
        share = uniform(torch.arange(n_rows * n_samples), seed, _STREAM).view(n_rows, n_samples)
        below = self._weights.cumsum(0).T.contiguous()
        number = torch.searchsorted(below, share).clamp(max=len(self._draws) - 1)
        return self._draws[number.T, torch.arange(n_rows)]

    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density, (..., b)."""
        theta = theta.double()
        each = torch.stack([product(theta[..., row, :]) for row, product in enumerate(self._products)], -1)
        inside = ((theta >= 0) & (theta <= 1)).all(-1)
        return torch.where(inside, each - self._log_norms, -math.inf)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Weights of the draws below theta, (..., b, P)."""
        values, below = self._sorted()
        at = theta.double().expand(np.broadcast_shapes(theta.shape, self.mean.shape))
        number = torch.searchsorted(values, _last_axis(at), right=True)
        below = torch.cat([torch.zeros_like(below[..., :1]), below], -1)
        return _first_axes(below.gather(-1, number), at.shape)

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values that draws of this weight lie below, (..., b, P)."""
        values, below = self._sorted()
        wanted = torch.as_tensor(p, dtype=torch.float64)
        wanted = wanted.expand(np.broadcast_shapes(wanted.shape, self.mean.shape))
        number = torch.searchsorted(below, _last_axis(wanted)).clamp(max=len(self._draws) - 1)
        return _first_axes(values.gather(-1, number), wanted.shape)

    def _sorted(self) -> tuple[Tensor, Tensor]:
        """Draws of each parameter in ascending order, and the weight of all up to each, (b, P, N)."""
        values, order = self._draws.permute(1, 2, 0).sort(-1)
        weights = self._weights.T[:, None, :].expand_as(order).gather(-1, order)
        return values.contiguous(), weights.cumsum(-1)

    def select(self, index: Any) -> "ProductDensity":
        """The density of some rows."""
        rows = torch.arange(len(self.mean))[index]
        products = [self._products[row] for row in rows.tolist()]
        return ProductDensity(products, self._draws[:, rows], self._weights[:, rows], self._log_norms[rows])

    @classmethod
    def cat(cls, densities: "Sequence[ProductDensity]") -> "ProductDensity":
        """The rows of several."""
        draws, weights = (torch.cat([getattr(each, name) for each in densities], 1) for name in ("_draws", "_weights"))
        products = [product for each in densities for product in each._products]
        return cls(products, draws, weights, torch.cat([each._log_norms for each in densities]))


def log_product(density: Density) -> LogDensity:
    """Natural logarithm of the product of all maps' densities inside the prior, up to a constant."""
    if isinstance(density, GaussianCopula) and density.covariance is not None:
        return _product_of_normals(density, density.covariance)
    n_maps = len(density.mean)

    def product(theta: Tensor) -> Tensor:
        points = theta.reshape(-1, theta.shape[-1])
        parts = torch.split(points, max(1, _MOST_DENSITIES // n_maps))
        found = [density.log_prob(part[:, None, :].expand(-1, n_maps, -1)).double().sum(-1) for part in parts]
        return torch.cat(found).view(theta.shape[:-1])

    return product


def _product_of_normals(density: GaussianCopula, covariance: Tensor) -> LogDensity:
    """Precisions add up: -(theta - m)^t (sum_i C_i^{-1}) (theta - m) / 2, of the parents' locations and scales."""
    parent, std = parent_of(density.mean, density.std), density.std
    scale = parent.scale
    correlation = covariance / (std[:, :, None] * std[:, None, :])
    precision = torch.linalg.inv(correlation) / (scale[:, :, None] * scale[:, None, :])
    total, pull = precision.sum(0), torch.einsum("nij,nj->i", precision, parent.location)
    start = density.mean.mean(0)
    slope = pull - total @ start

    def product(theta: Tensor) -> Tensor:
        apart = theta - start
        log_density: Tensor = apart @ slope - torch.einsum("...i,ij,...j->...", apart, total, apart) / 2
        return log_density

    return product


def _last_axis(values: Tensor) -> Tensor:
    """From (..., b, P) to (b, P, S)."""
    return values.reshape(-1, *values.shape[-2:]).permute(1, 2, 0).contiguous()


def _first_axes(values: Tensor, shape: torch.Size) -> Tensor:
    """Back again."""
    return values.permute(2, 0, 1).reshape(shape)
