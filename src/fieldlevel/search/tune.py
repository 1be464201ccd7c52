"""Hyper-parameter search with Optuna: many trials of one network, of which the best are kept for ensembles.

A search lives in one folder (`search.trials`): any number of processes may work on it, and any of them may be killed
at any moment. What is varied and how stands in `search.space`.

References:
    Akiba et al. 2019, arXiv:1907.10902 (Optuna).
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import optuna
import torch
from optuna.trial import Trial, TrialState

from fieldlevel.crews import current_crew
from fieldlevel.data.batches import MapSet
from fieldlevel.data.normalise import AnyNormaliser
from fieldlevel.data.seen import SeenSource
from fieldlevel.data.suite import Suite
from fieldlevel.errors import TrainingError, UserError, reason
from fieldlevel.estimators.network_specs import is_assembled
from fieldlevel.files import make_folder
from fieldlevel.inference.calibrated_training import complete
from fieldlevel.layout import Layout
from fieldlevel.numerics.device import select_device
from fieldlevel.numerics.hardware import in_words, unit_of
from fieldlevel.pieces import kept_for_others, worker_listener
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.search.published_trials import Point, published_trials
from fieldlevel.search.search_settings import MOST_TRIALS, refuse_unused_in_search
from fieldlevel.search.space import PUBLISHED, search_space, trial_spec
from fieldlevel.search.trial_tables import STATES, value_of
from fieldlevel.search.trials import Search, open_search, working
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import digest, in_plain_types, refuse_values
from fieldlevel.training.precision import seeded
from fieldlevel.training.resume import ResumeFile
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.sources import fingerprints_of, load_sets, open_data, outputs_of, seen_sources
from fieldlevel.training.state import TrainedNetwork, TrainingState
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import provenance_of, train_network, validations
from fieldlevel.training.weights_file import WEIGHTS_NAME, save_network
from fieldlevel.workers import spread


def tune(
    spec: TuneSpec,
    directory: str | Path,
    out: str | Path,
    device: str = "auto",
    listener: Listener = ignore,
    *,
    check: bool = True,
    begin_with: str | Path | None = None,
    to_use: bool = True,
    verbose: bool = False,
) -> list[Path]:
    """Search for the hyper-parameters with the lowest validation loss, and make the best networks ready for use.

    These are calibrated and get a reference as by `fieldlevel.train`.

    Test maps are never loaded (but for the legacy normaliser, which measures all).

    Calling it again continues an interrupted search and returns at once from a finished one; calling it at the same
    time in several processes shares the trials among them, and each returns when the last trial is finished. A trial
    whose loss is not finite, or that does not fit in the GPU's memory, counts as failed. A finished search goes on if
    the spec asks for more trials and is otherwise the same.

    Args:
        spec: what to train, what to search, how many trials.
        directory: folder of CMD-format files.
        out: folder for `spec.json`, the journal, `trials.csv`, `importance.json` and the weights of the best trials.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:<n>"`.
        listener: told of every tenth step and of every trial.
        check: whether to check every map of the suite first; needless for a folder that was checked before.
        begin_with: Optuna database of the released CMD scripts, the best trials of which are the first of the search
            (`search.published_trials`); only of networks on maps.
        to_use: whether the best networks are to be used, not only what they were trained with.
        verbose: whether to show the progress, too.

    Returns:
        Weights files of the best trials, `trial-<number>/weights.safetensors`, the best first.

    Raises:
        DataError: a folder that cannot be used.
        TrainingError: every trial failed.
        UserError: settings or a database that cannot be used, or an `out` that belongs to another spec, other data or
            another database.
    """
    spec = _check_spec(spec)
    if not (Path(out) / "journal.log").exists():
        refuse_unused_in_search(spec)
    shared = Shared(spec, directory, out, begin_with)
    with _quiet_optuna(), telling(listener, verbose) as told:
        search = shared.open()
        if current_crew() is not None:
            open_data(spec.train, directory, told, check=check)
            _share(search, shared, to_use, told)
            return search.best_weights()
        if not search.is_finished() or search.lost():
            data = _load(spec.train, directory, select_device(device), told, check=check)
            _work(search, data, told)
            _make_again(search, data, told)
        weights = search.best_weights()
        if to_use:
            _complete(search, weights, directory, device, told)
        return weights


@dataclass(frozen=True)
class Shared:
    """A search that any worker of a cluster can open; arguments as of `tune`."""

    spec: TuneSpec
    directory: str | Path
    out: str | Path
    begin_with: str | Path | None

    def open(self) -> Search:
        """The search in its folder, begun if need be."""
        trials = [] if self.begin_with is None else _trials_for(self.spec, self.begin_with)
        sources = open_data(self.spec.train, self.directory, check=False)
        return open_search(self.spec, Path(self.out), fingerprints_of([source.suite for source in sources]), trials)

    def do_trial(self, number: int, device: torch.device) -> None:
        """Do one trial, that of a worker that died first; none where the search is finished."""
        told = worker_listener()
        with _quiet_optuna():
            search = self.open()
            if not search.is_finished():
                load = partial(_load, self.spec.train, self.directory, device, told, check=False)
                data = kept_for_others((self, device), load)
                with working(search.out) as worker:
                    _work_once(search, worker, data, told)

    def end(self, to_use: bool, number: int, device: torch.device) -> None:
        """Do what comes after the trials."""
        tune(
            *(self.spec, self.directory, self.out, str(device), worker_listener()),
            check=False,
            begin_with=self.begin_with,
            to_use=to_use,
        )


def _share(search: Search, shared: Shared, to_use: bool, listener: Listener) -> None:
    """Have workers do the trials that are left, one a piece, and one of them what comes after."""
    n_left = search.spec.n_trials - len(search.finished())
    here = [torch.device("cpu")]
    deque(spread(shared.do_trial, range(n_left), here, listener), maxlen=0)
    deque(spread(partial(shared.end, to_use), [0], here, listener), maxlen=0)


def _complete(search: Search, weights: list[Path], directory: str | Path, device: str, listener: Listener) -> None:
    """Do for the best networks what the end of a training does; once, whoever else works on the search."""
    with search.locked():
        for path in weights:
            complete(path, directory, device, listener)


def _trials_for(spec: TuneSpec, database: str | Path) -> list[Point]:
    if search_space(spec).keys() != PUBLISHED.keys():
        train = spec.train
        other = (
            f"inputs = {train.inputs}"
            if not is_assembled(train)
            else f"body = {train.body!r} and head = {train.head!r}"
        )
        told = f"{database}: holds trials of networks on maps, but {other}"
        raise UserError(f"{told}; search them without --begin-with")
    return published_trials(database)


def train_trial(
    trial: Trial, spec: TrainSpec, training: MapSet, validation: MapSet, file: ResumeFile, listener: Listener
) -> TrainedNetwork | None:
    """Train the network of one trial, from its last validation if it was begun before.

    Args:
        trial: told the loss of each validation.
        spec: of the trial.
        training: maps to minimise the loss of.
        validation: maps that the value of the trial is the loss of, once the network is settled to predict; the pruner
            judges by the losses on the way.
        file: the state of the trial, written at validations where that costs little.
        listener: told of every tenth step.

    Returns:
        The network with its lowest validation loss; None where the pruner has stopped it.

    Raises:
        TrainingError: the loss is not finite.
        UserError: a state that cannot be read.
    """
    with seeded(spec.seed, training.maps.device):
        state = TrainingState(spec, training, validation)
        for _ in validations(state, file, listener):
            _report(trial, state)
            if state.step < spec.n_steps and trial.should_prune():
                return None
        return state.best_network()


def _report(trial: Trial, state: TrainingState) -> None:
    """Tell the trial what it does not know yet, the validations of a process that was killed included."""
    known = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
    for row in state.history:
        if row.step not in known:
            trial.report(row.validation_loss, row.step)
    trial.set_user_attr("seconds", state.seconds)


@dataclass(frozen=True, eq=False)
class _Data:
    suites: list[Suite]
    outputs: Layout
    seen: tuple[SeenSource, ...]
    normaliser: AnyNormaliser
    training: MapSet
    validation: MapSet

    def resume_file(self, path: Path, spec: TrainSpec) -> ResumeFile:
        """Of the training of a spec on these maps."""
        key, *earlier = [digest(spec, each) for each in fingerprints_of(self.suites)]
        return ResumeFile(path, key, earlier)


def _load(train: TrainSpec, directory: str | Path, device: torch.device, listener: Listener, *, check: bool) -> _Data:
    """The maps of all trials: nothing that is searched changes them."""
    sources = open_data(train, directory, listener, check=check)
    seen, suites = seen_sources(sources, listener), [source.suite for source in sources]
    return _Data(suites, outputs_of(train, sources), seen, *load_sets(train, sources, device, listener))


def _work(search: Search, data: _Data, listener: Listener) -> None:
    """Do trials until the search is finished."""
    with working(search.out) as worker:
        while _work_once(search, worker, data, listener):
            pass


def _work_once(search: Search, worker: str, data: _Data, listener: Listener) -> bool:
    """Do a trial; whether there was one left."""
    if (trial := search.claim(worker)) is None:
        return False
    state = _run_trial(search, trial, data, _in_search(search, trial.number, listener))
    n_steps = search.spec.train.n_steps * len(search.finished())
    _tell(search, n_steps, f"trial {trial.number} {STATES[state]}", listener)
    return True


def _make_again(search: Search, data: _Data, listener: Listener) -> None:
    """Train the trials again whose weights were taken away: on a CPU, the same to the bit."""
    with search.locked():
        for trial in search.lost():
            spec, folder = trial_spec(search.spec.train, trial.params), search.folder(trial.number)
            make_folder(folder)
            file = folder / "resume.pt"
            told = _in_search(search, trial.number, listener)
            trained = train_network(
                spec, data.training, data.validation, file, told, facts=fingerprints_of(data.suites)[:1]
            )
            _save(folder / WEIGHTS_NAME, spec, trained, data, trial.number)
            file.unlink(missing_ok=True)


def _run_trial(search: Search, trial: Trial, data: _Data, listener: Listener) -> TrialState:
    """Train, save, close: weights are on disk before the trial is complete."""
    spec, folder = trial_spec(search.spec.train, trial.params), search.folder(trial.number)
    make_folder(folder)
    trial.set_user_attr("hardware", in_words([unit_of(data.training.maps.device)]))
    try:
        file = data.resume_file(folder / "resume.pt", spec)
        trained = train_trial(trial, spec, data.training, data.validation, file, listener)
    except (TrainingError, torch.OutOfMemoryError) as error:
        trial.set_user_attr("error", reason(error))
        search.finish(trial, TrialState.FAIL)
        return TrialState.FAIL
    if trained is None:
        search.finish(trial, TrialState.PRUNED)
        return TrialState.PRUNED
    _save(folder / WEIGHTS_NAME, spec, trained, data, trial.number)
    search.finish(trial, TrialState.COMPLETE, trained.validation_loss)
    return TrialState.COMPLETE


def _save(path: Path, spec: TrainSpec, trained: TrainedNetwork, data: _Data, number: int) -> None:
    save_network(
        path,
        trained.network,
        spec,
        data.normaliser,
        layout=data.outputs,
        sources=data.seen,
        provenance=provenance_of(trained, data.suites, data.training) | {"trial": number},
    )


def _in_search(search: Search, number: int, listener: Listener) -> Listener:
    """Listener to one trial that tells how far the whole search is."""
    n_before = search.spec.train.n_steps * len(search.finished())

    def tell(event: Progress) -> None:
        numbers = {"trial": number, **event.numbers}
        _tell(search, n_before + event.done, f"trial {number}: {event.detail}", listener, numbers)

    return tell


def _tell(
    search: Search, n_steps: int, detail: str, listener: Listener, numbers: Mapping[str, float] | None = None
) -> None:
    """Count the steps of all trials; those that stopped early count as if they had not."""
    spec = search.spec
    best = "".join(f", best {value_of(trial):.2f}" for trial in search.best()[:1])
    total = spec.n_trials * spec.train.n_steps
    listener(Progress(f"tune {spec.train.suite}", n_steps, total, "steps", f"{detail}{best}", numbers or {}))


def _check_spec(spec: TuneSpec) -> TuneSpec:
    """The spec in plain types, unless it cannot be."""
    spec = in_plain_types(TuneSpec, spec)
    spec = replace(spec, train=check_train_spec(spec.train))
    at_least_one = f"numbers of at least 1 and at most {MOST_TRIALS:,}"
    refuse_values(
        spec,
        {
            "n_trials": (1 <= spec.n_trials <= MOST_TRIALS, at_least_one),
            "n_kept": (1 <= spec.n_kept <= MOST_TRIALS, at_least_one),
        },
    )
    if not 0 <= spec.seed < 1 << 63:
        raise UserError(f"search-seed = {spec.seed}: the seed of the search must be at least 0 and below 2^63")
    return spec


@contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Optuna's own messages would stand between the lines of the listener."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
