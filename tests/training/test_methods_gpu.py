"""Methods as a part of the recorded step on a GPU: the same bits as in steps that are taken one by one."""

from dataclasses import replace

import pytest
import torch
from test_methods import BRIEF, OTHERS, WITH_TARGET, sets_of
from torch import Tensor
from toy_suites import with_sources

from fieldlevel.data.batches import MapSet
from fieldlevel.progress import ignore
from fieldlevel.training.precision import seeded
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.state import TrainingState
from fieldlevel.training.train_spec import OptimiserSpec

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]

CUDA = torch.device("cuda")


def on_gpu(maps: MapSet) -> MapSet:
    return MapSet(*(getattr(maps, name).to(CUDA) for name in ("maps", "theta", "simulation", "source", "seeds")))


def new_state(name: str, **change) -> TrainingState:
    training, validation = sets_of(target=name in WITH_TARGET)
    spec = replace(BRIEF, method=name, precision="bfloat16", optimiser=OptimiserSpec("Muon", 5e-3), **change)
    spec = check_train_spec(with_sources(spec, training))
    with seeded(spec.seed, CUDA):
        return TrainingState(spec, on_gpu(MapSet.joined(training)), on_gpu(validation))


def train(state: TrainingState) -> dict[str, Tensor]:
    with seeded(1, CUDA):
        while state.step < state.spec.n_steps:
            state.advance(ignore)
    return {name: value.detach().cpu().clone() for name, value in state.network.state_dict().items()}


def assert_same(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert not [name for name in theirs if not torch.equal(ours[name], theirs[name])]


@pytest.mark.parametrize("name", OTHERS)
def test_recorded_steps_of_a_method_are_the_plain_ones_to_the_bit(name, monkeypatch):
    recorded, plain = new_state(name), new_state(name)
    assert recorded.take_step._is_captured
    monkeypatch.setattr(plain.take_step, "_is_captured", False)
    assert_same(train(recorded), train(plain))
    assert recorded.best_network().validation_loss == plain.best_network().validation_loss


@pytest.mark.parametrize("name", OTHERS)
def test_a_stopped_run_of_a_method_goes_on_with_the_same_bits(name):
    whole, stopped, resumed = (new_state(name) for _ in range(3))
    with seeded(1, CUDA):
        stopped.advance(ignore)
        state = stopped.state_dict()
        resumed.load_state_dict(state)
        while resumed.step < resumed.spec.n_steps:
            resumed.advance(ignore)
    ours = {name: value.detach().cpu() for name, value in resumed.network.state_dict().items()}
    assert_same(ours, train(whole))
