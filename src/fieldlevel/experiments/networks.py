"""Training the networks of experiments: each once, several at a time, found again where they are complete."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from fieldlevel.config import TrainSpec, TuneSpec, digest
from fieldlevel.experiments.letter import Tests, Tuned
from fieldlevel.experiments.provenance import record_software
from fieldlevel.experiments.store import Store
from fieldlevel.maps.catalogue import Suite
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.training.loop import train
from fieldlevel.training.search import COLUMNS, best_trial, read_importance, read_trials
from fieldlevel.training.tune import tune
from fieldlevel.workers import spread, worker_listener

FloatArray = npt.NDArray[np.floating]
Suites = Mapping[str, Suite]


@dataclass(frozen=True)
class NetworkRun:
    """A trained network.

    Attributes:
        weights: its file.
        made: when, where and by which commit it was trained.
        n_parameters: trainable numbers.
        history: columns of `history.csv`, each of shape (n_validations,).
    """

    weights: Path
    made: Mapping[str, str]
    n_parameters: int
    history: Mapping[str, FloatArray]

    @property
    def validation_loss(self) -> float:
        """The lowest one, that of the weights."""
        return float(self.history["validation_loss"].min())


@dataclass(frozen=True)
class SearchRun:
    """A finished search for hyper-parameters.

    Attributes:
        best: what it found.
        trials: rows of its `trials.csv`.
        importance: share of the variance of the loss that each hyper-parameter explains; empty after few trials.
    """

    best: TrainSpec
    trials: Sequence[Mapping[str, str]]
    importance: Mapping[str, float]

    @property
    def hyper_parameters(self) -> list[str]:
        """Names of what was searched."""
        return [name for name in self.trials[0] if name not in COLUMNS]

    @property
    def best_trial(self) -> Mapping[str, str]:
        """The trial with the lowest validation loss."""
        complete = [trial for trial in self.trials if trial["state"] == "complete"]
        return min(complete, key=lambda trial: float(trial["value"]))


Searches = Mapping[tuple[str, str], SearchRun]
"""By what the networks read and by suite."""


@dataclass(frozen=True)
class Job:
    """A network to train.

    Attributes:
        experiment: the first that needs it.
        spec: of the network.
        key: digest of the spec and of the data.
    """

    experiment: str
    spec: TrainSpec
    key: str


def train_missing(
    store: Store,
    plan: Mapping[str, Tests],
    suites: Suites,
    devices: Sequence[torch.device],
    listener: Listener = ignore,
) -> None:
    """Train the networks of some experiments that are not trained yet, one on each device at a time."""
    jobs: dict[str, Job] = {}
    for experiment, tests in plan.items():
        for test in tests:
            if not weights_of(store, test.network, suites).exists():
                key = network_key(test.network, suites)
                jobs.setdefault(key, Job(experiment, test.network, key))
    train_number = partial(_train_number, store, list(jobs.values()), next(iter(suites.values())).directory)
    for _ in spread(train_number, range(len(jobs)), devices[: max(1, len(jobs))], listener):
        pass


def _train_number(store: Store, jobs: Sequence[Job], directory: Path, number: int, device: torch.device) -> None:
    job, listener = jobs[number], worker_listener()

    def named(event: Progress) -> None:
        listener(replace(event, task=f"{job.experiment}: {event.task}"))

    def work(folder: Path) -> None:
        train(job.spec, directory, folder, str(device), named, check=False)
        record_software(folder, device)

    store.ensure(_run_name(job.spec), job.key, work)


def search_missing(
    store: Store,
    plan: Mapping[tuple[str, str], TuneSpec],
    suites: Suites,
    devices: Sequence[torch.device],
    listener: Listener = ignore,
) -> Searches:
    """Do the searches that are not done yet, one on each device at a time, and read what all of them found."""
    todo = [spec for spec in plan.values() if not _search_folder(store, spec, suites).exists()]
    keys = [_search_key(spec, suites) for spec in todo]
    search_number = partial(_search_number, store, todo, keys, next(iter(suites.values())).directory)
    for _ in spread(search_number, range(len(todo)), devices[: max(1, len(todo))], listener):
        pass
    return {place: _read_search(_search_folder(store, spec, suites)) for place, spec in plan.items()}


def found_by(searches: Searches) -> Tuned:
    """The best network of each search."""
    return {place: search.best for place, search in searches.items()}


def _search_number(
    store: Store, specs: Sequence[TuneSpec], keys: Sequence[str], directory: Path, number: int, device: torch.device
) -> None:
    spec, listener = specs[number], worker_listener()

    def work(folder: Path) -> None:
        tune(spec, directory, folder, str(device), listener, check=False)
        record_software(folder, device)

    store.ensure(_search_name(spec), keys[number], work)


def _search_name(spec: TuneSpec) -> str:
    return f"search-{spec.train.suite}"


def _search_key(spec: TuneSpec, suites: Suites) -> str:
    return digest(spec, suites[spec.train.suite].fingerprint)


def _search_folder(store: Store, spec: TuneSpec, suites: Suites) -> Path:
    return store.folder(_search_name(spec), _search_key(spec, suites))


def _read_search(folder: Path) -> SearchRun:
    return SearchRun(best_trial(folder), read_trials(folder), read_importance(folder))


def _run_name(spec: TrainSpec) -> str:
    return f"train-{spec.suite}"


def network_key(spec: TrainSpec, suites: Suites) -> str:
    """Digest of the spec and of the maps that it is trained on."""
    return digest(spec, suites[spec.suite].fingerprint)


def weights_of(store: Store, spec: TrainSpec, suites: Suites) -> Path:
    """Where the weights of a trained network lie."""
    return store.folder(_run_name(spec), network_key(spec, suites)) / "weights.safetensors"


def trained_network(store: Store, spec: TrainSpec, suites: Suites) -> NetworkRun:
    """What is known of a network that is trained."""
    weights = weights_of(store, spec, suites)
    folder = weights.parent
    with safe_open(weights, framework="numpy") as stored, (folder / "history.csv").open() as table:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys() if _is_trainable(name)]  # noqa: SIM118
        rows = list(csv.DictReader(table))
    history = {column: np.array([float(row[column]) for row in rows]) for column in rows[0]}
    made = json.loads((folder / "provenance.json").read_text())
    return NetworkRun(weights, made, sum(int(np.prod(shape)) for shape in shapes), history)


def _is_trainable(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def affordable(devices: Sequence[torch.device], suites: Suites) -> Sequence[torch.device]:
    """As many processes on the CPU as can hold the maps of a suite each in half of the memory."""
    if devices[0].type != "cpu":
        return devices
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    return devices[: max(1, memory // 2 // max(suite.maps.nbytes for suite in suites.values()))]
