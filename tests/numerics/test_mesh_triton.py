"""The fused kernels against PyTorch in double precision, and against themselves."""

from dataclasses import dataclass

import pytest
import torch

from fieldlevel.numerics.mesh import (
    fourier,
    gradient,
    gradient_at,
    inverse_fourier,
    inverse_laplacian_kernel,
    multiply_modes,
    paint_cic,
    paint_species,
    push_particles,
    read_cic,
    smooth_gaussian,
    squared_wavenumber,
)

pytestmark = pytest.mark.gpu

UNIT = 2**-16  # painted weights are multiples of it
ROUND_OFF = 1e-4  # float32 positions and sums


@dataclass(frozen=True)
class Problem:
    """Clustered particles beyond all sides of a box, with velocities, and a rough potential."""

    positions: torch.Tensor
    velocity: torch.Tensor
    field: torch.Tensor

    @property
    def n_mesh(self) -> int:
        return self.field.shape[0]


@pytest.fixture(params=[16, 24, 70])
def problem(request) -> Problem:
    """Meshes of sides that are no powers of two and a number of particles that fills no block of threads."""
    n_mesh, generator = request.param, torch.Generator().manual_seed(3)
    spread = n_mesh * (3 * torch.rand(4003, 3, generator=generator) - 1)
    clump = 0.5 * torch.randn(1000, 3, generator=generator)
    velocity = torch.randn(5003, 3, generator=generator)
    field = torch.randn((n_mesh,) * 3, generator=generator)
    return Problem(torch.cat([spread, clump]), velocity, field)


def test_painting(problem):
    """Every particle that touches a cell may be half a unit off."""
    heavy, light = problem.positions.split([2000, 3003])
    painted = paint_species([heavy.cuda(), light.cuda()], problem.n_mesh, [0.84, 0.16]).cpu().double()
    expected = paint_species([heavy.double(), light.double()], problem.n_mesh, [0.84, 0.16])
    n_around = 8 * paint_cic(problem.positions.double(), problem.n_mesh) + 8
    assert ((painted - expected).abs() < UNIT * n_around).all()
    assert painted.sum().item() == pytest.approx(expected.sum().item(), rel=1e-4)


def test_particles_at_cell_centres_and_on_the_edges_of_the_box(problem):
    n = problem.n_mesh
    corners = torch.tensor([[0.0, 0, 0], [n, n, n], [-n, 2 * n, 0], [n - 0.5, 0, 0], [-0.5, 0, 0]])
    mesh = paint_cic(corners.cuda(), n)
    assert (mesh[0, 0, 0].item(), mesh[n - 1, 0, 0].item(), mesh.sum().item()) == (4, 1, 5)


def test_painting_does_not_depend_on_the_order_of_particles(problem):
    positions = problem.positions.cuda()
    expected = paint_cic(positions, problem.n_mesh)
    for _ in range(3):
        shuffled = positions[torch.randperm(len(positions), device="cuda")]
        assert torch.equal(paint_cic(shuffled, problem.n_mesh), expected)


def test_particles_that_are_not_contiguous(problem):
    """A view with other strides is painted and read as what it shows."""
    strided = problem.positions.T.contiguous().cuda().T
    assert torch.equal(paint_cic(strided, problem.n_mesh), paint_cic(strided.contiguous(), problem.n_mesh))
    field = problem.field.cuda()
    assert torch.equal(gradient_at(field, strided), gradient_at(field, strided.contiguous()))


def test_gradient(problem):
    slope = gradient_at(problem.field.cuda(), problem.positions.cuda()).cpu().double()
    expected = gradient_at(problem.field.double(), problem.positions.double())
    torch.testing.assert_close(slope, expected, rtol=0, atol=ROUND_OFF)


def test_opposite_masses(problem):
    """Halves of a pair may be negative and borrow from each other."""
    one, other = problem.positions.split([2500, 2503])
    painted = paint_species([one.cuda(), other.cuda()], problem.n_mesh, [1.0, -1.0]).cpu().double()
    expected = paint_species([one.double(), other.double()], problem.n_mesh, [1.0, -1.0])
    n_around = 8 * paint_cic(problem.positions.double(), problem.n_mesh) + 8
    assert painted.min() < -0.5
    assert ((painted - expected).abs() < UNIT * n_around).all()


def test_meshes_of_odd_sides_are_left_to_pytorch(problem):
    painted = paint_cic(problem.positions.cuda(), 15).cpu().double()
    torch.testing.assert_close(painted, paint_cic(problem.positions.double(), 15), rtol=0, atol=0.1)
    assert painted.sum().item() == pytest.approx(len(problem.positions), rel=1e-5)


def test_reading(problem):
    value = read_cic(problem.field.cuda()[None], problem.positions.cuda()).cpu().double()
    expected = read_cic(problem.field.double()[None], problem.positions.double())
    torch.testing.assert_close(value, expected, rtol=0, atol=ROUND_OFF)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_multiplied_modes(problem, order):
    """In whatever order either of them lies in memory."""
    modes, kernel = fourier(problem.field.cuda()), squared_wavenumber(problem.n_mesh, torch.device("cuda"))
    assert modes.stride() == kernel.stride()
    laid_out = modes.permute(order).contiguous().permute(*torch.tensor(order).argsort().tolist())
    expected = modes.cpu() * kernel.cpu()
    assert torch.equal(multiply_modes(laid_out.clone(), kernel).cpu(), expected)
    assert torch.equal(multiply_modes(laid_out, kernel.contiguous()).cpu(), expected)


@pytest.mark.parametrize("n_mesh", [64, 256])
def test_smoothing_and_forces_agree_with_the_cpu(n_mesh):
    """Large meshes, which cuFFT transforms in other passes than small ones."""
    field = torch.randn((n_mesh,) * 3, generator=torch.Generator().manual_seed(1))
    on_both = [
        [
            inverse_fourier(smooth_gaussian(fourier(each), 1.5)).cpu(),
            inverse_fourier(multiply_modes(fourier(each), inverse_laplacian_kernel(n_mesh, each.device, True))).cpu(),
        ]
        for each in (field, field.cuda())
    ]
    for on_cpu, on_gpu in zip(*on_both, strict=True):
        torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=1e-4 * on_cpu.abs().max().item())


def test_push(problem):
    """The gradient is read in half precision: 2^-11 of each value that it is interpolated from."""
    kick = 0.4
    rounding = kick * gradient(problem.field).abs().max().item() * 2**-11 + ROUND_OFF
    position, velocity = problem.positions.cuda(), problem.velocity.cuda()
    expected_position, expected_velocity = problem.positions.double(), problem.velocity.double()
    push_particles(position, velocity, problem.field.cuda(), keep=0.9, kick=-0.4, drift=0.3)
    push_particles(expected_position, expected_velocity, problem.field.double(), keep=0.9, kick=-0.4, drift=0.3)
    torch.testing.assert_close(velocity.cpu().double(), expected_velocity, rtol=0, atol=rounding)
    torch.testing.assert_close(position.cpu().double(), expected_position, rtol=0, atol=rounding)


def test_a_push_is_right_on_average(problem):
    """Rounding to half precision has no preferred sign: over particles that lie apart its errors average out."""
    apart = problem.positions[:4003]
    position, velocity = apart.cuda(), torch.zeros_like(apart).cuda()
    push_particles(position, velocity, problem.field.cuda(), keep=1.0, kick=1.0, drift=0.0)
    slope = gradient(problem.field.double())
    error = (velocity.cpu().double() - gradient_at(problem.field.double(), apart.double())).mean(0)
    n_values = min(len(apart), problem.n_mesh**3)
    assert (error.abs() < 5 * 2**-11 * slope.std() / n_values**0.5 + 1e-6).all()


def test_double_precision_stays_with_pytorch(problem):
    painted = paint_cic(problem.positions.double().cuda(), problem.n_mesh).cpu()
    torch.testing.assert_close(painted, paint_cic(problem.positions.double(), problem.n_mesh), rtol=0, atol=1e-10)


def test_meshes_of_more_numbers_than_a_narrow_index_counts():
    """Four numbers of a gradient in each of 1024^3 cells are more than 2^31: the far corner does as well."""
    if torch.cuda.get_device_properties(0).total_memory < 2**36:
        pytest.skip("takes 30 GiB")
    n_mesh = 1024
    near = 40 * torch.rand(999, 3, generator=torch.Generator().manual_seed(5))
    far = n_mesh - 40 + near
    unit = 2 * torch.pi / n_mesh
    k = unit * torch.arange(n_mesh, device="cuda")
    field = (8 * k).sin()[:, None, None] + (5 * k).cos()[None, :, None] + (3 * k).sin()[None, None, :]
    for place in (near, far):
        x, y, z = (unit * place.double()).unbind(1)
        slopes = unit * torch.stack([8 * (8 * x).cos(), -5 * (5 * y).sin(), 3 * (3 * z).cos()], 1)
        assert torch.allclose(gradient_at(field, place.cuda()).cpu().double(), slopes, atol=1e-4)
    painted = paint_cic(far.cuda(), n_mesh)[-40:, -40:, -40:]
    assert (painted - paint_cic(near.cuda(), 64)[:40, :40, :40]).abs().max() < 1e-3
