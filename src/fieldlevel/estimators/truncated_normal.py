r"""The normal distribution that is truncated to the unit interval and has given moments.

A network tells the mean mu and the standard deviation sigma of a parameter in units of its prior, [0, 1]. Of all
densities on the interval with these two moments the truncated normal has the largest entropy: it says no more. It is

    p(x) = N(x; m, s) / (Phi((1 - m) / s) - Phi(-m / s)),    0 <= x <= 1,

with the location m and the scale s of its parent, a normal. With t = (x - mu) / sigma it is an exponential family,

    p(t) ~ exp(gamma t - beta t^2 / 2),    m = mu + sigma gamma / beta,    s = sigma / sqrt(beta),

and (beta, gamma) minimise log Z(beta, gamma) + beta / 2, which is convex, where E[t] = 0 and E[t^2] = 1. Far from the
edges beta = 1 and gamma = 0; elsewhere Newton's method finds them, with integrals by Gauss and Legendre.

As s grows without bound the density becomes the exponential exp(k x), the widest of its mean: its standard deviation is
L'(k / 2)^(1/2) / 2 where (1 + L(k / 2)) / 2 is the mean, with Langevin's function L(y) = coth y - 1 / y. For mu = 1/2
that is the uniform density, of width 12^(-1/2).

References:
    Jaynes 1957, Phys. Rev. 106, 620 (maximum entropy); Cohen 1991, Rheol. Acta 30, 270 (inverse of L).
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.special import log_ndtr, ndtri

UNIFORM_STD = 12.0**-0.5
"""Of the uniform density on the unit interval."""
LEAST_STD = 1e-8
"""In units of the prior: a network may answer zero."""
FAR = 8.5
"""Standard deviations from both edges at which nothing is left to truncate: 1e-17 of the mass."""

_WIDEST = 1.0 - 1e-6
"""In units of the exponential's width, whose parent has no scale."""
_LONGEST_TAIL = 45.0
"""Standard deviations over which integrals go: exp(-45) of an exponential is left out."""
_N_NODES = 96
_AT_A_TIME = 1024
"""Densities whose integrals are worked on together: they stay in the cache of a processor."""
_N_ITERATIONS = 60
_LEAST_BETA = 1e-9
_FAR_TAIL = -600.0
"""Logarithm of probabilities from which on they are not exact as numbers."""
_LEAST_LOG = -700.0
"""Of a probability, so that no parameter at the very edge of its prior stands infinitely far out."""


@dataclass(frozen=True)
class Parent:
    """Normals that are truncated to [0, 1]: location m and scale s of each, float64 tensors of one shape."""

    location: Tensor
    scale: Tensor

    def log_density(self, x: Tensor) -> Tensor:
        """Natural logarithm of the truncated density at x; minus infinity outside [0, 1]."""
        lower, upper, _ = self._edges()
        z = (x - self.location) / self.scale
        inside = -z.square() / 2 - self.scale.log() - math.log(2 * math.pi) / 2 - _log_mass(lower, upper)
        return inside.where((x >= 0) & (x <= 1), -math.inf)

    def log_cdf(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Natural logarithms of the truncated distribution function F(x) and of 1 - F(x), both exact in the tails."""
        lower, upper, is_turned = self._edges()
        z = (x.clamp(0.0, 1.0) - self.location) / self.scale
        z = torch.where(is_turned, -z, z).clamp(lower, upper)
        mass = _log_mass(lower, upper)
        below, above = _log_mass(lower, z) - mass, _log_mass(z, upper) - mass
        return torch.where(is_turned, above, below), torch.where(is_turned, below, above)

    def quantile(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        """The x with F(x) = p, from the natural logarithms of p and of 1 - p; inside [0, 1]."""
        lower, upper, is_turned = self._edges()
        log_p, log_q = torch.where(is_turned, log_q, log_p), torch.where(is_turned, log_p, log_q)
        z = inverse_log_ndtr(torch.logaddexp(log_q + log_ndtr(lower), log_p + log_ndtr(upper)))
        return (self.location + self.scale * torch.where(is_turned, -z, z)).clamp(0.0, 1.0)

    def score(self, x: Tensor) -> Tensor:
        """The normal score of x: the z with Phi(z) = F(x), Phi the standard normal distribution function.

        Beyond the edges of the interval, too, it is finite: no probability counts for less than exp(-700).
        """
        log_p, log_q = (each.clamp(min=_LEAST_LOG) for each in self.log_cdf(x))
        return torch.where(log_p < log_q, inverse_log_ndtr(log_p), -inverse_log_ndtr(log_q))

    def of_score(self, z: Tensor) -> Tensor:
        """The x whose normal score is z; inside [0, 1]."""
        return self.quantile(log_ndtr(z), log_ndtr(-z))

    def select(self, index: Any) -> "Parent":
        """Some of them."""
        return Parent(self.location[index], self.scale[index])

    def _edges(self) -> tuple[Tensor, Tensor, Tensor]:
        """Those of the interval in units of the scale, turned around where most of it lies above the location.

        So differences of distribution functions are taken where these are small.
        """
        lower, upper = -self.location / self.scale, (1.0 - self.location) / self.scale
        is_turned = lower + upper > 0
        return torch.where(is_turned, -upper, lower), torch.where(is_turned, -lower, upper), is_turned


def nearest_moments(mean: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """The moments of a truncated normal that come nearest to what a network tells.

    A standard deviation below `LEAST_STD` becomes that. A mean outside the prior, or nearer to an edge than half a
    standard deviation (at most half of the uniform's), which no density on the interval that falls from its mode has,
    is moved inside to that distance. A standard deviation above the widest of its mean becomes that one. All others
    stay as they are.

    Args:
        mean: in units of the prior, any shape, float64.
        std: the same.

    Returns:
        Both moments.
    """
    std = std.clamp(min=LEAST_STD)
    room = std.clamp(max=UNIFORM_STD) / 2
    mean = mean.clamp(room, 1.0 - room)
    return mean, torch.minimum(std, _WIDEST * widest_std(mean))


def widest_std(mean: Tensor) -> Tensor:
    """Standard deviation of the exponential density on [0, 1] of a mean in (0, 1): no truncated normal is wider.

    Example:
        >>> widest_std(torch.tensor([0.5, 0.001], dtype=torch.float64))
        tensor([0.2887, 0.0010], dtype=torch.float64)
    """
    wanted = 2 * mean - 1
    y = wanted * (3 - wanted.square()) / (1 - wanted.square())
    for _ in range(8):
        found, slope = _langevin(y)
        y = y - (found - wanted) / slope
    return _langevin(y)[1].sqrt() / 2


def parent_of(mean: Tensor, std: Tensor) -> Parent:
    """The normals whose truncation to [0, 1] has these moments.

    Args:
        mean: as `nearest_moments` tells, float64, any shape.
        std: likewise.
    """
    beta, gamma = torch.ones_like(mean), torch.zeros_like(mean)
    lower, upper = -mean / std, (1.0 - mean) / std
    if (is_near := (lower > -FAR) | (upper < FAR)).any():
        edges = torch.split(torch.stack([lower[is_near], upper[is_near]]), _AT_A_TIME, dim=1)
        beta[is_near], gamma[is_near] = torch.cat([_solve(*each) for each in edges], dim=1)
    return Parent(mean + std * gamma / beta, std / beta.sqrt())


def _solve(lower: Tensor, upper: Tensor) -> Tensor:
    """Beta and gamma of densities on [lower, upper], (n,) each, with mean 0 and variance 1; (2, n)."""
    nodes, weights = (each.to(lower.device) for each in _quadrature())
    start, end = lower.clamp(min=-_LONGEST_TAIL), upper.clamp(max=_LONGEST_TAIL)
    t = start[:, None] + (end - start)[:, None] * nodes
    power = torch.stack([-t.square() / 2, t])
    answer = torch.stack([torch.ones_like(lower), torch.zeros_like(lower)])
    target = torch.tensor([-0.5, 0.0], dtype=torch.float64, device=lower.device)[:, None]
    for _ in range(_N_ITERATIONS):
        density = torch.softmax((answer[..., None] * power).sum(0) + weights, dim=-1)
        moments = (density * power).sum(-1)
        gradient, apart = moments - target, power - moments[..., None]
        weighted = density * apart
        first, cross, second = ((weighted[i] * apart[j]).sum(-1) for i, j in ((0, 0), (0, 1), (1, 1)))
        solved = torch.stack([second * gradient[0] - cross * gradient[1], first * gradient[1] - cross * gradient[0]])
        step = solved / (first * second - cross.square())
        decrement = (step * gradient).sum(0).clamp(min=0.0).sqrt()
        answer = answer - step * torch.where(decrement < 0.25, 1.0, 1.0 / (1.0 + decrement))
        if not (decrement > 1e-8).any():
            break
    return torch.stack([answer[0].clamp(min=_LEAST_BETA), answer[1]])


@cache
def _quadrature() -> tuple[Tensor, Tensor]:
    """Nodes of Gauss and Legendre on [0, 1], and the logarithms of their weights."""
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    return torch.from_numpy((nodes + 1) / 2), torch.from_numpy(np.log(weights / 2))


def _langevin(y: Tensor) -> tuple[Tensor, Tensor]:
    """L(y) = coth y - 1 / y and its derivative, by their series where |y| is small."""
    is_small = y.abs() < 0.03
    far, square = y.where(~is_small, 1.0), y.square()
    value = 1 / far.tanh() - 1 / far
    slope = 1 / far.square() - 1 / far.clamp(-300.0, 300.0).sinh().square()
    near = y / 3 * (1 - square / 15 + 2 * square.square() / 315)
    near_slope = 1 / 3 - square / 15 + 2 * square.square() / 189
    return torch.where(is_small, near, value), torch.where(is_small, near_slope, slope)


def _log_mass(lower: Tensor, upper: Tensor) -> Tensor:
    """Logarithm of Phi(upper) - Phi(lower), for intervals most of which lie below zero."""
    above: Tensor = log_ndtr(upper)
    below: Tensor = log_ndtr(lower)
    part: Tensor = -torch.expm1((below - above).clamp(max=0.0))
    return part.log() + above


def inverse_log_ndtr(log_p: Tensor) -> Tensor:
    """The z with log Phi(z) = log_p, for the standard normal distribution function Phi.

    Args:
        log_p: float64, any shape; what is above zero by round-off counts as zero.

    Example:
        >>> inverse_log_ndtr(torch.tensor([-1e4, math.log(0.25), 0.0], dtype=torch.float64))
        tensor([-141.3798,   -0.6745,       inf], dtype=torch.float64)
    """
    log_p = log_p.clamp(max=0.0)
    is_below = log_p < -math.log(2)
    tail: Tensor = ndtri(torch.where(is_below, log_p.exp(), -torch.expm1(log_p)))
    z = torch.where(is_below, tail, -tail)
    if (is_far := (log_p < _FAR_TAIL) & log_p.isfinite()).any():
        z[is_far] = _far_quantile(log_p[is_far])
    return z


def _far_quantile(log_p: Tensor) -> Tensor:
    """The same where p is too small for a number: Newton's method, as log Phi has the slope -z - 1 / z there."""
    z = -(-2 * log_p - (-4 * math.pi * log_p).log()).sqrt()
    for _ in range(3):
        z = z + (log_ndtr(z) - log_p) / (z + 1 / z)
    return z
