"""Means and standard deviations of every layer's channels, of any network, by forward hooks.

A layer is a module without children that makes a tensor of one row a map. Where an activation or a norm follows a layer
and makes a tensor of the same shape, it alone is taken: what stands before it tells the same. Vectors (b, F) are taken
as they are; of other tensors (b, C, ...) the mean and the standard deviation over all places of each channel.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

MOST_STATISTICS = 12_288
"""Of one map; of networks with more every second, third ... is taken."""
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm2d)
_IDLE = (nn.Dropout, nn.Dropout2d, nn.Identity, nn.Flatten, nn.Unflatten)
"""Layers that leave their input as it is, in evaluation mode."""


@dataclass
class LayerRecord:
    """What the layers made of the maps that went through.

    Attributes:
        n_maps: that go through.
        names: of the layers, in the order in which they ran.
        parts: statistics of each, but of the last, whose work is done once it is known that none takes its place.
        last: what that one made.
    """

    n_maps: int
    names: list[str] = field(default_factory=list)
    parts: list[Tensor] = field(default_factory=list)
    last: Tensor | None = None

    @property
    def widths(self) -> list[int]:
        """Statistics that are taken of each layer."""
        self._settle()
        return [part[:, :: self._step].shape[1] for part in self.parts]

    @property
    def _step(self) -> int:
        return -(-sum(part.shape[1] for part in self.parts) // MOST_STATISTICS) or 1

    def statistics(self) -> Tensor:
        """Those of all layers, (n, F)."""
        self._settle()
        return torch.cat([part[:, :: self._step] for part in self.parts], dim=1)

    def _settle(self) -> None:
        if self.last is not None:
            self.parts.append(channel_statistics(self.last))
        self.last = None

    def add(self, name: str, module: nn.Module, made: Any) -> None:
        """Keep the statistics of what a layer made, in the place of those of the layer that it merely reshapes."""
        if not isinstance(made, Tensor) or made.ndim < 2 or len(made) != self.n_maps or not made.is_floating_point():
            return
        if self.last is not None and self.last.shape == made.shape and _only_moves(module):
            self.names.pop()
        else:
            self._settle()
        self.names.append(name)
        self.last = made


def _only_moves(module: nn.Module) -> bool:
    return isinstance(module, _NORMS) or next(module.parameters(), None) is None


def channel_statistics(made: Tensor) -> Tensor:
    """Mean and standard deviation of each channel, or the numbers themselves where a channel is one number.

    Args:
        made: (b, C, ...).

    Returns:
        (b, 2 C), means first, or (b, C), float32.

    Example:
        >>> channel_statistics(torch.tensor([[[1.0, 3.0], [5.0, 5.0]]])).tolist()
        [[2.0, 5.0, 1.0, 0.0]]
    """
    channels = made.detach().flatten(2) if made.ndim > 2 else made.detach()[..., None]
    if channels.shape[-1] == 1:
        return channels[..., 0].float()
    channels = channels.float()
    mean = channels.mean(-1)
    std = (channels - mean[..., None]).square_().mean(-1).sqrt()  # on a CPU much faster than `torch.std_mean`
    return torch.cat([mean, std], dim=1)


@contextmanager
def watched(network: nn.Module, n_maps: int) -> Iterator[LayerRecord]:
    """Listen to all layers of a network while the context lasts.

    Args:
        network: called once inside the context.
        n_maps: of that call.

    Yields:
        The record that fills.
    """
    record = LayerRecord(n_maps)
    named = [pair for pair in network.named_modules() if not isinstance(pair[1], _IDLE)]
    leaves = [(name, module) for name, module in named if not list(module.children())]
    handles = [
        module.register_forward_hook(lambda module, _, made, name=name: record.add(name, module, made))
        for name, module in leaves
    ]
    try:
        yield record
    finally:
        for handle in handles:
            handle.remove()
