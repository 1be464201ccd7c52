"""The recorded step on a GPU: it repeats the plain one to the bit, goes on after a stop, follows the float32 path."""

import copy
import gc
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.progress import ignore
from fieldlevel.training.captured import N_EAGER, CapturedStep
from fieldlevel.training.precision import seeded
from fieldlevel.training.state import TrainingState, validation_loss
from fieldlevel.training.step import TrainingStep
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]

CUDA = torch.device("cuda")
N_PIXELS = 32
SPEC = TrainSpec(
    network=NetworkSpec(hidden=8, dropout=0.3),
    optimiser=OptimiserSpec(method="Muon", learning_rate=5e-3, longest_gradient=1.0),
    precision="bfloat16",
    batch_size=32,
    n_steps=24,
    validate_every=12,
    head_batches=3,
    squared_error_steps=9,
)
PATHS_APART = 0.05  # of the loss, over 100 steps that bring it down by some 3; float32 seeds differ by 0.3 and more


def map_set(n_maps: int, seed: int, device: torch.device = CUDA) -> MapSet:
    """Noise whose mean and scatter tell two of the parameters."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator)
    noise = torch.randn(n_maps, N_PIXELS, N_PIXELS, generator=generator)
    maps = theta[:, :1, None] + (0.5 + theta[:, 1:2, None]) * noise
    return MapSet(maps.to(device), theta.to(device), torch.arange(n_maps, device=device))


def new_state(spec: TrainSpec, device: torch.device = CUDA) -> TrainingState:
    with seeded(spec.seed, device):
        return TrainingState(spec, map_set(256, 1, device), map_set(24, 2, device))


def weights_of(state: TrainingState) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.network.state_dict().items()}


def train(state: TrainingState) -> dict[str, Tensor]:
    with seeded(1, CUDA):
        while state.step < state.spec.n_steps:
            state.advance(ignore)
    return weights_of(state)


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    different = [name for name in theirs if not torch.equal(ours[name], theirs[name])]
    assert not different


def test_replays_read_new_arguments_and_new_random_numbers():
    total = torch.zeros(4, device=CUDA)

    def step(chosen: Tensor) -> Tensor:
        total.add_(chosen)
        return torch.rand((), device=CUDA)

    arguments = [torch.randint(9, (4,)) for _ in range(N_EAGER + 4)]
    with seeded(3, CUDA):
        captured = CapturedStep(CUDA)
        ours = [captured(step, each).item() for each in arguments]
    assert torch.equal(total.cpu(), torch.stack(arguments).sum(0).float())
    with seeded(3, CUDA):
        assert ours == [torch.rand((), device=CUDA).item() for _ in arguments]


def test_kernels_are_compiled_before_they_are_needed(monkeypatch):
    """Those of steps and of validation, of a width that no other test has: its kernels are new."""
    triton = pytest.importorskip("triton")
    compiled, before_steps = [], []

    def take(self: TrainingStep, *arguments: Any) -> Tensor:
        before_steps.append(len(compiled))
        return take_step(self, *arguments)

    take_step = TrainingStep._take
    monkeypatch.setattr(TrainingStep, "_take", take)
    monkeypatch.setattr(triton.knobs.runtime, "jit_post_compile_hook", lambda **_: compiled.append(1))
    state = new_state(replace(SPEC, network=NetworkSpec(hidden=7, dropout=0.0)))
    with seeded(1, CUDA):
        state.advance(ignore)
    assert 0 < before_steps[0] == len(compiled)


@pytest.mark.parametrize("method", ["AdamW", "Muon"])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_recorded_steps_are_the_plain_ones_to_the_bit(monkeypatch, precision, method):
    """Dropout, warm-up on squared errors, learning rate and shortened gradients included."""
    spec = replace(SPEC, precision=precision, optimiser=replace(SPEC.optimiser, method=method))
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        recorded = train(new_state(spec))
        monkeypatch.setattr(CapturedStep, "__call__", lambda self, step, numbers: step(numbers.to(CUDA)))
        assert_same(recorded, train(new_state(spec)))


def test_a_stopped_run_goes_on_to_the_same_bits():
    """Stopped behind replays; the new process takes plain steps and records again."""
    whole = train(new_state(SPEC))
    stopped, fresh = new_state(SPEC), new_state(SPEC)
    with seeded(1, CUDA):
        stopped.advance(ignore)
        saved = stopped.state_dict()
    fresh.load_state_dict(saved)
    while fresh.step < SPEC.n_steps:
        fresh.advance(ignore)
    assert_same(weights_of(fresh), whole)


def test_going_back_forgets_what_was_recorded():
    """The recording holds the memory of moments that are no longer those of the optimiser."""
    spec = replace(SPEC, n_steps=36, squared_error_steps=0)
    whole = train(new_state(spec))
    state = new_state(spec)
    with seeded(1, CUDA):
        state.advance(ignore)
        saved = copy.deepcopy(state.state_dict())
        state.advance(ignore)
        state.load_state_dict(saved)
        while state.step < spec.n_steps:
            state.advance(ignore)
    assert_same(weights_of(state), whole)


def test_forgetting_one_recording_leaves_another_alone():
    """PyTorch frees the workspace of cuBLAS on the stream of a recording that goes: that stream must be its own."""
    spec = replace(SPEC, squared_error_steps=0)
    whole = train(new_state(spec))
    state, other = new_state(spec), new_state(spec)
    with seeded(1, CUDA):
        state.advance(ignore)
        with seeded(2, CUDA):
            other.advance(ignore)
        del other
        torch.cuda.empty_cache()
        while state.step < spec.n_steps:
            state.advance(ignore)
    assert_same(weights_of(state), whole)


def test_a_run_begun_on_the_cpu_goes_on_on_the_gpu():
    spec = replace(SPEC, precision="float32")
    begun = new_state(spec, torch.device("cpu"))
    begun.advance(ignore)
    state = new_state(spec)
    state.load_state_dict(begun.state_dict())
    state.advance(ignore)
    assert state.step == spec.n_steps
    moments = [each for optimiser in state.take_step.optimisers for each in optimiser.state.values()]
    assert all(value.device.type == "cuda" for each in moments for value in each.values())


def test_the_fast_path_follows_float32():
    """100 steps of the fused kernels in bfloat16 beside PyTorch's modules in exact float32, from the same seed."""
    adamw = OptimiserSpec(learning_rate=5e-3)
    sizes = NetworkSpec(hidden=8, dropout=0.0)
    spec = replace(SPEC, network=sizes, optimiser=adamw, n_steps=100, squared_error_steps=0)
    losses = []
    for precision in ("bfloat16", "float32"):
        state = new_state(replace(spec, precision=precision))
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            losses.append(torch.stack([state.take_step(step) for step in range(spec.n_steps)]).cpu())
    fast, exact = losses
    assert exact[:10].mean() - exact[-10:].mean() > 1
    assert abs(fast[-10:].mean() - exact[-10:].mean()) < PATHS_APART * (exact[:10].mean() - exact[-10:].mean()) + 0.05


def test_memory_of_a_network_is_free_when_it_is_forgotten():
    """Without the garbage collector, which would come too late for the twentieth network."""
    new_state(SPEC).advance(ignore)  # libraries keep workspaces
    gc.collect()
    gc.disable()
    try:
        before = torch.cuda.memory_allocated()
        state = new_state(SPEC)
        state.advance(ignore)
        assert torch.cuda.memory_allocated() > before
        del state
        assert torch.cuda.memory_allocated() <= before
    finally:
        gc.enable()


def test_a_perceptron_is_recorded_too():
    spec = replace(SPEC, inputs="power spectrum", perceptron=PerceptronSpec(n_neurons=16), precision="auto")
    sets = (map_set(64, 1), map_set(8, 2))
    summaries = [replace(each, maps=each.maps.flatten(1)[:, :20].contiguous()) for each in sets]
    with seeded(0, CUDA):
        state = TrainingState(spec, *summaries)
        state.advance(ignore)
    assert state.history[-1].validation_loss < 10


def test_a_head_of_normals_is_recorded_too(monkeypatch):
    spec = replace(SPEC, head="gaussian", head_options={"dropout": 0.1})
    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        recorded = train(new_state(spec))
        monkeypatch.setattr(CapturedStep, "__call__", lambda self, step, numbers: step(numbers.to(CUDA)))
        assert_same(recorded, train(new_state(spec)))


@pytest.mark.parametrize("kind", ["spline", "affine"])
def test_a_flow_trains_and_tells_its_density(kind):
    pytest.importorskip("zuko")
    options = {"n_hidden": 8, "kind": kind}
    state = new_state(replace(SPEC, head="flow", head_options=options, squared_error_steps=0, joint_steps=50))
    train(state)
    with seeded(2, CUDA):
        network = state.best_network().network
    x = map_set(8, 3).maps[:, None]
    mean, std = network.posterior(x)
    density = network.density(x)
    torch.testing.assert_close(mean.cpu(), density.mean.float())
    torch.testing.assert_close(std.cpu(), density.std.float())
    assert density.sample(10).shape == (10, 8, 6)


@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_network_predicts_on_the_cpu_as_well_as_it_was_told_to(precision):
    """The GPU neither trains nor predicts in the arithmetic of the CPU."""
    with seeded(0, CUDA):
        state = new_state(replace(SPEC, precision=precision))
        train(state)
        trained = state.best_network()
    on_cpu = validation_loss(trained.network.cpu(), map_set(24, 2, torch.device("cpu")), SPEC.batch_size)
    assert trained.validation_loss == pytest.approx(on_cpu, abs=1e-3)
