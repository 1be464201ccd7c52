"""The fully connected moment network that reads a summary of a map, such as its power spectrum.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360 (the network on P(k)).
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.moment_head import LEAKY_SLOPE, Moments
from fieldlevel.estimators.moments import StdFrom, check_std_from
from fieldlevel.estimators.sizes import probability, whole_number


class PerceptronBody(nn.Sequential):
    """Layers that read summaries (b, 1, F) or (b, F), in float32 under autocast too."""

    @property
    def n_features(self) -> int:
        """Outputs of the last linear layer."""
        return next(layer.out_features for layer in reversed(self) if isinstance(layer, nn.Linear))

    def forward(self, x: Tensor) -> Tensor:
        """What the last layer makes of them."""
        with torch.autocast(x.device.type, enabled=False):
            features: Tensor = super().forward(x.flatten(1))  # type: ignore[no-untyped-call]
        return features


def perceptron_body(n_inputs: int, n_layers: int, n_neurons: int, dropout: float) -> PerceptronBody:
    """The hidden layers alone, with random weights, for any head; arguments as for `MomentPerceptron`.

    Raises:
        UserError: a size that it cannot have.
    """
    n_inputs, n_layers = whole_number("n_inputs", n_inputs), whole_number("n_layers", n_layers)
    return PerceptronBody(*_hidden(n_inputs, n_layers, whole_number("n_neurons", n_neurons), dropout))


class MomentPerceptron(Estimator):
    """Posterior mean and standard deviation of each parameter, from a summary of one map.

    All its layers are those of one sequence, the last of which makes the two numbers for each parameter; its head has
    no layers, so that nothing is fitted again once the training is over.

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

    BODY = "layers"
    layers: PerceptronBody

    def __init__(
        self,
        n_inputs: int,
        n_layers: int,
        n_neurons: int,
        dropout: float,
        n_parameters: int = 6,
        std_from: StdFrom = "square",
    ) -> None:
        n_inputs, n_layers = whole_number("n_inputs", n_inputs), whole_number("n_layers", n_layers)
        n_neurons, n_parameters = whole_number("n_neurons", n_neurons), whole_number("n_parameters", n_parameters)
        dropout = probability("dropout", dropout)
        check_std_from(std_from)
        hidden, last = _hidden(n_inputs, n_layers, n_neurons, dropout), nn.Linear(n_neurons, 2 * n_parameters)
        super().__init__(PerceptronBody(*hidden, last), Moments(OrderedDict(), std_from), (1, n_inputs), n_parameters)
        counts = {"n_inputs": n_inputs, "n_layers": n_layers, "n_neurons": n_neurons, "n_parameters": n_parameters}
        self._sizes = {**counts, "dropout": dropout, "std_from": std_from}
        self.n_parameters = n_parameters
        self.std_from = std_from

    @property
    def sizes(self) -> dict[str, int | float | str]:
        """Arguments that make a network of the same layers."""
        return dict(self._sizes)

    @property
    def n_features(self) -> int:
        """Neurons of the last hidden layer."""
        return int(self._sizes["n_neurons"])

    def features_of(self, x: Tensor) -> Tensor:
        """What the last layer reads of normalised summaries (b, 1, F) or (b, F), shape (b, n_neurons)."""
        hidden: Tensor = self.layers[:-1](x)
        return hidden

    def answer_of(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation in the units of the targets, each of shape (b, P)."""
        moments: tuple[Tensor, Tensor] = self.head(self.layers[-1:](features))
        return moments


def _hidden(n_inputs: int, n_layers: int, n_neurons: int, dropout: float) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for width in [n_inputs, *[n_neurons] * (n_layers - 1)]:
        layers += [nn.Linear(width, n_neurons), nn.LeakyReLU(LEAKY_SLOPE), nn.Dropout(dropout)]
    return layers
