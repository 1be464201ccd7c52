r"""Quantities of the CAMELS Multifield Dataset from what snapshots store.

Codes store specific internal energies \(u\), electrons per hydrogen nucleus \(x_{\rm e}\) and comoving densities
\(\rho\). With the hydrogen mass fraction \(X = 0.76\) and the adiabatic index \(\gamma = 5/3\) the temperature is

.. math:: T = (\gamma-1)\,\frac{u}{k_{\rm B}}\,\mu m_{\rm p},\qquad \mu = \frac{4}{1 + 3X + 4X x_{\rm e}},

the pressure and the electron density, both comoving as in CMD, are

.. math:: P = (\gamma-1)\,\rho\,u,\qquad n_{\rm e} = x_{\rm e}\,X\,\rho/m_{\rm p},

and the electron density of star-forming gas is set to zero, because its \(x_{\rm e}\) belongs to an effective equation
of state. A quantity may have several recipes; the first one that a snapshot has the datasets for is taken.

References:
    Villaescusa-Navarro et al. 2022, arXiv:2109.10915, section 3 (CMD); Nelson et al. 2019, arXiv:1812.05609
    (IllustrisTNG data release: datasets, units); Dave et al. 2019, arXiv:1901.10203 (SIMBA).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.snapshots.parts import COORDINATES, MASSES
from fieldlevel.snapshots.units import DIMENSIONLESS, KM_S, KPC, MPC, MSUN, Dimension, Unit

FloatArray = npt.NDArray[np.floating[Any]]

HYDROGEN_FRACTION = 0.76
ADIABATIC_INDEX = 5 / 3
PROTON_MASS = 1.67262178e-24
"""In g."""
BOLTZMANN = 1.38065e-16
"""In erg/K."""
METALLICITY_FLOOR = 8e-10
"""Added to the metallicity of GIZMO's gas, as CMD does, so that primordial gas has a logarithm."""


@dataclass(frozen=True)
class Block:
    """A dataset of a snapshot.

    Attributes:
        names: in the different codes.
        unit: that it is read in; None if it has none and is read as it stands.
        dimension: in the code's units.
        shape: of what one particle has; None if any will do.
    """

    names: tuple[str, ...]
    unit: Unit | None = None
    dimension: Dimension = DIMENSIONLESS
    shape: tuple[int, ...] | None = ()


@dataclass(frozen=True)
class Recipe:
    """A quantity as a function of datasets.

    Attributes:
        blocks: datasets that it needs, the arguments of the formula.
        formula: arrays of n particles -> array of n particles.
    """

    blocks: tuple[Block, ...]
    formula: Callable[..., FloatArray]


def temperature(internal_energy: FloatArray, electron_abundance: FloatArray) -> FloatArray:
    """Gas temperature.

    Args:
        internal_energy: per mass, in (km/s)^2, physical.
        electron_abundance: electrons per hydrogen nucleus.

    Returns:
        Temperature in K.

    Example:
        >>> float(temperature(np.array([1000.0]), np.array([1.16]))[0].round())
        47464.0
    """
    weight = 4 / (1 + 3 * HYDROGEN_FRACTION + 4 * HYDROGEN_FRACTION * electron_abundance)
    return internal_energy * weight * ((ADIABATIC_INDEX - 1) * KM_S**2 * PROTON_MASS / BOLTZMANN)


def pressure(internal_energy: FloatArray, density: FloatArray) -> FloatArray:
    """Gas pressure, with the comoving density.

    Args:
        internal_energy: per mass, in (km/s)^2, physical.
        density: in h^2 Msun/Mpc^3, comoving.

    Returns:
        Pressure in h^2 Msun (km/s)^2/kpc^3.
    """
    return internal_energy * density * ((ADIABATIC_INDEX - 1) * (KPC / MPC) ** 3)


def electron_density(
    density: FloatArray, electron_abundance: FloatArray, star_formation_rate: FloatArray | None = None
) -> FloatArray:
    """Comoving number density of free electrons, zero in star-forming gas.

    Args:
        density: in h^2 Msun/Mpc^3, comoving.
        electron_abundance: electrons per hydrogen nucleus.
        star_formation_rate: in any unit; None if no gas forms stars.

    Returns:
        Number density in h^2/cm^3.
    """
    electrons = electron_abundance * density * (HYDROGEN_FRACTION * MSUN / MPC**3 / PROTON_MASS)
    return electrons if star_formation_rate is None else np.where(star_formation_rate > 0, 0, electrons)


def neutral_hydrogen_mass(neutral_fraction: FloatArray, mass: FloatArray) -> FloatArray:
    """Mass of neutral hydrogen, as the snapshot has it: no correction of star-forming gas for molecules.

    Args:
        neutral_fraction: neutral hydrogen atoms per hydrogen nucleus.
        mass: in Msun/h.

    Returns:
        Mass in Msun/h.
    """
    return HYDROGEN_FRACTION * neutral_fraction * mass


def metallicity(mass_fractions: FloatArray) -> FloatArray:
    """Mass fraction of all metals.

    Args:
        mass_fractions: (n,), or (n, elements) of GIZMO, where the first column stands for all metals; (n, 1) too.

    Returns:
        Mass fraction, shape (n,).
    """
    return mass_fractions if mass_fractions.ndim == 1 else mass_fractions[:, 0] + METALLICITY_FLOOR


def field_strength(field: FloatArray) -> FloatArray:
    """Strength (n,) of a field (n, 3)."""
    strength: FloatArray = np.linalg.norm(field, axis=1)
    return strength


def _as_stored(values: FloatArray) -> FloatArray:
    return values


_COMOVING = Dimension(length=1, a=1, a_swift=1)

POSITION = Block(COORDINATES, Unit(MPC, 1, -1), _COMOVING, (3,))
MASS = Block(MASSES, Unit(MSUN, 0, -1), Dimension(mass=1))
_VELOCITY = Block(("Velocities", "Velocity"), Unit(KM_S), Dimension(velocity=1, a=0.5), (3,))
_SMOOTHING = Block(("SmoothingLength", "SmoothingLengths", "AGS-Softening", "SubfindHsml"), Unit(MPC, 1, -1), _COMOVING)
_DENSITY = Block(("Density", "Densities"), Unit(MSUN / MPC**3, -3, 2), Dimension(length=-3, mass=1, a=-3, a_swift=-3))
_ENERGY = Block(("InternalEnergy", "InternalEnergies"), Unit(KM_S**2), Dimension(velocity=2, a_swift=-2))
_FIELD = Block(("MagneticField",), Unit(1.0), Dimension(length=-1.5, mass=0.5, velocity=1, a=-2, a_swift=-2), (3,))
_ELECTRONS = Block(("ElectronAbundance",))
_NEUTRAL = Block(("NeutralHydrogenAbundance",))
_STAR_FORMATION = Block(("StarFormationRate", "StarFormationRates"))
_METALS = Block(("GFM_Metallicity", "Metallicity", "MetalMassFractions"), shape=None)
_TEMPERATURE = Block(("Temperature", "Temperatures"))

QUANTITIES: Mapping[str, tuple[Recipe, ...]] = {
    "position": (Recipe((POSITION,), _as_stored),),
    "mass": (Recipe((MASS,), _as_stored),),
    "velocity": (Recipe((_VELOCITY,), _as_stored),),
    "smoothing length": (Recipe((_SMOOTHING,), _as_stored),),
    "density": (Recipe((_DENSITY,), _as_stored),),
    "temperature": (Recipe((_ENERGY, _ELECTRONS), temperature), Recipe((_TEMPERATURE,), _as_stored)),
    "pressure": (Recipe((_ENERGY, _DENSITY), pressure),),
    "metallicity": (Recipe((_METALS,), metallicity),),
    "neutral hydrogen mass": (Recipe((_NEUTRAL, MASS), neutral_hydrogen_mass),),
    "electron density": (
        Recipe((_DENSITY, _ELECTRONS, _STAR_FORMATION), electron_density),
        Recipe((_DENSITY, _ELECTRONS), electron_density),
    ),
    "magnetic field": (Recipe((_FIELD,), field_strength),),
}
"""By name. Position and smoothing length are comoving [Mpc/h], density comoving [h^2 Msun/Mpc^3], masses in Msun/h,
velocity peculiar [km/s], temperature in K, pressure in h^2 Msun (km/s)^2/kpc^3, metallicity a mass fraction, electron
density comoving [h^2/cm^3], magnetic field the physical strength [Gauss]."""

LOWEST: Mapping[str, float] = {
    "mass": 0.0,
    "smoothing length": 0.0,
    "density": float(np.finfo(np.float32).tiny),
    "temperature": 0.0,
    "pressure": 0.0,
    "neutral hydrogen mass": 0.0,
    "electron density": 0.0,
}
"""Smallest value that is possible, of quantities that have one."""
