"""Heads whose answer is the mean and the standard deviation of each parameter: two numbers for each.

Under autocast a head keeps the precision of its weights: bfloat16 would round the means to 0.4 per cent.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from fieldlevel.estimators.estimator import Head
from fieldlevel.estimators.moments import STD_FROM, StdFrom, check_std_from, loss_from_sums, moment_sums
from fieldlevel.estimators.sizes import probability, whole_number

LEAKY_SLOPE = 0.2
"""Of the activations, in bodies and heads."""


def two_layers(n_features: int, n_numbers: int, dropout: float) -> OrderedDict[str, nn.Module]:
    """Two linear layers, each behind dropout, by the names of the released networks: (b, F) to (b, n_numbers)."""
    n_between = max(1, n_features // 2)
    return OrderedDict(
        D1=nn.Dropout(dropout),
        FC1=nn.Linear(n_features, n_between),
        A1=nn.LeakyReLU(LEAKY_SLOPE),
        D2=nn.Dropout(dropout),
        FC2=nn.Linear(n_between, n_numbers),
    )


class Moments(nn.Sequential, Head):
    """Layers, or none, that end in the means of all parameters and the numbers that make their standard deviations.

    Args:
        layers: by their names, (b, F) to (b, 2P).
        std_from: what makes the standard deviations, a name in `moments.STD_FROM`.
    """

    def __init__(self, layers: OrderedDict[str, nn.Module], std_from: StdFrom) -> None:
        check_std_from(std_from)
        super().__init__(layers)
        self.std_from = std_from

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation from features (b, F), each of shape (b, P)."""
        weight = next(self.parameters(), features)
        with torch.autocast(features.device.type, enabled=False):
            outputs = super().forward(features.to(weight.dtype))  # type: ignore[no-untyped-call]
            mean, spread = outputs.chunk(2, dim=1)
        return mean, STD_FROM[self.std_from](spread)

    def sums(self, answer: tuple[Tensor, Tensor], theta: Tensor) -> Tensor:
        """Sums of the two squared errors, and the counts: `moment_sums`, (3, P)."""
        return moment_sums(*answer, theta)

    def loss(self, sums: Tensor) -> Tensor:
        """The letter's loss: `loss_from_sums`."""
        return loss_from_sums(sums)

    def warm_up_loss(self, sums: Tensor) -> Tensor:
        """Its first term alone, in which the means settle before the standard deviations are fitted."""
        return loss_from_sums(sums[::2])

    def posterior(self, answer: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """The answer as it is."""
        return answer


class MomentHead(Moments):
    """Two linear layers, each behind dropout, as in the released networks.

    Args:
        n_features: features of a map.
        n_outputs: parameters to infer, P.
        dropout: dropout probability before both layers.
        std_from: what makes the standard deviations, a name in `moments.STD_FROM`.

    Raises:
        UserError: a size that it cannot have.

    Example:
        >>> mean, std = MomentHead(n_features=8, n_outputs=6)(torch.zeros(3, 8))
        >>> mean.shape, bool((std > 0).all())
        (torch.Size([3, 6]), True)
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.0, std_from: StdFrom = "softplus") -> None:
        n_features, n_outputs = whole_number("n_features", n_features), whole_number("n_outputs", n_outputs)
        dropout = probability("dropout", dropout)
        super().__init__(two_layers(n_features, 2 * n_outputs, dropout), std_from)
