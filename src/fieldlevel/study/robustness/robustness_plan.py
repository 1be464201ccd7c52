"""What a study would train, counted before anything is: networks, steps, and the time of a device.

What is trained at full size depends on what the choice finds. Until that is known, counted is what a study costs in
which one method other than pooling is best everywhere, the first that there is.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from fieldlevel.progress import ignore
from fieldlevel.simulate.sets import rows_of_set
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.study.jobs import divergence_of, network_key, run_name
from fieldlevel.study.letter_data import LetterData
from fieldlevel.study.robustness.choosing import Choice
from fieldlevel.study.robustness.experts import mixed_choice
from fieldlevel.study.robustness.folds import Folds
from fieldlevel.study.robustness.robust_methods import POOLED
from fieldlevel.study.robustness.robustness_data import choose_suites, claimed_parameters, folds_of
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.study.robustness.roles import Kind, Role, Roles
from fieldlevel.study.robustness.rows import Rows
from fieldlevel.study.robustness.stages import Candidates, Choices, Stages
from fieldlevel.study.robustness.step_times import StepTimes
from fieldlevel.study.store import Store
from fieldlevel.study.testing import is_predicted, test_once
from fieldlevel.suites import layout_of
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class PlannedKind:
    """Networks of one kind.

    Attributes:
        kind: of `Role`, in words.
        n_networks: of them; one that several kinds share counts where it is first needed.
        n_left: of these, that are not trained yet.
        steps: of all of them together.
        minutes: of one device, for those that are left.
    """

    kind: str
    n_networks: int
    n_left: int
    steps: int
    minutes: float


def plan_robustness(spec: RobustnessSpec, times: StepTimes, data: LetterData | None, out: Path) -> list[PlannedKind]:
    """Count what a study would train, by kind, and what of it is left.

    Args:
        spec: of the study.
        times: how long a device takes.
        data: the maps; None counts for mock suites that are not simulated yet, nothing of which is trained.
        out: folder whose `runs` are used.
    """
    folds = folds_of(spec, data) if data else _without_maps(spec)
    layouts = [data.of(suite).layout if data else layout_of(suite, spec.train.set_name) for suite in folds.suites]
    stages = Stages(folds, claimed_parameters(spec, layouts))
    store = Store(out / "runs")
    known, left = partial(_known, store, data), partial(_is_left, store, data)
    comparing = stages.choice()
    found = known(comparing)
    if found is not None:
        found |= mixed_choice(found, folds.suites, [parameter.name for parameter in stages.parameters])
    choices = stages.choices(found) if found is not None else _assumed(dict.fromkeys(folds.suites, stages.compared))
    candidates = stages.adapting_candidates(choices)
    seeing = stages.adapting_choice(candidates)
    found = known(seeing)
    adapting = stages.adapting(candidates, found) if found is not None else _assumed(candidates)
    roles = {**comparing, **seeing, **stages.full_size(choices, adapting)}
    return list(_counted(roles, spec, times, left))


def _known(store: Store, data: LetterData | None, roles: Roles) -> dict[Role, tuple[PairResult, ...]] | None:
    """What was found for some roles; None where some of it was not done."""
    tests = [test for each in roles.values() for test in each]
    if data is None:
        return None if tests else {}
    sound = [test for test in tests if divergence_of(store, test.network, data.opened) is None]
    if not all(is_predicted(store, data, test) for test in sound):
        return None
    return {
        role: tuple(test_once(store, test, data, "cpu", ignore) for test in each if test in sound)
        for role, each in roles.items()
    }


def _assumed(candidates: Candidates) -> Choices:
    """As if the first method that is not pooling were best everywhere."""
    choices = {}
    for suite, compared in candidates.items():
        first: dict[str, MethodOptions] = {}
        for each in sorted(compared, key=lambda each: each.method == POOLED):
            first.setdefault(each.method, each)
        choices[suite] = Choice(suite, dict.fromkeys((each.label for each in compared), 1.0), tuple(first.values()))
    return choices


def _is_left(store: Store, data: LetterData | None, network: TrainSpec) -> bool:
    if data is None:
        return True
    return not store.folder(run_name(network), network_key(store, network, data.opened)).exists()


def _counted(
    roles: Roles, spec: RobustnessSpec, times: StepTimes, is_left: Callable[[TrainSpec], bool]
) -> Iterator[PlannedKind]:
    """Kinds of networks in the order in which they are first needed, each network once."""
    first = {test.network: role.kind for role, tests in reversed(list(roles.items())) for test in tests}
    by_kind: dict[Kind, list[TrainSpec]] = {role.kind: [] for role in roles}
    for network, kind in first.items():
        by_kind[kind].append(network)
    for kind, networks in by_kind.items():
        is_choice = kind == "choice"
        ms, beside_s = (times.choice_ms, times.choice_beside_s) if is_choice else (times.full_ms, times.beside_s)
        left = [network for network in networks if is_left(network)]
        seconds = sum(
            beside_s + network.n_steps * ms / 1000 * network.batch_size / spec.train.batch_size for network in left
        )
        yield PlannedKind(kind, len(networks), len(left), sum(each.n_steps for each in networks), seconds / 60)


def _without_maps(spec: RobustnessSpec) -> Folds:
    """The folds of mock suites that are yet to be simulated."""
    suites = choose_suites(spec, None)
    layouts = {suite: layout_of(suite, spec.train.set_name) for suite in suites}
    simulate = replace(spec.simulate, suites=suites)
    tables = {
        suite: layouts[suite].to_unit_interval(np.array([row.parameters for row in rows_of_set(simulate, suite)]))
        for suite in suites
    }
    names = [each.name for each in main_parameters(layouts.values())]
    cosmology = {suite: table[:, [layouts[suite].column(name) for name in names]] for suite, table in tables.items()}
    rows = {suite: Rows.of(spec.train.split, len(table), spec.choice_part) for suite, table in tables.items()}
    return Folds(spec, suites, rows, cosmology, layouts[suites[0]].n_maps)
