r"""Haloes as nested spherical shells: the mass within each radius, and the dark matter's answer when it changes.

Where the baryons of a halo have moved, dark matter at r goes to

    r (M / M')^nu,

with M and M' the total mass within r before and after: nu = 1 keeps r M(r), the adiabatic invariant of circular orbits;
0 is no answer, and sudden losses do more than slow ones, nu > 1.

Enclosed masses are counts of particles, so they do not depend on the order in which anything is summed.

References:
    Blumenthal et al. 1986, ApJ 301, 27 (adiabatic contraction); Schneider & Teyssier 2015, arXiv:1510.06034 (for gas
    that has left).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.simulate.feedback import GravityRun
from fieldlevel.simulate.haloes import Haloes, Members

_SOFTENING = 10.0
"""Mass in units of the mean mass per lattice point that keeps the answer of the innermost particles finite."""
_LARGEST_FACTOR = 2.0


@dataclass(frozen=True)
class Shells:
    """Particles of haloes in the order of halo and radius.

    Attributes:
        key: (m,) int64, ascending: the halo in the upper 32 bits, the radius in the lower.
        number: (n_haloes,) int64, particles of each halo.
    """

    key: Tensor
    number: Tensor

    @classmethod
    def of(cls, halo: Tensor, radius: Tensor, n_haloes: int) -> "Shells":
        """The shells of particles at `radius`, (m,), from the centres of their haloes."""
        return cls(_key(halo, radius).sort().values, torch.bincount(halo, minlength=n_haloes))

    def enclosed(self, halo: Tensor, radius: Tensor) -> Tensor:
        """Number of particles of the halo within the radius, that on it among them, for each of (p,); int64."""
        before = self.number.cumsum(0) - self.number
        return torch.searchsorted(self.key, _key(halo, radius), right=True) - before[halo]


def _key(halo: Tensor, radius: Tensor) -> Tensor:
    """Positive floats are in the order of their bits."""
    return (halo.to(torch.int64) << 32) | radius.float().contiguous().view(torch.int32).to(torch.int64)


def halo_masses(run: GravityRun, gas: Members, dark_matter: Members) -> Tensor:
    """Masses of the haloes of a run in Msun/h, (n_haloes,), from the numbers of their particles."""
    n_haloes = len(run.haloes.centre)
    counts = [torch.bincount(kind.halo, minlength=n_haloes) for kind in (dark_matter, gas)]
    mean = CRITICAL_DENSITY * run.cosmology.Omega_m * run.box_size_mpc_h**3 / len(run.gas)
    f_b = run.cosmology.baryon_fraction
    return (counts[0] * ((1 - f_b) * mean) + counts[1] * (f_b * mean)).to(run.gas.dtype)


def r_200(M: Tensor) -> Tensor:
    """Radius in Mpc/h within which the mean density is 200 times critical, for masses in Msun/h."""
    return (3 * M / (4 * torch.pi * 200 * CRITICAL_DENSITY)) ** (1 / 3)


def answered(
    dark_matter: Members, gas: Members, after: Tensor, *, haloes: Haloes, baryon_fraction: float, nu: float
) -> Tensor:
    """Displacement of the dark matter of haloes, (m, 3) in cells.

    Args:
        dark_matter: those that move.
        gas: before anything moved it.
        after: (m,) distance of each of `gas` from its halo's centre afterwards, stars included.
        haloes: of the run.
        baryon_fraction: mass of a gas particle in units of the mean mass per lattice point.
        nu: strength of the answer.

    Returns:
        What to add to the positions of `dark_matter`.
    """
    n_haloes, f_b = len(haloes.centre), baryon_fraction
    halo, radius = dark_matter.halo, dark_matter.offset.norm(dim=1)

    def enclosed(whose: Tensor, radii: Tensor) -> Tensor:
        return Shells.of(whose, radii, n_haloes).enclosed(halo, radius)

    own = (1 - f_b) * enclosed(halo, radius) + _SOFTENING
    before = own + f_b * enclosed(gas.halo, gas.offset.norm(dim=1))
    factor = (before / (own + f_b * enclosed(gas.halo, after))).pow(nu)
    stretch = factor.clamp(1 / _LARGEST_FACTOR, _LARGEST_FACTOR) - 1
    return dark_matter.offset * stretch.to(radius.dtype)[:, None]
