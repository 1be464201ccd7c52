"""The layers that are fused, and the numbers that kernels read."""

from collections import OrderedDict
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.fused.tiles import Kind, Pass, Tiles, tiles_for

AnyNorm = nn.BatchNorm2d | nn.SyncBatchNorm
"""Over the maps of one process, or of all."""

PLAIN, ACTIVATED, GRADIENT = 0, 1, 2
"""What a kernel makes of what it reads: nothing, lrelu(s y + t), A g + B y + C."""


@dataclass(frozen=True)
class Layer:
    """One convolution with the batch norm that may follow it."""

    convolution: nn.Conv2d
    norm: AnyNorm | None

    @property
    def kind(self) -> Kind:
        """Which of the convolutions of the network this is."""
        if self.convolution.stride == (2, 2):
            return "halve"
        if self.convolution.kernel_size == (4, 4):
            return "last"
        return "first" if self.norm is None else "wrap"

    @property
    def stores_gradient(self) -> bool:
        """Whether the weight pass stores the gradient in the outputs: the windows of the data pass overlap."""
        return self.kind == "wrap"

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """Weight and bias of the convolution, then of the batch norm."""
        return (*self.convolution.parameters(), *(() if self.norm is None else self.norm.parameters()))

    @property
    def bias(self) -> Tensor:
        """Bias of the convolution, without its graph."""
        return self.convolution.get_parameter("bias").detach()

    def tiles(self, passing: Pass, dtype: torch.dtype = torch.bfloat16) -> Tiles:
        """The tiles in use for one of the three passes; float32 takes twice the shared memory, hence smaller ones."""
        tiles = tiles_for(passing, self.kind, self.convolution.in_channels, self.convolution.out_channels)
        return tiles if dtype == torch.bfloat16 else replace(tiles, block=tiles.block // 2, n_stages=1)


@dataclass(frozen=True)
class Source:
    """Numbers (b, H, W, C) that a kernel reads, and the coefficients (k, C) that turn them into what is meant."""

    tensor: Tensor
    mode: int = PLAIN
    coefficients: Tensor | None = None
    saved: Tensor | None = None

    @property
    def pointers(self) -> tuple[Tensor, Tensor, Tensor]:
        """Numbers, what the gradient refers to, coefficients; the numbers stand in for what is not read."""
        saved = self.tensor if self.saved is None else self.saved
        return self.tensor, saved, self.tensor if self.coefficients is None else self.coefficients


def first_layers(features: nn.Sequential, n_blocks: int) -> tuple[Layer, ...]:
    """Convolutions of the first blocks of a network, with their batch norms; the last one counts as a block.

    Raises:
        UserError: a number of blocks that the network does not have.
    """
    layers = tuple(
        Layer(module, after if isinstance(after, AnyNorm) else None)
        for module, after in pairwise(features.children())
        if isinstance(module, nn.Conv2d)
    )
    most = len(layers) // 3 + 1
    if not 1 <= n_blocks <= most:
        raise UserError(f"n_blocks = {n_blocks}: this network has 1 to {most} blocks to fuse")
    return layers[: 3 * n_blocks]


def remaining_blocks(features: nn.Sequential, n_blocks: int) -> nn.Sequential:
    """The modules that take on from `stack.fused_blocks`; they are shared with the network."""
    return nn.Sequential(OrderedDict(list(features.named_children())[9 * n_blocks - 1 :]))
