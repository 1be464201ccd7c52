r"""V-REx: the loss of all suites and the variance of their losses, so that none is learnt at the expense of others.

With the losses L_g of the G labelled suites over the outputs that all of them teach,

    L = L_pooled + w (1/G) sum_g (L_g - mean L)^2.

What helps in one suite and hurts in another makes their losses differ. Where it helps in all of them, be it to the same
extent, nothing is noticed. Losses are logarithms here, so a suite in which errors are e times larger is 1 per
logarithm above.

References:
    Krueger et al. 2021, arXiv:2003.00688, equation 8. The weight of 10 of Gulrajani & Lopez-Paz 2020, arXiv:2007.01434,
    is too large beside logarithms of the errors of a few maps: their variance is mostly chance, and networks learnt
    hardly more than the prior (results/robustness).
"""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from fieldlevel.data.batches import MapSet
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.training.method import NOT_NEGATIVE, Method, Rule, SourceLosses
from fieldlevel.training.train_spec import TrainSpec


class VRex(Method):
    """Pooling and a variance.

    Args:
        spec: of the training.
        network: that learns.
        training: its maps.
        weight: w, of the variance.
    """

    rules: ClassVar[Mapping[str, Rule]] = {"weight": NOT_NEGATIVE}
    least_labelled: ClassVar[int] = 2
    least_sources: ClassVar[int] = 2
    needs_losses: ClassVar[bool] = True

    def __init__(self, spec: TrainSpec, network: Estimator, training: MapSet, weight: float = 1.0) -> None:
        super().__init__(spec, network, training)
        self._refuse_nothing_shared(spec)
        self.weight = weight

    def loss(self, pooled: Tensor, losses: SourceLosses | None) -> Tensor:
        """The pooled loss and w times the variance."""
        assert losses is not None
        return pooled + self.weight * losses.shared.var(correction=0)
