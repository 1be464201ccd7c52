r"""Where weighted draws of a density on the unit cube come from: a copula that is fitted to the draws themselves.

Each parameter has a marginal, given beforehand and widened, with a little of it anywhere in the prior.
z = Phi^{-1}(F(theta)) of all parameters together is drawn from Student's t with four degrees of freedom, so a draw has
the density

    q(theta) = t(z) prod_i p_i(theta_i) / phi(z_i).

Centre and covariance of t are fitted to the weighted draws of the rounds before, whose weights are tempered as long as
few of them count. Draws stay inside the prior, whatever the edges do to the density.

References:
    Cappe et al. 2004, J. Comput. Graph. Stat. 13, 907 (population Monte Carlo); Wraith et al. 2009, arXiv:0903.0837.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fieldlevel.inference.grid_density import GridDensity
from fieldlevel.numerics.random import uniform

_POWER = 0.25
"""Of the marginals, which makes normal ones twice as wide: what is narrower still is seen by the fit."""
_SPREAD = 1e-4
"""Part of the marginals that lies anywhere in the prior."""
_FREEDOM = 4
"""Degrees of freedom of Student's t."""
_FARTHEST = 7.0
"""Draws beyond, in any z, count nothing."""
_N_ADAPTING = 2000
_MOST_ROUNDS = 12
_GOOD = 0.4
"""Share of effective draws at which the fit ends."""
_FEWEST = 0.1
"""Share of effective draws to which weights are tempered."""
_HALVINGS = 30
_STREAM = 2820
"""Of `fieldlevel.numerics.random`, and the four streams that follow."""

LogDensity = Callable[[Tensor], Tensor]
"""Natural logarithm of a density up to a constant, (N, P) to (N,)."""


def weighted_draws(target: LogDensity, marginals: GridDensity, n_draws: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw from a density on the unit cube.

    Args:
        target: the density.
        marginals: roughly those of the density, of one row.
        n_draws: N.
        seed: the same draws for the same seed.

    Returns:
        Draws, (N, P), and the natural logarithms of their weights, target over proposal, (N,).
    """
    proposal = _Copula(_widened(marginals))
    for number in range(_MOST_ROUNDS):
        z, log_weights = proposal.draw(target, _N_ADAPTING, seed + 1_000_003 * (number + 1))[1:]
        proposal.fit(z, _tempered(log_weights, _FEWEST * _N_ADAPTING))
        if effective_number(log_weights) > _GOOD * _N_ADAPTING:
            break
    theta, _, log_weights = proposal.draw(target, n_draws, seed)
    return theta, log_weights


def effective_number(log_weights: Tensor) -> float:
    """Draws without weights that tell as much as these, (sum w)^2 / sum w^2."""
    return float(1 / log_weights.softmax(0).square().sum())


class _Copula:
    def __init__(self, marginals: GridDensity) -> None:
        self.marginals = marginals
        n_parameters = marginals.mean.shape[1]
        self.centre = torch.zeros(n_parameters, dtype=torch.float64)
        self.factor = torch.eye(n_parameters, dtype=torch.float64)

    def fit(self, z: Tensor, weights: Tensor) -> None:
        """Take centre and covariance of draws with weights that add up to one."""
        self.centre = weights @ z
        apart = z - self.centre
        covariance = torch.einsum("n,ni,nj->ij", weights, apart, apart)
        self.factor = torch.linalg.cholesky(covariance + 1e-6 * covariance.diagonal().diag_embed().clamp(min=1e-12))

    def draw(self, target: LogDensity, n_draws: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws (N, P), their z (N, P) and logarithms of their weights (N,)."""
        z = self.centre + _student(n_draws, len(self.centre), seed) @ self.factor.T
        is_near = (z.abs() <= _FARTHEST).all(1)
        z = z.clamp(-_FARTHEST, _FARTHEST)
        theta = self.marginals.quantile(torch.special.ndtr(z)[:, None, :])[:, 0]
        log_weights = target(theta) - self._log_density(theta, z)
        return theta, z, log_weights.where(is_near & ~log_weights.isnan(), -math.inf)

    def _log_density(self, theta: Tensor, z: Tensor) -> Tensor:
        n_parameters = len(self.centre)
        y = torch.linalg.solve_triangular(self.factor, (z - self.centre).T, upper=False)
        log_t = -(_FREEDOM + n_parameters) / 2 * torch.log1p(y.square().sum(0) / _FREEDOM)
        log_t = log_t - self.factor.diagonal().log().sum() + _log_norm(n_parameters)
        log_phi = -z.square().sum(1) / 2 - n_parameters / 2 * math.log(2 * math.pi)
        return log_t + self.marginals.log_prob(theta[:, None, :])[:, 0] - log_phi


def _log_norm(n_parameters: int) -> float:
    top, bottom = math.lgamma((_FREEDOM + n_parameters) / 2), math.lgamma(_FREEDOM / 2)
    return top - bottom - n_parameters / 2 * math.log(_FREEDOM * math.pi)


def _student(n_draws: int, n_parameters: int, seed: int) -> Tensor:
    """Student's t of unit scale, (N, P): chi^2 of four degrees of freedom is a sum of two exponentials."""
    counter = torch.arange(n_draws * n_parameters)
    normal: Tensor = torch.special.ndtri(uniform(counter, seed, _STREAM)).view(n_draws, n_parameters)
    one, other = (uniform(torch.arange(n_draws), seed, _STREAM + 1 + k).log() for k in range(_FREEDOM // 2))
    return normal / (-2 * (one + other) / _FREEDOM).sqrt()[:, None]


def _widened(marginals: GridDensity) -> GridDensity:
    """The same marginals, wider, and with a part anywhere in the prior."""
    low, high = torch.zeros_like(marginals.edges[..., :1]), torch.ones_like(marginals.edges[..., :1])
    edges = torch.cat([low, marginals.edges, high], -1)
    width = marginals.edges.diff(dim=-1)
    heated = (marginals.mass / width) ** _POWER * width
    mass = torch.cat([torch.zeros_like(low), heated / heated.sum(-1, keepdim=True), torch.zeros_like(low)], -1)
    return GridDensity(edges, (1 - _SPREAD) * mass + _SPREAD * edges.diff(dim=-1))


def _tempered(log_weights: Tensor, n_effective: float) -> Tensor:
    """Weights that add up to one, to the largest power up to one that leaves so many of them effective."""
    low, high = 0.0, 1.0
    if effective_number(log_weights) >= n_effective:
        return log_weights.softmax(0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if effective_number(_powered(log_weights, middle)) >= n_effective:
            low = middle
        else:
            high = middle
    return _powered(log_weights, low).softmax(0)


def _powered(log_weights: Tensor, power: float) -> Tensor:
    return (power * log_weights).where(log_weights.isfinite(), -math.inf)
