"""The experiments of the letter as specs: what to train, what to test on what.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from fieldlevel.data.cmd_format import list_suites
from fieldlevel.data.geometry import RECORD_NAME
from fieldlevel.data.pixels import ZERO_FIELDS
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import OF_LOGARITHM
from fieldlevel.errors import UserError, shown
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.json_files import read_json_object
from fieldlevel.parameters import HYDRO_SUITES, MOCK_SUITES, hydro_twin, is_mock, is_nbody, nbody_twin
from fieldlevel.search.search_settings import MOST_TRIALS
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.spec_io import refuse_values
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.training import settings
from fieldlevel.training.settings import SUITE_NAME
from fieldlevel.training.train_spec import TrainSpec


def simulations(spec: LetterSpec) -> list[SimulateSpec]:
    """The mock suites to simulate where no data folder is given."""
    return [replace(spec.simulate, suite=suite) for suite in MOCK_SUITES]


def choose_suites(spec: LetterSpec, directory: Path) -> tuple[str, str]:
    """The two suites to compare: those of the spec, else the two that the folder holds.

    Args:
        spec: its `suites` may be empty.
        directory: folder of CMD files.

    Returns:
        Names of two hydrodynamic suites.

    Raises:
        UserError: not exactly two were named, or the folder leaves the choice open.
    """
    if spec.suites:
        _check_suites(spec.suites)
        return spec.suites[0], spec.suites[1]
    train = spec.train
    found = {
        files.suite
        for files in list_suites(directory)
        if (files.field, files.set_name) == (train.field, train.set_name) and not is_nbody(files.suite)
    }
    real = [suite for suite in HYDRO_SUITES if suite in found]
    others = [suite for suite in MOCK_SUITES if suite in found]
    chosen = real[:2] if len(real) >= 2 else [*real, *others, *sorted(found - {*real, *others})]
    if len(chosen) != 2 or len({is_mock(suite) for suite in chosen}) != 1:
        raise UserError(
            f"{directory}: holds {', '.join(chosen) or 'no suite'} in {train.field} {train.set_name}; two are needed, "
            "both mock or both not: name them with --suites"
        )
    return chosen[0], chosen[1]


def _check_suites(suites: Sequence[str]) -> None:
    named = " ".join(map(shown, suites))
    if len(suites) != 2 or len(set(suites)) != 2:
        raise UserError(f"suites: {named}: name two different suites, e.g. IllustrisTNG SIMBA")
    is_allowed, words = SUITE_NAME
    if wrong := [suite for suite in suites if not is_allowed(suite)]:
        raise UserError(f"suites: {shown(wrong[0])}: must be {words}")
    if any(map(is_nbody, suites)):
        told = "a letter compares suites with baryons, whose gravity-only twins it finds itself"
        raise UserError(f"suites: {named}: {told}; name {' '.join(map(hydro_twin, suites))}")


NullTest = Literal["mean map", "shuffled pixels", "random phases", "no monopole"]
NULL_TESTS: tuple[NullTest, ...] = get_args(NullTest)
"""Transforms of test maps; the network is not trained again."""

Tests = tuple[EvaluateSpec, ...]
SHARED = ("field", "set_name", "split", "seed", "normaliser")
"""Settings that networks on summaries share with those on maps."""
FIRST = "four pairs"
"""The experiment that everything else is compared with."""

Tuned = Mapping[tuple[str, str], TrainSpec]
"""Networks with the hyper-parameters that a search found, by what they read and by suite."""


def check_letter(spec: LetterSpec) -> None:
    """Refuse what no letter can do, before anything is simulated or trained.

    Raises:
        UserError: with the setting and what is allowed.
    """
    distinct = "positive numbers, each once"
    refuse_values(
        spec,
        {
            "seeds": (1 <= spec.seeds <= MOST_SEEDS, f"numbers from 1 to {MOST_SEEDS:,}"),
            "other_seeds": (1 <= spec.other_seeds <= spec.seeds, f"numbers from 1 to seeds = {spec.seeds}"),
            "map_trials": (0 <= spec.map_trials <= MOST_TRIALS, f"numbers from 0 to {MOST_TRIALS:,}"),
            "summary_trials": (0 <= spec.summary_trials <= MOST_TRIALS, f"numbers from 0 to {MOST_TRIALS:,}"),
            "smoothing": (_are_scales(spec.smoothing), distinct),
            "k_max": (_are_scales(spec.k_max), distinct),
        },
    )
    if spec.suites:
        _check_suites(spec.suites)
    own = {"transform": TransformSpec(), "labels": "true", "suite": TrainSpec().suite}
    _refuse_changes(spec.train, "train", own | {"inputs": "maps"})
    _refuse_changes(spec.summary, "summary", own | {"inputs": "power spectrum"})
    _refuse_changes(spec.simulate, "simulate", {"suite": SimulateSpec().suite})
    if spec.train.seed + spec.seeds > 1 << 63:
        raise UserError(f"train.seed = {spec.train.seed}: {spec.seeds} seeds from it on pass 2^63; take a smaller one")
    everything = _all_experiments(spec, MOCK_SUITES, {suite: nbody_twin(suite) for suite in MOCK_SUITES})
    for words in spec.only:
        if not words or not any(name.startswith(words) for name in everything):
            raise UserError(f"only: no experiment {words!r}; choose from {', '.join(map(repr, everything))}")
    if spec.train.field in ZERO_FIELDS:
        _refuse_logarithms(spec.train.field, _wanted(spec, everything))


MOST_SEEDS = 1000


def _are_scales(scales: Sequence[float]) -> bool:
    """Whether these are positive numbers with names of their own."""
    return all(0 < scale < math.inf for scale in scales) and len({f"{scale:g}" for scale in scales}) == len(scales)


def refuse_unused(spec: LetterSpec, usual: LetterSpec, data: Path | None) -> None:
    """Refuse settings that somebody gave in vain.

    Args:
        spec: that may be used.
        usual: where it comes from: what this has, nobody gave.
        data: the folder of maps; None where they are to be simulated.

    Raises:
        UserError: with the setting and the reason.
    """
    settings.refuse_unused(spec.train, [usual.train], "train.")
    settings.refuse_unused(spec.summary, [usual.summary], "summary.")
    for setting in SHARED:
        given = getattr(spec.summary, setting)
        if given not in (getattr(spec.train, setting), getattr(usual.summary, setting)):
            raise UserError(f"summary.{setting}: would have no effect, as that of train is taken; give train.{setting}")
    if data is not None:
        _refuse_simulations(spec.simulate, usual.simulate, data)


def _refuse_simulations(given: SimulateSpec, usual: SimulateSpec, data: Path) -> None:
    """Refuse settings of simulations beside a folder of maps, unless it was simulated with them."""
    for setting, value in asdict(given).items():
        if value != getattr(usual, setting) and not _was_simulated_with(data, setting, value):
            told = f"simulate.{setting} = {shown(value)}"
            raise UserError(f"{told}: would have no effect, as the maps are those of --data; leave it out")


def _was_simulated_with(directory: Path, setting: str, value: object) -> bool:
    """Whether a folder's own record says that its mock suites were simulated with this setting."""
    try:
        record = read_json_object(directory / RECORD_NAME)
    except UserError:
        return False
    specs = [each.get("spec") for each in record.values() if isinstance(each, dict)]
    known = [each.get(setting) for each in specs if isinstance(each, dict)]
    return bool(known) and all(each in (value, list(value) if isinstance(value, tuple) else value) for each in known)


def trained_transforms(spec: LetterSpec) -> list[TransformSpec]:
    """Of the maps that some wanted network is trained on."""
    everything = _wanted(spec, _all_experiments(spec, MOCK_SUITES, {}))
    return list(dict.fromkeys(test.network.transform for tests in everything.values() for test in tests))


def _refuse_logarithms(field: str, plan: Mapping[str, Tests]) -> None:
    """Refuse experiments on the logarithm of maps that may have none."""
    tests = [test for each in plan.values() for test in each]
    kinds = dict.fromkeys(kind for test in tests for kind in (test.transform.kind, test.network.transform.kind))
    if found := [kind for kind in kinds if kind in OF_LOGARITHM]:
        raise UserError(
            f"{' and '.join(found)}: work on the logarithm of a map, which {field} does not always have; "
            "name other experiments with --only"
        )


def _wanted(spec: LetterSpec, plan: Mapping[str, Tests]) -> dict[str, Tests]:
    """The four pairs and the experiments that are named; all where none is."""
    return {name: tests for name, tests in plan.items() if name == FIRST or not spec.only or name.startswith(spec.only)}


def _refuse_changes(train: TrainSpec | SimulateSpec, name: str, expected: Mapping[str, object]) -> None:
    for setting, value in expected.items():
        if getattr(train, setting) != value:
            told = getattr(train, setting) if isinstance(value, str) else "changed"
            raise UserError(f"{name}.{setting}: {told}; every experiment of a letter sets it itself, do not give it")


def searches(spec: LetterSpec, plan: Mapping[str, Tests]) -> dict[tuple[str, str], TuneSpec]:
    """The searches for hyper-parameters that some experiments ask for, by what the networks read and by suite."""
    wanted = dict.fromkeys(_searched(test.network) for tests in plan.values() for test in tests)
    power_spectrum = _summary(spec, "power spectrum")
    n_trials = {spec.train: spec.map_trials, power_spectrum: spec.summary_trials}
    return {
        (inputs, suite): TuneSpec(replace(train, suite=suite), n, seed=train.seed)
        for inputs, suite in wanted
        for train, n in n_trials.items()
        if n > 0 and train.inputs == inputs
    }


def experiments(
    spec: LetterSpec, suites: tuple[str, str], directory: Path, tuned: Tuned = MappingProxyType({})
) -> dict[str, Tests]:
    """The experiments by name, in the order in which they are to be done.

    Args:
        spec: what to do, what to vary, and how to train.
        suites: the two that are compared.
        directory: folder of CMD files; experiments on gravity-only twins are left out where it holds none.
        tuned: what searches found; networks on gravity-only twins share it with those on the suite.

    Raises:
        UserError: an experiment that the folder has no maps for.
    """
    everything = _all_experiments(spec, suites, _twins(spec, suites, directory))
    plan = {name: tests for name, tests in everything.items() if tests}
    for words in spec.only:
        if not any(name.startswith(words) for name in plan):
            raise UserError(f"only: {words!r} needs the gravity-only twins of the suites; {directory} has none")
    return {
        name: tuple(replace(test, network=_with_found(test.network, tuned)) for test in tests)
        for name, tests in _wanted(spec, plan).items()
    }


def _searched(network: TrainSpec) -> tuple[str, str]:
    """The search whose hyper-parameters a network takes."""
    return "maps" if network.inputs == "maps" else "power spectrum", hydro_twin(network.suite)


def _with_found(network: TrainSpec, tuned: Tuned) -> TrainSpec:
    found = tuned.get(_searched(network), network)
    return replace(network, optimiser=found.optimiser, network=found.network, perceptron=found.perceptron)


def _all_experiments(spec: LetterSpec, suites: tuple[str, str], twins: Mapping[str, str]) -> dict[str, Tests]:
    first = _pairs(spec, suites, spec.train)
    spec = replace(spec, seeds=spec.other_seeds)
    return {
        FIRST: first,
        **{kind: null_test(spec, suites, kind) for kind in NULL_TESTS},
        "power spectrum": _pairs(spec, suites, _summary(spec, "power spectrum")),
        "one-point PDF": _pairs(spec, suites, _summary(spec, "one-point PDF")),
        "hydro to N-body": _across(spec, {suite: (twins[suite],) for suite in twins}),
        "N-body to hydro": _across(spec, {twin: (twin, suite) for suite, twin in twins.items()}),
        **{
            f"smoothing {scale:g} px": _pairs(
                spec, suites, replace(spec.train, transform=TransformSpec("smoothing", scale))
            )
            for scale in spec.smoothing
        },
        **{
            f"k_max {scale:g} h/Mpc": _pairs(spec, suites, replace(spec.train, transform=TransformSpec("k_max", scale)))
            for scale in spec.k_max
        },
        "permuted labels": _own(spec, suites, replace(spec.train, labels="permuted")),
    }


def trained_suites(tests: Mapping[str, Tests]) -> set[str]:
    """Names of all suites that some network is trained or tested on."""
    return {name for each in tests.values() for test in each for name in (test.network.suite, test.suite)}


def null_test(spec: LetterSpec, suites: tuple[str, str], kind: NullTest) -> Tests:
    """The networks of the four pairs on the test maps of their own suite, destroyed in one way."""
    return tuple(replace(test, transform=TransformSpec(kind, seed=1)) for test in _own(spec, suites, spec.train))


def _pairs(spec: LetterSpec, suites: tuple[str, str], train: TrainSpec) -> Tests:
    """Each network on the test simulations of its own suite, then on those of the other (Fig. 2)."""
    return _across(spec, {suite: sorted(suites, key=lambda name: name != suite) for suite in suites}, train)


def _own(spec: LetterSpec, suites: tuple[str, str], train: TrainSpec) -> Tests:
    return _across(spec, {suite: (suite,) for suite in suites}, train)


def _across(spec: LetterSpec, tested: Mapping[str, Sequence[str]], train: TrainSpec | None = None) -> Tests:
    """Networks of each suite on the suites it is tested on, one seed after the other."""
    train = train or spec.train
    return tuple(
        EvaluateSpec(replace(train, suite=suite, seed=train.seed + i), other, train.field, train.set_name)
        for i in range(spec.seeds)
        for suite, others in tested.items()
        for other in others
    )


def _summary(spec: LetterSpec, inputs: Literal["power spectrum", "one-point PDF"]) -> TrainSpec:
    maps = spec.train
    return replace(spec.summary, inputs=inputs, **{name: getattr(maps, name) for name in SHARED})


def _twins(spec: LetterSpec, suites: tuple[str, str], directory: Path) -> dict[str, str]:
    """Gravity-only twin of each suite, where the folder holds it."""
    train = spec.train
    present = {(files.suite, files.field, files.set_name) for files in list_suites(directory)}
    return {
        suite: nbody_twin(suite)
        for suite in suites
        if not is_nbody(suite) and (nbody_twin(suite), train.field, train.set_name) in present
    }
