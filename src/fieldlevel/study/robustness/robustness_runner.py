"""A robustness study from a data folder to measured results: what is missing is done, once; what was killed goes on.

    choice (narrow, short) -> methods of each fold -> networks of full size -> predictions of unseen simulations

Everything lies below one folder of runs (`study.store`); a network that a letter has trained there is found.
"""

import itertools
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fieldlevel.data.suite import check_distinct, open_suite
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.software import describe_software
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import in_plain_types
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.shift_sources import Labels
from fieldlevel.study.jobs import affordable, divergence_of, train_missing, weights_of
from fieldlevel.study.letter_data import LetterData, describe_data
from fieldlevel.study.robustness.experts import mixed_choice, mixed_full_size, mixed_set_p
from fieldlevel.study.robustness.robustness_data import as_letter, claimed_parameters, folds_of, told_of_transform
from fieldlevel.study.robustness.robustness_results import RobustnessResults
from fieldlevel.study.robustness.robustness_spec import RobustnessSpec
from fieldlevel.study.robustness.roles import Role, Roles, as_plan
from fieldlevel.study.robustness.set_tests import of_all_seeds, set_test_once
from fieldlevel.study.robustness.stages import Stages
from fieldlevel.study.robustness.suite_distances import suite_distances
from fieldlevel.study.robustness.tested_at_once import do_tests
from fieldlevel.study.store import Store
from fieldlevel.study.testing import is_predicted, test_once
from fieldlevel.workers import choose_devices

TOLD_OF_SETS = ("matrix", "leave one out")
"""Kinds of networks whose set test is looked at."""


def run_robustness(
    spec: RobustnessSpec,
    data: LetterData,
    out: Path,
    device: str = "auto",
    listener: Listener = ignore,
    workers: int = 1,
) -> RobustnessResults:
    """Train and test every network of a study; networks are spread over the GPUs, or processes on the CPU.

    Args:
        spec: of the study.
        data: the maps (`robustness_data.prepare_robustness`).
        out: folder whose `runs` are used; complete ones are not repeated.
        device: where the networks run.
        listener: hears of the progress.
        workers: processes on the CPU, of one thread each if there are several.

    Returns:
        Predictions, choices and what the figures need.

    Raises:
        DataError: the data is not sound.
        TrainingError: a loss is not finite.
    """
    spec = in_plain_types(RobustnessSpec, spec)
    for suite in data.opened.values():
        open_suite(data.directory, suite.suite, suite.field, suite.set_name, listener=listener)
    check_distinct([suite.files for suite in data.opened.values()], listener)
    folds, store = folds_of(spec, data), Store(out / "runs")
    work = partial(_do, store, data, device, workers, listener)
    parameters = claimed_parameters(spec, (data.of(suite).layout for suite in data.suites))
    stages = Stages(folds, parameters)
    names = [parameter.name for parameter in parameters]
    compared = work(stages.choice(), may_diverge=True)
    compared |= mixed_choice(compared, data.suites, names)
    choices = stages.choices(compared)
    candidates = stages.adapting_candidates(choices)
    seeing = work(stages.adapting_choice(candidates), may_diverge=True)
    adapting = stages.adapting(candidates, seeing)
    full = stages.full_size(choices, adapting)
    tested = work(full)
    set_p = _set_tests(store, data, full, tested, device)
    tested |= mixed_full_size(tested, data.suites, names, set_p)
    opened, transform = {suite: data.of(suite) for suite in data.suites}, spec.train.transform
    return RobustnessResults(
        spec=spec,
        key=data.key,
        suites=data.suites,
        parameters=parameters,
        tested={**compared, **seeing, **tested},
        choices=choices,
        adapting=adapting,
        methods=stages.methods(choices),
        set_p=of_all_seeds({**set_p, **mixed_set_p(set_p, tested)}),
        distances=suite_distances(opened, {suite: rows.train for suite, rows in folds.rows.items()}, transform),
        labels={suite: _labels(data, suite, spec.test_set) for suite in data.suites},
        facts=describe_data(as_letter(spec, data.suites), data, _fewest(tested)) | told_of_transform(spec, data),
        provenance=describe_software(select_device(device)),
        is_mock=data.is_mock,
    )


def _labels(data: LetterData, suite: str, test_set: str) -> Labels:
    """Of the simulations that networks are tested on."""
    tested = data.opened[suite, test_set] if test_set else data.of(suite)
    return Labels(tested.parameters, tested.layout)


Done = dict[Role, tuple[PairResult, ...]]


def _do(
    store: Store,
    data: LetterData,
    device: str,
    workers: int,
    listener: Listener,
    roles: Roles,
    *,
    may_diverge: bool = False,
) -> Done:
    """Train and test the networks of some roles, unless that was done; one that diverged is tested on nothing."""
    devices = affordable(choose_devices(device, workers), data.opened)
    told = tuple(test for role, tests in roles.items() if role.kind in TOLD_OF_SETS for test in tests)
    use = partial(do_tests, store, data.directory, told)
    is_done = partial(is_predicted, store, data)
    train_missing(store, as_plan(roles), data.opened, devices, listener, is_done, use, may_diverge=may_diverge)
    n, done = sum(map(len, roles.values())), itertools.count(1)

    def tested(test: EvaluateSpec) -> Iterator[PairResult]:
        if not may_diverge or divergence_of(store, test.network, data.opened) is None:
            yield test_once(store, test, data, device, ignore)
        listener(Progress("test networks", next(done), n, "tests"))

    return {role: tuple(pair for test in tests for pair in tested(test)) for role, tests in roles.items()}


def _fewest(tested: Done) -> int | None:
    """Simulations in the smallest test of full size, on which claims rest."""
    pairs = itertools.chain(*tested.values())
    return min((len(np.unique(pair.predictions.simulation)) for pair in pairs), default=None)


def _set_tests(
    store: Store, data: LetterData, roles: Roles, tested: Done, device: str
) -> dict[tuple[Role, str], dict[int, float]]:
    """P-values of networks with a reference."""
    found: dict[tuple[Role, str], dict[int, float]] = {}
    for role in (role for role in roles if role.kind in TOLD_OF_SETS):
        for test, pair in zip(roles[role], tested[role], strict=True):
            weights = weights_of(store, test.network, data.opened)
            numbers = pair.predictions.simulation
            if (p := set_test_once(store, test, weights, data.opened, numbers, device)) is not None:
                found.setdefault((role, pair.test_suite), {})[pair.seed] = p
    return found
