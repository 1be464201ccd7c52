"""Where the fused kernels read and write: nowhere but in their tensors, and no two programs in the same place.

They run on a CUDA device, or slowly in Triton's interpreter, which knows addresses: TRITON_INTERPRET=1 pytest -m gpu.
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from fieldlevel.estimators.bodies.cnn import MomentNetwork

pytest.importorskip("triton")
from fieldlevel.estimators.fused import convolutions, norms, stack, wide
from fieldlevel.estimators.fused.stack import fused_blocks

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.usefixtures("no_tf32"),
    pytest.mark.skipif(
        DEVICE == "cpu" and "TRITON_INTERPRET" not in os.environ, reason="needs CUDA or the interpreter"
    ),
]

MARGIN = 4096  # bytes before and after every tensor; all bits set is NaN in every type of floats
CASES = [(3, 3), (2, 4), (5, 5), (2, 12)]
"""Maps and width h: channels that fill blocks of 16 or do not, tiles that several maps share and fill or do not."""


class Guard:
    """A tensor between margins."""

    def __init__(self, tensor: Tensor) -> None:
        n_bytes = tensor.numel() * tensor.element_size()
        self.tensor = tensor
        self.raw = torch.full((n_bytes + 2 * MARGIN,), 0xFF, dtype=torch.uint8, device=tensor.device)
        self.inner = self.raw[MARGIN : MARGIN + n_bytes].view(tensor.dtype).view(tensor.shape).copy_(tensor)

    @property
    def is_kept(self) -> bool:
        return bool((self.raw[:MARGIN] == 0xFF).all() and (self.raw[-MARGIN:] == 0xFF).all())

    def has(self, addresses: np.ndarray, size: int) -> np.ndarray:
        first = self.inner.data_ptr()
        return (addresses >= first) & (addresses + size <= first + self.inner.numel() * self.inner.element_size())


class Watch:
    """Launches kernels on guarded copies; in the interpreter it sees the addresses that each program uses."""

    def __init__(self) -> None:
        self.guards: dict[Any, Guard] = {}
        self.seen: dict[str, dict[Any, list[np.ndarray]]] = {}
        self.n_launches = 0
        self.is_on = True

    def launch(self, kernel: Any, grid: tuple[int, ...], *arguments: Any, **known: Any) -> None:
        if not self.is_on:
            kernel[grid](*arguments, **known)
            return
        self.guards, self.seen = {}, {"load": defaultdict(list), "store": defaultdict(list)}
        kernel[grid](*(self._guarded(each) if isinstance(each, Tensor) else each for each in arguments), **known)
        self.n_launches += 1
        for guard in self.guards.values():
            assert guard.is_kept, kernel
            guard.tensor.copy_(guard.inner)
        self._assert_programs_are_apart()

    def _guarded(self, tensor: Tensor) -> Tensor:
        assert tensor.is_contiguous()
        key = tensor.data_ptr(), tensor.shape, tensor.dtype
        if key not in self.guards:
            self.guards[key] = Guard(tensor)
        return self.guards[key].inner

    def note(self, kind: str, program: Any, pointers: Any, mask: Any) -> None:
        """What the interpreter is about to read or write."""
        if not self.is_on:
            return
        used = pointers.data[np.broadcast_to(mask.data, pointers.data.shape).astype(bool)].astype(np.int64)
        size = pointers.get_element_ty().primitive_bitwidth // 8
        is_known = np.any([guard.has(used, size) for guard in self.guards.values()], axis=0)
        assert np.all(is_known & (used % size == 0)), (kind, program)
        self.seen[kind][program].append(np.unique(used))

    def _assert_programs_are_apart(self) -> None:
        """What a program writes no other one writes or reads."""
        written, writer = self._all("store")
        order = np.argsort(written)
        written, writer = written[order], writer[order]
        assert (np.diff(written) > 0).all(), "written by two programs"
        read, reader = self._all("load")
        at = np.searchsorted(written, read).clip(max=max(len(written) - 1, 0))
        assert not len(written) or (reader == writer[at])[read == written[at]].all(), "written while it is read"

    def _all(self, kind: str) -> tuple[np.ndarray, np.ndarray]:
        """Addresses that each program uses, and the number of the program."""
        used = [np.unique(np.concatenate(parts)) for parts in self.seen[kind].values()]
        numbers = {program: number for number, program in enumerate(sorted(self.seen["load"] | self.seen["store"]))}
        programs = np.repeat([numbers[program] for program in self.seen[kind]], [len(each) for each in used])
        return np.concatenate([np.empty(0, np.int64), *used]), programs


@pytest.fixture
def watch(monkeypatch) -> Watch:
    watch = Watch()
    for module in (convolutions, norms, wide):
        monkeypatch.setattr(module, "launch", watch.launch)
    if DEVICE == "cpu":
        tell_addresses(monkeypatch, watch)
    return watch


def tell_addresses(monkeypatch: pytest.MonkeyPatch, watch: Watch) -> None:
    from triton.runtime.interpreter import InterpreterBuilder  # noqa: PLC0415

    load, store = InterpreterBuilder.create_masked_load, InterpreterBuilder.create_masked_store

    def create_masked_load(builder, pointers, mask, *others):
        watch.note("load", builder.grid_idx, pointers, mask)
        return load(builder, pointers, mask, *others)

    def create_masked_store(builder, pointers, value, mask, *others):
        watch.note("store", builder.grid_idx, pointers, mask)
        return store(builder, pointers, value, mask, *others)

    monkeypatch.setattr(InterpreterBuilder, "create_masked_load", create_masked_load)
    monkeypatch.setattr(InterpreterBuilder, "create_masked_store", create_masked_store)


@pytest.fixture
def nan_before_written() -> Iterator[None]:
    """What no kernel has written is NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=[64, 0], ids=["ours", "cudnn"])
def engine(request, monkeypatch) -> None:
    """Whose convolutions the blocks run with, after the first layer: ours up to so many channels."""
    monkeypatch.setattr(stack, "WIDEST", request.param)


def results_of(network: MomentNetwork, maps: Tensor) -> list[Tensor]:
    """Outputs, running statistics, and in training mode gradients, in bfloat16: with the tiles that training takes."""
    with torch.autocast(DEVICE, torch.bfloat16):
        a = fused_blocks(network.features, maps, n_blocks=3)
    if network.training:
        a.float().square().sum().backward()
    gradients = [each.grad for each in network.features.parameters() if each.grad is not None]
    return [a.detach(), *network.features.buffers(), *gradients]


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(("n_maps", "hidden"), CASES)
@pytest.mark.usefixtures("bfloat16_products", "engine", "nan_before_written")
def test_kernels_stay_within_their_tensors(n_maps, hidden, is_training, watch):
    """Nothing beside a tensor is written, and nothing there has an effect: the results are those without margins."""
    torch.manual_seed(0)
    guarded = MomentNetwork(16, hidden, dropout=0.0).to(DEVICE).train(is_training)
    plain, maps = deepcopy(guarded), torch.randn(n_maps, 1, 16, 16).to(DEVICE)
    found = results_of(guarded, maps)
    assert watch.n_launches > 7
    watch.is_on = False
    for ours, theirs in zip(found, results_of(plain, maps), strict=True):
        assert torch.isfinite(ours).all()
        assert torch.equal(ours, theirs)
