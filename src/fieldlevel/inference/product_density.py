r"""The product of the joint posteriors of several maps: an exact density, and weighted draws for everything else.

At a corner of the prior the density of a Gaussian copula has no bound, and the product of many of them no integral. So
their marginals are multiplied as they are, and the copulas as what they are near the middle of each map's posterior:
with w_ij = (theta_j - mean_ij) / std_ij in the place of z,

    log p(theta) = sum_ij log p_ij(theta_j) - sum_i w_i^t (R_i^{-1} - 1) w_i / 2 + const,

which far from the edges is the product of multivariate normals, and without correlations that of the marginals. It is
the exponential of a quadratic form, truncated to the prior. Of posteriors nearly as wide as the prior the form may rise
away from the middle in some direction, as no product of likelihoods does that know so little: there it is made flat.

A normalising flow of normal scores has such corners too, wherever it spreads scores more than a normal does. Its maps
are multiplied as the copulas that have its means, standard deviations and correlations, and so are mixtures of either.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import Density, GaussianCopula, Mixture, TruncatedNormal
from fieldlevel.estimators.flow_density import FlowDensity
from fieldlevel.estimators.truncated_normal import parent_of
from fieldlevel.inference.copula_proposal import LogDensity, effective_number, weighted_draws
from fieldlevel.inference.marginal_product import product_of_marginals
from fieldlevel.numerics.random import uniform

_N_DRAWS = 10_000
_LEAST_EFFECTIVE = 200
_MOST_DENSITIES = 1 << 17
"""That are worked out at a time."""
_FARTHEST_BELOW = 12.5
"""Natural logarithm of the densities' product, from the middle of their marginals' product down to that of their own:
five standard deviations."""
_STREAM = 2830
"""Of `fieldlevel.numerics.random`."""


class ProductDensity(Density):
    """Products of joint posteriors; every row is one product.

    `log_prob` is the product itself (of copulas and flows as above), exact up to its normalisation; that, the moments,
    quantiles and samples come from weighted draws.

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
            UserError: hardly any draw counts, or the product is not where the posteriors are.
        """
        copula = _as_copula(density)
        product = log_product(density) if copula is None else _product_of_copulas(copula)
        roughly = product_of_marginals(TruncatedNormal(density.mean, density.std))
        with torch.no_grad():
            draws, log_weights = weighted_draws(product, roughly, _N_DRAWS, seed)
        n_effective = effective_number(log_weights)
        if not n_effective >= _LEAST_EFFECTIVE:
            told = f"combine: of the product of these posteriors {n_effective:.0f} of {_N_DRAWS} draws count"
            raise UserError(f"{told}: they exclude each other, or pile up at an edge of the prior")
        log_norm = log_weights.logsumexp(0) - math.log(_N_DRAWS)
        found = cls([product], draws[:, None], log_weights.softmax(0)[:, None], log_norm[None])
        if copula is not None:
            _refuse_elsewhere(density, found.mean, roughly.mean)
        return found

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
    n_maps = len(density.mean)

    def product(theta: Tensor) -> Tensor:
        points = theta.reshape(-1, theta.shape[-1])
        parts = torch.split(points, max(1, _MOST_DENSITIES // n_maps))
        found = [density.log_prob(part[:, None, :].expand(-1, n_maps, -1)).double().sum(-1) for part in parts]
        return torch.cat(found).view(theta.shape[:-1])

    return product


def _as_copula(density: Density) -> GaussianCopula | None:
    """Gaussian copulas, also those with the moments of a flow or of a mixture; None of densities of other kinds."""
    if isinstance(density, GaussianCopula):
        return density
    parts = density.densities if isinstance(density, Mixture) else (density,)
    if density.covariance is None or not all(isinstance(each, GaussianCopula | FlowDensity) for each in parts):
        return None
    correlation = density.covariance / (density.std[:, :, None] * density.std[:, None, :])
    return GaussianCopula(density.mean, density.std, torch.linalg.cholesky(correlation))


def _product_of_copulas(density: GaussianCopula) -> LogDensity:
    """Marginals as they are and copulas as normals about each map's mean: a quadratic form.

    The gradient of a marginal at its mean m is (l - m) / s^2, with location l and scale s of its parent.
    """
    mean, std, parent = density.mean, density.std, parent_of(density.mean, density.std)
    of_copulas = torch.cholesky_inverse(density.factor) - torch.eye(density.n_parameters, dtype=torch.float64)
    of_copulas = of_copulas / (std[:, :, None] * std[:, None, :])
    precision = of_copulas + parent.scale.square().reciprocal().diag_embed()
    start = product_of_marginals(TruncatedNormal(mean, std)).mean[0]
    slope = ((parent.location - mean) / parent.scale.square()).sum(0)
    slope = slope - torch.einsum("nij,nj->i", precision, start - mean)
    total = _without_rises(precision.sum(0), std.square().reciprocal().sum(0).rsqrt())

    def product(theta: Tensor) -> Tensor:
        apart = theta - start
        log_density: Tensor = apart @ slope - torch.einsum("...i,ij,...j->...", apart, total, apart) / 2
        return log_density

    return product


def _without_rises(precision: Tensor, unit: Tensor) -> Tensor:
    """A quadratic form without its negative directions, in these units of the parameters."""
    values, vectors = torch.linalg.eigh(precision * unit[:, None] * unit)
    form: Tensor = (vectors * values.clamp(min=0.0)) @ vectors.T
    return form / (unit[:, None] * unit)


def _refuse_elsewhere(density: Density, mean: Tensor, of_marginals: Tensor) -> None:
    """Refuse a product whose mean the posteriors themselves hold for far less likely than that of their marginals."""
    found, expected = log_product(density)(torch.cat([mean, of_marginals])).tolist()
    if not found >= expected - _FARTHEST_BELOW:
        told = f"combine: the product of these posteriors lies where they are exp({expected - found:.0f}) times less"
        raise UserError(f"{told} likely than in the middle of their marginals; combine fewer maps, or marginals alone")


def _last_axis(values: Tensor) -> Tensor:
    """From (..., b, P) to (b, P, S)."""
    return values.reshape(-1, *values.shape[-2:]).permute(1, 2, 0).contiguous()


def _first_axes(values: Tensor, shape: torch.Size) -> Tensor:
    """Back again."""
    return values.permute(2, 0, 1).reshape(shape)
