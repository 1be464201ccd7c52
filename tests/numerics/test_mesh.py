import pytest
import torch

from fieldlevel.numerics.mesh import (
    fourier,
    gradient,
    inverse_fourier,
    inverse_laplacian_kernel,
    nearest_cell,
    paint_cic,
    read_cic,
    smooth_gaussian,
    wavenumbers,
)

N_MESH = 16
ROUND_OFF = 1e-5  # float32 coordinates of the sampling kernel


@pytest.fixture
def positions() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return N_MESH * (3 * torch.rand(500, 3, generator=generator, dtype=torch.float64) - 1)


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


def test_painting_equals_a_loop_over_particles(positions):
    torch.testing.assert_close(paint_cic(positions, N_MESH), brute_force_cic(positions, N_MESH), rtol=0, atol=1e-10)


def test_painting_keeps_the_mass(positions):
    mass = torch.linspace(0.5, 2, len(positions), dtype=torch.float64)
    assert paint_cic(positions, N_MESH, mass).sum().item() == pytest.approx(mass.sum().item(), rel=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_moving_particles_by_whole_cells_rolls_the_mesh(positions, axis):
    shift = torch.zeros(3, dtype=torch.float64)
    shift[axis] = 5
    expected = torch.roll(paint_cic(positions, N_MESH), 5, axis)
    torch.testing.assert_close(paint_cic(positions + shift, N_MESH), expected, rtol=0, atol=1e-10)


def test_float32_painting_is_close_to_float64(positions):
    wrapped = positions.remainder(N_MESH)
    single = paint_cic(wrapped.float(), N_MESH).double()
    torch.testing.assert_close(single, paint_cic(wrapped, N_MESH), rtol=0, atol=20 * ROUND_OFF)


def test_a_constant_field_is_read_back(positions):
    field = torch.full((2, N_MESH, N_MESH, N_MESH), 3.0, dtype=torch.float64)
    torch.testing.assert_close(read_cic(field, positions), torch.full((2, 500), 3.0, dtype=torch.float64))


def test_reading_is_the_transpose_of_painting(positions):
    field = torch.randn((N_MESH,) * 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    mass = torch.rand(len(positions), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    painted = (paint_cic(positions, N_MESH, mass) * field).sum()
    read = (read_cic(field[None], positions)[0] * mass).sum()
    assert painted.item() == pytest.approx(read.item(), rel=1e-10)


def test_gradient_of_a_plane_wave():
    x = torch.arange(64, dtype=torch.float64)
    k = 2 * torch.pi * 3 / 64
    field = torch.sin(k * x)[:, None, None].expand(64, 64, 64).contiguous()
    slope = gradient(field)
    torch.testing.assert_close(slope[0], (k * torch.cos(k * x))[:, None, None].expand_as(field), rtol=0, atol=2e-3 * k)
    assert slope[1:].abs().max() < 1e-12


def test_inverse_laplacian_undoes_the_laplacian():
    field = torch.randn((N_MESH,) * 3, generator=torch.Generator().manual_seed(1))
    potential_k = fourier(field) * inverse_laplacian_kernel(N_MESH, field.device)
    laplacian = inverse_fourier(potential_k * -sum(k**2 for k in wavenumbers(N_MESH, field.device)))
    torch.testing.assert_close(laplacian, field - field.mean(), rtol=0, atol=1e-4)


def test_gaussian_smoothing_composes_in_quadrature():
    modes = fourier(torch.randn((N_MESH,) * 3, generator=torch.Generator().manual_seed(1)))
    twice = smooth_gaussian(smooth_gaussian(modes, 1.5), 2.0)
    torch.testing.assert_close(twice, smooth_gaussian(modes, 2.5))


def test_nearest_cell_wraps():
    cells = nearest_cell(torch.tensor([[0.4, 15.6, -0.6]]), N_MESH)
    assert cells.tolist() == [15]
