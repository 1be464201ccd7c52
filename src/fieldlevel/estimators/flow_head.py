"""A head whose answer is a normalising flow: a posterior of any shape inside the prior.

The flow is one of normal scores under the truncated normals of the moment head (`estimators.joint_head`), so that a new
one tells the posterior of the moments. What it learns are correlations and whatever else sets the posterior apart from
truncated normals.

A target that is not known, such as a feedback parameter of another suite, is drawn from its marginal: it tells the flow
nothing. A generator counts from the known targets, so that a loss is the same each time. Maps without any target do not
count.

References:
    Cranmer, Brehmer & Louppe 2020, arXiv:1911.01429 (neural posterior estimation).
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor

from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import TruncatedNormal
from fieldlevel.estimators.flow_density import FlowDensity, flow_moments
from fieldlevel.estimators.joint_head import Answer, JointHead, parent_of_moments
from fieldlevel.estimators.score_flow import KINDS, Kind, ScoreFlow
from fieldlevel.estimators.sizes import whole_number
from fieldlevel.numerics.random import uniform

_MOST = {"n_outputs": 1000, "n_transforms": 16, "n_hidden": 1024, "n_bins": 64, "n_context": 1024}
"""A damaged file shall not take all memory."""
_STREAM = 2802


class FlowHead(JointHead):
    """The moment head, and a flow that is given numbers of each map.

    Args:
        n_features: features of a map.
        n_outputs: parameters to infer, P.
        kind: `spline`, or `affine` for a masked autoregressive flow.
        n_transforms: of that kind, one after the other.
        n_hidden: neurons in both hidden layers of each.
        n_bins: of the splines.
        n_context: numbers that the transforms are given of a map.
        dropout: dropout probability before both layers of the moments.
        frozen: that the flow learns once the features stand, as every flow does: True is the one value.

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
        frozen: bool = True,
    ) -> None:
        if frozen is not True:
            raise UserError(f"frozen = {frozen}: must be True; a flow that learns with the network diverges")
        if kind not in KINDS:
            raise UserError(f"kind = {kind}: allowed are {' and '.join(KINDS)}")
        sizes = {"n_transforms": n_transforms, "n_hidden": n_hidden, "n_bins": n_bins}
        n_outputs, n_context = _size("n_outputs", n_outputs), _size("n_context", n_context)
        flow = ScoreFlow(n_outputs, n_context, kind, **{name: _size(name, n) for name, n in sizes.items()})
        super().__init__(n_features, n_outputs, flow.n_numbers, dropout)
        self.flow = flow

    def log_ratio(self, numbers: Tensor, score: Tensor, known: Tensor) -> Tensor:
        """The logarithm of the flow, an equal part of it for each known target, (b, P)."""
        ratio = self.flow.log_ratio(self._completed(score, known), numbers)
        return ratio[:, None] * known / known.sum(1, keepdim=True).clamp(min=1)

    def posterior(self, answer: Answer) -> tuple[Tensor, Tensor]:
        """Mean and standard deviations of the flow, by quasi-random points, each (b, P)."""
        mean, std, numbers = answer
        mean, covariance = flow_moments(self.flow, numbers, parent_of_moments(mean, std))
        return mean.to(numbers), covariance.diagonal(dim1=1, dim2=2).sqrt().to(numbers)

    def density(self, answer: Answer) -> FlowDensity:
        """The flow itself."""
        with torch.inference_mode(mode=False):  # tensors of inference mode are of no use outside of it
            mean, std, numbers = (part.detach().clone().cpu() for part in answer)
            return FlowDensity(deepcopy(self.flow).cpu(), numbers, TruncatedNormal(mean, std))

    def _completed(self, score: Tensor, known: Tensor) -> Tensor:
        """Scores (b, P) with standard normal numbers in the place of those that are not known."""
        place = score.double().sum(1, keepdim=True).mul(2.0**32).long() * score.shape[1]
        counter = place + torch.arange(score.shape[1], device=score.device)
        drawn = torch.special.ndtri(uniform(counter, 0, _STREAM)).to(score.dtype)
        return torch.where(known, score, drawn)


def _size(name: str, value: Any) -> int:
    if (number := whole_number(name, value)) > _MOST[name]:
        raise UserError(f"{name} = {number}: must be at most {_MOST[name]:,}")
    return number
