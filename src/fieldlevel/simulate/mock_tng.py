r"""MockTNG: enthalpy-gradient descent. Local, isotropic, on the mesh only.

With rho_R the total density over its mean, smoothed on a scale R,

    gas          d = -u beta grad rho_R^(gamma - 1), and its pressure on the filtering scale
    stars        gas particles drawn ~ rho^2 above a threshold, fallen to the density peak they belong to
    dark matter  d = -kappa f_b grad G inverse-laplacian (delta_b - delta_b before)

with u, the heat of a particle over the mean, drawn from a Weibull distribution: gas of one place has a range of
temperatures. The response lets dark matter expand where gas has left and contract onto stars.

References:
    Dai, Feng & Seljak 2018, arXiv:1804.00671.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from fieldlevel.numerics.mesh import (
    fourier,
    gradient_at,
    inverse_fourier,
    inverse_laplacian_kernel,
    multiply_modes,
    paint_species,
    read_cic,
    smooth_gaussian,
)
from fieldlevel.numerics.random import uniform
from fieldlevel.simulate.feedback import (
    REACH_STREAM,
    STAR_STREAM,
    Constants,
    Feedback,
    GravityRun,
    HydroParticles,
    Scaling,
    soft_cap,
)

SMALLEST_SCALE_MPC_H = 0.1
"""Gaussian smoothing of the density in any case, so that meshes finer than that give the same enthalpy."""


@dataclass(frozen=True)
class TNGConstants(Constants):
    """Calibrated constants; lengths in Mpc/h."""

    beta: Scaling = Scaling(0.00998, Omega_m=-0.96, sigma_8=1.81, A_SN1=-0.4, A_AGN1=-0.05, A_SN2=-0.36, A_AGN2=1.38)
    """Strength of the gas displacement in (Mpc/h)^2."""
    scale: Scaling = Scaling(0.0215, Omega_m=0.67, sigma_8=-1.39, A_SN1=2.14, A_AGN1=-0.03, A_SN2=-0.85, A_AGN2=-0.46)
    """Smoothing R of the density in the enthalpy, beyond the smallest scale."""
    gamma: Scaling = Scaling(1.5, A_SN2=-0.06)
    """Polytropic index."""
    heat_spread: Scaling = Scaling(2.27, Omega_m=-0.22, A_SN1=0.12, A_SN2=-0.04)
    """Inverse shape of the heat's Weibull distribution; 1 is exponential, 0 the same heat for all."""
    star_fraction: Scaling = Scaling(
        0.0049, Omega_m=0.66, sigma_8=0.97, A_SN1=-0.33, A_AGN1=-0.02, A_SN2=-1.29, A_AGN2=-0.17
    )
    """Of the baryons."""
    star_spread: Scaling = Scaling(0.0813, A_SN2=0.26)
    """Distance of stars from their peak over that of the gas they formed from."""
    kappa: Scaling = Scaling(0.000255, Omega_m=-0.77, A_SN2=2.49)
    """Response of the dark matter."""


def mock_tng(run: GravityRun, feedback: Feedback, constants: TNGConstants | None = None) -> HydroParticles:
    """Enthalpy-gradient descent.

    Args:
        run: the gravity run today.
        feedback: the four feedback parameters.
        constants: of the model; the calibrated ones when omitted.

    Returns:
        Dark matter, gas and stars; their total mass is that of the run.
    """
    c = (constants or TNGConstants()).at(run.cosmology, feedback)
    cell, gas, dark_matter, f_b = run.cell_mpc_h, run.gas, run.dark_matter, run.cosmology.baryon_fraction
    enthalpy = run.density(math.hypot(c.scale, SMALLEST_SCALE_MPC_H)).pow(c.gamma - 1)
    heat = _heat(len(gas), run.seed, c.heat_spread, gas.device) * (c.beta / cell**2)
    thermal = soft_cap(gradient_at(enthalpy, gas) * -heat, 3.0 / cell)
    baryons = gas + run.pressure_displacement + thermal

    stars = _draw_stars(read_cic(run.peak_density[None], gas)[0], c.star_fraction, run.seed)
    members = run.haloes.members(gas)
    settled = gas[members.index] - (1 - c.star_spread) * members.offset
    baryons[members.index] = torch.where(stars[members.index, None], settled, baryons[members.index])

    outwards = _response(gas, baryons, run.particles.n_mesh, 0.2 / cell, dark_matter) * (-c.kappa * f_b)
    return run.species(dark_matter + soft_cap(outwards, 0.08 / cell), baryons, stars)


def _heat(n: int, seed: int, spread: float, device: torch.device) -> Tensor:
    """Heat of each gas particle over the mean, (n, 1): a power of an exponential variable."""
    exponential = -uniform(torch.arange(n, device=device), seed, REACH_STREAM).log()
    return exponential.pow(spread).div(math.gamma(1 + spread)).float()[:, None]


def _draw_stars(density: Tensor, star_fraction: float, seed: int) -> Tensor:
    """Which particles are stars, (n,) bool: a fraction of all, drawn ~ density^2 above 300 times the mean."""
    weight = torch.where(density > 300, (density / 300) ** 2, 0)
    probability = weight * (star_fraction * len(density) / weight.sum().clamp(min=1))
    index = torch.arange(len(density), device=density.device)
    return uniform(index, seed, STAR_STREAM).lt(probability)


def _response(before: Tensor, after: Tensor, n_mesh: int, sigma: float, dark_matter: Tensor) -> Tensor:
    """Gradient at the dark matter of the smoothed potential of the displaced baryons, (n, 3) in cells."""
    change_k = fourier(paint_species([after, before], n_mesh, [1.0, -1.0])) * (n_mesh**3 / len(before))
    kernel = inverse_laplacian_kernel(n_mesh, before.device)
    return gradient_at(inverse_fourier(smooth_gaussian(multiply_modes(change_k, kernel), sigma)), dark_matter)
