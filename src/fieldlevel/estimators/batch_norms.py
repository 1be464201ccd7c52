"""Statistics of batch norms, measured again once the weights stand.

While a network learns, its batch norms keep moving averages over the last ten batches or so, of weights that moved on,
in the precision of the training. What these are off by shifts all maps alike, layer after layer. The network that is
kept gets plain averages over many batches, in the precision in which it will predict.

References:
    Wu & Johnson 2021, arXiv:2105.07576, section 3 (precise batch norm).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


def has_batch_norms(layers: nn.Module) -> bool:
    """Whether there is a batch norm among some layers."""
    return any(isinstance(module, _BatchNorm) for module in layers.modules())


@torch.no_grad()
def measure_statistics(features: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of all batch norms by averages over batches.

    Args:
        features: the layers with batch norms; their mode is restored. Called on each batch, in training mode.
        batches: as they are drawn in training, arranged as the layers like them. If there are none, nothing changes.
    """
    norms = [module for module in features.modules() if isinstance(module, _BatchNorm)]
    if not norms:
        return
    was_training, momenta = features.training, [norm.momentum for norm in norms]
    features.train()
    for number, batch in enumerate(batches, 1):
        for norm in norms:
            norm.momentum = 1 / number  # so that the moving average is that of all batches so far
        features(batch)
    features.train(was_training)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
