"""Which bubble a particle is in, against brute force, and where it is blown."""

import pytest
import torch

from fieldlevel.simulate.bubbles import Bubbles, blown_out

N_MESH = 32


def random(*shape: int, seed: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def position() -> torch.Tensor:
    return random(5000, 3, seed=1) * N_MESH


def shift_of(bubbles: Bubbles, position: torch.Tensor) -> torch.Tensor:
    return bubbles.blown(position, torch.ones(len(position)).double()) - position


def test_gas_at_the_centre_fills_the_bubble_evenly():
    """The mass within r' grows as r'^3."""
    offset = random(4000, 3, seed=2).sub(0.5) * 1e-2
    after = blown_out(offset, torch.full((4000,), 3.0).double(), random(4000, seed=3)).norm(dim=1)
    quantiles = torch.linspace(0.1, 0.9, 9).double()
    torch.testing.assert_close((after / 3).pow(3).quantile(quantiles), quantiles, rtol=0, atol=0.03)


def test_nothing_leaves_a_bubble_or_moves_beyond_it(position):
    bubbles = Bubbles(torch.tensor([[1.0, 16.0, 31.5]]).double(), torch.tensor([6.0]).double(), N_MESH)
    offset = position - bubbles.centre
    before = (offset - N_MESH * (offset / N_MESH).round()).norm(dim=1)
    shift = shift_of(bubbles, position)
    assert torch.equal(shift[before >= 6], torch.zeros_like(shift[before >= 6]))
    assert (shift.norm(dim=1) > 0)[before < 5.9].all()
    assert (before + shift.norm(dim=1) <= 6 + 1e-6)[before < 6].all()


def test_bubbles_push_to_all_sides_alike(position):
    shift = shift_of(Bubbles(torch.full((1, 3), 16.0).double(), torch.tensor([10.0]).double(), N_MESH), position)
    moved = shift.norm(dim=1) > 0
    assert shift[moved].mean(0).norm() < 5 * shift[moved].norm(dim=1).mean() / moved.sum() ** 0.5


def test_a_particle_belongs_to_the_bubble_it_is_deepest_in(position):
    """The least r / R, up to a cell of the mesh on which it is looked up."""
    centre, radius = random(20, 3, seed=4) * N_MESH, 2 + 4 * random(20, seed=5)
    offset = position[:, None] - centre
    offset = offset - N_MESH * (offset / N_MESH).round()
    depth = offset.norm(dim=2) / radius
    first, second = depth.topk(2, largest=False).values.T
    clear = (second - first > 1.0) | (first > 1)
    expected = blown_out(
        offset[torch.arange(len(position)), depth.argmin(1)], radius[depth.argmin(1)], torch.ones(len(position))
    )
    before = offset[torch.arange(len(position)), depth.argmin(1)]
    shift = shift_of(Bubbles(centre, radius, N_MESH), position)
    assert clear.double().mean() > 0.2
    torch.testing.assert_close(shift[clear], (expected - before)[clear], rtol=0, atol=1e-9)
    assert ((shift.norm(dim=1) > 0) == (first < 1)).double().mean() > 0.98


def test_the_order_of_bubbles_does_not_matter_where_none_is_tied(position):
    centre, radius = random(20, 3, seed=4) * N_MESH, 2 + 4 * random(20, seed=5)
    shift, flipped = (
        shift_of(bubbles, position)
        for bubbles in (Bubbles(centre, radius, N_MESH), Bubbles(centre.flip(0), radius.flip(0), N_MESH))
    )
    torch.testing.assert_close(shift, flipped)


def test_no_bubbles_move_nothing(position):
    bubbles = Bubbles(torch.zeros(0, 3).double(), torch.zeros(0).double(), N_MESH)
    assert torch.equal(bubbles.blown(position, torch.ones(len(position))), position)


def test_bubbles_as_large_as_the_box_are_held_to_it(position):
    assert (
        shift_of(Bubbles(torch.zeros(1, 3).double(), torch.tensor([1e3]).double(), N_MESH), position).isfinite().all()
    )
