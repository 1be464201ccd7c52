"""The network of a spec."""

from collections.abc import Mapping, Sequence
from typing import Any

from fieldlevel.config import TrainSpec
from fieldlevel.models.cnn import MomentNetwork
from fieldlevel.models.perceptron import MomentPerceptron

AnyNetwork = MomentNetwork | MomentPerceptron


def build_network(spec: TrainSpec, shape: Sequence[int], n_parameters: int) -> AnyNetwork:
    """A new network with random weights.

    Args:
        spec: its kind and widths.
        shape: of one input, (N, N) for maps and (F,) for summaries.
        n_parameters: parameters to infer.

    Raises:
        UserError: sizes that it cannot have.
    """
    if spec.inputs == "maps":
        wide = spec.network
        return MomentNetwork(shape[-1], wide.hidden, wide.dropout, n_parameters=n_parameters, std_from=wide.std_from)
    deep = spec.perceptron
    return MomentPerceptron(shape[-1], deep.n_layers, deep.n_neurons, deep.dropout, n_parameters, deep.std_from)


def restore_network(inputs: str, sizes: Mapping[str, Any]) -> AnyNetwork:
    """A network of the sizes that another one had, to load its weights into."""
    return MomentNetwork(**sizes) if inputs == "maps" else MomentPerceptron(**sizes)
