r"""What the baryon models share: feedback parameters, power laws of them, the state they start from.

A model takes the dark matter and the gas of a gravity run with two kinds of particles and moves them; some of the gas
becomes stars. Common to all is the pressure of the gas where it is diffuse: photo-ionised gas near the mean density is
smooth below the filtering scale lambda, which one displacement

    d = -lambda^2 / 2 grad ln rho

gives to first order (a Gaussian smoothing by lambda).

References:
    Gnedin & Hui 1998, MNRAS 296, 44 (filtering scale); Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (feedback
    parameters of CAMELS).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import ClassVar

import torch
from torch import Tensor

from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.mesh import fourier, gradient_at, inverse_fourier, paint_species, smooth_gaussian
from fieldlevel.simulate.haloes import Haloes, find_haloes
from fieldlevel.simulate.nbody import Particles

STAR_STREAM, KIND_STREAM, REACH_STREAM, DIRECTION_STREAM = 7, 8, 9, 10
"""Random streams of `fieldlevel.numerics.random`."""

PEAK_SCALE_MPC_H = 0.08
HALO_THRESHOLD = 80.0
"""Haloes surround peaks of the density smoothed by the peak scale, where it exceeds this multiple of the mean."""

FILTERING_SCALE_MPC_H = 0.1
"""Of photo-ionised gas of 10^4 K at the mean density today: half its Jeans length over 2 pi."""


@dataclass(frozen=True)
class Feedback:
    """The four feedback parameters of a CAMELS simulation, each one at the fiducial point."""

    A_SN1: float = 1.0
    A_AGN1: float = 1.0
    A_SN2: float = 1.0
    A_AGN2: float = 1.0


@dataclass(frozen=True)
class Scaling:
    """A constant of a baryon model: its value at the fiducial point and its power law in the six parameters.

    Example:
        >>> reach = Scaling(2.0, A_AGN2=0.5)
        >>> reach(Cosmology(0.3, 0.8), Feedback(A_AGN2=4.0))
        4.0
    """

    value: float
    Omega_m: float = 0.0
    sigma_8: float = 0.0
    A_SN1: float = 0.0
    A_AGN1: float = 0.0
    A_SN2: float = 0.0
    A_AGN2: float = 0.0

    def __call__(self, cosmology: Cosmology, feedback: Feedback) -> float:
        """Value at a point of parameter space."""
        value: float = (
            self.value
            * (cosmology.Omega_m / 0.3) ** self.Omega_m
            * (cosmology.sigma_8 / 0.8) ** self.sigma_8
            * feedback.A_SN1**self.A_SN1
            * feedback.A_AGN1**self.A_AGN1
            * feedback.A_SN2**self.A_SN2
            * feedback.A_AGN2**self.A_AGN2
        )
        return value


class Constants:
    """Of a baryon model: a frozen dataclass of scalings, some of them bounded.

    Attributes:
        bounds: what becomes of the values of some scalings, by name.
    """

    bounds: ClassVar[Mapping[str, Callable[[float], float]]] = {}

    def at(self, cosmology: Cosmology, feedback: Feedback) -> "Values":
        """The constants at a point of parameter space."""
        return Values(self, cosmology, feedback)


@dataclass(frozen=True)
class Values:
    """Constants of a baryon model at one point of parameter space, each a number by its name.

    Example:
        >>> @dataclass(frozen=True)
        ... class Wind(Constants):
        ...     bounds = {"reach": at_most(5.0)}
        ...     reach: Scaling = Scaling(2.0, A_AGN2=0.5)
        >>> [Wind().at(Cosmology(0.3, 0.8), Feedback(A_AGN2=A)).reach for A in (4.0, 16.0)]
        [4.0, 5.0]
    """

    constants: Constants
    cosmology: Cosmology
    feedback: Feedback

    def __getattr__(self, name: str) -> float:
        """Value of the scaling of this name, within its bounds."""
        scaling: Scaling = getattr(self.constants, name)
        return self.constants.bounds.get(name, float)(scaling(self.cosmology, self.feedback))


def at_most(largest: float) -> Callable[[float], float]:
    """A bound of scalings."""
    return partial(min, largest)


def saturated(x: float) -> float:
    """X / (1 + x), a bound of scalings that are to be shares; 0 for what is not positive."""
    return 1 / (1 + 1 / x) if x > 0 else 0.0


@dataclass(frozen=True)
class Species:
    """Particles of one kind.

    Attributes:
        position: (n, 3) in cells of the force mesh, not wrapped.
        mass: of each particle, in units of the mean mass per lattice point.
        velocity: (n, 3) dx/dD in cells of the force mesh, that of the gravity run.
        index: (n,) int64, which point of the lattice of its kind each particle is; None where nobody says, or for the
            whole lattice in its order.
        lattice_position: (n_lattice, 3) in cells, where all particles of that lattice are under gravity alone; None
            where these are the positions, or nobody says.
    """

    position: Tensor
    mass: float
    velocity: Tensor
    index: Tensor | None = None
    lattice_position: Tensor | None = None

    @property
    def number(self) -> Tensor:
        """(n,) int64 by which particles are known: their place on the lattice, or in their order where nobody says."""
        n = len(self.position)
        return torch.arange(n, device=self.position.device) if self.index is None else self.index


HydroParticles = Mapping[str, Species]
"""`"Mcdm"`, `"Mgas"` and `"Mstar"`: named after the CMD field that each of them makes."""


@dataclass(frozen=True)
class GravityRun:
    """A gravity run today, as a baryon model sees it.

    Attributes:
        particles: dark matter and gas.
        cosmology: Omega_m and sigma_8.
        seed: of the model's random draws.
        box_size_mpc_h: side of the periodic box in Mpc/h.
    """

    particles: Particles
    cosmology: Cosmology
    seed: int
    box_size_mpc_h: float

    @property
    def dark_matter(self) -> Tensor:
        """Positions (n^3, 3) in cells."""
        return self.particles.kinds[0]

    @property
    def gas(self) -> Tensor:
        """Positions (n^3, 3) in cells."""
        return self.particles.kinds[1]

    @property
    def velocities(self) -> tuple[Tensor, Tensor]:
        """Of dark matter and gas, (n^3, 3) each, dx/dD in cells."""
        dark_matter, gas = self.particles.velocity.chunk(2)
        return dark_matter, gas

    def species(self, dark_matter: Tensor, baryons: Tensor, is_star: Tensor) -> HydroParticles:
        """Dark matter, gas and stars where a baryon model has moved them.

        Args:
            dark_matter: positions (n^3, 3) in cells.
            baryons: positions (n^3, 3) in cells of what was gas, in the order of the lattice.
            is_star: (n^3,) bool, which of the baryons are stars now.

        Returns:
            Each kind with its places on the lattice; their total mass is that of the run.
        """
        dark_velocity, velocity = self.velocities
        dark_mass, mass = self.particles.mass
        gas, stars = (mask.nonzero().flatten() for mask in (~is_star, is_star))
        return {
            "Mcdm": Species(dark_matter, dark_mass, dark_velocity),
            "Mgas": Species(baryons[gas], mass, velocity[gas], gas, self.gas),
            "Mstar": Species(baryons[stars], mass, velocity[stars], stars, self.gas),
        }

    @property
    def cell_mpc_h(self) -> float:
        """Side of a cell of the force mesh in Mpc/h."""
        return self.box_size_mpc_h / self.particles.n_mesh

    @cached_property
    def density_k(self) -> Tensor:
        """Modes of the total density over its mean."""
        n_mesh = self.particles.n_mesh
        mass = paint_species(self.particles.kinds, n_mesh, self.particles.mass)
        return fourier(mass) * (n_mesh**3 / len(self.gas))

    def density(self, scale_mpc_h: float) -> Tensor:
        """Total density over its mean, smoothed with a Gaussian; at least 0.01."""
        smooth = smooth_gaussian(self.density_k, scale_mpc_h / self.cell_mpc_h)
        return inverse_fourier(smooth).clamp_(min=1e-2)

    @cached_property
    def peak_density(self) -> Tensor:
        """Total density over its mean on the scale of halo centres."""
        return self.density(PEAK_SCALE_MPC_H)

    @cached_property
    def haloes(self) -> Haloes:
        """Where the density exceeds the threshold."""
        return find_haloes(self.particles, self.peak_density, HALO_THRESHOLD)

    @cached_property
    def pressure_displacement(self) -> Tensor:
        """Of the diffuse gas, (n^3, 3) in cells, no longer than the filtering scale."""
        scale = FILTERING_SCALE_MPC_H / self.cell_mpc_h
        slope = gradient_at(self.density(FILTERING_SCALE_MPC_H).log(), self.gas)
        return soft_cap(slope.mul(-0.5 * scale**2), scale)


def star_share(M: Tensor, star_fraction: float) -> Tensor:
    """Share of the gas of haloes of mass M [Msun/h] that forms stars: `star_fraction` at 1e12, near its largest."""
    return 2 * star_fraction / ((M / 1e12) ** -1 + (M / 1e12) ** 0.6)


def soft_cap(displacement: Tensor, cap: float) -> Tensor:
    """Shorten vectors (n, 3) so that none is longer than `cap`."""
    stretch = (1 + displacement.square().sum(1, keepdim=True) / cap**2).sqrt()
    return displacement.div(stretch)


def chosen(index: Tensor, n: int) -> Tensor:
    """Mask (n,) that is True at `index`."""
    mask = torch.zeros(n, dtype=torch.bool, device=index.device)
    return mask.index_fill_(0, index, value=True)
