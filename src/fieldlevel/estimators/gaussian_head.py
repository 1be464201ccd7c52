r"""A head whose answer is the moments of all parameters and their correlations.

The marginals are the truncated normals of the moment head, to the bit, and the normal scores of the parameters
(`estimators.joint_head`) are normal with a correlation matrix R of each map: a Gaussian copula. So

    r = -log |R| / 2 - z^t (R^{-1} - 1) z / 2 = -sum_i [ y_i^2 / 2 + log G_ii - z_i^2 / 2 ],    G y = z,

with G the Cholesky factor of R. Term i is the logarithm of the score of parameter i given those before it over that of
the score by itself. Of the targets that are not known rows and columns of R are left out, which is the exact marginal:
there G has a one on its diagonal, and y_i = 0. Far from the edges of the prior the density is the multivariate normal.

References:
    Bishop 2006, Pattern recognition and machine learning, section 2.3 (marginals); Nelsen 2006, An introduction to
    copulas, section 2.3.
"""

from torch import Tensor

from fieldlevel.estimators.correlation import CorrelationFactor, whitened_terms
from fieldlevel.estimators.densities import GaussianCopula
from fieldlevel.estimators.joint_head import Answer, JointHead


class GaussianHead(JointHead):
    """The moment head, and P (P - 1) / 2 numbers that make the correlations.

    Args:
        n_features: features of a map.
        n_outputs: parameters to infer, P.
        dropout: dropout probability before both layers of the moments.

    Raises:
        UserError: a size that it cannot have.

    Example:
        >>> import torch
        >>> head = GaussianHead(n_features=8, n_outputs=6)
        >>> answer = head(torch.zeros(3, 8))
        >>> [part.shape for part in answer], head.density(answer).covariance.shape
        ([torch.Size([3, 6]), torch.Size([3, 6]), torch.Size([3, 15])], torch.Size([3, 6, 6]))
    """

    def __init__(self, n_features: int, n_outputs: int, dropout: float = 0.0) -> None:
        super().__init__(n_features, n_outputs, n_outputs * (n_outputs - 1) // 2, dropout)
        self.factor = CorrelationFactor(n_outputs)

    def log_ratio(self, numbers: Tensor, score: Tensor, known: Tensor) -> Tensor:
        """Terms of the copula, (b, P)."""
        factor = self.factor(numbers)
        return score.square() / 2 - whitened_terms(score, factor @ factor.mT, known)

    def posterior(self, answer: Answer) -> tuple[Tensor, Tensor]:
        """The moments as they are."""
        return answer[0], answer[1]

    def density(self, answer: Answer) -> GaussianCopula:
        """Truncated normals with these moments, joined by the correlations."""
        mean, std, numbers = answer
        return GaussianCopula(mean, std, self.factor(numbers))
