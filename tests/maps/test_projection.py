"""Laws of maps made from snapshots, with snapshots of a mock simulation in the layout of CAMELS."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from fieldlevel.config import ProjectSpec, SimulateSpec
from fieldlevel.errors import UserError
from fieldlevel.maps.catalogue import check_directory
from fieldlevel.maps.projection import project_snapshot, project_snapshots
from fieldlevel.maps.snapshots import open_snapshot
from fieldlevel.parameters import CRITICAL_DENSITY
from fieldlevel.simulate.suite import simulate_suite

CPU = torch.device("cpu")
TOY = SimulateSpec(suite="MockSIMBA", n_simulations=2, n_particles=16, n_mesh=32, n_pixels=16)
SPEC = ProjectSpec(suite="MockSIMBA", n_pixels=16, fields=("Mtot", "Mcdm", "Mgas", "Mstar", "Vcdm"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Maps of two mock simulations, and their snapshots."""
    return simulate_suite(TOY, tmp_path_factory.mktemp("simulated"), device="cpu", keep_snapshots=True)


@pytest.fixture(scope="module")
def paths(simulated):
    return [simulated / "snapshots" / "MockSIMBA" / f"LH_{number}" / "snapshot_090.hdf5" for number in range(2)]


@pytest.fixture(scope="module")
def maps(paths):
    return project_snapshot(open_snapshot(paths[0]), SPEC, CPU)


def rewritten(path, folder, change):
    """A copy of a snapshot whose datasets a function has changed."""
    copy = folder / "changed.hdf5"
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as file:
        change(file)
    return copy


def test_snapshots_give_the_maps_that_were_simulated(simulated, maps):
    """Up to the difference between the exact radius of a disc and the estimate on the mesh."""
    made = np.load(simulated / "Maps_Mtot_MockSIMBA_LH_z=0.00.npy")[:15]
    assert np.std(np.log10(maps["Mtot"] / made)) < 0.06
    assert np.corrcoef(np.log10(maps["Mtot"]).ravel(), np.log10(made).ravel())[0, 1] > 0.98


def test_every_axis_holds_the_mass_of_the_snapshot(paths, maps):
    Omega_m = open_snapshot(paths[0]).Omega_m
    mean = maps["Mtot"].reshape(3, 5, 16, 16).mean(axis=(1, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(mean, 5 * CRITICAL_DENSITY * Omega_m, rtol=1e-6)


def test_each_map_holds_the_mass_of_its_slab(paths, maps):
    snapshot = open_snapshot(paths[0])
    for axis in range(3):
        expected = np.zeros(5)
        for kind in snapshot.n_particles:
            if snapshot.n_particles[kind]:
                particles = snapshot.read(kind, ["position", "mass"])
                slab = np.minimum(particles["position"][:, axis] // 5, 4).astype(int)
                expected += np.bincount(slab, particles["mass"].astype(np.float64), minlength=5)
        held = maps["Mtot"][5 * axis : 5 * axis + 5].sum(axis=(1, 2), dtype=np.float64) * (25 / 16) ** 2
        np.testing.assert_allclose(held, expected, rtol=1e-6)


def test_kinds_add_up_to_all_matter(maps):
    np.testing.assert_allclose(maps["Mcdm"] + maps["Mgas"] + maps["Mstar"], maps["Mtot"], rtol=1e-5)


def test_shifting_all_particles_by_whole_pixels_rolls_the_maps(paths, maps, tmp_path):
    def shift(file):
        for name in ("PartType0", "PartType1", "PartType4"):
            file[name]["Coordinates"][:] += np.array([0.0, 3, -5]) * 25e3 / 16

    moved = project_snapshot(open_snapshot(rewritten(paths[0], tmp_path, shift)), SPEC, CPU)
    expected = np.roll(maps["Mtot"][:5], (3, -5), (1, 2))
    np.testing.assert_allclose(moved["Mtot"][:5], expected, rtol=2e-2)
    assert np.std(np.log10(moved["Mtot"][:5] / expected)) < 1e-3


def test_averages_do_not_depend_on_the_mass_unit_and_lie_between_the_extremes(paths, maps, tmp_path):
    def lighter(file):
        file["PartType1"]["Masses"][:] *= 0.5

    half = project_snapshot(open_snapshot(rewritten(paths[0], tmp_path, lighter)), replace(SPEC, fields=("Vcdm",)), CPU)
    np.testing.assert_allclose(half["Vcdm"], maps["Vcdm"], rtol=1e-5)
    speed = np.linalg.norm(open_snapshot(paths[0]).read("dark matter", ["velocity"])["velocity"], axis=1)
    assert speed.min() <= maps["Vcdm"].min()
    assert maps["Vcdm"].max() <= speed.max()


def test_a_constant_speed_is_averaged_to_itself(paths, tmp_path):
    def steady(file):
        file["PartType1"]["Velocities"][:] = (3.0, 0.0, -4.0)

    snapshot = open_snapshot(rewritten(paths[0], tmp_path, steady))
    speed = project_snapshot(snapshot, replace(SPEC, fields=("Vcdm",)), CPU)["Vcdm"]
    np.testing.assert_allclose(speed, 5.0, rtol=1e-5)


def test_the_folder_is_sound_cmd_data_whatever_the_workers(simulated, paths, tmp_path):
    spec = replace(SPEC, parameters=str(simulated / "params_LH_MockSIMBA.txt"))
    for folder, workers in ((tmp_path / "one", 1), (tmp_path / "two", 2)):
        project_snapshots(paths, spec, folder, workers=workers)
        assert check_directory(folder) == []
    for file in (tmp_path / "one").glob("*.npy"):
        first, second = np.load(file), np.load(tmp_path / "two" / file.name)
        assert first.shape == (30, 16, 16)
        np.testing.assert_allclose(first, second, rtol=1e-5)


def test_thin_slabs_hold_their_share(paths):
    snapshot = open_snapshot(paths[0])
    thin = project_snapshot(snapshot, replace(SPEC, fields=("Mcdm",), n_slabs=2, slab_thickness_mpc_h=2.5), CPU)["Mcdm"]
    thick = project_snapshot(snapshot, replace(SPEC, fields=("Mcdm",)), CPU)["Mcdm"]
    assert thin.shape == (6, 16, 16)
    np.testing.assert_allclose(thin[:2].sum(0), thick[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fields": ("Mtot", "Mtot")}, "each once"),
        ({"fields": ("Xi",)}, "Mtot, Mcdm"),
        ({"n_pixels": 100}, "16, 32, 64"),
        ({"suite": "a/b"}, "letters"),
        ({"n_slabs": 6, "slab_thickness_mpc_h": 5.0}, "do not fit"),
        ({"n_neighbours": 10_000}, "lower --n-neighbours"),
        ({"parameters": "missing.txt"}, "cannot be read"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_left(paths, tmp_path, change, words):
    with pytest.raises(UserError, match=words):
        project_snapshots(paths, replace(SPEC, **change), tmp_path / "out")
    assert not list(tmp_path.rglob("*.npy"))


def test_a_snapshot_that_turns_out_unusable_leaves_nothing(paths, tmp_path):
    def poison(file):
        file["PartType1"]["Coordinates"][-1] = np.nan

    with pytest.raises(UserError, match=r"Coordinates|position"):
        project_snapshots([rewritten(paths[0], tmp_path, poison)], SPEC, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_fields_that_the_snapshot_does_not_hold_are_refused(paths, tmp_path):
    for field, words in (("T", "InternalEnergy"), ("B", "MagneticField")):
        with pytest.raises(UserError, match=words):
            project_snapshots(paths, replace(SPEC, fields=(field,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suite", ["SIMBA", "Mine"])
def test_mock_snapshots_cannot_take_another_name(paths, tmp_path, suite):
    with pytest.raises(UserError, match="is MOCK DATA: name its suite MockTNG"):
        project_snapshots(paths, replace(SPEC, suite=suite), tmp_path)


def test_rows_in_another_order_are_noticed(simulated, paths, tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("\n".join(reversed((simulated / "params_LH_MockSIMBA.txt").read_text().splitlines())))
    with pytest.raises(UserError, match="in the order of the snapshots"):
        project_snapshots(paths, replace(SPEC, parameters=str(table)), tmp_path / "out")
