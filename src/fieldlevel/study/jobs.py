"""Training the networks of experiments: each once, several at a time, found again where they are complete."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from fieldlevel.arrays import FloatArray
from fieldlevel.data.suite import Suite
from fieldlevel.errors import TrainingError, UserError, reason
from fieldlevel.files import check_regular, make_folder, read_table, read_text, sha256_of
from fieldlevel.inference.calibrated_training import train
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.software import record_software
from fieldlevel.json_files import read_json_object, write_json
from fieldlevel.locks import locked
from fieldlevel.numerics.memory import physical_memory
from fieldlevel.pieces import worker_listener
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import digest, from_json
from fieldlevel.study.keys import FIRST, Plan, SetKey, source_sets, trained_set
from fieldlevel.study.store import Store
from fieldlevel.training.sources import fingerprints_of
from fieldlevel.training.state import HistoryRow
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import WEIGHTS_NAME
from fieldlevel.workers import spread

Suites = Mapping[SetKey, Suite]
"""Maps by the names of suite and set."""


@dataclass(frozen=True)
class NetworkRun:
    """A trained network.

    Attributes:
        spec: how it was trained.
        weights: its file.
        made: when, where and by which commit it was trained.
        n_parameters: trainable numbers.
        history: columns of `history.csv`, each of shape (n_validations,).
        validation_loss: of the network as it predicts.
        known_sha256: of the weights, as kept beside them; empty in runs of before it was.
    """

    spec: TrainSpec
    weights: Path
    made: Mapping[str, str]
    n_parameters: int
    history: Mapping[str, FloatArray]
    validation_loss: float
    known_sha256: str = ""

    @property
    def weights_sha256(self) -> str:
        """Of the file of the weights; as it was where it has been taken away."""
        return sha256_of(self.weights) if self.weights.exists() else self.known_sha256


Fill = Callable[[Path, torch.device, Listener], object]
"""Work in a run folder, on a device."""
Use = Callable[[tuple[EvaluateSpec, ...], Path, torch.device], object]
"""What is done with the weights of a network that was just trained, for its tests; can be pickled."""


@dataclass(frozen=True)
class Job:
    """A run folder to fill.

    Attributes:
        name: of the run, for people.
        key: digest of its spec and of the data.
        fill: does the work, on a device, in the folder that it is given; can be pickled.
    """

    name: str
    key: str
    fill: Fill


def train_missing(
    store: Store,
    plan: Plan,
    suites: Suites,
    devices: Sequence[torch.device],
    listener: Listener = ignore,
    is_predicted: Callable[[EvaluateSpec], bool] = lambda test: False,
    use: Use | None = None,
    *,
    may_diverge: bool = False,
) -> None:
    """Train the networks of some experiments that are not trained yet, one in each process at a time.

    Those of the pairs get a reference of what their maps are like.
    A network that was trained needs its weights no more where `is_predicted` says so of all its tests.

    Args:
        store: of the runs.
        plan: the experiments.
        suites: maps by name and set.
        devices: one for each process.
        listener: hears of the progress.
        is_predicted: whether a test was done.
        use: what to do with a network, its tests and its weights where it was trained, before its folder has its final
            name: who finds that later finds what was asked of the network too, and may lose the weights.
        may_diverge: whether a loss that is not finite is kept as what came out (`divergence_of`), and work goes on.

    Raises:
        UserError: the folder of a trained network lacks a file, or one is damaged.
        TrainingError: a loss is not finite, and it must not be.
    """
    jobs: dict[str, Job] = {}
    asked: dict[str, tuple[EvaluateSpec, ...]] = {}
    for experiment, tests in plan.items():
        for test in tests:
            key = network_key(store, test.network, suites)
            if store.folder(run_name(test.network), key).exists():
                if may_diverge and divergence_of(store, test.network, suites) is not None:
                    continue
                trained_network(store, test.network, suites, needs_weights=not is_predicted(test))
            else:
                directory, is_of_pairs = suites[trained_set(test.network)].directory, experiment == FIRST
                fill = partial(_train, experiment.label, test.network, directory, is_of_pairs)
                jobs.setdefault(key, Job(run_name(test.network), key, fill))
                asked[key] = (*asked.get(key, ()), test)
    if use is not None:
        jobs = {key: replace(job, fill=partial(_filled, job.fill, use, asked[key])) for key, job in jobs.items()}
    if may_diverge:
        jobs = {key: replace(job, fill=partial(_keep_divergence, job.fill)) for key, job in jobs.items()}
    do_jobs(store, list(jobs.values()), devices, listener)


def _filled(
    fill: Fill,
    use: Use,
    tests: tuple[EvaluateSpec, ...],
    folder: Path,
    device: torch.device,
    listener: Listener,
) -> None:
    fill(folder, device, listener)
    use(tests, folder / WEIGHTS_NAME, device)


def _keep_divergence(fill: Fill, folder: Path, device: torch.device, listener: Listener) -> None:
    (folder / _DIVERGENCE_NAME).unlink(missing_ok=True)
    try:
        fill(folder, device, listener)
    except TrainingError as error:
        write_json(folder / _DIVERGENCE_NAME, {"reason": str(error)})
        (folder / "resume.pt").unlink(missing_ok=True)


def _train(
    experiment: str,
    spec: TrainSpec,
    directory: Path,
    reference: bool,
    folder: Path,
    device: torch.device,
    listener: Listener,
) -> None:
    def named(event: Progress) -> None:
        listener(replace(event, task=f"{experiment}: {event.task}"))

    weights = train(spec, directory, folder, str(device), named, check=False, reference=reference)
    facts = replace(_read_facts(weights), weights_sha256=sha256_of(weights))
    write_json(folder / _FACTS_NAME, asdict(facts))


def do_jobs(store: Store, jobs: Sequence[Job], devices: Sequence[torch.device], listener: Listener) -> None:
    """Do all jobs, one in each process at a time."""
    for _ in spread(partial(_do_job, store, jobs), range(len(jobs)), devices[: max(1, len(jobs))], listener):
        pass


def _do_job(store: Store, jobs: Sequence[Job], number: int, device: torch.device) -> None:
    job = jobs[number]

    def work(folder: Path) -> None:
        job.fill(folder, device, worker_listener())
        record_software(folder, device)

    make_folder(store.root)
    with locked(store.root / f".{job.name}-{job.key}.lock", wait=True):  # of a worker that was lost and still works
        store.ensure(job.name, job.key, work)


_LENIENT: dict[str, Any] = {"extra": "ignore", "allow_inf_nan": False}


@dataclass(frozen=True)
class _Told:
    """What is needed of the provenance in a weights file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    validation_loss: float


_FACTS_NAME = "network.json"
_DIVERGENCE_NAME = "diverged.json"


@dataclass(frozen=True)
class _Facts:
    """What is told of weights, kept beside them so that they may be taken away."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _LENIENT

    n_parameters: int
    validation_loss: float
    weights_sha256: str = ""


def run_name(spec: TrainSpec) -> str:
    """What the run of a network is called, for people: after its suites.

    Example:
        >>> run_name(TrainSpec(suite="SIMBA"))
        'train-SIMBA'
    """
    return f"train-{'-'.join(dict.fromkeys(source.suite for source in spec.all_sources))}"


def network_key(store: Store, spec: TrainSpec, suites: Suites) -> str:
    """Digest of the spec and of the maps that it is trained on; as an earlier version had it where such a run is."""
    known = fingerprints_of([suites[source] for source in source_sets(spec)])
    return store.known(run_name(spec), [digest(spec, each) for each in known])


def weights_of(store: Store, spec: TrainSpec, suites: Suites) -> Path:
    """Where the weights of a trained network lie."""
    return store.folder(run_name(spec), network_key(store, spec, suites)) / WEIGHTS_NAME


def divergence_of(store: Store, spec: TrainSpec, suites: Suites) -> str | None:
    """Why the training of a network came to nothing, where that was kept (`train_missing`).

    Raises:
        UserError: what was kept is damaged.
    """
    path = weights_of(store, spec, suites).with_name(_DIVERGENCE_NAME)
    if not path.exists():
        return None
    with complete(path.parent):
        return str(read_json_object(path)["reason"])


def trained_network(store: Store, spec: TrainSpec, suites: Suites, *, needs_weights: bool = False) -> NetworkRun:
    """What is known of a network that is trained.

    Args:
        store: of the runs.
        spec: of the network.
        suites: by name.
        needs_weights: whether it is to predict; else its weights may have been taken away.

    Raises:
        UserError: its folder lacks a file, or one is damaged.
    """
    weights = weights_of(store, spec, suites)
    folder = weights.parent
    with complete(folder):
        is_told = (folder / _FACTS_NAME).exists()
        has_weights = needs_weights or not is_told or os.path.lexists(weights)
        known = from_json(_Facts, read_text(folder / _FACTS_NAME), _FACTS_NAME) if is_told else _Facts(0, 0.0)
        facts = _read_facts(weights) if has_weights else known
        history = _read_history(folder / "history.csv", spec.n_steps)
        made = from_json(dict[str, str], read_text(folder / "provenance.json"), "provenance.json")
    return NetworkRun(spec, weights, made, facts.n_parameters, history, facts.validation_loss, known.weights_sha256)


def _read_facts(weights: Path) -> _Facts:
    check_regular(weights)
    with safe_open(weights, framework="numpy") as stored:
        shapes = [stored.get_slice(name).get_shape() for name in stored.keys() if _is_trainable(name)]  # noqa: SIM118
        loss = from_json(_Told, stored.metadata()["provenance"], "provenance").validation_loss
    return _Facts(sum(int(np.prod(shape)) for shape in shapes), loss)


def _read_history(path: Path, n_steps: int) -> dict[str, FloatArray]:
    rows = read_table(path)
    columns = [field.name for field in fields(HistoryRow)]
    history = {column: np.array([float(row[column]) for row in rows]) for column in columns}
    if not rows or history["step"][-1] != n_steps or not read_text(path).endswith("\n"):
        raise ValueError(f"{path.name} is cut short")
    if not all(np.isfinite(numbers).all() for numbers in history.values()):
        raise ValueError(f"{path.name} has numbers that are not finite")
    return history


@contextmanager
def complete(folder: Path) -> Iterator[None]:
    """Say in one line that a folder with its final name is not whole, and what to do."""
    try:
        yield
    except (OSError, SafetensorError, UserError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: damaged ({reason(error)}); delete it, and the same command makes it again"
        ) from None


def _is_trainable(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", "num_batches_tracked"))


def affordable(devices: Sequence[torch.device], suites: Suites) -> Sequence[torch.device]:
    """As many processes on the CPU as can hold the maps of a suite each in half of the memory."""
    if devices[0].type != "cpu":
        return devices
    return devices[: max(1, physical_memory() // 2 // max(suite.maps.nbytes for suite in suites.values()))]
