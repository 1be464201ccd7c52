"""A training step as one CUDA graph: its hundreds of kernels are launched at once, so that the device never waits.

References:
    PyTorch documentation, "CUDA Graphs": side stream before recording, memory of its own for the graph.
    pytorch/pytorch#193402: graphs of one stream share the workspace of cuBLAS, which goes with the first of them.
"""

from collections.abc import Callable
from itertools import count
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from fieldlevel.training import distributed
from fieldlevel.training.precision import side_stream

N_EAGER = 3
"""Steps before the recording, in which libraries choose their algorithms and the optimiser makes its state."""

_ALIVE: "WeakValueDictionary[tuple[torch.device, int], CapturedStep]" = WeakValueDictionary()
"""By the stream that each was recorded on, so that none has that of another."""


class CapturedStep:
    """A step that is called a few times, then recorded, then replayed.

    What the step reads besides its argument must keep its place in memory, and the step must not wait for the device.
    Random numbers of the default generator go on from one replay to the next as they do from one call to the next. The
    step is not kept, so that whoever owns this may be part of it.

    Args:
        device: a CUDA device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        number = next(number for number in count() if (device, number) not in _ALIVE)
        _ALIVE[device, number] = self
        self._stream = side_stream(-number, device)
        self._n_calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._argument = torch.empty(0)
        self._loss = torch.empty(0)

    def __call__(self, step: Callable[[Tensor], Tensor], argument: Tensor) -> Tensor:
        """Take a step.

        Args:
            step: takes integers on the device, does its work there and returns its loss, a scalar; always the same one.
            argument: integers on the CPU, always of the same shape.

        Returns:
            The loss, on the device.
        """
        with torch.cuda.device(self._device):
            sent = argument.pin_memory().to(self._device, non_blocking=True)
            self._n_calls += 1
            if self._n_calls <= N_EAGER:
                return self._step_aside(step, sent)
            graph = self._graph or self._record(step, sent)
            self._argument.copy_(sent)
            graph.replay()
            return self._loss.clone()

    def _step_aside(self, step: Callable[[Tensor], Tensor], argument: Tensor) -> Tensor:
        """Take a step on the stream of the recording, as PyTorch asks for."""
        here = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(here)
        argument.record_stream(self._stream)
        with torch.cuda.stream(self._stream):
            loss = step(argument)
        here.wait_stream(self._stream)
        loss.record_stream(here)
        return loss

    def _record(self, step: Callable[[Tensor], Tensor], argument: Tensor) -> torch.cuda.CUDAGraph:
        """Record a step without taking it."""
        self._argument = argument.clone()
        graph = torch.cuda.CUDAGraph()
        offenders = (
            "global" if distributed.n_ranks() == 1 else "thread_local"
        )  # NCCL watches exchanges from another one
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode=offenders):
            self._loss = step(self._argument)
        self._graph = graph
        return graph
