r"""A normalising flow of normal scores, given some numbers of each map; its layers are those of zuko.

The scores z of the parameters (`estimators.joint_head`) go to a standard normal point, u, in two steps:

    D F w = z - a,    u = T(w; c),

with, of each map, location a, scales D, factor F of a correlation matrix (`estimators.correlation`) and context c. What
T = 1 leaves is a normal of the scores. T is autoregressive, of monotonic rational-quadratic splines (`spline`) or
affine (`affine`). The density of the scores over that of independent standard normal ones is

    r = log N(u; 0, 1) + log |dT / dw| - sum_i log (D_i F_ii) - sum_i log N(z_i; 0, 1).

In training a, D and F learn the normal alone, so that w has mean 0, variance 1 and no correlations, as splines on a
fixed interval want it; T learns what is left. In a new flow T = 1, and numbers of zero mean a = 0 and D F = 1: then
r = 0, and the parameters are independent, each with the marginal that its score was made with.

References:
    Durkan et al. 2019, arXiv:1906.04032 (splines); Papamakarios et al. 2017, arXiv:1705.07057 (masked autoregressive
    flows); zuko, https://zuko.readthedocs.io.
"""

import math
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from fieldlevel.errors import UserError
from fieldlevel.estimators.correlation import CorrelationFactor

Kind = Literal["spline", "affine"]
KINDS: tuple[Kind, ...] = ("spline", "affine")

_LEAST_SCALE = 1e-3
_OF_SCALE_ONE = math.log(math.expm1(1.0 - _LEAST_SCALE))
_AT_A_TIME = 2**14
"""Points that are taken back to scores together: they stay in the cache of a processor."""


def import_zuko() -> ModuleType:
    """The package with the layers, an extra.

    Raises:
        UserError: it is not installed.
    """
    try:
        import zuko  # noqa: PLC0415 (optional)
    except ImportError:
        raise UserError("head = flow: needs the package zuko; pip install 'fieldlevel[flows]'") from None
    module: ModuleType = zuko
    return module


class ScoreFlow(nn.Module):
    """The flow of P parameters, given K numbers of each map: c, a, and what D and F are made of.

    Args:
        n_parameters: P.
        n_context: numbers in c.
        kind: of the transforms.
        n_transforms: how many, one after the other, the order of the parameters turned around each time.
        n_hidden: neurons in both hidden layers of each.
        n_bins: of the splines.

    Raises:
        UserError: zuko is not installed.
    """

    def __init__(
        self, n_parameters: int, n_context: int, kind: Kind, n_transforms: int, n_hidden: int, n_bins: int
    ) -> None:
        super().__init__()
        zuko = import_zuko()
        options: dict[str, Any] = {"hidden_features": (n_hidden, n_hidden)}
        if kind == "spline":
            options["univariate"] = zuko.transforms.MonotonicRQSTransform
            options["shapes"] = [(n_bins,), (n_bins,), (n_bins - 1,)]
        with torch.device("cpu"):  # its masks are computed, also where all else has shapes alone
            order = torch.arange(n_parameters)
            orders = [order.flip(0) if number % 2 else order for number in range(n_transforms)]
            kind_of = zuko.flows.MaskedAutoregressiveTransform
            self.transforms = nn.ModuleList(kind_of(n_parameters, n_context, order=each, **options) for each in orders)
        for transform in self.transforms:
            hyper: Any = transform.hyper
            for weight in hyper[-1].parameters():
                nn.init.zeros_(weight)
        self.factor = CorrelationFactor(n_parameters)
        self._sizes = [n_context, n_parameters, n_parameters, self.factor.n_numbers]

    @property
    def n_parameters(self) -> int:
        """Of each point, P."""
        return self._sizes[1]

    @property
    def n_numbers(self) -> int:
        """Of each map, K."""
        return sum(self._sizes)

    def log_ratio(self, score: Tensor, numbers: Tensor) -> Tensor:
        """Logarithm r; its gradient moves T by what T gains, and a, D and F as if T were 1.

        Args:
            score: (n, P).
            numbers: of the map of each, (n, K).

        Returns:
            Of shape (n,).
        """
        context, location, triangle = self._parts(numbers)
        w = torch.linalg.solve_triangular(triangle, (score - location)[..., None], upper=False).squeeze(-1)
        of_normal = (score.square() - w.square()).sum(1) / 2 - triangle.diagonal(dim1=1, dim2=2).log().sum(1)
        u = w = w.detach()
        gain = w.square().sum(1) / 2
        for transform in self.transforms:
            u, log_slope = transform(context).call_and_ladj(u)
            gain = gain + log_slope
        total: Tensor = of_normal + gain - u.square().sum(1) / 2
        return total

    def score_of(self, u: Tensor, numbers: Tensor) -> Tensor:
        """The scores of standard normal points.

        Args:
            u: (..., b, P).
            numbers: of each map, (b, K).

        Returns:
            Of the shape of u.
        """
        many = numbers.expand(*u.shape[:-1], -1)
        pairs = zip(*(torch.split(each.flatten(0, -2), _AT_A_TIME) for each in (u, many)), strict=True)
        parts = [self._score_of(*pair) for pair in pairs]
        return torch.cat(parts).view(u.shape)

    def _score_of(self, u: Tensor, numbers: Tensor) -> Tensor:
        context, location, triangle = self._parts(numbers)
        for transform in reversed(self.transforms):
            u = _inverse(transform, u, context)
        score: Tensor = location + (triangle @ u[..., None]).squeeze(-1)
        return score

    def _parts(self, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Context c, location a and triangle D F, (n, C), (n, P) and (n, P, P)."""
        context, location, spread, below = torch.split(numbers, self._sizes, dim=1)
        scale = functional.softplus(spread + _OF_SCALE_ONE) + _LEAST_SCALE
        return context, location, scale[..., None] * self.factor(below)


def _inverse(transform: Any, u: Tensor, context: Tensor) -> Tensor:
    """The z with T(z; c) = u, a parameter at a time: of the last layer each needs its own rows alone."""
    if not hasattr(transform, "passes"):  # of one parameter
        found: Tensor = transform(context).inv(u)
        return found
    *hidden, last = transform.hyper
    rows = (last.mask * last.weight).unflatten(0, (-1, transform.total))
    bias, z = last.bias.unflatten(0, (-1, transform.total)), torch.zeros_like(u)
    for i in transform.order.argsort().tolist():
        seen = torch.cat([z, context], dim=1)
        for layer in hidden:
            seen = layer(seen)
        shape = import_zuko().utils.unpack(functional.linear(seen, rows[i], bias[i]), transform.shapes)
        z[:, i] = transform.univariate(*shape).inv(u[:, i])
    return z
