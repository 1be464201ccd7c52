"""Whether small scales hold information: networks trained on maps without them, step by step."""

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.figures.scale_curves import Curve
from fieldlevel.statistics.pairs import PairResult, on_own_suite
from fieldlevel.statistics.ratios import error_ratio
from fieldlevel.study.experiment import Experiment, on_all
from fieldlevel.study.keys import ExperimentKey, Plan
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import (
    PRECONDITION,
    Finding,
    Outcome,
    Verdict,
    above,
    conclude,
    finding_if_known,
    relative_error,
)


class Ladder(Experiment):
    """Experiments that take small scales out of the maps, each with a network trained anew.

    Attributes:
        kind: of the transform (`TransformSpec.kind`) and of the experiments.
        unit: of the scale.
        uncut: the scale that leaves maps as they are: the end from which more and more is taken out.
        claim: in one sentence; `{name}` stands for the parameter.
        letter: what was found before.
    """

    unit: ClassVar[str]
    uncut: ClassVar[float]
    claim: ClassVar[str]
    letter: ClassVar[str]

    @abstractmethod
    def scales(self, spec: LetterSpec) -> Sequence[float]:
        """At which networks are trained."""

    def key(self, scale: float) -> ExperimentKey:
        """Of the experiment at a scale."""
        return ExperimentKey(self.kind, scale, self.unit)

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """At every scale each network on its own suite and on every other."""
        trained = {scale: replace(spec.train, transform=TransformSpec(self.kind, scale)) for scale in self.scales(spec)}
        return {self.key(scale): on_all(train, suites, spec.other_seeds) for scale, train in trained.items()}

    def steps(self, results: LetterResults) -> dict[float, Sequence[PairResult]]:
        """Results by scale, from the maps as they are to the coarsest ones; empty where nothing was done."""
        found = results.by_scale(self.kind)
        ordered = sorted(found, reverse=math.isinf(self.uncut))
        return {self.uncut: results.pairs, **{scale: found[scale] for scale in ordered}} if found else {}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Error of Omega_m, or of the first parameter of the claims, from scale to scale."""
        name, steps = results.judged[0], {at: on_own_suite(each) for at, each in self.steps(results).items()}
        findings = {
            suite: _loss_of_information({self._words(at): own[suite] for at, own in steps.items()}, name)
            for suite in (results.own if steps else ())
        }
        return conclude(
            self.kind,
            self.claim.replace("{name}", name),
            f"RMSE of {name}: taking out more scales lowers it at no step and raises it from first to last, both "
            f"beyond the error; {PRECONDITION}",
            self.letter,
            findings,
        )

    def _words(self, scale: float) -> str:
        return "all scales" if scale == self.uncut else f"{scale:g} {self.unit}"

    def curves(self, results: LetterResults) -> dict[str, Curve]:
        """The rms relative error at every scale, by pair."""
        steps = {scale: by_suites(each) for scale, each in sorted(self.steps(results).items())}
        return {
            pair.name: [
                (scale, {name: row["rms_relative_error"] for name, row in tested[suites_of(pair)].scores.items()})
                for scale, tested in steps.items()
            ]
            for pair in results.pairs
        }


def suites_of(result: PairResult) -> tuple[str, str]:
    """That a network was trained and tested on."""
    return result.train_suite, result.test_suite


def by_suites(results: Sequence[PairResult]) -> dict[tuple[str, str], PairResult]:
    """Results of one seed by training and test suite."""
    return {suites_of(result): result for result in results}


def where_in_words(results: LetterResults) -> str:
    """On what the networks of the curves were tested."""
    others = "the other" if len(results.suites) == 2 else "the others"
    told = "error bars are bootstrap errors over the test simulations, side by side."
    return f"on their own suite and on {others}; {told}"


def _loss_of_information(results: Mapping[str, PairResult], name: str) -> Finding:
    """Error of a parameter by scale, and whether it grows from the first scale to the last and falls at no step."""
    predictions = [result.predictions for result in results.values()]
    growth = error_ratio(predictions[0], predictions[-1])[name]
    falls = [above(error_ratio(after, before)[name], 1) == "holds" for before, after in pairwise(predictions)]
    errors = ", ".join(f"{words} {relative_error(result.scores, name)}" for words, result in results.items())
    lower = [words for words, falls_here in zip(list(results)[1:], falls, strict=True) if falls_here]
    text = f"{errors}; RMSE ratio of last to first {growth.interval()}"
    outcome: Outcome = above(growth, 1)
    if lower:
        text, outcome = f"{text}; RMSE falls at {', '.join(lower)}", "fails"
    return finding_if_known(next(iter(results.values())), [name], text, outcome)
