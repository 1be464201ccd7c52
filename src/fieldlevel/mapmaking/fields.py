"""The fields of the CAMELS Multifield Dataset that particles make: which kind, which quantity, summed or averaged.

A summed field is a surface density: the quantity of the particles over the area of a pixel. An averaged one is weighted
with the mass: sum(m q) / sum(m) over the particles that cover a pixel, zero where there are none. HI is the neutral
hydrogen that the snapshot stores; CMD corrects it for molecules and self-shielding in star-forming gas.

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915, table 2 (fields and units).
"""

from collections.abc import Mapping
from dataclasses import dataclass

GAS, DARK_MATTER, STARS, BLACK_HOLES = "gas", "dark matter", "stars", "black holes"
POINTS = (STARS, BLACK_HOLES)
"""Kinds that are not spread over discs."""


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        kinds: of particles that make it.
        quantity: what is summed or averaged.
        averaged: with the mass as weight; otherwise the sum over the area of a pixel.
    """

    kinds: tuple[str, ...]
    quantity: str
    averaged: bool

    @property
    def stored(self) -> tuple[str, ...]:
        """What a snapshot must give for the quantity."""
        derived = {"speed": ("velocity",), "electron column": ("electron density", "density", "mass")}
        return derived.get(self.quantity, (self.quantity,))


FIELDS: Mapping[str, Field] = {
    "Mtot": Field((GAS, DARK_MATTER, STARS, BLACK_HOLES), "mass", False),
    "Mcdm": Field((DARK_MATTER,), "mass", False),
    "Mgas": Field((GAS,), "mass", False),
    "Mstar": Field((STARS,), "mass", False),
    "HI": Field((GAS,), "neutral hydrogen mass", False),
    "ne": Field((GAS,), "electron column", False),
    "T": Field((GAS,), "temperature", True),
    "P": Field((GAS,), "pressure", True),
    "Z": Field((GAS,), "metallicity", True),
    "B": Field((GAS,), "magnetic field", True),
    "Vgas": Field((GAS,), "speed", True),
    "Vcdm": Field((DARK_MATTER,), "speed", True),
}
"""By the name that stands in a file's name."""
