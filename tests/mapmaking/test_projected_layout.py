"""`project` says what its maps are, so that other boxes and slabs than those of CMD are checked, opened, trained on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.cli import main
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import check_directory, open_suite
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshots
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.trainer import train

N_SIMULATIONS = 6
THICK = ProjectSpec(n_slabs=2, n_pixels=16, n_neighbours=8)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    layout = Layout()
    rng = np.random.default_rng(0)
    theta = rng.uniform(layout.lows, layout.highs, (N_SIMULATIONS, 6)).round(5)
    path = tmp_path_factory.mktemp("table") / "table.txt"
    np.savetxt(path, theta, fmt="%.5f")
    return path


@pytest.fixture(scope="module")
def paths(table, tmp_path_factory, write_dark_matter) -> dict[float, list[Path]]:
    folder = tmp_path_factory.mktemp("snapshots")
    Omega_m = np.loadtxt(table)[:, 0]
    return {
        box: [write_dark_matter(folder / f"{box:g}-{i}.hdf5", value, box, seed=i) for i, value in enumerate(Omega_m)]
        for box in (25.0, 50.0)
    }


@pytest.fixture(scope="module")
def thick(paths, table, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("thick")
    project_snapshots(paths[50.0], replace(THICK, parameters=str(table)), folder)
    return folder


def said(folder: Path, suite: str = "Mine") -> dict[str, object]:
    return json.loads((folder / f"layout_LH_{suite}.json").read_text())


def test_two_slabs_of_50_mpc_are_sound_and_opened(thick):
    assert check_directory(thick) == []
    assert main(["check", str(thick)]) == 0
    suite = open_suite(thick, "Mine")
    assert suite.maps.shape == (6 * N_SIMULATIONS, 16, 16)
    assert suite.layout.slabs == "2 slabs of 25 Mpc/h of a box of 50 Mpc/h"
    assert (suite.layout.n_pixels, suite.layout.redshift) == (16, 0.0)


def test_every_axis_holds_the_mass_of_the_box(thick, table):
    mean = open_suite(thick, "Mine").maps.reshape(N_SIMULATIONS, 3, 2, 16, 16).mean((2, 3, 4), dtype=np.float64)
    expected = 25 * CRITICAL_DENSITY * np.loadtxt(table)[:, 0]
    np.testing.assert_allclose(mean, np.broadcast_to(expected[:, None], mean.shape), rtol=1e-6)


def test_a_network_is_trained_on_them(thick, tmp_path):
    spec = replace(
        modern_preset(),
        suite="Mine",
        split=SplitSpec(train=0.5, validation=0.3),
        network=NetworkSpec(hidden=1),
        batch_size=6,
        n_steps=2,
        validate_every=1,
        head_batches=1,
    )
    assert train(spec, thick, tmp_path / "network", "cpu").exists()


def test_the_same_command_again_leaves_the_folder_as_it_is(thick, paths, table):
    before = {path.name: path.read_bytes() for path in thick.iterdir() if path.is_file()}
    assert project_snapshots(paths[50.0], replace(THICK, parameters=str(table)), thick) == []
    assert {path.name: path.read_bytes() for path in thick.iterdir() if path.is_file()} == before


def test_suites_that_nobody_knows_say_what_they_are_and_those_of_cmd_need_not(paths, table, tmp_path):
    """In the box and the slabs of CMD."""
    spec = ProjectSpec(n_pixels=16, n_neighbours=8, parameters=str(table))
    for suite in ("Mine", "Nbody_IllustrisTNG"):
        project_snapshots(paths[25.0], replace(spec, suite=suite), tmp_path / suite)
        assert check_directory(tmp_path / suite) == []
    assert said(tmp_path / "Mine") == {"box_size_mpc_h": 25.0, "slab_thickness_mpc_h": 5.0, "n_slabs": 5}
    assert not list((tmp_path / "Nbody_IllustrisTNG").glob("layout_*"))


def test_known_suites_say_what_is_unlike_cmd(paths, table, tmp_path):
    spec = replace(THICK, suite="Nbody_SIMBA", parameters=str(table))
    project_snapshots(paths[50.0], spec, tmp_path)
    assert said(tmp_path, "Nbody_SIMBA") == {"box_size_mpc_h": 50.0, "slab_thickness_mpc_h": 25.0, "n_slabs": 2}
    assert check_directory(tmp_path) == []
    assert open_suite(tmp_path, "Nbody_SIMBA").layout.n_maps == 6


def test_slabs_that_leave_a_part_out_are_sound(paths, table, tmp_path):
    spec = replace(THICK, slab_thickness_mpc_h=5.0, parameters=str(table))
    project_snapshots(paths[25.0], spec, tmp_path)
    assert check_directory(tmp_path) == []
    assert not open_suite(tmp_path, "Mine").layout.fills_box


def test_folders_of_before_are_known_by_their_record(thick, tmp_path):
    for path in thick.iterdir():
        if path.is_file() and not path.name.startswith("layout_"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    assert check_directory(tmp_path) == []
    old, new = (open_suite(folder, "Mine") for folder in (tmp_path, thick))
    assert old.layout == new.layout
    assert old.fingerprint == new.fingerprint


def test_a_file_in_the_folder_gives_the_parameters(paths, table, tmp_path):
    parameters = [{"name": "Omega_m", "low": 0.1, "high": 0.5, "cosmological": True}, {"name": "f_esc"}]
    (tmp_path / "layout_LH_Mine.json").write_text(
        json.dumps({"parameters": parameters, "box_size_mpc_h": 50.0, "slab_thickness_mpc_h": 25.0, "n_slabs": 2})
    )
    two = tmp_path / "two.txt"
    np.savetxt(two, np.c_[np.loadtxt(table)[:, 0], np.linspace(0.1, 0.9, N_SIMULATIONS)], fmt="%.5f")
    project_snapshots(paths[50.0], replace(THICK, parameters=str(two)), tmp_path)
    assert check_directory(tmp_path) == []
    assert open_suite(tmp_path, "Mine").layout.names == ("Omega_m", "f_esc")


def test_a_file_in_the_folder_that_says_another_box_is_refused(paths, tmp_path):
    (tmp_path / "layout_LH_Mine.json").write_text("{}")
    with pytest.raises(UserError, match=r"layout_LH_Mine\.json: says 5 slabs of 5 .*, but these would be 2 slabs"):
        project_snapshots(paths[50.0][:1], THICK, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["layout_LH_Mine.json"]


@pytest.mark.parametrize("suite", ["Swift-EAGLE", "my.run_2+a", "A" * 100])
def test_names_of_suites_are_those_that_are_trained_on(paths, tmp_path, suite):
    project_snapshots(paths[25.0][:1], replace(THICK, suite=f"Nbody_{suite}"[:100]), tmp_path)
    assert len(list(tmp_path.glob("Maps_*"))) == 1


@pytest.mark.parametrize("suite", ["", "_Mine", "my run", "A" * 101, "a/b"])
def test_names_that_no_suite_can_have_are_refused(paths, tmp_path, suite):
    with pytest.raises(UserError, match=r"suite = .*: allowed are letters and digits, with _"):
        project_snapshots(paths[25.0][:1], replace(THICK, suite=suite), tmp_path / "out")
