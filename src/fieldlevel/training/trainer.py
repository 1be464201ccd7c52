"""Training one moment network: steps, validation, the best checkpoint, and going on after an interruption.

The work is counted in optimiser steps. At validations the whole state is written to `resume.pt`, less often where
writing is slow and would take more than a twentieth of the time; a run that was killed at any moment starts there and,
on a CPU or one GPU, ends with the same bits as one that was not.

Inside `distributed.process_group` several processes train one network, on shares of every batch. All call the same
functions with the same arguments and a folder that all of them see; the first alone writes files and tells the
listener.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import astuple, fields
from pathlib import Path

import numpy as np
import torch

from fieldlevel.data.batches import AnyNormaliser, MapSet, fit_inputs, load_map_set
from fieldlevel.data.labels import used_columns
from fieldlevel.data.seen import record_seen
from fieldlevel.data.split import Split
from fieldlevel.data.suite import Suite, is_old_fingerprint, open_suite, split_simulations
from fieldlevel.data.transformed import refuse_idle_scale
from fieldlevel.errors import UserError
from fieldlevel.files import make_folder, starts_with, write_text, written_aside
from fieldlevel.json_files import holds_keys
from fieldlevel.locks import refuse_foreign
from fieldlevel.numerics.device import select_device
from fieldlevel.progress import Listener, ignore
from fieldlevel.spec_io import digest, read_spec, to_json
from fieldlevel.training import distributed
from fieldlevel.training.precision import seeded
from fieldlevel.training.resume import ResumeFile
from fieldlevel.training.settings import check_train_spec, refuse_large_batch, refuse_unused
from fieldlevel.training.state import HistoryRow, TrainedNetwork, TrainingState
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import read_weights_file, save_network


def train(
    spec: TrainSpec,
    directory: str | Path,
    out: str | Path,
    device: str = "auto",
    listener: Listener = ignore,
    *,
    check: bool = True,
) -> Path:
    """Train the network of a spec on a data folder.

    Only the maps of the training and validation simulations are loaded (the legacy normaliser measures all).
    Calling it again with the same arguments continues an interrupted run and returns at once from a finished one.

    Args:
        spec: suite, network, optimiser, split and seed.
        directory: folder of CMD-format files.
        out: folder for `weights.safetensors` (lowest validation loss), `history.csv` and `spec.json`; also `resume.pt`
            while the run is unfinished.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:<n>"`.
        listener: told of every tenth step.
        check: whether to check every map of the suite first; needless for a folder that was checked before.

    Returns:
        Path of the weights file.

    Raises:
        DataError: a folder that cannot be used.
        TrainingError: the loss is not finite.
        UserError: settings that cannot be used, or an `out` that belongs to another spec or other data.

    Example:
        >>> import tempfile, fieldlevel
        >>> toy = fieldlevel.SimulateSpec(n_simulations=8, n_particles=16, n_mesh=16, n_pixels=16)
        >>> folder = fieldlevel.simulate_suite(toy, tempfile.mkdtemp(), device="cpu")
        >>> spec = TrainSpec(
        ...     split=fieldlevel.SplitSpec(train=0.5, validation=0.25),
        ...     network=fieldlevel.NetworkSpec(hidden=1),
        ...     batch_size=16,
        ...     n_steps=4,
        ...     validate_every=2,
        ... )
        >>> weights = train(spec, folder, folder / "network", device="cpu")
        >>> mean, std = fieldlevel.load(weights).predict(fieldlevel.open_suite(folder, "MockTNG").maps)
        >>> mean.shape, bool((std >= 0).all())
        ((120, 6), True)
    """
    spec, out = check_train_spec(spec), Path(out)
    listener = distributed.on_rank_zero(listener)
    weights_path, resume_path = out / "weights.safetensors", out / "resume.pt"
    _claim_folder(out, spec)
    if weights_path.exists():
        known = open_suite(directory, spec.suite, spec.field, spec.set_name, check=False)
        known.digest_maps(listener)
        _check_same_run(weights_path, spec, known)
        resume_path.unlink(missing_ok=True)
        return weights_path
    run_device = select_device(device)
    suite, split = open_data(spec, directory, listener, check=check)
    normaliser, training, validation = load_sets(spec, suite, split, run_device, listener)
    if distributed.rank() == 0:
        write_text(out / "spec.json", to_json(spec) + "\n")
    trained = train_network(spec, training, validation, resume_path, listener, facts=[suite.fingerprint])
    if distributed.rank() == 0:
        _write_history(out / "history.csv", trained.history)
        save_network(
            weights_path,
            trained.network,
            spec,
            normaliser,
            training_simulations=split.train,
            validation_simulations=split.validation,
            provenance=provenance_of(trained, suite, training),
            seen=record_seen(suite, np.concatenate([split.train, split.validation]), listener),
        )
        resume_path.unlink(missing_ok=True)
    distributed.barrier()
    return weights_path


def open_data(
    spec: TrainSpec, directory: str | Path, listener: Listener = ignore, *, check: bool = True
) -> tuple[Suite, Split]:
    """The suite of a spec and the split of its simulations, which is refused before any map is read.

    Args:
        spec: suite, field, set and split.
        directory: folder of CMD-format files.
        listener: told about maps read.
        check: whether to check every map of the suite.

    Raises:
        DataError: a folder that cannot be used.
        UserError: a set of the split would be empty, all its training simulations have the same label, a batch is
            larger than the training set, or a transform leaves all or nothing of such maps.
    """
    suite = open_suite(directory, spec.suite, spec.field, spec.set_name, check=False)
    split = split_simulations(suite.n_simulations, spec.split.seed, spec.split.train, spec.split.validation)
    refuse_idle_scale(spec.transform, suite.n_pixels)
    refuse_large_batch(spec.batch_size, len(suite.maps_of(split.train)))
    _refuse_equal_labels(suite, split)
    if check:
        suite = open_suite(directory, spec.suite, spec.field, spec.set_name, listener=listener)
    return suite, split


def _refuse_equal_labels(suite: Suite, split: Split) -> None:
    """A network on simulations of one label has nothing to learn; in gravity-only suites two columns are labels."""
    labels = suite.parameters[split.train][:, used_columns(suite.suite)]
    if (labels == labels[0]).all():
        raise UserError(
            f"{suite.files.parameters_path}: all training simulations have the same parameters, so there is nothing to "
            "learn; train on a set that varies them, such as LH"
        )


def load_sets(
    spec: TrainSpec, suite: Suite, split: Split, device: torch.device, listener: Listener = ignore
) -> tuple[AnyNormaliser, MapSet, MapSet]:
    """What the network of a spec reads, of the training and the validation simulations, and how it was normalised.

    Args:
        spec: transform, inputs, labels and normaliser.
        suite: the maps as they are in the files.
        split: of the simulations; those of the test set are not read, but for the legacy normaliser.
        device: where the maps are to live.
        listener: told about simulations read.
    """
    suite = suite.transformed(spec.transform)
    if spec.labels == "permuted":
        suite = suite.with_permuted_labels(np.concatenate([split.train, split.validation]), spec.seed)
    measured = split.train if spec.normaliser == "train" else None
    normaliser = fit_inputs(suite, spec.inputs, measured, listener, device)
    training = load_map_set(suite, split.train, normaliser, device, listener=listener)
    validation = load_map_set(suite, split.validation, normaliser, device, listener=listener)
    return normaliser, training, validation


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
        listener: told of every tenth step.
        facts: what identifies the maps; a state with other facts is refused.

    Raises:
        TrainingError: the loss is not finite.
        UserError: settings that cannot be used, or a state of another spec or other maps.
    """
    spec = check_train_spec(spec)
    listener = distributed.on_rank_zero(listener)
    key = digest(spec, *facts)
    with seeded(spec.seed, training.maps.device):
        state = TrainingState(spec, training, validation)
        file = ResumeFile(resume_path, key) if resume_path is not None else None
        for _ in validations(state, file, listener):
            pass
        return state.best_network()


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


def _claim_folder(out: Path, spec: TrainSpec) -> None:
    """Refuse a folder of another run or of somebody else's; a run that has begun is not judged again."""
    is_finished, path = (out / "weights.safetensors").exists(), out / "spec.json"
    has_begun = is_finished or (out / "resume.pt").exists()
    if not has_begun:
        refuse_unused(spec)
    make_folder(out)
    if has_begun and path.exists():
        _refuse_other_spec(path, spec)
    elif not is_finished:
        refuse_foreign(out, OURS)


def _refuse_other_spec(path: Path, spec: TrainSpec) -> None:
    try:
        known = read_spec(TrainSpec, path)
    except UserError as error:
        raise UserError(f"{error}; if it is not of this run, train in another folder") from None
    if known != spec:
        raise UserError(f"{path.parent}: holds a run of another spec; train in another folder, or delete it")


def _is_spec(path: Path) -> bool:
    return holds_keys(path, "suite", "network", "optimiser", "n_steps")


def _is_history(path: Path) -> bool:
    return starts_with(path, "step,learning_rate,")


OURS = {"spec.json": _is_spec, "history.csv": _is_history}
"""What a run replaces, and how it is known."""


def _check_same_run(weights_path: Path, spec: TrainSpec, suite: Suite) -> None:
    try:
        known = read_weights_file(weights_path)
    except UserError:
        told = f"{weights_path}: damaged, or of another version"
        raise UserError(f"{told}; delete it, and the same command trains the network again") from None
    if known.spec != spec:
        raise UserError(f"{weights_path}: of another spec; train in another folder, or delete it")
    if is_old_fingerprint(known.provenance.get("data_fingerprint")):
        told = "trained by an earlier version, which looked at 64 maps of its data only"
        raise UserError(f"{weights_path}: {told}; use it as it is, train in another folder, or delete it")
    if known.provenance.get("data_fingerprint") != suite.fingerprint:
        raise UserError(f"{weights_path}: trained on other data; train in another folder, or delete it")


def provenance_of(trained: TrainedNetwork, suite: Suite, training: MapSet) -> dict[str, str | float]:
    """What a weights file tells of the training of its network."""
    return {
        "data_fingerprint": suite.fingerprint,
        "device": training.maps.device.type,
        "torch": str(torch.__version__),
        "validation_loss": trained.validation_loss,
    }


def _write_history(path: Path, history: Sequence[HistoryRow]) -> None:
    with written_aside(path) as aside, aside.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(field.name for field in fields(HistoryRow))
        writer.writerows(astuple(row) for row in history)
