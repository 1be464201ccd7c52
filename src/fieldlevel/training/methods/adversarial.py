r"""Adversarial: a critic learns to name the suite from the features, and the features learn to prevent it.

The critic sees the features x of a map, in units of their scatter over the batch, and c, the shared parameters: the
targets, and of a map without labels the means that the network has for them. It learns by the cross entropy C of the
suite given both; the network goes down

    L_pooled - w lambda C(x, c),    lambda = 2 / (1 + exp(-10 p)) - 1,

with p the part of the steps that is done: the critic is heard once it has something to say. As c is given, features may
tell the parameters, but not the suite beyond what these do: in the optimum C is the entropy of the suite given c, that
is, features and suite have no mutual information given c. Suites may then differ in their priors.

A critic that falls behind is worth nothing, and one that is heard too much leaves features that tell nothing: of all
methods this one depends most on its numbers.

References:
    Ganin et al. 2016, arXiv:1505.07818 (reversed gradients, lambda); Long et al. 2018, arXiv:1705.10667 (given what the
    network says); MIEST 2025, arXiv:2502.13239 (suites of CAMELS). Weight and rate are those with which a toy is solved
    (tests/training/test_invariance.py); the published weight of 1 does nothing beside a logarithmic loss.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from fieldlevel.data.batches import MapSet
from fieldlevel.errors import UserError
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training.method import NOT_NEGATIVE, POSITIVE, WHOLE, Method, Rule
from fieldlevel.training.optimisers import load_optimiser
from fieldlevel.training.penalty import Penalty
from fieldlevel.training.train_spec import TrainSpec

CONDITIONS = ("outputs", "targets", "none")
_STEEPNESS = 10.0
"""Of lambda (Ganin et al., section 5.2.2)."""
_EPSILON = 1e-5

Condition = Callable[[Tensor, Tensor], Tensor]


class Critic(Penalty):
    """Two layers that name the source; features come in units of their scatter over the batch.

    Args:
        n_features: of the network.
        n_sources: that there are.
        weight: w.
        n_steps: of the training, over which lambda rises.
        n_hidden: width of both hidden layers.
        rate: of the critic's Adam.
        condition: makes c, (b, n_given), of features and targets.
        n_given: numbers in c.
        is_recorded: whether its steps become part of a CUDA graph.
    """

    is_recordable: ClassVar[bool] = True

    n_done: Tensor

    def __init__(
        self,
        n_features: int,
        n_sources: int,
        weight: float = 20.0,
        n_steps: int = 1000,
        n_hidden: int = 128,
        rate: float = 1e-2,
        condition: Condition | None = None,
        n_given: int = 0,
        is_recorded: bool = False,
    ) -> None:
        super().__init__()
        self.weight = weight
        self.n_steps = n_steps
        self._condition = condition
        self.layers = nn.Sequential(
            nn.Linear(n_features + n_given, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_sources),
        )
        self.register_buffer("n_done", torch.zeros(()))
        self.optimisers = [torch.optim.Adam(self.layers.parameters(), lr=rate, capturable=is_recorded)]

    def cross_entropy(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        """Of the source given the features (b, F) and c, a scalar."""
        scale = (features.var(0, correction=0) + _EPSILON).rsqrt()
        read = (features - features.mean(0)) * scale
        if self._condition is not None:
            read = torch.cat([read, self._condition(features, theta)], dim=1)
        return functional.cross_entropy(self.layers(read), source)

    def update(self, features: Tensor, source: Tensor, theta: Tensor) -> None:
        """Take a step of the critic."""
        self.optimisers[0].zero_grad()
        self.cross_entropy(features, source, theta).backward()  # type: ignore[no-untyped-call]
        self.optimisers[0].step()
        self.n_done += 1

    def loss(self, features: Tensor, source: Tensor, theta: Tensor) -> Tensor:
        """The reversed cross entropy."""
        ramp = 2.0 / (1.0 + (-_STEEPNESS * self.n_done / self.n_steps).exp()) - 1.0
        return -self.weight * ramp * self.cross_entropy(features, source, theta)

    def load_extra_state(self, state: list[Any]) -> None:
        """Go on on whatever device."""
        for optimiser, each in zip(self.optimisers, state, strict=True):
            load_optimiser(optimiser, each)


class Adversarial(Method):
    """Pooling, and a critic of the suites as a penalty.

    Args:
        spec: of the training.
        network: that learns.
        training: its maps.
        weight: w.
        condition: what c is: `targets`, as above; `outputs`, the means that the network has, of all maps; or `none`.
        n_hidden: width of the critic.
        rate: of its Adam.

    Raises:
        UserError: another condition.
    """

    rules: ClassVar[Mapping[str, Rule]] = {
        "weight": NOT_NEGATIVE,
        "condition": (lambda value: value in CONDITIONS, ", ".join(CONDITIONS)),
        "n_hidden": WHOLE,
        "rate": POSITIVE,
    }
    least_sources: ClassVar[int] = 2
    uses_unlabelled: ClassVar[bool] = True

    def __init__(
        self,
        spec: TrainSpec,
        network: Estimator,
        training: MapSet,
        weight: float = 20.0,
        condition: str = "targets",
        n_hidden: int = 128,
        rate: float = 1e-2,
    ) -> None:
        super().__init__(spec, network, training)
        if condition not in CONDITIONS:
            raise UserError(f"method_options condition = {condition}: allowed are {', '.join(CONDITIONS)}")
        shared = torch.nonzero(self.shared).flatten().tolist() if condition != "none" else []
        self.penalty = Critic(
            network.n_features,
            self.n_sources,
            weight,
            spec.n_steps,
            n_hidden,
            rate,
            _Given(network, shared, is_told=condition == "targets") if shared else None,
            len(shared),
            is_recorded=training.maps.device.type == "cuda",
        )


class _Given:
    """What a critic is told beside the features; it draws no random numbers.

    Args:
        network: its head tells the means.
        columns: of the shared outputs.
        is_told: whether targets are told where they are known.
    """

    def __init__(self, network: Estimator, columns: list[int], *, is_told: bool) -> None:
        self._network = network
        self._columns = columns
        self._is_told = is_told

    def __call__(self, features: Tensor, theta: Tensor) -> Tensor:
        head = self._network.head
        was_training = head.training
        head.eval()
        mean, _ = self._network.posterior_of(self._network.answer_of(features), len(features))
        head.train(was_training)
        mean = torch.stack([mean[:, column] for column in self._columns], dim=1)
        if not self._is_told:
            return mean
        known = torch.stack([theta[:, column] for column in self._columns], dim=1)
        return known.where(~known.isnan(), mean)
