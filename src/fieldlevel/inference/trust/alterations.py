"""What commonly makes maps unlike those of a training, done on purpose: each is a direction to look in.

A direction that is known beforehand is told from chance far sooner than one of a hundred, and it has a name. Other
faults than these lie partly along them or against them: maps of half of the particles are noisier and sharper, those of
stronger feedback smoother, which is the reverse of sharper too.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from fieldlevel.numerics.random import uniform
from fieldlevel.numerics.transforms import cut_wavenumbers, smooth_gaussian
from fieldlevel.suites import HUBBLE

SMOOTHING_PIXELS = 0.7
NOISE = 0.15
"""Standard deviation of a factor for each pixel."""
_DARKEST = 0.3
"""Factor of a pixel with noise, at least."""
_SHARPER = 0.5
"""Of the difference between a map and a smoothed one."""
_CUT = 0.6
"""Of the Nyquist wavenumber."""
_STREAM = 90
"""Of `fieldlevel.numerics.random`, and the one after it."""

Alteration = Callable[[Tensor], Tensor]


def _sharpen(maps: Tensor) -> Tensor:
    sharp = maps + _SHARPER * (maps - smooth_gaussian(maps, SMOOTHING_PIXELS))
    return torch.maximum(sharp, maps / 2)


def _add_noise(maps: Tensor) -> Tensor:
    counter = torch.arange(maps.numel(), device=maps.device).view(maps.shape)
    radius = (-2 * uniform(counter, 0, _STREAM).log()).sqrt()
    normal = radius * (2 * math.pi * uniform(counter, 0, _STREAM + 1)).cos()
    return maps * (1 + NOISE * normal).clamp(min=_DARKEST).to(maps.dtype)


def _cut(maps: Tensor) -> Tensor:
    return cut_wavenumbers(maps, _CUT * maps.shape[-1] / 2)


ALTERATIONS: dict[str, Alteration] = {
    "their overall level is too low for their structure": lambda maps: maps * HUBBLE,
    "their overall level is too high for their structure": lambda maps: maps / HUBBLE,
    "their resolution is lower, as if smoothed": lambda maps: smooth_gaussian(maps, SMOOTHING_PIXELS),
    "their smallest scales are sharper": _sharpen,
    "their pixels are noisier": _add_noise,
    "their smallest scales are missing": _cut,
}
"""By what is said of maps that look so; functions of positive maps (n, N, N)."""
