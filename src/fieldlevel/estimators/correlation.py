r"""Correlation matrices R = F F^t of the parameters of maps, as a network tells them by numbers of any sign.

F is lower triangular with rows of unit length, so R has ones on its diagonal and is positive definite, whatever the
numbers: each row is that of a triangle with ones on the diagonal, divided by its length.

References:
    Pinheiro & Bates 1996, Statistics and Computing 6, 289 (parametrisations of covariance matrices).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

LONGEST_ROW = 30.0
"""Largest number below the diagonal in units of the one on it: of two parameters, correlations up to 0.9994."""
_LONGEST_PART = 0.9
_LEAST_PIVOT = 1e-6
"""Part of a parameter's variance that the others leave, to the rounding of float32."""


class CorrelationFactor(nn.Module):
    """Cholesky factors of correlation matrices of P parameters.

    Example:
        >>> factor = CorrelationFactor(2)(torch.tensor([[0.75]]))
        >>> (factor @ factor.mT).round(decimals=2)
        tensor([[[1.0000, 0.6000],
                 [0.6000, 1.0000]]])
    """

    _places: Tensor

    def __init__(self, n_parameters: int) -> None:
        super().__init__()
        self._shape = (n_parameters, n_parameters)
        row, column = torch.tril_indices(n_parameters, n_parameters, -1)
        self.register_buffer("_places", row * n_parameters + column, persistent=False)

    @property
    def n_numbers(self) -> int:
        """That it takes of each map, P (P - 1) / 2."""
        return self._shape[0] * (self._shape[0] - 1) // 2

    def forward(self, below: Tensor) -> Tensor:
        """Factors F, (b, P, P), of numbers (b, P (P - 1) / 2)."""
        bounded = below / (1.0 + below.square() / LONGEST_ROW**2).sqrt()
        flat = below.new_zeros(len(below), self._shape[0] ** 2).index_copy(1, self._places, bounded)
        ones = torch.eye(self._shape[0], dtype=below.dtype, device=below.device)
        return functional.normalize(flat.view(len(below), *self._shape) + ones, dim=-1)

    def numbers_of(self, correlation: Tensor) -> Tensor:
        """The numbers, (P (P - 1) / 2,), of a correlation matrix, (P, P); of ones too near to 1 or -1 the largest."""
        factor = torch.linalg.cholesky(correlation)
        row, column = torch.tril_indices(*self._shape, -1)
        bounded = (factor / factor.diagonal()[:, None])[row, column] / LONGEST_ROW
        bounded = bounded.clamp(-_LONGEST_PART, _LONGEST_PART)
        numbers: Tensor = LONGEST_ROW * bounded * (1.0 - bounded.square()).rsqrt()
        return numbers


def whitened_terms(residual: Tensor, correlation: Tensor, known: Tensor) -> Tensor:
    """y_i^2 / 2 + log G_ii with G y = residual, G the Cholesky factor of what is known of R.

    Rows and columns of R whose target is not known are left out, which is the exact marginal. Column by column, so that
    nothing waits for the device.

    Args:
        residual: errors in units of the standard deviations, zero where the target is not known, (b, P).
        correlation: R, (b, P, P).
        known: which targets are, (b, P).

    Returns:
        A term for each parameter, (b, P); zero where the target is not known.
    """
    both = known[:, :, None] & known[:, None, :]
    left = torch.where(both, correlation, torch.eye(known.shape[1], dtype=correlation.dtype, device=known.device))
    terms = []
    for i in range(known.shape[1]):
        pivot = left[:, i, i].clamp(min=_LEAST_PIVOT)
        y = residual[:, i] * pivot.rsqrt()
        column = left[:, :, i] * pivot.rsqrt()[:, None]
        terms.append(y.square() / 2 + pivot.log() / 2)
        left = left - column[:, :, None] * column[:, None, :]
        residual = residual - column * y[:, None]
    return torch.stack(terms, dim=1)
