"""What a robustness study claims, written before the numbers, and what became of it.

A network on a suite that it has never seen is, beyond the errors of the bootstrap (`study.verdict`),

* **robust** where its RMSE is at most 1.25 times that of the oracle, of the same recipe, rows and steps, that was
  trained on that suite;
* **honest** where the central 68% of its posteriors, with transfer error bars by a rule that knows nothing of the suite
  (`fold_measures`), hold at least 63% of the truths, and these bars are at most 1.5 times as wide as the oracle's;
* **flagged** where its reduced chi^2 is above 1.5 and the set test of `inference.trust` calls the maps unlike those of
  the training, at 5% of false alarms;
* a **silent failure** where it is none of these.

To be as good as an oracle that knows nothing means nothing: claims about ratios hold only where the oracle's R^2 is
above 0.5 beyond its error; to be worse than it is a failure always.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.study.robustness.fold_measures import Fold, FoldMeasure, Measures
from fieldlevel.study.robustness.robust_methods import POOLED, on_all_suites
from fieldlevel.study.robustness.robustness_results import CHOSEN, RobustnessResults
from fieldlevel.study.robustness.roles import ALL_TARGET, PERMUTED_SUITES, ZERO_WEIGHT, Role
from fieldlevel.study.verdict import (
    INFERENCE_R2,
    Finding,
    Outcome,
    Verdict,
    above,
    all_hold,
    any_holds,
    at_most,
    conclude,
    finding,
)

ROBUST_RATIO, ADAPTED_RATIO, OWN_COST = 1.25, 1.15, 1.2
HONEST_COVERAGE, HONEST_WIDTH = 0.63, 1.5
TELLING_CHI2, FALSE_ALARMS = 1.5, 0.05

_KNOWS = f"the oracle's R² above {INFERENCE_R2}"
_LETTER = "–"


@dataclass(frozen=True)
class FoldVerdict:
    """What networks by a method are on one left-out suite.

    Attributes:
        robust: by their error.
        honest: by their error bars.
        flagged: by their own set test; None where there is nothing to flag.
    """

    robust: Finding
    honest: Finding
    flagged: Finding | None

    @property
    def word(self) -> str:
        """`robust`, `honest`, `flagged`, all that hold; else `silent failure` or `undecided`."""
        named = {"robust": self.robust, "honest": self.honest, "flagged": self.flagged}
        held = [word for word, found in named.items() if found is not None and found[1] == "holds"]
        silent = self.not_silent == "fails"
        return ", ".join(held) or ("silent failure" if silent else "undecided")

    @property
    def not_silent(self) -> Outcome:
        """Whether it is at least one of the three."""
        return any_holds(found[1] for found in (self.robust, self.honest, self.flagged) if found is not None)


def judge_fold(fold: Fold, set_p: float | None) -> FoldVerdict:
    """Judge networks on one suite that they have not seen.

    Args:
        fold: measures by parameter.
        set_p: p-value of the set test; None where there is none.
    """
    return FoldVerdict(_robust(fold, ROBUST_RATIO), _honest(fold), _flagged(fold, set_p))


def _joined(fold: Fold, judge: Callable[[FoldMeasure], Finding]) -> Finding:
    """The findings of all parameters together."""
    found = {name: judge(each) for name, each in fold.items()}
    return "; ".join(f"{name} {text}" for name, (text, _) in found.items()), all_hold(o for _, o in found.values())


def _robust(fold: Fold, bound: float) -> Finding:
    return _joined(fold, lambda each: _ratio(each, each.ratio, bound))


def _apart(folds: Mapping[str, Fold], judge: Callable[[FoldMeasure], Finding]) -> dict[str, Finding]:
    """The finding of each parameter by itself, by where it was measured."""
    return {f"{where} {name}": judge(each) for where, fold in folds.items() for name, each in fold.items()}


def _ratio(each: FoldMeasure, ratio: Estimate, bound: float) -> Finding:
    error = each.scores["rms_relative_error"].text(percent=True)
    text = f"{ratio.interval()} times the oracle's, {error}"
    outcome = at_most(ratio, bound)
    if outcome != "fails" and above(each.oracle_r2, INFERENCE_R2) != "holds":
        return f"{text} (not judged: the oracle's R² is {each.oracle_r2.interval()})", "undecided"
    return finding(text, outcome)


def _honest(fold: Fold) -> Finding:
    return _joined(fold, _honest_parameter)


def _honest_parameter(each: FoldMeasure) -> Finding:
    if each.transfer_coverage is None or each.transfer_width is None:
        return "no transfer error bars", "undecided"
    covered, width = each.transfer_coverage, each.transfer_width
    text = f"coverage {covered.interval()}, width {width.text()} times the oracle's"
    outcomes = (above(covered, HONEST_COVERAGE), at_most(width, HONEST_WIDTH))
    return finding(text, all_hold(outcomes))


def _flagged(fold: Fold, set_p: float | None) -> Finding | None:
    """None where no chi^2 is above the bound; one that may be below it, within its error, is no failure."""
    found = [each.scores["reduced_chi2"] for each in fold.values()]
    worst = max(found, key=lambda each: each.value)
    if not worst.value > TELLING_CHI2:
        return None
    text = f"χ² {worst.text()}"
    if set_p is None:
        return f"{text}, set test not done: no reference beside the networks", "undecided"
    text = f"{text}, set test p = {set_p:.2g}"
    if set_p < FALSE_ALARMS:
        return text, "holds"
    is_above = any_holds(above(each, TELLING_CHI2) for each in found) == "holds"
    return finding(text, "fails" if is_above else "undecided")


def judge_robustness(results: RobustnessResults, measures: Measures) -> Iterator[Verdict]:
    """All verdicts of a study: of the chosen methods first, then of each method, the adaptation, the cost, controls."""
    for method in sorted(measures.left_out, key=lambda name: name != CHOSEN):
        yield from _left_out(method, measures.left_out[method], judge_left_out(results, measures, method))
    yield from _adapted(measures)
    yield from _cost(measures)
    yield from _controls(results, measures)


def judge_left_out(results: RobustnessResults, measures: Measures, method: str) -> dict[str, FoldVerdict]:
    """What a method is on each suite that was left out."""
    return {
        suite: judge_fold(fold, results.set_p.get((results.left_out(method, suite), suite)))
        for suite, fold in measures.left_out[method].items()
    }


def _told(method: str) -> str:
    return "leave one out, methods chosen" if method == CHOSEN else f"leave one out, {method}"


def _left_out(method: str, measured: Mapping[str, Fold], folds: Mapping[str, FoldVerdict]) -> Iterator[Verdict]:
    name = _told(method)
    yield from conclude(
        f"{name}: robust",
        "On a suite that it has never seen a network errs hardly more than one that was trained there.",
        f"RMSE at most {ROBUST_RATIO} times the oracle's on every left-out suite, beyond the error; {_KNOWS}",
        _LETTER,
        _apart(measured, lambda each: _ratio(each, each.ratio, ROBUST_RATIO)),
    )
    honest = {suite: fold.honest for suite, fold in folds.items()}
    most = max(1, len(folds) - 1)
    yield Verdict(
        f"{name}: honest",
        "Its error bars hold there, once what leave-one-out among its own suites asks for is added.",
        f"coverage of 68% intervals at least {HONEST_COVERAGE} and width at most {HONEST_WIDTH} times the oracle's, "
        f"beyond the errors, on at least {most} of {len(folds)} left-out suites",
        "; ".join(f"{suite}: {text}" for suite, (text, _) in honest.items()),
        _LETTER,
        at_least(most, [outcome for _, outcome in honest.values()]),
        _apart(measured, _honest_parameter),
    )
    flagged = {suite: fold.flagged for suite, fold in folds.items() if fold.flagged is not None}
    yield from conclude(
        f"{name}: flagged",
        "Where its error bars are wrong it says so.",
        f"set test below p = {FALSE_ALARMS} wherever a reduced χ² is above {TELLING_CHI2}",
        _LETTER,
        flagged,
    )
    yield from conclude(
        f"{name}: no silent failure",
        "On every left-out suite it is robust, honest or flagged.",
        "at least one of the three for each suite",
        _LETTER,
        {suite: (fold.word, fold.not_silent) for suite, fold in folds.items()},
    )


def at_least(n: int, outcomes: list[Outcome]) -> Outcome:
    """Whether so many hold.

    Example:
        >>> at_least(3, ["holds", "holds", "holds", "fails"]), at_least(3, ["holds", "holds", "undecided", "fails"])
        ('holds', 'undecided')
    """
    if outcomes.count("holds") >= n:
        return "holds"
    return "fails" if len(outcomes) - outcomes.count("fails") < n else "undecided"


def _adapted(measures: Measures) -> Iterator[Verdict]:
    """Of the adaptation with all maps that there are."""
    found = {
        f"{suite} ({role.method})": fold
        for suite, roles in measures.adapted.items()
        for role, fold in roles.items()
        if role.detail == ALL_TARGET
    }
    yield from conclude(
        "adaptation to all maps without labels",
        "A network that may see maps of the suite, without labels, errs hardly more than one that was taught there.",
        f"RMSE at most {ADAPTED_RATIO} times that of the oracle with equal labelled rows, beyond the error; {_KNOWS}",
        _LETTER,
        _apart(found, lambda each: _ratio(each, each.ratio, ADAPTED_RATIO)),
    )


def _cost(measures: Measures) -> Iterator[Verdict]:
    for method, suites in measures.own_cost.items():
        yield from conclude(
            f"cost on the own suites, {method}",
            f"On each suite {on_all_suites(method)} errs hardly more than the network of that suite alone.",
            f"RMSE at most {OWN_COST} times that of the single-suite network (the oracle), beyond the error; {_KNOWS}",
            _LETTER,
            _apart(suites, lambda each: _ratio(each, each.ratio, OWN_COST)),
        )


def _controls(results: RobustnessResults, measures: Measures) -> Iterator[Verdict]:
    zero = {role: suite for suite, roles in measures.controls.items() for role in roles if role.detail == ZERO_WEIGHT}
    yield from conclude(
        "control: weight zero",
        "A method that is given no weight is pooling.",
        "the same answers to the bit",
        _LETTER,
        {f"{role.method} without {suite}": _is_pooling(results, role, suite) for role, suite in zero.items()},
    )
    permuted = {
        f"{role.method} without {suite}": _loses(fold, measures.left_out[role.method][suite])
        for suite, roles in measures.controls.items()
        for role, fold in roles.items()
        if role.detail == PERMUTED_SUITES and role.method in measures.left_out
    }
    yield from conclude(
        "control: permuted suite labels",
        "What a method gains comes from knowing the suites: told in random order, it errs more.",
        f"RMSE ratio to the oracle above that with true suites, beyond the error, in at least one parameter; {_KNOWS}",
        _LETTER,
        permuted,
    )


def _is_pooling(results: RobustnessResults, role: Role, suite: str) -> Finding:
    """Compare the answers with those of the pooled network of the same seed."""
    pooled_role = Role("leave one out", POOLED, (suite,))
    if pooled_role not in results.tested:
        return "pooling was not done", "undecided"
    (control,) = results.pairs(role, suite)
    pooled = next(pair for pair in results.pairs(pooled_role, suite) if pair.seed == control.seed)
    differences = [
        np.abs(getattr(control.predictions, name) - getattr(pooled.predictions, name)).max() for name in ("mean", "std")
    ]
    largest = float(np.max(differences))
    return f"largest difference {largest:.2g}", "holds" if largest == 0 else "fails"


def _loses(permuted: Fold, true: Fold) -> Finding:
    pairs = {name: (permuted[name].ratio, true[name].ratio) for name in true}
    text = "; ".join(f"{name} {one.interval()}, else {other.interval()}" for name, (one, other) in pairs.items())
    if any(above(each.oracle_r2, INFERENCE_R2) != "holds" for each in true.values()):
        return f"{text} (not judged: the oracle knows too little)", "undecided"
    return finding(text, any_holds(above(one, other.value) for one, other in pairs.values()))
