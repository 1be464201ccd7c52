"""Training one network: steps, validation, the best checkpoint, and going on after an interruption.

The work is counted in optimiser steps. At validations `history.csv` gets a row, and the whole state is written to
`resume.pt`, less often where writing is slow and would take more than a twentieth of the time; a run that was killed at
any moment starts there and, on a CPU or one GPU, ends with the same bits as one that was not.

Inside `distributed.process_group` several processes train one network, on shares of every batch. All call the same
functions with the same arguments and a folder that all of them see; the first alone writes files and tells the
listener.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from fieldlevel.data.batches import MapSet
from fieldlevel.data.suite import Suite
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, ignore
from fieldlevel.spec_io import digest
from fieldlevel.training import distributed
from fieldlevel.training.precision import seeded
from fieldlevel.training.resume import ResumeFile
from fieldlevel.training.run_folder import RunFolder
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.sources import (
    fingerprint_of,
    fingerprints_of,
    load_sets,
    open_data,
    open_suites,
    outputs_of,
    seen_sources,
)
from fieldlevel.training.state import HistoryRow, TrainedNetwork, TrainingState
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network


def train(
    spec: TrainSpec,
    directory: str | Path,
    out: str | Path,
    device: str = "auto",
    listener: Listener = ignore,
    *,
    check: bool = True,
) -> Path:
    """Train the network of a spec: `fieldlevel.train` without what lies beside the weights in the end.

    Arguments, result and errors are those of `fieldlevel.train`.
    """
    folder = RunFolder(out)
    spec = check_train_spec(spec, refuse_idle=not folder.has_begun)
    folder.claim(spec)
    listener = distributed.on_rank_zero(listener)
    if folder.is_finished:
        known = open_suites(spec, directory)
        for suite in known:
            suite.digest_maps(listener)
        return folder.check_finished(spec, known)
    run_device = select_device(device)
    sources = open_data(spec, directory, listener, check=check)
    suites = [source.suite for source in sources]
    normaliser, training, validation = load_sets(spec, sources, run_device, listener)
    if distributed.rank() == 0:
        folder.write_spec(spec)
    key, *earlier = [digest(spec, each) for each in fingerprints_of(suites)]
    file = ResumeFile(folder.resume, key, earlier)
    trained = _train(spec, training, validation, file, listener, folder.write_history)
    if distributed.rank() == 0:
        folder.write_history(trained.history)
        save_network(
            folder.weights,
            trained.network,
            spec,
            normaliser,
            layout=outputs_of(spec, sources),
            sources=seen_sources(sources, listener),
            provenance=provenance_of(trained, suites, training),
        )
        folder.resume.unlink(missing_ok=True)
    distributed.barrier()
    return folder.weights


def train_network(
    spec: TrainSpec,
    training: MapSet,
    validation: MapSet,
    resume_path: Path | None = None,
    listener: Listener = ignore,
    *,
    facts: Sequence[str] = (),
) -> TrainedNetwork:
    """Train a network on maps that are on the device already; the caller's random numbers are left as they were.

    Args:
        spec: network, optimiser, batches, precision and seed.
        training: maps to minimise the loss of.
        validation: maps to choose the checkpoint with.
        resume_path: file of the state of the run, read if there is one, written at validations.
        listener: told of every tenth step, and of the batches that the network is settled with at the end.
        facts: what identifies the maps; a state with other facts is refused.

    Raises:
        TrainingError: the loss is not finite.
        UserError: settings that cannot be used, or a state of another spec or other maps.
    """
    spec = check_train_spec(spec)
    file = ResumeFile(resume_path, digest(spec, *facts)) if resume_path is not None else None
    return _train(spec, training, validation, file, distributed.on_rank_zero(listener))


def _train(
    spec: TrainSpec,
    training: MapSet,
    validation: MapSet,
    file: ResumeFile | None,
    listener: Listener,
    keep: Callable[[Sequence[HistoryRow]], None] = lambda history: None,
) -> TrainedNetwork:
    """`train_network` with a checked spec; `keep` is given the history when it has changed."""
    with seeded(spec.seed, training.maps.device):
        state = TrainingState(spec, training, validation)
        for _ in validations(state, file, listener):
            if state.history and distributed.rank() == 0:
                keep(state.history)
        return state.best_network(listener)


def validations(state: TrainingState, file: ResumeFile | None, listener: Listener) -> Iterator[None]:
    """Train from one validation to the next, from the state on disk if there is one.

    Args:
        state: a new one, which the training moves on.
        file: of the state on disk, written at validations where that costs little.
        listener: told of every tenth step.

    Yields:
        Before the first step that is left, and after each validation.

    Raises:
        TrainingError: the loss is not finite.
        UserError: the state on disk cannot be read, or is of another run.
    """
    if file is not None:
        file.restore(state)
    distributed.check_agreement(state.step, "optimiser steps done", state.device)
    yield
    while state.step < state.spec.n_steps:
        state.advance(listener)
        if file is not None and distributed.broadcast_flag(file.is_due(), state.device):
            whole = state.state_dict()
            if distributed.rank() == 0:
                file.write(whole)
        yield


def provenance_of(trained: TrainedNetwork, suites: Sequence[Suite], training: MapSet) -> dict[str, Any]:
    """What a weights file tells of the training of its network; of several sources also the fingerprint of each."""
    of_sources = {"source_fingerprints": [suite.fingerprint for suite in suites]}
    return {
        "data_fingerprint": fingerprint_of(suites),
        "device": training.maps.device.type,
        "torch": str(torch.__version__),
        "validation_loss": trained.validation_loss,
    } | (of_sources if len(suites) > 1 else {})
