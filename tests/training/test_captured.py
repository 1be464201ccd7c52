"""Recordings, as far as they need no GPU."""

import pytest
import torch

from fieldlevel.training import captured
from fieldlevel.training.captured import CapturedStep

DEVICE = torch.device("cuda:0")


@pytest.fixture(autouse=True)
def streams_are_numbers(monkeypatch) -> None:
    monkeypatch.setattr(captured, "side_stream", lambda number, device: (number, device))


def stream_of(step: CapturedStep) -> tuple[int, torch.device]:
    number, device = step._stream
    return number, device


def test_recordings_that_are_alive_have_streams_of_their_own():
    first, second = CapturedStep(DEVICE), CapturedStep(DEVICE)
    elsewhere = CapturedStep(torch.device("cuda:1"))
    assert len({stream_of(each) for each in (first, second, elsewhere)}) == 3
    assert all(number <= 0 for number, _ in map(stream_of, (first, second, elsewhere))), "those of tasks side by side"


def test_streams_of_forgotten_recordings_are_used_again():
    """cuBLAS keeps a workspace for every stream."""
    first, second = CapturedStep(DEVICE), CapturedStep(DEVICE)
    stream = stream_of(first)
    del first
    third = CapturedStep(DEVICE)
    assert stream_of(third) == stream != stream_of(second)
