import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.simulate.nbody import Particles, evolve, initial_particles

BOX_SIZE_MPC_H = 25.0


@pytest.fixture(scope="session")
def fiducial() -> Cosmology:
    return Cosmology(Omega_m=0.3, sigma_8=0.8)


@pytest.fixture(scope="session")
def today(fiducial: Cosmology) -> Particles:
    """32^3 particles in 25 Mpc/h, fiducial cosmology, at a = 1."""
    start = initial_particles(
        fiducial, 1, n_particles=32, n_mesh=64, a_start=0.05, box_size_mpc_h=BOX_SIZE_MPC_H, device=torch.device("cpu")
    )
    return evolve(start, fiducial.Omega_m, 0.05, 12)
