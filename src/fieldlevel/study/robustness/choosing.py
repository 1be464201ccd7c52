"""Which method, with which hyper-parameters: chosen for each left-out suite without a look at it.

The score of a candidate is the geometric mean, over the suites that are left out in turn among the others and over the
parameters, of its RMSE in units of the prior; the lowest is best. Three suites leave networks on one suite alone to
compare, where methods of several suites are nothing: all have the same score then, and pooling, which comes first, is
called best. A candidate of which one network diverged has an infinite score.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fieldlevel.layout import Parameter
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.study.robustness.robust_methods import POOLED
from fieldlevel.study.robustness.robustness_spec import MethodOptions
from fieldlevel.study.robustness.roles import Role

Tested = Mapping[Role, Sequence[PairResult]]
"""What came out, by what the networks are for: one for each seed and tested suite."""


@dataclass(frozen=True)
class Choice:
    """What inner leave-one-out found for one left-out suite.

    Attributes:
        target: the suite.
        scores: of each candidate, by its label: geometric mean of RMSE in units of the prior; infinite where a network
            diverged.
        ranked: the best candidate of each method, the best method first.
    """

    target: str
    scores: Mapping[str, float]
    ranked: tuple[MethodOptions, ...]

    @property
    def told_scores(self) -> dict[str, float | None]:
        """The scores, None where a network diverged."""
        return {label: score if math.isfinite(score) else None for label, score in self.scores.items()}

    @property
    def best(self) -> MethodOptions:
        """The best of all, which may be pooling."""
        return self.ranked[0]

    def has_diverged(self, candidate: MethodOptions) -> bool:
        """Whether a network of a candidate did."""
        return math.isinf(self.scores.get(candidate.label, 0.0))

    def of(self, method: str) -> MethodOptions:
        """The best candidate of a method."""
        return next(each for each in self.ranked if each.method == method)


def choose(
    target: str, candidates: Sequence[MethodOptions], tested: Tested, parameters: Sequence[Parameter], detail: str = ""
) -> Choice:
    """Rank candidates by their errors on the suites that were left out among the others.

    Args:
        target: the suite that no network of the choice has seen.
        candidates: that were compared; earlier ones win a draw.
        tested: all that was tested.
        parameters: that count.
        detail: of the roles.
    """
    scores = {each.label: _score(target, each, tested, parameters, detail) for each in candidates}
    ordered = sorted(candidates, key=lambda each: scores[each.label])
    first: dict[str, MethodOptions] = {}
    for each in ordered:
        first.setdefault(each.method, each)
    return Choice(target, scores, tuple(first.values()))


def _score(
    target: str, candidate: MethodOptions, tested: Tested, parameters: Sequence[Parameter], detail: str
) -> float:
    found = [
        results
        for role, results in tested.items()
        if (role.kind, role.method, role.detail) == ("choice", candidate.label, detail) and role.suites[1] == target
    ]
    if not found or not all(found):
        return math.inf
    errors = [
        METRICS["rmse"](*pair.predictions.moments_of(each.name)) / (each.high - each.low)
        for results in found
        for pair in results
        for each in parameters
    ]
    return float(np.exp(np.mean(np.log(np.maximum(errors, np.finfo(float).tiny)))))


def without_diverged(choices: Mapping[str, Choice]) -> dict[str, Choice]:
    """The choices without methods of which, for one left-out suite, all candidates diverged; pooling stays.

    Such a method is the best of no suite, as all that are taken are trained for every left-out suite.
    """
    wrong = {each.method for choice in choices.values() for each in choice.ranked if choice.has_diverged(each)}
    wrong.discard(POOLED)
    return {
        suite: replace(choice, ranked=tuple(each for each in choice.ranked if each.method not in wrong))
        for suite, choice in choices.items()
    }


def full_size(choices: Sequence[Choice], n_best: int) -> tuple[str, ...]:
    """Methods to train at full size, the same in all folds: pooling, the best other one of each, then the next in rank.

    Args:
        choices: of all folds.
        n_best: so many others, more where more are the best of a fold; 0 for none.

    Example:
        >>> from fieldlevel.study.robustness.robustness_spec import MethodOptions
        >>> ranked = [[MethodOptions(name) for name in names] for names in (("mmd", "vrex", "pooled"), ("mmd", "dro"))]
        >>> full_size([Choice("A", {}, tuple(ranked[0])), Choice("B", {}, tuple(ranked[1]))], 2)
        ('pooled', 'mmd', 'vrex')
    """
    named = [[each.method for each in choice.ranked if each.method != POOLED] for choice in choices]
    if n_best == 0:
        return (POOLED,)
    ranks = [dict.fromkeys(row) for row in zip(*named, strict=False)]
    ordered = tuple(dict.fromkeys(method for rank in ranks for method in rank))
    return (POOLED, *ordered[: max([n_best, *map(len, ranks[:1])])])


def over_all(choices: Sequence[Choice], candidates: Sequence[MethodOptions], method: str) -> MethodOptions:
    """The candidate of a method with the lowest scores over all folds: for networks that leave nothing out."""
    own = [each for each in candidates if each.method == method]
    if len(own) == 1:
        return own[0]
    return min(own, key=lambda each: sum(np.log(choice.scores[each.label]) for choice in choices))
