"""A robustness study from a data folder to measured results: what is missing is done, once; what was killed goes on.

    choice (narrow, short) -> methods of each fold -> networks of full size -> predictions of unseen simulations

Everything lies below one folder of runs (`study.store`); a network that a letter has trained there is found.
"""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from fieldlevel.data.suite import check_distinct, open_suite
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.software import describe_software
from fieldlevel.layout import Parameter
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import in_plain_types
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.study.jobs import affordable, train_missing, weights_of
from fieldlevel.study.letter_data import LetterData, describe_data
from fieldlevel.study.robustness.choosing import Choice, choose, full_size, over_all
from fieldlevel.study.robustness.controls import controls_of
from fieldlevel.study.robustness.folds import Folds
from fieldlevel.study.robustness.robust_methods import adapting_methods, candidates_of, methods_of
from fieldlevel.study.robustness.robustness_data import as_letter, folds_of
from fieldlevel.study.robustness.robustness_results import RobustnessResults
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.study.robustness.roles import ALL_TARGET, Role, Roles, as_plan
from fieldlevel.study.robustness.set_tests import set_test_once
from fieldlevel.study.robustness.suite_distances import suite_distances
from fieldlevel.study.robustness.tested_at_once import do_tests
from fieldlevel.study.runner import is_predicted, test_once
from fieldlevel.study.store import Store
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
    parameters = main_parameters(data.of(suite).layout for suite in data.suites)
    has = set(spec.parts)
    methods = methods_of(spec, have_siblings=folds.have_siblings)
    compared, seeing = _candidates(spec, methods), _candidates(spec, adapting_methods(spec))
    chosen = work({**_choices(folds, compared), **(_adapting(folds, seeing) if "adaptation" in has else {})})
    choices = _chosen(folds, compared, chosen, parameters)
    adapting = _chosen(folds, seeing, chosen, parameters, ALL_TARGET) if "adaptation" in has else {}
    methods = full_size([*choices.values()], spec.n_best) if "leave one out" in has else ()
    full = _full_size(folds, methods, choices, adapting, compared)
    tested = work(full)
    opened = {suite: data.of(suite) for suite in data.suites}
    return RobustnessResults(
        spec=spec,
        key=data.key,
        suites=data.suites,
        parameters=parameters,
        tested={**chosen, **tested},
        choices=choices,
        adapting=adapting,
        methods=methods,
        set_p=_set_tests(store, data, full, tested, device),
        distances=suite_distances(opened, {suite: rows.train for suite, rows in folds.rows.items()}),
        facts=describe_data(as_letter(spec, data.suites), data),
        provenance=describe_software(select_device(device)),
        is_mock=data.is_mock,
    )


Done = dict[Role, tuple[PairResult, ...]]


def _do(store: Store, data: LetterData, device: str, workers: int, listener: Listener, roles: Roles) -> Done:
    """Train and test the networks of some roles, unless that was done."""
    devices = affordable(choose_devices(device, workers), data.opened)
    told = tuple(test for role, tests in roles.items() if role.kind in TOLD_OF_SETS for test in tests)
    use = partial(do_tests, store, data.directory, told)
    train_missing(store, as_plan(roles), data.opened, devices, listener, partial(is_predicted, store, data), use)
    n, done = sum(map(len, roles.values())), itertools.count(1)

    def tested(test: EvaluateSpec) -> PairResult:
        result = test_once(store, test, data, device, ignore)
        listener(Progress("test networks", next(done), n, "tests"))
        return result

    return {role: tuple(map(tested, tests)) for role, tests in roles.items()}


def _candidates(spec: RobustnessSpec, methods: Sequence[str]) -> list[MethodOptions]:
    return [each for method in methods for each in candidates_of(spec, method)]


def _choices(folds: Folds, candidates: Sequence[MethodOptions]) -> Roles:
    """What must be trained to choose; nothing where there is one candidate."""
    if len(candidates) < 2:
        return {}
    return {role: tests for target in folds.suites for role, tests in folds.choice(target, candidates).items()}


def _adapting(folds: Folds, candidates: Sequence[MethodOptions]) -> Roles:
    if len(candidates) < 2:
        return {}
    return {role: tests for target in folds.suites for role, tests in folds.adapting_choice(target, candidates).items()}


def _chosen(
    folds: Folds,
    candidates: Sequence[MethodOptions],
    tested: Done,
    parameters: Sequence[Parameter],
    detail: str = "",
) -> dict[str, Choice]:
    if len(candidates) < 2:
        return {suite: Choice(suite, {}, tuple(candidates)) for suite in folds.suites}
    return {suite: choose(suite, candidates, tested, parameters, detail) for suite in folds.suites}


def _full_size(
    folds: Folds,
    methods: Sequence[str],
    choices: dict[str, Choice],
    adapting: dict[str, Choice],
    candidates: Sequence[MethodOptions],
) -> Roles:
    """All networks of full size: the matrix, and what was asked for beside it."""
    roles = dict(folds.matrix())
    if methods:
        overall = [over_all([*choices.values()], candidates, method) for method in methods]
        roles |= folds.all_suites(overall)
    for target in folds.suites:
        taken = [choices[target].of(method) for method in methods]
        roles |= {**folds.leave_one_out(target, taken), **folds.inner(target, taken)} if taken else {}
        roles |= folds.adaptation(target, adapting[target].best) if adapting else {}
        trained = [each for each in choices[target].ranked if each.method in (methods or (each.method,))]
        roles |= controls_of(folds, target, trained) if "controls" in folds.spec.parts else {}
    return roles


def _set_tests(
    store: Store, data: LetterData, roles: Roles, tested: Done, device: str
) -> dict[tuple[Role, str], float]:
    """The smallest p-value over the seeds times their number (Bonferroni), of networks with a reference."""
    found: dict[tuple[Role, str], list[float]] = {}
    for role in (role for role in roles if role.kind in TOLD_OF_SETS):
        for test, pair in zip(roles[role], tested[role], strict=True):
            weights = weights_of(store, test.network, data.opened)
            numbers = pair.predictions.simulation
            if (p := set_test_once(store, test, weights, data.opened, numbers, device)) is not None:
                found.setdefault((role, pair.test_suite), []).append(p)
    return {place: min(1.0, len(each) * min(each)) for place, each in found.items()}
