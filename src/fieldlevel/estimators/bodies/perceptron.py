"""The fully connected moment network that reads a summary of a map, such as its power spectrum.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (the network on P(k)).
"""

import torch
from torch import Tensor, nn

from fieldlevel.estimators.moments import STD_FROM, StdFrom, check_std_from
from fieldlevel.estimators.network_specs import LEAKY_SLOPE
from fieldlevel.estimators.sizes import probability, whole_number


class MomentPerceptron(nn.Module):
    """Posterior mean and standard deviation of each parameter, from a summary of one map.

    Args:
        n_inputs: numbers in a summary.
        n_layers: hidden layers.
        n_neurons: in each of them.
        dropout: dropout probability after each of them.
        n_parameters: parameters to infer.
        std_from: what makes the standard deviations of the last outputs, a name in `moments.STD_FROM`.

    Raises:
        UserError: a size that the network cannot have.

    Example:
        >>> mean, std = MomentPerceptron(n_inputs=32, n_layers=2, n_neurons=8, dropout=0.0)(torch.zeros(3, 1, 32))
        >>> mean.shape, bool((std >= 0).all())
        (torch.Size([3, 6]), True)
    """

    def __init__(
        self,
        n_inputs: int,
        n_layers: int,
        n_neurons: int,
        dropout: float,
        n_parameters: int = 6,
        std_from: StdFrom = "square",
    ) -> None:
        super().__init__()
        n_inputs, n_layers = whole_number("n_inputs", n_inputs), whole_number("n_layers", n_layers)
        n_neurons, n_parameters = whole_number("n_neurons", n_neurons), whole_number("n_parameters", n_parameters)
        dropout = probability("dropout", dropout)
        check_std_from(std_from)
        counts = {"n_inputs": n_inputs, "n_layers": n_layers, "n_neurons": n_neurons, "n_parameters": n_parameters}
        self.sizes = {**counts, "dropout": dropout, "std_from": std_from}
        self.n_parameters = n_parameters
        self.std_from = std_from
        layers: list[nn.Module] = []
        for width in [n_inputs, *[n_neurons] * (n_layers - 1)]:
            layers += [nn.Linear(width, n_neurons), nn.LeakyReLU(LEAKY_SLOPE), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(n_neurons, 2 * n_parameters))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Infer the moments of the posterior, in float32 under autocast too.

        Args:
            x: normalised summaries, (b, 1, F) or (b, F).

        Returns:
            Mean and standard deviation in the units of the targets, each of shape (b, P).
        """
        with torch.autocast(x.device.type, enabled=False):
            mean, spread = self.layers(x.flatten(1)).chunk(2, dim=1)
        return mean, STD_FROM[self.std_from](spread)
