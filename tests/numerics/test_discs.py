import pytest
import torch

from fieldlevel.numerics import discs as discs_module
from fieldlevel.numerics.discs import (
    paint_discs,
    paint_discs_exact,
    paint_layers,
    paint_layers_exact,
    paint_points,
    radius_ladder,
)

N_PIXELS = 32
EXACT = 1e-12  # float64 round-off of sums over a map
ROUND_OFF = 1e-5  # float32 coordinates of the sampling kernel


@pytest.fixture
def discs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    positions = N_PIXELS * (3 * torch.rand(400, 2, generator=generator) - 1)
    return positions, 6 * torch.rand(400, generator=generator) ** 3, torch.rand(400, generator=generator)


def brute_force(
    positions: torch.Tensor, radius: torch.Tensor, mass: torch.Tensor, subsamples: int = 16
) -> torch.Tensor:
    """Share of each disc in each pixel by counting sub-pixels, periodic."""
    side = N_PIXELS * subsamples
    axis = (torch.arange(side, dtype=torch.float64) + 0.5) / subsamples
    image = torch.zeros(N_PIXELS, N_PIXELS, dtype=torch.float64)
    for (x, y), r, m in zip(positions.double().tolist(), radius.tolist(), mass.tolist(), strict=True):
        dx, dy = ((axis - c + N_PIXELS / 2) % N_PIXELS - N_PIXELS / 2 for c in (x, y))
        inside = (dx[:, None] ** 2 + dy[None, :] ** 2 <= r**2).double()
        inside = inside.view(N_PIXELS, subsamples, N_PIXELS, subsamples).sum((1, 3))
        image += m * inside / inside.sum()
    return image


def test_mass_is_conserved_and_nothing_is_negative(discs):
    image = paint_discs(*discs, N_PIXELS)
    assert image.sum().item() == pytest.approx(discs[2].sum().item(), rel=1e-5)
    assert image.min() >= 0


def test_large_discs_agree_with_brute_force(discs):
    """Two rungs stand in for a radius and a fine cell for a position: edges of small discs are blurred."""
    positions, radius, mass = discs
    large = radius > 1.5
    chosen = positions[large], radius[large], mass[large]
    image, expected = paint_discs(*chosen, N_PIXELS).double(), brute_force(*chosen)
    assert (image - expected).abs().max() < 0.1 * expected.max()
    assert (image - expected).std() < 0.02 * expected.max()


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


def test_exact_shares_of_known_discs():
    """A quarter of a disc in each of four pixels; a disc inside a pixel; segments and a middle in three columns."""
    centre = torch.tensor([[8.0, 8.0], [3.5, 20.5], [16.5, 4.0]], dtype=torch.float64)
    radius, ones = torch.tensor([0.7, 0.5, 1.0], dtype=torch.float64), torch.ones(1)
    quarters, whole, segments = (paint_discs_exact(centre[[i]], radius[[i]], ones, N_PIXELS) for i in range(3))
    torch.testing.assert_close(quarters[7:9, 7:9], torch.full((2, 2), 0.25, dtype=torch.float64), rtol=0, atol=EXACT)
    assert whole[3, 20].item() == pytest.approx(1, abs=EXACT)
    segment = (torch.pi / 3 - 3**0.5 / 4) / torch.pi  # beyond half the radius
    middle = (1 - 2 * segment) / 2
    expected = torch.tensor([[segment / 2] * 2, [middle] * 2, [segment / 2] * 2], dtype=torch.float64)
    torch.testing.assert_close(segments[15:18, 3:5], expected, rtol=0, atol=EXACT)


def test_exact_discs_agree_with_brute_force(discs):
    """A sub-pixel on the edge is in or out: shares of single discs are known to a part in a few hundred."""
    for some in range(0, 400, 20):
        one = [values[some : some + 1] for values in discs]
        if one[1].item() > 0.3:
            error = paint_discs_exact(*one, N_PIXELS) - brute_force(*one, subsamples=32)
            assert error.abs().max() < 2e-2 * one[2].item() / max(one[1].item(), 1)


@pytest.mark.parametrize("radius", [0.0, 1e-300, 1e-9, 0.3, 2.5, N_PIXELS / 2, 3.0 * N_PIXELS])
def test_exact_discs_conserve_mass(radius):
    """Of any size, also around a corner of pixels and beyond the box."""
    centre = torch.tensor([[8.0, 8.0], [31.9, -0.1], [7.25, 200.5]], dtype=torch.float64)
    image = paint_discs_exact(centre, torch.full((3,), radius, dtype=torch.float64), torch.ones(3), N_PIXELS)
    assert image.sum().item() == pytest.approx(3, rel=EXACT)
    assert image.min() >= 0


def test_the_mass_of_many_exact_discs_is_conserved_in_float64(discs):
    image = paint_discs_exact(*discs, N_PIXELS)
    assert image.sum().item() == pytest.approx(discs[2].double().sum().item(), rel=EXACT)


def test_an_exact_disc_across_the_edge_is_the_sum_of_its_images(discs):
    """Explicit copies of the discs on a grid three times as large, cut to its middle."""
    positions, radius, mass = (values[:50] for values in discs)
    positions = positions.double().remainder(N_PIXELS)
    shifts = N_PIXELS * torch.cartesian_prod(torch.arange(3), torch.arange(3))
    copies = (positions + shifts[:, None]).flatten(0, 1)
    large = paint_discs_exact(copies, radius.repeat(9), mass.repeat(9), 3 * N_PIXELS)
    middle = large[N_PIXELS:-N_PIXELS, N_PIXELS:-N_PIXELS]
    torch.testing.assert_close(paint_discs_exact(positions, radius, mass, N_PIXELS), middle, rtol=0, atol=EXACT)


def test_whole_pixel_shifts_roll_exact_discs(discs):
    positions, radius, mass = (values.double() for values in discs)
    moved = paint_discs_exact(positions + torch.tensor([3.0, -40.0]), radius, mass, N_PIXELS)
    expected = torch.roll(paint_discs_exact(positions, radius, mass, N_PIXELS), (3, -40), (0, 1))
    torch.testing.assert_close(moved, expected, rtol=0, atol=EXACT)


def test_halving_the_pixels_adds_exact_shares(discs):
    positions, radius, mass = (values.double() for values in discs)
    fine = paint_discs_exact(2 * positions, 2 * radius, mass, 2 * N_PIXELS)
    pooled = 4 * torch.nn.functional.avg_pool2d(fine[None], 2)[0]
    torch.testing.assert_close(paint_discs_exact(positions, radius, mass, N_PIXELS), pooled, rtol=0, atol=EXACT)


def test_exact_layers_are_separate_images_however_they_are_divided(discs, monkeypatch):
    """Points among the discs, and at most one disc at a time."""
    positions, radius, mass = discs
    radius = radius.where(torch.arange(400) % 7 > 0, 0.0)
    layer = torch.arange(400) % 5
    layers = paint_layers_exact(positions, radius, mass, layer, 5, N_PIXELS)
    monkeypatch.setitem(discs_module._CORNERS_AT_ONCE, "cpu", 1)
    chosen = [[values[layer == i] for values in (positions, radius, mass)] for i in range(5)]
    separate = torch.stack([paint_discs_exact(*each, N_PIXELS) for each in chosen])
    torch.testing.assert_close(layers, separate, rtol=0, atol=EXACT)


def test_no_exact_discs_make_an_empty_image():
    image = paint_discs_exact(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0), N_PIXELS)
    assert image.shape == (N_PIXELS, N_PIXELS)
    assert not image.any()


def test_the_ladder_is_near_exact_discs_wider_than_pixels(discs):
    positions, radius, mass = discs
    wide = radius > 2
    exact, image = (
        paint(positions[wide], radius[wide], mass[wide], N_PIXELS) for paint in (paint_discs_exact, paint_discs)
    )
    assert (image.double() - exact).std() < 0.15 * exact.std()


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(discs):
    layer = torch.arange(400).float() % 5
    on_gpu = [values.cuda() for values in (*discs, layer)]
    layers = paint_layers(*on_gpu, 5, N_PIXELS).cpu()
    torch.testing.assert_close(layers, paint_layers(*discs, layer, 5, N_PIXELS), rtol=0, atol=ROUND_OFF)
    positions, _, mass = discs
    points = paint_points(on_gpu[0], on_gpu[2], on_gpu[3], 5, N_PIXELS).cpu()
    torch.testing.assert_close(points, paint_points(positions, mass, layer, 5, N_PIXELS))


@pytest.mark.gpu
def test_exact_discs_on_gpu_agree_with_cpu(discs):
    layer = torch.arange(400) % 5
    on_gpu = paint_layers_exact(*(values.cuda() for values in (*discs, layer)), 5, N_PIXELS).cpu()
    torch.testing.assert_close(on_gpu, paint_layers_exact(*discs, layer, 5, N_PIXELS), rtol=0, atol=EXACT)
