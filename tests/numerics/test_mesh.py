import pytest
import torch

from fieldlevel.numerics.mesh import (
    cic_window,
    fourier,
    gradient,
    gradient_at,
    inverse_fourier,
    inverse_laplacian_kernel,
    nearest_cell,
    paint_cic,
    paint_species,
    push_particles,
    read_cic,
    smooth_gaussian,
    wavenumbers,
)

N_MESH = 16
EXACT = 1e-10  # double precision
ROUND_OFF = 1e-5  # float32 coordinates of the sampling kernel


@pytest.fixture
def positions() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return N_MESH * (3 * torch.rand(500, 3, generator=generator, dtype=torch.float64) - 1)


@pytest.fixture
def field() -> torch.Tensor:
    return torch.randn((N_MESH,) * 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def brute_force_cic(positions: torch.Tensor, n_mesh: int) -> torch.Tensor:
    mesh = torch.zeros((n_mesh,) * 3, dtype=torch.float64)
    for point in positions.tolist():
        for corner in range(8):
            cell, weight = [], 1.0
            for axis in range(3):
                lower = int(point[axis] // 1)
                above = (corner >> axis) & 1
                weight *= point[axis] - lower if above else 1 - point[axis] + lower
                cell.append((lower + above) % n_mesh)
            mesh[tuple(cell)] += weight
    return mesh


def assert_equal(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=EXACT)


def test_painting_equals_a_loop_over_particles(positions):
    assert_equal(paint_cic(positions, N_MESH), brute_force_cic(positions, N_MESH))


def test_painting_keeps_the_mass(positions):
    assert paint_cic(positions, N_MESH, 0.7).sum().item() == pytest.approx(0.7 * len(positions), rel=1e-12)


def test_two_kinds_make_the_sum_of_their_meshes(positions):
    heavy, light = positions[:100], positions[100:]
    expected = 0.84 * brute_force_cic(heavy, N_MESH) + 0.16 * brute_force_cic(light, N_MESH)
    assert_equal(paint_species([heavy, light], N_MESH, [0.84, 0.16]), expected)


def test_opposite_masses_cancel(positions):
    assert_equal(paint_species([positions, positions], N_MESH, [1.0, -1.0]), torch.zeros((N_MESH,) * 3).double())


def test_many_particles_are_painted_and_read_as_their_parts(field):
    """Beyond the number that is worked on at once."""
    positions = N_MESH * torch.rand(300_000, 3, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    parts = positions.split(100_000)
    assert_equal(paint_cic(positions, N_MESH), sum(paint_cic(part, N_MESH) for part in parts))
    assert_equal(read_cic(field[None], positions), torch.cat([read_cic(field[None], part) for part in parts], 1))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_moving_particles_by_whole_cells_rolls_the_mesh(positions, axis):
    shift = torch.zeros(3, dtype=torch.float64)
    shift[axis] = 5
    assert_equal(paint_cic(positions + shift, N_MESH), torch.roll(paint_cic(positions, N_MESH), 5, axis))


def test_particles_at_cell_centres_and_on_the_edges_of_the_box():
    n = N_MESH
    mesh = paint_cic(torch.tensor([[0.0, 0, 0], [n, n, n], [-n, 2 * n, 0], [n - 0.5, 0, 0], [-0.5, 0, 0]]).double(), n)
    assert (mesh[0, 0, 0].item(), mesh[n - 1, 0, 0].item(), mesh.sum().item()) == pytest.approx((4, 1, 5), abs=EXACT)


def test_float32_painting_is_close_to_float64(positions):
    wrapped = positions.remainder(N_MESH)
    single = paint_cic(wrapped.float(), N_MESH).double()
    torch.testing.assert_close(single, paint_cic(wrapped, N_MESH), rtol=0, atol=20 * ROUND_OFF)


def test_a_constant_field_is_read_back(positions):
    constant = torch.full((2, N_MESH, N_MESH, N_MESH), 3.0, dtype=torch.float64)
    assert_equal(read_cic(constant, positions), torch.full((2, 500), 3.0, dtype=torch.float64))


def test_reading_is_the_transpose_of_painting(positions, field):
    painted = (paint_cic(positions, N_MESH, 0.7) * field).sum().item()
    assert painted == pytest.approx(0.7 * read_cic(field[None], positions).sum().item(), rel=1e-10)


def test_gradient_of_a_plane_wave():
    x = torch.arange(64, dtype=torch.float64)
    k = 2 * torch.pi * 3 / 64
    wave = torch.sin(k * x)[:, None, None].expand(64, 64, 64).contiguous()
    slope = gradient(wave)
    torch.testing.assert_close(slope[0], (k * torch.cos(k * x))[:, None, None].expand_as(wave), rtol=0, atol=2e-3 * k)
    assert slope[1:].abs().max() < 1e-12


def test_gradient_is_fourth_order():
    """Twice as many cells a wave: an error sixteen times smaller."""

    def error(cells_per_wave: int) -> float:
        k = 2 * torch.pi / cells_per_wave
        wave = torch.sin(k * torch.arange(64, dtype=torch.float64))[:, None, None].expand(64, 64, 64).contiguous()
        return abs(gradient(wave)[0, 0, 0, 0].item() / k - 1)

    assert error(16) / error(32) == pytest.approx(16, rel=0.1)


def test_gradient_is_antisymmetric(field):
    """Without it particles would push themselves: sum of f grad g is minus the sum of g grad f."""
    other = field.flip(0).square()
    forward, backward = (field * gradient(other)).sum((1, 2, 3)), (other * gradient(field)).sum((1, 2, 3))
    assert_equal(forward, -backward)


def test_gradient_at_particles_is_the_interpolated_gradient(positions, field):
    assert_equal(gradient_at(field, positions), read_cic(gradient(field), positions).T)


def test_a_push_kicks_and_then_drifts(positions, field):
    velocity = torch.randn(500, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    kicked = 0.9 * velocity - 0.4 * gradient_at(field, positions)
    drifted = positions + 0.3 * kicked
    push_particles(positions, velocity, field, keep=0.9, kick=-0.4, drift=0.3)
    assert_equal(velocity, kicked)
    assert_equal(positions, drifted)


def test_a_flat_potential_does_not_kick(positions):
    velocity, start = torch.ones_like(positions), positions.clone()
    push_particles(positions, velocity, torch.ones((N_MESH,) * 3).double(), keep=1.0, kick=5.0, drift=2.0)
    assert_equal(velocity, torch.ones_like(velocity))
    assert_equal(positions, start + 2)


def test_inverse_laplacian_undoes_the_laplacian(field):
    potential_k = fourier(field) * inverse_laplacian_kernel(N_MESH, field.device)
    laplacian = inverse_fourier(potential_k * -sum(k**2 for k in wavenumbers(N_MESH, field.device)))
    torch.testing.assert_close(laplacian, field - field.mean(), rtol=0, atol=ROUND_OFF)


def test_deconvolution_divides_once_by_the_window():
    plain, sharp = (inverse_laplacian_kernel(N_MESH, torch.device("cpu"), deconvolve=flag) for flag in (False, True))
    torch.testing.assert_close(sharp * cic_window(N_MESH, sharp.device), plain)


def test_window_is_the_mean_transform_of_a_painted_particle():
    """Averaged over its place within a cell, where aliases cancel; the window of a volume is that of its axes."""
    n_places = 64
    place = torch.arange(n_places, dtype=torch.float64) / n_places
    window, k = cic_window(N_MESH, place.device), wavenumbers(N_MESH, place.device)[2].flatten()
    line = torch.stack([paint_cic(torch.tensor([[0, 0, x]]).double(), N_MESH)[0, 0] for x in place])
    mean = (torch.fft.rfft(line) * torch.exp(1j * k * place[:, None])).mean(0)
    torch.testing.assert_close(mean.real.float(), window[0, 0], rtol=0, atol=1e-3)
    torch.testing.assert_close(window[3, 5, 2], window[3, 0, 0] * window[0, 5, 0] * window[0, 0, 2])


def test_gaussian_smoothing_composes_in_quadrature(field):
    modes = fourier(field)
    twice = smooth_gaussian(smooth_gaussian(modes, 1.5), 2.0)
    torch.testing.assert_close(twice, smooth_gaussian(modes, 2.5), rtol=1e-5, atol=ROUND_OFF)


def test_nearest_cell_wraps():
    cells = nearest_cell(torch.tensor([[0.4, 15.6, -0.6], [3, 4, 5]]), N_MESH)
    assert cells.tolist() == [15, 3 * 256 + 4 * 16 + 5]
