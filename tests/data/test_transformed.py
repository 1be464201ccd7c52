import math

import numpy as np
import pytest
import torch

from fieldlevel.data.suite import open_suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import largest_wavenumber, transform_maps
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.numerics.transforms import smooth_gaussian

KINDS = ("none", "smoothing", "k_max", "mean map", "shuffled pixels", "random phases", "no monopole")


@pytest.fixture
def maps() -> torch.Tensor:
    return 1e11 * torch.rand(6, 16, 16, generator=torch.Generator().manual_seed(1)).square() + 1e9


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_transformed_by_itself_and_stays_positive(maps, kind):
    spec = TransformSpec(kind, scale=1.5, seed=3)
    numbers = [4, 9, 2, 7, 0, 1]
    together = transform_maps(maps, spec, numbers)
    assert together.shape == maps.shape
    assert (together > 0).all()
    for i, number in enumerate(numbers):
        torch.testing.assert_close(transform_maps(maps[i : i + 1], spec, [number])[0], together[i], rtol=1e-5, atol=0)


@pytest.mark.parametrize("kind", ["shuffled pixels", "random phases"])
def test_chance_follows_the_seed_and_the_number_of_the_map(maps, kind):
    same = transform_maps(maps[:1], TransformSpec(kind, seed=3), [4])
    assert torch.equal(same, transform_maps(maps[:1], TransformSpec(kind, seed=3), [4]))
    for seed, number in ((3, 5), (4, 4)):
        assert not torch.equal(same, transform_maps(maps[:1], TransformSpec(kind, seed=seed), [number]))


def test_scales_are_in_pixels_and_h_over_mpc(maps):
    """A map of 25 Mpc/h: the fundamental mode is 0.2513 h/Mpc, below it only the mean of the logarithm is left."""
    expected = smooth_gaussian(maps, 1.5)
    torch.testing.assert_close(transform_maps(maps, TransformSpec("smoothing", 1.5), range(6)), expected)
    flat = transform_maps(maps, TransformSpec("k_max", 0.25), range(6))
    torch.testing.assert_close(flat, 10 ** maps.log10().mean((1, 2), keepdim=True).expand_as(maps), rtol=1e-4, atol=0)


def wave(mode: tuple[int, int], n_pixels: int = 32) -> torch.Tensor:
    """A map of 25 Mpc/h whose logarithm is a plane wave with so many wavelengths along its sides, shape (1, N, N)."""
    x = torch.arange(n_pixels, dtype=torch.float64) / n_pixels
    phase = 2 * math.pi * (mode[0] * x[:, None] + mode[1] * x)
    return (10 ** (11 + 0.1 * phase.cos()))[None]


@pytest.mark.parametrize(("mode", "k"), [((3, 0), 0.75398), ((3, 4), 1.25664), ((0, 12), 3.01593)])
def test_a_wave_is_cut_at_its_wavenumber_in_h_over_mpc(mode, k):
    """A wave of n wavelengths along 25 Mpc/h has k = 2 pi n / 25 h/Mpc."""
    one, flat = wave(mode), torch.full((1, 32, 32), 1e11, dtype=torch.float64)
    torch.testing.assert_close(transform_maps(one, TransformSpec("k_max", 1.01 * k), [0]), one)
    torch.testing.assert_close(transform_maps(one, TransformSpec("k_max", 0.99 * k), [0]), flat)


def test_maps_end_at_the_corner_of_their_fourier_plane():
    """A chequerboard is the shortest wave of a map: pi N / 25 h/Mpc along each side."""
    one = wave((16, 16))
    assert largest_wavenumber(32) == pytest.approx(5.6869, rel=1e-4)
    assert largest_wavenumber(256) == pytest.approx(45.4955, rel=1e-4)
    below = transform_maps(one, TransformSpec("k_max", 0.999 * largest_wavenumber(32)), [0])
    torch.testing.assert_close(below, torch.full_like(one, 1e11))


@pytest.mark.parametrize("k_max", [2.9, 40.0])
def test_a_cut_that_cuts_nothing_is_refused(maps, k_max):
    words = rf"transform.scale = {k_max:g}: maps of 16 x 16 pixels end at 2.84 h/Mpc, nothing would be cut"
    with pytest.raises(UserError, match=words):
        transform_maps(maps, TransformSpec("k_max", k_max), range(6))
    transform_maps(maps, TransformSpec("smoothing", k_max), range(6))


def test_the_mean_of_omega_m_03_is_the_mass_of_5_mpc_of_it():
    """0.3 times the critical density of 2.775e11 (Msun/h)/(Mpc/h)^3 times 5 Mpc/h."""
    assert pytest.approx(4.163e11, rel=1e-3) == Layout().mean_density(0.3)


def test_no_monopole_leaves_the_mean_of_omega_m_03(maps):
    means = transform_maps(maps, TransformSpec("no monopole"), range(6)).mean((1, 2))
    torch.testing.assert_close(means, torch.full((6,), Layout().mean_density(0.3)))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_that_cannot_be_is_refused(maps, scale):
    with pytest.raises(UserError, match="smoothing needs a positive number"):
        transform_maps(maps, TransformSpec("smoothing", scale), range(6))


def test_empty_pixels_have_no_logarithm(maps):
    maps[2, 3, 4] = 0
    for kind in ("k_max", "random phases"):
        with pytest.raises(UserError, match="some pixels are not positive"):
            transform_maps(maps, TransformSpec(kind, 1.0), range(6))


def test_a_suite_reads_transformed_maps_of_the_same_files(write_suite):
    suite = open_suite(write_suite(), "MockTNG", check=False)
    smooth = suite.transformed(TransformSpec("smoothing", 1.0))
    expected = smooth_gaussian(torch.from_numpy(suite.read_simulation(1)), 1.0).numpy()
    np.testing.assert_allclose(smooth.read_simulation(1), expected)
    assert smooth.fingerprint == suite.fingerprint


def test_permuted_labels_are_those_of_the_chosen_simulations(write_suite):
    suite = open_suite(write_suite(), "MockTNG", check=False)
    chosen = np.array([0, 2, 3, 5, 6])
    permuted = suite.with_permuted_labels(chosen, seed=1)
    rest = np.setdiff1d(np.arange(suite.n_simulations), chosen)
    np.testing.assert_array_equal(permuted.parameters[rest], suite.parameters[rest])
    assert (permuted.parameters[chosen] != suite.parameters[chosen]).any()
    assert sorted(map(tuple, permuted.parameters[chosen])) == sorted(map(tuple, suite.parameters[chosen]))
