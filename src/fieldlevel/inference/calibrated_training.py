"""Training a network, calibrating it and keeping what the maps of its training are like: `fieldlevel.train`."""

from pathlib import Path

from fieldlevel.inference.calibrating import calibrate_trained
from fieldlevel.inference.reference_making import complete_reference
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.training import distributed, trainer
from fieldlevel.training.train_spec import TrainSpec


def train(
    spec: TrainSpec,
    directory: str | Path,
    out: str | Path,
    device: str = "auto",
    listener: Listener = ignore,
    *,
    check: bool = True,
    reference: bool = True,
    verbose: bool = False,
) -> Path:
    """Train the network of a spec, calibrate it where its split has simulations for it, and write its reference.

    Only the maps of the training and validation simulations are loaded (the legacy normaliser measures all), later
    those of calibration; of sources without labels those of the training simulations alone.
    Calling it again with the same arguments continues an interrupted run and returns at once from a finished one.

    Args:
        spec: suite or sources, network, optimiser, split and seed.
        directory: folder of CMD-format files.
        out: folder for `weights.safetensors` (lowest validation loss), `weights.calibration.json` where there are
            calibration simulations, `weights.trust.safetensors` where there are simulations enough to compare maps
            with (`inference.trust`), `history.csv` (a row at every validation) and `spec.json`; also `resume.pt` while
            the run is unfinished.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:<n>"`.
        listener: told of every tenth step, e.g. `fieldlevel.TensorBoard("curves")`.
        check: whether to check every map of the suite first; needless for a folder that was checked before.
        reference: whether to keep what the maps of the training are like, which is a pass over some of them.
        verbose: whether to show the progress, too.

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
        >>> events = []
        >>> weights = train(spec, folder, folder / "network", device="cpu", listener=events.append)
        >>> [event.done for event in events if "validation_loss" in event.numbers]
        [2, 4]
        >>> [line[:2] for line in (folder / "network" / "history.csv").read_text().splitlines()[1:]]
        ['2,', '4,']
        >>> mean, std = fieldlevel.load(weights).predict(fieldlevel.open_suite(folder, "MockTNG").maps)
        >>> mean.shape, bool((std >= 0).all())
        ((120, 6), True)
    """
    with telling(listener, verbose and distributed.rank() == 0) as told:
        weights = trainer.train(spec, directory, out, device, told, check=check)
        if distributed.rank() == 0:
            complete(weights, directory, device, told, reference=reference)
    distributed.barrier()
    return weights


def complete(
    weights: Path, directory: str | Path, device: str = "auto", listener: Listener = ignore, *, reference: bool = True
) -> tuple[str, ...]:
    """Do for a network that was just trained what is to lie beside it; what is there already stays.

    Args:
        weights: its file.
        directory: folder of the maps that it was trained on.
        device: where it predicts.
        listener: hears of the progress.
        reference: whether it is to have one (`inference.trust`).

    Returns:
        Why it has no reference though it was to have one, a line.

    Raises:
        DataError: a folder that cannot be used.
        UserError: fewer simulations than a calibration takes.
    """
    calibrate_trained(weights, directory, device, listener)
    return complete_reference(weights, directory, device, listener) if reference else ()
