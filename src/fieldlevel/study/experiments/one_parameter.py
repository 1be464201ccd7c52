"""Whether the answer moves when only feedback moves: sets in which one parameter varies at a time.

The claim of the letter in its most direct form. The networks of the pairs, which were trained on feedback of all kinds,
are tested on simulations that differ in one parameter alone, of their own suite and of the others.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from matplotlib.figure import Figure

from fieldlevel.figures.parameter_responses import draw_parameter_responses
from fieldlevel.figures.plate import Plate
from fieldlevel.layout import Parameter
from fieldlevel.study.experiment import Experiment, across
from fieldlevel.study.feedback_response import ONE_PARAMETER_SET, FeedbackResponse, judge_responses
from fieldlevel.study.keys import ONE_PARAMETER, ExperimentKey, Plan
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import Verdict

_WHERE = {False: "on the suite that a network was trained on", True: "on suites that it has never seen"}


class OneParameter(Experiment):
    """Networks of all suites on the one-parameter sets of all suites."""

    kind = ONE_PARAMETER

    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """None but those on other sets."""
        return {}

    def tests_on_sets(self, spec: LetterSpec, sets: Mapping[str, Sequence[str]]) -> Plan:
        """The networks of the pairs on every such set; none in a letter of that set, which no network is trained on."""
        there = [suite for suite, names in sets.items() if ONE_PARAMETER_SET in names]
        if not there or spec.one_parameter_seeds == 0 or spec.train.set_name == ONE_PARAMETER_SET:
            return {}
        tested = {suite: sorted(there, key=lambda other: other != suite) for suite in sets}
        tests = across(spec.train, tested, spec.other_seeds, ONE_PARAMETER_SET)
        return {ExperimentKey(self.kind): tuple(replace(test, simulations="unseen") for test in tests)}

    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """Answers over the full range of each feedback parameter, of networks on their own suite and on others."""
        for crosses, where in _WHERE.items():
            rows = [row for row in results.feedback_responses if row.crosses_suites == crosses]
            name = f"{self.kind}, other suites" if crosses else self.kind
            yield from judge_responses(name, where, {row.name: row for row in rows}, results.judged)

    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """Answers against each parameter, a figure for the networks of each suite."""
        for suite in dict.fromkeys(row.train_suite for row in results.feedback_responses):
            rows = [row for row in results.feedback_responses if row.train_suite == suite]
            yield Plate(
                f"one_parameter_{suite}",
                f"One parameter at a time: networks of {suite}",
                f"Posterior means that the network of {suite} gives of simulations which differ in one parameter "
                f"alone, at the same initial conditions ({rows[0].n_conditions} sets of them). Bars: scatter from one "
                "set to the next; bands: the mean standard deviation that the network claims; black: the truth. An "
                "answer that is free of feedback follows the black line in every panel.",
                f"Markers of the mean answers for {' and '.join(results.judged)} against each parameter, one panel "
                "each, with bands and a black line for the truth.",
                partial(_draw, rows, _answered(results), mock=results.is_mock),
                place=36,
            )


def _answered(results: LetterResults) -> tuple[Parameter, ...]:
    return results.layout.select(results.judged).parameters


def _draw(rows: Sequence[FeedbackResponse], answered: Sequence[Parameter], *, mock: bool) -> Figure:
    varied = {parameter.name: parameter for row in rows for parameter in row.varied}
    responses = {f"on {row.test_suite}": row.responses for row in rows}
    return draw_parameter_responses(responses, answered, list(varied.values()), mock=mock)
