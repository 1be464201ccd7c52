import pytest
import torch

from fieldlevel.numerics.discs import paint_discs, radius_ladder

N_PIXELS = 32


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
