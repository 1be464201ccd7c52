r"""Two baryon models with different mechanisms, each painted on the particles of a gravity-only run.

Every particle splits into dark matter, 1 - f_b of its mass, and a baryon, f_b = Omega_b / Omega_m, that is gas or star.

MockTNG: enthalpy-gradient descent (local, isotropic, mesh only). With rho_R the density over its mean, smoothed on a
scale R,

    gas        d = -beta grad rho_R^(gamma - 1)
    stars      drawn with probability ~ rho^2 above a threshold, d = eta grad ln rho
    dark matter  d = -kappa f_b grad G inverse-laplacian (delta_b - delta)

MockSIMBA: ejection from haloes (stochastic, anisotropic, non-local). Each baryon of a halo of mass M becomes a star
near the centre, part of a jet along the spin axis, part of an isotropic wind, or bound gas with a core,

    f_jet = f_max / (1 + M_jet/M),   f_wind = f_w / (1 + M/3e11),   f_star = 2 f_s / ((M/1e12)^-1 + (M/1e12)^0.6),

and the dark matter relaxes outwards where its gas has gone. Masses in Msun/h, lengths in Mpc/h.

Both are stand-ins: their constants follow the suppression of the power spectrum in CAMELS, their mechanisms do not.

References:
    Dai, Feng & Seljak 2018, arXiv:1804.00671 (enthalpy-gradient descent); Schneider & Teyssier 2015, arXiv:1510.06034
    (displacing particles of a gravity-only run); Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (feedback parameters
    of CAMELS).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.mesh import (
    fourier,
    gradient,
    inverse_fourier,
    inverse_laplacian_kernel,
    paint_cic,
    read_cic,
    smooth_gaussian,
)
from fieldlevel.numerics.random import uniform
from fieldlevel.parameters import CRITICAL_DENSITY
from fieldlevel.simulate.haloes import Haloes, find_haloes
from fieldlevel.simulate.nbody import Particles

_KIND_STREAM, _REACH_STREAM, _DIRECTION_STREAM = 8, 9, 10


@dataclass(frozen=True)
class Feedback:
    """The four feedback parameters of a CAMELS simulation, each one at the fiducial point."""

    A_SN1: float = 1.0
    A_AGN1: float = 1.0
    A_SN2: float = 1.0
    A_AGN2: float = 1.0


@dataclass(frozen=True)
class Species:
    """Particles of one kind.

    Attributes:
        position: (n, 3) in cells of the force mesh, not wrapped.
        mass: of each particle, in units of the gravity-only particle's mass.
    """

    position: Tensor
    mass: float


HydroParticles = Mapping[str, Species]
"""`"Mcdm"`, `"Mgas"` and `"Mstar"`: named after the CMD field that each of them makes."""


def mock_tng(
    particles: Particles, cosmology: Cosmology, feedback: Feedback, seed: int, box_size_mpc_h: float
) -> HydroParticles:
    """Enthalpy-gradient descent.

    Args:
        particles: the gravity-only simulation today.
        cosmology: its Omega_m and sigma_8.
        feedback: the four feedback parameters.
        seed: of the star draw.
        box_size_mpc_h: side of the periodic box.

    Returns:
        Dark matter, gas and stars; their total mass is that of the input.
    """
    A, cell, n_mesh = feedback, box_size_mpc_h / particles.n_mesh, particles.n_mesh
    beta = 0.03 * A.A_AGN2**0.9 * A.A_AGN1**0.05 * A.A_SN1**-0.8 * A.A_SN2**-0.2
    scale = 0.4 * A.A_SN2**-0.3
    star_fraction = 0.04 * (cosmology.Omega_m / 0.3) ** 1.2 * A.A_SN1**-0.35 * A.A_SN2**-0.9
    x, f_b = particles.position, cosmology.baryon_fraction

    density_k = fourier(paint_cic(x, n_mesh)) * (n_mesh**3 / len(x))
    enthalpy = _smoothed(density_k, scale / cell).sqrt()
    gas = x + _soft_cap(_gradient_at(enthalpy, x) * (-beta / cell**2), 3.0 / cell)

    density = _smoothed(density_k, 0.08 / cell).clamp(min=1e-2)
    stars = _draw_stars(read_cic(density[None], x)[0], star_fraction, seed)
    inwards = _soft_cap(_gradient_at(density.log(), x[stars]) * (0.1 / cell**2), 0.15 / cell)
    baryons = gas.masked_scatter(stars[:, None].expand_as(x), x[stars] + inwards)

    outwards = _gradient_at(_displaced_potential(baryons, density_k, 0.2 / cell), x) * (-0.003 * f_b)
    dark_matter = x + _soft_cap(outwards, 0.08 / cell)
    return {
        "Mcdm": Species(dark_matter, 1 - f_b),
        "Mgas": Species(gas[~stars], f_b),
        "Mstar": Species(baryons[stars], f_b),
    }


def _smoothed(density_k: Tensor, sigma: float) -> Tensor:
    return inverse_fourier(smooth_gaussian(density_k, sigma)).clamp_(min=0)


def _gradient_at(field: Tensor, positions: Tensor) -> Tensor:
    return read_cic(gradient(field), positions).T


def _soft_cap(displacement: Tensor, cap: float) -> Tensor:
    """Shorten vectors (n, 3) so that none is longer than `cap`."""
    stretch = (1 + displacement.square().sum(1, keepdim=True) / cap**2).sqrt()
    return displacement.div(stretch)


def _draw_stars(density: Tensor, star_fraction: float, seed: int) -> Tensor:
    """Which particles are stars, (n,) bool: a fraction of all, drawn ~ density^2 above 300 times the mean."""
    weight = torch.where(density > 300, (density / 300) ** 2, 0)
    probability = weight * (star_fraction * len(density) / weight.sum().clamp(min=1))
    index = torch.arange(len(density), device=density.device)
    return uniform(index, seed, _KIND_STREAM).lt(probability)


def _displaced_potential(baryons: Tensor, density_k: Tensor, sigma: float) -> Tensor:
    """Smoothed inverse Laplacian of delta_b - delta: what the dark matter feels of the displaced baryons."""
    n_mesh = density_k.shape[0]
    baryon_k = fourier(paint_cic(baryons, n_mesh)) * (n_mesh**3 / len(baryons))
    kernel = inverse_laplacian_kernel(n_mesh, density_k.device)
    return inverse_fourier(smooth_gaussian((baryon_k - density_k) * kernel, sigma))


def mock_simba(
    particles: Particles, cosmology: Cosmology, feedback: Feedback, seed: int, box_size_mpc_h: float
) -> HydroParticles:
    """Ejection from haloes by jets and winds.

    Args:
        particles: the gravity-only simulation today.
        cosmology: its Omega_m and sigma_8.
        feedback: the four feedback parameters.
        seed: of the draws of kind, reach and direction.
        box_size_mpc_h: side of the periodic box.

    Returns:
        Dark matter, gas and stars; their total mass is that of the input.
    """
    x, f_b, cell = particles.position, cosmology.baryon_fraction, box_size_mpc_h / particles.n_mesh
    haloes = find_haloes(particles, 0.08 / cell, threshold=80.0)
    M = haloes.n_particles * (CRITICAL_DENSITY * cosmology.Omega_m * box_size_mpc_h**3 / len(x))
    f_jet, f_wind, f_star = _ejected_fractions(M, feedback)
    member, halo, offset = haloes.member, haloes.halo, haloes.offset
    draws = _Draws(member.nonzero()[:, 0], len(x), seed)

    kind = draws.uniform(_KIND_STREAM)
    is_star = kind < f_star[halo]
    is_jet = ~is_star & (kind < (f_star + f_jet)[halo])
    is_wind = ~is_star & ~is_jet & (kind < (f_star + f_jet + f_wind)[halo])
    moved = _cored(offset, M[halo], feedback, cell)
    moved = torch.where(is_jet[:, None], offset + _jet(haloes, M, feedback, draws) / cell, moved)
    moved = torch.where(is_wind[:, None], offset + _wind(feedback, draws) / cell, moved)
    moved = torch.where(is_star[:, None], 0.05 * offset, moved)

    relaxation = 1 + 0.08 * ((1 - f_b * f_jet) ** -2 - 1)
    baryons, dark_matter = x.clone(), x.clone()
    baryons[member] += moved - offset
    dark_matter[member] += (relaxation[halo, None] - 1) * offset
    stars = member.masked_scatter(member, is_star)
    return {
        "Mcdm": Species(dark_matter, 1 - f_b),
        "Mgas": Species(baryons[~stars], f_b),
        "Mstar": Species(baryons[stars], f_b),
    }


@dataclass(frozen=True)
class _Draws:
    """Random numbers of the halo members, each tied to its particle; float64, which never rounds to one."""

    index: Tensor
    n_particles: int
    seed: int

    def uniform(self, stream: int, number: int = 0) -> Tensor:
        return uniform(self.index + number * self.n_particles, self.seed, stream)

    def normal(self) -> Tensor:
        components = [torch.special.ndtri(self.uniform(_DIRECTION_STREAM, axis)) for axis in range(3)]
        return torch.stack(components, dim=1).to(torch.float32)


def _cored(offset: Tensor, M: Tensor, A: Feedback, cell: float) -> Tensor:
    """Bound gas: r -> (r^2 + r_core^2)^(1/2), in cells."""
    r_200 = (3 * M / (4 * torch.pi * 200 * CRITICAL_DENSITY)) ** (1 / 3) / cell
    core = 2 * 0.3 * A.A_SN1**-0.3 * A.A_AGN1**0.15 * A.A_AGN2**0.4 * r_200[:, None]
    distance = offset.norm(dim=1, keepdim=True).clamp(min=1e-3)
    return offset.mul((1 + (core / distance) ** 2).sqrt())


def _jet(haloes: Haloes, M: Tensor, A: Feedback, draws: _Draws) -> Tensor:
    """Displacement [Mpc/h] of the members in jets along the spin axis, either side."""
    reach = 2.2 * A.A_AGN2**0.8 * A.A_SN1**-0.2 * A.A_SN2**-0.2 * (M / 1e13) ** (1 / 3)
    side = torch.where(draws.uniform(_DIRECTION_STREAM, 3) < 0.5, -1.0, 1.0)[:, None]
    direction = _unit(side * haloes.spin_axis[haloes.halo] + 0.6 * draws.normal())
    return direction.mul(2 * draws.uniform(_REACH_STREAM).float()[:, None] * reach[haloes.halo, None])


def _wind(A: Feedback, draws: _Draws) -> Tensor:
    """Displacement [Mpc/h] of the members in isotropic winds."""
    return _unit(draws.normal()).mul(2 * draws.uniform(_REACH_STREAM).float()[:, None] * 0.5 * A.A_SN2**0.5)


def _ejected_fractions(M: Tensor, A: Feedback) -> tuple[Tensor, Tensor, Tensor]:
    """Baryon fractions of jets, winds and stars in haloes of mass M [Msun/h], together at most 0.97."""
    M_jet = 1.5e12 * A.A_SN1 * A.A_SN2**0.6 * A.A_AGN1**-0.25 * A.A_AGN2**-0.4
    f_max = min(0.88 * A.A_SN1**-0.25 * A.A_SN2**-0.1 * A.A_AGN1**0.04 * A.A_AGN2**0.15, 0.95)
    f_jet = f_max / (1 + M_jet / M)
    f_wind = 0.5 * A.A_SN1**0.2 / (1 + M / 3e11)
    f_star = 2 * 0.12 * A.A_SN1**-0.3 * A.A_SN2**-0.1 / ((M / 1e12) ** -1 + (M / 1e12) ** 0.6)
    excess = ((f_jet + f_wind + f_star) / 0.97).clamp(min=1)
    return f_jet / excess, f_wind / excess, f_star / excess


def _unit(vectors: Tensor) -> Tensor:
    return vectors.div(vectors.norm(dim=1, keepdim=True).clamp(min=1e-6))


BARYON_MODELS: Mapping[str, Callable[[Particles, Cosmology, Feedback, int, float], HydroParticles]] = {
    "MockTNG": mock_tng,
    "MockSIMBA": mock_simba,
}
