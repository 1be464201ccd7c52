"""A penalty on the features of two sources: its state goes on after a stop, and it adds no more than its loss."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from stopping import InterruptionError, interrupt_at
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.predictor import load
from fieldlevel.training.precision import seeded
from fieldlevel.training.resume import read_state, write_state
from fieldlevel.training.state import TrainedNetwork, TrainingState
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train, train_network

MODULE = "somebodys_penalties"
CRITIC, DISTANCE = f"{MODULE}:Critic", f"{MODULE}:MeanDistance"


@pytest.fixture(autouse=True)
def module(bring_own_parts) -> Path:
    """A module of somebody's own, on the path of Python for a test."""
    return bring_own_parts(MODULE)


@pytest.fixture
def penalised() -> TrainSpec:
    return TrainSpec(
        network=NetworkSpec(hidden=1, dropout=0.3),
        optimiser=OptimiserSpec(learning_rate=1e-2),
        batch_size=16,
        n_steps=24,
        validate_every=8,
        statistics_batches=3,
        head_batches=3,
        penalty=CRITIC,
    )


def map_set(n_maps: int, seed: int) -> MapSet:
    """Maps of two sources in turn, the second of which scatters more and does not know the last parameter."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator)
    source = torch.arange(n_maps) % 2
    maps = torch.randn(n_maps, 16, 16, generator=generator) * (1 + source[:, None, None]) + theta[:, :1, None]
    theta[source == 1, 5] = torch.nan
    return MapSet(maps, theta, torch.arange(n_maps), source)


def run(spec: TrainSpec, *arguments) -> TrainedNetwork:
    return train_network(spec, map_set(60, 1), map_set(20, 2), *arguments)


def assert_same(one: TrainedNetwork, other: TrainedNetwork) -> None:
    theirs = other.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in one.network.state_dict().items())
    assert [row.training_loss for row in one.history] == [row.training_loss for row in other.history]


@pytest.mark.parametrize("penalty", [CRITIC, DISTANCE])
@pytest.mark.parametrize("steps", [(8,), (10, 20)])
def test_an_interrupted_run_with_a_penalty_ends_with_the_same_bits(penalised, tmp_path, penalty, steps):
    spec = replace(penalised, penalty=penalty)
    for step in steps:
        with pytest.raises(InterruptionError):
            run(spec, tmp_path / "resume.pt", interrupt_at(step))
    assert_same(run(spec, tmp_path / "resume.pt"), run(spec))


def test_the_state_of_a_critic_is_all_of_it(penalised, tmp_path):
    spec = replace(penalised, n_steps=16)
    with seeded(spec.seed, torch.device("cpu")):
        state = TrainingState(spec, map_set(60, 1), map_set(20, 2))
        state.advance(lambda event: None)
        write_state(tmp_path / "resume.pt", state.state_dict())
        again = TrainingState(spec, map_set(60, 1), map_set(20, 2))
        again.load_state_dict(read_state(tmp_path / "resume.pt"))
    assert again.penalty.n_steps == state.penalty.n_steps == 8
    for each, other in zip(state.penalty.parameters(), again.penalty.parameters(), strict=True):
        assert torch.equal(each, other)
        moments, others = (owner.penalty.optimisers[0].state[p] for owner, p in ((state, each), (again, other)))
        assert all(torch.equal(moments[name], others[name]) for name in moments)


@pytest.mark.parametrize("penalty", [CRITIC, DISTANCE])
def test_a_penalty_of_no_weight_changes_no_bit(penalised, penalty):
    idle = run(replace(penalised, penalty=penalty, penalty_options={"weight": 0.0}))
    assert_same(idle, run(replace(penalised, penalty="")))


def distance(spec: TrainSpec) -> float:
    """Between the mean features of the sources, in units of their scatter."""
    sets = map_set(60, 1), map_set(20, 2)
    network = train_network(spec, *sets).network.eval()
    with torch.inference_mode():
        features = network.features_of(sets[0].maps[:, None])
    first, second = features[::2], features[1::2]
    return ((first.mean(0) - second.mean(0)).square().sum() / features.var(0).sum()).item()


def test_a_penalty_brings_the_sources_together(penalised):
    spec = replace(penalised, n_steps=100, validate_every=100, penalty=DISTANCE, penalty_options={"weight": 10.0})
    assert distance(spec) < 0.3 * distance(replace(spec, penalty="", penalty_options={}))


def test_a_step_of_its_own_comes_before_that_of_the_network(penalised, monkeypatch):
    """Its loss is that of the critic after its step, on the same features of the whole batch."""
    told: list[tuple[str, Tensor]] = []
    with seeded(0, torch.device("cpu")):
        state = TrainingState(penalised, map_set(60, 1), map_set(20, 2))
        update, loss = state.penalty.update, state.penalty.loss
        monkeypatch.setattr(state.penalty, "update", lambda *all_: (told.append(("update", *all_)), update(*all_))[1])
        monkeypatch.setattr(state.penalty, "loss", lambda *all_: (told.append(("loss", *all_)), loss(*all_))[1])
        state.take_step(0)
    (first, detached, *_), (second, features, source, theta) = told
    assert (first, second) == ("update", "loss")
    assert not detached.requires_grad
    assert features.requires_grad
    assert torch.equal(detached, features)
    assert features.shape == (16, state.network.n_features)
    assert theta[source == 1, 5].isnan().all()


def test_the_penalty_is_no_part_of_the_weights_file(directory, tmp_path, module, spec):
    weights = train(replace(spec, penalty=CRITIC), directory, tmp_path / "run", "cpu")
    module.unlink()
    sys.modules.pop(MODULE)
    predictor = load(weights, "cpu")
    assert predictor.spec.penalty == CRITIC
    assert not any("penalty" in name for name in predictor.network.state_dict())


def test_a_state_without_the_penalty_is_refused(penalised, tmp_path):
    path = tmp_path / "resume.pt"
    with pytest.raises(InterruptionError):
        run(penalised, path, interrupt_at(20))
    state = torch.load(path, weights_only=True)
    for change in (
        {name: value for name, value in state.items() if name != "penalty"},
        state | {"penalty": {"tensors": {}, "extra": []}},
        state | {"penalty": state["penalty"] | {"extra": []}},
        state | {"penalty": None},
    ):
        torch.save(change, path)
        with pytest.raises(UserError, match=re.escape(f"{path}: damaged")):
            run(penalised, path)


def test_a_penalty_that_cannot_be_made_is_refused(penalised):
    with pytest.raises(UserError, match=r"penalty = .*Critic cannot be made \(.*depth.*see penalty_options"):
        run(replace(penalised, penalty_options={"depth": 2}))
