r"""What is measured of a map to see whether a network may be believed: pixels, power, layers, answers.

* eleven quantiles of the logarithm of the pixels and the logarithm of their mean;
* the logarithm of the power spectrum of the map over its mean in up to 24 bins of wavenumber;
* the means and standard deviations of every layer's channels (`layer_statistics`);
* the answers: posterior means and logarithms of posterior standard deviations, in units of the prior.

All of the map as the network reads it: smoothed or cut where it was trained on such maps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fieldlevel.arrays import FloatArray
from fieldlevel.data.given import as_maps, as_pixels, refuse_bad_pixels
from fieldlevel.data.transformed import transform_maps
from fieldlevel.inference.map_reader import MOST_AT_ONCE, MapReader, maps_at_once
from fieldlevel.inference.trust.layer_statistics import LayerRecord, watched
from fieldlevel.numerics.device import exact_float32
from fieldlevel.numerics.spectra import power_spectrum_2d
from fieldlevel.progress import Listener, Progress, ignore

N_RATIOS = 31
"""Edges of the bins of wavenumber, of which those at small wavenumbers coincide."""
PROBABILITIES = (0.001, 0.01, 0.05, 0.15, 0.3, 0.5, 0.7, 0.85, 0.95, 0.99, 0.999)
"""Of the quantiles."""
_FLOOR = 1e-10
"""Of the power, relative to the largest of its map: less is round-off of maps that were smoothed."""
N_PIXEL_STATISTICS = 1 + len(PROBABILITIES)
LEAST_STD = 1e-6
"""Of the posterior standard deviations, in units of the prior."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Statistics of n maps.

    Attributes:
        pixels: logarithm of the mean and quantiles of log10 of the pixels, (n, 12).
        power: log10 of the binned power spectrum over the mean, (n, B).
        layers: means and standard deviations of the channels of all layers, (n, F).
        answers: posterior means and log standard deviations in units of the prior, (n, 2P).
        layer_names: of the layers.
        layer_widths: statistics of each layer, F in all.
    """

    pixels: FloatArray
    power: FloatArray
    layers: FloatArray
    answers: FloatArray
    layer_names: tuple[str, ...] = ()
    layer_widths: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.answers)

    @classmethod
    def joined(cls, blocks: "Sequence[Measured]") -> "Measured":
        """The maps of several blocks, one after the other."""

        def all_of(name: str) -> FloatArray:
            return np.concatenate([getattr(block, name) for block in blocks])

        first, arrays = blocks[0], [all_of(name) for name in ("pixels", "power", "layers", "answers")]
        return cls(arrays[0], arrays[1], arrays[2], arrays[3], first.layer_names, first.layer_widths)


def power_bins(n_pixels: int) -> list[int]:
    """First shells of the bins of wavenumber and the end of the last, of nearly equal ratio; none is empty.

    Example:
        >>> power_bins(16)
        [0, 1, 2, 3, 4, 5, 6, 7, 8]
        >>> len(power_bins(256)) - 1
        24
    """
    edges = np.geomspace(1, n_pixels // 2 + 1, N_RATIOS).round().astype(int) - 1
    return sorted(set(edges.tolist()))


def power_centres(n_pixels: int, box_size_mpc_h: float) -> FloatArray:
    """Mean wavenumber of the shells of each bin [h/Mpc], (B,)."""
    edges = power_bins(n_pixels)
    k = 2 * math.pi / box_size_mpc_h * (np.arange(n_pixels // 2) + 1.5)
    return np.array([k[first:end].mean() for first, end in pairwise(edges)])


def measure_maps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel and power statistics of positive maps.

    Args:
        maps: (n, N, N), positive.

    Returns:
        (n, 12) and (n, B), float64.
    """
    logs = maps.flatten(1).log10().sort(dim=1).values
    place = torch.tensor(PROBABILITIES, dtype=torch.float64, device=maps.device) * (logs.shape[1] - 1)
    below = place.floor().to(torch.int64)
    above = (below + 1).clamp(max=logs.shape[1] - 1)
    quantiles = logs[:, below].double().lerp(logs[:, above].double(), place - below)
    mean = maps.flatten(1).mean(1, dtype=torch.float64).log10()
    _, power = power_spectrum_2d(maps, box_size_mpc_h=1.0)
    edges = power_bins(maps.shape[-1])
    binned = torch.stack([power[:, first:end].mean(1) for first, end in pairwise(edges)], dim=1)
    floor = (_FLOOR * binned.amax(1, keepdim=True)).clamp(min=1e-30)
    return torch.cat([mean[:, None], quantiles], dim=1), (binned + floor).log10()


def measure(
    predictor: MapReader,
    maps: Any,
    change: Callable[[Tensor], Tensor] = lambda maps: maps,
    batch_size: int = MOST_AT_ONCE,
    listener: Listener = ignore,
) -> Measured:
    """Statistics of raw maps, in blocks, on the device of the network.

    Args:
        predictor: the network.
        maps: as `Predictor.predict` takes them, (n, N, N).
        change: made to positive maps (b, N, N) first.
        batch_size: maps in a block, at most.
        listener: told of every block.

    Raises:
        UserError: maps of another size, or with pixels that no map has.
    """
    given, blocks = as_maps(maps, predictor.n_pixels), []
    size = maps_at_once(predictor.n_pixels, next(predictor.network.parameters()).device, batch_size)
    for start in range(0, len(given), size):
        block = given[start : start + size]
        blocks.append(_measure_block(predictor, block, start, change))
        listener(Progress("look at", start + len(block), len(given), "maps"))
    return Measured.joined(blocks)


@torch.inference_mode()
def _measure_block(predictor: MapReader, maps: Any, first: int, change: Callable[[Tensor], Tensor]) -> Measured:
    network, normaliser = predictor.network, predictor.normaliser
    pixels = as_pixels(maps, next(network.parameters()).device)
    refuse_bad_pixels(pixels, first, normaliser.offset)
    numbers = np.arange(first, first + len(pixels))
    seen = transform_maps(change(pixels), predictor.spec.transform, numbers, predictor.layout)
    with exact_float32(), watched(network, len(seen)) as record:
        mean, std = network.posterior(normaliser.normalise(seen)[:, None])
    return measured_of(seen + normaliser.offset, record, mean, std)


def measured_of(maps: Tensor, record: LayerRecord, mean: Tensor, std: Tensor) -> Measured:
    """Statistics of maps that a network has read while its layers were watched.

    Args:
        maps: as the network reads them, before the logarithm, (n, N, N), positive.
        record: of the layers.
        mean: posterior means as the network tells them, in units of the prior, (n, P).
        std: posterior standard deviations, (n, P).
    """
    answers = torch.cat([mean, std.clamp(min=LEAST_STD).log()], dim=1)
    of_pixels, power = measure_maps(maps)
    layers = record.statistics()
    arrays = [part.cpu().double().numpy() for part in (of_pixels, power, layers, answers)]
    return Measured(arrays[0], arrays[1], arrays[2], arrays[3], tuple(record.names), tuple(record.widths))
