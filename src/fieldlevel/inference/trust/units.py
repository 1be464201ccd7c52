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


def forgotten_factor(predictor: MapReader, reference: Reference, maps: Any, numbers: IntArray) -> str:
    """Name of the factor that makes unlike maps like the training's, empty where none does.

    Args:
        predictor: the network.
        reference: what its maps are like.
        maps: some of those that are unlike, (n, N, N).
        numbers: of the simulation of each, (n,).
    """

    def p_value(factor: float) -> float:
        measured = measure(predictor, maps, lambda given: given * factor)
        return reference.set_p(reference.look(measured, numbers).rows)

    found = {name: p_value(factor) for name, factor in POWERS.items()}
    best = max(found, key=lambda name: found[name])
    return best if found[best] > max(_ALIKE, 10 * p_value(1.0)) else ""
