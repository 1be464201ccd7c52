r"""How unusual a set of maps is, given the answers of the network: a permutation test by simulation.

Every map has a row of S numbers: what is measured of it less what is expected given the answers, of unit variance and
uncorrelated over the training maps, and rotated so that the means over the maps of one simulation are uncorrelated too;
their variance is then \(\beta_i + (1 - \beta_i) / b\) for means over b maps. A set of M simulations has

$$ T = |z|^2 / \sqrt{8 S} + \max_c (z \cdot d_c)^2, \qquad
   z_i = \frac{\bar u_i - \bar v_i}{\sqrt{(\beta_i + (1 - \beta_i) / b) (1 / M + 1 / K)}}, $$

of the distance of its mean from that of the K held-out simulations, in all directions and in those that are known to
matter (`alterations`), along and against them. It is compared with those of random choices of as many held-out
simulations, of as many maps each, against the others, scaled to the numbers of both. Simulations are exchangeable where
maps of one simulation are not, so they are what is chosen.

The regression on the answers is not perfect, and what it lacks at one cosmology does not average out over simulations
of that cosmology. So a set counts as \(1 + \rho (M - 1)\) simulations, where \(\rho\) is twice the variance of its
answers over that of the held-out simulations, at most 1: a set at one cosmology, however large, is compared with single
simulations.

A network of several sources may be believed on maps of any one of these, which are not like all of them together. So a
set is compared with the held-out maps of each source as well as with all, and p is the largest that is found: sets of
one source are called unlike no more often than beside its maps alone. Likewise of a network whose training maps were
smoothed by many widths: a set is also compared with those maps of each held-out simulation that were smoothed most
nearly as it was, so that what the regression lacks at one width is not taken for a difference.

References:
    Compared with the two-sample tests of Gretton et al. 2012 (JMLR 13, 723) and PQMass (arXiv:2402.04355), it knows
    which directions vary from simulation to simulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.inference.trust.single import conformal_p

FEWEST_HELD_OUT = 5
"""Simulations, below which nothing can be said."""
N_NEAR = 4
"""Maps of a simulation that others of their width are compared with."""
N_CHOICES = 999
"""Of held-out simulations."""
_SMALL = 1e-6
_MARGIN = 2.0
_BREADTH = 2.0
"""Standard deviation of squared lengths of rows over that of independent normal numbers: 2.4 of single maps, 1.7 to 3.9
of sets, as measured."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What is compared of n maps.

    Attributes:
        rows: of unit variance over the training maps, (n, S).
        answers: of the network in units of the prior, means first, (n, 2P).
        simulation: number of the simulation of each map, (n,).
        group: number of the source of the training that each map is of, (n,); zeros where there is one alone.
        width: by which each was smoothed, as it seems [pixels], (n,); zeros where the training knew no widths.
    """

    rows: FloatArray
    answers: FloatArray
    simulation: IntArray
    group: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    width: FloatArray = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        n = len(self.simulation)
        for name, kind in (("group", np.int64), ("width", np.float64)):
            if not len(getattr(self, name)):
                object.__setattr__(self, name, np.zeros(n, dtype=kind))
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} of {len(getattr(self, name))} maps, of {n}")

    @classmethod
    def joined(cls, parts: "Sequence[Rows]") -> "Rows":
        """The maps of several, one after the other."""
        return cls(*(np.concatenate([getattr(part, each.name) for part in parts]) for each in fields(cls)))

    def chosen(self, maps: IntArray | npt.NDArray[np.bool_]) -> "Rows":
        """Some of the maps: their numbers, or whether each is one."""
        return Rows(*(getattr(self, each.name)[maps] for each in fields(self)))

    @property
    def n_simulations(self) -> int:
        """Of which the maps are."""
        return len(np.unique(self.simulation))

    def by_group(self) -> "list[Rows]":
        """The maps of each group; nothing where there is one alone."""
        groups = np.unique(self.group)
        return [self.chosen(self.group == group) for group in groups] if len(groups) > 1 else []

    def near(self, width: float) -> IntArray:
        """Which few maps of each simulation were smoothed most nearly by a width [pixels]."""
        order = np.lexsort((np.abs(self.width - width), self.simulation))
        first = np.searchsorted(self.simulation[order], self.simulation[order])
        return order[np.arange(len(order)) - first < N_NEAR]

    def by_simulation(self) -> list[FloatArray]:
        """Rows of each simulation."""
        return [self.rows[self.simulation == number] for number in np.unique(self.simulation)]

    def spread(self) -> float:
        """Variance of the mean answers of the simulations, summed over the parameters."""
        means = self.answers[:, : self.answers.shape[1] // 2]
        each = [means[self.simulation == number].mean(0) for number in np.unique(self.simulation)]
        return float(np.var(each, axis=0).sum())


def effective_number(given: Rows, held_out: Rows) -> int:
    r"""Simulations that a set counts as, \(1 + \rho (M - 1)\), at most half of those held out.

    Of twice the variance of its answers, so that random sets of simulations like the held-out ones count in full.
    """
    n = given.n_simulations
    share = min(_MARGIN * given.spread() / max(held_out.spread(), _SMALL), 1.0)
    return int(min(1 + share * (n - 1), max(held_out.n_simulations // 2, 1)))


def unusualness(rows: FloatArray, directions: FloatArray, variance: FloatArray) -> FloatArray:
    """Squared length and squared reach along or against a known direction, each in what is usual of own rows.

    Args:
        rows: (n, S).
        directions: (S, D).
        variance: of each number, (S,).

    Returns:
        (n,).
    """
    length = (rows**2 / variance).sum(1) / (_BREADTH * np.sqrt(2 * rows.shape[1]))
    if directions.shape[1] == 0:
        return np.asarray(length)
    reach = rows @ directions / np.sqrt(variance @ directions**2)
    return np.asarray(length + np.abs(reach).max(1) ** 2)


def set_p(given: Rows, held_out: Rows, between: FloatArray, directions: FloatArray) -> float:
    """P-value of a set of maps, the largest beside all held-out ones and those of each group of enough simulations.

    Args:
        given: the set.
        held_out: maps of simulations that the network has not been trained on.
        between: share of the variance of each number that the maps of one simulation have in common, (S,).
        directions: to look in, (S, D).

    Returns:
        Above zero, at most 1.
    """
    known = [held_out, *(each for each in held_out.by_group() if each.n_simulations >= FEWEST_HELD_OUT)]
    if held_out.width.any():
        width = float(np.median(given.width))
        known = [held_out, *(each.chosen(each.near(width)) for each in known)]
    return max(_set_p(given, each, between, directions) for each in known)


def _set_p(given: Rows, held_out: Rows, between: FloatArray, directions: FloatArray) -> float:
    """Beside these held-out maps alone."""
    random = np.random.default_rng(0)
    known, groups = held_out.by_simulation(), given.by_simulation()
    n = effective_number(given, held_out)
    b = min(round(float(np.median([len(group) for group in groups]))), *map(len, known))
    variance = between + (1 - between) / b
    means, own = _means(known, b, random), _means(groups, b, random)
    chosen, n_others = _choices(len(known), n, random), len(known) - n
    differences = chosen / n @ means - (1 - chosen) / n_others @ means
    usual = unusualness(differences, directions, variance * (1 / n + 1 / n_others))
    difference = own.mean(0) - means.mean(0)
    found = unusualness(difference[None], directions, variance * (1 / n + 1 / len(known)))
    return float(conformal_p(found, usual, np.arange(len(usual)))[0])


def _means(groups: list[FloatArray], b: int, random: np.random.Generator) -> FloatArray:
    """Mean row of at most b maps of each simulation."""
    return np.stack([group[random.permutation(len(group))[:b]].mean(0) for group in groups])


def _choices(n_known: int, n: int, random: np.random.Generator) -> FloatArray:
    """Indicators of n of the simulations, each by itself where n is 1, (choices, n_known)."""
    if n == 1:
        return np.eye(n_known)
    ranks = random.random((N_CHOICES, n_known)).argsort(axis=1).argsort(axis=1)
    return (ranks < n).astype(float)
