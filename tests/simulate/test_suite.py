import errno
import json
import multiprocessing
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import torch
from fake_simulation import SMALL, fake_maps

from fieldlevel.data.suite import check_directory, open_suite
from fieldlevel.errors import UserError
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.mapmaking.ledger import Ledger
from fieldlevel.mapmaking.production import missing_simulations
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.simulate import mock_suite as suite_module
from fieldlevel.simulate import simulation
from fieldlevel.simulate.mock_suite import plan_suites, simulate_suite
from fieldlevel.simulate.sets import rows_of_set
from fieldlevel.simulate.simulate_spec import SIMULATED_FIELDS, SimulateSpec
from fieldlevel.suites import nbody_twin
from fieldlevel.workers import choose_devices

TINY = SimulateSpec(("MockSIMBA",), n_simulations=3, n_particles=16, n_mesh=16, n_pixels=16, fields=SIMULATED_FIELDS)
NAMES = ("Maps_Mtot_MockSIMBA_LH_z=0.00.npy", "Maps_Mtot_Nbody_Mock_LH_z=0.00.npy")
ROUND_OFF = 2e-6
"""Relative; the sum of three float32 numbers, and of the masses of thousands of particles."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_suite(TINY, tmp_path_factory.mktemp("suite"), device="cpu")


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(simulation, "simulate_maps", fake_maps)


def contents(folder) -> dict[str, bytes]:
    names = [
        *sorted(path.name for path in folder.glob("Maps_*")),
        *sorted(path.name for path in folder.glob("params*")),
    ]
    return {name: (folder / name).read_bytes() for name in names}


# Real simulations


def test_the_folder_is_sound_cmd_data(folder):
    assert check_directory(folder) == []
    suite = open_suite(folder, "MockSIMBA")
    assert suite.maps.shape == (45, 16, 16)
    assert suite.is_mock
    assert len(contents(folder)) == len(SIMULATED_FIELDS) + 1 + 2


def test_labels_are_rows_of_the_latin_hypercube(folder):
    """Those of the twin are the cosmology alone."""
    for suite, n_columns in (("MockSIMBA", 6), ("Nbody_Mock", 2)):
        labels = np.loadtxt(folder / f"params_LH_{suite}.txt")
        assert labels.tolist() == [list(row.parameters) for row in rows_of_set(TINY, suite)]
        assert labels.shape == (3, n_columns)


def test_five_slabs_of_every_axis_hold_all_the_mass(folder):
    for name in NAMES:
        maps = np.load(folder / name).reshape(3, 3, 5, 16, 16)
        Omega_m = np.loadtxt(folder / "params_LH_MockSIMBA.txt")[:, 0]
        mean = maps.mean(axis=(2, 3, 4), dtype=np.float64)
        np.testing.assert_allclose(mean, np.repeat((CRITICAL_DENSITY * 5 * Omega_m)[:, None], 3, 1), rtol=1e-5)


def test_dark_matter_gas_and_stars_add_up(folder):
    total, *kinds = (np.load(folder / f"Maps_{field}_MockSIMBA_LH_z=0.00.npy") for field in SIMULATED_FIELDS)
    np.testing.assert_allclose(np.sum(kinds, axis=0, dtype=np.float64), total, rtol=ROUND_OFF)
    assert all(kind.max() > 0 for kind in kinds[:2])


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
    simulate_suite(TINY, tmp_path, device="cpu", workers=2)
    for name in NAMES:
        np.testing.assert_allclose(np.load(tmp_path / name), np.load(folder / name), rtol=1e-4)


def test_shards_of_real_simulations_make_the_same_files(folder, tmp_path):
    for number in (2, 1):
        simulate_suite(TINY, tmp_path, device="cpu", shard=Shard(number, 2))
    assert contents(tmp_path) == contents(folder)


@pytest.mark.slow
def test_a_killed_run_continues(folder, tmp_path):
    process = multiprocessing.get_context("spawn").Process(target=simulate_suite, args=(TINY, tmp_path, "cpu"))
    process.start()
    while len(missing_simulations(plan_suites(TINY), tmp_path)) == 3 and process.is_alive():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    simulate_suite(TINY, tmp_path, device="cpu")
    assert contents(tmp_path) == contents(folder)


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu(folder, tmp_path):
    simulate_suite(TINY, tmp_path, device="cuda")
    assert check_directory(tmp_path) == []
    gpu, cpu = (np.log10(np.load(path / NAMES[1])) for path in (tmp_path, folder))
    assert np.corrcoef(gpu.ravel(), cpu.ravel())[0, 1] > 0.999


# What surrounds a simulation


@pytest.mark.parametrize("set_name", ["LH", "LHtest", "CV", "1P", "EX", "mine"])
def test_every_set_and_field_is_sound_cmd_data(fake, tmp_path, set_name):
    table = tmp_path / "mine.txt"
    table.write_text("0.3 0.8 1 9 0.3 1 5\n0.3 0.8 1 9 3 1 5\n0.1 1.2 50 1 1 1\n")
    spec = replace(SMALL, set_name=set_name, n_simulations=None, fields=SIMULATED_FIELDS)
    spec = replace(spec, parameters=str(table)) if set_name == "mine" else spec
    spec = replace(spec, n_simulations=20) if set_name[:2] == "LH" else spec
    out = simulate_suite(spec, tmp_path / "out", device="cpu")
    assert check_directory(out) == []
    for suite in ("MockTNG", "Nbody_Mock"):
        opened = open_suite(out, suite, set_name=set_name)
        assert opened.parameters.tolist() == [list(row.parameters) for row in rows_of_set(spec, suite)]


def test_an_interrupted_run_continues_and_a_finished_one_does_nothing(fake, tmp_path):
    def stop_after_two(event):
        if event.done == 2:
            raise KeyboardInterrupt

    whole = contents(simulate_suite(SMALL, tmp_path / "whole", device="cpu"))
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        simulate_suite(SMALL, out, device="cpu", listener=stop_after_two)
    assert contents(out) == {}
    events = []
    simulate_suite(SMALL, out, device="cpu", listener=events.append)
    assert [event.done for event in events] == [2, 3, 4, 5, 6, 7]
    assert {(event.task, event.total, event.unit) for event in events} == {("simulate MockTNG", 7, "simulations")}
    assert contents(out) == whole
    again = []
    simulate_suite(SMALL, out, device="cpu", listener=again.append)
    assert [event.done for event in again] == [7]


@pytest.mark.parametrize("name", [*NAMES, "params_LH_MockSIMBA.txt"])
def test_files_that_were_not_made_here_are_left_alone(fake, tmp_path, name):
    (tmp_path / name).write_text("somebody's")
    with pytest.raises(UserError, match=f"{name}: is there already and was not made here"):
        simulate_suite(TINY, tmp_path, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "somebody's"


def test_progress_of_a_shard_counts_the_shard(fake, tmp_path):
    events = []
    simulate_suite(SMALL, tmp_path, device="cpu", listener=events.append, shard=Shard(2, 3))
    assert [(event.task, event.done, event.total) for event in events] == [
        ("simulate MockTNG 2/3", done, 2) for done in range(3)
    ]


def test_the_record_says_what_was_made_where_and_when(fake, tmp_path):
    def stop_after_two(event):
        if event.done == 2:
            raise KeyboardInterrupt

    spec = replace(SMALL, set_name="CV", fields=("Mtot", "Mgas"))
    with pytest.raises(KeyboardInterrupt):
        simulate_suite(spec, tmp_path, device="cpu", listener=stop_after_two)
    simulate_suite(spec, tmp_path, device="cpu")
    simulate_suite(SMALL, tmp_path, device="cpu")
    records = json.loads((tmp_path / "provenance.json").read_text())
    assert set(records) == {"MockTNG_CV", "MockTNG_LH", "Nbody_Mock_CV", "Nbody_Mock_LH"}
    record = records["MockTNG_CV"]
    assert record["origin"].startswith("MOCK DATA")
    assert (record["spec"]["set_name"], record["spec"]["fields"]) == ("CV", ["Mtot", "Mgas"])
    assert record["labels"] == "rows 0 to 6 of the fiducial point with different seeds"
    assert [run["simulations"] for run in record["runs"]] == [2, 5]
    for run in record["runs"]:
        assert "CPU" in run["hardware"]
        started, finished = (datetime.fromisoformat(run[key]) for key in ("started", "finished"))
        assert started.utcoffset().total_seconds() == 0
        assert (finished - started).total_seconds() == pytest.approx(run["seconds"], abs=0.5)


def test_the_next_simulation_is_computed_while_one_is_stored(monkeypatch, tmp_path):
    second_has_begun = threading.Event()
    overlapped = []

    def maps(spec, rows, *others):
        if rows["MockTNG"] == rows_of_set(SMALL, "MockTNG")[1]:
            second_has_begun.set()
        return fake_maps(spec, rows, *others)

    def write(ledger, number, stored):
        overlapped.append((ledger.plan.suite, second_has_begun.wait(timeout=20)))

    monkeypatch.setattr(simulation, "simulate_maps", maps)
    monkeypatch.setattr(Ledger, "write", write)
    simulate_suite(SMALL, tmp_path, device="cpu")
    assert overlapped == [("MockTNG", True), (nbody_twin("MockTNG"), True)] * 7


def test_computing_waits_for_a_slow_disk(fake, monkeypatch, tmp_path):
    stored, backlog = [], []

    def write(ledger, number, maps):
        time.sleep(0.01)
        if ledger.plan.suite == "MockTNG":
            stored.append(number)

    monkeypatch.setattr(Ledger, "write", write)
    simulate_suite(SMALL, tmp_path, device="cpu", listener=lambda event: backlog.append(event.done - len(stored)))
    assert stored == list(range(7))
    assert max(backlog) <= 3


def test_an_error_of_the_disk_surfaces(fake, monkeypatch, tmp_path):
    def write(ledger, number, maps):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Ledger, "write", write)
    with pytest.raises(OSError, match="No space left"):
        simulate_suite(SMALL, tmp_path, device="cpu")
    assert contents(tmp_path) == {}


def test_every_gpu_gets_a_process_and_a_named_one_none(monkeypatch):
    def devices(name, n_gpus):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
        return [str(device) for device in choose_devices(name, workers=3)]

    assert devices("auto", 0) == devices("cpu", 4) == ["cpu"] * 3
    assert devices("auto", 4) == devices("cuda", 4) == ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]
    assert devices("cuda:1", 4) == ["cuda:1"]
    assert devices("auto", 1) == ["cuda"]


@pytest.mark.parametrize(
    ("n_simulations", "n_gpus", "n_processes"), [(99, 1, 1), (100, 1, 2), (150, 2, 2), (200, 2, 4)]
)
def test_processes_share_a_gpu_where_there_is_much_to_do(monkeypatch, n_simulations, n_gpus, n_processes):
    used = []
    gpus = [torch.device("cuda", index) for index in range(n_gpus)]
    monkeypatch.setattr(suite_module, "choose_devices", lambda device, workers: gpus)
    monkeypatch.setattr(
        suite_module, "produce_maps", lambda plans, folder, make, devices, *others: used.extend(devices) or []
    )
    simulate_suite(replace(TINY, n_simulations=n_simulations), "nowhere", workers=2)
    assert len(used) == n_processes
    assert set(used) == set(gpus)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_simulations", 10**6), ("n_simulations", 0), ("n_particles", 7), ("n_mesh", 8), ("step_error", 0.0),
        ("a_start", 2.0), ("n_pixels", 24), ("n_neighbours", 0),
    ],
)  # fmt: skip
def test_specs_that_cannot_be_run_are_refused(tmp_path, field, value):
    with pytest.raises(UserError, match=f"{field} = {value}: allowed are"):
        simulate_suite(replace(TINY, **{field: value}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("fields", [(), ("Mtot", "Mtot"), ("T",)])
def test_fields_that_are_not_made_are_refused(tmp_path, fields):
    with pytest.raises(UserError, match=r"fields.*Mtot.*Mcdm.*Mgas.*Mstar"):
        simulate_suite(replace(TINY, fields=fields), tmp_path)


def test_an_unknown_device_is_refused(tmp_path):
    with pytest.raises(UserError, match="nonsense"):
        simulate_suite(TINY, tmp_path, device="nonsense")
