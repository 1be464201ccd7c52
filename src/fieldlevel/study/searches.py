"""The searches for hyper-parameters that a letter asks for: each once, found again where they are complete.

They need optuna, which a study that searches nothing does without.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from fieldlevel.files import read_bytes, write_bytes
from fieldlevel.progress import Listener, ignore
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import digest, read_spec
from fieldlevel.study.jobs import Job, Suites, complete, do_jobs
from fieldlevel.study.keys import Tuned, trained_set
from fieldlevel.study.store import Store
from fieldlevel.training.train_spec import TrainSpec


@dataclass(frozen=True)
class SearchRun:
    """A finished search for hyper-parameters.

    Attributes:
        best: what it found.
        trials: rows of its `trials.csv`.
        importance: of each hyper-parameter for being among the best tenth of the trials (PED-ANOVA), as shares of one;
            empty after few trials.
    """

    best: TrainSpec
    trials: Sequence[Mapping[str, str]]
    importance: Mapping[str, float]

    @property
    def hyper_parameters(self) -> list[str]:
        """Names of what was searched."""
        from fieldlevel.search.trial_tables import COLUMNS  # noqa: PLC0415 (needs optuna)

        return [name for name in self.trials[0] if name not in COLUMNS]

    @property
    def best_trial(self) -> Mapping[str, str]:
        """The trial with the lowest validation loss."""
        from fieldlevel.search.trial_tables import best_row  # noqa: PLC0415 (needs optuna)

        return best_row(self.trials)


Searches = Mapping[tuple[str, str], SearchRun]
"""By what the networks read and by suite."""


def search_missing(
    store: Store,
    plan: Mapping[tuple[str, str], TuneSpec],
    suites: Suites,
    devices: Sequence[torch.device],
    listener: Listener = ignore,
) -> Searches:
    """Do the searches that are not done yet, one in each process at a time, and read what all of them found.

    Raises:
        UserError: the folder of a finished search lacks a file, or one is damaged.
        TrainingError: every trial of a search failed.
    """
    jobs = [
        Job(
            _search_name(spec),
            _search_key(store, spec, suites),
            partial(_search, spec, suites[trained_set(spec.train)].directory, _shorter_search(store, spec, suites)),
        )
        for spec in plan.values()
        if not search_folder(store, spec, suites).exists()
    ]
    do_jobs(store, jobs, devices, listener)
    return {place: _read_search(search_folder(store, spec, suites), spec) for place, spec in plan.items()}


def found_by(searches: Searches) -> Tuned:
    """The best network of each search."""
    return {place: search.best for place, search in searches.items()}


def _search(
    spec: TuneSpec, directory: Path, shorter: Path | None, folder: Path, device: torch.device, listener: Listener
) -> None:
    """Go on with what is in the folder, else with a shorter search, else begin."""
    from fieldlevel.search.tune import tune  # noqa: PLC0415 (needs optuna)

    if shorter is not None and not (folder / "journal.log").exists():
        _begin_with(shorter, folder)
    tune(spec, directory, folder, str(device), listener, check=False, to_use=False)


def _search_name(spec: TuneSpec) -> str:
    return f"search-{spec.train.suite}"


def _search_key(store: Store, spec: TuneSpec, suites: Suites) -> str:
    known = suites[trained_set(spec.train)].fingerprints
    return store.known(_search_name(spec), [digest(spec, each) for each in known])


def search_folder(store: Store, spec: TuneSpec, suites: Suites) -> Path:
    """Where a search lies once it is finished."""
    return store.folder(_search_name(spec), _search_key(store, spec, suites))


def _shorter_search(store: Store, spec: TuneSpec, suites: Suites) -> Path | None:
    """The longest complete search that asked for fewer trials and is otherwise the same."""
    folders = (search_folder(store, replace(spec, n_trials=n), suites) for n in range(spec.n_trials - 1, 0, -1))
    return next((folder for folder in folders if (folder / "journal.log").exists()), None)


def _begin_with(shorter: Path, folder: Path) -> None:
    """Copy a search to go on with; the journal comes last, so that whoever finds it finds all that it speaks of."""
    shutil.copytree(shorter, folder, ignore=shutil.ignore_patterns("journal.log"), dirs_exist_ok=True)
    write_bytes(folder / "journal.log", read_bytes(shorter / "journal.log"))


def _read_search(folder: Path, spec: TuneSpec) -> SearchRun:
    from fieldlevel.search.trial_tables import best_trial, read_importance, read_trials  # noqa: PLC0415 (needs optuna)

    with complete(folder):
        known, trials = read_spec(TuneSpec, folder / "spec.json"), read_trials(folder)
        if len(trials) != spec.n_trials:
            raise ValueError("trials.csv is cut short")
        if _outline(known) != _outline(spec):
            raise ValueError("spec.json is of another search")
        return SearchRun(best_trial(folder), trials, read_importance(folder))


def _outline(spec: TuneSpec) -> tuple[int, str, str]:
    return spec.n_trials, spec.train.suite, spec.train.inputs
