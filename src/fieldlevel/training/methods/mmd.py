r"""MMD: the features of all suites, labelled or not, have one distribution.

The squared maximum mean discrepancy of the features x of two suites s and t is

    MMD^2(s, t) = <k(x_s, x_s')> + <k(x_t, x_t')> - 2 <k(x_s, x_t)>,
    k(x, y) = (1/5) sum_c exp(-|x - y|^2 / (c d^2)),    c = 1/4, 1/2, 1, 2, 4,

with d^2 the mean squared distance of two maps of the batch, taken as a constant. Averages are over all maps of the
batch, each with itself included. Added to the loss, outside its logarithms, is w times the mean over all pairs of
suites, once for the features and once for what the first layer of the head makes of them.

Suites of other priors have other features for a good reason: this then aligns what should differ. A set without labels
must have the prior of the others.

References:
    Gretton et al. 2012, JMLR 13, 723; Long et al. 2015, arXiv:1502.02791 (kernels of several widths, on layers);
    Roncoli et al. 2023, arXiv:2311.01588 (CAMELS). Weight 5 was measured on mock suites (docs/training.md).
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training.method import NOT_NEGATIVE, Method, Rule
from fieldlevel.training.penalty import Penalty
from fieldlevel.training.train_spec import TrainSpec

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Of the kernels, in units of the mean squared distance."""


def discrepancy(x: Tensor, source: Tensor, n_sources: int) -> Tensor:
    """Mean over all pairs of sources of their squared MMD.

    Args:
        x: what is compared, (b, F).
        source: number of the source of each row, (b,).
        n_sources: that there are; those without a row do not count.

    Returns:
        A scalar, 0 where the sources are alike.

    Example:
        >>> x = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
        >>> alike, apart = (discrepancy(x, torch.tensor(source), 2).item() for source in ([0, 0, 1, 1], [0, 1, 0, 1]))
        >>> abs(alike) < 1e-6, apart > 1
        (True, True)
    """
    is_of = (source[None] == torch.arange(n_sources, device=x.device)[:, None]).to(x.dtype)
    counts = is_of.sum(1)
    shares = is_of / counts.clamp(min=1)[:, None]
    means = shares @ _kernel(x) @ shares.T
    of_each = means.diagonal()
    of_pairs = of_each[:, None] + of_each[None] - 2 * means
    are_there = (counts[:, None] * counts[None]).clamp(max=1) * (1 - torch.eye(n_sources, device=x.device))
    return (of_pairs * are_there).sum() / are_there.sum().clamp(min=1)


def _kernel(x: Tensor) -> Tensor:
    """Of all pairs of rows, (b, b)."""
    centred = x - x.mean(0).detach()
    squares = centred.square().sum(1)
    distances = (squares[:, None] + squares[None] - 2 * centred @ centred.T).clamp(min=0)
    mean = (distances.detach().sum() / max(len(x) * (len(x) - 1), 1)).clamp(min=torch.finfo(x.dtype).tiny)
    return torch.stack([(-distances / (width * mean)).exp() for width in WIDTHS]).mean(0)


class Discrepancy(Penalty):
    """w times the discrepancy of the features and, if there is one, of what a layer makes of them.

    Args:
        n_features: of the network.
        n_sources: that there are.
        weight: w.
    """

    is_recordable: ClassVar[bool] = True

    def __init__(self, n_features: int, n_sources: int, weight: float = 5.0) -> None:
        super().__init__()
        self.n_sources = n_sources
        self.weight = weight
        self._layers: list[nn.Module] = []

    def watch(self, layer: nn.Module | None) -> None:
        """Also compare what a layer makes of the features; it stays the network's own."""
        self._layers = [] if layer is None else [layer]

    def loss(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        """Of features (b, F)."""
        compared = [features, *(layer(features) for layer in self._layers)]
        parts = [discrepancy(each.flatten(1), source, self.n_sources) for each in compared]
        return self.weight * torch.stack(parts).sum()


def first_layer(network: Estimator) -> nn.Linear | None:
    """The linear layer of a head that reads the features, if it has one."""
    layers = (layer for layer in network.head.modules() if isinstance(layer, nn.Linear))
    first = next(layers, None)
    return first if first is not None and first.in_features == network.n_features else None


class Mmd(Method):
    """Pooling, and the discrepancy of all suites as a penalty.

    Args:
        spec: of the training.
        network: that learns.
        training: its maps.
        weight: w.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"weight": NOT_NEGATIVE}
    least_sources: ClassVar[int] = 2
    uses_unlabelled: ClassVar[bool] = True

    def __init__(self, spec: TrainSpec, network: Estimator, training: MapSet, weight: float = 5.0) -> None:
        super().__init__(spec, network, training)
        penalty = Discrepancy(network.n_features, self.n_sources, weight)
        penalty.watch(first_layer(network))
        self.penalty = penalty
