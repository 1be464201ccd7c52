"""Progress for TensorBoard: a listener that writes the numbers of every event, e.g. the losses of a training."""

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fieldlevel.errors import UserError
from fieldlevel.files import make_folder
from fieldlevel.progress import Progress


class TensorBoard:
    """Writes the numbers of a training as curves: `loss`, `learning_rate` and `validation_loss` against the step.

    Give it as the `listener` of `train`, `tune` or any other function that has one, and look at the curves with
    `tensorboard --logdir <folder>`. It needs TensorBoard: `pip install 'fieldlevel[tensorboard]'`.

    Args:
        folder: for the files of events; made if need be. A run that is continued goes on in the same folder.

    Raises:
        UserError: TensorBoard is not installed, or the folder cannot be made.

    Example:
        `fieldlevel.train(spec, "cmd", "network", listener=fieldlevel.TensorBoard("curves"), verbose=True)`
    """

    def __init__(self, folder: str | Path) -> None:
        writer = _summary_writer()
        make_folder(Path(folder))
        self._writer = writer(str(folder))

    def __call__(self, event: Progress) -> None:
        """Write the numbers of one event."""
        for name, number in event.numbers.items():
            self._writer.add_scalar(f"{event.task}/{name}", number, event.done)
        if "validation_loss" in event.numbers or event.done >= event.total:
            self._writer.flush()

    def close(self) -> None:
        """Bring everything to the disk; also done where it is left as a context."""
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def _summary_writer() -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 (an extra)
    except ImportError:
        told = "tensorboard is not installed"
        raise UserError(f"{told}; pip install 'fieldlevel[tensorboard]', or pip install tensorboard") from None
    return SummaryWriter
