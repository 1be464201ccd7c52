"""Whether answers move when only feedback moves: networks on sets in which one parameter varies at a time.

A network that has marginalised over feedback gives the same Omega_m and sigma_8 whatever the feedback is, at the same
initial conditions; one that answers the prior does so too. So two things are asked of it together: how far its answers
move as each feedback parameter goes through its full range, in units of its own mean standard deviation, and how they
follow Omega_m and sigma_8 themselves (`fieldlevel.statistics.responses`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fieldlevel.data.suite import Suite
from fieldlevel.layout import Parameter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.responses import OneParameterTable, Response, Responses, measure_responses
from fieldlevel.study.keys import SetKey
from fieldlevel.study.verdict import Finding, Outcome, Verdict, above, all_hold, at_most, conclude, finding

ONE_PARAMETER_SET = "1P"
MOST_SHIFT = 1.0
"""Of an answer over the full range of a feedback parameter, in mean standard deviations of the network."""
GAIN_WITHIN = 0.2
"""Of one: how well an answer must follow its own parameter for a network that knows it."""
FEWEST_CONDITIONS = 5
"""Sets of initial conditions from which a verdict follows: the error from fewer is hardly known itself."""

_TOLD = 0.1
"""Of a move there and back in words, in the same."""

CLAIM = "The answer does not move when only feedback moves: {where}, no feedback parameter moves {names}."


def one_parameter_tables(opened: Mapping[SetKey, Suite]) -> dict[str, OneParameterTable]:
    """Parameters of the one-parameter sets among some maps, by suite."""
    return {
        suite: OneParameterTable(maps.parameters, maps.layout)
        for (suite, set_name), maps in opened.items()
        if set_name == ONE_PARAMETER_SET
    }


def criterion(names: Sequence[str]) -> str:
    """What is compared with what, in words.

    Args:
        names: of the parameters that are answered.
    """
    told = " and ".join(names)
    return (
        f"at fixed initial conditions and cosmology the posterior mean of {told} changes by at most {MOST_SHIFT:g} "
        "mean standard deviation of the network, beyond the error, as each feedback parameter goes from one end of its "
        "range to the other, or from the middle to both ends; "
        f"judged where it follows {told} themselves by 1 within {GAIN_WITHIN:g}, beyond the error, and from "
        f"{FEWEST_CONDITIONS} sets of initial conditions or more; a larger change fails in any case"
    )


@dataclass(frozen=True)
class FeedbackResponse:
    """A network on the one-parameter set of a suite.

    Attributes:
        train_suite: that it was trained on, or what it is called.
        test_suite: that it was tested on.
        seed: that it was trained with.
        n_simulations: that were tested.
        responses: of each answer to each parameter that varies.
        varied: these parameters, as the set has them.
    """

    train_suite: str
    test_suite: str
    seed: int
    n_simulations: int
    responses: Responses
    varied: tuple[Parameter, ...]

    @property
    def name(self) -> str:
        """The pair in words, e.g. `SIMBA → IllustrisTNG`."""
        return f"{self.train_suite} → {self.test_suite}"

    @property
    def crosses_suites(self) -> bool:
        """Whether the network had never seen the tested suite."""
        return self.train_suite != self.test_suite

    @property
    def answered(self) -> tuple[str, ...]:
        """Names of the parameters whose answers were measured."""
        return tuple(dict.fromkeys(name for name, _ in self.responses))

    @property
    def n_conditions(self) -> int:
        """Sets of initial conditions that all responses have."""
        return min(response.n_conditions for response in self.responses.values())

    @property
    def feedback(self) -> tuple[str, ...]:
        """Names of the parameters that vary and are none of cosmology."""
        return tuple(parameter.name for parameter in self.varied if not parameter.cosmological)

    def to_feedback(self, name: str) -> dict[str, Response]:
        """How the answer for a parameter follows each of feedback."""
        return {varied: self.responses[name, varied] for varied in self.feedback}

    def most_moved(self, name: str) -> tuple[str, Response]:
        """The feedback parameter with which the answer for one moves most, and how."""
        return max(self.to_feedback(name).items(), key=lambda each: max(abs(move.value) for move in moves(each[1])))

    def gain(self, name: str) -> Estimate | None:
        """How the answer for a parameter follows the parameter itself; None where that does not vary."""
        found = self.responses.get((name, name))
        return found.gain if found else None


def moves(response: Response) -> tuple[Estimate, ...]:
    """From end to end of the range and, if there are three values, from its middle to both ends."""
    is_bent = np.isfinite(response.bend_in_std.value)
    return (response.in_std, response.bend_in_std) if is_bent else (response.in_std,)


def respond(
    tested: Sequence[PairResult], tables: Mapping[str, OneParameterTable], names: Sequence[str]
) -> tuple[FeedbackResponse, ...]:
    """How the answers of networks follow the parameters of one-parameter sets.

    Args:
        tested: networks on such sets, all maps of each simulation.
        tables: parameters of the set of each tested suite, all simulations.
        names: of the parameters whose answers are asked for.

    Returns:
        One for each in their order; those of sets in which no feedback varies, or on suites without a table, are left
        out.

    Raises:
        UserError: predictions of other simulations than those of the table.
    """
    found = (_respond(each, tables[each.test_suite], names) for each in tested if each.test_suite in tables)
    return tuple(each for each in found if each.responses and each.feedback)


def _respond(tested: PairResult, table: OneParameterTable, names: Sequence[str]) -> FeedbackResponse:
    responses = measure_responses(tested.predictions, table, names)
    there = {varied for _, varied in responses}
    varied = tuple(parameter for parameter in table.layout.parameters if parameter.name in there)
    n_simulations = tested.predictions.n_simulations
    return FeedbackResponse(tested.train_suite, tested.test_suite, tested.seed, n_simulations, responses, varied)


def judge_responses(
    experiment: str, where: str, rows: Mapping[str, FeedbackResponse], names: Sequence[str]
) -> Iterator[Verdict]:
    """The verdict on some networks together; none where there are none.

    Args:
        experiment: its name.
        where: on which suites they were tested, in words, e.g. `"on suites that it has never seen"`.
        rows: by the name of the network and what it was tested on.
        names: of the parameters that are answered.
    """
    findings = {name: response_finding(row) for name, row in rows.items()}
    claim = CLAIM.format(where=where, names=" or ".join(names))
    yield from conclude(experiment, claim, criterion(names), "not in the letter", findings)


def response_finding(row: FeedbackResponse) -> Finding:
    """Whether the answers of a network stay where they are while feedback moves, and follow what they are about."""
    text = "; ".join(_in_words(row, name) for name in row.answered)
    if row.n_conditions < FEWEST_CONDITIONS:
        return f"{text} (not judged: {_lack_of_conditions(row.n_conditions)})", "undecided"
    moved = all_hold(
        at_most(move.size(), MOST_SHIFT)
        for name in row.answered
        for response in row.to_feedback(name).values()
        for move in moves(response)
    )
    aloof = [name for name in row.answered if _follows(row.gain(name)) != "holds"]
    if moved != "fails" and aloof:
        told = f"its answer does not follow {' and '.join(aloof)} by 1 within {GAIN_WITHIN:g} beyond the error"
        return f"{text} (not judged: {told})", "undecided"
    return finding(text, moved)


def _in_words(row: FeedbackResponse, name: str) -> str:
    varied, response = row.most_moved(name)
    gain, bend = row.gain(name), response.bend_in_std
    follows = f", and follows itself by {gain.interval()}" if gain else ""
    is_bent = abs(bend.value) > max(abs(response.in_std.value), _TOLD)
    bent = f" ({bend.interval()} from the middle to the ends)" if is_bent else ""
    told = f"{response.in_std.interval()} mean standard deviations{bent}"
    return f"{name} moves most with {varied}, by {told}{follows}"


def _lack_of_conditions(n: int) -> str:
    told = "the errors of one set of initial conditions are those from map to map alone" if n == 1 else f"{n} sets"
    return f"{told}; {FEWEST_CONDITIONS} sets of initial conditions are needed"


def _follows(gain: Estimate | None) -> Outcome:
    if gain is None:
        return "undecided"
    return all_hold([above(gain, 1 - GAIN_WITHIN), at_most(gain, 1 + GAIN_WITHIN)])
