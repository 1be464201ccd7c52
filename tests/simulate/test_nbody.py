import numpy as np
import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology, Growth
from fieldlevel.numerics.mesh import paint_cic
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.nbody import acceleration, advance, evolve, force_kernel, initial_particles, time_steps

CPU = torch.device("cpu")


@pytest.mark.parametrize(("n_mesh", "tolerance"), [(48, 0.01), (64, 0.03)])
def test_linear_modes_grow_with_the_growth_factor(n_mesh, tolerance):
    """In 3 Gpc/h everything is linear: up to a quarter of the particles' Nyquist frequency modes grow by 1/D(a)."""
    a_start = 0.1
    start = initial_particles(
        Cosmology(0.3, 0.8), 2, n_particles=32, n_mesh=n_mesh, a_start=a_start, box_size_mpc_h=3000.0, device=CPU
    )
    end = evolve(start, 0.3, a_start, 10)
    early, late = (paint_cic(particles.position * (64 / n_mesh), 64) for particles in (start, end))
    growth = power_spectrum_3d(early, late)[1][:4] / power_spectrum_3d(early)[1][:4]
    expected = torch.full((4,), 1 / float(Growth(0.3).D(a_start)), dtype=torch.float64)
    torch.testing.assert_close(growth, expected, rtol=tolerance, atol=0)


def test_total_momentum_stays_zero(today):
    drift = today.velocity.double().mean(0).abs().max()
    assert drift < 1e-5 * today.velocity.double().std()


def test_forces_sum_to_zero(today):
    force = acceleration(today.position, today.n_mesh, force_kernel(today.n_mesh, 32, CPU))
    assert force.double().sum(0).abs().max() < 1e-4 * force.double().abs().sum(0).max()


def test_a_pair_attracts_along_its_axis():
    position = torch.tensor([[10.0, 16, 16], [20.0, 16, 16]])
    force = acceleration(position, 32, force_kernel(32, 32, CPU))
    assert force[0, 0] > 0 > force[1, 0]
    assert force[:, 1:].abs().max() < 1e-3 * force[0, 0]


def test_forces_do_not_depend_on_the_origin(today):
    shift = torch.tensor([3.0, -64.0, 17.0])
    kernel = force_kernel(today.n_mesh, 32, CPU)
    moved = acceleration(today.position + shift, today.n_mesh, kernel)
    expected = acceleration(today.position, today.n_mesh, kernel)
    torch.testing.assert_close(moved, expected, rtol=0, atol=2e-3 * expected.abs().max().item())


def test_steps_can_be_undone(fiducial):
    start = initial_particles(fiducial, 4, n_particles=16, n_mesh=32, a_start=0.1, box_size_mpc_h=25.0, device=CPU)
    steps = list(time_steps(fiducial.Omega_m, 0.1, 6))
    particles, kernel = start, force_kernel(32, 16, CPU)
    for step in steps:
        particles = advance(particles, step, kernel)
    assert (particles.position - start.position).abs().max() > 1
    for step in reversed(steps):
        particles = advance(particles, step.reversed(), kernel)
    torch.testing.assert_close(particles.position, start.position, rtol=0, atol=0.02)


def test_steps_converge(fiducial):
    """Few steps agree with many below the non-linear scale."""

    def power(n_steps: int) -> torch.Tensor:
        start = initial_particles(fiducial, 1, n_particles=32, n_mesh=64, a_start=0.05, box_size_mpc_h=25.0, device=CPU)
        return power_spectrum_3d(paint_cic(evolve(start, 0.3, 0.05, n_steps).position, 64))[1]

    coarse, fine = power(10), power(30)
    torch.testing.assert_close(coarse[:4] / fine[:4], torch.ones(4, dtype=torch.float64), rtol=0, atol=0.03)


def test_a_step_is_exact_in_second_order_perturbation_theory():
    """v = psi1 + E' psi2 at both ends of a step when A = D psi1 + (E - D^2) psi2 is felt in the middle."""
    growth, edges = Growth(0.3), np.linspace(0.05, 1, 9)
    D, E, slope = growth.D(edges), growth.E(edges), growth.dE_dD(edges)
    for i, step in enumerate(time_steps(0.3, 0.05, 8)):
        assert (D[i], D[i + 1]) == (step.D_0, step.D_1)
        middle = (D[i] + D[i + 1]) / 2
        drifted = E[i] + slope[i] * (D[i + 1] - D[i]) / 2
        velocity = step.alpha * slope[i] + (1 - step.alpha) * (drifted - middle**2) / middle
        assert velocity == pytest.approx(slope[i + 1], rel=1e-9)


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(fiducial):
    """Round-off grows by gravitational instability; large scales agree to 1e-4."""
    powers = []
    for device in (CPU, torch.device("cuda")):
        start = initial_particles(
            fiducial, 1, n_particles=32, n_mesh=64, a_start=0.05, box_size_mpc_h=25.0, device=device
        )
        end = evolve(start, 0.3, 0.05, 12)
        powers.append(power_spectrum_3d(paint_cic(end.position, 64))[1].cpu())
    torch.testing.assert_close(powers[0][:8], powers[1][:8], rtol=1e-3, atol=0)
