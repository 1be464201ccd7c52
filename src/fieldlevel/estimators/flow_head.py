"""A head whose answer is a normalising flow on the cube of the priors: a posterior of any shape.

It learns by minus the logarithm of the density of the targets, either with the network, or (`frozen`) once the features
stand: the network is then trained by the loss of the two moments, as the moment head trains it, and the flow alone is
trained in the batches of `TrainSpec.head_batches` (`training.head`), of which it wants thousands.

A target that is not known, such as a feedback parameter of another suite, is drawn from the prior: for a map that knows
nothing of a parameter the posterior is the prior. In evaluation mode a generator counts from the known targets, so that
a loss is the same each time. Maps without any target do not count.

References:
    Cranmer, Brehmer & Louppe 2020, arXiv:1911.01429 (neural posterior estimation).
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.errors import UserError
from fieldlevel.estimators.cube_flow import KINDS, CubeFlow, Kind
from fieldlevel.estimators.estimator import Head
from fieldlevel.estimators.flow_density import FlowDensity, flow_moments
from fieldlevel.estimators.moment_head import MomentHead, two_layers
from fieldlevel.estimators.sizes import probability, whole_number
from fieldlevel.numerics.random import uniform

_MOST = {"n_outputs": 1000, "n_transforms": 16, "n_hidden": 1024, "n_bins": 64, "n_context": 1024}
"""A damaged file shall not take all memory."""
_EDGE = 1e-6
"""Nearest that a target comes to the edge of its prior in the loss."""
_STREAM = 2802


class FlowHead(Head):
    """Two linear layers, each behind dropout, and a flow that is given what they make of the features.

    Args:
        n_features: features of a map.
        n_outputs: parameters to infer, P.
        kind: `spline`, or `affine` for a masked autoregressive flow.
        n_transforms: of that kind, one after the other.
        n_hidden: neurons in both hidden layers of each.
        n_bins: of the splines.
        n_context: numbers that the transforms are given of a map.
        dropout: dropout probability before both layers.
        frozen: whether the flow learns once the features stand.

    Raises:
        UserError: a size that it cannot have, or zuko is not installed.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        kind: Kind = "spline",
        n_transforms: int = 1,
        n_hidden: int = 64,
        n_bins: int = 8,
        n_context: int = 32,
        dropout: float = 0.0,
        frozen: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(frozen, bool):
            raise UserError(f"frozen = {frozen}: must be True or False")
        if kind not in KINDS:
            raise UserError(f"kind = {kind}: allowed are {' and '.join(KINDS)}")
        n_features, dropout = whole_number("n_features", n_features), probability("dropout", dropout)
        sizes = {"n_transforms": n_transforms, "n_hidden": n_hidden, "n_bins": n_bins}
        n_outputs, n_context = _size("n_outputs", n_outputs), _size("n_context", n_context)
        self.flow = CubeFlow(n_outputs, n_context, kind, **{name: _size(name, n) for name, n in sizes.items()})
        self.layers = nn.Sequential(two_layers(n_features, self.flow.n_numbers, dropout))
        self.moments = MomentHead(n_features, n_outputs, dropout) if frozen else None
        if frozen:
            self.fit_rate = 1.0
        self._is_fitted = not frozen
        self.is_recordable = frozen

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """What the flow is given of features (b, F), (b, K); if frozen, also the two moments, each (b, P)."""
        with torch.autocast(features.device.type, enabled=False):
            numbers = self.layers(features.to(next(self.parameters()).dtype))
        return (numbers,) if self.moments is None else (numbers, *self.moments(features))

    def begin_fit(self) -> None:
        """From now on the flow learns, on features that stand; `training.head` says so."""
        self._is_fitted = True

    def sums(self, answer: tuple[Tensor, ...], theta: Tensor) -> Tensor:
        """Sum of minus the logarithm of the density over maps, and their number, (2,); else those of the moments."""
        numbers, *moments = answer
        if self.moments is not None and not self._is_fitted:
            return self.moments.sums((moments[0], moments[1]), theta)
        theta, counts = theta.float(), ~theta.isnan().all(1)
        with torch.autocast(theta.device.type, enabled=False):
            log_prob = self.flow.log_prob(self._completed(theta).clamp(_EDGE, 1.0 - _EDGE), numbers.float())
        return torch.stack([-(log_prob * counts).sum(), counts.sum(dtype=torch.float32)])

    def loss(self, sums: Tensor) -> Tensor:
        """Minus the logarithm of the density of a map, for each parameter; that of the moments until they stand."""
        if self.moments is not None and not self._is_fitted:
            return self.moments.loss(sums)
        return sums[0] / sums[1].clamp(min=1) / self.flow.n_parameters

    def warm_up_loss(self, sums: Tensor) -> Tensor:
        """Of the means alone, if the flow is frozen; else there is none."""
        return self.loss(sums) if self.moments is None else self.moments.warm_up_loss(sums)

    def posterior(self, answer: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviations of the flow, by quasi-random points, each (b, P)."""
        mean, covariance = flow_moments(self.flow, answer[0])
        return mean, covariance.diagonal(dim1=1, dim2=2).sqrt()

    def density(self, answer: tuple[Tensor, ...]) -> FlowDensity:
        """The flow itself."""
        with torch.inference_mode(mode=False):  # tensors of inference mode are of no use outside of it
            numbers = answer[0].detach().clone()
            moments = (moment.cpu() for moment in flow_moments(self.flow, numbers))
            return FlowDensity(deepcopy(self.flow).cpu(), numbers.cpu(), *moments)

    def _completed(self, theta: Tensor) -> Tensor:
        """Targets (b, P) with numbers from the prior in the place of those that are not known."""
        known = theta.eq(theta)
        if self.training:
            return torch.where(known, theta, torch.rand_like(theta))
        place = torch.where(known, theta, 0.0).double().sum(1, keepdim=True).mul(2.0**32).long() * theta.shape[1]
        counter = place + torch.arange(theta.shape[1], device=theta.device)
        return torch.where(known, theta, uniform(counter, 0, _STREAM).to(theta.dtype))


def _size(name: str, value: Any) -> int:
    if (number := whole_number(name, value)) > _MOST[name]:
        raise UserError(f"{name} = {number}: must be at most {_MOST[name]:,}")
    return number
