from dataclasses import replace

import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.simulate.feedback import GravityRun
from fieldlevel.simulate.nbody import Particles, evolve, initial_particles

BOX_SIZE_MPC_H = 25.0
A_START = 0.05
N_STEPS = 12


@pytest.fixture(scope="session")
def fiducial() -> Cosmology:
    return Cosmology(Omega_m=0.3, sigma_8=0.8)


def in_double(particles: Particles) -> Particles:
    """The same particles in double precision, where laws hold to round-off that no tolerance hides."""
    return replace(particles, position=particles.position.double(), velocity=particles.velocity.double())


@pytest.fixture(scope="session")
def start(fiducial: Cosmology) -> Particles:
    """2 x 32^3 particles, dark matter and gas, in 25 Mpc/h at a = 0.05."""
    return in_double(
        initial_particles(
            fiducial,
            1,
            n_particles=32,
            n_mesh=64,
            a_start=A_START,
            box_size_mpc_h=BOX_SIZE_MPC_H,
            device=torch.device("cpu"),
            with_gas=True,
        )
    )


@pytest.fixture(scope="session")
def today(start: Particles, fiducial: Cosmology) -> Particles:
    """The same particles at a = 1."""
    return evolve(start, fiducial.Omega_m, A_START, N_STEPS)


@pytest.fixture(scope="session")
def run(today: Particles, fiducial: Cosmology) -> GravityRun:
    return GravityRun(today, fiducial, 1, BOX_SIZE_MPC_H)
