r"""MockEAGLE: rare hot bubbles. Stochastic, isotropic, one thermal mode.

Energy is not given to gas evenly but saved up for rare events that heat it by a large Delta T = A_AGN2. A gas particle
of a halo of mass M [Msun/h] starts one with a probability ~ 1 / Delta T, so that the halo has

    n = (n_e / A_AGN2) (M / 1e13) / (1 + (M_seed / M)^2)

of them on average, near its centre; each blows a bubble of radius R_b (M / 1e13)^(1/5) e^(1/5), with e exponential,
that lifts a share l / (1 + l) of the gas in it: a hot bubble loses little to radiation, grows large and lifts much, a
cool one does not. Stars blow bubbles of their own around the
centres of haloes, of radius R_w r_200 / (1 + M / 1e12)^(1/3), and dark matter answers to what has moved (`shells`).
Strong stellar feedback starves the black holes: their
bubbles are smaller and lift less.

References:
    Dalla Vecchia & Schaye 2012, arXiv:1203.5667 (stochastic thermal feedback: probability and losses by Delta T);
    Schaye et al. 2015, arXiv:1407.7040 (EAGLE).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fieldlevel.numerics.random import uniform
from fieldlevel.simulate.bubbles import Bubbles, blown_out
from fieldlevel.simulate.feedback import (
    DIRECTION_STREAM,
    REACH_STREAM,
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
    star_share,
)
from fieldlevel.simulate.haloes import Members
from fieldlevel.simulate.shells import answered, halo_masses, r_200

EVENT_STREAM, ENERGY_STREAM = 11, 12
_LARGEST_SHARE = 0.97
_LARGEST_NUMBER = 8192
_LONGEST_MPC_H = 3.0
_SITE = 0.3
"""Distance of events from the centre of their halo over that of the gas particle that starts them."""


@dataclass(frozen=True)
class EAGLEConstants(Constants):
    """Calibrated constants; lengths in Mpc/h, masses in Msun/h."""

    bounds: ClassVar = {"lift": saturated, "wind": at_most(10.0)}

    events: Scaling = Scaling(20, Omega_m=-1.84, sigma_8=-0.8, A_SN1=0.25, A_AGN1=0.31, A_SN2=-0.17, A_AGN2=-1)
    """n_e / Delta T, events in a halo of 1e13 Msun/h; at most some 8,000 in the box."""
    seed_mass: Scaling = Scaling(3.66e11, Omega_m=0.84, A_SN1=0.24, A_AGN1=0.05, A_SN2=0.02)
    """M_seed of haloes below which black holes hardly grow."""
    bubble: Scaling = Scaling(0.929, Omega_m=-0.76, sigma_8=0.53, A_SN1=-0.4, A_AGN1=0.1, A_SN2=0.28, A_AGN2=0.29)
    """R_b, at most 3."""
    lift: Scaling = Scaling(0.291, Omega_m=-0.64, sigma_8=-0.37, A_SN1=-0.31, A_AGN1=0.2, A_SN2=0.53, A_AGN2=0.65)
    """l."""
    wind: Scaling = Scaling(0.455, Omega_m=0.19, A_SN1=0.41, A_SN2=-0.04)
    """R_w over r_200, at most 10."""
    star_fraction: Scaling = Scaling(0.0203, Omega_m=-0.52, A_SN1=-0.16, A_SN2=0.26)
    """Of the gas of a halo of 1e12 Msun/h."""
    star_spread: Scaling = Scaling(0.05)
    """Distance of stars from their peak over that of the gas they formed from."""
    answer: Scaling = Scaling(1.88, Omega_m=-0.35)
    """nu of `shells`, of the dark matter."""


def mock_eagle(run: GravityRun, feedback: Feedback, constants: EAGLEConstants | None = None) -> HydroParticles:
    """Bubbles of hot gas around rare events, small ones around the centres of haloes.

    Args:
        run: the gravity run today.
        feedback: the four feedback parameters.
        constants: of the model; the calibrated ones when omitted.

    Returns:
        Dark matter, gas and stars; their total mass is that of the run.
    """
    c = (constants or EAGLEConstants()).at(run.cosmology, feedback)
    f_b, haloes = run.cosmology.baryon_fraction, run.haloes
    members, around = haloes.members(run.gas), haloes.members(run.dark_matter)
    M = halo_masses(run, members, around)

    f_star = star_share(M, c.star_fraction).clamp(max=_LARGEST_SHARE)
    is_star = uniform(members.index, run.seed, STAR_STREAM) < f_star[members.halo]
    wind = (r_200(M) * (c.wind / run.cell_mpc_h) / (1 + M / 1e12) ** (1 / 3))[members.halo]
    windy = blown_out(members.offset, wind, uniform(members.index, run.seed, DIRECTION_STREAM))

    gas = run.gas + run.pressure_displacement
    gas[members.index] = run.gas[members.index] + (windy - members.offset)
    gas = _bubbles(run, members, M, c).blown(gas, _mixing(len(gas), c.lift, run.seed, gas.device))
    settled = run.gas[members.index] - (1 - c.star_spread) * members.offset
    gas[members.index] = torch.where(is_star[:, None], settled, gas[members.index])

    stars = chosen(members.index[is_star], len(gas))
    dark_matter, after = run.dark_matter.clone(), (gas - run.gas)[members.index].add_(members.offset).norm(dim=1)
    dark_matter[around.index] += answered(around, members, after, haloes=haloes, baryon_fraction=f_b, nu=c.answer)
    return run.species(dark_matter, gas, stars)


def _mixing(n: int, lifted: float, seed: int, device: torch.device) -> Tensor:
    """How far each gas particle is lifted, (n,): uniform in (0, 1) for the share of them that is, 0 for the others."""
    u = uniform(torch.arange(n, device=device), seed, REACH_STREAM)
    return torch.where(u < lifted, u / lifted, 0.0)


def draw_events(run: GravityRun, members: Members, M: Tensor, events: float, seed_mass: float) -> Tensor:
    """Which gas particles of haloes start a bubble.

    Args:
        run: the gravity run today.
        members: its gas in haloes.
        M: (n_haloes,) masses of the haloes in Msun/h.
        events: expected in a halo of 1e13 Msun/h far above the seed mass.
        seed_mass: in Msun/h.

    Returns:
        (e,) int64, numbers of `members`, ascending; some 8,000 at most, all haloes having proportionally fewer then.
    """
    expected = events * (M / 1e13) / (1 + (seed_mass / M) ** 2)
    expected = expected * (_LARGEST_NUMBER / expected.sum().clamp(min=_LARGEST_NUMBER))
    probability = expected / torch.bincount(members.halo, minlength=len(M)).clamp(min=1)
    return (uniform(members.index, run.seed, EVENT_STREAM) < probability[members.halo]).nonzero()[:, 0]


def _bubbles(run: GravityRun, members: Members, M: Tensor, c: Values) -> Bubbles:
    """Around the gas particles that start one."""
    event = draw_events(run, members, M, c.events, c.seed_mass)
    energy = -uniform(members.index[event], run.seed, ENERGY_STREAM).log()
    radius = c.bubble * ((M / 1e13)[members.halo[event]] * energy) ** 0.2
    centre = run.gas[members.index[event]] - (1 - _SITE) * members.offset[event]
    return Bubbles(centre, radius.clamp(1e-6, _LONGEST_MPC_H).to(M.dtype) / run.cell_mpc_h, run.particles.n_mesh)
