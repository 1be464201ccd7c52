r"""MockAstrid: haloes breathe. Spherical, local, the gas of a halo in thermal equilibrium.

The gas of a halo of mass M [Msun/h] is seen as nested shells with the fraction m of it inside. A share h of heat takes
a shell from the radius r that gravity gave it to that of an atmosphere with a core, of radius R, and cooling takes it
back inwards,

    r' = r^(1 - h) (R x(m))^h (1 - c (1 - m)),        x(m) = m^(1/3) / (1 - m^(2/3))^p,
    h = s(h_0) / (1 + M_heat / M),    R = R_t r_200 (M / 1e13)^-a,    c = s(c_0) / (1 + M / M_heat),

with s(x) = x / (1 + x); p = 1/2 makes a Plummer sphere, more of it an atmosphere that reaches farther out. Stars form
in the innermost shells, and dark matter answers to what has moved (`shells`): it contracts onto the stars and gas that
have sunk and expands where gas has left. Thermal feedback of black holes stops their own growth: the more of it, the
less is there of the heat that lifts the gas of massive haloes, and the more sinks.

References:
    Bird et al. 2022, arXiv:2111.01160 (Astrid); Ni et al. 2023, arXiv:2304.02096 (Astrid in CAMELS, and why its
    feedback parameters act on each other).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fieldlevel.numerics.random import uniform
from fieldlevel.simulate.feedback import (
    STAR_STREAM,
    Constants,
    Feedback,
    GravityRun,
    HydroParticles,
    Scaling,
    Values,
    at_most,
    chosen,
    saturated,
    soft_cap,
    star_share,
)
from fieldlevel.simulate.shells import Shells, answered, halo_masses, r_200

_LARGEST_SHARE = 0.97
_LONGEST_MPC_H = 3.0


@dataclass(frozen=True)
class AstridConstants(Constants):
    """Calibrated constants; lengths in Mpc/h, masses in Msun/h."""

    bounds: ClassVar = {"heat": saturated, "cooling": saturated, "atmosphere": at_most(20.0), "tail": at_most(2.0)}

    heat: Scaling = Scaling(1.16, Omega_m=-0.5, sigma_8=-0.76, A_SN1=0.49, A_AGN1=0.62, A_SN2=-2.7, A_AGN2=-0.21)
    """h_0."""
    heat_mass: Scaling = Scaling(3.78e11, Omega_m=-0.48, sigma_8=-0.1, A_SN1=0.08, A_AGN1=-0.53, A_SN2=0.45, A_AGN2=0.7)
    """M_heat."""
    atmosphere: Scaling = Scaling(
        1.11, Omega_m=-0.55, sigma_8=2.1, A_SN1=-0.87, A_AGN1=-0.16, A_SN2=-2.18, A_AGN2=-0.81
    )
    """R_t, radius of the atmosphere of a halo of 1e13 Msun/h over its r_200, at most 20."""
    mass_slope: Scaling = Scaling(0.164)
    """a: heavier haloes hold their gas."""
    tail: Scaling = Scaling(0.928)
    """p, at most 2."""
    cooling: Scaling = Scaling(0.528, Omega_m=-0.44, A_SN1=-0.1, A_SN2=-0.27, A_AGN2=0.24)
    """c_0."""
    star_fraction: Scaling = Scaling(
        0.0226, Omega_m=0.08, sigma_8=-0.1, A_SN1=0.3, A_AGN1=-0.3, A_SN2=0.08, A_AGN2=-0.38
    )
    """Of the gas of a halo of 1e12 Msun/h."""
    star_spread: Scaling = Scaling(0.05)
    """Distance of stars from their peak over that of the gas they formed from."""
    answer: Scaling = Scaling(0.109, Omega_m=1.09)
    """nu of `shells`, of the dark matter."""


def mock_astrid(run: GravityRun, feedback: Feedback, constants: AstridConstants | None = None) -> HydroParticles:
    """Heating, cooling and contraction of the shells of haloes.

    Args:
        run: the gravity run today.
        feedback: the four feedback parameters.
        constants: of the model; the calibrated ones when omitted.

    Returns:
        Dark matter, gas and stars; their total mass is that of the run.
    """
    c = (constants or AstridConstants()).at(run.cosmology, feedback)
    f_b, haloes = run.cosmology.baryon_fraction, run.haloes
    members, around = haloes.members(run.gas), haloes.members(run.dark_matter)
    M, halo = halo_masses(run, members, around), members.halo
    radius = members.offset.norm(dim=1).clamp(min=1e-3)
    shells = Shells.of(halo, radius, len(M))
    enclosed = ((shells.enclosed(halo, radius) - 0.5) / shells.number[halo]).to(radius.dtype)

    is_star = _draw_stars(enclosed, star_share(M, c.star_fraction)[halo], members.index, run.seed)
    moved = _equilibrium(radius, enclosed, M[halo], c, run.cell_mpc_h)
    moved = torch.where(is_star, c.star_spread * radius, moved)
    shift = members.offset * (moved / radius - 1)[:, None]
    shift = torch.where(is_star[:, None], shift, soft_cap(shift, _LONGEST_MPC_H / run.cell_mpc_h))

    gas = run.gas + run.pressure_displacement
    gas[members.index] = run.gas[members.index] + shift
    stars = chosen(members.index[is_star], len(gas))
    dark_matter, after = run.dark_matter.clone(), (members.offset + shift).norm(dim=1)
    dark_matter[around.index] += answered(around, members, after, haloes=haloes, baryon_fraction=f_b, nu=c.answer)
    return run.species(dark_matter, gas, stars)


def _equilibrium(radius: Tensor, enclosed: Tensor, M: Tensor, c: Values, cell_mpc_h: float) -> Tensor:
    """Radius of each shell, (m,) in cells, between that of gravity and that of its halo's atmosphere."""
    heat = c.heat / (1 + c.heat_mass / M)
    cooling = c.cooling / (1 + M / c.heat_mass)
    atmosphere = r_200(M) * (c.atmosphere / cell_mpc_h) * (M / 1e13) ** -c.mass_slope
    third = enclosed ** (1 / 3)
    hot = atmosphere * third / (1 - third**2).clamp(min=1e-6) ** c.tail
    return radius ** (1 - heat) * hot.clamp(min=1e-3) ** heat * (1 - cooling * (1 - enclosed))


def _draw_stars(enclosed: Tensor, fraction: Tensor, index: Tensor, seed: int) -> Tensor:
    """Which shells form stars, (m,) bool: as (1 - m)^3, the innermost most."""
    probability = (4 * fraction * (1 - enclosed) ** 3).clamp(max=_LARGEST_SHARE)
    return uniform(index, seed, STAR_STREAM) < probability
