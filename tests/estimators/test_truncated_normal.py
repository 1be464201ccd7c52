"""Truncated normals have the moments that they are asked for, wherever on the unit interval these lie."""

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from fieldlevel.estimators.truncated_normal import (
    LEAST_STD,
    UNIFORM_STD,
    Parent,
    inverse_log_ndtr,
    nearest_moments,
    parent_of,
    widest_std,
)

# Of means in units of the standard deviation, and of standard deviations.
MOMENTS = 1e-6
# Of probabilities and quantiles, where the parent is a thousand times wider than the interval.
ROUNDING = 1e-6


def grid() -> tuple[Tensor, Tensor]:
    """Means over the prior, with standard deviations from tiny to the widest that there is, (n,) each."""
    means = torch.cat([torch.tensor([1e-5, 1e-3]), torch.linspace(0.01, 0.99, 50), torch.tensor([1 - 1e-4])]).double()
    parts = torch.tensor([1e-6, 1e-3, 0.03, 0.1, 0.2, 0.4, 0.7, 0.9, 0.98, 0.999, 1.0 - 2e-6]).double()
    return tuple(each.flatten() for each in torch.broadcast_tensors(means[:, None], parts * widest_std(means)[:, None]))


def integrate(parent: Parent, mean: Tensor, std: Tensor) -> Tensor:
    """Mass, mean and mean square in units of the moments, by pieces of Gauss and Legendre, (3, n)."""
    nodes, weights = (torch.from_numpy(each) for each in np.polynomial.legendre.leggauss(40))
    ends = torch.stack([(mean - 45 * std).clamp(min=0.0), (mean + 45 * std).clamp(max=1.0)])
    total = torch.zeros(3, len(mean), dtype=torch.float64)
    for start in range(40):
        low = ends[0] + (ends[1] - ends[0]) * start / 40
        half = (ends[1] - ends[0]) / 80
        x = low[:, None] + half[:, None] * (1 + nodes)
        mass = Parent(parent.location[:, None], parent.scale[:, None]).log_density(x).exp() * weights * half[:, None]
        t = (x - mean[:, None]) / std[:, None]
        total += torch.stack([mass.sum(1), (mass * t).sum(1), (mass * t.square()).sum(1)])
    return total


def test_moments_are_those_that_were_asked_for():
    mean, std = grid()
    kept = nearest_moments(mean, std)
    is_above = std > LEAST_STD
    assert torch.equal(kept[0], mean)
    torch.testing.assert_close(kept[1][is_above], std[is_above], rtol=MOMENTS, atol=0.0)
    mass, first, second = integrate(parent_of(*kept), *kept)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=MOMENTS, atol=0.0)
    torch.testing.assert_close(first, torch.zeros_like(first), rtol=0.0, atol=MOMENTS)
    torch.testing.assert_close(second.sqrt(), torch.ones_like(second), rtol=MOMENTS, atol=0.0)


def test_far_from_the_edges_the_parent_is_the_normal_itself():
    mean, std = torch.tensor([0.3, 0.5]).double(), torch.tensor([0.03, 1e-7]).double()
    parent = parent_of(mean, std)
    assert torch.equal(parent.location, mean)
    assert torch.equal(parent.scale, std)


def test_scipy_agrees():
    mean, std = (torch.tensor(each).double() for each in ([0.1, 0.5, 0.93], [0.08, 0.25, 0.05]))
    parent = parent_of(mean, std)
    m, s = parent.location.numpy(), parent.scale.numpy()
    theirs = stats.truncnorm(-m / s, (1 - m) / s, m, s)
    np.testing.assert_allclose(theirs.mean(), mean, rtol=MOMENTS)
    np.testing.assert_allclose(theirs.std(), std, rtol=MOMENTS)
    x = torch.tensor([0.07, 0.9, 0.99]).double()
    np.testing.assert_allclose(parent.log_density(x), theirs.logpdf(x.numpy()), rtol=MOMENTS)
    np.testing.assert_allclose(parent.log_cdf(x)[0].exp(), theirs.cdf(x.numpy()), rtol=MOMENTS)


def test_inverse_of_the_logarithmic_distribution_function_is_that_of_scipy():
    tail = torch.logspace(-15, 300, 20_001, dtype=torch.float64)
    body = torch.linspace(0.01, 1000, 20_001, dtype=torch.float64)
    edges = torch.tensor([-torch.inf, 0.0, 1e-18], dtype=torch.float64)
    log_p = torch.cat([-tail, -body, edges])
    expected = special.ndtri_exp(log_p.clamp(max=0.0).numpy())
    np.testing.assert_allclose(inverse_log_ndtr(log_p).numpy(), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("p", [1e-9, 1e-3, 0.25, 0.5, 0.9, 1 - 1e-6])
def test_quantiles_are_the_inverse_of_the_distribution_function(p):
    mean, std = grid()
    parent = parent_of(*nearest_moments(mean, std))
    log_p, log_q = torch.full_like(mean, p).log(), torch.log1p(-torch.full_like(mean, p))
    x = parent.quantile(log_p, log_q)
    assert bool(((x >= 0) & (x <= 1)).all())
    below, above = parent.log_cdf(x)
    is_plain = std > 1e-7  # below that x itself has too few digits
    torch.testing.assert_close(below.exp()[is_plain], log_p.exp()[is_plain], rtol=0.0, atol=ROUNDING)
    torch.testing.assert_close(above.exp()[is_plain], log_q.exp()[is_plain], rtol=0.0, atol=ROUNDING)


def test_widest_of_each_mean_is_an_exponential():
    rates = torch.tensor([0.05, 1.0, 7.0, 300.0]).double()
    theirs = stats.truncexpon(rates.numpy(), scale=1 / rates.numpy())
    np.testing.assert_allclose(widest_std(torch.from_numpy(theirs.mean())), theirs.std(), rtol=1e-4)
    assert widest_std(torch.tensor(0.5).double()).item() == pytest.approx(UNIFORM_STD, rel=1e-12)


@pytest.mark.parametrize(
    ("mean", "std", "nearest"),
    [
        (0.4, 0.9, (0.4, 0.2782)),
        (0.5, 0.3, (0.5, 0.2887)),
        (-0.5, 0.02, (0.01, 0.01)),
        (1.7, 0.0, (1.0, 5e-9)),
        (0.01, 0.02, (0.01, 0.01)),
        (0.3, 0.0, (0.3, 1e-8)),
    ],
)
def test_answers_that_no_truncated_normal_has_become_the_nearest(mean, std, nearest):
    found = nearest_moments(torch.tensor(mean).double(), torch.tensor(std).double())
    assert [each.item() for each in found] == pytest.approx(list(nearest), rel=2e-3)
    again = nearest_moments(*found)
    assert torch.equal(torch.stack(again), torch.stack(found))
    assert integrate(parent_of(*(each[None] for each in found)), *(each[None] for each in found))[0] == pytest.approx(
        1.0
    )


def test_density_is_zero_outside():
    parent = parent_of(torch.tensor([0.1, 0.9]).double(), torch.tensor([0.08, 0.08]).double())
    assert parent.log_density(torch.tensor([-1e-9, 1.0 + 1e-9], dtype=torch.float64)).isneginf().all()
