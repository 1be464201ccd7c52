"""The posterior that a normalising flow tells, with its moments by quasi-random points."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from fieldlevel.estimators.cube_flow import CubeFlow
from fieldlevel.estimators.densities import Density, normal_numbers, probabilities

N_POINTS = 512
"""Scrambled Sobol points, in the middle of their strata, of which moments, marginals and quantiles are made."""
_MAPS_AT_A_TIME = 256
_EDGE = 1e-15


class FlowDensity(Density):
    """The density of a flow: `log_prob` in float64, samples in that of its weights, marginals to 1 / `N_POINTS`.

    Args:
        flow: on the CPU, in evaluation mode.
        numbers: that it is given of each map, (b, K).
        mean: (b, P), as `flow_moments` finds it.
        covariance: (b, P, P), likewise.
    """

    is_joint = True
    covariance: Tensor

    def __init__(self, flow: CubeFlow, numbers: Tensor, mean: Tensor, covariance: Tensor) -> None:
        self._flow, self._numbers = flow, numbers
        self.mean, self.covariance = mean.double(), covariance.double()
        self.std = self.covariance.diagonal(dim1=1, dim2=2).sqrt()

    @cached_property
    def _exact(self) -> CubeFlow:
        return deepcopy(self._flow).double()

    @torch.no_grad()
    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples, (n_samples, b, P)."""
        u = normal_numbers((n_samples, *self.mean.shape), seed).to(self._numbers)
        return self._flow.point_of(u, self._numbers).double()

    @torch.no_grad()
    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density, (..., b)."""
        theta = theta.detach().to("cpu", torch.float64)
        shape = torch.broadcast_shapes(theta.shape, self.mean.shape)  # type: ignore[no-untyped-call]
        theta, numbers = theta.expand(shape), self._numbers.double().expand(*shape[:-1], -1)
        inside = theta.clamp(_EDGE, 1.0 - _EDGE).nan_to_num(0.5).flatten(0, -2)
        found = self._exact.log_prob(inside, numbers.flatten(0, -2)).view(shape[:-1])
        return found.where(((theta >= 0) & (theta <= 1)).all(-1), -torch.inf)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Part of the quasi-random points below theta, (..., b, P)."""
        theta = theta.detach().to("cpu", torch.float64)
        theta = theta.expand(torch.broadcast_shapes(theta.shape, self.mean.shape))  # type: ignore[no-untyped-call]
        found = torch.empty_like(theta)
        for maps, points in self._points():
            wanted = theta[..., maps, :].movedim((-2, -1), (0, 1))
            below = torch.searchsorted(points, wanted.reshape(*points.shape[:2], -1).contiguous()).view(wanted.shape)
            found[..., maps, :] = below.movedim((0, 1), (-2, -1)) / N_POINTS
        return found

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values of the quasi-random points, between which they are interpolated, (b, P) or (..., b, P)."""
        p = probabilities(p, self.mean)
        found = torch.empty(p.shape, dtype=torch.float64)
        for maps, points in self._points():
            place = (p[..., maps, :].movedim((-2, -1), (0, 1)) * N_POINTS - 0.5).clamp(0.0, N_POINTS - 1.0)
            first = place.floor().clamp(max=N_POINTS - 2.0)
            flat = first.reshape(*points.shape[:2], -1).long()
            low, high = (points.gather(2, flat + step).view(place.shape) for step in (0, 1))
            found[..., maps, :] = torch.lerp(low, high, place - first).movedim((0, 1), (-2, -1))
        return found

    def select(self, index: Any) -> "FlowDensity":
        """The density of some maps."""
        return FlowDensity(self._flow, self._numbers[index], self.mean[index], self.covariance[index])

    @classmethod
    def cat(cls, densities: "Sequence[FlowDensity]") -> "FlowDensity":
        """The density of all maps of several answers of one network."""
        names = ("_numbers", "mean", "covariance")
        return cls(densities[0]._flow, *(torch.cat([getattr(each, name) for each in densities]) for name in names))

    @torch.no_grad()
    def _points(self) -> Iterator[tuple[slice, Tensor]]:
        """Places of some maps, and their quasi-random points in order, (n, P, N_POINTS)."""
        for start in range(0, len(self), _MAPS_AT_A_TIME):
            maps = slice(start, start + _MAPS_AT_A_TIME)
            points = quasi_random_points(self._flow, self._numbers[maps]).double()
            yield maps, points.permute(1, 2, 0).contiguous().sort(-1).values


@torch.no_grad()
def flow_moments(flow: CubeFlow, numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (b, P) and covariance (b, P, P) of the density of each map.

    Args:
        flow: on the device of the numbers, and of their type.
        numbers: of each map, (b, K).
    """
    moments = []
    for some in torch.split(numbers, _MAPS_AT_A_TIME):
        points = quasi_random_points(flow, some)
        mean = points.mean(0)
        apart = points - mean
        moments.append((mean, torch.einsum("nbi,nbj->bij", apart, apart) / N_POINTS))
    means, covariances = zip(*moments, strict=True)
    return torch.cat(means), torch.cat(covariances)


def quasi_random_points(flow: CubeFlow, numbers: Tensor) -> Tensor:
    """`N_POINTS` of each map, the same ones each time, (N_POINTS, b, P)."""
    sobol = torch.quasirandom.SobolEngine(flow.n_parameters, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    strata = (sobol.draw(N_POINTS, dtype=torch.float64) * N_POINTS).floor()
    u = torch.special.ndtri((strata + 0.5) / N_POINTS).to(numbers)
    return flow.point_of(u[:, None].expand(-1, len(numbers), -1), numbers)
