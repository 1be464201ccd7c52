"""Several ranks against one process. Run by torchrun as a script, this file is the work of a rank."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fieldlevel.data.batches import BatchSampler, MapSet
from fieldlevel.data.split import SplitSpec
from fieldlevel.errors import TrainingError, UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.moments import loss_from_sums, moment_sums
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.predictor import load
from fieldlevel.layout import Layout
from fieldlevel.progress import ignore
from fieldlevel.training import distributed, resume
from fieldlevel.training.captured import CapturedStep
from fieldlevel.training.precision import seeded
from fieldlevel.training.state import TrainingState
from fieldlevel.training.step import TrainingStep
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train, train_network

CMD = Layout()

N_RANKS = 2

# Sums of some thousand float32 numbers in another order, through six steps.
SINGLE = 1e-5
# The same, where a convolution of another number of maps may be another algorithm.
GPU = 1e-3
# Activations that another order of sums rounds to another bfloat16 now and then, through two steps; six would be chaos.
SHORT = 2e-2
# Rounding of float64 at values of 100.
DOUBLE = 1e-10

PATIENCE = timedelta(seconds=3)
GPU_PATIENCE = timedelta(seconds=20)
HAVE_GPUS = torch.cuda.device_count() >= N_RANKS or os.environ.get("NCCL_MULTI_RANK_GPU_ENABLE") == "1"
INTERPRETS = os.environ.get("TRITON_INTERPRET") == "1" and not torch.cuda.is_available()

SPEC = TrainSpec(
    split=SplitSpec(train=0.75, validation=0.125),
    network=NetworkSpec(hidden=2, dropout=0.0),
    optimiser=OptimiserSpec(learning_rate=1e-2),
    precision="float32",
    batch_size=16,
    n_steps=6,
    validate_every=3,
    statistics_batches=5,
    head_batches=3,
)
BRIEF = replace(SPEC, precision="bfloat16", network=NetworkSpec(hidden=8, dropout=0.0), n_steps=2, validate_every=2)
FUSED = replace(
    BRIEF,
    network=NetworkSpec(hidden=8, dropout=0.3),
    optimiser=OptimiserSpec(method="Muon", learning_rate=1e-2, longest_gradient=1.0),
    squared_error_steps=5,
    n_steps=12,
    validate_every=4,
)
OWN = replace(
    SPEC,
    body="own_parts:Body",
    body_options={"n_features": 6},
    head="own_parts:GaussianHead",
    penalty="own_parts:Critic",
    penalty_options={"method": "SGD"},
)
DROPPING = replace(SPEC, network=NetworkSpec(hidden=1, dropout=0.3), n_steps=9)


class InterruptionError(Exception):
    pass


def map_set(n_maps: int, seed: int, device: str = "cpu") -> MapSet:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator)
    maps = torch.randn(n_maps, 16, 16, generator=generator) + theta[:, :1, None]
    numbers = torch.arange(n_maps, device=device)
    return MapSet(maps.to(device), theta.to(device), numbers, numbers % 2)


def both_sets(device: str = "cpu") -> tuple[MapSet, MapSet]:
    """The validation maps do not divide among two ranks."""
    return map_set(60, 1, device), map_set(21, 2, device)


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}


def descend(spec: TrainSpec, device: str = "cpu") -> dict[str, Any]:
    """Plain gradient descent: its steps are as equal as the gradients."""
    with seeded(spec.seed, torch.device(device)):
        state = TrainingState(spec, *both_sets(device))
        state.take_step.optimisers = [torch.optim.SGD(state.network.parameters(), lr=1e-2)]
        return train_to_the_end(state)


def learn(spec: TrainSpec, device: str = "cpu") -> dict[str, Any]:
    with seeded(spec.seed, torch.device(device)):
        return train_to_the_end(TrainingState(spec, *both_sets(device)))


def train_to_the_end(state: TrainingState) -> dict[str, Any]:
    while state.step < state.spec.n_steps:
        state.advance(ignore)
    losses = torch.tensor([(row.training_loss, row.validation_loss) for row in state.history])
    weights = weights_of(state.network)
    return {"weights": weights, "losses": losses, "kept": weights_of(state.best_network().network)}


def differentiate() -> dict[str, Tensor]:
    """The loss of twelve maps and its gradient with respect to the outputs of this rank."""
    mean, std, theta = torch.rand(3, 12, 6, generator=torch.Generator().manual_seed(4))
    own = distributed.share(12)
    outputs = nn.Parameter(torch.stack([mean[own], std[own]]))
    loss = loss_from_sums(distributed.all_reduce_sum(moment_sums(outputs[0], outputs[1], theta[own])))
    (gradient,) = torch.autograd.grad(loss / distributed.n_ranks(), outputs)
    return {"loss": loss.detach(), "gradient": gradient}


def normalise(norm: nn.BatchNorm2d) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of a batch norm of maps far from zero mean."""
    torch.manual_seed(5)
    network = nn.Sequential(norm.double())
    nn.init.normal_(norm.weight)
    maps, weights = torch.randn(2, 8, 3, 4, 4, dtype=torch.float64)
    own = distributed.share(8)
    maps = (100.0 + maps[own]).requires_grad_()
    norm = next(distributed.synchronise(network, seed=0).children())
    out = norm(maps)
    (out.sin() * weights[own]).sum().backward()
    gradients = torch.stack([parameter.grad for parameter in norm.parameters()])
    by_map = {"out": out.detach(), "gradient": maps.grad}
    return by_map | {"parameters": distributed.all_reduce_sum(gradients)} | weights_of(norm)


def take_plain_steps() -> Any:
    """A recorded step would keep the learning rate that plain gradient descent had then."""
    return patch.object(CapturedStep, "__call__", lambda self, step, numbers: step(numbers.to("cuda")))


def train_on_gpus(device: str) -> dict[str, Any]:
    """By PyTorch's modules in float32, and by the fused kernels in bfloat16."""
    with take_plain_steps():
        plain = {"descended": descend(SPEC, device), "fused, briefly": descend(BRIEF, device)}
        plain["fused, plain"] = learn(FUSED, device)
    return plain | {"learnt": learn(SPEC, device), "fused": learn(FUSED, device)}


def resume_on_gpus(out: Path, device: str) -> dict[str, Any]:
    """A run, and the same one stopped between recorded steps and given again."""

    def run(state: Path | None = None) -> dict[str, Tensor]:
        return weights_of(train_network(FUSED, *both_sets(device), state).network)

    whole = run()
    interrupt(lambda: run(out / "stopped.pt"), n_validations=2)
    return {"whole": whole, "resumed": run(out / "stopped.pt")}


def get_stuck(device: str) -> None:
    """The last rank stops taking steps when they are recorded."""
    take = TrainingStep.__call__

    def take_or_sleep(self: TrainingStep, step: int) -> Tensor:
        if distributed.rank() == 1 and step == FUSED.n_steps - 1:
            time.sleep(600)
        return take(self, step)

    with patch.object(TrainingStep, "__call__", take_or_sleep):
        learn(FUSED, device)


def run_blocks(device: str) -> dict[str, Tensor]:
    """Outputs of the fused kernels, gradients of all ranks, statistics of the batch norms, in float32."""
    fused_blocks = import_module("fieldlevel.estimators.fused.stack").fused_blocks  # needs Triton
    torch.manual_seed(6)
    network = MomentNetwork(16, hidden=3, dropout=0.0)
    for norm in (module for module in network.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.normal_(norm.weight)
    maps, weights = torch.randn(6, 1, 16, 16), torch.randn(6, 24, 1, 1)
    own = distributed.share(6)
    features = nn.SyncBatchNorm.convert_sync_batchnorm(network).to(device).features
    out = fused_blocks(features, maps[own].to(device), n_blocks=3)
    (out * weights[own].to(device)).sum().backward()
    gradients = {name: p.grad for name, p in features.named_parameters() if p.grad is not None}
    total = {f"gradient of {name}": distributed.all_reduce_sum(gradient).cpu() for name, gradient in gradients.items()}
    return {"out": out.detach().cpu()} | total | weights_of(features)


def start() -> Tensor:
    """Weights of a network that every rank makes in its own way."""
    torch.manual_seed(distributed.rank())
    return distributed.synchronise(nn.Linear(3, 4), seed=0).weight.detach()


def draw_batches() -> Tensor:
    numbers = torch.arange(30)
    maps = torch.arange(30.0 * 256).reshape(30, 16, 16)
    known = MapSet(maps, numbers[:, None].repeat(1, 6).float(), numbers)
    sampler = BatchSampler(known, 8, "symmetries+shifts", seed=0, share=distributed.share(8))
    return torch.stack([sampler.draw()[0] for _ in range(6)], 1)


def interrupt(run: Callable[[], Any], n_validations: int) -> None:
    """Break a run off on every rank at a validation, before its state is saved."""
    advance, numbers = TrainingState.advance, count(1)

    def advance_or_stop(state, listener):
        advance(state, listener)
        if next(numbers) == n_validations:
            raise InterruptionError

    with patch.object(TrainingState, "advance", advance_or_stop), pytest.raises(InterruptionError):
        run()


def refusal(run: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as refused:
        run()
    return str(refused.value)


def laws() -> dict[str, Any]:
    """What one process and each of several can find out in memory."""
    return {
        "descended": descend(SPEC),
        "warmed up": descend(replace(SPEC, squared_error_steps=4)),
        "shortened": descend(replace(SPEC, optimiser=OptimiserSpec(longest_gradient=0.5))),
        "own, penalised": descend(OWN),
        "by group DRO": descend(replace(SPEC, method="group-dro", method_options={"step": 0.5})),
        "by V-REx": descend(replace(SPEC, method="vrex", method_options={"weight": 1.0})),
        "by MMD": descend(replace(SPEC, method="mmd")),
        "by a critic": descend(replace(SPEC, method="adversarial", method_options={"rate": 1e-4, "weight": 1.0})),
        "learnt": learn(SPEC),
        "learnt by Muon": learn(replace(SPEC, optimiser=OptimiserSpec(method="Muon", learning_rate=1e-2))),
        "differentiated": differentiate(),
        "normalised": normalise(nn.BatchNorm2d(3)),
        "batches": draw_batches(),
        "started": start(),
    }


def runs_on_disk(data: Path, out: Path) -> dict[str, Any]:
    """Runs in folders, with dropout, whole and interrupted, and what is refused."""
    events: list[Any] = []
    train(DROPPING, data, out / "whole", "cpu", events.append, check=False)
    interrupt(lambda: train(DROPPING, data, out / "resumed", "cpu", check=False), n_validations=3)
    train(DROPPING, data, out / "resumed", "cpu", check=False)
    interrupt(lambda: train_network(SPEC, *both_sets(), out / "resume.pt"), n_validations=2)
    seen_by_first = out / ("resume.pt" if distributed.rank() == 0 else "nowhere.pt")
    return {
        "events": len(events),
        "uneven": refusal(lambda: train_network(replace(SPEC, batch_size=15), *both_sets())),
        "uneven state": refusal(lambda: TrainingState(replace(SPEC, batch_size=15), *both_sets())),
        "disagreeing": refusal(lambda: train_network(SPEC, *both_sets(), seen_by_first)),
    }


def lose_a_rank(how: str) -> None:
    """The last rank dies, or sleeps, while the first goes on and tells of it."""
    for exchange in count(1):
        if distributed.rank() == 1 and exchange == 3:
            time.sleep(60) if how == "sleeps" else os._exit(3)
        try:
            distributed.all_reduce_sum(torch.ones(2))
        except TrainingError as error:
            sys.exit(str(error))


def work_of_a_rank(mode: str, out: Path, data: Path, device: str) -> None:
    torch.set_num_threads(1)
    torch.backends.cudnn.allow_tf32 = False
    if mode.startswith("gpu") and torch.cuda.device_count() < N_RANKS:
        os.environ["LOCAL_RANK"] = "0"  # the ranks share a GPU, which users are refused
    patience = {"dies": PATIENCE, "sleeps": PATIENCE, "gpu sleeps": GPU_PATIENCE}.get(mode, timedelta(minutes=2))
    with distributed.process_group(device, patience) as own:
        if mode == "cpu":
            only_first = (
                nullcontext() if distributed.rank() == 0 else patch.object(Path, "replace", side_effect=AssertionError)
            )
            with only_first, patch.object(resume, "QUICK", -1.0):  # the first rank alone finds its writing slow
                found = laws() | runs_on_disk(data, out)
        elif mode == "gpu":
            found = train_on_gpus(str(own)) | {"blocks": run_blocks(str(own)), "stopped": resume_on_gpus(out, str(own))}
        elif mode == "gpu sleeps":
            get_stuck(str(own))
            return
        elif mode == "blocks":
            found = {"blocks": run_blocks(str(own))}
        else:
            lose_a_rank(mode)
            return
        torch.save(found, out / f"{distributed.rank()}.pt")


def start_ranks(mode: str, out: Path, data: Path, device: str) -> subprocess.CompletedProcess[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(N_RANKS)]
    arguments = [__file__, mode, str(out), str(data), device]
    return subprocess.run([sys.executable, *torchrun, *arguments], check=False, capture_output=True, text=True)


def launch(mode: str, out: Path, data: Path, device: str = "cpu") -> list[dict[str, Any]]:
    """What the ranks found."""
    done = start_ranks(mode, out, data, device)
    assert done.returncode == 0, done.stderr
    return [torch.load(out / f"{rank}.pt", weights_only=True) for rank in range(N_RANKS)]


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A suite of 8 simulations, 16 x 16 pixels."""
    directory, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    np.save(directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy", rng.lognormal(25.0, 1.0, (120, 16, 16)).astype("<f4"))
    np.savetxt(directory / "params_LH_MockTNG.txt", rng.uniform(CMD.lows, CMD.highs, (8, 6)), fmt="%.6f")
    return directory


@pytest.fixture(scope="module")
def ranks(data, out) -> list[dict[str, Any]]:
    return launch("cpu", out, data)


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        found = laws()
    torch.set_num_threads(n_threads)
    return found


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def joined_shares(ranks: Sequence[dict[str, Any]], law: str, name: str) -> Tensor:
    return torch.cat([found[law][name] for found in ranks], dim=1 if law == "differentiated" else 0)


def read_losses(folder: Path) -> np.ndarray:
    return np.loadtxt(folder / "history.csv", delimiter=",", skiprows=1, usecols=(0, 2, 3))


METHODS = ["by group DRO", "by V-REx", "by MMD", "by a critic"]
RUNS = ["descended", "warmed up", "shortened", "own, penalised", *METHODS, "learnt", "learnt by Muon"]


@pytest.mark.parametrize("run", RUNS)
def test_ranks_train_the_network_of_one_process(ranks, alone, run):
    for found in ranks:
        assert_close(found[run]["weights"], alone[run]["weights"], SINGLE)
        assert_close(found[run]["losses"], alone[run]["losses"], SINGLE)


def test_ranks_keep_the_same_bits(ranks):
    first, second = ranks
    for run in ("descended", "warmed up", "shortened", *METHODS, "learnt", "learnt by Muon"):
        assert_close(first[run], second[run], 0.0)


def test_gradients_of_the_shares_make_up_that_of_the_letters_loss(ranks, alone):
    for found in ranks:
        assert_close(found["differentiated"]["loss"], alone["differentiated"]["loss"], 1e-6)
    gradient = joined_shares(ranks, "differentiated", "gradient")
    assert_close(gradient, alone["differentiated"]["gradient"], 1e-6)


def test_batch_norm_is_over_the_maps_of_all_ranks(ranks, alone):
    for name in ("out", "gradient"):
        assert_close(joined_shares(ranks, "normalised", name), alone["normalised"][name], DOUBLE)
    for name in ("parameters", "running_mean", "running_var", "num_batches_tracked"):
        for found in ranks:
            assert_close(found["normalised"][name], alone["normalised"][name], DOUBLE)


def test_ranks_start_from_the_weights_of_the_first(ranks, alone):
    for found in ranks:
        assert torch.equal(found["started"], alone["started"])


def test_shares_make_up_the_batches_of_one_process(ranks, alone):
    assert torch.equal(torch.cat([found["batches"] for found in ranks]), alone["batches"])


def test_interrupted_run_of_ranks_ends_with_the_same_bits(ranks, out):
    whole, resumed = (load(out / name / "weights.safetensors", "cpu") for name in ("whole", "resumed"))
    assert_close(weights_of(whole.network), weights_of(resumed.network), 0.0)
    assert np.array_equal(*(read_losses(out / name) for name in ("whole", "resumed")))


def test_each_rank_drops_out_by_random_numbers_of_its_own(ranks, out):
    first, second = torch.load(out / "resume.pt", weights_only=True)["random"]["cpu"]
    assert not torch.equal(first, second)


def test_first_rank_alone_tells_and_writes(ranks, out):
    assert [found["events"] > 0 for found in ranks] == [True, False]
    files = {path.name for path in (out / "whole").iterdir()}
    assert files == {"weights.safetensors", "history.csv", "spec.json"}


def test_run_of_ranks_goes_on_in_one_process(ranks, out):
    trained = train_network(SPEC, *both_sets(), out / "resume.pt")
    assert trained.history[-1].training_loss == pytest.approx(ranks[0]["learnt"]["losses"][-1, 0].item(), rel=SINGLE)


def test_batch_that_ranks_cannot_share_is_refused(ranks):
    for which in ("uneven", "uneven state"):
        assert {found[which] for found in ranks} == {"batch_size = 15: must be a multiple of the 2 processes"}


def test_ranks_that_see_other_folders_are_refused(ranks):
    for found in ranks:
        assert found["disagreeing"].startswith("optimiser steps done of the processes: 3, 0;")


@pytest.mark.parametrize("how", ["dies", "sleeps"])
def test_lost_rank_does_not_leave_the_other_waiting(how, tmp_path):
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    command = [sys.executable, __file__, how, str(tmp_path), str(tmp_path), "cpu"]
    first, second = (
        subprocess.Popen(command, env=os.environ | group | {"RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE)
        for rank in "01"
    )
    try:
        _, told = first.communicate(timeout=60)
    finally:
        second.kill()
        second.communicate()
    assert first.returncode == 1
    assert b"process 0: another process of this run ended or does not answer" in told


def test_one_process_joins_nobody(monkeypatch):
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with distributed.process_group("cpu") as device:
        assert device == torch.device("cpu")
        assert (distributed.rank(), distributed.n_ranks(), distributed.share(7)) == (0, 1, slice(0, 7))


@pytest.mark.parametrize(("device", "told"), [("cuda:0", "a GPU of its own"), ("auto", "has no GPU, there are 1")])
def test_gpus_that_ranks_would_share_are_refused(monkeypatch, device, told):
    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=told), distributed.process_group(device):
        pass


def assert_same_blocks(ranks: Sequence[dict[str, Any]], expected: dict[str, Tensor]) -> None:
    assert_close(joined_shares(ranks, "blocks", "out"), expected["out"], SINGLE)
    for found in ranks:
        others = {name: value for name, value in found["blocks"].items() if name != "out"}
        assert_close(others, {name: expected[name] for name in others}, SINGLE)


@pytest.mark.gpu
@pytest.mark.skipif(not INTERPRETS, reason="needs TRITON_INTERPRET=1 and no GPU")
def test_kernels_of_ranks_are_those_of_one_process(tmp_path):
    assert_same_blocks(launch("blocks", tmp_path, tmp_path), run_blocks("cpu"))


@pytest.fixture(scope="module")
def gpus(tmp_path_factory) -> list[dict[str, Any]]:
    if not HAVE_GPUS:
        pytest.skip("needs two GPUs, or NCCL 2.30 with NCCL_MULTI_RANK_GPU_ENABLE=1 to share one")
    folder = tmp_path_factory.mktemp("gpus")
    return launch("gpu", folder, folder, "cuda")


@pytest.fixture(scope="module")
def one_gpu(gpus) -> dict[str, Any]:
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        return train_on_gpus("cuda") | {"blocks": run_blocks("cuda")}


@pytest.mark.gpu
@pytest.mark.parametrize("run", ["descended", "learnt"])
def test_gpus_train_the_network_of_one(gpus, one_gpu, run):
    for found in gpus:
        assert_close(found[run], one_gpu[run], GPU)


@pytest.mark.gpu
def test_gpus_begin_like_one_in_bfloat16(gpus, one_gpu):
    expected = {name: one_gpu["fused, briefly"][name] for name in ("weights", "losses")}
    for found in gpus:
        assert_close({name: found["fused, briefly"][name] for name in expected}, expected, SHORT)


@pytest.mark.gpu
def test_kernels_of_gpus_are_those_of_one(gpus, one_gpu):
    assert_same_blocks(gpus, one_gpu["blocks"])


@pytest.mark.gpu
def test_gpus_keep_the_same_bits(gpus):
    first, second = ({name: found[name] for name in found if name != "blocks"} for found in gpus)
    assert_close(first, second, 0.0)


@pytest.mark.gpu
def test_recorded_exchanges_are_the_plain_ones_to_the_bit(gpus):
    for found in gpus:
        assert_close(found["fused"], found["fused, plain"], 0.0)


@pytest.mark.gpu
def test_resumed_run_on_gpus_ends_with_the_same_bits(gpus):
    for found in gpus:
        assert_close(found["stopped"]["resumed"], found["stopped"]["whole"], 0.0)


@pytest.mark.gpu
@pytest.mark.skipif(not HAVE_GPUS, reason="needs two GPUs")
def test_a_gpu_that_is_stuck_in_recorded_steps_does_not_leave_the_other_waiting(tmp_path):
    started = time.monotonic()
    assert start_ranks("gpu sleeps", tmp_path, tmp_path, "cuda").returncode != 0
    assert time.monotonic() - started < 300.0


if __name__ == "__main__":
    work_of_a_rank(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
    os._exit(0)  # now and then gloo's threads abort a process that ends with its interpreter
