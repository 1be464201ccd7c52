r"""Particle-mesh gravity with steps in the growth factor.

A step from D_0 to D_1 = D_0 + dD is drift, kick, drift:

    x += v dD/2,        v = alpha v + (1 - alpha) A(x) / D_mid,        x += v dD/2,

with v = dx/dD and A = -grad inverse-laplacian delta. The weight

    alpha = (E'_1 - f) / (E'_0 - f),    f = (E_0 + E'_0 dD/2) / D_mid - D_mid,    E' = dE/dD,

makes a step exact in second-order Lagrangian perturbation theory, so few steps suffice on large scales. The inverse of
a step is the same step with 1/alpha and the times exchanged: the integrator can be run backwards.

References:
    Rampf, List & Hahn 2024, arXiv:2409.19049 (BullFrog); Feng et al. 2016, arXiv:1603.00476 (FastPM).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fieldlevel.numerics.cosmology import Cosmology, Growth
from fieldlevel.numerics.mesh import fourier, gradient, inverse_fourier, inverse_laplacian_kernel, paint_cic, read_cic
from fieldlevel.simulate.initial import lagrangian_displacements, lattice, linear_density


@dataclass(frozen=True)
class Particles:
    """Equal-mass particles of one simulation, in the order of their lattice.

    Attributes:
        position: (n, 3) in cells of the force mesh, not wrapped.
        velocity: (n, 3) dx/dD in cells of the force mesh.
        n_mesh: cells a side of the force mesh.
    """

    position: Tensor
    velocity: Tensor
    n_mesh: int


@dataclass(frozen=True)
class Step:
    """Growth factors and kick weight of one step."""

    D_0: float
    D_1: float
    alpha: float

    def reversed(self) -> "Step":
        """The step that undoes this one."""
        return Step(D_0=self.D_1, D_1=self.D_0, alpha=1 / self.alpha)


def time_steps(Omega_m: float, a_start: float, n_steps: int) -> Iterator[Step]:
    """Steps from `a_start` to today, uniform in the expansion factor.

    Args:
        Omega_m: matter density today over critical.
        a_start: expansion factor of the initial conditions.
        n_steps: number of steps.

    Yields:
        Each step in turn.
    """
    growth = Growth(Omega_m)
    edges = np.linspace(a_start, 1.0, n_steps + 1)
    D, E, slope = growth.D(edges), growth.E(edges), growth.dE_dD(edges)
    for i in range(n_steps):
        half = (D[i + 1] - D[i]) / 2
        middle = D[i] + half
        f = (E[i] + slope[i] * half) / middle - middle
        yield Step(float(D[i]), float(D[i + 1]), float((slope[i + 1] - f) / (slope[i] - f)))


def initial_particles(
    cosmology: Cosmology,
    seed: int,
    *,
    n_particles: int,
    n_mesh: int,
    a_start: float,
    box_size_mpc_h: float,
    device: torch.device,
) -> Particles:
    """Particles at `a_start` from second-order Lagrangian perturbation theory.

    Args:
        cosmology: Omega_m and sigma_8.
        seed: the simulation's seed.
        n_particles: particles a side.
        n_mesh: cells a side of the force mesh.
        a_start: expansion factor of the start.
        box_size_mpc_h: side of the periodic box in Mpc/h.
        device: where the particles live.

    Returns:
        The particles with their velocities.
    """
    growth = Growth(cosmology.Omega_m)
    density_k = linear_density(cosmology, seed, n_particles, box_size_mpc_h, device)
    psi1, psi2 = lagrangian_displacements(density_k)
    position = lattice(n_particles, device) + float(growth.D(a_start)) * psi1 + float(growth.E(a_start)) * psi2
    velocity = psi1 + float(growth.dE_dD(a_start)) * psi2
    scale = n_mesh / n_particles
    return Particles(position * scale, velocity * scale, n_mesh)


def force_kernel(n_mesh: int, n_particles: int, device: torch.device) -> Tensor:
    """Inverse Laplacian for the force, divided once by the cloud-in-cell window on meshes less than twice as fine.

    Particles near their lattice leave sidebands around its first harmonic, which is the Nyquist frequency of a mesh
    twice as fine. Dividing by the window there makes linear modes grow too fast, by 20 per cent at a quarter of the
    particles' Nyquist frequency between a = 0.1 and today. A mesh 1.5 times as fine divided by the window, or twice as
    fine and not divided, keeps linear growth up to there to 1 and 3 per cent.

    Args:
        n_mesh: cells a side of the mesh.
        n_particles: particles a side.
        device: where the kernel lives.

    Returns:
        (n_mesh, n_mesh, n_mesh // 2 + 1).
    """
    return inverse_laplacian_kernel(n_mesh, device, deconvolve=n_mesh < 2 * n_particles)


def acceleration(position: Tensor, n_mesh: int, kernel: Tensor) -> Tensor:
    """-grad inverse-laplacian delta at the particles.

    Args:
        position: (n, 3) in cells.
        n_mesh: cells a side of the mesh.
        kernel: inverse Laplacian in Fourier space, see `force_kernel`.

    Returns:
        (n, 3) in cells; its sum over the particles vanishes to round-off.
    """
    density_k = fourier(paint_cic(position, n_mesh))
    potential = inverse_fourier(kernel * density_k)
    return read_cic(gradient(potential), position).T.mul(-(n_mesh**3) / len(position))


def advance(particles: Particles, step: Step, kernel: Tensor) -> Particles:
    """One drift-kick-drift step."""
    half = (step.D_1 - step.D_0) / 2
    middle = particles.position + half * particles.velocity
    kick = acceleration(middle, particles.n_mesh, kernel).mul_((1 - step.alpha) / (step.D_0 + half))
    velocity = kick.add_(particles.velocity, alpha=step.alpha)
    return replace(particles, position=middle.add_(velocity, alpha=half), velocity=velocity)


def evolve(particles: Particles, Omega_m: float, a_start: float, n_steps: int) -> Particles:
    """Particles today.

    Args:
        particles: the initial conditions at `a_start`.
        Omega_m: matter density today over critical.
        a_start: expansion factor of the initial conditions.
        n_steps: number of steps, uniform in the expansion factor.

    Returns:
        The particles at a = 1.
    """
    n_particles = round(len(particles.position) ** (1 / 3))
    kernel = force_kernel(particles.n_mesh, n_particles, particles.position.device)
    for step in time_steps(Omega_m, a_start, n_steps):
        particles = advance(particles, step, kernel)
    return particles
