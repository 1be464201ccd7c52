r"""MockSIMBA: ejection from haloes. Stochastic, anisotropic, non-local.

Each gas particle of a halo of mass M [Msun/h] becomes a star at the centre, part of a jet along the spin axis, part of
an isotropic wind, or bound gas with a core:

    f_jet = f_max / (1 + M_jet / M),    f_wind = f_w / (1 + M / 3e11),
    f_star = 2 f_s / ((M / 1e12)^-1 + (M / 1e12)^0.6),

and the dark matter relaxes outwards where its gas has gone. Gas outside haloes feels its pressure only.

References:
    Schneider & Teyssier 2015, arXiv:1510.06034 (displacing particles of a gravity-only run); Davé et al. 2019,
    arXiv:1901.10203 (jets of SIMBA).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.numerics.random import uniform
from fieldlevel.simulate.feedback import (
    DIRECTION_STREAM,
    KIND_STREAM,
    REACH_STREAM,
    Constants,
    Feedback,
    GravityRun,
    HydroParticles,
    Scaling,
    Values,
    at_most,
    chosen,
    star_share,
)
from fieldlevel.simulate.haloes import Haloes

_LARGEST_SHARE = 0.97


@dataclass(frozen=True)
class SIMBAConstants(Constants):
    """Calibrated constants; lengths in Mpc/h, masses in Msun/h."""

    bounds: ClassVar = {"jet_fraction": at_most(0.95)}

    jet_fraction: Scaling = Scaling(
        0.675, Omega_m=0.21, sigma_8=0.07, A_SN1=-0.32, A_AGN1=0.11, A_SN2=-0.89, A_AGN2=0.43
    )
    """f_max, at most 0.95."""
    jet_mass: Scaling = Scaling(
        7.67e11, Omega_m=0.26, sigma_8=-0.01, A_SN1=1.66, A_AGN1=-0.93, A_SN2=1.52, A_AGN2=-0.94
    )
    """M_jet."""
    jet_reach: Scaling = Scaling(2.52, Omega_m=-1.07, sigma_8=-0.75, A_SN1=0.14, A_AGN1=-0.05, A_SN2=-0.37, A_AGN2=0.4)
    """Median reach from a halo of 1e13 Msun/h; it grows as M^(1/3)."""
    wind_fraction: Scaling = Scaling(0.793, Omega_m=-0.87, A_SN1=0.24)
    """f_w."""
    wind_reach: Scaling = Scaling(1.61, A_SN2=-1.23)
    """Median reach."""
    star_fraction: Scaling = Scaling(0.217, Omega_m=0.83, A_SN1=0.14, A_SN2=-0.25)
    """f_s."""
    star_spread: Scaling = Scaling(0.05)
    """Distance of stars from their peak over that of the gas they formed from."""
    core: Scaling = Scaling(0.308, Omega_m=-0.47, sigma_8=0.96, A_SN1=-0.76, A_AGN1=-0.21, A_SN2=0.38, A_AGN2=0.85)
    """Core of the bound gas over 2 r_200."""
    relaxation: Scaling = Scaling(0.137, Omega_m=0.26)
    """Of the dark matter."""


def mock_simba(run: GravityRun, feedback: Feedback, constants: SIMBAConstants | None = None) -> HydroParticles:
    """Ejection from haloes by jets and winds.

    Args:
        run: the gravity run today.
        feedback: the four feedback parameters.
        constants: of the model; the calibrated ones when omitted.

    Returns:
        Dark matter, gas and stars; their total mass is that of the run.
    """
    c = (constants or SIMBAConstants()).at(run.cosmology, feedback)
    f_b, haloes = run.cosmology.baryon_fraction, run.haloes
    M = haloes.mass * (CRITICAL_DENSITY * run.cosmology.Omega_m * run.box_size_mpc_h**3 / len(run.gas))
    f_jet, f_wind, f_star = _ejected_fractions(M, c)
    members = haloes.members(run.gas)
    halo, offset = members.halo, members.offset
    draws = _Draws(members.index, len(run.gas), run.seed)

    kind = draws.uniform(KIND_STREAM)
    is_star = kind < f_star[halo]
    is_jet = ~is_star & (kind < (f_star + f_jet)[halo])
    is_wind = ~is_star & ~is_jet & (kind < (f_star + f_jet + f_wind)[halo])
    moved = _cored(offset, M[halo], c.core / run.cell_mpc_h)
    jet = _jet_direction(haloes, halo, draws) * (c.jet_reach * (M / 1e13) ** (1 / 3))[halo, None]
    wind = _unit(draws.normal()) * c.wind_reach
    reach = 2 * draws.uniform(REACH_STREAM).float()[:, None] / run.cell_mpc_h
    moved = torch.where(is_jet[:, None], offset + jet * reach, moved)
    moved = torch.where(is_wind[:, None], offset + wind * reach, moved)
    moved = torch.where(is_star[:, None], c.star_spread * offset, moved)

    gas = run.gas + run.pressure_displacement
    gas[members.index] = run.gas[members.index] + (moved - offset)
    stars = chosen(members.index[is_star], len(gas))
    dark_matter, around = run.dark_matter.clone(), haloes.members(run.dark_matter)
    relaxation = c.relaxation * ((1 - f_b * f_jet) ** -2 - 1)
    dark_matter[around.index] += relaxation[around.halo, None] * around.offset
    return run.species(dark_matter, gas, stars)


@dataclass(frozen=True)
class _Draws:
    """Random numbers of the halo members, each tied to its particle; float64, which never rounds to one."""

    index: Tensor
    n_particles: int
    seed: int

    def uniform(self, stream: int, number: int = 0) -> Tensor:
        return uniform(self.index + number * self.n_particles, self.seed, stream)

    def normal(self) -> Tensor:
        components = [torch.special.ndtri(self.uniform(DIRECTION_STREAM, axis)) for axis in range(3)]
        return torch.stack(components, dim=1).to(torch.float32)


def _ejected_fractions(M: Tensor, c: Values) -> tuple[Tensor, Tensor, Tensor]:
    """Gas fractions of jets, winds and stars in haloes of mass M [Msun/h], together at most 0.97."""
    f_jet = c.jet_fraction / (1 + c.jet_mass / M)
    f_wind = c.wind_fraction / (1 + M / 3e11)
    f_star = star_share(M, c.star_fraction)
    excess = ((f_jet + f_wind + f_star) / _LARGEST_SHARE).clamp(min=1)
    return f_jet / excess, f_wind / excess, f_star / excess


def _cored(offset: Tensor, M: Tensor, core: float) -> Tensor:
    """Bound gas: r -> (r^2 + (2 core r_200)^2)^(1/2)."""
    r_core = 2 * core * (3 * M / (4 * torch.pi * 200 * CRITICAL_DENSITY)) ** (1 / 3)
    distance = offset.norm(dim=1, keepdim=True).clamp(min=1e-3)
    return offset.mul((1 + (r_core[:, None] / distance) ** 2).sqrt())


def _jet_direction(haloes: Haloes, halo: Tensor, draws: _Draws) -> Tensor:
    """Unit vectors (m, 3) along the spin axis, either side, with a scatter of 0.6."""
    side = torch.where(draws.uniform(DIRECTION_STREAM, 3) < 0.5, -1.0, 1.0)[:, None]
    return _unit(side * haloes.spin_axis[halo] + 0.6 * draws.normal())


def _unit(vectors: Tensor) -> Tensor:
    return vectors.div(vectors.norm(dim=1, keepdim=True).clamp(min=1e-6))
