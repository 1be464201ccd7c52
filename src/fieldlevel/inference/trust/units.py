"""A factor that was forgotten: maps that are like the training's once they are multiplied by a power of h."""

from typing import Any

from fieldlevel.arrays import IntArray
from fieldlevel.inference.map_reader import MapReader
from fieldlevel.inference.trust.map_statistics import measure
from fieldlevel.inference.trust.trust_reference import Reference
from fieldlevel.suites import HUBBLE

POWERS = {"h": HUBBLE, "1/h": 1 / HUBBLE, "h^2": HUBBLE**2, "1/h^2": HUBBLE**-2}
"""Factors that turn one common unit of surface density into another."""
_ALIKE = 0.2
"""P-value of a set that is called like the training's once it is multiplied."""
_FEW, _POSSIBLE = 30, 0.01
"""Maps that each factor is tried on first, and the p-value below which it is not tried on all."""


def forgotten_factor(
    predictor: MapReader, reference: Reference, maps: Any, numbers: IntArray, p_as_given: float
) -> str:
    """Name of the factor that makes unlike maps like the training's, empty where none does.

    Args:
        predictor: the network.
        reference: what its maps are like.
        maps: some of those that are unlike, (n, N, N).
        numbers: of the simulation of each, (n,).
        p_as_given: p-value of these as a set, without a factor.
    """

    def p_value(name: str, every: int = 1) -> float:
        measured = measure(predictor, maps[::every], lambda given: given * POWERS[name])
        return reference.set_p(reference.look(measured, numbers[::every]).rows)

    every = max(1, len(maps) // _FEW)
    found = {name: p_value(name, every) for name in POWERS}
    if every > 1:
        found = {name: p_value(name) for name, p in found.items() if p > _POSSIBLE}
    best = max(found, key=lambda name: found[name], default="")
    return best if best and found[best] > max(_ALIKE, 10 * p_as_given) else ""
