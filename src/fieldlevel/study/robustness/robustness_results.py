"""All that a robustness study knows, and what of it belongs together: networks of several seeds, a fold, its oracle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fieldlevel.layout import Parameter
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.statistics.shift_sources import Labels
from fieldlevel.study.robustness.choosing import Choice, Tested
from fieldlevel.study.robustness.robust_methods import POOLED
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.study.robustness.roles import SINGLE, Role
from fieldlevel.suites import MOCK_MARK

CHOSEN = "chosen"
"""Of each fold the method that inner leave-one-out found best there."""

TITLE = "Robustness over suites"


@dataclass(frozen=True)
class RobustnessResults:
    """What came out of a study.

    Attributes:
        spec: of the study.
        key: digest of spec and data.
        suites: that were left out in turn.
        parameters: that claims are about.
        tested: predictions by what the networks are for.
        choices: of the methods, by left-out suite; empty where none was asked for.
        adapting: of those that see maps of it, by left-out suite.
        methods: of full size, pooling first.
        set_p: p-value of the set test of trust, by role and tested suite, where the networks have a reference.
        distances: between suites, by their names (`suite_distances`).
        labels: parameters of the simulations that networks were tested on, by suite.
        facts: of the data, in words.
        provenance: software and machine.
        is_mock: whether any map was simulated by this package.
    """

    spec: RobustnessSpec
    key: str
    suites: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    tested: Tested
    choices: Mapping[str, Choice] = field(default_factory=dict)
    adapting: Mapping[str, Choice] = field(default_factory=dict)
    methods: tuple[str, ...] = ()
    set_p: Mapping[tuple[Role, str], float] = field(default_factory=dict)
    distances: Mapping[tuple[str, str], float] = field(default_factory=dict)
    labels: Mapping[str, Labels] = field(default_factory=dict)
    facts: Mapping[str, str | int | float] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    is_mock: bool = False

    def __repr__(self) -> str:
        mark = f", {MOCK_MARK}" if self.is_mock else ""
        return f"<RobustnessResults of {', '.join(self.suites)}{mark}: {len(self.tested)} roles of networks tested>"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def told_methods(self) -> tuple[str, ...]:
        """Those of full size, and the chosen ones together where they are not pooling everywhere."""
        is_pooling = all(choice.best.method == POOLED for choice in self.choices.values())
        return (*self.methods, *(() if is_pooling else (CHOSEN,)))

    def method_of(self, method: str, target: str) -> str:
        """What a method is in a fold: `chosen` is another one in each."""
        return self.choices[target].best.method if method == CHOSEN else method

    def left_out(self, method: str, target: str) -> Role:
        """Networks by a method that have not seen a suite."""
        return Role("leave one out", self.method_of(method, target), (target,))

    def adapted(self, target: str) -> list[Role]:
        """Those of the adaptation to a suite, in the order in which they were done."""
        return [role for role in self.tested if role.kind == "adaptation" and role.target == target]

    def controls(self, target: str) -> list[Role]:
        """Those of one fold."""
        return [role for role in self.tested if role.kind == "control" and role.target == target]

    def oracle(self, role: Role, suite: str) -> Role:
        """Networks taught by a tested suite itself, with the rows of a role."""
        return Role("oracle" if role.kind == "adaptation" else "matrix", SINGLE, (suite,))

    def pairs(self, role: Role, suite: str) -> list[PairResult]:
        """What was tested on a suite, a seed each."""
        return [pair for pair in self.tested[role] if pair.test_suite == suite]

    def predictions(self, role: Role, suite: str) -> Predictions:
        """Of all seeds together, of the parameters that claims are about."""
        return joined([pair.predictions for pair in self.pairs(role, suite)], self.names)


def joined(each: Sequence[Predictions], names: Sequence[str]) -> Predictions:
    """Predictions of the same maps by several networks, one after the other: a simulation is drawn with all of them.

    Args:
        each: of networks that differ in their seeds.
        names: of the parameters to keep.
    """
    first = each[0]
    columns = [first.layout.column(name) for name in names]
    stacked = {
        name: np.concatenate([getattr(one, name)[:, columns] for one in each]) for name in ("theta", "mean", "std")
    }
    numbers = {name: np.concatenate([getattr(one, name) for one in each]) for name in ("simulation", "map_index")}
    return replace(first, **stacked, **numbers, layout=first.layout.select(names))
