import pytest
import torch

from fieldlevel.numerics import discs_exact
from fieldlevel.numerics.discs_exact import paint_discs_exact, paint_layers_exact

N_PIXELS = 32
EXACT = 1e-12  # float64 round-off of sums over a map


@pytest.fixture(params=["compiled", "tensors"], autouse=True)
def painter(request, monkeypatch):
    """The tensor operations of the GPU on the CPU too."""
    if request.param == "tensors":
        monkeypatch.setattr(discs_exact, "_add_compiled", discs_exact.add_discs)


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
    monkeypatch.setitem(discs_exact._CORNERS_AT_ONCE, "cpu", 1)
    chosen = [[values[layer == i] for values in (positions, radius, mass)] for i in range(5)]
    separate = torch.stack([paint_discs_exact(*each, N_PIXELS) for each in chosen])
    torch.testing.assert_close(layers, separate, rtol=0, atol=EXACT)


def test_no_exact_discs_make_an_empty_image():
    image = paint_discs_exact(torch.zeros(0, 2), torch.zeros(0), torch.zeros(0), N_PIXELS)
    assert image.shape == (N_PIXELS, N_PIXELS)
    assert not image.any()


@pytest.mark.gpu
@pytest.mark.parametrize("painter", ["tensors"], indirect=True)
def test_exact_discs_on_gpu_agree_with_cpu(discs):
    layer = torch.arange(400) % 5
    on_gpu = paint_layers_exact(*(values.cuda() for values in (*discs, layer)), 5, N_PIXELS).cpu()
    torch.testing.assert_close(on_gpu, paint_layers_exact(*discs, layer, 5, N_PIXELS), rtol=0, atol=EXACT)
