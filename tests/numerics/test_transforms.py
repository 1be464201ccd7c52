import pytest
import torch
from scipy.ndimage import gaussian_filter

from fieldlevel.numerics.transforms import N_SYMMETRIES, all_symmetries, apply_symmetry, augment, smooth_gaussian

# A sampled Gaussian composes in quadrature up to its aliasing, exp(-pi^2 sigma^2) = 2e-10 for 1.5 pixels.
QUADRATURE_TOLERANCE = 1e-8
ROUND_OFF = 1e-12


@pytest.fixture
def maps() -> torch.Tensor:
    return torch.rand((24, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


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
