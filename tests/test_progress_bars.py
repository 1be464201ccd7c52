from multiprocessing import Pipe

import pytest

from fieldlevel import progress_bars
from fieldlevel.progress import Progress, ignore
from fieldlevel.progress_bars import telling

LAST = Progress("train", 5, 5, "steps", "loss -3.00", {"loss": -3.0})


def test_verbose_shows_what_the_listener_hears(capsys):
    heard = []
    with telling(heard.append, verbose=True) as listener:
        listener(LAST)
    assert heard == [LAST]
    assert capsys.readouterr().err == "train: 5/5 steps loss -3.00\n"


def test_without_verbose_nothing_is_shown(capsys):
    with telling(ignore, verbose=False) as listener:
        listener(LAST)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_bars(monkeypatch, capsys):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(progress_bars, "_is_terminal", lambda: True)
    with telling(ignore, verbose=True) as listener:
        for done in (1, 5):
            listener(Progress("train [MockTNG]", done, 5, "steps", "loss -3.00"))
    assert "train [MockTNG]" in capsys.readouterr().err


def test_without_rich_there_are_lines(monkeypatch, capsys):
    monkeypatch.setattr(progress_bars, "find_spec", lambda name: None)
    with telling(ignore, verbose=True) as listener:
        listener(LAST)
    assert capsys.readouterr().err == "train: 5/5 steps loss -3.00\n"


@pytest.mark.parametrize("event", [LAST, Progress("check", 1, 2, "maps")])
def test_events_go_to_other_processes_and_into_sets(event):
    ours, theirs = Pipe()
    ours.send(event)
    assert {theirs.recv()} == {event}
