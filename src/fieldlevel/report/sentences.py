"""What a letter found, in sentences that follow from the numbers and their errors."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.study.keys import NUMERICS, numerics_key
from fieldlevel.study.numerics_sets import training_words
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import SIGNIFICANCE, Outcome
from fieldlevel.suites import is_mock

CONSTRAINED_R2 = 0.1
"""A parameter counts as constrained where R² is above this."""


def summarise(results: LetterResults) -> list[str]:
    """What was done and what came out, a sentence each."""
    pairs = [_pair_sentence(pair, results.judged) for pair in results.pairs]
    return [*pairs, *_weighing_sentences(results)]


def _pair_sentence(pair: PairResult, names: Sequence[str]) -> str:
    where = f"on {pair.test_suite}, which it had never seen" if pair.crosses_suites else "on unseen simulations of it"
    accuracies = " and ".join(f"{name} to {_percent(pair, name)}" for name in names)
    return f"Trained on {pair.train_suite} and tested {where}, the network infers {accuracies}."


def _weighing_sentences(results: LetterResults) -> Iterator[str]:
    """What is known without the number of particles, where that was asked."""
    own_set, name = results.spec.train.set_name, results.judged[0]
    for (smoothing, set_name), pairs in results.remedies.items():
        key = numerics_key("" if set_name == own_set else set_name, smoothing)
        ending = _WEIGHING[_outcome(results, key.label)].format(name=name)
        trained, tested = _maps_in_words(set_name, own_set, smoothing)
        for suite, pair in on_own_suite(pairs).items():
            with_it, without = (
                " and ".join(f"{each} to {_percent(network, each)}" for each in results.judged)
                for network in (pair, results.own[suite])
            )
            yield (
                f"Trained on {suite} {trained}, and tested on {tested}, the network infers {with_it}, "
                f"where the one trained on {own_set} infers {without}; {ending}."
            )
    if not results.remedied_pairs and _outcome(results, NUMERICS) == "fails":
        yield (
            f"The networks weigh particles: what they say of {name} holds for maps of as many particles as those that "
            f"they were trained on; what it is known to without is not told by {own_set}."
        )


def _maps_in_words(set_name: str, own_set: str, smoothing: float) -> tuple[str, str]:
    """That a network was trained on, and that it was tested on."""
    smoothed = f"smoothed by {smoothing:g} px" if smoothing else ""
    parts = (set_name, training_words(set_name) if set_name != own_set else "", smoothed)
    return ", ".join(filter(None, parts)), "maps that are smoothed alike" if smoothing else "maps as they are"


_WEIGHING: Mapping[Outcome, str] = {
    "holds": "it does not weigh particles, so this is what {name} is honestly known to",
    "fails": "it still weighs particles, so {name} is honestly known to less than that",
    "undecided": "whether it weighs particles is not decided, so {name} may be known to less than that",
}


def _outcome(results: LetterResults, experiment: str) -> Outcome:
    found = (verdict.outcome for verdict in results.verdicts if verdict.experiment == experiment)
    return next(found, "undecided")


def _percent(pair: PairResult, name: str) -> str:
    return pair.scores[name]["rms_relative_error"].text(percent=True)


def findings(results: LetterResults) -> Iterator[str]:
    """What the numbers show of every pair."""
    names = results.judged
    for pair in results.pairs:
        calibration = " ".join(_calibration_sentence(pair, name) for name in names)
        yield f"{pair.name}: {_constraint_sentence(pair)} {calibration}"
    for pair in results.pairs:
        if pair.name in results.transfer:
            ratios = results.transfer[pair.name]
            other = "the other suite" if len(results.suites) == 2 else pair.test_suite
            robustness = "; ".join(_transfer_clause(name, ratios[name], other) for name in names)
            tested = "" if len(results.suites) == 2 else f", tested on {pair.test_suite}"
            yield f"Trained on {pair.train_suite}{tested}: {robustness}."


def _constraint_sentence(pair: PairResult) -> str:
    r2 = {name: pair.scores[name]["r2"] for name in pair.scores}
    constrained = [f"{name} ({r2[name].text()})" for name in pair.scores if r2[name].value > CONSTRAINED_R2]
    lost = [name for name in pair.scores if not r2[name].value > CONSTRAINED_R2]
    found = f"R² is above {CONSTRAINED_R2} for {', '.join(constrained)}" if constrained else "nothing is constrained"
    return f"{found}; not constrained: {', '.join(lost)}." if constrained and lost else f"{found}."


def _calibration_sentence(pair: PairResult, name: str) -> str:
    chi2, bias = pair.scores[name]["reduced_chi2"], pair.scores[name]["bias"]
    shift = f"a mean bias of {bias.text()}" if _differs(bias, 0) else f"no bias beyond its error ({bias.text()})"
    return f"{name} has {shift}; its error bars are {_width(chi2)} (reduced χ² {chi2.text()})."


def _width(chi2: Estimate) -> str:
    if not _differs(chi2, 1):
        return "honest within the error"
    factor = np.sqrt(chi2.value)
    return f"too small by a factor {factor:.2f}" if factor > 1 else f"too large by a factor {1 / factor:.2f}"


def _transfer_clause(name: str, ratio: Estimate, other: str) -> str:
    if not _differs(ratio, 1):
        return f"the RMSE of {name} on {other} equals that on the own one within the errors ({ratio.text()})"
    verb = "grows" if ratio.value > 1 else "shrinks"
    return f"the RMSE of {name} {verb} by a factor {ratio.text()} on {other}"


def _differs(estimate: Estimate, ideal: float) -> bool:
    """Whether a number is significantly off its ideal; one without an error counts as off."""
    return not abs(estimate.value - ideal) <= SIGNIFICANCE * estimate.error


def open_questions(results: LetterResults) -> Iterator[str]:
    """What the numbers do not show."""
    if results.is_mock:
        mocks = [suite for suite in results.suites if is_mock(suite)]
        are_all = len(mocks) in (0, len(results.suites))
        whose = "The maps" if are_all else f"The maps of {' and '.join(mocks)}"
        models = "two toy baryon models" if are_all and len(results.suites) == 2 else "toy baryon models"
        yield (
            f"{whose} are mock data from a particle-mesh code with {models}. The numbers show that the "
            "method works from end to end; they say nothing about IllustrisTNG or SIMBA, and agreement with the letter "
            "is not expected."
        )
    fixed = "The errors come from resampling the test simulations with the networks held fixed"
    if results.n_seeds == 1:
        yield f"Each suite has one network. {fixed}; the scatter from one training seed to the next is not in them."
    else:
        yield f"{fixed}. Verdicts and figures are of the first of {results.n_seeds} seeds; the table of seeds has all."
    smallest = min(pair.predictions.n_simulations for pair in results.pairs)
    yield f"The smallest test set has {smallest} simulations; maps of one simulation count as one in every error."
    n = len(results.suites)
    several, all_of_them, another = ("Two", "both", "a third") if n == 2 else (str(n), "all of them", "another")
    yield (
        f"{several} suites are {several.lower()} models of feedback. A network that holds on {all_of_them} may still "
        f"fail on {another}: robustness is measured here, not guaranteed."
    )
