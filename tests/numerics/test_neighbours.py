import pytest
import torch
from scipy.spatial import cKDTree

from fieldlevel.errors import UserError
from fieldlevel.numerics import neighbour_groups
from fieldlevel.numerics.neighbour_counts import mesh_neighbour_distance
from fieldlevel.numerics.neighbour_groups import grouped_neighbour_distance
from fieldlevel.numerics.neighbours import neighbour_distance

N_MESH = 16
ROUND_OFF = 1e-6  # of distances in float32


def brute_force(x: torch.Tensor, box: float, k: int) -> torch.Tensor:
    """All pairs of nearest images."""
    separation = x[:, None] - x[None]
    separation -= box * (separation / box).round()
    return separation.norm(dim=-1).sort(dim=1).values[:, k].float()


def search(method: str, x: torch.Tensor, box: float, k: int) -> torch.Tensor:
    """By the compiled tree or by tensor operations, both on the CPU."""
    exact = {"tree": neighbour_distance, "groups": grouped_neighbour_distance}
    return exact[method](x.double().remainder(box), box, k)


both_methods = pytest.mark.parametrize("method", ["tree", "groups"])


@pytest.fixture
def clustered() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    field = N_MESH * torch.rand(6000, 3, generator=generator)
    halo = 15.8 + 1.2 * torch.randn(2000, 3, generator=generator)
    return torch.cat([field, halo])


def regular(n_side: int, n_mesh: int) -> torch.Tensor:
    axis = torch.arange(n_side, dtype=torch.float32) * (n_mesh / n_side)
    return torch.cartesian_prod(axis, axis, axis)


@both_methods
@pytest.mark.parametrize(("n", "k"), [(2, 1), (9, 8), (120, 7), (700, 32), (1025, 32)])
def test_exact_distance_equals_brute_force_with_periodic_images(method, n, k):
    """Few particles reach across half the box, many need images near its faces."""
    x = N_MESH * torch.rand(n, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(search(method, x, N_MESH, k), brute_force(x, N_MESH, k), rtol=ROUND_OFF, atol=0)


@both_methods
def test_exact_distance_in_a_box_that_is_no_whole_number(method):
    x = 2.5 * torch.rand(500, 3, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    torch.testing.assert_close(search(method, x, 2.5, 32), brute_force(x, 2.5, 32), rtol=ROUND_OFF, atol=0)


@both_methods
def test_exact_distance_from_a_dense_halo_to_an_empty_void(method):
    """A halo on a corner of the box, coincident particles in it, and few particles far away, also on its faces."""
    generator = torch.Generator().manual_seed(9)
    halo = (1e-3 * torch.randn(900, 3, generator=generator, dtype=torch.float64)).remainder(N_MESH)
    halo[:50] = 0.25
    void = N_MESH * torch.rand(60, 3, generator=generator, dtype=torch.float64)
    void[:3] = torch.eye(3) * N_MESH
    x = torch.cat([halo, void]).remainder(N_MESH)
    torch.testing.assert_close(search(method, x, N_MESH, 32), brute_force(x, N_MESH, 32), rtol=ROUND_OFF, atol=1e-9)


@both_methods
@pytest.mark.parametrize("width", [1e-2, 1e-5, 1e-8])
@pytest.mark.parametrize(("n", "k"), [(40, 39), (200, 32)])
def test_exact_distance_in_a_clump_across_a_face(method, width, n, k):
    """Positions of the two sides differ by the box: round-off of the box is much of a short distance."""
    x = torch.full((n, 3), 8.0, dtype=torch.float64)
    for seed in range(10):
        x[:, 0] = width * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        wrapped = x.remainder(N_MESH).numpy()
        expected = torch.from_numpy(cKDTree(wrapped, boxsize=N_MESH).query(wrapped, k=[k + 1])[0][:, 0]).float()
        torch.testing.assert_close(search(method, x, N_MESH, k), expected, rtol=ROUND_OFF, atol=1e-14 * N_MESH)


def test_both_searches_agree_on_clustered_particles(clustered):
    tree, groups = (search(method, clustered, N_MESH, 32) for method in ("tree", "groups"))
    torch.testing.assert_close(groups, tree, rtol=ROUND_OFF, atol=0)


def test_groups_do_not_depend_on_how_the_work_is_divided(clustered, monkeypatch):
    expected = search("groups", clustered[:2000], N_MESH, 32)
    for name in ("_PAIRS_AT_ONCE", "_DISTANCES_AT_ONCE"):
        monkeypatch.setitem(getattr(neighbour_groups, name), "cpu", 20000)
    monkeypatch.setattr(neighbour_groups, "_LEAVES_AT_ONCE", 3)
    assert torch.equal(search("groups", clustered[:2000], N_MESH, 32), expected)


def test_the_tree_does_not_depend_on_how_the_work_is_divided(clustered, monkeypatch):
    expected = neighbour_distance(clustered, N_MESH, 32)
    monkeypatch.setattr("fieldlevel.numerics.neighbours_numba._QUERIES_AT_ONCE", 1000)
    monkeypatch.setattr("fieldlevel.numerics.neighbours_numba._LEAF_SIZE", 5)
    assert torch.equal(neighbour_distance(clustered, N_MESH, 32, workers=3), expected)


def test_the_tree_agrees_with_scipy(clustered):
    """A periodic cKDTree, asked for the neighbours of every particle."""
    wrapped = clustered.double().remainder(N_MESH).numpy()
    expected = cKDTree(wrapped, boxsize=N_MESH).query(wrapped, k=[33])[0][:, 0]
    torch.testing.assert_close(
        neighbour_distance(clustered, N_MESH, 32), torch.from_numpy(expected).float(), rtol=ROUND_OFF, atol=0
    )


def test_particles_outside_the_box_are_wrapped():
    x = torch.tensor([[-1e-20, 0, 0], [8.0, 8, 8], [-1.0, 0, 0]], dtype=torch.float64)
    assert neighbour_distance(x, 8, 1).tolist() == [0, 0, 1]


def test_too_few_particles_are_refused():
    with pytest.raises(UserError, match="32 particles have no neighbour number 32: give at least 33"):
        neighbour_distance(torch.rand(32, 3), 1.0, 32)


def test_distance_does_not_depend_on_the_origin(clustered):
    moved = neighbour_distance(clustered + 5.5, N_MESH, 32)
    torch.testing.assert_close(moved, neighbour_distance(clustered, N_MESH, 32), rtol=1e-4, atol=1e-5)


def test_mesh_estimate_moves_with_the_particles(clustered):
    """By whole cells, beyond the edges of the box; halves are kept apart, where round-off could choose a cell."""
    clear = clustered.div(0.25).floor().mul(0.25) + 0.125
    moved = mesh_neighbour_distance(clear + torch.tensor([5.0, -16.0, 40.0]), N_MESH, 32)
    torch.testing.assert_close(moved, mesh_neighbour_distance(clear, N_MESH, 32), rtol=1e-3, atol=0)


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
    """The sphere that reaches to the 32nd neighbour holds 33 particles with the one in its centre."""
    lattice = regular(16, N_MESH)
    expected = (3 * 33 / (4 * torch.pi)) ** (1 / 3)
    radius = mesh_neighbour_distance(lattice, N_MESH, 32, ratio=1.1)
    torch.testing.assert_close(radius, torch.full_like(radius, expected), rtol=0.03, atol=0)


@pytest.mark.parametrize("n_side", [8, 16, 32, 64])
def test_the_ladder_of_radii_follows_the_number_of_particles(n_side):
    """From 512 cells a particle to one the radius of 32 neighbours is the same in mean distances."""
    n_mesh = 64
    radius = mesh_neighbour_distance(regular(n_side, n_mesh), n_mesh, 32) * (n_side / n_mesh)
    assert radius.mean().item() == pytest.approx((3 * 33 / (4 * torch.pi)) ** (1 / 3), rel=0.08)


def test_the_ladder_reaches_across_voids():
    """Most of the box holds a thirtieth of the mean density."""
    generator, n_mesh = torch.Generator().manual_seed(4), 32
    void = torch.rand(250, 3, generator=generator) * torch.tensor([30.0, 32, 32])
    wall = torch.rand(7750, 3, generator=generator) * torch.tensor([2.0, 32, 32]) + torch.tensor([30.0, 0, 0])
    exact = neighbour_distance(torch.cat([void, wall]), n_mesh, 32)[:250]
    ratio = mesh_neighbour_distance(torch.cat([void, wall]), n_mesh, 32)[:250] / exact
    assert exact.max() > 9
    assert ratio.median().item() == pytest.approx(1, abs=0.05)
    assert ratio.std() < 0.15


def test_the_blur_of_the_mesh_is_undone_in_a_halo_as_small_as_a_cell(clustered):
    """Without it the spheres of the clump would miss particles and grow by eight per cent."""
    exact = neighbour_distance(clustered, N_MESH, 32)
    ratio = mesh_neighbour_distance(clustered, N_MESH, 32, ratio=1.1) / exact
    assert ratio[exact < 0.7].median().item() == pytest.approx(1, abs=0.055)


def test_a_finer_ladder_is_nearer_to_the_exact_distance(clustered):
    exact = neighbour_distance(clustered, N_MESH, 32)
    far = exact > 1.0

    def error(ratio: float) -> torch.Tensor:
        return (mesh_neighbour_distance(clustered, N_MESH, 32, ratio=ratio) / exact).log()[far].square().mean()

    assert error(1.2) < error(2.0)


@pytest.mark.parametrize("k", [8, 32, 64])
def test_more_neighbours_lie_farther_away(clustered, k):
    exact = neighbour_distance(clustered, N_MESH, k)
    assert (neighbour_distance(clustered, N_MESH, k + 8) > exact).all()
    ratio = mesh_neighbour_distance(clustered, N_MESH, k) / exact
    assert ratio[exact > 1].median().item() == pytest.approx(1, abs=0.05)


@pytest.mark.gpu
def test_gpu_estimate_agrees_with_cpu(clustered):
    """Painted weights are rounded to 2^-16, and a radius grows as the cube root of a count."""
    expected = mesh_neighbour_distance(clustered, N_MESH, 32)
    torch.testing.assert_close(mesh_neighbour_distance(clustered.cuda(), N_MESH, 32).cpu(), expected, rtol=2e-3, atol=0)


@pytest.mark.gpu
def test_gpu_search_agrees_with_cpu(clustered):
    expected = search("groups", clustered, N_MESH, 32)
    torch.testing.assert_close(neighbour_distance(clustered.cuda(), N_MESH, 32).cpu(), expected, rtol=ROUND_OFF, atol=0)


def test_many_particles_in_a_cell_have_a_neighbour_within_it():
    distance = mesh_neighbour_distance(4 * torch.rand(32**3, 3, generator=torch.Generator().manual_seed(1)), 4, 1)
    assert torch.isfinite(distance).all()
    assert 0 < distance.mean() < 0.5
