r"""Are maps in the unit of the training maps? The mean level of their logarithm tells units that are far off.

A network reads \((\log_{10}(x + o) - m) / s\): maps in another unit, overdensities or logarithms lie many \(s\) from
what it was trained on, and it answers nevertheless. The level of a map is the mean of its \(\log_{10}(x + o)\), of a
network on summaries the mean of its numbers before they are normalised. Slabs of CAMELS-like boxes with Omega_m in
[0.1, 0.5], smoothed or not, have levels within 0.8 dex of the mean of a latin hypercube, flat maps of their mean within
1.2.

The power spectrum is one of maps over their mean, and its level says nothing of a factor: overdensities give the same
answers.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.data.normalise import AnyNormaliser, Normaliser
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.wording import name_some

LARGEST_DISTANCE = 3.5
"""Of a map's level from that of the training maps, in standard deviations of their pixels."""
LEAST_ALLOWED_DEX = 1.5
"""Allowed in any case: flat maps have a small standard deviation."""
LARGEST_SCATTER_DEX = 0.8
"""Of a map's scatter from that of the training maps, where all are scaled to one mean and their level says nothing."""
_FLAT = 1e-30

OF_PIXELS = ("one-point PDF",)
"""Summaries whose numbers are in the unit of the logarithm of the pixels."""
_OTHER_UNITS = {
    "Msun/kpc^2": -6.0,
    "Msun/pc^2": -12.0,
    "10^10 (Msun/h)/(Mpc/h)^2": -10.0,
    "10^10 Msun/kpc^2": -16.0,
    "kg/m^2": -14.8,
    "g/cm^2": -15.8,
    "protons/cm^2": 8.0,
}
"""Logarithm of the numbers over those in (Msun/h)/(Mpc/h)^2, h taken for one: the level of other simulations tells no
finer ones, as the mass of labelled maps does (`data.weighing`)."""
_NEAR_UNIT_DEX = 0.7


def refuse_far_levels(
    normaliser: AnyNormaliser,
    normalised: Tensor,
    maps: Tensor,
    numbers: npt.NDArray[np.int64],
    spec: TrainSpec,
    layout: Layout = Layout(),
) -> None:
    """Refuse maps whose level lies far from that of the training maps.

    Args:
        normaliser: of the network.
        normalised: what the network reads of the maps, (n, ...).
        maps: the maps as they were given, (n, N, N), positive.
        numbers: of the maps, for the message, (n,).
        spec: of the network.
        layout: of its training maps, whose units and box the message speaks of.

    Raises:
        UserError: with both levels and the likely unit.
    """
    levels = _levels(normaliser, normalised)
    expected, allowed = training_level(normaliser)
    what = _name(normaliser)
    if spec.transform.kind == "no monopole" and isinstance(normaliser, Normaliser):
        levels, expected, allowed = _scatters(normaliser, normalised), math.log10(normaliser.std), LARGEST_SCATTER_DEX
        what = "log10 of the scatter of log10 of the pixels"
    is_far = ~(np.abs(levels - expected) <= allowed)
    if is_far.any():
        likely = "logarithms of the maps, or maps of another field"
        if isinstance(normaliser, Normaliser) or normaliser.summary in OF_PIXELS:
            far = maps[np.flatnonzero(is_far).tolist()]
            likely = likely_unit(far, training_level(normaliser)[0], spec.field, layout)
        unit = _unit(spec.field, layout)
        raise UserError(
            f"maps {name_some(numbers[is_far])}: {what} is {levels[is_far].mean():.2f}, of the training maps "
            f"{expected:.2f}: these look like {likely}; give maps in the unit of the training{unit}, or "
            "override with --anyway (anyway=True)"
        )


def training_level(normaliser: AnyNormaliser) -> tuple[float, float]:
    """Level of the maps that a network was trained on, and how far from it a map's may be.

    Example:
        >>> training_level(Normaliser(mean=11.0, std=0.5))
        (11.0, 1.75)
    """
    mean, std = np.asarray(normaliser.mean), np.asarray(normaliser.std)
    of_pixels = not isinstance(normaliser, Normaliser) and normaliser.summary in OF_PIXELS
    variance = float(np.mean(std**2)) + (float(mean.var()) if of_pixels else 0.0)
    return float(mean.mean()), max(LARGEST_DISTANCE * math.sqrt(variance), LEAST_ALLOWED_DEX)


def likely_unit(maps: Tensor, expected: float, field: str, layout: Layout = Layout()) -> str:
    """What maps of a wrong level seem to be, in words.

    Args:
        maps: (n, N, N), positive.
        expected: mean log10 of the training maps.
        field: of the training maps.
        layout: of the training maps.

    Example:
        >>> import torch
        >>> likely_unit(torch.full((1, 4, 4), 11.0), 11.1, "Mtot")
        'log10 of the maps'
    """
    pixels = maps.double().flatten(1)
    mean, std = float(pixels.mean()), float(pixels.std(dim=1, correction=0).mean())
    for word, base in (("log10", 1.0), ("natural logarithms", math.log(10))):
        if abs(mean / base - expected) < LEAST_ALLOWED_DEX and std < LEAST_ALLOWED_DEX * base:
            return f"{word} of the maps"
    if 0.3 < mean < 3.0:
        return "overdensities, maps over their mean"
    shift = float(pixels.log10().mean()) - expected
    units = _OTHER_UNITS | {"mass a pixel": 2 * math.log10(layout.box_size_mpc_h / maps.shape[-1])}
    nearest = min(units, key=lambda unit: abs(units[unit] - shift))
    if layout.is_surface_density(field) and abs(units[nearest] - shift) < _NEAR_UNIT_DEX:
        return f"{nearest}, numbers of some 10^{shift:.1f} those of the training"
    return f"another unit, with numbers some 10^{shift:.1f} those of the training"


def _levels(normaliser: AnyNormaliser, normalised: Tensor) -> npt.NDArray[np.float64]:
    if isinstance(normaliser, Normaliser):  # without copies of the maps in double precision
        return normaliser.std * _means(normalised.flatten(1)) + normaliser.mean
    read = normalised.double()
    return _means((read * read.new_tensor(normaliser.std) + read.new_tensor(normaliser.mean)).flatten(1))


def _means(values: Tensor) -> npt.NDArray[np.float64]:
    means: npt.NDArray[np.float64] = values.mean(1, dtype=torch.float64).cpu().numpy()
    return means


def _scatters(normaliser: Normaliser, normalised: Tensor) -> npt.NDArray[np.float64]:
    scatter = normaliser.std * normalised.double().flatten(1).std(dim=1, correction=0)
    logarithms: npt.NDArray[np.float64] = scatter.clamp(min=_FLAT).log10().cpu().numpy()
    return logarithms


def _name(normaliser: AnyNormaliser) -> str:
    if isinstance(normaliser, Normaliser):
        return "mean log10 of the pixels"
    return f"mean of the {normaliser.summary} (log10)"


def _unit(field: str, layout: Layout) -> str:
    return f", {unit}" if (unit := layout.unit(field)) else ""
