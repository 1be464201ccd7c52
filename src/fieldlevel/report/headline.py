"""What a report found, in one sentence that stands before everything else."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from fieldlevel.statistics.estimates import Estimate
from fieldlevel.study.experiments.four_pairs import ROBUST_RATIO
from fieldlevel.study.results import LetterResults
from fieldlevel.study.robustness.robustness_verdicts import FoldVerdict
from fieldlevel.study.verdict import Outcome, Verdict
from fieldlevel.wording import joined

ANSWERS: Mapping[Outcome, str] = {"holds": "Yes.", "fails": "No.", "undecided": "Not decided."}


@dataclass(frozen=True)
class Headline:
    """A question and its answer.

    Attributes:
        question: that the report asks.
        answer: yes, no or not decided, or that nothing was judged.
        sentence: why, with the number that decides.
        outcome: of the claim that the answer would be yes.
    """

    question: str
    answer: str
    sentence: str
    outcome: Outcome | Literal["not judged"]


def letter_headline(results: LetterResults) -> Headline:
    """Whether networks infer as well from suites that they have never seen as from their own."""
    names = " and ".join(results.judged)
    question = (
        f"Do networks infer {names} as well from a suite of simulations that they have never seen as from their own?"
    )
    found = [verdict.outcome for verdict in results.verdicts if verdict.experiment == results.first_label]
    where = _where(results.suites, results.is_mock)
    worst = _worst(results)
    if not found:
        return Headline(question, "Not judged.", f"{where}, nobody asked.", "not judged")
    told = f" up to {worst.text()} times that on its own" if worst else ""
    sentences: Mapping[Outcome, str] = {
        "holds": f"{where}, the error of each network on a suite that it has never seen is at most "
        f"{ROBUST_RATIO} times that on its own, beyond the errors of the test; a difference that is small beside these "
        f"own errors ({_own_errors(results)}) is not seen.",
        "fails": f"{where}, the error of a network on a suite that it has never seen is{told}; more than "
        f"{ROBUST_RATIO} times is a failure.",
        "undecided": f"{where}, there are too few test simulations, or the networks know too little, to tell "
        f"whether the error on a suite that they have never seen is at most {ROBUST_RATIO} times that on their own.",
    }
    return Headline(question, ANSWERS[found[0]], sentences[found[0]], found[0])


def _where(suites: Sequence[str], mock: bool) -> str:
    words = joined(suites)
    return f"On mock data ({words}), which say nothing about CAMELS" if mock else f"On {words}"


def _own_errors(results: LetterResults) -> str:
    """Range of the rms relative errors of the networks on their own suites, by parameter."""
    own = [pair.scores for pair in results.pairs if not pair.crosses_suites]

    def told(name: str) -> str:
        errors = sorted(scores[name]["rms_relative_error"].value for scores in own)
        return f"{name} {100 * errors[0]:.2g} to {100 * errors[-1]:.2g}%"

    return ", ".join(map(told, results.judged))


def _worst(results: LetterResults) -> Estimate | None:
    """The largest ratio of a network's error on another suite to that on its own."""
    crossing = [pair.name for pair in results.pairs if pair.crosses_suites and pair.name in results.transfer]
    ratios = [results.transfer[pair][name] for pair in crossing for name in results.judged]
    return max(ratios, key=lambda ratio: ratio.value, default=None)


def robustness_headline(folds: Mapping[str, FoldVerdict], suites: Sequence[str], mock: bool) -> Headline:
    """Whether networks hold on every suite that was left out.

    Args:
        folds: what they are on each suite, by the suite that was left out; none where that was not done.
        suites: of the study.
        mock: whether any is a mock suite.
    """
    question = "Do networks hold on a suite of simulations that they have never seen?"
    where = _where(suites, mock)
    if not folds:
        return Headline(question, "Not judged.", f"{where}, no suite was left out.", "not judged")
    robust = [fold.robust[1] for fold in folds.values()]
    outcome: Outcome = "fails" if "fails" in robust else "undecided" if "undecided" in robust else "holds"
    silent = [suite for suite, fold in folds.items() if fold.word == "silent failure"]
    ending = f"; on {', '.join(silent)} they fail without a sign of it" if silent else ""
    counts = f"robust on {robust.count('holds')}, not robust on {robust.count('fails')}"
    undecided = f" and undecided on {robust.count('undecided')}"
    sentence = f"{where}, networks are {counts}{undecided} of the {len(folds)} suites that were left out in turn"
    return Headline(question, ANSWERS[outcome], f"{sentence}{ending}.", outcome)


def tally(verdicts: Iterable[Verdict]) -> str:
    """How many claims hold, fail and are undecided."""
    counts = Counter(verdict.outcome for verdict in verdicts)
    words = f"{counts['holds']} hold, {counts['fails']} fail, {counts['undecided']} are undecided"
    return f"Of the {counts.total()} claims that were written down before the numbers, {words}."
