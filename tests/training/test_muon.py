import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from fieldlevel.training import muon
from fieldlevel.training.muon import Muon, orthogonalised
from fieldlevel.training.optimisers import load_optimiser, make_optimisers, set_rate
from fieldlevel.training.train_spec import OptimiserSpec

CPU = torch.device("cpu")
# Where five iterations leave singular values that are not tiny; the polynomial does not converge, it only comes near.
LEAST, MOST = 0.65, 1.25


def matrix(n: int, m: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(8, 72), (72, 8), (12, 12), (1, 5), (5, 1)])
def test_singular_vectors_stay_and_singular_values_come_near_one(shape):
    m = matrix(*shape)
    (found,) = orthogonalised([m])
    u, s, vt = torch.linalg.svd(m, full_matrices=False)
    inner = u.T @ found @ vt.T
    values = inner.diagonal()[s > 0.05 * s.norm()]
    assert len(values) > 0
    assert ((values > LEAST) & (values < MOST)).all()
    torch.testing.assert_close(inner, inner.diagonal().diag())
    torch.testing.assert_close(u @ inner @ vt, found)


@pytest.mark.parametrize(("dtype", "most"), [(torch.float64, 1e-11), (torch.float32, 3e-3)])
def test_small_matrices_take_the_steps_of_wide_ones(monkeypatch, dtype, most):
    """Also where singular values fall to 1e-4 of the largest; what float32 loses is less than a tenth of bfloat16's."""
    u, _, vt = torch.linalg.svd(matrix(32, 160), full_matrices=False)
    m = u @ torch.logspace(0, -4, 32, dtype=torch.float64).diag() @ vt
    (by_grams,) = orthogonalised([m.to(dtype)])
    monkeypatch.setattr(muon, "LEAST_ROWS", 33)
    (exact,), (half,) = orthogonalised([m]), orthogonalised([m], torch.bfloat16)
    lost, lost_by_half = (torch.linalg.matrix_norm(found.double() - exact, 2) for found in (by_grams, half))
    assert 0 < lost < most
    assert lost < lost_by_half / 10


def test_the_scale_of_a_matrix_does_not_matter():
    m = matrix(6, 10)
    (one,), (other,) = orthogonalised([m]), orthogonalised([1e-18 * m])
    torch.testing.assert_close(other, one)


def test_rows_of_zeros_stay():
    m = matrix(6, 10)
    m[3:] = 0.0
    (found,) = orthogonalised([m])
    assert found[3:].abs().max() == 0.0
    torch.testing.assert_close(found[:3], orthogonalised([m[:3]])[0])
    assert orthogonalised([torch.zeros(3, 4)])[0].abs().max() == 0.0


def test_matrices_worked_on_together_are_as_alone():
    shapes = [(4, 9), (4, 36), (36, 4), (8, 36), (4, 4)]
    several = [matrix(*shape, seed) for seed, shape in enumerate(shapes)]
    for m, found in zip(several, orthogonalised(several), strict=True):
        assert found.shape == m.shape
        torch.testing.assert_close(found, orthogonalised([m])[0])


def test_all_directions_of_a_gradient_move_alike():
    """A gradient with singular values from 1 to 1e-2 moves its weights by the learning rate along each of them."""
    u, _, vt = torch.linalg.svd(matrix(4, 16), full_matrices=False)
    weight = nn.Parameter(torch.zeros(4, 16, dtype=torch.float64))
    weight.grad = u @ torch.logspace(0, -2, 4, dtype=torch.float64).diag() @ vt
    Muon([weight], lr=0.1, momentum=0.0, weight_decay=0.0).step()
    moved = -(u.T @ weight.detach() @ vt.T).diagonal() / (0.1 * 0.2 * math.sqrt(16))
    assert ((moved > LEAST) & (moved < MOST)).all()


def test_a_step_is_as_large_as_one_of_adamw():
    """Root mean square of 0.2 learning rates, whatever the shape of the weights."""
    for shape in ((16, 8, 3, 3), (32, 64), (64, 32)):
        weight = nn.Parameter(torch.zeros(shape))
        weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        Muon([weight], lr=0.01, momentum=0.9, weight_decay=0.0).step()
        assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.002, rel=0.2)


def test_linear_layers_move_as_with_pytorchs_muon():
    """Which iterates in bfloat16, and knows matrices only."""
    start = matrix(24, 40).float()
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    constants = {"lr": 0.02, "momentum": 0.9, "weight_decay": 10.0}
    optimisers = Muon([ours], **constants), torch.optim.Muon([theirs], **constants, adjust_lr_fn="match_rms_adamw")
    for seed in range(1, 5):
        ours.grad, theirs.grad = matrix(24, 40, seed).float(), matrix(24, 40, seed).float()
        for optimiser in optimisers:
            optimiser.step()
    apart = (ours - theirs).detach().norm() / (theirs.detach() - start).norm()
    assert apart < 0.02


def test_momentum_is_nesterovs():
    """Of two gradients g and h at momentum b the second step follows (1 - b) h + b ((1 - b) h + b (1 - b) g)."""
    g, h, b = matrix(3, 5, 1), matrix(3, 5, 2), 0.8
    weight = nn.Parameter(torch.zeros(3, 5, dtype=torch.float64))
    muon = Muon([weight], lr=1.0, momentum=b, weight_decay=0.0)
    weight.grad = g
    muon.step()
    before = weight.detach().clone()
    weight.grad = h
    muon.step()
    (expected,) = orthogonalised([(1 - b) * h + b * ((1 - b) * h + b * (1 - b) * g)])
    torch.testing.assert_close(before - weight.detach(), 0.2 * math.sqrt(5) * expected)


def test_weights_decay_as_those_of_adamw():
    weight = nn.Parameter(torch.ones(3, 5))
    weight.grad = torch.zeros(3, 5)
    Muon([weight], lr=0.1, momentum=0.5, weight_decay=0.5).step()
    torch.testing.assert_close(weight.detach(), torch.full((3, 5), 0.95))


def test_weights_without_a_gradient_rest():
    weight = nn.Parameter(torch.ones(3, 5))
    Muon([weight], lr=0.1, momentum=0.5, weight_decay=0.5).step()
    assert torch.equal(weight.detach(), torch.ones(3, 5))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(("dtype", "tolerance"), [(None, 2e-3), (torch.bfloat16, 0.05)])
def test_a_gpu_moves_weights_as_the_cpu_does(dtype, tolerance):
    """There narrow matrices are worked on together, filled up with zeros, and groups side by side."""
    shapes = [(16, 1, 3, 3), (16, 16, 3, 3), (24, 64), (300, 128, 3, 3), (200, 90), (12, 512), (130, 140)]

    def moved(device: str) -> list[torch.Tensor]:
        weights = [nn.Parameter(torch.zeros(shape, device=device)) for shape in shapes]
        muon = Muon(weights, lr=0.1, momentum=0.5, weight_decay=1.0, dtype=dtype)
        for step in range(3):
            for number, (n, *others) in enumerate(shapes):
                gradient = matrix(n, math.prod(others), seed=10 * step + number).float()
                weights[number].grad = gradient.view(n, *others).to(device)
            muon.step()
        return [weight.detach().cpu() for weight in weights]

    for ours, theirs in zip(moved("cuda"), moved("cpu"), strict=True):
        assert (ours - theirs).norm() / theirs.norm() < tolerance


def small_network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def test_matrices_go_to_muon_and_the_rest_to_adamw():
    network = small_network()
    network[0].bias.requires_grad_(False)
    spec = OptimiserSpec(method="Muon", learning_rate=0.3, weight_decay=0.01, beta1=0.7, beta2=0.8)
    adamw, muon = make_optimisers(network.parameters(), spec, CPU)
    own, others = muon.param_groups[0], adamw.param_groups[0]
    assert (own["lr"], own["momentum"], own["weight_decay"]) == (0.3, 0.7, 0.01)
    assert (others["lr"], others["betas"], others["weight_decay"]) == (0.3, (0.7, 0.8), 0.01)
    assert [tuple(weight.shape) for weight in muon.param_groups[0]["params"]] == [(4, 1, 3, 3), (2, 16)]
    assert [tuple(weight.shape) for weight in adamw.param_groups[0]["params"]] == [(4,), (4,), (2,)]
    (alone,) = make_optimisers(network.parameters(), OptimiserSpec(), CPU)
    assert len(alone.param_groups[0]["params"]) == 5


def test_states_are_gone_on_from():
    def descend(network, optimisers, n_steps):
        for step in range(n_steps):
            set_rate(optimisers, 0.1 / (1 + step))
            network.zero_grad()
            network(maps).square().sum().backward()
            for optimiser in optimisers:
                optimiser.step()
        return torch.cat([weight.detach().flatten() for weight in network.parameters()])

    maps = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(1))
    spec = OptimiserSpec(method="Muon", learning_rate=0.1)
    first, second = small_network(), small_network()
    optimisers = make_optimisers(first.parameters(), spec, CPU)
    descend(first, optimisers, 3)
    second.load_state_dict(first.state_dict())
    others = make_optimisers(second.parameters(), spec, CPU)
    for other, optimiser in zip(others, optimisers, strict=True):
        load_optimiser(other, deepcopy(optimiser.state_dict()))
    assert torch.equal(descend(first, optimisers, 3), descend(second, others, 3))
