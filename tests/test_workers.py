import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from functools import partial

import pytest
import torch

from fieldlevel.progress import Progress
from fieldlevel.workers import spread, worker_listener

CPU = torch.device("cpu")

# Workers can import what is installed only, so the pieces of work are made of that.
echo = partial(Progress, total=1, unit="pieces")


@pytest.mark.parametrize("n_workers", [1, 2])
def test_every_piece_is_done_once(n_workers):
    results = dict(spread(echo, [3, 5, 7, 9], [CPU] * n_workers))
    assert {place: result.task for place, result in results.items()} == {0: 3, 1: 5, 2: 7, 3: 9}


@pytest.mark.parametrize("n_workers", [1, 2])
def test_an_error_comes_through(n_workers):
    with pytest.raises(TypeError, match="isinstance"):
        list(spread(isinstance, [3], [CPU] * n_workers))


def test_a_single_worker_tells_the_listener_itself():
    told = []

    def make(number, device):
        worker_listener()(Progress("square", number, 10, "numbers"))

    list(spread(make, [3, 5], [CPU], told.append))
    assert [event.done for event in told] == [3, 5]


def test_nothing_to_do_is_done_at_once():
    assert list(spread(isinstance, [], [CPU])) == []


def test_an_interrupt_does_not_reach_workers_that_still_start():
    stopped = threading.Event()

    def interrupt_children() -> None:
        while not stopped.is_set():
            for child in multiprocessing.active_children():
                with suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGINT)
            time.sleep(0.01)

    threading.Thread(target=interrupt_children).start()
    try:
        assert len(list(spread(echo, [3, 5], [CPU] * 2))) == 2
    finally:
        stopped.set()
