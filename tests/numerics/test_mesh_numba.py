"""The compiled loops of a CPU give what the formulas in PyTorch do."""

import math

import pytest
import torch

from fieldlevel.numerics import mesh

N_MESH = 12


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def particles(request):
    """Positions in and beyond the box, on nodes and on its faces, and velocities."""
    generator = torch.Generator().manual_seed(3)
    inside = torch.rand(500, 3, generator=generator, dtype=torch.float64) * N_MESH
    beyond = (inside[:50] - 7.3) * 4
    odd = torch.tensor([[0.0, N_MESH, -N_MESH], [3.0, -1e-9, N_MESH - 1e-9], [-0.5, 11.5, 23.5]], dtype=torch.float64)
    position = torch.cat([inside, beyond, odd]).to(request.param)
    return position, torch.randn(position.shape, generator=generator, dtype=torch.float64).to(request.param)


@pytest.fixture
def field(particles):
    return torch.randn(N_MESH, N_MESH, N_MESH, generator=torch.Generator().manual_seed(5)).to(particles[0].dtype)


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"], autouse=True)
def _threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


def in_torch(monkeypatch, work):
    """The same without Numba."""
    with monkeypatch.context() as patched:
        patched.setattr(mesh, "_HAS_NUMBA", False)
        return work()


def assert_close(ours, theirs):
    tolerance = 1e-4 if ours.dtype == torch.float32 else 1e-11
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_painting_is_that_of_pytorch(particles, monkeypatch):
    kinds, masses = particles[0].split(300), [0.84, 0.16]

    def paint():
        return mesh.paint_species(kinds, N_MESH, masses)

    assert_close(paint(), in_torch(monkeypatch, paint))


def test_painting_an_open_mesh_is_that_of_pytorch(particles, monkeypatch):
    position = particles[0].clamp(0, 5) * torch.tensor([0.4, 0.6, 1.0], dtype=particles[0].dtype)
    mass = particles[1][:, 0].abs()

    def paint():
        return mesh.paint_linear(position, (2, 3, 5), mass)

    assert_close(paint(), in_torch(monkeypatch, paint))
    assert paint().sum().item() == pytest.approx(mass.sum().item(), rel=1e-5)


def test_reading_fields_is_that_of_pytorch(particles, field, monkeypatch):
    fields = torch.stack([field, 2 * field.flip(0)])

    def read():
        return mesh.read_cic(fields, particles[0])

    assert_close(read(), in_torch(monkeypatch, read))


def test_gradients_at_particles_are_those_of_pytorch(particles, field, monkeypatch):
    def read():
        return mesh.gradient_at(field, particles[0])

    assert_close(read(), in_torch(monkeypatch, read))


def test_a_push_is_that_of_pytorch(particles, field, monkeypatch):
    def push():
        position, velocity = particles[0].clone(), particles[1].clone()
        mesh.push_particles(position, velocity, field, keep=0.9, kick=-0.7, drift=0.3)
        return torch.cat([position, velocity])

    assert_close(push(), in_torch(monkeypatch, push))


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf"), 1e30])
def test_positions_that_are_none_touch_nothing_outside(particles, field, odd):
    """They are no addresses anywhere in memory."""
    position = particles[0].clone()
    position[7] = odd
    told = mesh.gradient_at(field, position)
    painted = mesh.paint_cic(position, N_MESH)
    opened = mesh.paint_linear(position.clamp(0, 5), (5, 5, 5), torch.ones(len(position), dtype=position.dtype))
    assert torch.equal(told[:7], mesh.gradient_at(field, particles[0])[:7])
    assert opened.isfinite().all() == (not math.isnan(odd))
    if not math.isfinite(odd):
        assert not told[7].isfinite().all() and not painted.isfinite().all()


def test_mass_from_far_away_stays_on_the_mesh():
    """Wrapping such a coordinate, in float64, errs by 32 cells."""
    position = torch.tensor([[0.0, 0.0, 2.2012184603296554e17]], dtype=torch.float64)
    assert mesh.paint_cic(position, N_MESH).sum().item() == pytest.approx(1.0)


def test_other_numbers_are_left_to_pytorch(particles):
    assert mesh.paint_cic(particles[0].half()[:9], N_MESH).dtype == torch.float16


def test_painted_masses_may_record_gradients(particles):
    position = particles[0].clamp(0, 5)
    mass = torch.ones(len(position), dtype=position.dtype, requires_grad=True)
    (3 * mesh.paint_linear(position, (5, 5, 5), mass).sum()).backward()
    torch.testing.assert_close(mass.grad, torch.full_like(mass, 3.0), rtol=1e-5, atol=1e-5)
