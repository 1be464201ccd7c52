"""How often the state of a run is written."""

import pytest
import torch

from fieldlevel.errors import UserError
from fieldlevel.training import resume
from fieldlevel.training.resume import ResumeFile, read_state


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves only while the state is written."""

    class Clock:
        now = 100.0
        takes = 2.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    write = resume.write_state

    def slow_write(path, state):
        clock.now += clock.takes
        write(path, state)

    monkeypatch.setattr(resume, "time", clock)
    monkeypatch.setattr(resume, "write_state", slow_write)
    return clock


def test_the_first_state_is_due_at_once(tmp_path, clock):
    file = ResumeFile(tmp_path / "resume.pt", "a run")
    assert file.is_due()
    file.write({"step": 3})
    assert file.read() == {"step": 3}


@pytest.mark.parametrize("version", [{}, *({"version": number} for number in (1, 2, 3, resume.VERSION + 1))])
def test_states_of_other_versions_are_refused(tmp_path, version):
    torch.save({"step": 3} | version, tmp_path / "resume.pt")
    with pytest.raises(UserError, match=r"resume\.pt: written by another version of fieldlevel; delete it"):
        read_state(tmp_path / "resume.pt")


def test_slow_writing_takes_a_twentieth_of_the_time(tmp_path, clock):
    file = ResumeFile(tmp_path / "resume.pt", "a run")
    file.write({})
    clock.now += 39.9
    assert not file.is_due()
    clock.now += 0.2
    assert file.is_due()


def test_quick_writing_is_never_put_off(tmp_path, clock):
    clock.takes = 0.05
    file = ResumeFile(tmp_path / "resume.pt", "a run")
    file.write({})
    assert file.is_due()


def test_a_slow_disk_that_recovers_is_used_again(tmp_path, clock):
    file = ResumeFile(tmp_path / "resume.pt", "a run")
    file.write({})
    clock.now += 41
    clock.takes = 0.01
    file.write({})
    assert file.is_due()
