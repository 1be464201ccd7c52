import numpy as np
import pytest
import torch

import fieldlevel
from fieldlevel.errors import UserError
from fieldlevel.mapmaking.slabs import Discs, Slabs, project_slabs
from fieldlevel.numerics.neighbours import neighbour_distance

N_PIXELS = 20  # four pixels a slab
BOX_SIZE_MPC_H = 25.0
PIXEL_AREA = (BOX_SIZE_MPC_H / N_PIXELS) ** 2
PLANES = [(1, 2), (0, 2), (0, 1)]  # axes of the rows and the columns of a map along each axis
ROUND_OFF = 1e-10  # double precision


def particles(n: int, seed: int, *, are_points: bool = False) -> Discs:
    generator = torch.Generator().manual_seed(seed)
    position = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    radius = 0.2 * torch.rand(n, generator=generator, dtype=torch.float64)
    mass = torch.rand(n, generator=generator, dtype=torch.float64)
    return Discs(position, None if are_points else radius, mass)


def moved(kind: Discs, shift: torch.Tensor) -> Discs:
    return Discs(kind.position + shift, kind.radius, kind.mass)


def project(*kinds: Discs) -> torch.Tensor:
    return project_slabs(kinds, N_PIXELS, BOX_SIZE_MPC_H)


@pytest.fixture(params=[False, True], ids=["discs", "points"])
def kind(request) -> Discs:
    return particles(300, 1, are_points=request.param)


def test_the_slabs_of_each_axis_hold_all_the_mass():
    discs, points = particles(300, 1), particles(50, 2, are_points=True)
    mass = project(discs, points).view(3, -1).sum(1) * PIXEL_AREA
    torch.testing.assert_close(mass, (discs.mass.sum() + points.mass.sum()).expand(3), rtol=1e-9, atol=0)


def test_a_slab_holds_the_mass_between_its_faces(kind):
    maps = project(kind).view(3, 5, -1).sum(2) * PIXEL_AREA
    for axis in range(3):
        slab = (kind.position[:, axis] * 5).long()
        torch.testing.assert_close(maps[axis], torch.zeros(5).double().index_add(0, slab, kind.mass))


def test_a_particle_is_found_in_the_map_of_its_slab_along_every_axis():
    """Map 5 * axis + slab; the other two axes keep their order."""
    place = (0.13, 0.42, 0.77)
    point = Discs(torch.tensor([place]), None, torch.tensor([3.0]))
    maps = project(point)
    expected = torch.zeros(15, N_PIXELS, N_PIXELS)
    for axis, (row, column) in enumerate(PLANES):
        expected[5 * axis + int(5 * place[axis]), int(N_PIXELS * place[row]), int(N_PIXELS * place[column])] = 3.0
    torch.testing.assert_close(maps, expected / PIXEL_AREA)


def test_an_even_distribution_has_a_fifth_of_its_surface_density_in_every_pixel():
    axis = (torch.arange(40, dtype=torch.float64) + 0.5) / 40
    position = torch.cartesian_prod(axis, axis, axis)
    even = Discs(position, torch.full_like(axis, 0.04).repeat(1600), torch.full_like(axis, 0.1).repeat(1600))
    expected = 6400.0 / BOX_SIZE_MPC_H**2 / 5
    torch.testing.assert_close(project(even), torch.full((15, N_PIXELS, N_PIXELS), expected).double())


def test_a_disc_spreads_its_mass_over_its_area():
    """The mean of the pixels well inside is mass over pi R^2, those well outside are empty."""
    radius, centre = 0.2, torch.full((1, 3), 0.5, dtype=torch.float64)
    image = project(Discs(centre, torch.tensor([radius]).double(), torch.tensor([3.0]).double()))[2]
    pixel = (torch.arange(N_PIXELS) + 0.5) / N_PIXELS - 0.5
    distance = (pixel[:, None] ** 2 + pixel**2).sqrt()
    expected = 3.0 / (torch.pi * (radius * BOX_SIZE_MPC_H) ** 2)
    assert image[distance < 0.7 * radius].mean().item() == pytest.approx(expected, rel=0.03)
    assert image[distance > 1.6 * radius].max() < 1e-3 * expected


def test_maps_of_kinds_add():
    kinds = [particles(200, 1), particles(100, 2), particles(50, 3, are_points=True), particles(9, 4, are_points=True)]
    torch.testing.assert_close(project(*kinds), sum(project(kind) for kind in kinds), rtol=0, atol=ROUND_OFF)


def test_discs_without_extent_are_points():
    """In the middle of their pixels, where a point of the disc code stays within one."""
    points = particles(100, 5, are_points=True)
    middle = ((points.position * N_PIXELS).floor() + 0.5) / N_PIXELS
    flat = Discs(middle, torch.zeros_like(points.mass), points.mass)
    torch.testing.assert_close(project(flat), project(Discs(middle, None, points.mass)), rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shift_by_a_slab_rolls_the_slabs_and_the_pixels(kind, axis):
    shift = torch.zeros(3, dtype=torch.float64)
    shift[axis] = 0.2
    maps, expected = project(moved(kind, shift)).unflatten(0, (3, 5)), project(kind).unflatten(0, (3, 5)).clone()
    expected[axis] = expected[axis].roll(1, 0)
    for other in {0, 1, 2} - {axis}:
        expected[other] = expected[other].roll(N_PIXELS // 5, 1 + PLANES[other].index(axis))
    torch.testing.assert_close(maps, expected, rtol=0, atol=ROUND_OFF)


def test_a_shift_by_whole_pixels_rolls_the_maps_along_the_third_axis(kind):
    shift = torch.tensor([3, -7, 0]) / N_PIXELS
    expected = project(kind)[10:].roll((3, -7), (1, 2))
    torch.testing.assert_close(project(moved(kind, shift.double()))[10:], expected, rtol=0, atol=1e-6)


def test_periodic_images_change_nothing(kind):
    images = moved(kind, torch.tensor([3.0, -2.0, 1.0]).double())
    torch.testing.assert_close(project(images), project(kind), rtol=0, atol=ROUND_OFF)


def test_exchanged_axes_exchange_their_maps(kind):
    exchanged = project(Discs(kind.position[:, [1, 0, 2]], kind.radius, kind.mass))
    first, second, third = project(kind).split(5)
    torch.testing.assert_close(exchanged, torch.cat([second, first, third.mT]), rtol=0, atol=ROUND_OFF)


def test_particles_on_the_faces_of_the_box_stay_in_it():
    """In float32 the remainder of a tiny negative number is one."""
    position = torch.tensor([[-1e-9, 1.0, 0.0], [1.0 - 2**-24, -1e-9, 2.0]])
    mass, radius = torch.ones(2), torch.full((2,), 0.1)
    for kind in (Discs(position, None, mass), Discs(position, radius, mass)):
        total = project(kind).view(3, -1).sum(1) * PIXEL_AREA
        torch.testing.assert_close(total, torch.full((3,), 2.0), rtol=1e-5, atol=0)


def test_arrays_make_the_maps_of_their_discs():
    """With the radius to the 32nd neighbour, in Mpc/h; to round-off all mass is in the slabs of each axis."""
    random = np.random.default_rng(3)
    position, mass = random.uniform(-25, 50, (500, 3)), random.uniform(1, 2, 500)
    maps = fieldlevel.project_particles(position, mass, 25.0, n_pixels=16)
    radius = neighbour_distance(torch.from_numpy(position), 25.0, 32).numpy()
    np.testing.assert_allclose(maps, fieldlevel.project_particles(position, mass, 25.0, radius, n_pixels=16))
    totals = maps.reshape(3, -1).sum(1) * (25 / 16) ** 2
    np.testing.assert_allclose(totals, mass.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"position": np.zeros((40, 2))}, "positions of shape"),
        ({"mass": np.ones(39)}, "masses of shape"),
        ({"radius": np.ones((40, 1))}, "radii of shape"),
        ({"position": np.full((40, 3), np.nan)}, "positions: NaN"),
        ({"radius": np.full(40, -1.0)}, "not between 0, a point, and the box"),
        ({"radius": np.full(40, 26.0)}, "not between 0, a point, and the box"),
        ({"n_pixels": 0}, "n_pixels = 0: give a whole number from 1"),
        ({"n_pixels": 2.5}, "n_pixels = 2.5"),
        ({"n_neighbours": 0}, "n_neighbours = 0"),
        ({"n_pixels": float("nan")}, "n_pixels = nan"),
        ({"n_pixels": "16"}, "n_pixels of type <U2"),
        ({"n_pixels": None}, "n_pixels"),
        ({"n_pixels": [16, 16]}, "n_pixels of shape"),
        ({"n_pixels": 10**6}, "n_pixels = 1000000: give a whole number from 1 to 8192"),
        ({"n_neighbours": float("inf")}, "n_neighbours = inf"),
        ({"box_size_mpc_h": float("nan")}, "box_size_mpc_h"),
        ({"box_size_mpc_h": "25"}, "box_size_mpc_h of type"),
        ({"box_size_mpc_h": [25.0, 25.0]}, "box_size_mpc_h of shape"),
        ({"mass": np.ma.masked_array(np.ones(40), np.arange(40) < 3)}, "masses: 3 values are masked"),
        ({"position": np.ma.masked_less(np.eye(40)[:, :3], 0.5)}, "positions: 117 values are masked"),
        ({"radius": np.ma.masked_array(np.ones(40), True)}, "radii: 40 values are masked"),
        ({"mass": np.ones(40, complex)}, "masses of type complex128"),
        ({"mass": [1j] * 40}, "masses of type complex128"),
        ({"mass": ["heavy"] * 40}, "masses of type"),
        ({"mass": [[1.0], [1.0, 2.0]]}, "masses: no array of numbers"),
        ({"mass": [None] * 40}, "masses: NaN"),
        ({"mass": {"a": 1}}, "masses: no array of numbers"),
        ({"mass": np.full(40, 1e308), "box_size_mpc_h": 1e-3}, "maps are not finite"),
        ({"box_size_mpc_h": 0.0}, "box_size_mpc_h"),
        ({"position": np.zeros((20, 3)), "mass": np.ones(20)}, "give at least 33"),
    ],
)
def test_arrays_that_cannot_be_projected_are_refused(changed, message):
    sound = {"position": np.zeros((40, 3)), "mass": np.ones(40), "box_size_mpc_h": 25.0}
    with pytest.raises(UserError, match=message):
        fieldlevel.project_particles(**(sound | changed))


@pytest.mark.parametrize("count", [1, 5, 7, 10, 25, 50])
def test_a_particle_on_the_face_of_a_slab_is_in_the_slab_behind(count):
    """As many planes of a lattice in each slab, along each axis."""
    planes = np.arange(50) * 25 / 50
    on_faces = np.arange(count) * 25 / count
    for along in (planes, on_faces) if 50 % count == 0 else (on_faces,):
        position = np.stack([along] * 3, axis=1)
        slabs = Slabs(count, 1 / count)
        maps = fieldlevel.project_particles(
            position, np.ones(len(along)), 25, np.zeros(len(along)), n_pixels=4, slabs=slabs
        )
        np.testing.assert_allclose(maps.sum((1, 2)) * (25 / 4) ** 2, len(along) / count)


@pytest.mark.parametrize("slabs", [(0, 0.2), (5, 0.0), (5, -0.2), (7, 0.2)])
def test_slabs_that_do_not_fit_are_refused(slabs):
    with pytest.raises(UserError, match="what fits in the box"):
        Slabs(*slabs)


def test_what_is_spread_may_be_negative():
    position, radius = [[1.0, 1, 1], [9.0, 9, 9]], [0.5, 0.5]
    maps = fieldlevel.project_particles(position, [-2.0, 1.0], 25, radius, n_pixels=16)
    assert maps[:5].sum() * (25 / 16) ** 2 == pytest.approx(-1)


def test_numbers_of_numpy_and_unmasked_arrays_are_taken():
    position, mass = np.random.default_rng(4).uniform(0, 25, (50, 3)), np.ones(50)
    expected = fieldlevel.project_particles(position, mass, 25, n_pixels=16, n_neighbours=8)
    sizes = {"n_pixels": np.int64(16), "n_neighbours": np.uint8(8)}
    maps = fieldlevel.project_particles(np.ma.asarray(position), np.ma.asarray(mass), np.float32(25), **sizes)
    np.testing.assert_array_equal(maps, expected)
    np.testing.assert_array_equal(fieldlevel.project_particles(torch.tensor(position), mass, 25, **sizes), expected)


def test_arrays_of_any_layout_are_taken():
    random = np.random.default_rng(4)
    position = random.uniform(0, 25, (50, 3))
    position.setflags(write=False)
    backwards = fieldlevel.project_particles(position[::-1], np.ones(50), 25, n_pixels=16)
    np.testing.assert_allclose(backwards, fieldlevel.project_particles(position, [1] * 50, 25, n_pixels=16))


@pytest.mark.gpu
def test_gpu_agrees_with_cpu():
    kinds = [particles(300, 1), particles(50, 2, are_points=True)]
    on_gpu = [Discs(*(None if values is None else values.cuda() for values in vars(kind).values())) for kind in kinds]
    torch.testing.assert_close(project(*on_gpu).cpu(), project(*kinds), rtol=0, atol=ROUND_OFF)


@pytest.mark.gpu
@pytest.mark.parametrize("slabs", [Slabs(5, 1 / 5), Slabs(2, 0.3)])
def test_the_fused_kernel_agrees_with_pytorch(slabs):
    """Single precision on the GPU, with places beyond the box, on its faces and masses of either sign."""
    kind = particles(3000, 1)
    place = torch.cat([3 * kind.position[:-2] - 1, torch.tensor([[0.0, 0, 0], [1, 1, 1]])])
    discs = Discs(place.float(), kind.radius.float(), torch.linspace(-0.1, 1, len(place)))
    on_gpu = Discs(*(values.cuda() for values in vars(discs).values()))
    expected, fused = project_slabs([discs], 32, 25.0, slabs), project_slabs([on_gpu], 32, 25.0, slabs)
    torch.testing.assert_close(fused.cpu(), expected, rtol=0, atol=1e-4 * expected.max().item())


@pytest.mark.gpu
def test_the_fused_kernel_knows_no_order_of_particles():
    kind = particles(3000, 1)
    values = [each.float().cuda() for each in vars(kind).values()]
    order = torch.randperm(len(values[1]), device="cuda")
    first, second = (project_slabs([Discs(*some)], 32, 25.0) for some in (values, [each[order] for each in values]))
    assert torch.equal(first, second)
