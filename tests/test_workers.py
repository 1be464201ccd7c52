import time

import pytest
import torch

from fieldlevel.progress import Progress
from fieldlevel.workers import spread, worker_listener

CPU = torch.device("cpu")


def square(number, device):
    worker_listener()(Progress("square", number, 10, "numbers"))
    return number**2, device.type, torch.get_num_threads()


def fail(number, device):
    raise ValueError(f"number {number}")


@pytest.mark.parametrize("n_workers", [1, 2])
def test_every_piece_is_done_once_and_told_of(n_workers):
    told = []
    results = dict(spread(square, [3, 5, 7, 9], [CPU] * n_workers, told.append))
    assert {place: result[0] for place, result in results.items()} == {0: 9, 1: 25, 2: 49, 3: 81}
    until = time.monotonic() + 10
    while len(told) < 4 and time.monotonic() < until:
        time.sleep(0.01)
    assert sorted(event.done for event in told) == [3, 5, 7, 9]


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_error_comes_through(n_workers):
    with pytest.raises(ValueError, match="number 3"):
        list(spread(fail, [3], [CPU] * n_workers))


def test_nothing_to_do_is_done_at_once():
    assert list(spread(fail, [], [CPU])) == []
