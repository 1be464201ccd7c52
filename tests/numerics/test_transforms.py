import pytest
import torch
from scipy.ndimage import gaussian_filter

from fieldlevel.numerics.transforms import (
    N_SYMMETRIES,
    all_symmetries,
    apply_symmetry,
    augment,
    cut_wavenumbers,
    mean_map,
    randomise_phases,
    scale_to_mean,
    shuffle_pixels,
    smooth_gaussian,
)

# A sampled Gaussian composes in quadrature up to its aliasing, exp(-pi^2 sigma^2) = 2e-10 for 1.5 pixels.
QUADRATURE_TOLERANCE = 1e-8
ROUND_OFF = 1e-12


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand((24, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture(params=[15, 16])
def densities(request) -> torch.Tensor:
    """Four maps with the mean, the scatter and the clustering of total-mass maps, on an odd and an even grid."""
    noise = torch.randn((4, request.param, request.param), generator=torch.Generator().manual_seed(0))
    return 10 ** (11 + 0.5 * (noise + noise.roll(1, 1) + noise.roll(1, 2)).double())


NULLS = {
    "cut": lambda maps: cut_wavenumbers(maps, 3.5),
    "phases": lambda maps: randomise_phases(maps, torch.arange(maps.shape[:-2].numel()).view(maps.shape[:-2])),
    "shuffle": lambda maps: shuffle_pixels(maps, torch.arange(maps.shape[:-2].numel()).view(maps.shape[:-2])),
    "mean": mean_map,
    "scale": lambda maps: scale_to_mean(maps, 4e11),
}
SEEDED = {"phases": randomise_phases, "shuffle": shuffle_pixels}
SEEDS = [0, 1, -5, 2**62]


def log_modes(maps: torch.Tensor) -> torch.Tensor:
    return torch.fft.fft2(maps.log10())


def rotations_and_reflections(image: torch.Tensor) -> list[torch.Tensor]:
    turns = [torch.rot90(image, k, (-2, -1)) for k in range(4)]
    return turns + [turn.flip(-1) for turn in turns]


def element_as_rotation(image: torch.Tensor, index: int) -> torch.Tensor:
    """The eight elements written with rot90 and flip alone."""
    n_turns, flips = ((0, False), (0, True), (2, True), (2, False), (3, True), (3, False), (1, False), (1, True))[index]
    turned = torch.rot90(image, n_turns, (-2, -1))
    return turned.flip(-1) if flips else turned


def test_eight_distinct_images_which_are_the_rotations_and_reflections(maps):
    images = all_symmetries(maps[0])
    assert images.shape == (N_SYMMETRIES, 16, 16)
    assert len({tuple(image.flatten().tolist()) for image in images}) == 8
    expected = {tuple(image.flatten().tolist()) for image in rotations_and_reflections(maps[0])}
    assert {tuple(image.flatten().tolist()) for image in images} == expected


def test_zero_is_the_identity(maps):
    assert torch.equal(apply_symmetry(maps, 0), maps)


def test_symmetries_are_closed_under_composition(maps):
    images = list(all_symmetries(maps[0]))
    for first in images:
        products = [apply_symmetry(first, index) for index in range(8)]
        assert all(any(torch.equal(product, image) for image in images) for product in products)


def test_each_symmetry_has_an_inverse(maps):
    for image in all_symmetries(maps[0]):
        assert any(torch.equal(apply_symmetry(image, index), maps[0]) for index in range(8))


def test_symmetries_act_on_the_last_two_dimensions(maps):
    batch = maps.reshape(2, 3, 4, 16, 16)
    images = all_symmetries(batch)
    assert images.shape == (8, *batch.shape)
    for index in range(8):
        assert torch.equal(images[index, 1, 2, 3], apply_symmetry(batch[1, 2, 3], index))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_augment_is_rotation_flip_and_roll_of_each_map(maps, dtype):
    maps = maps.to(dtype)
    generator = torch.Generator().manual_seed(1)
    symmetry = torch.arange(24) % 8
    shift = torch.randint(-20, 40, (24, 2), generator=generator)
    expected = [
        element_as_rotation(image, int(g)).roll(tuple(s.tolist()), (0, 1))
        for image, g, s in zip(maps, symmetry, shift, strict=True)
    ]
    assert torch.equal(augment(maps, symmetry, shift), torch.stack(expected))


def test_augment_without_shift_is_the_symmetry(maps):
    shift = torch.zeros((24, 2), dtype=torch.int64)
    for index in range(8):
        images = augment(maps, torch.full((24,), index), shift)
        assert torch.equal(images, apply_symmetry(maps, index))


def test_shifts_add_up_and_wrap(maps):
    identity = torch.zeros(24, dtype=torch.int64)
    first, second = torch.randint(0, 16, (2, 24, 2), generator=torch.Generator().manual_seed(2))
    twice = augment(augment(maps, identity, first), identity, second)
    assert torch.equal(twice, augment(maps, identity, first + second))
    assert torch.equal(augment(maps, identity, torch.full((24, 2), 16)), maps)


def test_augment_keeps_the_pixels_of_every_map(maps):
    generator = torch.Generator().manual_seed(3)
    images = augment(
        maps, torch.randint(8, (24,), generator=generator), torch.randint(16, (24, 2), generator=generator)
    )
    assert torch.equal(images.flatten(1).sort().values, maps.flatten(1).sort().values)


@pytest.mark.gpu
def test_augment_is_the_same_on_the_gpu(maps):
    symmetry, shift = torch.arange(24) % 8, torch.arange(48).reshape(24, 2)
    on_gpu = augment(maps.cuda(), symmetry.cuda(), shift.cuda())
    assert torch.equal(on_gpu.cpu(), augment(maps, symmetry, shift))


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 3.0, 9.0])
def test_smoothing_equals_a_direct_convolution(maps, sigma):
    smooth = smooth_gaussian(maps[0], sigma)
    direct = gaussian_filter(maps[0].numpy(), sigma, mode="wrap", truncate=8.0)
    torch.testing.assert_close(smooth, torch.from_numpy(direct), rtol=ROUND_OFF, atol=ROUND_OFF)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 3.0, 50.0])
def test_smoothing_keeps_the_mean(maps, sigma):
    torch.testing.assert_close(smooth_gaussian(maps, sigma).mean((1, 2)), maps.mean((1, 2)), rtol=ROUND_OFF, atol=0)


def test_smoothing_composes_in_quadrature(maps):
    twice = smooth_gaussian(smooth_gaussian(maps, 1.5), 2.0)
    torch.testing.assert_close(twice, smooth_gaussian(maps, 2.5), rtol=QUADRATURE_TOLERANCE, atol=0)


def test_smoothing_commutes_with_shifts_and_symmetries(maps):
    moved = smooth_gaussian(apply_symmetry(maps, 6).roll((3, -5), (1, 2)), 1.0)
    expected = apply_symmetry(smooth_gaussian(maps, 1.0), 6).roll((3, -5), (1, 2))
    torch.testing.assert_close(moved, expected, rtol=ROUND_OFF, atol=ROUND_OFF)


def test_no_smoothing_returns_the_map(maps):
    assert torch.equal(smooth_gaussian(maps, 0.0), maps)


@pytest.mark.parametrize("background", [4.7e9, 0.0])
def test_smoothing_a_bright_pixel_leaves_no_pixel_below_the_background(background):
    """The contrast of real total-mass maps: a kernel cut at the Nyquist frequency would ring below zero."""
    image = torch.full((64, 64), background)
    image[10, 20] = 2.8e15
    smooth = smooth_gaussian(image, 1.0)
    assert smooth.dtype == torch.float32
    assert smooth.min() >= background and smooth.max() < 2.8e15


@pytest.mark.parametrize("name", NULLS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nulls_give_new_positive_maps_of_the_same_kind(densities, name, dtype):
    maps = densities.to(dtype)
    before = maps.clone()
    result = NULLS[name](maps.view(2, 2, *maps.shape[1:]))
    assert result.shape == (2, 2, *maps.shape[1:]) and result.dtype == dtype
    assert (result > 0).all() and result.isfinite().all() and result.is_contiguous()
    result.zero_()
    assert torch.equal(maps, before)


@pytest.mark.parametrize("name", NULLS)
def test_a_null_of_a_map_depends_on_no_other_map(densities, name):
    together = NULLS[name](densities)
    torch.testing.assert_close(NULLS[name](densities[:1]), together[:1], rtol=ROUND_OFF, atol=0)
    nested = NULLS[name](densities.view(2, 2, *densities.shape[1:]))
    torch.testing.assert_close(nested.view_as(densities), together, rtol=ROUND_OFF, atol=0)


@pytest.mark.parametrize("name", SEEDED)
def test_seeds_belong_to_maps_and_decide_alone(densities, name):
    maps = densities[:1].expand(4, -1, -1)
    results = SEEDED[name](maps, SEEDS)
    assert len({tuple(result.flatten().tolist()) for result in results}) == 4
    backwards = SEEDED[name](maps, torch.tensor(SEEDS[::-1]))
    torch.testing.assert_close(backwards.flip(0), results, rtol=ROUND_OFF, atol=0)
    same = SEEDED[name](maps, [7] * 4)
    torch.testing.assert_close(same, same[:1].expand_as(same), rtol=ROUND_OFF, atol=0)


def test_shuffles_are_fixed_for_good():
    """Another order would change every null test: the same seed gives it on any device."""
    shuffled = shuffle_pixels(torch.arange(16.0).view(1, 4, 4), [7])
    assert shuffled[0, :2].flatten().tolist() == [6, 13, 1, 15, 14, 3, 4, 2]


@pytest.mark.parametrize("name", SEEDED)
def test_nulls_of_different_seeds_are_unrelated(name):
    """The correlation of two maps of 64^2 pixels scatters by 1/64, by sqrt(2) more where both have the same power."""
    noise = torch.randn((64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.float64).exp()
    results = SEEDED[name](noise.expand(6, 64, 64), [0, 1, 2, 2**32, 2**32 + 1, 2**33])
    logs = torch.cat([noise[None], results, results[:1].roll(1, 2), results[:1].roll(1, 1)]).log().flatten(1)
    assert (torch.corrcoef(logs) - torch.eye(9)).abs().max() < 5 * 2**0.5 / 64


def test_shuffle_keeps_the_pixels_and_moves_them(densities):
    shuffled = shuffle_pixels(densities, SEEDS)
    assert torch.equal(shuffled.flatten(1).sort().values, densities.flatten(1).sort().values)
    assert (shuffled != densities).double().mean() > 0.9


def test_shuffle_makes_the_spectrum_white():
    """Every place is equally likely for every pixel, so the mean over seeds of |FFT|^2 is that of white noise."""
    wave = 10 + torch.cos(2 * torch.pi * torch.arange(16, dtype=torch.float64) / 8).expand(2000, 16, 16)
    power = torch.fft.fft2(shuffle_pixels(wave, list(range(2000)))).abs().square().mean(0).flatten()[1:]
    white = 16**2 * 16**2 * 0.5 / (16**2 - 1)
    assert (power / white - 1).abs().max() < 6 * (2 / 2000) ** 0.5


def test_random_phases_keep_the_power_of_the_logarithm_mode_by_mode(densities):
    modes, changed = log_modes(densities), log_modes(randomise_phases(densities, SEEDS))
    torch.testing.assert_close(changed.abs(), modes.abs(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(changed[:, 0, 0], modes[:, 0, 0], rtol=ROUND_OFF, atol=1e-9)


def test_random_phases_are_uniform_and_independent_of_the_map(densities):
    maps = densities[:1].expand(2000, -1, -1)
    turns = torch.sgn(log_modes(randomise_phases(maps, list(range(2000)))) / log_modes(maps))
    paired = turns[:, 1:, 1:7].flatten(1)
    for power in (1, 2, 3):
        assert (paired**power).mean(0).abs().max() < 5 / 2000**0.5
    n = maps.shape[-1]
    if n % 2 == 0:
        real = turns[:, [0, n // 2, n // 2], [n // 2, 0, n // 2]]
        assert real.imag.abs().max() < 1e-9 and real.real.mean(0).abs().max() < 5 / 2000**0.5


@pytest.mark.parametrize("k_max", [0.0, 1.0, 3.5, 5.0, 8.0])
def test_cut_keeps_the_modes_up_to_k_max_alone(densities, k_max):
    n = densities.shape[-1]
    k = torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)
    kept = (k[:, None] ** 2 + k**2).sqrt() <= k_max
    modes, changed = log_modes(densities), log_modes(cut_wavenumbers(densities, k_max))
    torch.testing.assert_close(changed, modes * kept, rtol=1e-9, atol=1e-9)


def test_cut_twice_is_the_sharper_cut(densities):
    sharp = cut_wavenumbers(densities, 3.0)
    for first, second in ((3.0, 3.0), (3.0, 5.0), (5.0, 3.0)):
        twice = cut_wavenumbers(cut_wavenumbers(densities, first), second)
        torch.testing.assert_close(twice, sharp, rtol=1e-10, atol=0)


def test_a_cut_in_the_corner_changes_nothing_and_one_below_all_modes_leaves_the_geometric_mean(densities):
    torch.testing.assert_close(cut_wavenumbers(densities, 16 / 2**0.5), densities, rtol=1e-10, atol=0)
    flat = cut_wavenumbers(densities, 0.5)
    expected = 10 ** densities.log10().mean((1, 2), keepdim=True)
    torch.testing.assert_close(flat, expected.expand_as(flat), rtol=1e-10, atol=0)


def test_mean_map_keeps_the_mean_and_nothing_else(densities):
    flat = mean_map(densities)
    torch.testing.assert_close(flat[:, 3, 5], densities.mean((1, 2)), rtol=ROUND_OFF, atol=0)
    assert (flat == flat[:, :1, :1]).all()
    assert torch.equal(mean_map(flat.float()), flat.float())


def test_scaling_gives_the_mean_and_keeps_all_ratios(densities):
    scaled = scale_to_mean(densities, 4.16e11)
    torch.testing.assert_close(scaled.mean((1, 2)), torch.full((4,), 4.16e11).double(), rtol=1e-6, atol=0)
    ratio = scaled / densities
    torch.testing.assert_close(ratio, ratio[:, :1, :1].expand_as(ratio), rtol=ROUND_OFF, atol=0)
    torch.testing.assert_close(scale_to_mean(scaled, 4.16e11), scaled, rtol=ROUND_OFF, atol=0)
    torch.testing.assert_close(scale_to_mean(3 * densities, 4.16e11), scaled, rtol=ROUND_OFF, atol=0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", NULLS)
def test_nulls_are_the_same_on_the_gpu(densities, name):
    torch.testing.assert_close(NULLS[name](densities.cuda()).cpu(), NULLS[name](densities), rtol=1e-9, atol=0)
