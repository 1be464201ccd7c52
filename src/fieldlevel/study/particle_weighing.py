"""What networks say of maps that differ in the number of particles alone: errors, and shifts on the same simulations.

A network that weighs single particles takes half of them with twice the mass each for a universe of another Omega_m.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.paired_shift import coverage_within, paired_shift, scatter_of_simulations
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.study.numerics_sets import NumericsSet, parse_numerics_set

WEIGHED = {
    "bias": "bias",
    "rmse": "RMSE",
    "reduced_chi2": "reduced χ²",
    "coverage": "truths within σ",
    "shift": "shift",
    "shift_in_std": "shift / mean σ",
}
"""What is measured of each set, and what it is called in tables."""


@dataclass(frozen=True)
class Weighing:
    """What became of one parameter on a set.

    Attributes:
        bias: mean error, in units of the parameter.
        rmse: in units of the parameter.
        reduced_chi2: mean squared error in units of the claimed one.
        coverage: fraction of the truths within one claimed standard deviation.
        shift: mean shift from the base set on the same simulations, in units of the parameter.
        shift_in_std: the same over the mean standard deviation on the base set.
        scatter: standard deviation over simulations of the mean error.
        mean_std: mean claimed standard deviation.
    """

    bias: Estimate
    rmse: Estimate
    reduced_chi2: Estimate
    coverage: Estimate
    shift: Estimate
    shift_in_std: Estimate
    scatter: float
    mean_std: float


@dataclass(frozen=True)
class WeighedSet:
    """A network on a set.

    Attributes:
        suite: that it was trained and tested on.
        train_set: set that it was trained on.
        test_set: set that it was tested on.
        told: what the name of the latter tells.
        density: particles over those of the base set; None where it is not known.
        is_doubled: whether twice as many particles a side were simulated, and all kept.
        n_simulations: that were tested.
        parameters: what became of each.
        smoothing: of all maps, those of the training too, in pixels.
    """

    suite: str
    train_set: str
    test_set: str
    told: NumericsSet
    density: float | None
    is_doubled: bool
    n_simulations: int
    parameters: Mapping[str, Weighing]
    smoothing: float = 0.0

    @property
    def network(self) -> str:
        """What it was trained on, in words."""
        smoothed = f", smoothed by {self.smoothing:g} px" if self.smoothing else ""
        return f"{self.suite} {self.train_set}{smoothed}"

    @property
    def is_base(self) -> bool:
        """Whether the set has all the particles of its own."""
        return self.test_set == self.told.base

    @property
    def is_halved(self) -> bool:
        """Whether half of all particles were taken out."""
        return self.told.is_random and self.told.fraction == 1 / 2


def weigh(
    tested: Sequence[PairResult], names: Sequence[str], n_particles: Mapping[str, int | None], smoothing: float = 0.0
) -> tuple[WeighedSet, ...]:
    """What networks say of sets, each beside its base.

    Args:
        tested: networks on sets and on the bases of these; sets without are left out.
        names: of the parameters.
        n_particles: a side, of the bases, by suite.
        smoothing: of all maps, in pixels.

    Returns:
        One for each network and set, by training set and suite.
    """
    known = {(each.train_suite, each.train_set, each.test_set): each for each in tested}
    order = {suite: place for place, suite in enumerate(dict.fromkeys(each.train_suite for each in tested))}
    sets = dict.fromkeys(each.train_set for each in tested)
    found = []
    for result in sorted(tested, key=lambda each: (list(sets).index(each.train_set), order[each.train_suite])):
        told = parse_numerics_set(result.test_set)
        base = known.get((result.train_suite, result.train_set, told.base))
        if base is not None:
            weighed = _weighed(base, result, told, names, n_particles.get(result.train_suite))
            found.append(replace(weighed, smoothing=smoothing))
    return tuple(found)


def _weighed(
    base: PairResult, result: PairResult, told: NumericsSet, names: Sequence[str], n_base: int | None
) -> WeighedSet:
    only_number = told.fraction == 1 and told.n_particles is not None
    return WeighedSet(
        result.train_suite,
        result.train_set,
        result.test_set,
        told,
        told.density(n_base),
        only_number and n_base is not None and told.n_particles == 2 * n_base,
        result.predictions.n_simulations,
        {name: _of_parameter(base, result, name) for name in names},
    )


def _of_parameter(base: PairResult, result: PairResult, name: str) -> Weighing:
    scores, moved = result.scores[name], paired_shift(base.predictions, result.predictions, name)
    return Weighing(
        scores["bias"],
        scores["rmse"],
        scores["reduced_chi2"],
        coverage_within(result.predictions, name),
        moved.shift,
        moved.in_std,
        scatter_of_simulations(result.predictions, name),
        float(np.mean(result.predictions.moments_of(name)[2])),
    )
