import pytest
import torch

from fieldlevel.numerics.neighbours import mesh_neighbour_distance, neighbour_distance

N_MESH = 16


@pytest.fixture
def clustered() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    field = N_MESH * torch.rand(6000, 3, generator=generator)
    halo = 15.8 + 1.2 * torch.randn(2000, 3, generator=generator)
    return torch.cat([field, halo])


def test_exact_distance_equals_brute_force_with_periodic_images():
    x = N_MESH * (2 * torch.rand(120, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5)
    separation = x[:, None] - x[None]
    separation -= N_MESH * (separation / N_MESH).round()
    expected = separation.norm(dim=-1).sort(dim=1).values[:, 7]
    torch.testing.assert_close(neighbour_distance(x, N_MESH, 7).double(), expected, rtol=1e-6, atol=0)


def test_distance_does_not_depend_on_the_origin(clustered):
    moved = neighbour_distance(clustered + 5.5, N_MESH, 32)
    torch.testing.assert_close(moved, neighbour_distance(clustered, N_MESH, 32), rtol=1e-4, atol=1e-5)


def test_mesh_estimate_is_close_to_the_exact_distance(clustered):
    """Counts in spheres around cells are blurred by half a cell: a few per cent beyond one cell."""
    exact = neighbour_distance(clustered, N_MESH, 32)
    ratio = mesh_neighbour_distance(clustered, N_MESH, 32) / exact
    far = exact > 1.0
    assert far.float().mean() > 0.5
    assert ratio[far].median().item() == pytest.approx(1, abs=0.03)
    assert ratio[far].std().item() < 0.12
    assert ratio[~far].median().item() == pytest.approx(1, abs=0.25)


def test_mesh_estimate_of_an_even_distribution():
    axis = torch.arange(16, dtype=torch.float32)
    lattice = torch.cartesian_prod(axis, axis, axis)
    expected = (3 * 33 / (4 * torch.pi)) ** (1 / 3)
    radius = mesh_neighbour_distance(lattice, N_MESH, 32, n_radii=24)
    torch.testing.assert_close(radius, torch.full_like(radius, expected), rtol=0.03, atol=0)
