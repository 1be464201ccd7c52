r"""Randomised: maps of baryons that no suite has, made of those of several suites within the batch.

Where two labelled suites share initial conditions and cosmology, row by row, log-maps u of one universe are mixed
beyond both of them, and what comes out is filtered by a random smooth transfer function of the logarithm,

    u = u_s + alpha (u_t - u_s),    alpha uniform in [low, high],
    u(k) <- u(k) exp(A sum_j n_j h_j(log k)),

with n_j random numbers of zero mean and unit variance (uniform) at knots in log k, h_j straight lines between them, and
the mean of the map left as it is. Omega_m and sigma_8 are those of the universe. Of a map that was changed the outputs
that not all suites teach, feedback, are unknown. Changed are as many maps as `weight` says; which ones, and how,
follows from the number of the batch and the place in it, on any number of processes.

Statistics of the batch norms and the head are settled on maps as they are.

References:
    Tobin et al. 2017, arXiv:1703.06907 (domain randomisation); Zhang et al. 2018, arXiv:1710.09412 (mixing), here
    within one universe; transfer functions of the logarithm and weights beyond [0, 1]: this package (docs/training.md).
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.data.batches import Batch, BatchSampler, MapSet
from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.numerics.random import uniform
from fieldlevel.training.method import FRACTION, NOT_NEGATIVE, NUMBER, Method, Rule
from fieldlevel.training.train_spec import TrainSpec

N_KNOTS = 6
"""Of the transfer function, from the longest wave of the map to the shortest."""
_STREAM = 80
_BITS = 40
"""Of a random number on its way to the device."""
_OF_SAMPLER = 4
_SAME = 1e-4
"""By which labels of siblings may differ, in units of the prior."""


class Randomised(Method):
    """Pooling of maps some of which are mixtures.

    Args:
        spec: of the training.
        network: that learns.
        training: its maps, with whose initial conditions they have.
        weight: part of the maps that are changed.
        low: least alpha.
        high: largest alpha.
        transfer: A, the scatter of the logarithm of the transfer function at a knot.

    Raises:
        UserError: no two labelled suites have siblings, or low is above high.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "weight": FRACTION,
        "low": NUMBER,
        "high": NUMBER,
        "transfer": NOT_NEGATIVE,
    }
    least_labelled: ClassVar[int] = 2
    least_sources: ClassVar[int] = 2
    reads_maps: ClassVar[bool] = True

    siblings: Tensor
    n_siblings: Tensor
    hats: Tensor

    def __init__(
        self,
        spec: TrainSpec,
        network: Estimator,
        training: MapSet,
        weight: float = 0.5,
        low: float = -0.3,
        high: float = 1.3,
        transfer: float = 0.3,
    ) -> None:
        super().__init__(spec, network, training)
        self._refuse_nothing_shared(spec)
        if low > high:
            raise UserError(f"method_options low = {low:g}: above high = {high:g}; give a smaller one")
        self.weight, self.low, self.high, self.transfer = weight, low, high, transfer
        self.seed = spec.seed
        siblings, n_siblings = siblings_of(training, self.labelled, self.shared)
        if not bool(n_siblings.any()):
            told = "no two suites with labels share initial conditions and cosmology, row by row"
            raise UserError(f"method = {spec.method}: {told}; give such suites, or another method")
        device = training.maps.device
        self.n_batches = 0
        self.register_buffer("siblings", siblings.to(device), persistent=False)
        self.register_buffer("n_siblings", n_siblings.to(device), persistent=False)
        self.register_buffer("hats", hats(training.maps.shape[-1]).to(device), persistent=False)

    def choose(self, sampler: BatchSampler) -> Tensor:
        """What the sampler chooses, and random integers of 40 bits for each map: (b, 4 + 3 + knots)."""
        n_numbers = 3 + N_KNOTS
        row = self.n_batches * sampler.batch_size + sampler.rows
        self.n_batches += 1
        counter = row[:, None] * n_numbers + torch.arange(n_numbers)
        numbers = (uniform(counter, self.seed, _STREAM) * 2**_BITS).to(torch.int64)
        return torch.cat([sampler.choose(), numbers], dim=1)

    def gather(self, sampler: BatchSampler, chosen: Tensor) -> Batch:
        """Mix and filter; what is compared between siblings is turned, mirrored and shifted alike."""
        own, lots = chosen[:, :_OF_SAMPLER], chosen[:, _OF_SAMPLER:].double() * 2.0**-_BITS
        batch = sampler.gather(own)
        which = (lots[:, 1] * self.n_siblings[own[:, 0]].clamp(min=1)).to(torch.int64)
        partner = self.siblings[own[:, 0]].gather(1, which[:, None])
        other = sampler.gather(torch.cat([partner, own[:, 1:]], dim=1)).maps
        alpha = (self.low + (self.high - self.low) * lots[:, 2]).float()[:, None, None, None]
        mixed = batch.maps + alpha * (other - batch.maps)
        changed = lots[:, 0] < self.weight
        maps = self._filtered(mixed, lots[:, 3:].float()).where(changed[:, None, None, None], batch.maps)
        known = self.shared[None] | ~changed[:, None]
        return Batch(maps, batch.theta.where(known, torch.full_like(batch.theta, torch.nan)), batch.source)

    def extra_state(self) -> list[Any]:
        """Batches so far."""
        return [self.n_batches]

    def load_extra_state(self, state: list[Any]) -> None:
        """Go on from there."""
        (self.n_batches,) = state

    def _filtered(self, maps: Tensor, lots: Tensor) -> Tensor:
        """Maps (b, 1, N, N) after a transfer function of lots (b, knots) between 0 and 1."""
        unit = (2 * lots - 1) * math.sqrt(3)
        transfer = (self.transfer * torch.einsum("bj,jxy->bxy", unit, self.hats)).exp()
        filtered: Tensor = torch.fft.irfft2(torch.fft.rfft2(maps) * transfer[:, None], s=maps.shape[-2:])
        return filtered


def hats(n_pixels: int) -> Tensor:
    """Straight lines between knots in log k, on the half plane of a real transform, (knots, N, N // 2 + 1); 0 at k = 0.

    Example:
        >>> found = hats(16).sum(0)
        >>> found[0, 0].item(), bool((found.flatten()[1:] - 1).abs().max() < 1e-6)
        (0.0, True)
    """
    rows, columns = torch.fft.fftfreq(n_pixels, 1 / n_pixels), torch.fft.rfftfreq(n_pixels, 1 / n_pixels)
    k = (rows[:, None].square() + columns[None].square()).sqrt()
    place = k.clamp(min=1).log() / math.log(n_pixels / math.sqrt(2)) * (N_KNOTS - 1)
    knots = torch.arange(N_KNOTS)[:, None, None]
    lines: Tensor = (1 - (place - knots).abs()).clamp(min=0) * (k > 0)
    return lines


def siblings_of(training: MapSet, labelled: tuple[int, ...], shared: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of the same universe and place in other labelled sources.

    Args:
        training: all maps.
        labelled: numbers of the sources with labels.
        shared: outputs that siblings must agree in, (P,).

    Returns:
        Numbers of the siblings of each map, (n, G), and how many of them count, (n,); a map without any has itself.
    """
    source, numbers = training.source.cpu().numpy(), np.arange(training.n_maps)
    key = np.stack([training.seeds.cpu().numpy(), training.simulation.cpu().numpy(), _places(training)], axis=1)
    theta = training.theta[:, shared].cpu().numpy()
    found = np.repeat(numbers[:, None], len(labelled), axis=1)
    counts = np.zeros(training.n_maps, dtype=np.int64)
    by_key = [{tuple(key[i]): i for i in numbers[source == number]} for number in labelled]
    for i in numbers[np.isin(source, labelled)]:
        there = [known.get(tuple(key[i])) for known in by_key]
        for other in there:
            if other is not None and other != i and np.allclose(theta[i], theta[other], rtol=0, atol=_SAME):
                found[i, counts[i]] = other
                counts[i] += 1
    return torch.from_numpy(found), torch.from_numpy(counts)


def _places(training: MapSet) -> npt.NDArray[np.int64]:
    """Number of each map among those of its simulation, in the order in which they stand."""
    places, n_seen = np.zeros(training.n_maps, dtype=np.int64), dict[tuple[int, int], int]()
    for i, key in enumerate(zip(training.source.tolist(), training.simulation.tolist(), strict=True)):
        places[i] = n_seen[key] = n_seen.get(key, -1) + 1
    return places
