"""Widths of the networks, as specs."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fieldlevel.spec_io import STRICT

LEAKY_SLOPE = 0.2
"""Of the activations of all networks, below zero."""


@dataclass(frozen=True)
class PerceptronSpec:
    """Fully connected network on a summary of each map."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    n_layers: int = 3
    """Hidden layers."""
    n_neurons: int = 256
    """In each hidden layer."""
    dropout: float = 0.1
    """Dropout probability after each hidden layer."""
    std_from: Literal["square", "softplus"] = "square"
    """What makes a standard deviation of an output: square, as in the released networks, can vanish where it should
    not; softplus cannot."""


@dataclass(frozen=True)
class NetworkSpec:
    """The o3_err network of the CAMELS Multifield Dataset."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    hidden: int = 8
    """Width h: the first block has 2h channels."""
    dropout: float = 0.2
    """Dropout probability before both linear layers."""
    std_from: Literal["square", "softplus"] = "square"
    """What makes a standard deviation of an output: square, as in the released networks, can vanish where it should
    not; softplus cannot."""
