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
        unit: of a pixel.
    """

    kinds: tuple[str, ...]
    quantity: str
    averaged: bool
    unit: str

    @property
    def stored(self) -> tuple[str, ...]:
        """What a snapshot must give for the quantity."""
        derived = {"speed": ("velocity",), "electron column": ("electron density", "density", "mass")}
        return derived.get(self.quantity, (self.quantity,))


_DENSITY = "(Msun/h)/(Mpc/h)^2"

FIELDS: Mapping[str, Field] = {
    "Mtot": Field((GAS, DARK_MATTER, STARS, BLACK_HOLES), "mass", False, _DENSITY),
    "Mcdm": Field((DARK_MATTER,), "mass", False, _DENSITY),
    "Mgas": Field((GAS,), "mass", False, _DENSITY),
    "Mstar": Field((STARS,), "mass", False, _DENSITY),
    "HI": Field((GAS,), "neutral hydrogen mass", False, _DENSITY),
    "ne": Field((GAS,), "electron column", False, "h^2/cm^3 (Mpc/h)"),
    "T": Field((GAS,), "temperature", True, "K"),
    "P": Field((GAS,), "pressure", True, "h^2 Msun (km/s)^2/kpc^3"),
    "Z": Field((GAS,), "metallicity", True, "mass fraction"),
    "B": Field((GAS,), "magnetic field", True, "Gauss"),
    "Vgas": Field((GAS,), "speed", True, "km/s"),
    "Vcdm": Field((DARK_MATTER,), "speed", True, "km/s"),
}
"""By the name that stands in a file's name."""
