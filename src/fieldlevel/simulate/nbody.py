r"""Particle-mesh gravity with steps in the growth factor.

A step from D_0 to D_1 = D_0 + dD is drift, kick, drift:

    x += v dD/2,        v = alpha v + (1 - alpha) A(x) / D_mid,        x += v dD/2,

with v = dx/dD and A = -grad inverse-laplacian delta. The weight

    alpha = (E'_1 - f) / (E'_0 - f),    f = (E_0 + E'_0 dD/2) / D_mid - D_mid,    E' = dE/dD,

makes a step exact in second-order Lagrangian perturbation theory, so few steps suffice on large scales. The inverse of
a step is the same step with 1/alpha and the times exchanged: the integrator can be run backwards.

While haloes are small a coarser force mesh does (`COARSE_UNTIL`).

References:
    Rampf, List & Hahn 2024, arXiv:2409.19049 (BullFrog); Feng et al. 2016, arXiv:1603.00476 (FastPM).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.numerics.cosmology import Cosmology, Growth
from fieldlevel.numerics.mesh import (
    fourier,
    gradient_at,
    inverse_fourier,
    inverse_laplacian_kernel,
    multiply_modes,
    paint_species,
    push_particles,
)
from fieldlevel.simulate.initial import lagrangian_displacements, lagrangian_potentials, lattice, linear_density

COARSE_UNTIL = 0.7
"""Expansion factor up to which a mesh 1.5 times as fine as the lattice takes the place of one twice as fine or finer:
P(k) of 256^3 particles today changes by less than 1% up to 10 h/Mpc and less than 2% up to 20."""


@dataclass(frozen=True)
class Particles:
    """Particles of one simulation: one lattice, or one of dark matter and then one of gas.

    Attributes:
        position: (kinds * n^3, 3) in cells of the force mesh, not wrapped; each kind in the order of its lattice.
        velocity: the same shape, dx/dD in cells of the force mesh.
        mass: of a particle of each kind; the sum over the kinds is one.
        n_mesh: cells a side of the force mesh.
    """

    position: Tensor
    velocity: Tensor
    mass: tuple[float, ...]
    n_mesh: int

    @property
    def kinds(self) -> tuple[Tensor, ...]:
        """Positions of each kind, (n^3, 3)."""
        return self.position.chunk(len(self.mass))

    @property
    def n_particles(self) -> int:
        """Particles a side of each kind."""
        side: float = len(self.kinds[0]) ** (1 / 3)
        return round(side)

    def on_mesh(self, n_mesh: int) -> "Particles":
        """The same particles in cells of another mesh."""
        if n_mesh == self.n_mesh:
            return self
        scale = n_mesh / self.n_mesh
        return Particles(self.position * scale, self.velocity * scale, self.mass, n_mesh)


@dataclass(frozen=True)
class Step:
    """Growth factors and kick weight of one step."""

    D_0: float
    D_1: float
    alpha: float

    def reversed(self) -> "Step":
        """The step that undoes this one."""
        return Step(D_0=self.D_1, D_1=self.D_0, alpha=1 / self.alpha)


def step_edges(a_start: float, n_steps: int) -> npt.NDArray[np.float64]:
    """Expansion factors at which the steps begin and end, (n_steps + 1,): uniform in a^1.5."""
    edges: npt.NDArray[np.float64] = np.linspace(a_start**1.5, 1.0, n_steps + 1) ** (2 / 3)
    return edges


def time_steps(Omega_m: float, a_start: float, n_steps: int) -> Iterator[Step]:
    """Steps from `a_start` to today, uniform in a^1.5.

    Args:
        Omega_m: matter density today over critical.
        a_start: expansion factor of the initial conditions.
        n_steps: number of steps.

    Yields:
        Each step in turn.
    """
    growth, edges = Growth(Omega_m), step_edges(a_start, n_steps)
    D, E, slope = growth.D(edges), growth.E(edges), growth.dE_dD(edges)
    for i in range(n_steps):
        half = (D[i + 1] - D[i]) / 2
        middle = D[i] + half
        f = (E[i] + slope[i] * half) / middle - middle
        yield Step(float(D[i]), float(D[i + 1]), float((slope[i + 1] - f) / (slope[i] - f)))


def steps_needed(cosmology: Cosmology, spacing_mpc_h: float, error: float) -> int:
    r"""Number of time steps for a wanted accuracy, a fit to convergence tests with 32^3 to 256^3 particles.

        n = 70 (spacing / 0.0977)^-0.7 (Omega_m / 0.3)^0.45 (sigma_8 / 0.8)^1.6 (error / 0.05)^-0.4

    Args:
        cosmology: Omega_m and sigma_8.
        spacing_mpc_h: mean distance of the particles in Mpc/h, on a mesh up to twice as fine.
        error: largest relative error of P(k) for k up to 10 h/Mpc against infinitely many steps.

    Returns:
        Steps of `time_steps` from a = 0.05, at least 8.

    Example:
        >>> steps_needed(Cosmology(Omega_m=0.3, sigma_8=0.8), spacing_mpc_h=25 / 256, error=0.05)
        70
    """
    density = (cosmology.Omega_m / 0.3) ** 0.45 * (cosmology.sigma_8 / 0.8) ** 1.6
    n_steps: float = 70 * (spacing_mpc_h * 256 / 25) ** -0.7 * density * (error / 0.05) ** -0.4
    return max(round(n_steps), 8)


def initial_particles(
    cosmology: Cosmology,
    seed: int,
    *,
    n_particles: int,
    n_mesh: int,
    a_start: float,
    box_size_mpc_h: float,
    device: torch.device,
    with_gas: bool = False,
) -> Particles:
    """Particles at `a_start` from second-order Lagrangian perturbation theory.

    With gas there are two lattices, half a cell apart along each axis and with their centre of mass where the single
    one would be, that share one displacement field: the initial conditions of CAMELS.

    Args:
        cosmology: Omega_m and sigma_8.
        seed: the simulation's seed.
        n_particles: particles a side of each kind.
        n_mesh: cells a side of the force mesh.
        a_start: expansion factor of the start.
        box_size_mpc_h: side of the periodic box in Mpc/h.
        device: where the particles live.
        with_gas: dark matter and gas apart.

    Returns:
        The particles with their velocities.
    """
    f_b = cosmology.baryon_fraction
    mass, offsets = ((1 - f_b, f_b), (-0.5 * f_b, 0.5 * (1 - f_b))) if with_gas else ((1.0,), (0.0,))
    growth, scale = Growth(cosmology.Omega_m), n_mesh / n_particles
    D, E, slope = float(growth.D(a_start)), float(growth.E(a_start)), float(growth.dE_dD(a_start))
    potentials = lagrangian_potentials(linear_density(cosmology, seed, n_particles, box_size_mpc_h, device))
    positions, velocities = [], []
    for offset in offsets:
        psi1, psi2 = lagrangian_displacements(*potentials, offset)
        positions.append((lattice(n_particles, device, offset) + D * psi1 + E * psi2) * scale)
        velocities.append((psi1 + slope * psi2) * scale)
    return Particles(torch.cat(positions), torch.cat(velocities), mass, n_mesh)


def force_kernel(n_mesh: int, n_particles: int, device: torch.device) -> Tensor:
    """Turns the modes of the mass on the mesh into those of the inverse Laplacian of the overdensity.

    On meshes less than twice as fine as the lattice it is divided once by the cloud-in-cell window.

    Particles near their lattice leave sidebands around its first harmonic, which is the Nyquist frequency of a mesh
    twice as fine. Dividing by the window there makes linear modes grow too fast, by 20 per cent at a quarter of the
    particles' Nyquist frequency between a = 0.1 and today. A mesh 1.5 times as fine divided by the window, or twice as
    fine and not divided, keeps linear growth up to there to 1 and 3 per cent (2 and 1 per cent with two kinds).

    Args:
        n_mesh: cells a side of the mesh.
        n_particles: particles a side.
        device: where the kernel lives.

    Returns:
        (n_mesh, n_mesh, n_mesh // 2 + 1), for an inverse FFT that does not divide by the number of cells.
    """
    kernel = inverse_laplacian_kernel(n_mesh, device, deconvolve=n_mesh < 2 * n_particles)
    return kernel.mul_(1 / n_particles**3)


def potential(particles: Particles, kernel: Tensor) -> Tensor:
    """Inverse Laplacian of the overdensity of the particles, cells squared.

    Args:
        particles: of all kinds.
        kernel: see `force_kernel`.

    Returns:
        (n_mesh, n_mesh, n_mesh).
    """
    modes = fourier(paint_species(particles.kinds, particles.n_mesh, particles.mass))
    return inverse_fourier(multiply_modes(modes, kernel), norm="forward")


def acceleration(particles: Particles, kernel: Tensor) -> Tensor:
    """-grad inverse-laplacian delta at the particles, (kinds * n^3, 3) in cells.

    Weighted with the masses its sum over the particles vanishes to round-off.
    """
    return -gradient_at(potential(particles, kernel), particles.position)


def take_steps(particles: Particles, steps: Iterable[Step], kernel: Tensor) -> Particles:
    """Drift, kick, drift for each step; the drifts between two kicks are one.

    Args:
        particles: at the start of the first step; not changed.
        steps: each begins where the one before it ends.
        kernel: see `force_kernel`.

    Returns:
        The particles at the end of the last step.
    """
    position, velocity = particles.position.clone(), particles.velocity.clone()
    moving = Particles(position, velocity, particles.mass, particles.n_mesh)
    following = list(steps)
    halves = [(step.D_1 - step.D_0) / 2 for step in following] + [0.0]
    position.add_(velocity, alpha=halves[0])
    for step, half, next_half in zip(following, halves[:-1], halves[1:], strict=True):
        kick = (step.alpha - 1) / (step.D_0 + half)
        push_particles(
            position, velocity, potential(moving, kernel), keep=step.alpha, kick=kick, drift=half + next_half
        )
    return moving


def evolve(particles: Particles, Omega_m: float, a_start: float, n_steps: int) -> Particles:
    """Particles today.

    Args:
        particles: the initial conditions at `a_start`.
        Omega_m: matter density today over critical.
        a_start: expansion factor of the initial conditions.
        n_steps: number of steps, see `time_steps`.

    Returns:
        The particles at a = 1.
    """
    steps, n_mesh, n_particles = list(time_steps(Omega_m, a_start, n_steps)), particles.n_mesh, particles.n_particles
    coarse = min(n_mesh, 3 * n_particles // 2)
    n_coarse = int((step_edges(a_start, n_steps)[1:] <= COARSE_UNTIL).sum()) if n_mesh >= 2 * n_particles else 0
    for some, mesh in ((steps[:n_coarse], coarse), (steps[n_coarse:], n_mesh)):
        if some:
            kernel = force_kernel(mesh, n_particles, particles.position.device)
            particles = take_steps(particles.on_mesh(mesh), some, kernel)
    return particles.on_mesh(n_mesh)
