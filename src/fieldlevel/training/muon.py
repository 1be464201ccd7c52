"""Muon: a gradient, averaged over steps, becomes an orthogonal matrix before it becomes a step.

The gradient of a layer's weights is nearly of low rank: AdamW follows its few strong directions and learns the others
slowly. Muon moves all of them equally. The orthogonal matrix nearest to M = U S V^T is U V^T, and polynomials of odd
degree bring it about without a decomposition: with X_0 = M / |M|,

    X_(k+1) = a X_k + b (X_k X_k^T) X_k + c (X_k X_k^T)^2 X_k,

which brings singular values to within 0.68 and 1.21 in five steps, but for those below 1.5e-3 of |M|.

A step is X_(k+1) = P_k X_k with a polynomial P_k of G_k = X_k X_k^T, and G_(k+1) = P_k G_k P_k. On a CPU, where wide
matrices cost what their products do, small ones therefore take the steps and the wide one is multiplied once, by
P_4 P_3 P_2 P_1 P_0; in bfloat16 the squares in G would lose the small singular values.

References:
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (iteration and coefficients; they
    leave the first and the last layer to AdamW, here Muon has them too); Liu et al. 2025, arXiv:2502.16982 (steps as
    large as those of AdamW, whatever the shape of a matrix).
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fieldlevel.training.precision import side_by_side

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the iteration."""
N_ITERATIONS = 5
RMS = 0.2
"""Of the numbers of a step per learning rate: what AdamW takes."""
TINY = 1e-20
"""Keeps 0 / 0 away."""
N_ROWS = 128
"""On a GPU, matrices of fewer rows are worked on together, filled up with zeros: launches cost more than products."""
LEAST_ROWS, WIDE = 32, 4
"""Rows, and columns for each, from which a CPU iterates on small matrices."""


class Muon(torch.optim.Optimizer):
    """Optimiser of weights with two or more dimensions, each a matrix of outputs times all else.

    Args:
        weights: of convolutions (outputs, inputs, rows, columns) or linear layers (outputs, inputs).
        lr: learning rate; a tensor on the device of the weights where steps are recorded.
        momentum: of the average over steps, in [0, 1); Nesterov's.
        weight_decay: part of a weight, per learning rate, that a step takes away.
        dtype: of the iteration; bfloat16 is enough.
    """

    def __init__(
        self,
        weights: Iterable[nn.Parameter],
        lr: float | Tensor,
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype | None = None,
    ) -> None:
        self._dtype = dtype
        super().__init__(weights, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Move the weights that have a gradient."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if weights:
                side_by_side([partial(self._move, alike, group) for alike in _of_like_size(weights)], weights[0].device)

    def _move(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        averages = [self._average(weight) for weight in weights]
        torch._foreach_lerp_(averages, gradients, 1.0 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
        steps = orthogonalised([each.flatten(1) for each in ahead], self._dtype)
        rate = torch.as_tensor(group["lr"], dtype=weights[0].dtype, device=weights[0].device)
        torch._foreach_mul_(weights, 1.0 - rate * group["weight_decay"])
        for weight, step in zip(weights, steps, strict=True):
            weight.addcmul_(step.view(weight.shape), rate, value=-RMS * max(step.shape) ** 0.5)

    def _average(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
        average: Tensor = state["exp_avg"]
        return average


def orthogonalised(matrices: Sequence[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The orthogonal matrices near to some matrices, which are worked on together.

    Args:
        matrices: each (n, m), of any scale; one of zeros stays so.
        dtype: of the iteration and of what is returned; that of the matrices when None.

    Returns:
        In their order, (n, m).
    """
    flat = [matrix if _is_flat(matrix) else matrix.T for matrix in matrices]
    n, m = (max(each.shape[axis] for each in flat) for axis in (0, 1))
    together = torch.zeros(len(flat), n, m, dtype=dtype or flat[0].dtype, device=flat[0].device)

    def parts(filled: Tensor) -> list[Tensor]:
        return [each[: matrix.shape[0], : matrix.shape[1]] for each, matrix in zip(filled, flat, strict=True)]

    torch._foreach_copy_(parts(together), flat)
    found = parts(_iterate(together))
    return [part if _is_flat(matrix) else part.T for part, matrix in zip(found, matrices, strict=True)]


def _of_like_size(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Weights whose matrices are to be worked on together, the largest first."""
    alike: dict[int, list[Tensor]] = defaultdict(list)
    for weight in weights:
        alike[max(min(weight.flatten(1).shape), N_ROWS if weight.is_cuda else 0)].append(weight)
    return [alike[n_rows] for n_rows in sorted(alike, reverse=True)]


def _is_flat(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def _iterate(x: Tensor) -> Tensor:
    """The iteration, of matrices (b, n, m) with n <= m, which are lost."""
    x /= torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=TINY)
    n, m = x.shape[1:]
    is_wide = n >= LEAST_ROWS and m >= WIDE * n
    by_grams = is_wide and not x.is_cuda and x.dtype != torch.bfloat16
    return _iterate_grams(x) if by_grams else _iterate_wide(x)


def _iterate_wide(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(N_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _iterate_grams(x: Tensor) -> Tensor:
    gram = x @ x.mT
    whole = _polynomial(gram)
    last = whole
    for _ in range(N_ITERATIONS - 1):
        gram = last @ gram @ last
        last = _polynomial(gram)
        whole = last @ whole
    return whole @ x


def _polynomial(gram: Tensor) -> Tensor:
    """P = a + b G + c G^2 of symmetric matrices, (b, n, n)."""
    a, b, c = COEFFICIENTS
    polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    polynomial.diagonal(dim1=1, dim2=2).add_(a)
    return polynomial
