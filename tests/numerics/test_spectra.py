import pytest
import torch

from fieldlevel.numerics.spectra import power_spectrum_3d


def test_parseval():
    """The variance of a field is the sum of its power over all modes below and at the corner."""
    n = 16
    field = 1 + 0.1 * torch.randn(n, n, n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    modes = torch.fft.fftn(field / field.mean() - 1) / n**3
    assert modes.abs().square().sum().item() == pytest.approx(
        (field / field.mean()).var(correction=0).item(), rel=1e-10
    )


def test_a_plane_wave_has_its_power_in_one_shell():
    n = 16
    x = torch.arange(n, dtype=torch.float64)
    field = 1 + 0.2 * torch.cos(2 * torch.pi * 3 * x / n)[:, None, None].expand(n, n, n)
    k, power = power_spectrum_3d(field)
    n_modes = _modes_in_shell(n, 3)
    assert power[2].item() * n_modes == pytest.approx(2 * 0.1**2, rel=1e-6)
    assert power[[0, 1, 3, 4, 5]].abs().max() < 1e-12
    assert k[2].item() == pytest.approx(3, abs=0.2)


def test_cross_spectrum_of_a_field_with_itself_is_its_power():
    field = 1 + 0.1 * torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(power_spectrum_3d(field, field)[1], power_spectrum_3d(field)[1])


def _modes_in_shell(n: int, shell: int) -> int:
    k = torch.fft.fftfreq(n, 1 / n)
    return int(((k[:, None, None] ** 2 + k[:, None] ** 2 + k**2).sqrt().round() == shell).sum())
