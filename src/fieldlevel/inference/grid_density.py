r"""Marginals as histograms: a density of independent parameters that is constant in each of many bins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fieldlevel.estimators.densities import Density
from fieldlevel.numerics.random import uniform

_STREAM = 2810
"""Of `fieldlevel.numerics.random`."""


class GridDensity(Density):
    """Histograms of the parameters of b maps; bins of zero mass are allowed, samples are uniform within a bin.

    Args:
        edges: of the bins in ascending order, in units of the prior, (b, P, G + 1), float64; a bin may have no width.
        mass: probability in each, (b, P, G); divided by its sum over the bins.

    Example:
        >>> edges = torch.linspace(0, 1, 3, dtype=torch.float64).expand(1, 1, 3)
        >>> density = GridDensity(edges, torch.tensor([[[1.0, 3.0]]], dtype=torch.float64))
        >>> density.mean.item(), density.quantile(0.25).item()
        (0.625, 0.5)
    """

    is_joint = False

    def __init__(self, edges: Tensor, mass: Tensor) -> None:
        self.edges = edges.contiguous()
        self.mass = mass / mass.sum(-1, keepdim=True)
        self._below = torch.cat([torch.zeros_like(mass[..., :1]), self.mass.cumsum(-1)], -1).clamp(max=1.0)
        self._below[..., -1] = 1.0
        width, centre = edges.diff(dim=-1), (edges[..., 1:] + edges[..., :-1]) / 2
        self._height = (self.mass / width).where(width > 0, 0.0)
        self._last = (width > 0).int().cumsum(-1).argmax(-1, keepdim=True)
        self.mean = (self.mass * centre).sum(-1)
        apart = (centre - self.mean[..., None]).square() + width.square() / 12
        self.std = (self.mass * apart).sum(-1).sqrt()

    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples by the inverse of the distribution function, (n_samples, b, P)."""
        counter = torch.arange(n_samples * self.mean.numel())
        return self.quantile(uniform(counter, seed, _STREAM).view(n_samples, *self.mean.shape))

    def log_marginals(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density of each parameter at theta, (..., b, P); minus infinity off the bins."""
        number, at = self._bins_of(theta)
        height = self._height.gather(-1, number)
        inside = (at >= self.edges[..., :1]) & (at <= self.edges[..., -1:])
        return _unpacked(height.where(inside, 0.0).log(), theta)

    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the product of the marginal densities, (..., b)."""
        return self.log_marginals(theta).sum(-1)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Probability that each parameter lies below theta, (..., b, P)."""
        number, at = self._bins_of(theta)
        left, right = self.edges.gather(-1, number), self.edges.gather(-1, number + 1)
        share = ((at - left) / (right - left)).where(right > left, 1.0).clamp(0.0, 1.0)
        return _unpacked(self._below.gather(-1, number) + share * self.mass.gather(-1, number), theta)

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values below which each parameter lies with probability p."""
        wanted = torch.as_tensor(p, dtype=torch.float64)
        wanted = wanted.expand(np.broadcast_shapes(wanted.shape, self.mean.shape))
        packed = _packed(wanted)
        number = (torch.searchsorted(self._below, packed) - 1).clamp(0, self.mass.shape[-1] - 1)
        below, mass = self._below.gather(-1, number), self.mass.gather(-1, number)
        share = ((packed - below) / mass.clamp(min=torch.finfo(torch.float64).tiny)).clamp(0.0, 1.0)
        left, right = self.edges.gather(-1, number), self.edges.gather(-1, number + 1)
        return _unpacked(left + share * (right - left), wanted)

    def _bins_of(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        at = _packed(theta.double().expand(np.broadcast_shapes(theta.shape, self.mean.shape)))
        number = (torch.searchsorted(self.edges, at, right=True) - 1).clamp(min=0)
        return torch.minimum(number, self._last), at

    def select(self, index: Any) -> "GridDensity":
        """The density of some maps."""
        return GridDensity(self.edges[index], self.mass[index])

    @classmethod
    def cat(cls, densities: "Sequence[GridDensity]") -> "GridDensity":
        """The density of all maps of several with as many bins."""
        return cls(torch.cat([each.edges for each in densities]), torch.cat([each.mass for each in densities]))


def _packed(values: Tensor) -> Tensor:
    """From (..., b, P) to (b, P, S), in which bins are searched."""
    return values.reshape(-1, *values.shape[-2:]).permute(1, 2, 0).contiguous()


def _unpacked(values: Tensor, like: Tensor) -> Tensor:
    """Back again."""
    return values.permute(2, 0, 1).reshape(*like.shape[:-2], *values.shape[:2])
