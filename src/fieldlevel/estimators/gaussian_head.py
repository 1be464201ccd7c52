r"""A head whose answer is a multivariate normal: the mean of all parameters and their full covariance.

The covariance is Sigma = D R D, D the diagonal matrix of the standard deviations and R = F F^t the correlation matrix;
the rows of the lower triangle F have unit length, so that D F is the Cholesky factor of Sigma. The loss is

    -log N(theta; mu, Sigma) = sum_i [ y_i^2 / 2 + log (D_i G_ii) + log (2 pi) / 2 ],    G y = D^{-1} (theta - mu),

with G the Cholesky factor of R. Term i is minus the logarithm of the density of parameter i given those before it. The
minimum is at the mean and the covariance of the posterior, whatever its shape. Of the targets that are not known rows
and columns of R are left out, which is the exact marginal: there G has a one on its diagonal, and y_i = 0.

Each term is divided by its own number of known targets and the mean is taken over the parameters, so that the loss
depends neither on the batch size nor on the number of parameters. A step of its gradient is in units of each standard
deviation, as with the logarithms of the two-moment loss: no parameter drowns the others.

References:
    Bishop 2006, Pattern recognition and machine learning, section 2.3 (marginals); Nix & Weigend 1994 (the loss).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from fieldlevel.estimators.correlation import CorrelationFactor, whitened_terms
from fieldlevel.estimators.densities import GaussianCopula
from fieldlevel.estimators.estimator import Head
from fieldlevel.estimators.moment_head import two_layers
from fieldlevel.estimators.moments import loss_from_sums
from fieldlevel.estimators.sizes import probability, whole_number

LEAST_STD = 1e-4
"""In units of the prior: a narrower posterior would make the loss of one map outweigh a batch."""
_HALF_LOG_2_PI = math.log(2 * math.pi) / 2

Normal = tuple[Tensor, Tensor, Tensor]
"""Mean (b, P), standard deviation (b, P), Cholesky factor of the correlation matrix (b, P, P)."""


class GaussianHead(Head):
    """Two linear layers as in the moment head, each behind dropout, with P (P - 1) / 2 more outputs.

    Args:
        n_features: features of a map.
        n_outputs: parameters to infer, P.
        dropout: dropout probability before both layers.

    Raises:
        UserError: a size that it cannot have.

    Example:
        >>> head = GaussianHead(n_features=8, n_outputs=6)
        >>> mean, std, factor = head(torch.zeros(3, 8))
        >>> mean.shape, factor.shape, head.density((mean, std, factor)).covariance.shape
        (torch.Size([3, 6]), torch.Size([3, 6, 6]), torch.Size([3, 6, 6]))
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        n_features, n_outputs = whole_number("n_features", n_features), whole_number("n_outputs", n_outputs)
        dropout = probability("dropout", dropout)
        self._n_outputs = n_outputs
        self.factor = CorrelationFactor(n_outputs)
        n_numbers = 2 * n_outputs + self.factor.n_numbers
        self.layers = nn.Sequential(two_layers(n_features, n_numbers, dropout))

    def forward(self, features: Tensor) -> Normal:
        """The normal of features (b, F), in the precision of the weights, under autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            numbers = self.layers(features.to(next(self.parameters()).dtype))
        mean, spread, below = numbers.tensor_split((self._n_outputs, 2 * self._n_outputs), dim=1)
        return mean, functional.softplus(spread) + LEAST_STD, self.factor(below)

    def sums(self, answer: Normal, theta: Tensor) -> Tensor:
        """Sums over maps of the terms of the loss and of the squared errors, and the counts, (3, P), float32."""
        mean, std, factor = (part.float() for part in answer)
        theta = theta.float()
        known = theta.eq(theta)
        error = torch.where(known, theta - mean, 0.0)
        with torch.autocast(mean.device.type, enabled=False):
            terms = whitened_terms(error / std, factor @ factor.mT, known) + (std.log() + _HALF_LOG_2_PI) * known
        return torch.stack([terms.sum(0), error.square().sum(0), known.sum(0, dtype=torch.float32)])

    def loss(self, sums: Tensor) -> Tensor:
        """Minus the logarithm of the density for a known target of a map, the mean over the parameters."""
        terms, _, n_known = sums
        means: Tensor = terms / n_known.clamp(min=1)
        return means.sum() / torch.count_nonzero(n_known).clamp(min=1)

    def warm_up_loss(self, sums: Tensor) -> Tensor:
        """The first term of the letter's loss, of the squared errors alone."""
        return loss_from_sums(sums[1:])

    def posterior(self, answer: Normal) -> tuple[Tensor, Tensor]:
        """Its mean and standard deviations, before anything is truncated to the prior."""
        return answer[0], answer[1]

    def density(self, answer: Normal) -> GaussianCopula:
        """The normal within the prior: its marginals truncated, with these moments, and its correlations."""
        return GaussianCopula(*answer)
