import math

import numpy as np
import pytest
import torch

from fieldlevel.errors import UserError
from fieldlevel.numerics import spectra
from fieldlevel.numerics.spectra import power_spectrum_2d, power_spectrum_3d

ROUND_OFF = 1e-12


@pytest.fixture
def maps() -> np.ndarray:
    """Five maps with the scatter of total-mass maps, float32."""
    return (10 ** (11 + 0.5 * np.random.default_rng(1).standard_normal((5, 32, 32)))).astype(np.float32)


def independent_modes(n: int) -> list[tuple[int, int]]:
    """One mode of each pair k, -k, without the monopole, listed by hand."""
    kept: set[tuple[int, int]] = set()
    for mode in np.ndindex(n, n):
        if mode != (0, 0) and (-mode[0] % n, -mode[1] % n) not in kept:
            kept.add(mode)
    return sorted(kept)


def modulus(mode: tuple[int, int], n: int) -> float:
    return math.hypot(*(min(each, n - each) for each in mode))


def power_mode_by_mode(image: np.ndarray, box_size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """k, P and number of independent modes of every shell, by the definition."""
    n = len(image)
    delta_k = np.fft.fft2(image / image.mean() - 1)
    shells: dict[int, list[tuple[float, float]]] = {}
    for mode in independent_modes(n):
        k = modulus(mode, n)
        shells.setdefault(int(k), []).append((k, abs(delta_k[mode]) ** 2))
    k, power = (np.array([np.mean([pair[i] for pair in shells[shell]]) for shell in sorted(shells)]) for i in (0, 1))
    n_modes = np.array([len(shells[shell]) for shell in sorted(shells)])
    return k * 2 * np.pi / box_size, power * box_size**2 / n**4, n_modes


@pytest.mark.parametrize("n", [2, 3, 8, 15, 32])
def test_power_of_maps_equals_a_sum_mode_by_mode(maps, n):
    image = maps[0, :n, :n].astype(np.float64)
    k, power = power_spectrum_2d(image[None], box_size_mpc_h=7.0, corners=True)
    expected_k, expected_power, _ = power_mode_by_mode(image, box_size=7.0)
    np.testing.assert_allclose(k, expected_k, rtol=ROUND_OFF)
    np.testing.assert_allclose(power[0], expected_power, rtol=1e-10)


@pytest.mark.parametrize("n", [31, 32])
def test_shells_end_at_the_nyquist_wavenumber_or_in_the_corner(maps, n):
    inside, corners = (power_spectrum_2d(maps[:, :n, :n], corners=flag) for flag in (False, True))
    assert inside[0].shape == (n // 2,) and inside[1].shape == (5, n // 2)
    assert corners[0].shape == (int(math.sqrt(2) * (n // 2)),)
    np.testing.assert_array_equal(corners[0][: n // 2], inside[0])
    np.testing.assert_array_equal(corners[1][:, : n // 2], inside[1])
    fundamental = 2 * np.pi / 25.0
    assert fundamental <= inside[0][0] < 2 * fundamental
    assert n // 2 * fundamental <= inside[0][-1] < (n // 2 + 1) * fundamental


def test_white_noise_is_flat_at_its_variance_times_the_area_of_a_pixel():
    noise = 1 + 0.1 * torch.randn(400, 64, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    _, power = power_spectrum_2d(3e11 * noise, box_size_mpc_h=25.0, corners=True)
    in_units_of_noise = power.mean(0) / (0.1**2 * (25.0 / 64) ** 2)
    n_modes = torch.from_numpy(power_mode_by_mode(noise[0].numpy(), 25.0)[2])
    # The power of a complex mode scatters by 100%, of a real one, which the corner is, by 141%.
    assert ((in_units_of_noise - 1).abs() < 5 * (2 / n_modes / 400).sqrt()).all()
    assert in_units_of_noise.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("kx", "ky", "shell"), [(3, 0, 3), (0, 5, 5), (3, 4, 5), (-3, 4, 5), (6, -7, 9), (1, 1, 1)])
def test_a_plane_wave_in_a_map_has_its_power_in_one_shell(kx, ky, shell):
    n, amplitude, box_size = 32, 0.2, 10.0
    x = np.arange(n)
    image = 7 * (1 + amplitude * np.cos(2 * np.pi * (kx * x[:, None] + ky * x) / n + 0.3))
    _, power = power_spectrum_2d(image[None], box_size)
    n_modes = power_mode_by_mode(image, box_size)[2]
    assert power[0, shell - 1] * n_modes[shell - 1] == pytest.approx(box_size**2 * (amplitude / 2) ** 2, rel=1e-10)
    assert np.delete(power[0], shell - 1).max() < 1e-28


@pytest.mark.parametrize("n", [31, 32])
def test_parseval_in_maps(maps, n):
    """The variance of the overdensity is the sum of the power of all modes, corners included, over the area.

    Both modes of a pair count, and on an even grid the three modes that are their own partners once: they are removed.
    """
    modes = np.fft.rfft2(maps[0, :n, :n].astype(np.float64))
    if n % 2 == 0:
        modes[[0, n // 2, n // 2], [n // 2, 0, n // 2]] = 0
    image = np.fft.irfft2(modes, s=(n, n))
    _, power = power_spectrum_2d(image[None], box_size_mpc_h=25.0, corners=True)
    n_modes = power_mode_by_mode(image, 25.0)[2]
    assert 2 * (n_modes * power[0]).sum() / 25.0**2 == pytest.approx((image / image.mean()).var(), rel=1e-10)


def test_power_is_of_the_overdensity(maps):
    _, power = power_spectrum_2d(maps.astype(np.float64))
    np.testing.assert_allclose(power_spectrum_2d(maps * 1e-9)[1], power, rtol=1e-6)
    np.testing.assert_allclose(power_spectrum_2d(maps.astype(np.float64) * 137)[1], power, rtol=ROUND_OFF)


def test_power_does_not_change_under_shifts_and_symmetries(maps):
    _, power = power_spectrum_2d(maps)
    for moved in (np.roll(maps, (5, -11), (1, 2)), maps.transpose(0, 2, 1), maps[:, ::-1]):
        np.testing.assert_allclose(power_spectrum_2d(moved)[1], power, rtol=1e-11)


def test_power_scales_with_the_box(maps):
    (k, power), (k_wide, power_wide) = power_spectrum_2d(maps, 25.0), power_spectrum_2d(maps, 50.0)
    np.testing.assert_allclose(k_wide, k / 2, rtol=ROUND_OFF)
    np.testing.assert_allclose(power_wide, 4 * power, rtol=ROUND_OFF)


@pytest.mark.parametrize("pixels_at_once", [1, 2 * 32**2, 3 * 32**2])
def test_power_of_maps_depends_on_neither_batch_nor_block(maps, monkeypatch, pixels_at_once):
    _, power = power_spectrum_2d(maps)
    monkeypatch.setattr(spectra, "_PIXELS_AT_ONCE", pixels_at_once)
    np.testing.assert_allclose(power_spectrum_2d(maps)[1], power, rtol=ROUND_OFF)
    np.testing.assert_allclose(power_spectrum_2d(maps[3:4])[1], power[3:4], rtol=ROUND_OFF)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_tensors_arrays_and_memory_maps_have_the_same_power(maps, tmp_path, dtype):
    np.save(tmp_path / "maps.npy", maps.astype(dtype))
    of_file = power_spectrum_2d(np.load(tmp_path / "maps.npy", mmap_mode="r", allow_pickle=False))
    of_tensor = power_spectrum_2d(torch.from_numpy(maps))
    for from_file, from_array, from_tensor in zip(of_file, power_spectrum_2d(maps), of_tensor, strict=True):
        assert isinstance(from_file, np.ndarray) and from_file.dtype == np.float64
        assert isinstance(from_tensor, torch.Tensor) and from_tensor.dtype == torch.float64
        np.testing.assert_array_equal(from_file, from_array)
        np.testing.assert_array_equal(from_tensor.numpy(), from_array)


def test_a_map_without_structure_has_no_power():
    _, power = power_spectrum_2d(np.full((1, 64, 64), 3.7e11, dtype=np.float32))
    assert power.max() < 1e-28


@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_one_map_is_one_of_one(make):
    one = 1 + np.random.default_rng(3).random((16, 16))
    (k, alone), (k_among, among) = power_spectrum_2d(make(one)), power_spectrum_2d(make(one[None]))
    assert alone.shape == (1, 8)
    assert (alone == among).all() and (k == k_among).all()


@pytest.mark.parametrize("shape", [(16, 8), (2, 16, 8), (0, 16, 16), (1, 2, 16, 16), (3, 1, 1), (16,)])
def test_power_refuses_other_shapes(shape):
    with pytest.raises(UserError, match=r"shape .*; give \(n, N, N\)"):
        power_spectrum_2d(np.ones(shape))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_power_names_the_first_map_without_a_positive_mean(maps, monkeypatch, value):
    monkeypatch.setattr(spectra, "_PIXELS_AT_ONCE", 2 * 32**2)
    maps[3:] = value
    with pytest.raises(UserError, match="map 3 has the mean"):
        power_spectrum_2d(torch.from_numpy(maps))


@pytest.mark.parametrize("box_size", [0.0, -25.0, math.nan, math.inf])
def test_power_refuses_an_impossible_box(maps, box_size):
    with pytest.raises(UserError, match="box_size_mpc_h"):
        power_spectrum_2d(maps, box_size)


@pytest.mark.gpu
def test_power_of_maps_is_the_same_on_the_gpu(maps):
    on_gpu = power_spectrum_2d(torch.from_numpy(maps).cuda())
    assert all(each.is_cuda for each in on_gpu)
    for each, expected in zip(on_gpu, power_spectrum_2d(maps), strict=True):
        np.testing.assert_allclose(each.cpu().numpy(), expected, rtol=1e-10)


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
