r"""Heads of joint posteriors: the marginals are those of the moment head, and what joins them is learnt afterwards.

A multivariate density that is learnt together with the network by minus its logarithm diverges at the learning rates
that the moments like: its gradient is (theta - mu) / sigma^2, of unbounded length where a parameter is nearly without
noise, and a network that overfits claims ever smaller sigmas. So the network and two moments of each parameter learn
by the loss of the moments (`estimators.moments`), which has neither trouble, and then stand. With F_i the distribution
function of the truncated normal that has the moments of parameter i, and

    z_i = Phi^{-1}(F_i(theta_i))

its normal score, the density of a joint head is

    log p(theta) = sum_i log p_i(theta_i) + r(z; x),    r = log p(z | x) - sum_i log N(z_i; 0, 1).

What a head of this kind learns, on features that stand (`training.joint_fit`), is r alone: how scores are distributed,
which are of order one whatever the widths of the parameters. A new head has r = 0 exactly, and so tells the posterior
of its moments. A calibration rescales the moments beneath: r stays.

References:
    Sklar 1959 (a joint density is its marginals and a copula); Kang et al. 2020, arXiv:1910.09217 (decoupled training
    of features and what reads them); Seitzer et al. 2022, arXiv:2203.09168 (what the gradient of a normal does).
"""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.estimators.correlation import CorrelationFactor
from fieldlevel.estimators.estimator import Head
from fieldlevel.estimators.moment_head import LEAKY_SLOPE, MomentHead
from fieldlevel.estimators.sizes import probability, whole_number
from fieldlevel.estimators.truncated_normal import Parent, nearest_moments, parent_of

Answer = tuple[Tensor, Tensor, Tensor]
"""Means (b, P), standard deviations (b, P), and numbers of each map that tell r, (b, K)."""
N_BETWEEN = 64
"""Neurons of the layer that makes these numbers."""


class JointHead(Head):
    """Two moments of each parameter, and numbers that tell how the parameters hang together.

    Args:
        n_features: features of a map.
        n_outputs: parameters to infer, P.
        n_numbers: that tell r, K; all zeros tell r = 0.
        dropout: dropout probability before both layers of the moments.

    Raises:
        UserError: a size that it cannot have.
    """

    def __init__(self, n_features: int, n_outputs: int, n_numbers: int, dropout: float = 0.0) -> None:
        super().__init__()
        n_features, n_outputs = whole_number("n_features", n_features), whole_number("n_outputs", n_outputs)
        self.moments = MomentHead(n_features, n_outputs, probability("dropout", dropout))
        last = nn.Linear(N_BETWEEN, max(1, n_numbers))
        for weight in last.parameters():
            nn.init.zeros_(weight)
        self.layers = nn.Sequential(nn.Linear(2 * n_outputs, N_BETWEEN), nn.LeakyReLU(LEAKY_SLOPE), last)
        self._n_numbers = n_numbers
        self._joins = False

    @abstractmethod
    def log_ratio(self, numbers: Tensor, score: Tensor, known: Tensor) -> Tensor:
        """What r is made of: a term of each parameter, (b, P), the sum of which is r.

        Args:
            numbers: of each map, (b, K).
            score: normal scores of the targets, float32, (b, P), zero where they are not known.
            known: which targets are, (b, P); the terms of the others are zero.
        """

    def forward(self, features: Tensor) -> Answer:
        """The moments of features (b, F) and the numbers, in the precision of the weights, under autocast too."""
        with torch.autocast(features.device.type, enabled=False):
            mean, std = self.moments(features)
            return mean, std, self.numbers_of(mean, std)

    def numbers_of(self, mean: Tensor, std: Tensor) -> Tensor:
        """The numbers (b, K) of maps with these moments, (b, P) each, which learn nothing by them."""
        read = torch.cat([4.0 * mean.detach() - 2.0, std.detach().clamp(min=1e-6).log() + 2.0], dim=1)
        numbers: Tensor = self.layers(read.clamp(-10.0, 10.0))[:, : self._n_numbers]
        return numbers

    def begin_joining(self) -> None:
        """From now on the loss is that of the joint density; until then it is that of the moments."""
        self._joins = True

    def start_from(self, correlation: Tensor) -> None:
        """Tell this correlation matrix of the scores, (P, P), of every map, where all numbers were zero."""
        factor = CorrelationFactor(len(correlation))
        last: Any = self.layers[-1]
        with torch.no_grad():
            place = slice(self._n_numbers - factor.n_numbers, self._n_numbers)  # they are the last ones
            last.bias[place] = factor.numbers_of(correlation).to(last.bias)

    def joining_parameters(self) -> list[nn.Parameter]:
        """What learns from then on: all but the moments."""
        moments = set(self.moments.parameters())
        return [parameter for parameter in self.parameters() if parameter not in moments]

    def sums(self, answer: Answer, theta: Tensor) -> Tensor:
        """Sums over maps, (3, P): those of the moments; of the joint density r, the marginals, and counts."""
        mean, std, numbers = answer
        if not self._joins:
            return self.moments.sums((mean, std), theta)
        known, score, log_marginal = scores(mean, std, theta)
        with torch.autocast(mean.device.type, enabled=False):
            ratio = self.log_ratio(numbers.float(), score, known)
        return torch.stack([ratio.sum(0), log_marginal.sum(0), known.sum(0, dtype=torch.float32)])

    def loss(self, sums: Tensor) -> Tensor:
        """Of the moments; of the joint density minus its logarithm for a known target, the mean over parameters."""
        if not self._joins:
            return self.moments.loss(sums)
        of_ratio, of_marginals, n_known = sums
        means: Tensor = (of_ratio + of_marginals) / n_known.clamp(min=1)
        return -means.sum() / torch.count_nonzero(n_known).clamp(min=1)

    def warm_up_loss(self, sums: Tensor) -> Tensor:
        """The first term of the letter's loss, of the squared errors alone."""
        return self.moments.warm_up_loss(sums)


@torch.no_grad()
def scores(mean: Tensor, std: Tensor, theta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normal scores of targets under truncated normals.

    Args:
        mean: moments of these, (b, P).
        std: likewise.
        theta: targets, (b, P); NaN where they are not known.

    Returns:
        Which are known, (b, P); their scores and the logarithms of their marginal densities, float32, zero elsewhere.
    """
    known = theta.eq(theta)
    inside = theta.where(known, 0.5).double().clamp(0.0, 1.0)
    parent = parent_of_moments(mean, std)
    score, log_marginal = parent.score(inside), parent.log_density(inside)
    return known, score.where(known, 0.0).float(), log_marginal.where(known, 0.0).float()


def parent_of_moments(mean: Tensor, std: Tensor) -> Parent:
    """The normals whose truncation has what a network tells, as nearly as may be."""
    return parent_of(*nearest_moments(mean.detach().double(), std.detach().double()))
