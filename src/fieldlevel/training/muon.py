"""Muon: a gradient, averaged over steps, becomes an orthogonal matrix before it becomes a step.

The gradient of a layer's weights is nearly of low rank: AdamW follows its few strong directions and learns the others
slowly. Muon moves all of them equally. The orthogonal matrix nearest to M = U S V^T is U V^T, and polynomials of odd
degree bring it about without a decomposition: with X_0 = M / |M|,

    X_(k+1) = a X_k + b (X_k X_k^T) X_k + c (X_k X_k^T)^2 X_k,

which brings singular values to within 0.68 and 1.21 in five steps, but for those below 1.5e-3 of |M|.

References:
    Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks" (iteration and coefficients; they
    leave the first and the last layer to AdamW, here Muon has them too); Liu et al. 2025, arXiv:2502.16982 (steps as
    large as those of AdamW, whatever the shape of a matrix).
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""a, b, c of the iteration."""
N_ITERATIONS = 5
RMS = 0.2
"""Of the numbers of a step per learning rate: what AdamW takes."""
TINY = 1e-20
"""Keeps 0 / 0 away."""


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
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            averages = [self._average(weight) for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1.0 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
            steps = orthogonalised([each.flatten(1) for each in ahead], self._dtype)
            sizes = [RMS * max(each.shape) ** 0.5 for each in steps]
            torch._foreach_mul_(weights, 1.0 - group["lr"] * group["weight_decay"])
            for weight, step, size in zip(weights, steps, sizes, strict=True):
                weight.sub_(group["lr"] * size * step.view(weight.shape))

    def _average(self, weight: nn.Parameter) -> Tensor:
        state = self.state[weight]
        if not state:
            state["exp_avg"] = torch.zeros_like(weight)
        average: Tensor = state["exp_avg"]
        return average


def orthogonalised(matrices: list[Tensor], dtype: torch.dtype | None = None) -> list[Tensor]:
    """The orthogonal matrices near to some matrices; those of as many rows are worked on together.

    Args:
        matrices: each (n, m), of any scale; one of zeros stays so.
        dtype: of the iteration; that of the matrices when None.

    Returns:
        In their order, (n, m).
    """
    alike: dict[int, list[int]] = defaultdict(list)
    for number, matrix in enumerate(matrices):
        alike[min(matrix.shape)].append(number)
    found = list(matrices)
    for numbers in alike.values():
        flat = [matrices[number] if _is_flat(matrices[number]) else matrices[number].T for number in numbers]
        widest = max(matrix.shape[1] for matrix in flat)
        together = torch.stack([functional.pad(matrix, (0, widest - matrix.shape[1])) for matrix in flat])
        for number, matrix, result in zip(numbers, flat, _iterate(together, dtype), strict=True):
            own = result[:, : matrix.shape[1]]
            found[number] = own if _is_flat(matrices[number]) else own.T
    return found


def _is_flat(matrix: Tensor) -> bool:
    return matrix.shape[0] <= matrix.shape[1]


def _iterate(matrices: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The iteration, of matrices (b, n, m) with n <= m."""
    a, b, c = COEFFICIENTS
    x: Tensor = (matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=TINY)).to(dtype or matrices.dtype)
    for _ in range(N_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)
