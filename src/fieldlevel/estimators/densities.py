r"""Densities of the parameters of maps: what a head's answer says as a posterior.

Parameters are in units of their priors, each in [0, 1] as the targets of a training are; no density has mass outside.
All tensors are on the CPU, in float64. A head has a density of its own (`density(answer)`), or tells a mean and a
standard deviation of each parameter alone, which are then those of a truncated normal (`TruncatedNormal`).

A density is joint where correlations of parameters were learnt. One that is not has marginals alone: its samples and
its `log_prob` take the parameters as independent, which is a convention and no knowledge.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.truncated_normal import Parent, nearest_moments, parent_of
from fieldlevel.numerics.random import uniform

_STREAM = 2800
_HALVINGS = 60


class Density(ABC):
    """The posterior of b maps and P parameters in units of the prior.

    Attributes:
        is_joint: whether correlations of the parameters are known; else there are marginals alone.
        mean: (b, P).
        std: marginal standard deviations, (b, P).
        covariance: (b, P, P); None where marginals alone are known.

    Example:
        >>> density = TruncatedNormal(torch.tensor([[0.5, 0.1]]), torch.tensor([[0.01, 0.05]]))
        >>> samples = density.sample(1000, seed=1)
        >>> samples.shape, bool(((samples >= 0) & (samples <= 1)).all())
        (torch.Size([1000, 1, 2]), True)
    """

    is_joint: bool
    mean: Tensor
    std: Tensor
    covariance: Tensor | None = None

    def __len__(self) -> int:
        return len(self.mean)

    @property
    def n_parameters(self) -> int:
        """Parameters, P."""
        return self.mean.shape[1]

    @abstractmethod
    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples, (n_samples, b, P), inside the prior; the same ones for the same seed."""

    @abstractmethod
    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density at theta, (..., b, P); (..., b), minus infinity outside the prior."""

    @abstractmethod
    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Probability that each parameter lies below theta, (..., b, P), of the same shape."""

    @abstractmethod
    def quantile(self, p: Tensor | float) -> Tensor:
        """Values below which each parameter lies with probability p, (b, P); p has that shape, or broadcasts to it."""

    @abstractmethod
    def select(self, index: Any) -> "Density":
        """The density of some maps: a slice, numbers, or which of them."""

    @classmethod
    @abstractmethod
    def cat(cls, densities: "Sequence[Any]") -> "Density":
        """The density of all maps of several, which are of this class."""

    def marginal(self, columns: Sequence[int]) -> "Density":
        """The density of some parameters, whatever the others are.

        Args:
            columns: their numbers, in the order that they are to have.

        Raises:
            UserError: it is not known but by integrating, as that of a flow.
        """
        if list(columns) == list(range(self.n_parameters)):
            return self
        told = "the density of some of its parameters alone has no closed form"
        raise UserError(f"{type(self).__name__}: {told}; take networks that infer just these")


class _OfTruncatedNormals(Density):
    """A density whose marginals are truncated normals: `mean` and `std` are theirs."""

    @cached_property
    def parent(self) -> Parent:
        """The normals that are truncated."""
        return parent_of(self.mean, self.std)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Probability that each parameter lies below theta."""
        return self.parent.log_cdf(_plain(theta))[0].exp()

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values below which each parameter lies with probability p."""
        p = probabilities(p, self.mean)
        return self.parent.quantile(p.log(), torch.log1p(-p))


class GaussianCopula(_OfTruncatedNormals):
    r"""Truncated normals as marginals, joined by the correlations of a normal.

    With F_i the distribution function of parameter i and z_i = Phi^{-1}(F_i(theta_i)), z is normal with the correlation
    matrix R of the covariance given:

        log p(theta) = sum_i log p_i(theta_i) - log |R| / 2 - z^t (R^{-1} - 1) z / 2.

    Far from the edges of the prior that is the multivariate normal itself. Near them mean and standard deviations are
    still those given, but for answers that no truncated normal has (`truncated_normal.nearest_moments`); the
    correlations of the samples then are a little below those given, which `covariance` tells.

    Args:
        mean: (b, P).
        std: (b, P).
        factor: lower Cholesky factors of the correlation matrices, (b, P, P).

    References:
        Nelsen 2006, An introduction to copulas, section 2.3.
    """

    is_joint = True

    def __init__(self, mean: Tensor, std: Tensor, factor: Tensor) -> None:
        self.mean, self.std = nearest_moments(_plain(mean), _plain(std))
        self.factor = _plain(factor)
        self.covariance = self.factor @ self.factor.mT * self.std[:, :, None] * self.std[:, None, :]

    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples, (n_samples, b, P)."""
        z = (self.factor @ normal_numbers((n_samples, *self.mean.shape), seed)[..., None]).squeeze(-1)
        return self.parent.of_score(z)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density, (..., b)."""
        theta = _plain(theta)
        z = self.parent.score(theta)
        y = torch.linalg.solve_triangular(self.factor, z[..., None], upper=False).squeeze(-1)
        of_copula = (z.square() - y.square()).sum(-1) / 2 - self.factor.diagonal(dim1=1, dim2=2).log().sum(-1)
        log_density = self.parent.log_density(theta)
        return torch.where(log_density.isneginf().any(-1), -math.inf, log_density.sum(-1) + of_copula)

    def select(self, index: Any) -> "GaussianCopula":
        """The density of some maps."""
        return GaussianCopula(self.mean[index], self.std[index], self.factor[index])

    def marginal(self, columns: Sequence[int]) -> "GaussianCopula":
        """The density of some parameters: the rows and columns of theirs of the correlation matrix."""
        chosen = list(columns)
        rows = self.factor[:, chosen]
        return GaussianCopula(self.mean[:, chosen], self.std[:, chosen], torch.linalg.cholesky(rows @ rows.mT))

    @classmethod
    def cat(cls, densities: "Sequence[GaussianCopula]") -> "GaussianCopula":
        """The density of all maps of several."""
        return cls(*(torch.cat([getattr(each, name) for each in densities]) for name in ("mean", "std", "factor")))


class TruncatedNormal(_OfTruncatedNormals):
    """The normal of each parameter, truncated to its prior, that has the moments of a head; marginals alone.

    Args:
        mean: (b, P), the mean of the truncated normal itself.
        std: its standard deviation, (b, P). Moments that no truncated normal has become the nearest ones that there
            are (`truncated_normal.nearest_moments`): `mean` and `std` tell those.
    """

    is_joint = False

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        self.mean, self.std = nearest_moments(_plain(mean), _plain(std))

    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples by the inverse of the distribution function, (n_samples, b, P)."""
        return self.quantile(uniform_numbers((n_samples, *self.mean.shape), seed))

    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the product of the marginal densities, (..., b)."""
        return self.parent.log_density(_plain(theta)).sum(-1)

    def select(self, index: Any) -> "TruncatedNormal":
        """The density of some maps."""
        return TruncatedNormal(self.mean[index], self.std[index])

    def marginal(self, columns: Sequence[int]) -> "TruncatedNormal":
        """The density of some parameters."""
        return TruncatedNormal(self.mean[:, list(columns)], self.std[:, list(columns)])

    @classmethod
    def cat(cls, densities: "Sequence[TruncatedNormal]") -> "TruncatedNormal":
        """The density of all maps of several."""
        return cls(torch.cat([each.mean for each in densities]), torch.cat([each.std for each in densities]))


class Mixture(Density):
    """What several networks say of the same maps, each believed with a weight; joint where all of them are.

    Args:
        densities: of the same maps and parameters.
        weights: of each, positive; equal ones when None. They are divided by their sum.

    Raises:
        UserError: no densities, those of other maps, or weights that are none.
    """

    def __init__(self, densities: Sequence[Density], weights: Sequence[float] | Tensor | None = None) -> None:
        self.densities = tuple(densities)
        self.weights = _weights(self.densities, weights)
        self.is_joint = all(each.is_joint for each in self.densities)
        self.mean = self._average([each.mean for each in self.densities])
        second = self._average([each.std.square() + (each.mean - self.mean).square() for each in self.densities])
        self.std = second.sqrt()
        self.covariance = self._covariance() if self.is_joint else None

    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples, (n_samples, b, P); those of one number come from the same network for all maps."""
        chosen = uniform(torch.arange(n_samples), seed, _STREAM + 1)
        number = torch.bucketize(chosen, self.weights.cumsum(0)).clamp(max=len(self.densities) - 1)
        samples = self.mean.new_empty(n_samples, *self.mean.shape)
        for k, density in enumerate(self.densities):
            is_own = number == k
            samples[is_own] = density.sample(int(is_own.sum()), seed * len(self.densities) + k + 1)
        return samples

    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the mean density, (..., b)."""
        logs = [density.log_prob(theta) + weight.log() for density, weight in self._pairs()]
        return torch.stack(logs).logsumexp(0)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Probability that each parameter lies below theta."""
        return self._average([density.marginal_cdf(theta) for density in self.densities])

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values below which each parameter lies with probability p, by halving what the networks say."""
        p = probabilities(p, self.mean)
        ends = torch.stack([density.quantile(p) for density in self.densities])
        low, high = ends.amin(0), ends.amax(0)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            is_low = self.marginal_cdf(middle) < p
            low, high = torch.where(is_low, middle, low), torch.where(is_low, high, middle)
        return (low + high) / 2

    def select(self, index: Any) -> "Mixture":
        """The density of some maps."""
        return Mixture([each.select(index) for each in self.densities], self.weights)

    def marginal(self, columns: Sequence[int]) -> "Mixture":
        """The density of some parameters."""
        return Mixture([each.marginal(columns) for each in self.densities], self.weights)

    @classmethod
    def cat(cls, densities: "Sequence[Mixture]") -> "Mixture":
        """The density of all maps of several mixtures of the same networks and weights."""
        parts = zip(*(each.densities for each in densities), strict=True)
        return cls([type(part[0]).cat(part) for part in parts], densities[0].weights)

    def _pairs(self) -> "zip[tuple[Density, Tensor]]":
        return zip(self.densities, self.weights, strict=True)

    def _average(self, values: Sequence[Tensor]) -> Tensor:
        return torch.einsum("k...,k->...", torch.stack(list(values)), self.weights)

    def _covariance(self) -> Tensor:
        apart = [each.mean - self.mean for each in self.densities]
        within = [each.covariance for each in self.densities if each.covariance is not None]
        return self._average([inside + d[:, :, None] * d[:, None, :] for inside, d in zip(within, apart, strict=True)])


def density_of(head: nn.Module, answer: Any) -> Density:
    """The density of an answer: the head's own, else the truncated normal of its moments.

    Args:
        head: any (`estimators.estimator`).
        answer: of it, to b maps.
    """
    with torch.no_grad():
        if (own := getattr(head, "density", None)) is not None:
            density: Density = own(answer)
            return density
        return TruncatedNormal(*head.posterior(answer))  # type: ignore[operator]


def uniform_numbers(shape: Sequence[int], seed: int) -> Tensor:
    """Random numbers in (0, 1) that depend on the seed and their place alone."""
    return uniform(torch.arange(math.prod(shape)), seed, _STREAM).view(*shape)


def normal_numbers(shape: Sequence[int], seed: int) -> Tensor:
    """The same, of the standard normal distribution."""
    normal: Tensor = torch.special.ndtri(uniform_numbers(shape, seed))
    return normal


def probabilities(p: Tensor | float, like: Tensor) -> Tensor:
    """Probabilities as a tensor that broadcasts with the moments of a density.

    Raises:
        UserError: not between 0 and 1.
    """
    p = torch.as_tensor(p, dtype=like.dtype)
    if not bool(((p >= 0) & (p <= 1)).all()):
        raise UserError(f"p = {p.flatten()[:3].tolist()}: must be probabilities between 0 and 1")
    return p.expand(torch.broadcast_shapes(p.shape, like.shape))  # type: ignore[no-untyped-call]


def _plain(values: Tensor) -> Tensor:
    return torch.as_tensor(values).detach().to("cpu", torch.float64)


def _weights(densities: Sequence[Density], weights: Sequence[float] | Tensor | None) -> Tensor:
    shapes = {tuple(each.mean.shape) for each in densities}
    if len(shapes) != 1:
        raise UserError(f"a mixture of densities of shapes {sorted(shapes)}: give densities of the same maps")
    given = torch.ones(len(densities)) if weights is None else torch.as_tensor(weights)
    if given.shape != (len(densities),) or not bool(((given > 0) & given.isfinite()).all()):
        raise UserError(f"weights = {given.tolist()}: give {len(densities)} positive numbers")
    return given.double() / given.double().sum()
