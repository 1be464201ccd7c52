"""Maps that are kept for the next network are those of the file, and a file that changed is read again."""

import numpy as np
import pytest
import torch
from toy import latin_hypercube, toy_maps

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import Suite, open_suite
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.layout import Layout
from fieldlevel.numerics import kept_tensors
from fieldlevel.numerics.kept_tensors import KeptTensors
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train
from fieldlevel.workers import spread

CPU = torch.device("cpu")
BYTES = 15 * 16 * 16 * 4
"""Of the maps of a simulation."""


@pytest.fixture
def folder(tmp_path):
    theta = latin_hypercube(Layout(), 8, 0)
    np.save(tmp_path / "Maps_Mtot_MockTNG_LH_z=0.00.npy", toy_maps(theta, Layout(), 16, 0))
    np.savetxt(tmp_path / "params_LH_MockTNG.txt", theta, fmt="%.6f")
    return tmp_path


@pytest.fixture
def reads(monkeypatch):
    """Numbers of the simulations that are read."""
    found, read = [], Suite._read_raw
    monkeypatch.setattr(Suite, "_read_raw", lambda suite, n: (found.append(int(n)), read(suite, n))[1])
    return found


def test_what_does_not_fit_is_read_again(folder, reads):
    suite, kept = open_suite(folder, "MockTNG"), KeptTensors(CPU, 2 * BYTES)
    reads.clear()
    for _ in range(2):
        with kept.in_use():
            for number in range(3):
                assert torch.equal(suite.load_simulation(number), torch.from_numpy(suite.read_simulation(number)))
    assert [n for n in reads if reads.count(n) > 3] == [2, 2, 2, 2]


def test_a_changed_file_and_another_transform_are_read_anew(folder):
    path = folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    with KeptTensors(CPU, 100 * BYTES).in_use():
        suite = open_suite(folder, "MockTNG")
        before = suite.load_simulation(1)
        assert suite.load_simulation(1) is before
        smooth = suite.transformed(type(suite.transform)("smoothing", 1.0)).load_simulation(1)
        assert not torch.equal(smooth, before)
        np.save(path, 2 * np.load(path))
        assert torch.equal(open_suite(folder, "MockTNG", check=False).load_simulation(1), 2 * before)


def test_networks_are_the_same_to_the_bit(folder, reads, tmp_path, monkeypatch):
    spec = TrainSpec(
        split=SplitSpec(train=0.5, validation=0.25), network=NetworkSpec(hidden=1), batch_size=8, n_steps=2
    )

    def make(number, device):
        reads.clear()
        train(spec, folder, tmp_path / f"{number}{device.type}", str(device), check=False)
        return list(reads)

    assert all(read for _, read in spread(make, [0, 1], [CPU]))
    monkeypatch.setattr(kept_tensors, "_room_on", lambda device: 100 * BYTES)
    (_, first), (_, second) = spread(make, [2, 3], [CPU])
    assert set(first) > set(second)
    weights = {(tmp_path / f"{n}cpu" / "weights.safetensors").read_bytes() for n in range(4)}
    assert len(weights) == 1
