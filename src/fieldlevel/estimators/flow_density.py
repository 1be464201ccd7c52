"""The posterior that a normalising flow tells, with its moments by quasi-random points."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fieldlevel.estimators.densities import Density, TruncatedNormal, normal_numbers, probabilities
from fieldlevel.estimators.score_flow import ScoreFlow
from fieldlevel.estimators.truncated_normal import Parent

N_POINTS = 512
"""Scrambled Sobol points, in the middle of their strata, of which moments, marginals and quantiles are made."""
_OF_TAIL = (0, 16)
"""Places of two points, from the outermost one on, that tell how a marginal goes on beyond the first."""
_LEAST_SLOPE = 1e-3
_MAPS_AT_A_TIME = 256
_EDGE = 1e-15


class FlowDensity(Density):
    """The density of a flow: `log_prob` in float64, samples in that of its weights, marginals to 1 / `N_POINTS`.

    Args:
        flow: of normal scores, on the CPU, in evaluation mode.
        numbers: that it is given of each map, (b, K).
        marginals: that the scores are made with, of b maps.
    """

    is_joint = True
    covariance: Tensor

    def __init__(self, flow: ScoreFlow, numbers: Tensor, marginals: TruncatedNormal) -> None:
        self._flow, self._numbers, self._marginals = flow, numbers, marginals
        mean, covariance = flow_moments(flow, numbers, marginals.parent)
        self.mean, self.covariance = mean.double(), covariance.double()
        self.std = self.covariance.diagonal(dim1=1, dim2=2).sqrt()

    @cached_property
    def _exact(self) -> ScoreFlow:
        return deepcopy(self._flow).double()

    @torch.no_grad()
    def sample(self, n_samples: int, seed: int = 0) -> Tensor:
        """Independent samples, (n_samples, b, P)."""
        u = normal_numbers((n_samples, *self.mean.shape), seed).to(self._numbers)
        return self._marginals.parent.of_score(self._flow.score_of(u, self._numbers).double())

    @torch.no_grad()
    def log_prob(self, theta: Tensor) -> Tensor:
        """Natural logarithm of the density, (..., b)."""
        theta = theta.detach().to("cpu", torch.float64)
        shape = torch.broadcast_shapes(theta.shape, self.mean.shape)  # type: ignore[no-untyped-call]
        theta, numbers = theta.expand(shape), self._numbers.double().expand(*shape[:-1], -1)
        of_marginals = self._marginals.log_prob(theta)
        scores = self._marginals.parent.score(theta.nan_to_num(0.5)).flatten(0, -2)
        found = self._exact.log_ratio(scores, numbers.flatten(0, -2)).view(shape[:-1])
        return (found + of_marginals).where(of_marginals.isfinite(), -torch.inf)

    def rescaled(self, scale: Tensor) -> "FlowDensity":
        """The same flow of scores under marginals with standard deviations `scale`, (b, P), times as large."""
        wider = TruncatedNormal(self._marginals.mean, self._marginals.std * scale)
        return FlowDensity(self._flow, self._numbers, wider)

    def marginal_cdf(self, theta: Tensor) -> Tensor:
        """Part of the quasi-random points below theta, beyond all of them by the tails, (..., b, P)."""
        theta = theta.detach().to("cpu", torch.float64)
        theta = theta.expand(torch.broadcast_shapes(theta.shape, self.mean.shape))  # type: ignore[no-untyped-call]
        found = torch.empty_like(theta)
        for maps, points in self._points():
            here, parent = theta[..., maps, :], self._marginals.parent.select(maps)
            wanted = here.movedim((-2, -1), (0, 1))
            below = torch.searchsorted(points, wanted.reshape(*points.shape[:2], -1).contiguous()).view(wanted.shape)
            part = below.movedim((0, 1), (-2, -1)) / N_POINTS
            for tail in _tails(points, parent):
                if (beyond := tail.holds(here)).any():
                    part = torch.where(beyond, tail.cdf(parent.score(here)), part)
            found[..., maps, :] = part.masked_fill(here <= 0, 0.0).masked_fill(here >= 1, 1.0)
        return found

    def quantile(self, p: Tensor | float) -> Tensor:
        """Values of the quasi-random points, interpolated; beyond all of them by the tails, (b, P) or (..., b, P)."""
        p = probabilities(p, self.mean)
        found = torch.empty(p.shape, dtype=torch.float64)
        for maps, points in self._points():
            here, parent = p[..., maps, :], self._marginals.parent.select(maps)
            place = (here.movedim((-2, -1), (0, 1)) * N_POINTS - 0.5).clamp(0.0, N_POINTS - 1.0)
            first = place.floor().clamp(max=N_POINTS - 2.0)
            flat = first.reshape(*points.shape[:2], -1).long()
            low, high = (points.gather(2, flat + step).view(place.shape) for step in (0, 1))
            value = torch.lerp(low, high, place - first).movedim((0, 1), (-2, -1))
            for tail in _tails(points, parent):
                if (beyond := tail.holds_part(here)).any():
                    value = torch.where(beyond, parent.of_score(tail.score(here)), value)
            found[..., maps, :] = value
        return found

    def select(self, index: Any) -> "FlowDensity":
        """The density of some maps."""
        return FlowDensity(self._flow, self._numbers[index], self._marginals.select(index))

    @classmethod
    def cat(cls, densities: "Sequence[FlowDensity]") -> "FlowDensity":
        """The density of all maps of several answers of one network."""
        numbers = torch.cat([each._numbers for each in densities])
        return cls(densities[0]._flow, numbers, TruncatedNormal.cat([each._marginals for each in densities]))

    @torch.no_grad()
    def _points(self) -> Iterator[tuple[slice, Tensor]]:
        """Places of some maps, and their quasi-random points in order, (n, P, N_POINTS)."""
        for start in range(0, len(self), _MAPS_AT_A_TIME):
            maps = slice(start, start + _MAPS_AT_A_TIME)
            points = quasi_random_points(self._flow, self._numbers[maps], self._marginals.parent.select(maps))
            yield maps, points.permute(1, 2, 0).contiguous().sort(-1).values


class _Tail(NamedTuple):
    """How a marginal goes on beyond a point: normal scores are linear in those of the parts below.

    Attributes:
        edge: the point, (b, P).
        start: its normal score by the parent, (b, P).
        slope: of the scores of values with those of the parts below them, (b, P).
        part: of the density below the point.
        is_low: whether it is the lower tail.
    """

    edge: Tensor
    start: Tensor
    slope: Tensor
    part: float
    is_low: bool

    def holds(self, theta: Tensor) -> Tensor:
        """Which values lie in it."""
        return theta < self.edge if self.is_low else theta > self.edge

    def holds_part(self, p: Tensor) -> Tensor:
        """Which quantiles lie in it."""
        return p < self.part if self.is_low else p > self.part

    def score(self, p: Tensor) -> Tensor:
        """Normal scores of quantiles."""
        score: Tensor = self.start + self.slope * (torch.special.ndtri(p) - _normal_score(self.part))
        return score

    def cdf(self, score: Tensor) -> Tensor:
        """Part below values with these normal scores."""
        below: Tensor = torch.special.ndtr(_normal_score(self.part) + (score - self.start) / self.slope)
        return below


def _tails(points: Tensor, parent: Parent) -> Iterator[_Tail]:
    """Both tails of marginals whose points are in order, (b, P, N_POINTS)."""
    for is_low in (True, False):
        places = [place if is_low else N_POINTS - 1 - place for place in _OF_TAIL]
        start, inner = (parent.score(points[..., place]) for place in places)
        outer_part, inner_part = ((place + 0.5) / N_POINTS for place in places)
        slope = (inner - start) / (_normal_score(inner_part) - _normal_score(outer_part))
        yield _Tail(points[..., places[0]], start, slope.clamp(min=_LEAST_SLOPE), outer_part, is_low)


def _normal_score(p: float) -> float:
    return float(torch.special.ndtri(torch.tensor(p, dtype=torch.float64)))


@torch.no_grad()
def flow_moments(flow: ScoreFlow, numbers: Tensor, parent: Parent) -> tuple[Tensor, Tensor]:
    """Mean (b, P) and covariance (b, P, P) of the density of each map, float64.

    Args:
        flow: on the device of the numbers, and of their type.
        numbers: of each map, (b, K).
        parent: of the truncated normals that the scores are made with, (b, P), on the same device.
    """
    moments = []
    for start in range(0, max(len(numbers), 1), _MAPS_AT_A_TIME):
        maps = slice(start, start + _MAPS_AT_A_TIME)
        points = quasi_random_points(flow, numbers[maps], parent.select(maps))
        mean = points.mean(0)
        apart = points - mean
        moments.append((mean, torch.einsum("nbi,nbj->bij", apart, apart) / N_POINTS))
    means, covariances = zip(*moments, strict=True)
    return torch.cat(means), torch.cat(covariances)


def quasi_random_points(flow: ScoreFlow, numbers: Tensor, parent: Parent) -> Tensor:
    """`N_POINTS` of each map, the same ones each time, (N_POINTS, b, P), float64."""
    sobol = torch.quasirandom.SobolEngine(flow.n_parameters, scramble=True, seed=0)  # type: ignore[no-untyped-call]
    strata = (sobol.draw(N_POINTS, dtype=torch.float64) * N_POINTS).floor()
    u = torch.special.ndtri((strata + 0.5) / N_POINTS).to(numbers)
    return parent.of_score(flow.score_of(u[:, None].expand(-1, len(numbers), -1), numbers).double())
