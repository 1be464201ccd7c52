import numpy as np
import pytest
import torch

from fieldlevel.numerics.cosmology import Cosmology, linear_power
from fieldlevel.numerics.mesh import gradient, inverse_fourier
from fieldlevel.numerics.spectra import power_spectrum_3d
from fieldlevel.simulate.initial import gaussian_modes, lagrangian_displacements, lattice, linear_density

CPU = torch.device("cpu")


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
    psi1, _ = lagrangian_displacements(density_k)
    k = [2 * torch.pi * f for f in (torch.fft.fftfreq(n)[:, None, None], torch.fft.fftfreq(n)[:, None])]
    k.append(2 * torch.pi * torch.fft.rfftfreq(n))
    divergence = inverse_fourier(sum(1j * k[i] * torch.fft.rfftn(psi1[:, i].view(n, n, n)) for i in range(3)))
    torch.testing.assert_close(divergence, -inverse_fourier(density_k), rtol=0, atol=1e-4)


def test_a_plane_wave_has_no_second_order_displacement():
    n = 16
    wave = torch.cos(2 * torch.pi * torch.arange(n) / n)[:, None, None].expand(n, n, n)
    psi1, psi2 = lagrangian_displacements(torch.fft.rfftn(wave.contiguous()))
    assert psi1.abs().max() > 1
    assert psi2.abs().max() < 1e-4


def test_second_order_displacement_solves_its_equation():
    """div psi2 = sum_{i<j} (phi,ii phi,jj - phi,ij^2) with finite differences of a smooth field."""
    n = 64
    x = 2 * torch.pi * torch.arange(n) / n
    density = torch.cos(x)[:, None, None] + torch.cos(x)[None, :, None] + 0 * x
    potential = -((n / (2 * torch.pi)) ** 2) * density
    second = {(i, j): gradient(gradient(potential)[i])[j] for i, j in ((0, 0), (1, 1), (0, 1))}
    source = second[0, 0] * second[1, 1] - second[0, 1] ** 2
    _, psi2 = lagrangian_displacements(torch.fft.rfftn(density))
    divergence = sum(gradient(psi2[:, i].view(n, n, n).contiguous())[i] for i in range(3))
    torch.testing.assert_close(divergence, source - source.mean(), rtol=0, atol=2e-3)


def test_lattice_order_has_the_last_axis_fastest():
    assert lattice(3, CPU)[:4].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]
