r"""The loss whose minimum is the first two moments of the posterior.

A network with outputs mu(x) and sigma(x) for each parameter theta of a map x is trained, after Jeffrey & Wandelt, on

    L_1 = E[ (theta - mu)^2 ]    and    L_2 = E[ ((theta - mu)^2 - sigma^2)^2 ],

expectations over the joint distribution of theta and x. At fixed x, dL_1/dmu = 0 gives

    mu(x) = E[ theta | x ],

the posterior mean, and then dL_2/dsigma^2 = 0 gives

    sigma^2(x) = E[ (theta - mu)^2 | x ],

the posterior variance, with no assumption about the posterior's shape. Each is a marginal moment: parameters do not
mix. The two terms differ by orders of magnitude among parameters, so the letter adds up their logarithms:

    L = sum_i log( sum_batch (theta_i - mu_i)^2 ) + sum_i log( sum_batch ((theta_i - mu_i)^2 - sigma_i^2)^2 ).

Here, as in the released scripts, means over the batch stand inside the logarithms and a mean over the parameters
outside: L / P less a constant, with the same gradients up to the factor P, but a value that depends neither on
the batch size nor on the number of parameters. The logarithm acts on a sum over maps, so losses of chunks cannot be
averaged: `moment_sums` of the chunks are added up first.

A target that is not known (NaN) leaves its map out of the means of that parameter alone, and a parameter of which no
target is known is left out of the mean over the parameters. So an output may be trained by some sources only, where
the parameters of others mean something else.

References:
    Jeffrey & Wandelt 2020, arXiv:2011.05991 (moment networks); Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from fieldlevel.errors import UserError

StdFrom = Literal["square", "softplus"]

STD_FROM: Mapping[StdFrom, Callable[[Tensor], Tensor]] = {"square": torch.square, "softplus": functional.softplus}
"""What makes a standard deviation of an output of the network, which may have either sign.

The square, of the released networks, vanishes where the output changes its sign. No gradient drives it through there:
the sign that an output has for a map is left to chance, and where the signs of similar maps differ, some map in between
has a standard deviation near zero. Softplus is positive everywhere.
"""


def check_std_from(name: str) -> None:
    """Refuse a name that is not in `STD_FROM`.

    Raises:
        UserError: with the names that are.
    """
    if not isinstance(name, str) or name not in STD_FROM:
        raise UserError(f"std_from = {name}: allowed are {' and '.join(STD_FROM)}")


def moment_sums(mean: Tensor, std: Tensor, theta: Tensor) -> Tensor:
    """Sum the two squared errors of the loss over maps, in float32 whatever the precision of the network.

    Args:
        mean: posterior means, shape (b, P).
        std: posterior standard deviations, shape (b, P).
        theta: true parameters, shape (b, P); NaN where they are not known.

    Returns:
        Sums of (theta - mu)^2 and of ((theta - mu)^2 - sigma^2)^2 over the maps with a known target, and their number,
        shape (3, P). Sums of the parts of a set add up to the sums of the set.

    Raises:
        UserError: shapes that disagree or are not (b, P).
    """
    _check_shapes(mean=mean, std=std, theta=theta)
    mean, theta = mean.float(), theta.float()
    known = theta.eq(theta)
    squared_error = (theta.where(known, mean.detach()) - mean).square()
    variance_error = (squared_error - std.float().square()).square() * known
    return torch.stack([squared_error.sum(0), variance_error.sum(0), known.sum(0, dtype=torch.float32)])


def _check_shapes(**moments: Tensor) -> None:
    """Refuse what PyTorch would broadcast."""
    for name, value in moments.items():
        if not isinstance(value, Tensor):
            raise UserError(f"{name} is {type(value).__name__}: give a tensor of shape (b, P)")
    shapes = {name: tuple(value.shape) for name, value in moments.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 2 or 0 in shape for shape in shapes.values()):
        told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise UserError(f"moments of shapes {told}: all must be (b, P), b maps and P parameters, at least one of each")


def loss_from_sums(sums: Tensor) -> Tensor:
    """Loss of a set of maps from the sums over it.

    Args:
        sums: what `moment_sums` returns, added up over all parts of the set, shape (3, P); without its second row,
            (2, P), for the warm-up, in which the means settle before the standard deviations are fitted.

    Returns:
        Scalar: mean over the parameters with a known target of the sum of both logarithms; 0 if there are none.
    """
    errors, n_maps = sums[:-1], sums[-1]
    logarithms = ((errors + n_maps.eq(0)) / n_maps.clamp(min=1)).log()
    return logarithms.sum(0).sum() / torch.count_nonzero(n_maps).clamp(min=1)


def moment_loss(mean: Tensor, std: Tensor, theta: Tensor) -> Tensor:
    """Loss of one batch.

    Args:
        mean: posterior means, shape (b, P).
        std: posterior standard deviations, shape (b, P).
        theta: true parameters, shape (b, P); NaN where they are not known.

    Returns:
        Scalar, float32.

    Raises:
        UserError: shapes that disagree or are not (b, P).

    Example:
        >>> moment_loss(torch.zeros(4, 6), torch.zeros(4, 6), torch.ones(4, 6)).item()
        0.0
    """
    return loss_from_sums(moment_sums(mean, std, theta))
