"""Tensors that one piece of work after the other reads, kept on a GPU: the maps of the networks of a study.

A process that trains a hundred networks on the same maps spends as long on reading these, twice a network, as on a
short training. What is kept equals what would be read to the bit; whoever is given it does not change it.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor


class KeptTensors:
    """The first tensors that fit; what comes later is made each time, as all of it is read in turn again and again.

    Args:
        device: where they live.
        most_bytes: of all together; when None, what a GPU has room for as the first is made, and nothing on the CPU,
            where the system keeps the files.
    """

    def __init__(self, device: torch.device, most_bytes: int | None = None) -> None:
        self.device, self._left = device, most_bytes
        self._tensors: dict[Hashable, Tensor] = {}

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor of a key, made where it is not kept."""
        if (known := self._tensors.get(key)) is not None:
            return known
        made = make()
        if self._left is None:
            self._left = _room_on(self.device)
        if made.nbytes <= self._left:
            self._left -= made.nbytes
            self._tensors[key] = made
        return made

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Context in which `kept` looks here."""
        token = _in_use.set(self)
        try:
            yield
        finally:
            _in_use.reset(token)


def _room_on(device: torch.device) -> int:
    """Bytes: an eighth of the memory of a GPU, and a quarter of what is free there."""
    if device.type != "cuda":
        return 0
    free, whole = torch.cuda.mem_get_info(device)
    return min(whole // 8, free // 4)


_in_use: ContextVar[KeptTensors | None] = ContextVar("kept_tensors", default=None)


def kept(device: torch.device | str, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
    """A tensor that may be kept for others, not to be changed.

    Args:
        device: where it is to live.
        key: equal where the same is meant.
        make: makes it.

    Example:
        >>> tensors = KeptTensors(torch.device("cpu"), 8)
        >>> with tensors.in_use():
        ...     first = kept("cpu", "a", lambda: torch.ones(2))
        ...     again = kept("cpu", "a", lambda: torch.zeros(2))
        >>> first is again, kept("cpu", "a", lambda: torch.zeros(2)).tolist()
        (True, [0.0, 0.0])
    """
    tensors = _in_use.get()
    if tensors is None or torch.device(device) != tensors.device:
        return make()
    return tensors.get(key, make)
