"""The experiments of a letter, a module each kind; they are done, judged and told in this order.

An experiment from outside of the package is one object and one call, made before the letter is started:

    register_transform("quartered", quarter)            # what is done to the maps, by a function
    register_experiment(NullTest("quartered", "maps of four equal quarters", claim="A quarter of a map is enough."))

It is then trained, tested, judged and drawn as the others are.
"""

from contextlib import AbstractContextManager, nullcontext

from fieldlevel.errors import UserError, shown
from fieldlevel.own_code import told
from fieldlevel.study.experiment import Experiment
from fieldlevel.study.experiments.four_pairs import FourPairs
from fieldlevel.study.experiments.gravity_only import HydroToNbody, NbodyToHydro
from fieldlevel.study.experiments.k_max import WavenumberCuts
from fieldlevel.study.experiments.null_tests import NULL_TESTS
from fieldlevel.study.experiments.numerics import Numerics
from fieldlevel.study.experiments.one_parameter import OneParameter
from fieldlevel.study.experiments.permuted_labels import PermutedLabels
from fieldlevel.study.experiments.smoothing import Smoothing
from fieldlevel.study.experiments.summary_networks import SUMMARIES
from fieldlevel.study.experiments.total_mass import TotalMass

EXPERIMENTS: tuple[Experiment, ...] = (
    FourPairs(),
    *NULL_TESTS,
    TotalMass(),
    *SUMMARIES,
    HydroToNbody(),
    NbodyToHydro(),
    OneParameter(),
    Numerics(),
    Smoothing(),
    WavenumberCuts(),
    PermutedLabels(),
)
"""Those of the package."""

_REGISTERED: list[Experiment] = []


def register_experiment(experiment: Experiment) -> None:
    """Make an experiment of one's own part of every letter, in this process; it comes after those of the package.

    Raises:
        UserError: no experiment, or a kind that is taken.

    Example:
        >>> register_experiment(PermutedLabels())
        Traceback (most recent call last):
        ...
        fieldlevel.errors.UserError: experiment 'permuted labels': known already; give another kind
    """
    if not isinstance(experiment, Experiment):
        raise UserError(f"experiment {shown(experiment)}: give an object of a subclass of Experiment")
    if any(experiment.kind == known.kind for known in known_experiments()):
        raise UserError(f"experiment {experiment.kind!r}: known already; give another kind")
    _REGISTERED.append(experiment)


def known_experiments() -> tuple[Experiment, ...]:
    """Those of the package and those that were registered."""
    return (*EXPERIMENTS, *_REGISTERED)


def registered_kinds() -> tuple[str, ...]:
    """Of the experiments from outside of the package, which make a letter another one."""
    return tuple(experiment.kind for experiment in _REGISTERED)


def asked(experiment: Experiment) -> AbstractContextManager[None]:
    """While an experiment makes its tests, verdicts or figures: what fails in one of one's own is told in a line.

    Args:
        experiment: any.
    """
    if type(experiment).__module__.partition(".")[0] == "fieldlevel":
        return nullcontext()
    return told(f"experiment {experiment.kind!r}: fails", "mend it, the same command continues")
