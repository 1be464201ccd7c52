r"""Densities whose standard deviations are made wider or narrower, as a calibration wants them.

Truncated normals and their copulas get other standard deviations, and so do the marginals beneath a flow of normal
scores, whose own widths grow by as much to first order. Any other density is stretched about its medians m,
parameter by parameter, where the prior is a line: with v = Phi^{-1}(theta) and a scale s,

    v' = v_m + s (v - v_m),    theta' = Phi(v'),

which stays inside the prior, keeps medians and the order of all values, and multiplies narrow standard deviations by s.
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fieldlevel.estimators.densities import Density, GaussianCopula, TruncatedNormal
from fieldlevel.estimators.flow_density import FlowDensity

_N_NODES = 64
_EDGE = 1e-15


def rescaled(density: Density, scale: Tensor) -> Density:
    """The density with standard deviations `scale`, (b, P), times as large.

    Example:
        >>> narrow = TruncatedNormal(torch.tensor([[0.5]]), torch.tensor([[0.01]]))
        >>> rescaled(narrow, torch.tensor([[2.0]])).std
        tensor([[0.0200]], dtype=torch.float64)
    """
    scale = scale.double().cpu()
    if isinstance(density, TruncatedNormal):
        return TruncatedNormal(density.mean, density.std * scale)
    if isinstance(density, GaussianCopula):
        return GaussianCopula(density.mean, density.std * scale, density.factor)
    return density.rescaled(scale) if isinstance(density, FlowDensity) else RescaledDensity(density, scale)


class RescaledDensity(Density):
    """A density stretched about its medians.

    Args:
        density: of b maps and P parameters.
        scale: (b, P), positive.
    """

    def __init__(self, density: Density, scale: Tensor) -> None:
        self.density, self.scale, self.is_joint = density, scale, density.is_joint
        nodes = torch.stack([self.quantile((number + 0.5) / _N_NODES) for number in range(_N_NODES)])
        self.mean, self.std = nodes.mean(0), nodes.std(0, correction=0)
        if density.covariance is not None:
            ratio = self.std / density.std
            self.covariance = density.covariance * ratio[:, :, None] * ratio[:, None, :]

    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples, (n_samples, b, P)."""
        return self._stretched(self.density.sample(n_samples, seed).double())

    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density, (..., b)."""
        theta = theta.double()
        is_inside = ((theta >= 0) & (theta <= 1)).all(-1)
        after = _line(theta)
        before = self._middle + (after - self._middle) / self.scale
        jacobian = (after.square() - before.square()) / 2 - self.scale.log()
        found = self.density.log_prob(torch.special.ndtr(before)) + jacobian.sum(-1)
        return torch.where(is_inside, found, -math.inf)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Probability that each parameter lies below theta."""
        before = self._middle + (_line(theta.double()) - self._middle) / self.scale
        return self.density.marginal_cdf(torch.special.ndtr(before))

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values below which each parameter lies with probability p."""
        return self._stretched(self.density.quantile(p).double())

    def select(self, index: Any) -> "RescaledDensity":
        """The density of some maps."""
        return RescaledDensity(self.density.select(index), self.scale[index])

    @classmethod
    def cat(cls, densities: "Sequence[RescaledDensity]") -> "RescaledDensity":
        """The density of all maps of several."""
        whole = type(densities[0].density).cat([each.density for each in densities])
        return cls(whole, torch.cat([each.scale for each in densities]))

    @cached_property
    def _middle(self) -> Tensor:
        return _line(self.density.quantile(0.5).double())

    def _stretched(self, theta: Tensor) -> Tensor:
        stretched: Tensor = torch.special.ndtr(self._middle + self.scale * (_line(theta) - self._middle))
        return stretched


def _line(theta: Tensor) -> Tensor:
    """The prior as a line; its edges are far out, not infinitely."""
    line: Tensor = torch.special.ndtri(theta.clamp(_EDGE, 1 - _EDGE))
    return line
