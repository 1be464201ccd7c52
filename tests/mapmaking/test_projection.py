"""Laws of maps made from snapshots, with snapshots of a mock simulation in the layout of CAMELS."""

import json
import multiprocessing
import pickle
import threading
import time
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch

from fieldlevel.data.suite import check_directory, open_suite
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.mapmaking import projection
from fieldlevel.mapmaking.plan import lacking_parameters
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.projection import project_snapshot, project_snapshots
from fieldlevel.mapmaking.slabs import project_particles
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.snapshots.opening import open_snapshot
from fieldlevel.snapshots.quantities import HYDROGEN_FRACTION, PROTON_MASS
from fieldlevel.snapshots.units import MPC, MSUN

CPU = torch.device("cpu")
TOY = SimulateSpec(("MockSIMBA",), n_simulations=2, n_particles=16, n_mesh=32, n_pixels=16)
SPEC = ProjectSpec(suite="MockSIMBA", n_pixels=16, fields=("Mtot", "Mcdm", "Mgas", "Mstar", "Vcdm"))
MINE = ProjectSpec(n_pixels=16, n_neighbours=8)
PIXEL_AREA = (25 / 16) ** 2


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

    speeds = replace(SPEC, fields=("Vcdm",), check_mass=False)
    half = project_snapshot(open_snapshot(rewritten(paths[0], tmp_path, lighter)), speeds, CPU)
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
        np.testing.assert_array_equal(first, second)


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
        ({"n_pixels": 2**20}, "n_pixels = 1048576: allowed are 16, 32, 64, ..., 8192"),
        ({"n_slabs": 10**6}, "n_slabs = 1000000: allowed are 1 to 1024"),
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
    assert not (tmp_path / "out").exists()


def test_fields_that_the_snapshot_does_not_hold_are_refused(paths, tmp_path):
    for field, words in (("T", "InternalEnergy"), ("B", "MagneticField")):
        with pytest.raises(UserError, match=words):
            project_snapshots(paths, replace(SPEC, fields=(field,)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("suite", ["MockTNG", "Nbody_Mock", "Nbody_MockSIMBA"])
def test_mock_snapshots_carry_the_name_of_their_suite(simulated, paths, tmp_path, suite):
    with pytest.raises(UserError, match=f"is of MockSIMBA, not of {suite}; choose with --suite"):
        project_snapshots(paths, replace(SPEC, suite=suite, fields=("Mtot",)), tmp_path / "out")
    twins = [simulated / "snapshots/Nbody_Mock" / path.parent.name / path.name for path in paths]
    twin_spec = replace(SPEC, suite="Nbody_Mock", fields=("Mtot",))
    assert project_snapshots(twins, twin_spec, tmp_path / "twins") == []
    twin = open_suite(tmp_path / "twins", "Nbody_Mock")
    np.testing.assert_array_equal(twin.parameters, np.loadtxt(simulated / "params_LH_Nbody_Mock.txt"))
    assert twin.layout.names == ("Omega_m", "sigma_8")
    with pytest.raises(UserError, match="is of Nbody_Mock, not of MockSIMBA"):
        project_snapshots(twins, replace(twin_spec, suite="MockSIMBA"), tmp_path / "out")


@pytest.mark.parametrize("suite", ["SIMBA", "Mine"])
def test_mock_snapshots_cannot_take_another_name(paths, tmp_path, suite):
    with pytest.raises(UserError, match="is MOCK DATA: name its suite MockTNG"):
        project_snapshots(paths, replace(SPEC, suite=suite), tmp_path)


def test_rows_in_another_order_are_noticed(simulated, paths, tmp_path):
    table = tmp_path / "table.txt"
    table.write_text("\n".join(reversed((simulated / "params_LH_MockSIMBA.txt").read_text().splitlines())))
    with pytest.raises(UserError, match="in the order of the snapshots"):
        project_snapshots(paths, replace(SPEC, parameters=str(table)), tmp_path / "out")


def axis_totals(maps):
    """Sums over each axis, (3,), times the area of a pixel."""
    return maps.reshape(3, -1).sum(1, dtype=np.float64) * PIXEL_AREA


AVERAGED = {"T": "temperature", "P": "pressure", "Z": "metallicity", "B": "magnetic field", "Vgas": "velocity"}


@pytest.mark.parametrize(("field", "name"), AVERAGED.items())
def test_averaged_fields_hold_the_mass_weighted_mean_of_the_gas(write_hydro, field, name):
    """A map of the average times the map of the mass sums to sum(m q), whatever the discs."""
    snapshot = open_snapshot(write_hydro())
    maps = project_snapshot(snapshot, replace(MINE, fields=(field, "Mgas")), CPU)
    gas = snapshot.read("gas", ["mass", name])
    values = np.linalg.norm(gas[name], axis=1) if field == "Vgas" else gas[name]
    np.testing.assert_allclose(axis_totals(maps[field] * maps["Mgas"]), (gas["mass"] * values).sum(), rtol=1e-5)


def test_electrons_and_neutral_hydrogen_are_counted(write_hydro):
    """The density of electrons times the volume m / rho is their number, which the density does not enter."""
    snapshot = open_snapshot(path := write_hydro())
    maps = project_snapshot(snapshot, replace(MINE, fields=("ne", "HI")), CPU)
    mass = snapshot.read("gas", ["mass"])["mass"]
    with h5py.File(path) as file:
        electrons, neutral = (file["PartType0"][f"{name}Abundance"][:] for name in ("Electron", "NeutralHydrogen"))
    number = HYDROGEN_FRACTION * (electrons * mass).sum() * MSUN / PROTON_MASS / MPC**3
    np.testing.assert_allclose(axis_totals(maps["ne"]), number, rtol=1e-5)
    np.testing.assert_allclose(axis_totals(maps["HI"]), HYDROGEN_FRACTION * (neutral * mass).sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "radius"),
    [
        ({"radius": "smoothing length"}, "smoothing length"),
        ({"n_neighbours": 3}, 3),
        ({"n_neighbours": 20}, 20),
    ],
)
def test_the_radius_of_discs_is_the_one_that_was_asked_for(write_hydro, change, radius):
    snapshot = open_snapshot(write_hydro())
    gas = snapshot.read("gas", ["position", "mass", "smoothing length"])
    neighbours = 32 if radius in gas else radius
    expected = project_particles(
        gas["position"], gas["mass"], 25.0, gas.get(radius), n_pixels=16, n_neighbours=neighbours
    )
    maps = project_snapshot(snapshot, replace(MINE, fields=("Mgas",), **change), CPU)["Mgas"]
    np.testing.assert_allclose(maps, expected, rtol=1e-6, atol=1e-6 * expected.max())


def test_points_fall_into_one_pixel(write_hydro):
    snapshot = open_snapshot(write_hydro())
    gas = snapshot.read("gas", ["position", "mass"])
    maps = project_snapshot(snapshot, replace(MINE, fields=("Mgas",), radius="points"), CPU)["Mgas"]
    for axis, plane in enumerate(((1, 2), (0, 2), (0, 1))):
        edges = (np.linspace(0, 25, 6), *(np.linspace(0, 25, 17),) * 2)
        expected, _ = np.histogramdd(gas["position"][:, (axis, *plane)], edges, weights=gas["mass"])
        np.testing.assert_allclose(maps[5 * axis : 5 * axis + 5] * PIXEL_AREA, expected, rtol=1e-6)


def test_few_particles_are_enough_where_no_neighbours_are_asked_for(write_hydro, tmp_path):
    path = write_hydro(n=5)
    with pytest.raises(UserError, match="5 particles of gas; neighbour 8 needs 9"):
        project_snapshots([path], replace(MINE, fields=("Mgas",)), tmp_path / "out")
    assert project_snapshots([path], replace(MINE, fields=("Mgas",), radius="smoothing length"), tmp_path / "out") == []


def test_the_unit_of_length_is_taken_from_the_spec(write_hydro, tmp_path):
    def forget(file):
        for name in ("UnitLength_in_cm", "UnitMass_in_g", "UnitVelocity_in_cm_per_s"):
            del file["Header"].attrs[name]
        file["Header"].attrs["BoxSize"] = 25.0
        for number in range(2):
            file[f"PartType{number}/Coordinates"][:] /= 1e3
        file["PartType1/Masses"][:] /= 2

    path, spec = write_hydro(change=forget), replace(MINE, fields=("Mgas",), check_mass=False)
    with pytest.raises(UserError, match="give --length-unit"):
        project_snapshots([path], spec, tmp_path / "out")
    project_snapshots([path], replace(spec, length_unit="Mpc/h"), tmp_path / "out")
    expected = open_snapshot(path, "Mpc/h").read("gas", ["mass"])["mass"].sum()
    np.testing.assert_allclose(axis_totals(np.load(tmp_path / "out/Maps_Mgas_Mine_LH_z=0.00.npy")), expected, rtol=1e-6)


@pytest.mark.parametrize("is_finished", [True, False])
def test_other_snapshots_of_the_same_name_and_size_are_not_taken_for_the_same(write_hydro, tmp_path, is_finished):
    """CAMELS calls all its snapshots alike; a copy elsewhere is still the same snapshot."""
    ours, other, copy = write_hydro("A/snap.hdf5", seed=1), write_hydro("B/snap.hdf5", seed=2), tmp_path / "C/snap.hdf5"
    assert ours.stat().st_size == other.stat().st_size
    copy.parent.mkdir()
    copy.write_bytes(ours.read_bytes())
    project_snapshots([ours], MINE, tmp_path / "out")
    if not is_finished:
        partial = tmp_path / "out" / ".Mine_LH.partial"
        partial.mkdir()
        record = json.loads((tmp_path / "out/provenance.json").read_text())["Mine_LH"]
        for added in ("digest", "fieldlevel", "torch", "runs", "files"):
            del record[added]
        (partial / "plan.json").write_text(json.dumps(record, sort_keys=True, indent=2) + "\n")
        (tmp_path / "out/Maps_Mtot_Mine_LH_z=0.00.npy").rename(partial / "Maps_Mtot_Mine_LH_z=0.00.npy")
        (tmp_path / "out/provenance.json").unlink()
        (partial / "done-1-of-1.txt").write_text("0\n")
    with pytest.raises(UserError, match="another spec"):
        project_snapshots([other], MINE, tmp_path / "out")
    assert project_snapshots([copy], MINE, tmp_path / "out") == []
    assert (tmp_path / "out/Maps_Mtot_Mine_LH_z=0.00.npy").exists()


def test_another_table_of_parameters_is_another_folder(simulated, paths, tmp_path):
    rows = (simulated / "params_LH_MockSIMBA.txt").read_text()
    for name, text in (("first", rows), ("second", rows.replace("\n", "1\n"))):
        (tmp_path / name).write_text(text)
    project_snapshots(paths, replace(SPEC, parameters=str(tmp_path / "first")), tmp_path / "out")
    with pytest.raises(UserError, match="made with another spec"):
        project_snapshots(paths, replace(SPEC, parameters=str(tmp_path / "second")), tmp_path / "out")


def test_headers_with_all_six_parameters_need_no_table(simulated, paths, write_hydro, tmp_path):
    project_snapshots(paths, SPEC, tmp_path / "mock")
    assert (tmp_path / "mock/params_LH_MockSIMBA.txt").read_text() == (
        simulated / "params_LH_MockSIMBA.txt"
    ).read_text()
    assert lacking_parameters(paths) == []
    camels = write_hydro()
    project_snapshots([camels], MINE, tmp_path / "camels")
    assert not list((tmp_path / "camels").glob("params*"))
    assert lacking_parameters([camels]) == ["sigma_8", "A_SN1", "A_AGN1", "A_SN2", "A_AGN2"]


def header(**facts):
    return lambda file: file["Header"].attrs.update(facts)


def smaller_box(file):
    file["Header"].attrs.update(BoxSize=20e3)
    for number in range(2):
        file[f"PartType{number}/Coordinates"][:] *= 0.8
        file[f"PartType{number}/Masses"][:] *= 0.8**3


@pytest.mark.parametrize("change", [header(Redshift=0.5), smaller_box])
def test_boxes_and_redshifts_are_not_mixed(write_hydro, tmp_path, change):
    pair = [write_hydro("first.hdf5"), write_hydro("second.hdf5", seed=1, change=change)]
    with pytest.raises(UserError, match=r"first\.hdf5 \(25 Mpc/h, redshift 0\) and .*second\.hdf5 .* differ"):
        project_snapshots(pair, replace(MINE, any_redshift=True), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_redshifts_only_on_request(write_hydro, tmp_path):
    path = write_hydro(change=header(Redshift=0.5))
    with pytest.raises(UserError, match=r"redshift 0\.5, but the names .* z=0\.00; .* --any-redshift"):
        project_snapshots([path], MINE, tmp_path / "out")
    assert project_snapshots([path], replace(MINE, any_redshift=True), tmp_path / "out") == []


def test_one_snapshot_is_named_once(write_hydro, tmp_path):
    path = write_hydro()
    copy = tmp_path / "copy.hdf5"
    copy.write_bytes(path.read_bytes())
    for other in (path, copy):
        with pytest.raises(UserError, match=r"snapshot_090\.hdf5 and .* are one snapshot; name it once"):
            project_snapshots([path, other], MINE, tmp_path / "out")


def test_the_files_of_one_snapshot_are_one_simulation(write_hydro, tmp_path):
    total = header(NumFilesPerSnapshot=2, NumPart_Total=[80, 80, 0, 0, 0, 0], Omega0=0.6)
    files = [write_hydro(f"snap.{number}.hdf5", seed=number, change=total) for number in range(2)]
    with pytest.raises(UserError, match="are one snapshot"):
        project_snapshots(files, MINE, tmp_path / "out")
    assert project_snapshots(files[:1], MINE, tmp_path / "out") == []


def half_as_heavy(file):
    for number in range(2):
        file[f"PartType{number}/Masses"][:] /= 2


def test_the_mass_must_be_that_of_the_box_although_units_are_stated(write_hydro, tmp_path):
    path = write_hydro(change=half_as_heavy)
    with pytest.raises(DataError, match=r"have 0\.5 of the mass of Omega_m = 0\.3 in 25 Mpc/h; .* --no-check-mass"):
        project_snapshots([path], MINE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert project_snapshots([path], replace(MINE, check_mass=False), tmp_path / "out") == []


def fill(dataset, value):
    return lambda file: file[dataset].__setitem__(3, value)


UNUSABLE = {
    "negative smoothing length": (
        fill("PartType0/SmoothingLength", -1.0),
        "1 numbers of smoothing length .* from 0 to 25",
    ),
    "huge smoothing length": (fill("PartType0/SmoothingLength", 1e9), "1 numbers of smoothing length .* from 0 to 25"),
    "no density": (fill("PartType0/Density", 0.0), "1 numbers of density in /PartType0"),
    "negative density": (fill("PartType0/Density", -1e-7), "1 numbers of density in /PartType0"),
    "negative mass": (fill("PartType0/Masses", -1.0), "1 numbers of mass in /PartType0"),
    "too much for single precision": (fill("PartType0/Masses", 1e35), "maps of Mgas are not finite"),
}


@pytest.mark.parametrize(("change", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_particles_that_cannot_be_leave_no_map(write_hydro, tmp_path, change, message):
    spec = replace(MINE, fields=("Mgas", "ne"), radius="smoothing length", check_mass=False)
    with pytest.raises(DataError, match=message) as caught:
        project_snapshots([write_hydro(change=change)], spec, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_message_comes_through_from_a_worker(write_hydro, tmp_path):
    files = [write_hydro(f"{number}.hdf5", seed=number, change=half_as_heavy) for number in range(2)]
    with pytest.raises(DataError, match=r"\.hdf5: the particles have 0\.5 of the mass"):
        project_snapshots(files, MINE, tmp_path / "out", workers=2)
    assert not (tmp_path / "out").exists()


def test_data_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(DataError(["one", "two"])))  # noqa: S301 (our own bytes)
    assert (error.defects, str(error)) == (["one", "two"], str(DataError(["one", "two"])))


def test_killed_workers_are_told_in_one_line(write_hydro, tmp_path):
    def kill_workers():
        while len(workers := multiprocessing.active_children()) < 2:
            time.sleep(0.01)
        time.sleep(0.3)  # both are importing
        for worker in workers:
            worker.kill()

    files = [write_hydro(f"{number}.hdf5", seed=number) for number in range(2)]
    killer = threading.Thread(target=kill_workers)
    killer.start()
    with pytest.raises(UserError, match=r"a worker process was killed.* take fewer --workers"):
        project_snapshots(files, MINE, tmp_path / "out", workers=2)
    killer.join()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, -1])
def test_somebody_has_to_work(paths, tmp_path, workers):
    with pytest.raises(UserError, match=f"workers = {workers}: allowed are numbers from 1"):
        project_snapshots(paths, SPEC, tmp_path / "out", workers=workers)


def test_parameters_that_are_no_numbers_are_refused(write_hydro, tmp_path):
    (tmp_path / "table").write_text("0.3 nan 1 1 1 1\n")
    with pytest.raises(UserError, match="row 0 has numbers that are not finite"):
        project_snapshots([write_hydro()], replace(MINE, parameters=str(tmp_path / "table")), tmp_path / "out")


def test_a_defect_of_the_package_leaves_nothing_either(write_hydro, tmp_path, monkeypatch):
    def stumble(*arguments):
        raise RuntimeError("a defect")

    monkeypatch.setattr(projection, "project_snapshot", stumble)
    with pytest.raises(RuntimeError, match="a defect"):
        project_snapshots([write_hydro()], MINE, tmp_path / "out")
    assert not (tmp_path / "out").exists()
