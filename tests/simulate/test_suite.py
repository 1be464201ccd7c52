import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.config import SimulateSpec
from fieldlevel.errors import UserError
from fieldlevel.maps.catalogue import check_directory, open_suite
from fieldlevel.parameters import CRITICAL_DENSITY, MAXIMA, MINIMA
from fieldlevel.simulate.suite import latin_hypercube, simulate_suite

TINY = SimulateSpec(suite="MockSIMBA", n_simulations=3, n_particles=16, n_mesh=16, n_steps=3, n_pixels=16)
NAMES = ("Maps_Mtot_MockSIMBA_LH_z=0.00.npy", "Maps_Mtot_Nbody_MockSIMBA_LH_z=0.00.npy")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_suite(TINY, tmp_path_factory.mktemp("suite"))


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_folder_is_sound_cmd_data(folder):
    assert check_directory(folder) == []
    suite = open_suite(folder, "MockSIMBA")
    assert suite.maps.shape == (45, 16, 16)
    assert suite.is_mock


def test_labels_are_rows_of_the_real_latin_hypercube(folder):
    labels = np.loadtxt(folder / "params_LH_MockSIMBA.txt")
    assert labels[0].tolist() == [0.1462, 0.6242, 2.87986, 0.57995, 0.91447, 0.69786]
    for suite in ("MockTNG", "MockSIMBA"):
        rows = np.array([row.parameters for row in latin_hypercube(suite)])
        assert rows.shape == (1000, 6)
        assert (rows >= MINIMA).all()
        assert (rows <= MAXIMA).all()


def test_five_slabs_of_every_axis_hold_all_the_mass(folder):
    for name in NAMES:
        maps = np.load(folder / name).reshape(3, 3, 5, 16, 16)
        Omega_m = np.loadtxt(folder / "params_LH_MockSIMBA.txt")[:, 0]
        mean = maps.mean(axis=(2, 3, 4), dtype=np.float64)
        np.testing.assert_allclose(mean, np.repeat((CRITICAL_DENSITY * 5 * Omega_m)[:, None], 3, 1), rtol=1e-5)


def test_the_three_axes_project_the_same_box(folder):
    """Summed over slabs, maps of two axes share the line integral along the axis that is in both planes."""
    maps = np.load(folder / NAMES[0])[:15].reshape(3, 5, 16, 16).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(maps[0].sum(axis=0), maps[1].sum(axis=0), rtol=0.05)
    np.testing.assert_allclose(maps[1].sum(axis=1), maps[2].sum(axis=1), rtol=0.05)


def test_twin_shares_the_large_scales_but_not_the_pixels(folder):
    hydro, nbody = (np.log10(np.load(folder / name)) for name in NAMES)
    assert np.corrcoef(hydro.ravel(), nbody.ravel())[0, 1] > 0.9
    assert not np.array_equal(hydro, nbody)


def test_workers_change_nothing(folder, tmp_path):
    simulate_suite(TINY, tmp_path, workers=2)
    for name in NAMES:
        np.testing.assert_allclose(np.load(tmp_path / name), np.load(folder / name), rtol=1e-4)


def test_an_interrupted_run_continues_and_a_finished_one_does_nothing(folder, tmp_path):
    def stop_after_two(event):
        if event.done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_suite(TINY, tmp_path, listener=stop_after_two)
    assert not (tmp_path / NAMES[0]).exists()
    started_with = []
    simulate_suite(TINY, tmp_path, listener=lambda event: started_with.append(event.done))
    assert started_with == [2, 3]
    assert contents(tmp_path) == contents(folder)
    simulate_suite(TINY, tmp_path, listener=lambda event: pytest.fail("simulated again"))


@pytest.mark.slow
def test_a_killed_run_continues(folder, tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=simulate_suite, args=(TINY, tmp_path))
    process.start()
    ledger = tmp_path / ".MockSIMBA_LH.partial" / "done.npy"
    while not (ledger.exists() and np.load(ledger).any()) and process.is_alive():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    simulate_suite(TINY, tmp_path)
    assert contents(tmp_path) == contents(folder)


def test_another_spec_is_refused(folder):
    with pytest.raises(UserError, match="made with another spec"):
        simulate_suite(replace(TINY, n_steps=4), folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_simulations", 1001), ("n_simulations", 0), ("n_particles", 7), ("n_mesh", 8), ("n_steps", 0),
        ("a_start", 2.0), ("n_pixels", 24), ("n_neighbours", 0),
    ],
)  # fmt: skip
def test_specs_that_cannot_be_run_are_refused(tmp_path, field, value):
    with pytest.raises(UserError, match=f"{field} = {value}: allowed are"):
        simulate_suite(replace(TINY, **{field: value}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(UserError, match="nonsense"):
        simulate_suite(TINY, tmp_path, device="nonsense")
