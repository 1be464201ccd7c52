r"""Group DRO: the loss of the suite that is worst off, by weights that follow the losses.

With the losses L_g of the G labelled suites, each over the outputs that it teaches, a step first multiplies

    q_g <- q_g exp(eta L_g^shared),    sum_g q_g = 1,

where the losses that are compared are those of the shared outputs alone, and then goes down

    (1 - w) L_pooled + w sum_g q_g L_g.

w = 1 is the published objective, whose weights end on the suites that are hardest; w = 0 is pooling. It promises
something of mixtures of the training suites, and of another suite only where that is like one.

References:
    Sagawa et al. 2020, arXiv:1911.08731, algorithm 1.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training.method import FRACTION, POSITIVE, Method, Rule, SourceLosses
from fieldlevel.training.train_spec import TrainSpec


class GroupDro(Method):
    """The weighted loss of the suites, weights moving by exponentiated gradients.

    Args:
        spec: of the training.
        network: that learns.
        training: its maps.
        weight: w, of this objective beside pooling; 1 as published.
        step: eta; 0.01 as published.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"weight": FRACTION, "step": POSITIVE}
    least_labelled: ClassVar[int] = 2
    least_sources: ClassVar[int] = 2
    needs_losses: ClassVar[bool] = True

    log_q: Tensor

    def __init__(
        self, spec: TrainSpec, network: Estimator, training: MapSet, weight: float = 1.0, step: float = 0.01
    ) -> None:
        super().__init__(spec, network, training)
        self._refuse_nothing_shared(spec)
        self.weight = weight
        self.step = step
        n_labelled = len(self.labelled)
        self.register_buffer("log_q", -torch.full((n_labelled,), float(n_labelled), device=training.maps.device).log())

    def loss(self, pooled: Tensor, losses: SourceLosses | None) -> Tensor:
        """Move the weights, then add up."""
        assert losses is not None
        with torch.no_grad():
            moved = self.log_q + self.step * losses.shared
            self.log_q.copy_(moved - moved.logsumexp(0))
        weighted = (self.log_q.exp() * losses.own).sum()
        return (1.0 - self.weight) * pooled + self.weight * weighted
