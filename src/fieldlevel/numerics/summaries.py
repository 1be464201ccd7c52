"""Summaries of maps that a fully connected network reads: the power spectrum, the one-point distribution."""

import torch
from torch import Tensor

from fieldlevel.numerics import spectra

N_QUANTILES = 64
_NO_POWER = 1e-20
"""Of the area of a map: less is round-off of a flat map."""


def log_power_spectrum(maps: Tensor) -> Tensor:
    """Logarithm of the power spectrum of each map over its mean: nothing of the mean is left.

    Args:
        maps: (n, N, N), positive.

    Returns:
        (n, bins) float32, log10 P in units of the area of a map.
    """
    _, power = spectra.power_spectrum_2d(maps, box_size_mpc_h=1.0)
    logarithm: Tensor = power.clamp(min=_NO_POWER).log10().float()
    return logarithm


def log_quantiles(maps: Tensor) -> Tensor:
    """Quantiles of the logarithm of the pixels: the one-point distribution, nothing of where the pixels are.

    Args:
        maps: (n, N, N), positive.

    Returns:
        (n, 64) float32: log10 at the probabilities (i + 1/2) / 64, and so between the extremes.

    Example:
        >>> log_quantiles(torch.full((1, 8, 8), 100.0))[0, :2].tolist()
        [2.0, 2.0]
    """
    ordered = maps.flatten(1).log10().float().sort(dim=1).values
    place = (torch.arange(N_QUANTILES, device=maps.device) + 0.5) / N_QUANTILES * (ordered.shape[1] - 1)
    below = place.floor().to(torch.int64)
    return ordered[:, below].lerp(ordered[:, below + 1], place - below)


SUMMARIES = {"power spectrum": log_power_spectrum, "one-point PDF": log_quantiles}
"""By the name in `TrainSpec.inputs`."""
