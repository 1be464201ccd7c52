"""The experiments of the letter as specs: what to train, what to test on what.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from dataclasses import replace
from pathlib import Path

from fieldlevel.config import EvaluateSpec, LetterSpec, SimulateSpec, TrainSpec
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


def networks(spec: LetterSpec, suites: tuple[str, str]) -> list[TrainSpec]:
    """One network a suite."""
    return [replace(spec.train, suite=suite) for suite in suites]


def four_pairs(spec: LetterSpec, suites: tuple[str, str]) -> list[EvaluateSpec]:
    """Each network on the test simulations of its own suite, then on those of the other (Fig. 2)."""
    return [
        EvaluateSpec(network, suite, network.field, network.set_name)
        for network in networks(spec, suites)
        for suite in sorted(suites, key=lambda name: name != network.suite)
    ]


def nbody_tests(spec: LetterSpec, suites: tuple[str, str], directory: Path) -> list[EvaluateSpec]:
    """Each network on the gravity-only twin of its own test simulations, where the folder holds one (Fig. 3, right)."""
    present = {(files.suite, files.field, files.set_name) for files in list_suites(directory)}
    return [
        EvaluateSpec(network, nbody_twin(network.suite), network.field, network.set_name)
        for network in networks(spec, suites)
        if not is_nbody(network.suite) and (nbody_twin(network.suite), network.field, network.set_name) in present
    ]
