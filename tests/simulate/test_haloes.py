import pytest
import torch

from fieldlevel.numerics.mesh import fourier, inverse_fourier, paint_species, smooth_gaussian
from fieldlevel.simulate.haloes import Haloes, find_haloes
from fieldlevel.simulate.nbody import Particles

N_MESH = 32
LARGE, SMALL = torch.tensor([31.8, 16.0, 0.1]), torch.tensor([16.0, 16.0, 16.0])
THRESHOLD = 20.0
MASSES = (0.8, 0.2)


def cluster(centre: torch.Tensor, n: int, seed: int, spread: float = 0.8) -> torch.Tensor:
    return centre + spread * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spinning(position: torch.Tensor, centre: torch.Tensor) -> torch.Tensor:
    """Velocities of a rigid rotation around the z axis through `centre`."""
    x, y, z = (position - centre).T
    return torch.stack([-y, x, 0 * z], dim=1)


def planted(seed: int, shift: float = 0.0) -> Particles:
    """Two clusters in an even field, of each kind; the large one spins and lies across the edges of the box."""
    field = N_MESH * torch.rand(4000, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    positions, velocities = [], []
    for kind in (0, 1):
        parts = [cluster(LARGE, 3000, seed + kind + 1), cluster(SMALL, 1500, seed + kind + 3), field]
        positions.append(torch.cat(parts) + shift)
        velocities.append(torch.cat([spinning(parts[0], LARGE), 0 * parts[1], 0 * field]))
    return Particles(torch.cat(positions), torch.cat(velocities), MASSES, N_MESH)


def smooth_density(particles: Particles, sigma: float = 0.5) -> torch.Tensor:
    mass = paint_species(particles.kinds, particles.n_mesh, particles.mass)
    return inverse_fourier(smooth_gaussian(fourier(mass), sigma)) / mass.mean()


def find(particles: Particles, threshold: float = THRESHOLD) -> Haloes:
    return find_haloes(particles, smooth_density(particles), threshold)


def separation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    difference = first - second
    return difference - N_MESH * (difference / N_MESH).round()


@pytest.fixture
def particles() -> Particles:
    return planted(8)


@pytest.fixture
def haloes(particles) -> Haloes:
    return find(particles)


def test_planted_clusters_are_found_across_the_edges_of_the_box(haloes):
    order = haloes.mass.argsort(descending=True)
    assert 2000 < haloes.mass[order[0]] < 3100
    assert 800 < haloes.mass[order[1]] < 1600
    assert (haloes.mass[order[2:]] < 400).all()
    for number, centre in zip(order[:2], (LARGE, SMALL), strict=True):
        assert separation(haloes.centre[number], centre).abs().max() < 0.3


def test_the_spin_axis_is_that_of_the_rotation(haloes):
    axis = haloes.spin_axis[haloes.mass.argmax()]
    assert axis[2] > 0.99
    assert axis.norm().item() == pytest.approx(1)


def test_the_mass_of_a_halo_is_that_of_its_members(particles, haloes):
    total = torch.zeros_like(haloes.mass)
    for kind, mass in zip(particles.kinds, particles.mass, strict=True):
        halo = haloes.members(kind).halo
        total += mass * torch.bincount(halo, minlength=len(total))
    torch.testing.assert_close(haloes.mass, total)


def test_the_centre_is_weighted_with_mass():
    """The light kind stands half a cell beside the heavy one: the centre moves by its share of the mass."""
    heavy, light = cluster(SMALL, 4000, 1, 0.3), cluster(SMALL, 4000, 1, 0.3) + torch.tensor([0.5, 0, 0])
    centres = []
    for masses in ((1.0, 0.0), (0.9, 0.1), (0.5, 0.5)):
        haloes = find(Particles(torch.cat([heavy, light]), torch.zeros(8000, 3).double(), masses, N_MESH))
        centres.append((haloes.centre[haloes.mass.argmax()] - SMALL)[0].item())
    assert centres == pytest.approx([0, 0.05, 0.25], abs=0.04)


def test_the_spin_axis_is_weighted_with_mass():
    """Two kinds that turn against each other: the heavy one decides."""
    kinds = cluster(SMALL, 2000, 1), cluster(SMALL, 2000, 2)
    velocity = torch.cat([spinning(kinds[0], SMALL), -2 * spinning(kinds[1], SMALL)])
    for masses, sign in (((0.9, 0.1), 1), ((0.5, 0.5), -1)):
        haloes = find(Particles(torch.cat(kinds), velocity, masses, N_MESH))
        assert sign * haloes.spin_axis[haloes.mass.argmax(), 2] > 0.9


def test_two_kinds_of_the_same_particles_are_as_one(particles):
    one = Particles(particles.kinds[0], particles.velocity.chunk(2)[0], (1.0,), N_MESH)
    two = Particles(one.position.repeat(2, 1), one.velocity.repeat(2, 1), MASSES, N_MESH)
    single, double = find(one), find(two)
    torch.testing.assert_close(double.mass, single.mass)
    torch.testing.assert_close(double.centre, single.centre, rtol=0, atol=1e-6)
    torch.testing.assert_close(double.spin_axis, single.spin_axis, rtol=0, atol=1e-6)


def test_members_of_any_positions(haloes):
    """Not only the particles that made the haloes: images of places beside a centre and away from all."""
    number = int(haloes.mass.argmax())
    beside = torch.tensor([0.3, -0.2, 0.1]).double()
    period = torch.tensor([N_MESH, -2 * N_MESH, 0]).double()
    positions = torch.stack([haloes.centre[number] + beside + period, torch.tensor([8.0, 8, 8]).double()])
    members = haloes.members(positions)
    assert members.index.tolist() == [0]
    assert members.halo.tolist() == [number]
    torch.testing.assert_close(members.offset[0], beside)


def test_members_are_those_in_the_cells_of_haloes(particles, haloes):
    position = particles.kinds[1]
    members = haloes.members(position)
    cell = position.round().long().remainder(N_MESH)
    of_particle = haloes.of_cell.view((N_MESH,) * 3)[cell[:, 0], cell[:, 1], cell[:, 2]]
    assert torch.equal(members.index, (of_particle >= 0).nonzero()[:, 0])
    assert torch.equal(members.halo, of_particle[members.index])
    expected = separation(position[members.index], haloes.centre[members.halo])
    torch.testing.assert_close(members.offset, expected)


def test_a_shift_by_whole_cells_shifts_the_haloes(haloes):
    moved = find(planted(8, shift=5.0))
    order, others = haloes.mass.argsort(), moved.mass.argsort()
    torch.testing.assert_close(moved.mass[others], haloes.mass[order])
    largest, other = order[-2:], others[-2:]
    assert separation(moved.centre[other], haloes.centre[largest] + 5).abs().max() < 1e-3
    torch.testing.assert_close(moved.of_cell.ge(0).sum(), haloes.of_cell.ge(0).sum())


def test_cells_of_haloes_are_those_above_the_threshold(particles, haloes):
    dense = smooth_density(particles).view(-1) > THRESHOLD
    assert torch.equal(haloes.of_cell >= 0, dense)
    assert len(find(particles, threshold=2 * THRESHOLD).mass) <= len(haloes.mass)


def test_every_halo_has_its_own_peak():
    """A ridge of dense cells is divided at its lowest; a halo in which there is no particle is centred on its peak."""
    density = torch.zeros(N_MESH, N_MESH, N_MESH, dtype=torch.float64)
    density[4:13, 5, 6] = torch.tensor([9, 8, 7, 6, 5, 6.5, 7.5, 8.5, 9.5]).double()
    nobody = Particles(torch.zeros(1, 3).double(), torch.zeros(1, 3).double(), (1.0,), N_MESH)
    haloes = find_haloes(nobody, density, threshold=1.0)
    assert haloes.of_cell.view(density.shape)[4:13, 5, 6].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]
    assert haloes.centre.tolist() == [[4, 5, 6], [12, 5, 6]]
    assert haloes.mass.tolist() == [0, 0]


def test_a_peak_at_the_corner_of_the_box_takes_the_cells_on_all_sides():
    axis = torch.arange(N_MESH)
    distance = torch.minimum(axis, N_MESH - axis).double()
    r2 = distance[:, None, None] ** 2 + distance[:, None] ** 2 + distance**2
    nobody = Particles(torch.zeros(1, 3).double(), torch.zeros(1, 3).double(), (1.0,), N_MESH)
    haloes = find_haloes(nobody, torch.exp(-r2 / 8), threshold=0.1)
    assert torch.equal(haloes.of_cell >= 0, (torch.exp(-r2 / 8) > 0.1).view(-1))
    assert haloes.of_cell.max() == 0


def test_an_even_universe_has_no_haloes():
    axis = torch.arange(N_MESH, dtype=torch.float64)
    position = torch.cartesian_prod(axis, axis, axis)
    haloes = find(Particles(position, 0 * position, (1.0,), N_MESH))
    assert haloes.centre.shape == haloes.spin_axis.shape == (0, 3)
    assert len(haloes.members(position).index) == 0
