"""Where a network runs, in which precision and with which random numbers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from fieldlevel.training import distributed

Precision = Literal["float32", "bfloat16", "auto"]


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """Context in which the network runs in the precision of a spec.

    Args:
        precision: `"auto"` is bfloat16 on a CUDA device that computes in it, float32 on any other.
        device: where the network runs.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=is_bfloat16(precision, device))


def is_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether networks of a spec run in bfloat16 on a device; arguments as for `autocast`."""
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16" or (precision == "auto" and native)


@contextmanager
def repeatable_convolutions() -> Iterator[None]:
    """Have cuDNN add up in a fixed order, which costs nothing measurable here."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def side_by_side(tasks: Sequence[Callable[[], None]], device: torch.device) -> None:
    """Do things that do not depend on each other: on a GPU at the same time, else one after the other.

    Each but the first gets a stream of its own, begun after what the current one holds and awaited by it at the end,
    so that all of it may be recorded as part of a CUDA graph.

    Args:
        tasks: what to do.
        device: which they work on.
    """
    if device.type != "cuda":
        for task in tasks:
            task()
        return
    here = torch.cuda.current_stream(device)
    beside = [side_stream(number, here.device) for number in range(1, len(tasks))]
    for stream in beside:
        stream.wait_stream(here)
    for stream, task in zip([here, *beside], tasks, strict=True):
        with torch.cuda.stream(stream):
            task()
    for stream in beside:
        here.wait_stream(stream)


@cache
def side_stream(number: int, device: torch.device) -> torch.cuda.Stream:
    """Always the same ones: cuBLAS keeps a workspace for each that it has seen. 0 and below are for recordings."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's global random numbers; on leaving, the caller's are as they were.

    Args:
        seed: of the CPU and, for a network on a CUDA device, of every one of those.
        device: where the network runs; CUDA is left alone for a network on the CPU.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield


def random_states(device: torch.device) -> dict[str, Tensor]:
    """States of the global random numbers that a network on this device draws from, a row for each rank."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {name: distributed.gather(state.to(device)).cpu() for name, state in states.items()}


def set_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Go on from what `random_states` returned; a rank or a device that it lacks keeps its own numbers."""
    rank = distributed.rank()
    if rank >= len(states["cpu"]):
        return
    torch.set_rng_state(states["cpu"][rank].clone())  # PyTorch misreads a part of a tensor
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"][rank].clone(), device)
