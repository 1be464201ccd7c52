import sys
from types import ModuleType

import pytest

from fieldlevel.errors import UserError
from fieldlevel.progress import Progress
from fieldlevel.tensorboard import TensorBoard


class Writer:
    def __init__(self, folder):
        self.folder, self.scalars, self.done = folder, [], []

    def add_scalar(self, *scalar):
        self.scalars.append(scalar)

    def flush(self):
        self.done.append("flushed")

    def close(self):
        self.done.append("closed")


@pytest.fixture
def _writer(monkeypatch):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)


def train(step, **numbers):
    return Progress("train MockTNG", step, 40, "steps", numbers=numbers)


@pytest.mark.usefixtures("_writer")
def test_numbers_are_scalars_at_their_steps(tmp_path):
    with TensorBoard(tmp_path / "curves") as board:
        writer = board._writer
        board(train(10, loss=-1.0, learning_rate=1e-3))
        assert writer.done == []
        board(train(20, loss=-2.0, learning_rate=5e-4, validation_loss=-1.5))
        board(Progress("check maps", 1, 2, "maps"))
    assert writer.folder == str(tmp_path / "curves")
    assert writer.done == ["flushed", "closed"]
    assert writer.scalars == [
        ("train MockTNG/loss", -1.0, 10),
        ("train MockTNG/learning_rate", 1e-3, 10),
        ("train MockTNG/loss", -2.0, 20),
        ("train MockTNG/learning_rate", 5e-4, 20),
        ("train MockTNG/validation_loss", -1.5, 20),
    ]


def test_without_tensorboard_it_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'fieldlevel\[tensorboard\]'"):
        TensorBoard(tmp_path / "curves")
    assert not (tmp_path / "curves").exists()


def test_curves_can_be_read_back(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415

    with TensorBoard(tmp_path) as board:
        board(train(10, loss=-1.0))
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train MockTNG/loss")] == [(10, -1.0)]
