import pytest
import torch

from fieldlevel.errors import UserError
from fieldlevel.numerics.device import select_device
from fieldlevel.training.precision import autocast, random_states, seeded, set_random_states

CPU = torch.device("cpu")


def test_cpu_is_taken_by_name_and_auto_takes_what_is_there():
    assert select_device("cpu") == CPU
    assert select_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", ""])
def test_unknown_device_is_refused_with_the_allowed_names(name):
    with pytest.raises(UserError, match="allowed: auto, cpu, cuda"):
        select_device(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_cuda_is_refused_where_there_is_none():
    with pytest.raises(UserError, match="no CUDA device"):
        select_device("cuda")


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("auto", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_precision_on_the_cpu(precision, dtype):
    with autocast(precision, CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_seeded_numbers_are_the_same_and_leave_the_callers_alone():
    before = torch.get_rng_state()
    draws = []
    for _ in range(2):
        with seeded(3, CPU):
            draws.append(torch.rand(5))
    assert torch.equal(*draws)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeded_leaves_gpus_alone_for_a_network_on_the_cpu(monkeypatch):
    seeds = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds.append)
    with seeded(3, CPU):
        assert seeds == []


def test_random_numbers_go_on_from_a_state():
    with seeded(3, CPU):
        state = random_states(CPU)
        first = torch.rand(5)
        set_random_states(state, CPU)
        assert torch.equal(torch.rand(5), first)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert select_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(UserError, match="device 'cuda:2': there are 2 CUDA devices here, from cuda:0 to cuda:1"):
        select_device("cuda:2")
