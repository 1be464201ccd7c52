"""Widths of the networks, as specs, and which of them an estimator has."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Protocol

from fieldlevel.spec_io import STRICT

Option = bool | int | float | str
"""Of a class of somebody's own."""
MOMENTS = "moments"
GAUSSIAN = "gaussian"
FLOW = "flow"
HEADS = (MOMENTS, GAUSSIAN, FLOW)
"""Those that need no import path."""


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


class EstimatorChoice(Protocol):
    """What a `TrainSpec` says of the estimator."""

    @property
    def inputs(self) -> str:
        """What is read of a map."""

    @property
    def network(self) -> NetworkSpec:
        """Of maps."""

    @property
    def perceptron(self) -> PerceptronSpec:
        """Of summaries."""

    @property
    def body(self) -> str:
        """Import path, or nothing: what `inputs` asks for."""

    @property
    def body_options(self) -> Mapping[str, Option]:
        """Arguments of its class."""

    @property
    def head(self) -> str:
        """Import path, or a name in `HEADS`."""

    @property
    def head_options(self) -> Mapping[str, Option]:
        """Arguments of its class."""


def is_own(spec: EstimatorChoice) -> bool:
    """Whether the body or the head is a class of somebody's own."""
    return bool(spec.body) or spec.head not in HEADS


def is_assembled(spec: EstimatorChoice) -> bool:
    """Whether body and head are put together as the spec says: all but the two networks of moments are."""
    return bool(spec.body) or spec.head != MOMENTS


def settings_in_use(spec: EstimatorChoice) -> tuple[Literal["network", "perceptron", ""], tuple[str, ...]]:
    """Which part of a spec has the sizes of the estimator, and which of its settings are used.

    Returns:
        Nothing for a body of somebody's own; beside another head than that of moments, what belongs to the body.

    Example:
        >>> from fieldlevel.training.train_spec import TrainSpec
        >>> settings_in_use(TrainSpec(head="my_module:Flow"))
        ('network', ('hidden',))
    """
    if spec.body:
        return "", ()
    if spec.inputs == "maps":
        return "network", tuple(each.name for each in fields(NetworkSpec)) if spec.head == MOMENTS else ("hidden",)
    of_body = ("n_layers", "n_neurons", "dropout")
    return "perceptron", (*of_body, "std_from") if spec.head == MOMENTS else of_body
