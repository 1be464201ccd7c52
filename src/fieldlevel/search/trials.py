"""The folder of one hyper-parameter search, which several processes share and any of them may leave at any moment.

* What has happened is in the journal; decisions are taken under one lock.
* Each process holds a lock file of its own while it lives, and its trials bear the name of that file. A running trial
  whose process is gone is taken over by the next one that looks for work, under the same number, with the same
  parameters, from its last validation: nothing is lost and nothing counts twice.
* The random numbers of a trial depend on the seed and on its number only, so that an interrupted search of one process
  proposes on a CPU what an uninterrupted one does, and two processes never draw alike.

References:
    Akiba et al. 2019, arXiv:1907.10902 (Optuna); Watanabe, Bansal & Hutter 2023, arXiv:2304.10255 (importance).
"""

import math
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from optuna.distributions import IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from fieldlevel.data.suite import is_old_fingerprint
from fieldlevel.errors import TrainingError, UserError
from fieldlevel.files import make_folder, starts_with, write_text
from fieldlevel.json_files import holds_keys, write_json
from fieldlevel.locks import locked, refuse_foreign
from fieldlevel.search.journal import naming_journal, open_journal
from fieldlevel.search.space import Space, pruner, sampler, search_space, starting_points
from fieldlevel.search.trial_tables import BEFORE_IMPORTANCE, STATES, read_trials, value_of, write_trials
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import read_spec, to_json
from fieldlevel.training.weights_file import WEIGHTS_NAME

STUDY_NAME = "fieldlevel"


@dataclass(frozen=True, eq=False)
class Search:
    """The state of a search that all its processes share."""

    spec: TuneSpec
    out: Path
    study: optuna.Study
    storage: BaseStorage

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Trials in any of these states, in the order of their numbers."""
        return self.study.get_trials(deepcopy=False, states=states)

    def finished(self) -> list[FrozenTrial]:
        """Trials that count."""
        return self.trials(*STATES)

    def is_finished(self) -> bool:
        """Whether there are as many trials that count as were asked for."""
        return len(self.finished()) >= self.spec.n_trials

    def best(self) -> list[FrozenTrial]:
        """The complete trials that are kept, the best first."""
        complete = self.trials(TrialState.COMPLETE)
        return sorted(complete, key=lambda trial: (value_of(trial), trial.number))[: self.spec.n_kept]

    def folder(self, number: int) -> Path:
        """Where a trial keeps its state and weights."""
        return self.out / f"trial-{number}"

    def lost(self) -> list[FrozenTrial]:
        """Trials that are kept, but whose weights somebody took away."""
        return [trial for trial in self.best() if not (self.folder(trial.number) / WEIGHTS_NAME).exists()]

    def best_weights(self) -> list[Path]:
        """Weights of the trials that are kept.

        Raises:
            TrainingError: there are none.
        """
        best = self.best()
        if not best:
            reason = next((str(trial.user_attrs.get("error")) for trial in self.finished()), "none was run")
            raise TrainingError(f"{self.out}: every trial of the search failed; the first: {reason}")
        return [self.folder(trial.number) / WEIGHTS_NAME for trial in best]

    def claim(self, worker: str) -> Trial | None:
        """The next trial to work on: one whose process is gone, else a new one; waits while others do the last ones.

        Args:
            worker: name of the lock file of this process.

        Returns:
            A trial; None when the search is finished.
        """
        while True:
            with self.locked():
                n_finished, running = len(self.finished()), self.trials(TrialState.RUNNING)
                if n_finished >= self.spec.n_trials:
                    return None
                living = _living_workers(self.out)
                orphans = [trial for trial in running if trial.user_attrs.get("worker") not in living]
                if orphans or n_finished + len(running) < self.spec.n_trials:
                    return self._begin(orphans[0].number if orphans else None, worker)
            with locked(self.out / running[0].user_attrs["worker"], wait=True):
                pass

    def finish(self, trial: Trial, state: TrialState, value: float | None = None) -> None:
        """Close a trial, keep the weights of the best alone, and write the tables."""
        with self.locked():
            self.study.tell(trial, value, state)
            self.tidy()

    def tidy(self) -> None:
        """Bring the folder in line with the journal; to be called under the lock."""
        kept = {trial.number for trial in self.best()}
        for trial in self.finished():
            if trial.number not in kept:
                shutil.rmtree(self.folder(trial.number), ignore_errors=True)
            (self.folder(trial.number) / "resume.pt").unlink(missing_ok=True)
        write_trials(self.out / "trials.csv", self.finished(), list(search_space(self.spec)))
        self._write_importance()

    def locked(self) -> AbstractContextManager[bool]:
        """Keep the other processes of this search from taking decisions."""
        return locked(self.out / ".search.lock", wait=True)

    def _begin(self, number: int | None, worker: str) -> Trial:
        """Ask for a new trial, or take one over; values that it had not drawn when it was killed are drawn now."""
        all_trials = self.study.get_trials(deepcopy=False)
        self.study.sampler = sampler(self.spec, len(all_trials) if number is None else number)
        trial = self.study.ask() if number is None else Trial(self.study, self._trial_id(number))
        for name, bounds in search_space(self.spec).items():
            if isinstance(bounds, IntDistribution):
                trial.suggest_int(name, bounds.low, bounds.high, log=bounds.log)
            else:
                trial.suggest_float(name, bounds.low, bounds.high, log=bounds.log)
        trial.set_user_attr("worker", worker)
        return trial

    def _trial_id(self, number: int) -> int:
        study_id = self.storage.get_study_id_from_name(STUDY_NAME)
        return self.storage.get_trial_id_from_study_id_trial_number(study_id, number)

    def _write_importance(self) -> None:
        values = [value_of(trial) for trial in self.trials(TrialState.COMPLETE)]
        if len(values) < BEFORE_IMPORTANCE or min(values) == max(values):
            return
        importance = get_param_importances(self.study, evaluator=PedAnovaImportanceEvaluator())
        document = {"method": "PED-ANOVA, best tenth", "n_trials": len(values), "importance": importance}
        write_json(self.out / "importance.json", document)


def open_search(
    spec: TuneSpec, out: Path, fingerprints: Sequence[str], trials: Sequence[Mapping[str, float | int]] = ()
) -> Search:
    """Begin a search in a folder, or open the one that it holds.

    Args:
        spec: of the search; it may ask for more trials than before.
        out: the folder, made if need be.
        fingerprints: of the data; the first is kept, any is known again.
        trials: of a published database, to begin with (`starting_points`).

    Raises:
        UserError: the folder holds a search of another spec, on other data, or that began with other trials, a damaged
            one, or foreign files.
    """
    make_folder(out)
    with locked(out / ".search.lock", wait=True):
        _refuse_other_spec(spec, out)
        refuse_foreign(out, OURS)
        _refuse_lost_journal(out)
        storage = open_journal(out / "journal.log")
        with naming_journal(out / "journal.log"):
            study = optuna.create_study(
                storage=storage,
                study_name=STUDY_NAME,
                load_if_exists=True,
                pruner=pruner(spec),
                sampler=sampler(spec, 0),
            )
        if is_old_fingerprint(study.user_attrs.get("data_fingerprint")):
            told = "holds a search of an earlier version, which looked at 64 maps of its data only"
            raise UserError(f"{out}: {told}; tune in another folder, or delete it")
        _check_trials(out, study, search_space(spec))
        if study.user_attrs.get("data_fingerprint", fingerprints[0]) not in fingerprints:
            raise UserError(f"{out}: holds a search on other data; tune in another folder, or delete it")
        points = starting_points(spec, trials)
        _keep_beginning(study, points if trials else [], out)
        if "data_fingerprint" not in study.user_attrs:
            study.set_user_attr("data_fingerprint", fingerprints[0])
        with naming_journal(out / "journal.log"):
            for point in points:
                study.enqueue_trial(point, skip_if_exists=True)
        write_text(out / "spec.json", to_json(spec) + "\n")
        search = Search(spec, out, study, storage)
        search.tidy()
    return search


def _keep_beginning(study: optuna.Study, points: list[dict[str, float | int]], out: Path) -> None:
    """Keep the points of a database in the journal: the spec, which other digests depend on, knows nothing of them."""
    known = study.user_attrs.get("begin_with", [])
    if "data_fingerprint" in study.user_attrs and known != points:
        told = "with trials of another database" if known and points else "with a database" if known else "without one"
        raise UserError(f"{out}: holds a search that began {told}; give the same --begin-with, or another folder")
    if known != points:
        study.set_user_attr("begin_with", points)


def _refuse_other_spec(spec: TuneSpec, out: Path) -> None:
    path = out / "spec.json"
    if path.exists() and _is_spec(path):
        known = read_spec(TuneSpec, path)
        if replace(known, n_trials=spec.n_trials) != spec:
            raise UserError(f"{out}: holds a search of another spec; tune in another folder, or delete it")


def _is_spec(path: Path) -> bool:
    return holds_keys(path, "train", "n_trials", "search")


def _is_importance(path: Path) -> bool:
    return holds_keys(path, "method", "importance")


def _is_table(path: Path) -> bool:
    return starts_with(path, "number,state,")


OURS = {"spec.json": _is_spec, "trials.csv": _is_table, "importance.json": _is_importance}
"""What a search replaces, and how it is known."""


def _refuse_lost_journal(out: Path) -> None:
    """Refuse to begin again over trials whose journal somebody took away or emptied."""
    journal = out / "journal.log"
    if journal.is_file() and journal.stat().st_size > 0:
        return
    left = [path for path in (*(out / name for name in OURS), *_trial_folders(out).values()) if path.exists()]
    if left:
        what = "is empty" if journal.exists() else "is gone"
        told = f"{journal}: {what}, but {left[0].name} is there"
        raise UserError(f"{told}; bring it back, or delete {out} to search anew")


def _trial_folders(out: Path) -> dict[int, Path]:
    found = ((re.fullmatch(r"trial-(\d{1,9})", path.name), path) for path in out.glob("trial-*"))
    return {int(match[1]): path for match, path in found if match}


def _check_trials(out: Path, study: optuna.Study, space: Space) -> None:
    """Refuse a journal that was changed: of trials that cannot be, or without some that were begun.

    Raises:
        UserError: with the trial.
    """
    journal, remedy = out / "journal.log", f"bring the journal back, or delete {out} to search anew"
    if study.directions != [StudyDirection.MINIMIZE]:
        raise UserError(f"{journal}: its search does not look for the lowest loss; {remedy}")
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if not _can_be(trial, space):
            raise UserError(f"{journal}: trial {trial.number} is damaged; {remedy}")
    for number, folder in _trial_folders(out).items():
        if number >= len(trials):
            raise UserError(f"{journal}: does not know {folder.name}, which is there; {remedy}")
    n_finished = sum(trial.state in STATES for trial in trials)
    if (out / "trials.csv").exists() and (n_told := len(read_trials(out))) > n_finished:
        raise UserError(f"{journal}: has {n_finished} finished trials, trials.csv {n_told}; {remedy}")


def _can_be(trial: FrozenTrial, space: Space) -> bool:
    found = trial.values or [] if trial.state == TrialState.COMPLETE else []
    values = [*trial.params.values(), *found]
    return (
        len(found) == (trial.state == TrialState.COMPLETE)
        and all(isinstance(value, int | float) and math.isfinite(value) for value in values)
        and set(trial.params) <= set(space)
        and (trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or set(trial.params) == set(space))
        and isinstance(trial.user_attrs.get("worker", ""), str)
        and "/" not in trial.user_attrs.get("worker", "")
    )


@contextmanager
def working(out: Path) -> Iterator[str]:
    """Hold the lock file of this process, and give its name."""
    name = f".worker-{uuid.uuid4().hex}.lock"
    with locked(out / name, wait=True):
        yield name


def _living_workers(out: Path) -> set[str]:
    """Lock files that a process holds; those of dead ones are taken away."""
    living = set()
    for path in out.glob(".worker-*.lock"):
        with locked(path) as is_abandoned:
            if not is_abandoned:
                living.add(path.name)
    return living
