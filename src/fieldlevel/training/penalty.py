"""What may be added to the loss of an estimator: a penalty on its features, with state and optimiser of its own.

Features of maps of several sources (suites) that a network cannot tell apart make it hold across them: a distance
between their distributions, or a critic that learns to tell the sources while the features learn to prevent it. Such a
penalty sees what the body makes of the whole batch, where each map comes from, and the targets; it adds to the loss in
training alone, weighted by itself, and is no part of the weights file.

Where several processes train one network, each has the penalty whole, with the weights of the first, and gives it the
features of all: so it must not draw from the global random numbers, which differ among them.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.estimators.imported import import_class, make_own, path_of, running
from fieldlevel.training import distributed
from fieldlevel.training.precision import seeded
from fieldlevel.training.train_spec import TrainSpec

_KEPT = (bool, int, float, str)
PENALTY_METHODS = ("loss", "update", "extra_state", "load_extra_state")
"""That a penalty must have, if it is no `Penalty`."""


class Learner(nn.Module):
    """What learns beside the network, and goes on after a stop: a penalty, or a method (`training.method`).

    Attributes:
        optimisers: its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.optimisers: list[Optimizer] = []

    def extra_state(self) -> list[Any]:
        """What the next step depends on beside the `state_dict`: tensors, numbers, text, lists and dicts of them."""
        return [optimiser.state_dict() for optimiser in self.optimisers]

    def load_extra_state(self, state: list[Any]) -> None:
        """Go on from what `extra_state` told, on whatever device."""
        for optimiser, each in zip(self.optimisers, state, strict=True):
            optimiser.load_state_dict(each)


class Penalty(Learner, ABC):
    """Added to the loss of an estimator; made by `Class(n_features, n_sources, **options)`.

    Its parameters are moved by `update` alone. What its next step depends on is its `state_dict`, its `optimisers` and
    what it adds to `extra_state`.

    Attributes:
        is_recordable: whether `loss` and `update` may be recorded in a CUDA graph: they wait for nothing, depend on no
            values, and their optimisers are made with `capturable=True`. Steps are taken one by one else.
        optimisers: its own; `update` takes their steps.

    Example:
        >>> import torch
        >>> class MeanDistance(Penalty):
        ...     def __init__(self, n_features: int, n_sources: int, weight: float = 1.0) -> None:
        ...         super().__init__()
        ...         self.weight = weight
        ...
        ...     def loss(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        ...         first, second = (features[source == number].mean(0) for number in (0, 1))
        ...         return self.weight * (first - second).square().sum()
        >>> MeanDistance(2, 2).loss(torch.tensor([[0.0, 0.0], [1.0, 2.0]]), torch.tensor([0, 1]), torch.zeros(2, 6))
        tensor(5.)
    """

    is_recordable: ClassVar[bool] = False

    @abstractmethod
    def loss(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        """What is added to the loss of the estimator.

        Args:
            features: of all maps of the batch, float32, (b, F); gradients flow back through them.
            source: number of the source of each map, int64, (b,).
            theta: targets, (b, P); NaN where they are not known.

        Returns:
            A scalar.
        """

    def update(self, features: Tensor, source: Tensor, theta: Tensor) -> None:
        """Take a step of its own, before that of the estimator.

        Arguments as for `loss`, but features have no gradient. The parameters may hold gradients of the last `loss`, so
        that it sets them to zero first, as optimisers do by `zero_grad`.
        """


def check_penalty(spec: TrainSpec) -> None:
    """Refuse a penalty that cannot be imported.

    Raises:
        UserError: in one line, with the import path.
    """
    if spec.penalty:
        import_class(spec.penalty, "penalty", PENALTY_METHODS)


def make_penalty(spec: TrainSpec, network: Estimator, source: Tensor) -> Penalty | None:
    """The penalty of a spec, the same in all processes; random numbers of the training are left as they were.

    Args:
        spec: which class, with its options and the seed of its weights.
        network: whose features it sees.
        source: number of the source of each training map, on the device of the network.

    Raises:
        UserError: a class that cannot be used.
    """
    if not spec.penalty:
        return None
    arguments = [network.n_features, 1 + int(source.max())]
    with seeded(spec.seed, source.device):
        made: Any = make_own(spec.penalty, "penalty", arguments, spec.penalty_options, PENALTY_METHODS)
        with running(made, "penalty"):
            penalty: Penalty = made.to(source.device)
    distributed.broadcast_state(penalty)
    penalty_state(penalty)
    return penalty


def penalty_state(penalty: Learner, setting: str = "penalty") -> dict[str, Any]:
    """All that the next step of a penalty, or of a method, depends on.

    Raises:
        UserError: it has an extra state that could not be read again.
    """
    with running(penalty, setting):
        state = {"tensors": penalty.state_dict(), "extra": penalty.extra_state()}
    if (strange := _strange(state)) is not None:
        told = f"its state holds {type(strange).__name__}"
        raise UserError(f"{setting} = {path_of(penalty)}: {told}; keep tensors, numbers, text, lists and dicts of them")
    return state


def _strange(value: Any) -> object:
    """What no state can hold, None where there is nothing of that kind."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        return next((strange for each in value if (strange := _strange(each)) is not None), None)
    return None if value is None or type(value) in _KEPT or isinstance(value, Tensor) else value


def load_penalty_state(penalty: Learner, state: Mapping[str, Any]) -> None:
    """Go on from what `penalty_state` told."""
    penalty.load_state_dict(state["tensors"])
    penalty.load_extra_state(state["extra"])
