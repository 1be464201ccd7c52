import pytest
import torch

from fieldlevel.numerics.discs import paint_discs, paint_layers, paint_points, radius_ladder
from fieldlevel.numerics.discs_exact import paint_discs_exact

N_PIXELS = 32
ROUND_OFF = 1e-5  # float32 coordinates of the sampling kernel


def test_mass_is_conserved_and_nothing_is_negative(discs):
    image = paint_discs(*discs, N_PIXELS)
    assert image.sum().item() == pytest.approx(discs[2].sum().item(), rel=1e-5)
    assert image.min() >= 0


def test_large_discs_agree_with_exact_ones(discs):
    """Two rungs stand in for a radius and a fine cell for a position: edges of small discs are blurred."""
    positions, radius, mass = discs
    large = radius > 1.5
    exact, image = (
        paint(positions[large], radius[large], mass[large], N_PIXELS) for paint in (paint_discs_exact, paint_discs)
    )
    assert (image - exact).abs().max() < 0.1 * exact.max()
    assert (image - exact).std() < 0.02 * exact.max()


def test_whole_pixel_shifts_roll_the_image(discs):
    positions, radius, mass = discs
    moved = paint_discs(positions + torch.tensor([3.0, -40.0]), radius, mass, N_PIXELS)
    expected = torch.roll(paint_discs(positions, radius, mass, N_PIXELS), (3, -40), (0, 1))
    torch.testing.assert_close(moved, expected, rtol=1e-3, atol=1e-4)


def test_a_disc_across_the_edge_equals_one_in_the_middle():
    radius, mass = torch.tensor([4.0]), torch.ones(1)
    middle = paint_discs(torch.tensor([[16.0, 16.0]]), radius, mass, N_PIXELS)
    corner = paint_discs(torch.tensor([[0.0, 32.0]]), radius, mass, N_PIXELS)
    torch.testing.assert_close(torch.roll(corner, (16, 16), (0, 1)), middle, rtol=1e-4, atol=1e-7)


def test_a_point_stays_in_its_pixel():
    image = paint_discs(torch.tensor([[7.5, 20.5]]), torch.zeros(1), torch.ones(1), N_PIXELS)
    assert image[7, 20].item() == pytest.approx(1, abs=1e-5)


def test_a_disc_is_flat_and_as_large_as_its_radius():
    image = paint_discs(torch.tensor([[16.0, 16.0]]), torch.tensor([8.0]), torch.ones(1), N_PIXELS)
    area = torch.pi * 64
    assert image[12:20, 12:20].mean().item() == pytest.approx(1 / area, rel=0.03)
    distance = (torch.arange(N_PIXELS) + 0.5 - 16).square()
    moment = (image * (distance[:, None] + distance[None, :])).sum().item()
    assert moment == pytest.approx(8.0**2 / 2, rel=0.03)


def test_ladder_starts_with_points_and_reaches_a_quarter_of_the_grid():
    ladder = radius_ladder(64)
    assert ladder[0] == 0
    assert ladder[-1] >= 16 > ladder[-2]


def test_every_rung_conserves_the_mass():
    """One disc of each radius of the ladder, and one beyond its end."""
    radius = torch.tensor([*radius_ladder(2 * N_PIXELS), 40.0]) / 2
    for r in radius:
        image = paint_discs(torch.tensor([[3.3, 30.9]]), r[None], torch.tensor([2.0]), N_PIXELS)
        assert image.sum().item() == pytest.approx(2, rel=ROUND_OFF)


def test_transposed_positions_make_the_transposed_image(discs):
    positions, radius, mass = discs
    image = paint_discs(positions, radius, mass, N_PIXELS)
    transposed = paint_discs(positions.flip(1), radius, mass, N_PIXELS)
    torch.testing.assert_close(transposed, image.T, rtol=1e-4, atol=ROUND_OFF)


def test_layers_are_separate_images(discs):
    positions, radius, mass = discs
    layer = torch.arange(400) % 5
    layers = paint_layers(positions, radius, mass, layer.float(), 5, N_PIXELS)
    separate = [paint_discs(*(values[layer == i] for values in discs), N_PIXELS) for i in range(5)]
    torch.testing.assert_close(layers, torch.stack(separate), rtol=0, atol=ROUND_OFF)


def test_the_largest_discs_and_points_do_not_leak_into_the_layers_beside_theirs():
    """They stand on the last rung of a layer and on the first."""
    radius = torch.tensor([0.0, 1e3]).repeat(50)
    generator = torch.Generator().manual_seed(6)
    positions, mass = N_PIXELS * torch.rand(100, 2, generator=generator), torch.ones(100)
    layers = paint_layers(positions, radius, mass, torch.full_like(radius, 2), 5, N_PIXELS)
    shares = layers.sum((1, 2)) / 100
    torch.testing.assert_close(shares, torch.eye(5)[2], rtol=0, atol=ROUND_OFF)


def test_an_empty_layer_is_empty(discs):
    layers = paint_layers(*discs, torch.zeros(400), 2, N_PIXELS)
    assert layers[1].sum() < ROUND_OFF * layers[0].sum()


def test_points_are_counted_exactly():
    """Sums of whole numbers, against a loop over the points."""
    generator = torch.Generator().manual_seed(7)
    positions = N_PIXELS * (3 * torch.rand(5000, 2, generator=generator) - 1)
    layer, mass = torch.arange(5000) % 3, torch.randint(1, 1000, (5000,), generator=generator)
    images = paint_points(positions, mass.float(), layer.float(), 3, N_PIXELS)
    expected = torch.zeros(3, N_PIXELS, N_PIXELS, dtype=torch.int64)
    for (x, y), i, m in zip(positions.tolist(), layer.tolist(), mass.tolist(), strict=True):
        expected[i, int(x // 1) % N_PIXELS, int(y // 1) % N_PIXELS] += m
    assert torch.equal(images, expected.float())


def test_sums_of_points_do_not_depend_on_their_order():
    """Sixteen million and many ones, which float32 sums would lose."""
    positions, mass = torch.zeros(101, 2), torch.ones(101)
    mass[0] = 2.0**24
    image = paint_points(positions, mass, torch.zeros(101), 1, N_PIXELS)
    assert image[0, 0, 0].item() == 2**24 + 100
    assert torch.equal(image, paint_points(positions, mass.flip(0), torch.zeros(101), 1, N_PIXELS))


@pytest.mark.parametrize(("edge", "pixel"), [(0.0, 0), (31.999, 31), (32.0, 0), (-0.001, 31), (-32.0, 0)])
def test_a_pixel_holds_its_lower_edge_but_not_its_upper(edge, pixel):
    image = paint_points(torch.tensor([[edge, 4.0]]), torch.ones(1), torch.zeros(1), 1, N_PIXELS)[0]
    assert image[pixel, 4] == 1


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(discs):
    layer = torch.arange(400).float() % 5
    on_gpu = [values.cuda() for values in (*discs, layer)]
    layers = paint_layers(*on_gpu, 5, N_PIXELS).cpu()
    torch.testing.assert_close(layers, paint_layers(*discs, layer, 5, N_PIXELS), rtol=0, atol=ROUND_OFF)
    positions, _, mass = discs
    points = paint_points(on_gpu[0], on_gpu[2], on_gpu[3], 5, N_PIXELS).cpu()
    torch.testing.assert_close(points, paint_points(positions, mass, layer, 5, N_PIXELS))
