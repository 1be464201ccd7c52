"""Training a network and, on simulations that are apart from all others, calibrating it: `fieldlevel.train`."""

from pathlib import Path

from fieldlevel.inference.calibrating import calibrate_trained
from fieldlevel.progress import Listener, ignore
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
) -> Path:
    """Train the network of a spec (`training.trainer.train`), then calibrate it where its split has simulations for it.

    Calling it again with the same arguments continues an interrupted run and returns at once from a finished one.

    Args:
        spec: suite or sources, network, optimiser, split and seed.
        directory: folder of CMD-format files.
        out: folder for `weights.safetensors` (lowest validation loss), `weights.calibration.json` where there are
            calibration simulations, `history.csv` and `spec.json`; also `resume.pt` while the run is unfinished.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"cuda:<n>"`.
        listener: told of every tenth step.
        check: whether to check every map of the suite first; needless for a folder that was checked before.

    Returns:
        Path of the weights file.

    Raises:
        DataError: a folder that cannot be used.
        TrainingError: the loss is not finite.
        UserError: settings that cannot be used, or an `out` that belongs to another spec or other data.
    """
    weights = trainer.train(spec, directory, out, device, listener, check=check)
    if distributed.rank() == 0:
        calibrate_trained(weights, directory, device, listener)
    distributed.barrier()
    return weights
