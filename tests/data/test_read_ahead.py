"""Reading one place ahead: order, number of reads, errors in their turn, nothing left behind."""

import threading

import numpy as np
import pytest
import torch

from fieldlevel.data.given import as_pixels, read_for
from fieldlevel.data.read_ahead import read_ahead

PLACES = range(6)


@pytest.mark.parametrize("n", [0, 1, 2, 6])
def test_each_place_is_read_once_and_in_order(n):
    read = []

    def reading(place):
        read.append(place)
        return 10 * place

    assert list(read_ahead(PLACES[:n], reading)) == [(place, 10 * place) for place in range(n)]
    assert read == list(range(n))


def test_the_next_place_is_read_meanwhile_and_no_more():
    read, is_read = [], [threading.Event() for _ in PLACES]

    def reading(place):
        read.append(place)
        is_read[place].set()

    for place, _ in read_ahead(PLACES, reading):
        following = min(place + 1, PLACES[-1])
        assert is_read[following].wait(timeout=60)
        assert read == list(range(following + 1))


def test_what_cannot_be_read_is_told_when_its_turn_has_come():
    def reading(place):
        if place == 2:
            raise OSError("gone")
        return place

    found = []
    with pytest.raises(OSError, match="gone"):
        for place, _ in read_ahead(PLACES, reading):
            found.append(place)
    assert found == [0, 1]


def test_who_stops_leaves_no_thread():
    def threads():
        return [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]

    read = []
    reading = read_ahead(PLACES, read.append)
    next(reading)
    assert threads()
    reading.close()
    assert not threads()
    assert len(read) <= 2


def test_a_cpu_reads_maps_where_they_are_and_tensors_stay():
    maps, cpu = np.arange(8.0, dtype=">f8").reshape(2, 2, 2), torch.device("cpu")
    assert read_for(maps, cpu) is maps
    tensor = torch.from_numpy(maps.astype(float))
    assert read_for(tensor, torch.device("cuda")) is tensor
    assert as_pixels(tensor, cpu).dtype == torch.float32


@pytest.mark.gpu
def test_a_gpu_gets_the_same_pixels_by_memory_that_it_copies_from():
    gpu = torch.device("cuda")
    for maps in (np.random.default_rng(0).random((3, 4, 4)), np.full((1, 2, 2), 1e300), np.ones((2, 3, 3), np.int16)):
        staged = read_for(maps, gpu)
        assert staged.is_pinned()
        torch.testing.assert_close(as_pixels(staged, gpu), as_pixels(maps, gpu), rtol=0.0, atol=0.0)
