"""The experiments of the letter as specs: what to train, what to test on what.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from fieldlevel.data.cmd_format import list_suites
from fieldlevel.errors import UserError, shown
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study.experiments import asked, known_experiments
from fieldlevel.study.feedback_response import ONE_PARAMETER_SET
from fieldlevel.study.keys import (
    FIRST,
    ONE_PARAMETER,
    ExperimentKey,
    Plan,
    SetKey,
    Tests,
    Tuned,
    tested_set,
    trained_set,
)
from fieldlevel.study.letter_spec import LetterSpec, summary_train
from fieldlevel.study.numerics_sets import sets_of, trained_sets
from fieldlevel.suites import camels_suites, hydro_twins, is_mock, is_nbody, mock_suites, nbody_twin
from fieldlevel.training.settings import SUITE_NAME
from fieldlevel.training.train_spec import TrainSpec


def usual_suites() -> tuple[str, ...]:
    """The two mock suites of a letter that names none and has no data folder."""
    return mock_suites()[:2]


def simulations(spec: LetterSpec) -> SimulateSpec:
    """The mock suites to simulate, on one gravity run, where no data folder is given."""
    return replace(spec.simulate, suites=spec.suites or usual_suites())


def choose_suites(spec: LetterSpec, directory: Path) -> tuple[str, ...]:
    """The suites to compare: those of the spec, else the two that the folder holds.

    Args:
        spec: its `suites` may be empty.
        directory: folder of CMD files.

    Returns:
        Names of two or more hydrodynamic suites.

    Raises:
        UserError: less than two were named, or the folder leaves the choice open.
    """
    if spec.suites:
        check_suites(spec.suites)
        return spec.suites
    train = spec.train
    found = {
        files.suite
        for files in list_suites(directory)
        if (files.field, files.set_name) == (train.field, train.set_name) and not is_nbody(files.suite)
    }
    real = [suite for suite in camels_suites() if suite in found]
    others = [suite for suite in mock_suites() if suite in found]
    chosen = real[:2] if len(real) >= 2 else [*real, *others, *sorted(found - {*real, *others})]
    if len(chosen) != 2 or len({is_mock(suite) for suite in chosen}) != 1:
        raise UserError(
            f"{directory}: holds {', '.join(chosen) or 'no suite'} in {train.field} {train.set_name}; two are needed, "
            "both mock or both not: name them with --suites"
        )
    return tuple(chosen)


def check_suites(suites: Sequence[str]) -> None:
    """Refuse suites that no letter compares.

    Raises:
        UserError: less than two, one twice, or a gravity-only one.
    """
    named = " ".join(map(shown, suites))
    if len(suites) < 2 or len(set(suites)) != len(suites):
        raise UserError(f"suites: {named}: name two different suites or more, e.g. IllustrisTNG SIMBA")
    is_allowed, words = SUITE_NAME
    if wrong := [suite for suite in suites if not is_allowed(suite)]:
        raise UserError(f"suites: {shown(wrong[0])}: must be {words}")
    if any(map(is_nbody, suites)):
        told = "suites with baryons are compared, whose gravity-only twins are found where they are needed"
        raise UserError(f"suites: {named}: {told}; name {' '.join(_with_baryons(suites))}")


def _with_baryons(suites: Sequence[str]) -> list[str]:
    """The suites with baryons, and where these are fewer than two those whose twins the others are."""
    own = [suite for suite in suites if not is_nbody(suite)]
    twins = [name for suite in suites if is_nbody(suite) for name in hydro_twins(suite)]
    return own if len(own) > 1 else list(dict.fromkeys([*own, *twins]))


def everything(
    spec: LetterSpec,
    suites: Sequence[str],
    twins: Mapping[str, str],
    sets: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Plan:
    """All experiments that there are, also those without tests.

    Args:
        spec: of the letter.
        suites: that are compared.
        twins: gravity-only twin of each suite, where the data has it.
        sets: names of all sets of each suite, where other sets are to be tested on.
    """
    plan: dict[ExperimentKey, Tests] = {}
    for experiment in known_experiments():
        with asked(experiment):
            planned = {**experiment.tests(spec, suites, twins), **experiment.tests_on_sets(spec, sets)}
        if wrong := [key for key in planned if not isinstance(key, ExperimentKey)]:
            raise UserError(f"experiment {experiment.kind!r}: tests of {shown(wrong[0])}; give ExperimentKeys")
        plan |= planned
    return plan


def wanted(spec: LetterSpec, plan: Plan) -> Plan:
    """The pairs and the experiments that are named by the first words of their labels; all where none is."""
    return {
        key: tests for key, tests in plan.items() if key == FIRST or not spec.only or key.label.startswith(spec.only)
    }


def searches(spec: LetterSpec, plan: Plan) -> dict[tuple[str, str], TuneSpec]:
    """The searches for hyper-parameters that some experiments ask for, by what the networks read and by suite."""
    owners = _owners(plan)
    asked = dict.fromkeys(_searched(test.network, owners) for tests in plan.values() for test in tests)
    power_spectrum = summary_train(spec, "power spectrum")
    n_trials = {spec.train: spec.map_trials, power_spectrum: spec.summary_trials}
    return {
        (inputs, suite): TuneSpec(replace(train, suite=suite), n, seed=train.seed)
        for inputs, suite in asked
        for train, n in n_trials.items()
        if n > 0 and train.inputs == inputs
    }


def experiments(spec: LetterSpec, suites: Sequence[str], directory: Path, tuned: Tuned = MappingProxyType({})) -> Plan:
    """The experiments by key, in the order in which they are to be done.

    Args:
        spec: what to do, what to vary, and how to train.
        suites: that are compared.
        directory: folder of CMD files; experiments on gravity-only twins are left out where it holds none.
        tuned: what searches found; networks on gravity-only twins share it with those on the first suite.

    Raises:
        UserError: an experiment, or a set to train on, that the folder has no maps for.
    """
    sets = _other_sets(spec, suites, directory)
    refuse_absent(spec, sets, str(directory))
    plan = everything(spec, suites, _twins(spec, suites, directory), sets)
    there = {key: tests for key, tests in plan.items() if tests}
    for words in spec.only:
        if not any(key.label.startswith(words) for key in there):
            raise UserError(f"only: {words!r} needs {_missing(spec, suites, words)}; {directory} has none")
    owners = _owners(there)
    return {
        key: tuple(replace(test, network=_with_found(test.network, tuned, owners)) for test in tests)
        for key, tests in wanted(spec, there).items()
    }


def _other_sets(spec: LetterSpec, suites: Sequence[str], directory: Path) -> dict[str, tuple[str, ...]]:
    """Names of the sets of each suite that the folder holds, without those of experiments that are left out."""
    found = sets_of(directory, suites, spec.train.field)
    return {suite: sets_wanted(spec, names) for suite, names in found.items()}


def sets_wanted(spec: LetterSpec, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the sets of a suite that an experiment of the letter may use.

    Example:
        >>> sets_wanted(LetterSpec(numerics=False), ["LH", "LHthin2", "1P"])
        ('LH', '1P')
    """
    own, is_asked = spec.train.set_name, spec.one_parameter_seeds > 0
    return tuple(name for name in names if name == own or (is_asked if name == ONE_PARAMETER_SET else spec.numerics))


def refuse_absent(spec: LetterSpec, sets: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse sets to train on that no suite has.

    Args:
        spec: of the letter.
        sets: names of all sets of each suite.
        where: they are, for people.

    Raises:
        UserError: with the first of them.
    """
    there = trained_sets(sets, spec.train.set_name)
    if absent := [name for name in spec.numerics_train if name not in there]:
        told = f"numerics_train: {absent[0]}, which no suite of {where} has"
        raise UserError(f"{told}; choose from {', '.join(there)}, or make it")


def _owners(plan: Plan) -> dict[str, str]:
    """The first of the suites whose gravity-only twin is one, by the twin."""
    named = (name for tests in plan.values() for test in tests for name in (test.network.suite, test.suite))
    owners: dict[str, str] = {}
    for suite in named:
        if not is_nbody(suite):
            owners.setdefault(nbody_twin(suite), suite)
    return owners


def _missing(spec: LetterSpec, suites: Sequence[str], words: str) -> str:
    """Maps that an experiment needs."""
    with_twins = everything(spec, suites, {suite: nbody_twin(suite) for suite in suites})
    if any(key.label.startswith(words) for key in with_twins):
        return "the gravity-only twins of the suites"
    if ONE_PARAMETER.startswith(words):
        return f"the set {ONE_PARAMETER_SET} of a suite"
    return f"sets with other numbers of particles, as {spec.train.set_name}thin2"


def _searched(network: TrainSpec, owners: Mapping[str, str]) -> tuple[str, str]:
    """The search whose hyper-parameters a network takes; one on a gravity-only twin has none of its own."""
    return "maps" if network.inputs == "maps" else "power spectrum", owners.get(network.suite, network.suite)


def _with_found(network: TrainSpec, tuned: Tuned, owners: Mapping[str, str]) -> TrainSpec:
    found = tuned.get(_searched(network, owners), network)
    return replace(network, optimiser=found.optimiser, network=found.network, perceptron=found.perceptron)


def used_sets(plan: Plan) -> set[SetKey]:
    """Suites and sets that some network is trained or tested on."""
    return {each for tests in plan.values() for test in tests for each in (trained_set(test.network), tested_set(test))}


def _twins(spec: LetterSpec, suites: Sequence[str], directory: Path) -> dict[str, str]:
    """Gravity-only twin of each suite, where the folder holds it."""
    train = spec.train
    present = {(files.suite, files.field, files.set_name) for files in list_suites(directory)}
    return {
        suite: nbody_twin(suite)
        for suite in suites
        if not is_nbody(suite) and (nbody_twin(suite), train.field, train.set_name) in present
    }
