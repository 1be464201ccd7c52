"""The letter from a data folder to measured results: what is missing is done, once; what was killed goes on.

    data folder -> networks of each experiment -> predictions of unseen simulations -> measures with bootstrap errors

Everything lies below one output folder: `data/` (mock suites, where no data is given) and `runs/` (see `store`).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fieldlevel.data.suite import check_distinct, open_suite
from fieldlevel.errors import UserError, shown
from fieldlevel.inference.software import describe_software
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, ignore
from fieldlevel.spec_io import in_plain_types
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.ratios import transfer_ratios
from fieldlevel.study.example_maps import choose_examples
from fieldlevel.study.experiments import asked, known_experiments
from fieldlevel.study.feedback_response import one_parameter_tables
from fieldlevel.study.jobs import NetworkRun, affordable, train_missing, trained_network
from fieldlevel.study.keys import FIRST, ExperimentKey, Plan, Tests, first_seed
from fieldlevel.study.letter_data import LetterData, describe_data
from fieldlevel.study.letter_plan import experiments, searches
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.mean_only import predict_from_mean
from fieldlevel.study.numerics_sets import particles_a_side
from fieldlevel.study.results import LetterResults, suite_matrix
from fieldlevel.study.searches import Searches, found_by, search_missing
from fieldlevel.study.store import Store
from fieldlevel.study.testing import is_predicted, test_once
from fieldlevel.study.verdict import Verdict
from fieldlevel.workers import choose_devices


def run_letter(
    spec: LetterSpec,
    data: LetterData,
    out: Path,
    device: str = "auto",
    listener: Listener = ignore,
    show_pairs: Callable[[Sequence[PairResult]], None] = lambda pairs: None,
    workers: int = 1,
) -> LetterResults:
    """Train and test every network of every experiment; networks are spread over the GPUs, or processes on the CPU.

    Args:
        spec: suites, experiments and networks.
        data: the maps.
        out: output folder; complete runs in it are not repeated.
        device: where the networks run.
        listener: hears of the progress.
        show_pairs: called with the pairs as soon as they are there, long before the rest.
        workers: processes on the CPU, of one thread each if there are several.

    Returns:
        Predictions, measures, verdicts and what the figures need.

    Raises:
        DataError: the data is not sound.
        TrainingError: a loss is not finite.
    """
    spec = in_plain_types(LetterSpec, spec)
    _check_sound(data, listener)
    do = partial(_do_stage, spec, data, out, device, listener, workers)
    done, found = do({}, is_first=True)
    show_pairs(first_seed(done[FIRST]))
    others, found = do(found, is_first=False)
    done |= others
    store = Store(out / "runs")
    plan = experiments(spec, data.suites, data.directory, found_by(found))
    chosen = choose_examples({name: data.of(name) for name in data.suites}, spec.train.split)
    results = LetterResults(
        suites=data.suites,
        experiments=done,
        transfer=transfer_ratios(suite_matrix(done)),
        is_mock=data.is_mock,
        layout=data.layout,
        spec=spec,
        key=data.key,
        trained={key: _first_networks(store, tests, data) for key, tests in plan.items()},
        searches=found,
        mean_only={suite: predict_from_mean(data.of(suite), spec.train.split) for suite in data.suites},
        examples={name: np.array([data.of(name).read_simulation(int(n))[0] for n in chosen[name]]) for name in chosen},
        example_parameters={name: data.of(name).parameters[numbers] for name, numbers in chosen.items()},
        facts=describe_data(spec, data),
        one_parameter_tables=one_parameter_tables(data.opened),
        n_particles={name: particles_a_side(data.of(name).files) for name in data.suites},
        provenance=describe_software(select_device(device)),
    )
    return replace(results, verdicts=list(judge(results)))


def run_pairs(
    spec: LetterSpec,
    data: LetterData,
    out: Path,
    device: str = "auto",
    listener: Listener = ignore,
    workers: int = 1,
) -> tuple[PairResult, ...]:
    """Train and test the networks of the pairs of suites, with which `run_letter` begins, and no others.

    Arguments and errors are those of `run_letter`.

    Returns:
        The pairs, of the first seed.
    """
    spec = replace(in_plain_types(LetterSpec, spec), only=(FIRST.label,))
    _check_sound(data, listener)
    done, _ = _do_stage(spec, data, out, device, listener, workers, {}, is_first=True)
    return first_seed(done[FIRST])


def _check_sound(data: LetterData, listener: Listener) -> None:
    for suite in data.opened.values():
        open_suite(data.directory, suite.suite, suite.field, suite.set_name, listener=listener)
    check_distinct([suite.files for suite in data.opened.values()], listener)


def _do_stage(
    spec: LetterSpec,
    data: LetterData,
    out: Path,
    device: str,
    listener: Listener,
    workers: int,
    found: Searches,
    *,
    is_first: bool,
) -> tuple[dict[ExperimentKey, tuple[PairResult, ...]], Searches]:
    """Search, train and test for the pairs, or for everything else; what was found before goes on."""
    store = Store(out / "runs")
    devices = affordable(choose_devices(device, workers), data.opened)
    asked = searches(spec, _stage(spec, data, found, is_first))
    found = {**found, **search_missing(store, asked, data.opened, devices, listener)}
    plan = _stage(spec, data, found, is_first)
    train_missing(store, plan, data.opened, devices, listener, partial(is_predicted, store, data))
    return {key: tuple(test_once(store, test, data, device, listener) for test in plan[key]) for key in plan}, found


def judge(results: LetterResults) -> Iterator[Verdict]:
    """A verdict on every experiment that was done, in their order."""
    for experiment in known_experiments():
        with asked(experiment):
            verdicts = list(experiment.judge(results))
        if wrong := [verdict for verdict in verdicts if not isinstance(verdict, Verdict)]:
            raise UserError(f"experiment {experiment.kind!r}: judges {shown(wrong[0])}; give Verdicts")
        yield from verdicts


def _stage(spec: LetterSpec, data: LetterData, found: Searches, is_first: bool) -> Plan:
    """The pairs, or everything else, with what was found so far."""
    plan = experiments(spec, data.suites, data.directory, found_by(found))
    return {key: tests for key, tests in plan.items() if (key == FIRST) == is_first}


def _first_networks(store: Store, tests: Tests, data: LetterData) -> dict[str, NetworkRun]:
    """Networks with the lowest seed, by training suite."""
    lowest = min(test.network.seed for test in tests)
    specs = {test.network.suite: test.network for test in tests if test.network.seed == lowest}
    return {suite: trained_network(store, spec, data.opened) for suite, spec in specs.items()}
