from dataclasses import dataclass, replace

import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology
from fieldlevel.numerics.mesh import fourier, paint_cic
from fieldlevel.simulate.feedback import (
    FILTERING_SCALE_MPC_H,
    HALO_THRESHOLD,
    PEAK_SCALE_MPC_H,
    Constants,
    Feedback,
    GravityRun,
    Scaling,
    at_most,
    chosen,
    saturated,
    soft_cap,
)
from fieldlevel.simulate.initial import lattice
from fieldlevel.simulate.nbody import Particles

FIDUCIAL = Cosmology(0.3, 0.8), Feedback()
EXACT = 1e-9  # double precision


def wave_run(amplitude: float, n_waves: int, n_mesh: int = 32) -> GravityRun:
    """Dark matter and gas with density 1 + amplitude cos(k x), eight a cell as wide as the filtering scale."""
    k = 2 * torch.pi * n_waves / n_mesh
    kinds = [lattice(2 * n_mesh, torch.device("cpu"), offset).double() / 2 for offset in (0.0, 0.5)]
    for kind in kinds:
        kind[:, 0] -= amplitude / k * torch.sin(k * kind[:, 0])
    position = torch.cat(kinds)
    particles = Particles(position, 0 * position, (0.84, 0.16), n_mesh)
    return GravityRun(particles, FIDUCIAL[0], 1, n_mesh * FILTERING_SCALE_MPC_H)


def amplitude_of_wave(position: torch.Tensor, n_waves: int, n_mesh: int = 32) -> float:
    return fourier(paint_cic(position, n_mesh))[n_waves, 0, 0].abs().item()


def test_a_scaling_has_its_value_at_the_fiducial_point():
    assert Scaling(3.5, 1.0, -2.0, 0.5, 0.3, -0.7, 2.0)(*FIDUCIAL) == pytest.approx(3.5)


@pytest.mark.parametrize("name", ["A_SN1", "A_AGN1", "A_SN2", "A_AGN2"])
def test_a_scaling_is_a_power_law_in_each_feedback_parameter(name):
    scaling, others = Scaling(3.5, **{name: -1.5}), Scaling(3.5)
    point = Feedback(**{name: 2.0})
    assert scaling(FIDUCIAL[0], point) == pytest.approx(3.5 * 2**-1.5)
    assert others(FIDUCIAL[0], point) == pytest.approx(3.5)


def test_a_scaling_is_a_power_law_in_the_cosmology():
    scaling = Scaling(2.0, Omega_m=1.0, sigma_8=3.0)
    assert scaling(Cosmology(0.15, 0.8), Feedback()) == pytest.approx(1.0)
    assert scaling(Cosmology(0.3, 0.4), Feedback()) == pytest.approx(0.25)


def test_exponents_of_a_scaling_multiply():
    point = Cosmology(0.15, 0.4), Feedback(2.0, 3.0, 0.5, 0.7)
    scaling = Scaling(5.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0)
    assert scaling(*point) == pytest.approx(5.0 * 0.5 * 0.25 * 2.0 * 3.0 * 0.5 * 0.7)


def test_constants_are_read_at_a_point_and_within_their_bounds():
    @dataclass(frozen=True)
    class Two(Constants):
        bounds = {"share": saturated, "reach": at_most(3.0)}  # noqa: RUF012

        share: Scaling = Scaling(1.0, A_SN1=1.0)
        reach: Scaling = Scaling(2.0, A_AGN2=1.0)
        free: Scaling = Scaling(2.0, A_AGN2=1.0)

    at = Two().at(FIDUCIAL[0], Feedback(A_SN1=3.0, A_AGN2=4.0))
    assert (at.share, at.reach, at.free) == pytest.approx((0.75, 3.0, 8.0))
    assert Two(reach=Scaling(1.5)).at(*FIDUCIAL).reach == 1.5
    with pytest.raises(AttributeError, match="other"):
        _ = at.other


def test_a_saturated_constant_is_a_share():
    shares = [saturated(x) for x in (-1.0, 0.0, 1e-12, 1.0, 1e12)]
    assert shares == sorted(shares)
    assert shares[0] == shares[1] == 0
    assert shares[3] == 0.5
    assert shares[-1] == pytest.approx(1)


def test_the_soft_cap_shortens_and_keeps_the_direction():
    vectors = 10 ** torch.linspace(-3, 6, 90).double()[:, None] * torch.tensor([2.0, -1.0, 2.0]) / 3
    capped = soft_cap(vectors, 0.5)
    length, before = capped.norm(dim=1), vectors.norm(dim=1)
    assert (length <= 0.5 + EXACT).all()
    assert (length.diff() >= 0).all()
    torch.testing.assert_close(capped / length[:, None], vectors / before[:, None])
    torch.testing.assert_close(length[before < 0.01], before[before < 0.01], rtol=1e-3, atol=0)
    assert length[-1].item() == pytest.approx(0.5)


def test_nothing_stays_nothing_under_the_soft_cap():
    assert soft_cap(torch.zeros(3, 3), 0.5).abs().max() == 0


def test_chosen_marks_an_index():
    assert chosen(torch.tensor([3, 1]), 5).tolist() == [False, True, False, True, False]


def test_a_gravity_run_shows_its_two_kinds(run, today):
    assert torch.equal(run.dark_matter, today.position[: 32**3])
    assert torch.equal(run.gas, today.position[32**3 :])
    assert run.cell_mpc_h == pytest.approx(25 / 64)


def test_the_density_is_over_its_mean(run):
    assert run.density_k[0, 0, 0].real.item() == pytest.approx(run.particles.n_mesh**3, rel=1e-6)
    assert run.density(3.0).mean().item() == pytest.approx(1, rel=1e-6)
    assert run.density(0.1).min() >= 0.01


def test_smoother_densities_vary_less(run):
    variances = [run.density(scale).var() for scale in (0.0, 0.2, 0.5, 1.0, 2.0)]
    assert variances == sorted(variances, reverse=True)


def test_the_density_of_a_wave_is_smoothed_by_its_gaussian():
    run, k = wave_run(0.05, 2), 2 * torch.pi * 2 / 32
    rough, smooth = (fourier(run.density(scale))[2, 0, 0].abs() for scale in (0.0, 2 * FILTERING_SCALE_MPC_H))
    assert (smooth / rough).item() == pytest.approx(torch.exp(torch.tensor(-(k**2) * 2**2 / 2)).item(), rel=1e-3)


def test_haloes_are_the_peaks_of_the_peak_density(run):
    torch.testing.assert_close(run.peak_density, run.density(PEAK_SCALE_MPC_H))
    dense = run.peak_density.view(-1) > HALO_THRESHOLD
    assert torch.equal(run.haloes.of_cell >= 0, dense)
    assert dense.any()


def test_the_pressure_displacement_is_no_longer_than_the_filtering_scale(run):
    length = run.pressure_displacement.norm(dim=1) * run.cell_mpc_h
    assert 0.1 * FILTERING_SCALE_MPC_H < length.max() <= FILTERING_SCALE_MPC_H


def test_around_a_clump_the_pressure_saturates_at_the_filtering_scale():
    """Beyond two scales from a point mass half the scale squared times the slope of ln rho is longer than the scale."""
    gas = 16 * torch.rand(4096, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    position = torch.cat([torch.full_like(gas, 8.0), gas])
    particles = Particles(position, 0 * position, (0.9999, 0.0001), 16)
    run = GravityRun(particles, FIDUCIAL[0], 1, 16 * FILTERING_SCALE_MPC_H / 2)
    length = run.pressure_displacement.norm(dim=1) / 2
    assert 0.8 < length.max() < 1


@pytest.mark.parametrize("n_waves", [1, 2, 3])
def test_pressure_smooths_a_wave_by_the_filtering_scale(n_waves):
    """exp(-k^2 lambda^2 / 2), which one displacement gives to first order in its exponent."""
    run = wave_run(0.02, n_waves)
    exponent = (2 * torch.pi * n_waves / 32) ** 2 / 2
    before, after = (
        amplitude_of_wave(position, n_waves) for position in (run.gas, run.gas + run.pressure_displacement)
    )
    assert 1 - after / before == pytest.approx(exponent, rel=2 * exponent + 0.02)


def test_pressure_moves_the_gas_down_the_density():
    run = wave_run(0.1, 2)
    x, push = run.gas[:, 0], run.pressure_displacement
    down = torch.sin(2 * torch.pi * 2 / 32 * x)
    assert torch.corrcoef(torch.stack([push[:, 0], down]))[0, 1] > 0.95
    assert push[:, 1:].abs().max() < EXACT


def test_an_even_universe_feels_no_pressure():
    assert wave_run(0.0, 2).pressure_displacement.abs().max() < 1e-6


def test_pressure_knows_no_period(run, today):
    images = replace(run, particles=replace(today, position=today.position + 3 * today.n_mesh))
    torch.testing.assert_close(images.pressure_displacement, run.pressure_displacement, rtol=0, atol=EXACT)
