"""The network of a spec."""

from collections.abc import Mapping, Sequence
from typing import Any

from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec

AnyNetwork = MomentNetwork | MomentPerceptron


def build_network(wide: NetworkSpec | PerceptronSpec, shape: Sequence[int], n_parameters: int) -> AnyNetwork:
    """A new network with random weights.

    Args:
        wide: its widths, which tell its kind.
        shape: of one input, (N, N) for maps and (F,) for summaries.
        n_parameters: parameters to infer.

    Raises:
        UserError: sizes that it cannot have.
    """
    if isinstance(wide, NetworkSpec):
        return MomentNetwork(shape[-1], wide.hidden, wide.dropout, n_parameters=n_parameters, std_from=wide.std_from)
    return MomentPerceptron(shape[-1], wide.n_layers, wide.n_neurons, wide.dropout, n_parameters, wide.std_from)


def restore_network(inputs: str, sizes: Mapping[str, Any]) -> AnyNetwork:
    """A network of the sizes that another one had, to load its weights into."""
    return MomentNetwork(**sizes) if inputs == "maps" else MomentPerceptron(**sizes)
