import pytest

from fieldlevel.cli import main
from fieldlevel.errors import UserError
from fieldlevel.training import torchrun
from fieldlevel.training.distributed import process_group

WHOLE = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in WHOLE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"RANK": "1"}, "RANK without WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT: the processes cannot meet"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}, "without MASTER_ADDR, MASTER_PORT"),
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE without RANK"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK without RANK"),
        (WHOLE | {"RANK": "x"}, "RANK = 'x': a number from 0"),
        (WHOLE | {"RANK": ""}, "RANK = ''"),
        (WHOLE | {"RANK": "-1"}, "RANK = '-1'"),
        (WHOLE | {"RANK": "2"}, "RANK = 2, WORLD_SIZE = 2: ranks go from 0 to 1"),
        (WHOLE | {"WORLD_SIZE": "0"}, "WORLD_SIZE = '0': a number from 1"),
        (WHOLE | {"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE = "),
        (WHOLE | {"MASTER_PORT": "70000"}, "MASTER_PORT = '70000'"),
        (WHOLE | {"MASTER_ADDR": ""}, "without MASTER_ADDR"),
    ],
)
def test_processes_that_cannot_meet_do_not_train(told, words, monkeypatch, capsys, tmp_path):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert (words in message, message.count("\n")) == (True, 1)
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError), process_group("cpu"):
        pass


@pytest.mark.parametrize("told", [{}, {"WORLD_SIZE": "1"}, {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}])
def test_a_process_alone_needs_no_meeting(told, monkeypatch):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    torchrun.check()
    with process_group("cpu") as device:
        assert device.type == "cpu"


def test_other_commands_do_not_mind_half_of_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RANK", "1")
    assert main(["check", str(tmp_path)]) == 2
    assert "RANK" not in capsys.readouterr().out
