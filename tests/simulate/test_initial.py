import numpy as np
import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology, Growth, linear_power
from fieldlevel.numerics.mesh import fourier, gradient, inverse_fourier, wavenumbers
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.initial import (
    gaussian_modes,
    lagrangian_displacements,
    lagrangian_potentials,
    lattice,
    linear_density,
)
from fieldlevel.simulate.nbody import Particles, initial_particles

CPU = torch.device("cpu")
N = 16


def displacements(density: torch.Tensor, offset: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    return lagrangian_displacements(*lagrangian_potentials(fourier(density)), offset)


def plane_wave(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    return torch.cos(2 * torch.pi * (2 * x - y + 3 * z) / N + 0.4)


def initial(*, with_gas: bool, a_start: float = 0.05, sigma_8: float = 0.8, n_mesh: int = 2 * N) -> Particles:
    return initial_particles(
        Cosmology(0.3, sigma_8),
        4,
        n_particles=N,
        n_mesh=n_mesh,
        a_start=a_start,
        box_size_mpc_h=25.0,
        device=CPU,
        with_gas=with_gas,
    )


def test_modes_are_hermitian_white_and_depend_on_the_seed():
    modes = gaussian_modes(32, 11, CPU)
    field = inverse_fourier(modes)
    torch.testing.assert_close(torch.fft.rfftn(field), modes, rtol=0, atol=1e-5)
    kept = modes.abs() > 0
    assert modes.abs().square()[kept].mean().item() == pytest.approx(1, abs=0.03)
    assert not torch.equal(gaussian_modes(32, 12, CPU), modes)


def test_resolutions_share_their_common_modes():
    coarse, fine = gaussian_modes(16, 3, CPU), gaussian_modes(32, 3, CPU)
    kx = [0, 1, 5, 7, -7, -3]
    for x in kx:
        for y in kx:
            torch.testing.assert_close(coarse[x, y, :8], fine[x, y, :8])


def test_density_has_the_linear_power():
    n, box = 32, 100.0
    cosmology = Cosmology(0.3, 0.8)
    spectra = []
    for seed in range(8):
        field = inverse_fourier(linear_density(cosmology, seed, n, box, CPU))
        k, power = power_spectrum_3d(1 + field.double())
        spectra.append(power)
    expected = linear_power(k.numpy() * 2 * np.pi / box, cosmology)
    ratio = torch.stack(spectra).mean(0).numpy() * box**3 / expected
    assert ratio[3:].mean() == pytest.approx(1, abs=0.03)
    assert np.abs(ratio[5:] - 1).max() < 0.12


def test_first_order_displacement_has_minus_the_density_as_divergence():
    n = 32
    density_k = linear_density(Cosmology(0.3, 0.8), 1, n, 200.0, CPU)
    psi1, _ = lagrangian_displacements(*lagrangian_potentials(density_k))
    k = wavenumbers(n, CPU)
    divergence = inverse_fourier(sum(1j * k[i] * fourier(psi1[:, i].view(n, n, n)) for i in range(3)))
    torch.testing.assert_close(divergence, -inverse_fourier(density_k), rtol=0, atol=1e-4)


def test_a_plane_wave_has_no_second_order_displacement():
    psi1, psi2 = displacements(plane_wave(*lattice(N, CPU).view(N, N, N, 3).unbind(-1)))
    assert psi1.abs().max() > 0.5
    assert psi2.abs().max() < 1e-4


def test_second_order_displacement_solves_its_equation():
    """div psi2 = sum_{i<j} (phi,ii phi,jj - phi,ij^2) with finite differences of a smooth field."""
    n = 64
    x = 2 * torch.pi * torch.arange(n) / n
    density = torch.cos(x)[:, None, None] + torch.cos(x)[None, :, None] + 0 * x
    potential = -((n / (2 * torch.pi)) ** 2) * density
    second = {(i, j): gradient(gradient(potential)[i])[j] for i, j in ((0, 0), (1, 1), (0, 1))}
    source = second[0, 0] * second[1, 1] - second[0, 1] ** 2
    _, psi2 = displacements(density)
    divergence = sum(gradient(psi2[:, i].view(n, n, n).contiguous())[i] for i in range(3))
    torch.testing.assert_close(divergence, source - source.mean(), rtol=0, atol=2e-3)


@pytest.mark.parametrize("offset", [0.0, 0.5, -0.3])
def test_displacements_of_a_lattice_off_the_mesh_are_those_of_the_wave(offset):
    """psi1 = -k / k^2 sin(k q + phase) for density cos(k q + phase), at the points of the lattice that is asked for."""
    density = plane_wave(*lattice(N, CPU).view(N, N, N, 3).unbind(-1))
    psi1, _ = displacements(density, offset)
    k = 2 * torch.pi / N * torch.tensor([2.0, -1.0, 3.0])
    expected = -k / k.square().sum() * torch.sin(lattice(N, CPU, offset) @ k + 0.4)[:, None]
    torch.testing.assert_close(psi1, expected, rtol=0, atol=1e-5)


def test_an_offset_by_a_cell_rolls_the_displacements():
    density = inverse_fourier(linear_density(Cosmology(0.3, 0.8), 1, N, 25.0, CPU))
    for here, ahead in zip(displacements(density), displacements(density, 1.0), strict=True):
        rolled = here.view(N, N, N, 3).roll((-1, -1, -1), (0, 1, 2)).view(-1, 3)
        torch.testing.assert_close(ahead, rolled, rtol=0, atol=1e-4 * here.abs().max().item())


def test_lattice_order_has_the_last_axis_fastest():
    assert lattice(3, CPU)[:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]


def test_velocities_are_the_derivatives_of_the_positions():
    """With respect to the growth factor, to second order: a central difference over a short time."""
    before, middle, after = (initial(with_gas=True, a_start=a) for a in (0.09, 0.10, 0.11))
    D = Growth(0.3).D(np.array([0.09, 0.11]))
    velocity = (after.position - before.position) / (D[1] - D[0])
    torch.testing.assert_close(velocity, middle.velocity, rtol=0, atol=2e-3 * middle.velocity.abs().max().item())


def test_displacements_scale_with_the_mesh_that_they_are_given_on():
    coarse, fine = (initial(with_gas=True, n_mesh=n_mesh) for n_mesh in (N, 3 * N))
    torch.testing.assert_close(fine.position, 3 * coarse.position, rtol=0, atol=1e-4)
    torch.testing.assert_close(fine.velocity, 3 * coarse.velocity, rtol=0, atol=1e-4)


def test_masses_are_the_cosmic_fractions_and_sum_to_one():
    assert initial(with_gas=False).mass == (1.0,)
    assert initial(with_gas=True).mass == pytest.approx((1 - 0.049 / 0.3, 0.049 / 0.3))
    assert sum(initial(with_gas=True).mass) == pytest.approx(1, abs=1e-12)


def test_gas_stands_in_the_middle_of_the_cells_of_the_dark_matter():
    """Without perturbations: two lattices half a cell (of two mesh cells) apart along each axis."""
    dark_matter, gas = initial(with_gas=True, sigma_8=1e-6).kinds
    torch.testing.assert_close(gas - dark_matter, torch.ones_like(gas), rtol=0, atol=1e-5)
    torch.testing.assert_close(dark_matter - dark_matter[0], 2 * lattice(N, CPU), rtol=0, atol=1e-5)


def test_the_centre_of_mass_does_not_depend_on_the_number_of_kinds():
    one, two = initial(with_gas=False), initial(with_gas=True)
    centre = sum(mass * kind.double().mean(0) for mass, kind in zip(two.mass, two.kinds, strict=True))
    torch.testing.assert_close(centre, one.position.double().mean(0), rtol=0, atol=1e-5)


def test_all_kinds_sample_one_displacement_field():
    """Those of each kind, moved back to the single lattice in Fourier space, are those of the single kind."""
    one, two = initial(with_gas=False), initial(with_gas=True)
    f_b, k = two.mass[1], sum(wavenumbers(N, CPU))
    expected = displacement_modes(one.position, 0.0)
    for kind, offset in zip(two.kinds, (-0.5 * f_b, 0.5 - 0.5 * f_b), strict=True):
        modes = displacement_modes(kind, offset) * torch.exp(-1j * k * offset)
        torch.testing.assert_close(modes, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def displacement_modes(position: torch.Tensor, offset: float) -> torch.Tensor:
    """Real FFT of the displacements from a lattice in its cells, without the Nyquist planes, which have no phase."""
    displacement = position / 2 - lattice(N, CPU, offset)
    modes = torch.stack([fourier(component) for component in displacement.T.reshape(3, N, N, N)])
    modes[:, N // 2] = modes[:, :, N // 2] = modes[..., N // 2] = 0
    return modes


def test_particles_start_from_the_modes_of_their_seed():
    """Early on -div of the displacement over D is the linear density."""
    start = initial(with_gas=False, a_start=0.001)
    modes, k = displacement_modes(start.position, 0.0), wavenumbers(N, CPU)
    divergence = inverse_fourier(sum(1j * k[i] * modes[i] for i in range(3))) / float(Growth(0.3).D(0.001))
    expected = inverse_fourier(linear_density(Cosmology(0.3, 0.8), 4, N, 25.0, CPU))
    assert (divergence + expected).std() < 0.05 * expected.std()
