"""The experiments of the letter as specs: what to train, what to test on what.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from fieldlevel.config import EvaluateSpec, LetterSpec, SimulateSpec, TrainSpec, TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.maps.cmd_format import list_suites
from fieldlevel.parameters import HYDRO_SUITES, MOCK_SUITES, is_mock, is_nbody, nbody_twin


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
        if len(set(spec.suites)) != 2:
            raise UserError(f"suites: {' '.join(spec.suites)}: name two different suites, e.g. IllustrisTNG SIMBA")
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


NullTest = Literal["mean map", "shuffled pixels", "random phases", "no monopole"]
NULL_TESTS: tuple[NullTest, ...] = get_args(NullTest)
"""Transforms of test maps; the network is not trained again."""

Tests = tuple[EvaluateSpec, ...]


def experiments(spec: LetterSpec, suites: tuple[str, str], directory: Path) -> dict[str, Tests]:
    """Every experiment by name, in the order in which they are to be done.

    Args:
        spec: what to vary, and how to train.
        suites: the two that are compared.
        directory: folder of CMD files; experiments on gravity-only twins are left out where it holds none.
    """
    twins = _twins(spec, suites, directory)
    return {
        "four pairs": _pairs(spec, suites, spec.train),
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
    names = {"field": maps.field, "set_name": maps.set_name, "split": maps.split, "seed": maps.seed}
    return replace(spec.summary, inputs=inputs, **names)  # type: ignore[arg-type]


def _twins(spec: LetterSpec, suites: tuple[str, str], directory: Path) -> dict[str, str]:
    """Gravity-only twin of each suite, where the folder holds it."""
    train = spec.train
    present = {(files.suite, files.field, files.set_name) for files in list_suites(directory)}
    return {
        suite: nbody_twin(suite)
        for suite in suites
        if not is_nbody(suite) and (nbody_twin(suite), train.field, train.set_name) in present
    }
