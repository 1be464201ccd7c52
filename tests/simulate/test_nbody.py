from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology, Growth
from fieldlevel.numerics.mesh import paint_cic, paint_species
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.nbody import (
    Particles,
    Step,
    acceleration,
    evolve,
    force_kernel,
    initial_particles,
    steps_needed,
    take_steps,
    time_steps,
)

CPU = torch.device("cpu")
A_START = 0.05
EXACT = 1e-9  # double precision


def initial(
    cosmology: Cosmology,
    *,
    n_particles: int = 32,
    n_mesh: int = 64,
    a_start: float = A_START,
    box_size_mpc_h: float = 25.0,
    with_gas: bool = False,
    device: torch.device = CPU,
) -> Particles:
    return initial_particles(
        cosmology,
        1,
        n_particles=n_particles,
        n_mesh=n_mesh,
        a_start=a_start,
        box_size_mpc_h=box_size_mpc_h,
        device=device,
        with_gas=with_gas,
    )


def density(particles: Particles, n_mesh: int = 64) -> torch.Tensor:
    """Mass on a mesh of `n_mesh` cells a side, whatever that of the forces is."""
    scale = n_mesh / particles.n_mesh
    return paint_species([kind * scale for kind in particles.kinds], n_mesh, particles.mass).cpu()


def power(particles: Particles) -> torch.Tensor:
    return power_spectrum_3d(density(particles))[1]


def mass_of_each(particles: Particles) -> torch.Tensor:
    """Masses (kinds * n^3, 1) in the order of the positions."""
    masses = [torch.full((len(kind), 1), mass) for kind, mass in zip(particles.kinds, particles.mass, strict=True)]
    return torch.cat(masses).double()


def run_through(particles: Particles, steps: Iterable[Step]) -> Particles:
    n_particles = round(len(particles.kinds[0]) ** (1 / 3))
    return take_steps(particles, steps, force_kernel(particles.n_mesh, n_particles, CPU))


@pytest.fixture
def small(start) -> tuple[Particles, list[Step]]:
    """2 x 512 of the particles in double precision on a mesh of their own, and six steps to today."""
    kinds = [kind[: 8**3] for kind in start.kinds]
    velocity = torch.cat([v[: 8**3] for v in start.velocity.chunk(2)])
    return Particles(torch.cat(kinds).remainder(16), velocity, start.mass, 16), list(time_steps(0.3, A_START, 6))


@pytest.mark.parametrize(
    ("n_mesh", "with_gas", "tolerance"), [(48, False, 0.01), (64, False, 0.03), (48, True, 0.03), (64, True, 0.01)]
)
def test_linear_modes_grow_with_the_growth_factor(fiducial, n_mesh, with_gas, tolerance):
    """In 3 Gpc/h everything is linear: up to a quarter of the particles' Nyquist frequency modes grow by 1/D(a)."""
    a_start = 0.1
    start = initial(fiducial, n_mesh=n_mesh, a_start=a_start, box_size_mpc_h=3000.0, with_gas=with_gas)
    early, late = density(start), density(run_through(start, time_steps(fiducial.Omega_m, a_start, 10)))
    growth = power_spectrum_3d(early, late)[1][:4] / power_spectrum_3d(early)[1][:4]
    expected = torch.full((4,), 1 / float(Growth(fiducial.Omega_m).D(a_start)), dtype=torch.float64)
    torch.testing.assert_close(growth, expected, rtol=tolerance, atol=0)
    torch.testing.assert_close(growth[:2], expected[:2], rtol=0.01, atol=0)


@pytest.mark.parametrize("with_gas", [False, True])
def test_runs_take_a_coarser_mesh_early_and_grow_as_on_either(fiducial, with_gas):
    a_start = 0.1
    start = initial(fiducial, a_start=a_start, box_size_mpc_h=3000.0, with_gas=with_gas)
    end = evolve(start, fiducial.Omega_m, a_start, 10)
    growth = power_spectrum_3d(density(start), density(end))[1][:4] / power_spectrum_3d(density(start))[1][:4]
    assert end.n_mesh == start.n_mesh
    assert not torch.equal(end.position, run_through(start, time_steps(fiducial.Omega_m, a_start, 10)).position)
    torch.testing.assert_close(growth * float(Growth(0.3).D(a_start)), torch.ones(4).double(), rtol=0.03, atol=0)


def test_meshes_less_than_twice_as_fine_serve_from_start_to_end(fiducial):
    start = initial(fiducial, n_mesh=48)
    end = evolve(start, fiducial.Omega_m, A_START, 8)
    assert torch.equal(end.position, run_through(start, time_steps(fiducial.Omega_m, A_START, 8)).position)


def test_two_kinds_grow_as_one(today, fiducial):
    """Up to half the Nyquist frequency of the lattice."""
    single = evolve(initial(fiducial), fiducial.Omega_m, A_START, 12)
    ratio = power(today)[:8] / power(single)[:8]
    torch.testing.assert_close(ratio, torch.ones(8).double(), rtol=0, atol=0.02)


def test_gas_follows_the_dark_matter(today):
    """Under gravity alone both kinds are samples of one field."""
    dark_matter, gas = (paint_cic(kind, 64) for kind in today.kinds)
    cross, power_dark_matter, power_gas = (
        power_spectrum_3d(*pair)[1][:8] for pair in ((dark_matter, gas), (dark_matter,), (gas,))
    )
    assert (cross / (power_dark_matter * power_gas).sqrt() > 0.98).all()
    torch.testing.assert_close(power_gas / power_dark_matter, torch.ones(8).double(), rtol=0, atol=0.03)


def test_total_momentum_stays_what_it_was(start, today):
    """Zero but for the float32 velocities of the start."""
    before, after = ((mass_of_each(p) * p.velocity).sum(0) for p in (start, today))
    momentum = (mass_of_each(today) * today.velocity).abs().sum(0)
    assert (before.abs() < 1e-6 * momentum).all()
    assert (after.abs() < 1e-6 * momentum).all()


def test_forces_weighted_with_mass_sum_to_zero(today):
    force = mass_of_each(today) * acceleration(today, force_kernel(today.n_mesh, 32, CPU))
    assert (force.sum(0).abs() < EXACT * force.abs().sum(0)).all()


def test_a_pair_attracts_along_its_axis_with_opposite_forces():
    position = torch.tensor([[10.0, 16, 16], [20.0, 16, 16]], dtype=torch.float64)
    force = acceleration(Particles(position, 0 * position, (1.0,), 32), force_kernel(32, 32, CPU))
    assert force[0, 0] > 0
    torch.testing.assert_close(force[0], -force[1], rtol=0, atol=EXACT)
    assert force[:, 1:].abs().max() < 1e-6 * force[0, 0]


def test_a_heavy_particle_pulls_harder_than_a_light_one():
    """Forces are as the masses of the other kind, so that they cancel."""
    position = torch.tensor([[10.0, 16, 16], [20.0, 16, 16]], dtype=torch.float64)
    force = acceleration(Particles(position, 0 * position, (0.8, 0.2), 32), force_kernel(32, 32, CPU))
    assert (force[1, 0] / force[0, 0]).item() == pytest.approx(-4, rel=1e-6)


def test_a_sheet_pulls_with_a_force_that_falls_to_zero_half_a_box_away():
    """Poisson's equation in one dimension: g = x / n - 1/2 at a distance x from a sheet of one mass unit a cell."""
    n = 32
    line = torch.arange(n, dtype=torch.float64)
    sheet = torch.cartesian_prod(torch.zeros(1, dtype=torch.float64), line, line)
    probes = torch.tensor([[4.0, 3, 3], [16, 20, 20], [26, 3, 9]], dtype=torch.float64)
    position = torch.cat([sheet, probes])
    force = acceleration(Particles(position, 0 * position, (1.0,), n), force_kernel(n, n, CPU))[-3:]
    torch.testing.assert_close(force[:, 0], probes[:, 0] / n - 0.5, rtol=0, atol=0.01)
    assert force[:, 1:].abs().max() < 0.01


def test_forces_do_not_depend_on_the_origin(today):
    shift = torch.tensor([3.0, -64.0, 17.0]).double()
    kernel = force_kernel(today.n_mesh, 32, CPU)
    moved = acceleration(replace(today, position=today.position + shift), kernel)
    torch.testing.assert_close(moved, acceleration(today, kernel), rtol=0, atol=EXACT * moved.abs().max().item())


def test_steps_can_be_undone(small):
    particles, steps = small
    end = run_through(particles, steps)
    back = run_through(end, [step.reversed() for step in reversed(steps)])
    assert (end.position - particles.position).abs().max() > 1
    torch.testing.assert_close(back.position, particles.position, rtol=0, atol=EXACT)
    torch.testing.assert_close(back.velocity, particles.velocity, rtol=0, atol=EXACT)


def test_merged_drifts_are_the_steps_one_at_a_time(small):
    particles, steps = small
    merged, single = run_through(particles, steps), particles
    for step in steps:
        single = run_through(single, [step])
    torch.testing.assert_close(merged.position, single.position, rtol=0, atol=EXACT)
    torch.testing.assert_close(merged.velocity, single.velocity, rtol=0, atol=EXACT)


def test_a_step_is_drift_kick_drift(small):
    """x + v dD/2; alpha v + (1 - alpha) A / D_mid; x + v dD/2."""
    particles, (step, *_) = small
    half, kernel = (step.D_1 - step.D_0) / 2, force_kernel(16, 8, CPU)
    middle = replace(particles, position=particles.position + half * particles.velocity)
    pull = acceleration(middle, kernel) / (step.D_0 + half)
    velocity = step.alpha * particles.velocity + (1 - step.alpha) * pull
    end = take_steps(particles, [step], kernel)
    torch.testing.assert_close(end.velocity, velocity, rtol=0, atol=EXACT)
    torch.testing.assert_close(end.position, middle.position + half * velocity, rtol=0, atol=EXACT)


def test_no_steps_change_nothing(small):
    particles, _ = small
    assert torch.equal(run_through(particles, []).position, particles.position)


def test_the_initial_conditions_are_not_changed(small):
    particles, _ = small
    position, velocity = particles.position.clone(), particles.velocity.clone()
    end = evolve(particles, 0.3, A_START, 3)
    assert torch.equal(particles.position, position)
    assert torch.equal(particles.velocity, velocity)
    assert not torch.equal(end.position, position)
    assert (end.mass, end.n_mesh) == (particles.mass, particles.n_mesh)


def test_steps_cover_the_time_from_start_to_today_without_gaps():
    steps, growth = list(time_steps(0.3, A_START, 9)), Growth(0.3)
    assert len(steps) == 9
    ends = [steps[0].D_0, steps[-1].D_1]
    assert ends == pytest.approx([float(growth.D(A_START)), 1])
    assert all(before.D_1 == after.D_0 for before, after in pairwise(steps))


def test_a_step_is_exact_in_second_order_perturbation_theory():
    """v = psi1 + E' psi2 at both ends of a step when A = D psi1 + (E - D^2) psi2 is felt in the middle."""
    growth, edges = Growth(0.3), np.linspace(0.05**1.5, 1, 9) ** (2 / 3)
    D, E, slope = growth.D(edges), growth.E(edges), growth.dE_dD(edges)
    for i, step in enumerate(time_steps(0.3, 0.05, 8)):
        assert (D[i], D[i + 1]) == (step.D_0, step.D_1)
        middle = (D[i] + D[i + 1]) / 2
        drifted = E[i] + slope[i] * (D[i + 1] - D[i]) / 2
        velocity = step.alpha * slope[i] + (1 - step.alpha) * (drifted - middle**2) / middle
        assert velocity == pytest.approx(slope[i + 1], rel=1e-9)


@pytest.mark.parametrize("with_gas", [False, True])
@pytest.mark.parametrize("error", [0.05, 0.2])
def test_the_steps_needed_keep_the_wanted_error(fiducial, with_gas, error):
    """Against four times as many, at all wavenumbers of the mesh: up to 8 h/Mpc here."""
    start, n_steps = initial(fiducial, with_gas=with_gas), steps_needed(fiducial, 25 / 32, error)
    coarse, fine = (power(evolve(start, fiducial.Omega_m, A_START, n)) for n in (n_steps, 4 * n_steps))
    assert (coarse / fine - 1).abs().max() < error


def test_more_steps_are_needed_for_smaller_spacing_more_structure_and_smaller_error():
    def n_steps(Omega_m: float = 0.3, sigma_8: float = 0.8, spacing: float = 25 / 128, error: float = 0.05) -> int:
        return steps_needed(Cosmology(Omega_m, sigma_8), spacing, error)

    for name, values in {
        "Omega_m": (0.1, 0.2, 0.3, 0.5),
        "sigma_8": (0.6, 0.7, 0.8, 1.0),
        "spacing": (25 / 64, 25 / 100, 25 / 128, 25 / 256),
        "error": (0.2, 0.1, 0.05, 0.02),
    }.items():
        counts = [n_steps(**{name: value}) for value in values]
        assert counts == sorted(set(counts)), name


def test_there_are_always_a_few_steps():
    assert steps_needed(Cosmology(0.1, 0.6), 25 / 8, 0.5) == 8


@pytest.fixture(params=[False, True], ids=["one kind", "two kinds"])
def on_both_devices(request, fiducial) -> list[Particles]:
    """The same initial conditions made on the CPU and on the GPU."""
    return [initial(fiducial, with_gas=request.param, device=torch.device(name)) for name in ("cpu", "cuda")]


@pytest.mark.gpu
def test_gpu_makes_the_same_initial_conditions(on_both_devices):
    on_cpu, on_gpu = on_both_devices
    torch.testing.assert_close(on_gpu.position.cpu(), on_cpu.position, rtol=0, atol=1e-3)
    torch.testing.assert_close(on_gpu.velocity.cpu(), on_cpu.velocity, rtol=0, atol=1e-3)


@pytest.mark.gpu
def test_gpu_runs_agree_with_cpu_runs(on_both_devices, fiducial):
    """Round-off grows by gravitational instability; up to half the Nyquist frequency of the lattice it is not seen."""
    on_cpu, on_gpu = (density(evolve(start, fiducial.Omega_m, A_START, 12)) for start in on_both_devices)
    cross, first, second = (power_spectrum_3d(*pair)[1][:8] for pair in ((on_cpu, on_gpu), (on_cpu,), (on_gpu,)))
    torch.testing.assert_close(second, first, rtol=1e-3, atol=0)
    assert (cross / (first * second).sqrt()).min() > 0.999


@pytest.mark.gpu
def test_gpu_runs_repeat_to_the_bit(on_both_devices, fiducial):
    _, start = on_both_devices
    first, second = (evolve(start, fiducial.Omega_m, A_START, 12) for _ in range(2))
    assert torch.equal(first.position, second.position)
    assert torch.equal(first.velocity, second.velocity)
    assert not torch.equal(first.position, start.position)


@pytest.mark.gpu
def test_gpu_momentum_stays_near_zero(on_both_devices, fiducial):
    """Painted masses are rounded to 2^-16, so forces cancel to that and not to round-off."""
    end = evolve(on_both_devices[1], fiducial.Omega_m, A_START, 12)
    momentum = mass_of_each(end) * end.velocity.cpu().double()
    assert (momentum.sum(0).abs() < 1e-3 * momentum.abs().sum(0)).all()
