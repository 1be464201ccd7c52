"""What a robustness study found, in sentences that are computed from its numbers."""

from collections.abc import Iterator

from fieldlevel.study.robustness.fold_measures import Measures, worst
from fieldlevel.study.robustness.robust_methods import on_all_suites
from fieldlevel.study.robustness.robustness_document import headline, ratios_of
from fieldlevel.study.robustness.robustness_results import CHOSEN, RobustnessResults
from fieldlevel.study.robustness.robustness_verdicts import (
    ADAPTED_RATIO,
    HONEST_COVERAGE,
    HONEST_WIDTH,
    OWN_COST,
    ROBUST_RATIO,
    TELLING_CHI2,
    judge_left_out,
)
from fieldlevel.study.robustness.roles import ALL_TARGET, k_target
from fieldlevel.study.verdict import INFERENCE_R2, above
from fieldlevel.wording import joined

MOST_TOLD = 2
"""Parameters that answers follow."""

DEFINITIONS = (
    f"Robust: RMSE at most {ROBUST_RATIO} times that of the oracle. Honest: 68% intervals with transfer error bars "
    f"hold at least {HONEST_COVERAGE:.0%} of the truths and are at most {HONEST_WIDTH} times as wide as the oracle's. "
    f"Flagged: χ² above {TELLING_CHI2}, and the network's own set test says so. Silent failure: none of these. All "
    "beyond the errors of a bootstrap over simulations; undecided where these are too large, or something was not done."
)


def summarise_robustness(results: RobustnessResults, measures: Measures) -> Iterator[str]:
    """What became of each left-out suite, and the worst numbers beside their bounds."""
    method = headline(measures)
    if not method:
        yield "Leave one suite out was not done: nothing here is about a suite that networks on several have not seen."
    else:
        words = judge_left_out(results, measures, method)
        told = ", ".join(f"{suite} ({fold.word})" for suite, fold in words.items())
        how = "the method that inner leave-one-out chose" if method == CHOSEN else f"the method {method}"
        yield f"Left out in turn, networks trained by {how}: {told}."
        if (ratio := worst(ratios_of(measures.left_out[method].values()))) is not None:
            yield f"Worst RMSE over the oracle's without maps of the suite: {ratio.interval()}; aim {ROBUST_RATIO}."
        yield from _why(results, measures, method)
    adapted = [f for roles in measures.adapted.values() for role, f in roles.items() if role.detail == ALL_TARGET]
    if (ratio := worst(ratios_of(adapted))) is not None:
        yield f"Worst ratio with all maps of the suite without labels: {ratio.interval()}; aim {ADAPTED_RATIO}."
    for name, suites in measures.own_cost.items():
        if (ratio := worst(ratios_of(suites.values()))) is not None:
            told = f"{on_all_suites(name)} ({name}) over single-suite networks: {ratio.interval()}"
            yield f"Worst RMSE of {told}; aim {OWN_COST}."
    if ignorant := sorted({suite for suite, p in _ignorant(measures)}):
        yield (
            f"The networks of {', '.join(ignorant)} know too little of their own suite (R² not above {INFERENCE_R2} "
            "beyond its error) for ratios to them to mean anything: train longer, or on more simulations."
        )
    seeds = len({pair.seed for pairs in results.tested.values() for pair in pairs})
    (first, *_), *_ = (pairs for role, pairs in results.tested.items() if role.kind == "matrix")
    n = first.predictions.n_simulations
    yield f"{len(results.suites)} suites, {n} test simulations each, {seeds} seed{'s' * (seeds != 1)}."


def _why(results: RobustnessResults, measures: Measures, method: str) -> Iterator[str]:
    """What the answers follow where they are not robust, of the parameter that is farthest from it."""
    for suite, verdict in judge_left_out(results, measures, method).items():
        found, fold = measures.shifts.get(method, {}).get(suite, {}), measures.left_out[method][suite]
        name = max(fold, key=lambda each: fold[each].ratio.value)
        if verdict.robust[1] != "fails" or name not in found:
            continue
        told = f"On {suite} the answers for {name} are {found[name].shift.text()} of the oracle's σ away from its own"
        follows = [f"{each} ({slope.text()} σ over its range)" for each, slope in found[name].telling[:MOST_TOLD]]
        share = f"{found[name].explained:.0%} of what they differ by from simulation to simulation follows"
        yield f"{told}; {share} its parameters{', most of all ' + joined(follows) if follows else ''}."


def _ignorant(measures: Measures) -> Iterator[tuple[str, str]]:
    """Suites and parameters of whose oracles nothing follows."""
    for (trained, tested), fold in measures.matrix.items():
        for name, each in fold.items():
            if trained == tested and above(each.oracle_r2, INFERENCE_R2) != "holds":
                yield tested, name


def limits_of(results: RobustnessResults) -> Iterator[str]:
    """What follows from such a study and what does not."""
    n = len(results.suites)
    yield (
        f"{n} suites are {n} baryon models that people chose. What holds on each left-out one reduces the error on "
        "unseen mechanisms of this kind; it does not make a network robust to baryons."
    )
    yield (
        f"If suites were exchangeable, error bars that hold on all {n - 1} others would hold on one more with a "
        f"probability of {n - 1}/{n} at most."
    )
    if results.is_mock:
        yield "All maps are stand-ins: nothing here is about CAMELS, or about real simulations of galaxies."
    if not results.set_p:
        yield "No network has a reference for the set test of trust: whether failures are flagged is not known."
    known = {role.detail for role in results.tested}
    if lacking := [str(k) for k in results.spec.k if results.adapting and k_target(k) not in known]:
        told = f"Adaptation with k = {', '.join(lacking)} was left out"
        yield f"{told}: there are fewer simulations, or they have less maps than a batch needs."
    if n == 3:
        yield (
            "Three suites leave one to train on in the inner leave-one-out: methods cannot be chosen there, and "
            "transfer error bars follow from single-suite networks."
        )
    if any(parameter.name not in ("Omega_m", "sigma_8") for parameter in results.parameters):
        yield f"Judged are {', '.join(results.names)}."
