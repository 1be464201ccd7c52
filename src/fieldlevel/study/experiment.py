"""What an experiment of a letter is: what it tests, what it claims, and what it shows.

Adding one is one module with a subclass of `Experiment` and its entry in `fieldlevel.study.experiments`, or, from
outside of the package, a call of `register_experiment`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.figures.plate import Plate
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.study.keys import Plan, Tests
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.verdict import Verdict
from fieldlevel.training.train_spec import TrainSpec


class Experiment(ABC):
    """A kind of experiment.

    Tests, verdict and figures must be there: one that has no verdict or no figure of its own says so with
    `return iter(())`.

    Attributes:
        kind: that of its keys.
    """

    kind: str

    @abstractmethod
    def tests(self, spec: LetterSpec, suites: Sequence[str], twins: Mapping[str, str]) -> Plan:
        """What to train, and what to test it on.

        Args:
            spec: of the letter.
            suites: that are compared.
            twins: gravity-only twin of each suite, where the data has it.

        Returns:
            Tests by typed key, in the order in which they are to be done; a key without tests is left out.
        """

    def tests_on_sets(self, spec: LetterSpec, sets: Mapping[str, Sequence[str]]) -> Plan:
        """What to train and to test on other sets of the suites; nothing unless an experiment says so.

        Args:
            spec: of the letter.
            sets: names of all sets of each suite that the data has in the field of the letter, its own one too.

        Returns:
            As `tests`.
        """
        return {}

    @abstractmethod
    def judge(self, results: LetterResults) -> Iterator[Verdict]:
        """What it claims and what became of it; nothing where it was not done."""

    @abstractmethod
    def plates(self, results: LetterResults) -> Iterator[Plate]:
        """Its figures; nothing where it was not done."""


def trained_on(train: TrainSpec, set_name: str, smoothing: float = 0.0) -> TrainSpec:
    """The same network on another set, and on maps smoothed by a Gaussian of so many pixels; not at all by 0."""
    transform = TransformSpec("smoothing", smoothing) if smoothing else train.transform
    return replace(train, set_name=set_name, transform=transform)


def across(train: TrainSpec, tested: Mapping[str, Sequence[str]], n_seeds: int, set_name: str | None = None) -> Tests:
    """Networks of each suite on the suites it is tested on, one seed after the other.

    Args:
        train: how to train; suite and seed are set here.
        tested: test suites by training suite.
        n_seeds: networks of each training suite, with seeds from that of `train` on.
        set_name: of the test suites; that of `train` when omitted.
    """
    return tuple(
        EvaluateSpec(replace(train, suite=suite, seed=train.seed + i), other, train.field, set_name or train.set_name)
        for i in range(n_seeds)
        for suite, others in tested.items()
        for other in others
    )


def on_all(train: TrainSpec, suites: Sequence[str], n_seeds: int) -> Tests:
    """Each network on the test simulations of its own suite, then on those of every other (Fig. 2)."""
    return across(train, {suite: sorted(suites, key=lambda name: name != suite) for suite in suites}, n_seeds)


def on_own(train: TrainSpec, suites: Sequence[str], n_seeds: int) -> Tests:
    """Each network on the test simulations of its own suite."""
    return across(train, {suite: (suite,) for suite in suites}, n_seeds)
