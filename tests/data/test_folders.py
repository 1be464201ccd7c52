"""What a folder of CMD files is told about itself: remarks, ranges, units, geometry, copies."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.cli import main
from fieldlevel.data import reference
from fieldlevel.data.batches import load_map_set
from fieldlevel.data.normalise import fit_normaliser
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import check_directory, check_distinct, directory_remarks, list_suites, open_suite
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import CAMELS_PARAMETERS, CRITICAL_DENSITY
from fieldlevel.simulate.designs import latin_hypercube
from fieldlevel.simulate.sets import read_table
from fieldlevel.suites import layout_of
from fieldlevel.training.presets import modern_preset
from fieldlevel.training.sources import open_data

MAPS = "Maps_Mtot_MockTNG_LH_z=0.00.npy"
LH = "params_LH_MockTNG.txt"


def write(
    folder: Path, theta: np.ndarray, suite="IllustrisTNG", set_name="LH", field="Mtot", seed=0, scale=1.0
) -> Path:
    maps = np.random.default_rng(seed).lognormal(0.0, 1.0, (len(theta), 3, 5, 16, 16))
    maps *= scale * 5 * CRITICAL_DENSITY * theta[:, 0, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
    np.save(folder / f"Maps_{field}_{suite}_{set_name}_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
    np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta, fmt="%.6f")
    return folder


def rows(n: int, **columns: float) -> np.ndarray:
    theta = np.linspace([0.2, 0.7, 0.5, 0.5, 0.7, 0.7], [0.4, 0.9, 2.0, 2.0, 1.5, 1.5], n)
    for name, value in columns.items():
        theta[:, [p.name for p in CAMELS_PARAMETERS].index(name)] = value
    return theta


def prior(suite: str) -> tuple[np.ndarray, np.ndarray]:
    layout = layout_of(suite)
    return layout.lows, layout.highs


def told(directory: Path) -> str:
    return "\n".join(check_directory(directory))


# B1, B6: files that are not read


def test_files_of_other_sets_and_grids_are_remarks(write_suite, capsys):
    directory = write_suite()
    for name in ("params_CV_MockTNG.txt", "params_LH_Nbody.txt", "Grids_Mtot_IllustrisTNG_LH_128_z=0.0.npy"):
        (directory / name).write_text("0.3 0.8 1 1 1 1\n")
    assert main(["check", str(directory)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{directory}: sound"
    for words in (
        "params_CV_MockTNG.txt: labels",
        "params_LH_Nbody.txt: labels",
        "Grids_Mtot_IllustrisTNG_LH_128_z=0.0",
    ):
        assert [words in line and line.startswith("remark: ") for line in lines].count(True) == 1


def test_gravity_only_suites_take_the_table_of_all_of_them(write_suite):
    directory = write_suite("Nbody_MockTNG")
    (directory / "params_LH_Nbody_MockTNG.txt").rename(directory / "params_LH_Nbody.txt")
    assert check_directory(directory) == []
    assert open_suite(directory, "Nbody_MockTNG").n_simulations == 8


@pytest.mark.parametrize("name", ["params_MockTNG.txt", "CosmoAstroSeed_MockTNG_L25n256_LH.txt"])
def test_a_missing_table_is_looked_for_under_other_names(write_suite, name):
    directory = write_suite()
    (directory / LH).rename(directory / name)
    (defect,) = check_directory(directory)
    assert "cannot be read" in defect and name in defect and f"to {LH}" in defect


# B2, B3, B7: ranges


def physical(theta: np.ndarray, *units: float) -> np.ndarray:
    return np.c_[theta[:, :2], theta[:, 2:] * units]


@pytest.mark.parametrize("set_name", ["SB28", "1P", "LH", "mine", "EX"])
@pytest.mark.parametrize(
    ("suite", "units"), [("IllustrisTNG", (3.6, 1, 7.4, 20)), ("SIMBA", (1, 20, 1.6, 7000))], ids=["TNG", "SIMBA"]
)
def test_physical_numbers_are_told(tmp_path, suite, units, set_name):
    write(tmp_path, physical(rows(8), *units), suite, set_name)
    (defect,) = check_directory(tmp_path)
    values = ", ".join(f"{unit:g}" for unit in units)
    assert f"divide A_SN1, A_AGN1, A_SN2, A_AGN2 by the fiducial values of {suite}: {values}" in defect


def test_the_first_row_of_sb28_is_refused_and_sound_once_divided(tmp_path):
    first = np.array([[0.352541, 0.694742, 3.85743, 1.51921, 9.09267, 14.2845]])
    assert "fiducial values" in told(write(tmp_path, first, set_name="SB28"))
    assert told(write(tmp_path, first / [1, 1, 3.6, 1, 7.4, 20], set_name="SB28")) == ""


@pytest.mark.parametrize("set_name", ["LH", "CV", "1P", "BE", "SB7", "SB28"])
def test_every_set_of_camels_keeps_to_the_priors(tmp_path, set_name):
    theta = rows(8)
    theta[3, 2] = 4.2
    assert r"A_SN1 (column 3) outside its prior range [0.25, 4] in rows 3 (4.2)" in told(
        write(tmp_path, theta, set_name=set_name)
    )


@pytest.mark.parametrize("set_name", ["EX", "mine"])
@pytest.mark.parametrize(("column", "value"), [(0, 1.5), (0, 0.0), (1, 5.0), (2, -1.0), (3, 5000.0), (5, np.nan)])
def test_other_sets_keep_to_what_simulations_have(tmp_path, set_name, column, value):
    theta = rows(8)
    theta[3, column] = value
    assert "outside what any simulation has" in told(write(tmp_path, theta, set_name=set_name))


def test_the_extreme_set_of_camels_is_sound(tmp_path):
    theta = np.full((4, 6), [0.3, 0.8, 1, 1, 1, 1.0])
    theta[1, 3], theta[2, 2], theta[3, 2:] = 100, 100, 0
    assert check_directory(write(tmp_path, theta, set_name="EX")) == []


@pytest.mark.parametrize("set_name", ["LH", "SB5", "mine"])
def test_ramses_is_refused_with_its_order(tmp_path, set_name):
    theta = np.array([[0.3, 0.8, 1.0, 0.5, 4.0, 2.0], [0.2, 0.7, 5.0, 3.0, 3.0, 1.5]])
    assert "columns Omega_m sigma_8 A_SN1 A_SN2 A_AGN1 A_AGN2" in told(write(tmp_path, theta, "Ramses", set_name))
    with pytest.raises(DataError, match="A_SN1 A_SN2"):
        open_suite(tmp_path, "Ramses", set_name=set_name, check=False)


def test_the_gravity_only_twin_of_ramses_is_sound(tmp_path):
    theta = np.array([[0.3, 0.8, 1.0, 0.5, 4.0, 2.0], [0.2, 0.7, 5.0, 3.0, 3.0, 1.5]])
    assert told(write(tmp_path, theta, "Nbody_Ramses", "SB5")) == ""


@pytest.mark.parametrize("suite", ["Astrid", "EAGLE", "Magneticum"])
def test_suites_with_a_wider_prior_have_targets_in_it(tmp_path, suite):
    theta = rows(8)
    theta[:, 5] = np.geomspace(0.25, 4, 8)
    for seed, set_name in enumerate(("LH", "SB7")):
        assert told(write(tmp_path, theta, suite, set_name, seed=seed)) == ""
    opened = open_suite(tmp_path, suite)
    targets = load_map_set(opened, np.arange(8), fit_normaliser(opened)).theta
    assert float(targets[:, 5].min()) == 0
    assert float(targets[:, 5].max()) == 1


def test_targets_of_the_usual_priors_are_as_before():
    for suite in ("IllustrisTNG", "SIMBA", "MockTNG", "Nbody_MockSIMBA", "Mine"):
        layout = layout_of(suite)
        assert layout.lows.tolist() == [p.low for p in CAMELS_PARAMETERS]
        assert layout.highs.tolist() == [p.high for p in CAMELS_PARAMETERS]
    A_AGN2 = layout_of("Nbody_Astrid").parameters[5]
    assert (A_AGN2.low, A_AGN2.high) == (0.25, 4.0)


# B4: nothing to learn


@pytest.mark.parametrize(("suite", "set_name"), [("MockTNG", "CV"), ("MockTNG", "BE"), ("Nbody_MockTNG", "CV")])
def test_equal_labels_are_not_trained_on(tmp_path, suite, set_name, capsys):
    theta = np.full((8, 6), [0.3, 0.8, 1, 1, 1, 1.0])
    if suite != "MockTNG":
        theta[:, 2] = np.linspace(0.5, 2, 8)
    write(tmp_path, theta, suite, set_name)
    assert told(tmp_path) == ""
    assert any("the same in all simulations" in line for line in directory_remarks(tmp_path))
    out = tmp_path / "network"
    arguments = ["--data", str(tmp_path), "--suite", suite, "--set", set_name, "--out", str(out), "--device", "cpu"]
    assert main(["train", *arguments, "--split.train", "0.5", "--split.validation", "0.25"]) == 2
    assert "nothing to learn" in capsys.readouterr().err


@pytest.mark.parametrize("set_name", ["1P", "EX", "1Pthin2", "1Pn64"])
def test_simulations_that_share_their_initial_conditions_are_not_trained_on(tmp_path, set_name):
    write(tmp_path, rows(8), "MockTNG", set_name)
    spec = replace(modern_preset(), set_name=set_name, split=SplitSpec(train=0.5, validation=0.25))
    with pytest.raises(UserError, match=f"MockTNG {set_name}: its simulations share their initial conditions; test"):
        open_data(spec, tmp_path)


def test_sets_that_vary_some_parameters_are_trained_on(tmp_path):
    write(tmp_path, rows(8, A_SN1=1.0, A_AGN1=1.0), "MockTNG", "mine")
    spec = replace(modern_preset(), set_name="mine", split=SplitSpec(train=0.5, validation=0.25))
    assert open_data(spec, tmp_path)[0].suite.n_simulations == 8
    assert any("A_SN1, A_AGN1: the same in all" in line for line in directory_remarks(tmp_path))


# B5, zeros and geometry


@pytest.mark.parametrize("field", ["HI", "Z", "MgFe", "ne", "B", "Mstar"])
def test_fields_that_may_vanish_are_sound_with_zeros(write_suite, field):
    directory = write_suite(field=field)
    path = directory / f"Maps_{field}_MockTNG_LH_z=0.00.npy"
    maps = np.load(path)
    maps[7, :3] = 0
    np.save(path, maps)
    assert check_directory(directory) == []
    assert [("48 pixels are zero, in maps 7" in line) for line in directory_remarks(directory)].count(True) == (
        field != "Mstar"
    )
    suite = open_suite(directory, "MockTNG", field)
    if field != "Mstar":
        with pytest.raises(DataError, match="48 pixels of simulation 0 are zero"):
            fit_normaliser(suite)
        normaliser = fit_normaliser(suite, np.arange(1, 8))
        with pytest.raises(DataError, match="48 pixels of simulation 0 are zero"):
            load_map_set(suite, np.arange(8), normaliser)


def record(directory: Path, suite="MockTNG_LH", **changes: object) -> None:
    spec = {"n_slabs": 5, "slab_thickness_mpc_h": None, "radius": "neighbours"} | changes
    box = spec.pop("box", 25.0)
    known = {suite: {"spec": spec, "snapshots": [{"box_size_mpc_h": box}]}}
    (directory / "provenance.json").write_text(json.dumps(known))


@pytest.mark.parametrize(("radius", "is_sound"), [("points", True), ("smoothing length", True), ("neighbours", False)])
def test_gaps_between_points_are_told_as_what_they_are(write_suite, radius, is_sound):
    directory = write_suite()
    maps = np.load(directory / MAPS)
    maps[7, 0, 0] = 0
    np.save(directory / MAPS, maps)
    assert "pixels that are zero in maps 7" in told(directory)
    record(directory, radius=radius)
    (directory / MAPS).touch()
    assert (told(directory) == "") == is_sound
    assert any("no particle reaches them" in line for line in directory_remarks(directory)) == is_sound


@pytest.mark.parametrize("n_slabs", [2, 10])
def test_other_numbers_of_slabs_are_told(write_suite, n_slabs):
    directory = write_suite()
    np.save(directory / MAPS, np.resize(np.load(directory / MAPS), (8 * 3 * n_slabs, 16, 16)))
    words = f"{3 * n_slabs} each would be {n_slabs} slabs along each axis, its layout has 15 maps, 5 along each axis"
    assert words in told(directory)
    assert "or say n_slabs in layout_LH_MockTNG.json" in told(directory)
    record(directory, n_slabs=n_slabs)
    assert "each would be" not in told(directory)
    layout = open_suite(directory, "MockTNG", check=False).layout
    assert (layout.n_slabs, layout.slab_thickness_mpc_h) == (n_slabs, 25 / n_slabs)


@pytest.mark.parametrize("n", [1, 2, 8])
def test_other_boxes_are_told(tmp_path, n):
    write(tmp_path, rows(n), "MockTNG", scale=2.0)
    assert "every map holds 2 times the mass" in told(tmp_path)
    assert "the slabs are 10 Mpc/h thick" in told(tmp_path)
    assert "labels of another suite" not in told(tmp_path)
    record(tmp_path, box=50.0)
    assert told(tmp_path) == ""
    assert open_suite(tmp_path, "MockTNG").layout.slabs == "5 slabs of 10 Mpc/h of a box of 50 Mpc/h"


@pytest.mark.parametrize("box", [50.0, 25.0])
def test_slabs_that_do_not_fill_the_box_are_told(write_suite, box):
    directory = write_suite()
    uneven = np.repeat(np.linspace(0.7, 1.1, 8), 15).astype(np.float32)
    np.save(directory / MAPS, np.load(directory / MAPS) * uneven[:, None, None])
    record(directory, box=box, slab_thickness_mpc_h=4.0)
    remarks = "\n".join(directory_remarks(directory))
    assert f"they are 5 slabs of 4 Mpc/h of a box of {box:g} Mpc/h" in remarks
    assert "that its maps have the Omega_m, sigma_8, " in remarks
    assert told(directory) == ""
    np.save(directory / MAPS, 1e-6 * np.load(directory / MAPS))
    assert "times the mass of a slab of 4 Mpc/h" in told(directory)


@pytest.mark.parametrize(
    "text",
    [
        '{"MockTNG_LH": {"spec": {"n_slabs": %s, "slab_thickness_mpc_h": null, "radius": 1}, "snapshots": '
        '[{"box_size_mpc_h": 1e-320}]}}' % (400 * "9"),
        "",
        "[]",
        "{",
        "[" * 5000,
        '{"MockTNG_LH": 3}',
        '{"MockTNG_LH": {"spec": {"n_slabs": 1e400}, "snapshots": []}}',
    ],
)
def test_records_that_say_nothing_do_no_harm(write_suite, text):
    directory = write_suite()
    (directory / "provenance.json").write_text(text)
    assert check_directory(directory) == []


# H: other quantities and units


@pytest.mark.parametrize("field", ["Mtot", "Mcdm", "Mgas"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (np.log10, "log10 of the maps"),
        (np.log, "natural logarithm"),
        (lambda m: m / m.mean(), "overdensities"),
        (lambda m: m / m.mean() - 1, "overdensities"),
        (lambda m: (np.log10(m) - np.log10(m).mean()) / np.log10(m).std(), "normalised logarithms"),
    ],
)
def test_other_quantities_are_named_with_both_numbers(write_suite, field, change, words):
    directory = write_suite(field=field)
    path = directory / MAPS.replace("Mtot", field)
    maps = change(np.load(path).astype(np.float64)).astype("<f4")
    np.save(path, maps)
    (defect,) = check_directory(directory)
    assert words in defect and "e+11 (Msun/h)/(Mpc/h)^2" in defect
    assert f"the mean pixel is {maps.mean(dtype=np.float64):.3g}" in defect


@pytest.mark.parametrize(
    ("factor", "unit"),
    [
        (1e-6, "(Msun/h)/(kpc/h)^2"),
        (0.6711e-6, "Msun/kpc^2"),
        (0.6711, "Msun/Mpc^2"),
        (1e-10, "10^10 (Msun/h)/(Mpc/h)^2"),
    ],
)
def test_other_units_are_named(tmp_path, factor, unit):
    (defect,) = check_directory(write(tmp_path, rows(8), scale=factor))
    assert f"these are {unit}" in defect and "labels of another suite" not in defect
    expected = 5 * CRITICAL_DENSITY * 0.3
    assert f"{expected:.3g} by Omega_m of the labels" in defect


def change(directory: Path, edit) -> Path:
    np.save(directory / MAPS, edit(np.load(directory / MAPS)).astype("<f4"))
    return directory


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda m: 0 * m, "pixels that are zero"),
        (lambda m: -m, "negative pixels"),
        (lambda m: m * np.nan, "NaN pixels"),
        (lambda m: m * np.inf, "infinite pixels"),
        (lambda m: 1e12 * m / m.reshape(8, -1).mean(1).repeat(15)[:, None, None], "whatever their Omega_m"),
        (lambda m: np.r_[np.log10(m[:15]), m[15:]], "another unit than the others in the maps of simulations 0"),
        (lambda m: np.r_[m[:15], 2 * m[15:30], m[30:]], "Omega_m does not agree with the mass in the maps of simul"),
    ],
)
def test_maps_that_are_wrong_throughout_get_no_false_diagnosis(write_suite, edit, words):
    directory = change(write_suite(), edit)
    assert words in told(directory)
    assert "labels of another suite" not in told(directory)
    assert "another unit or another box" not in told(directory)


@pytest.mark.parametrize("value", [0.0, -0.3, np.nan, np.inf, 1e300])
def test_labels_that_are_wrong_throughout_are_told_as_such(write_suite, value):
    directory = write_suite()
    theta = np.loadtxt(directory / LH)
    theta[:, 0] = value
    np.savetxt(directory / LH, theta)
    (defect,) = check_directory(directory)
    assert "Omega_m (column 1) outside its prior range" in defect


# F4: copies, names, labels


def test_one_suite_under_two_names_is_refused(tmp_path):
    for suite in ("MockTNG", "MockSIMBA"):
        write(tmp_path, rows(8), suite)
    assert "hold the same maps: 0 = 0, 1 = 1" in told(tmp_path)
    with pytest.raises(DataError, match="copy under another name"):
        check_distinct(list_suites(tmp_path))


def test_a_gravity_only_file_under_the_name_of_its_twin_is_refused(tmp_path):
    for suite in ("MockTNG", "Nbody_MockTNG"):
        write(tmp_path, rows(8), suite)
    assert "hold the same maps" in told(tmp_path)


def test_a_part_of_another_suite_is_found(tmp_path):
    write(tmp_path, rows(8), "MockTNG")
    path = write(tmp_path, rows(8), "MockSIMBA", seed=1) / MAPS.replace("TNG", "SIMBA")
    maps = np.load(path)
    maps[45:60] = np.load(tmp_path / MAPS)[45:60]
    np.save(path, maps)
    assert "hold the same maps: 45 = 45" in told(tmp_path)


def test_gravity_only_maps_of_one_seed_may_be_shared(tmp_path):
    for suite in ("MockTNG", "MockSIMBA"):
        write(tmp_path, rows(8), f"Nbody_{suite}", "CV")
    assert told(tmp_path) == ""


def test_total_mass_of_dark_matter_alone_is_dark_matter(tmp_path):
    for field in ("Mtot", "Mcdm"):
        write(tmp_path, rows(8), "Nbody_MockTNG", field=field)
    assert told(tmp_path) == ""


def test_a_set_under_two_names_is_refused_and_a_set_of_ones_own_told(tmp_path):
    write(tmp_path, rows(8), "MockTNG", "LH")
    write(tmp_path, rows(8), "MockTNG", "mine")
    assert told(tmp_path) == ""
    assert any("hold the same maps" in line for line in directory_remarks(tmp_path))
    write(tmp_path, rows(8), "MockTNG", "SB2")
    assert "hold the same maps" in told(tmp_path)


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("Maps_mtot_MockTNG_LH_z=0.00.npy", "Mtot_MockTNG_LH"),
        ("Maps_MTOT_MockTNG_LH_z=0.00.npy", "Mtot_MockTNG_LH"),
        ("Maps_Mtot_mocktng_LH_z=0.00.npy", "Mtot_MockTNG_LH"),
        ("Maps_Mtot_nbody_MockTNG_LH_z=0.00.npy", "Mtot_Nbody_MockTNG_LH"),
        ("Maps_Mtot_MockTNG_lh_z=0.00.npy", "Mtot_MockTNG_LH"),
        ("Maps_Mtot_MockTNG_sb28_z=0.00.npy", "Mtot_MockTNG_SB28"),
        ("Maps_hi_illustristng_cv_z=0.00.npy", "HI_IllustrisTNG_CV"),
    ],
)
def test_names_of_another_case_are_refused(write_suite, name, right):
    directory = write_suite()
    (directory / MAPS).rename(directory / name)
    (defect,) = check_directory(directory)
    assert f"rename it to Maps_{right}_z=0.00.npy" in defect
    (files,) = list_suites(directory)
    with pytest.raises(DataError, match="upper and lower case"):
        open_suite(directory, files.suite, files.field, files.set_name)


@pytest.mark.parametrize(
    "name", ["Maps_Mtot_Mo\udcffck_LH_z=0.00.npy", "Maps_Mtot_\x1b[31m_LH_z=0.00.npy", "Maps_a\nb"]
)
def test_names_that_are_not_text_are_not_read(write_suite, name):
    directory = write_suite()
    (directory / name).touch()
    assert "not a name that is read" in told(directory)
    assert told(directory).isprintable()
    assert main(["check", str(directory)]) == 2


PUBLISHED = latin_hypercube("LH", 30, "IllustrisTNG", layout_of("IllustrisTNG"))


@pytest.fixture
def published(monkeypatch) -> np.ndarray:
    """A table whose columns are known as those of IllustrisTNG, (30, 6)."""
    digests = tuple(map(reference.column_digest, PUBLISHED.T))
    monkeypatch.setattr(reference, "COLUMN_DIGESTS", {"IllustrisTNG": digests})
    return PUBLISHED.copy()


def shuffle(column: int):
    return lambda theta: np.c_[theta[:, :column], np.roll(theta[:, column], 1), theta[:, column + 1 :]]


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (shuffle(1), "sigma_8"),
        (shuffle(2), "A_SN1"),
        (shuffle(5), "A_AGN2"),
        (lambda t: t[:, [0, 1, 3, 2, 4, 5]], "A_SN1, A_AGN1"),
        (lambda t: t[:, [0, 1, 2, 3, 5, 4]], "A_SN2, A_AGN2"),
        (lambda t: t + 1e-4 * (np.arange(180) == 9).reshape(30, 6), "A_AGN1"),
    ],
)
@pytest.mark.parametrize("fmt", ["%.5f", "%.8f"])
def test_shuffled_or_exchanged_columns_of_the_latin_hypercube_are_found(tmp_path, published, change, columns, fmt):
    assert told(write(tmp_path, published)) == ""
    assert not any("not checkable" in line for line in directory_remarks(tmp_path))
    np.savetxt(tmp_path / "params_LH_IllustrisTNG.txt", change(published), fmt=fmt)
    assert f": {columns} differ from the latin hypercube of IllustrisTNG, which" in told(tmp_path)


def test_of_the_gravity_only_twin_the_cosmology_is_compared(tmp_path, published):
    published[:, 2:] = 1.0
    assert told(write(tmp_path, published, "Nbody_IllustrisTNG")) == ""
    np.savetxt(tmp_path / "params_LH_Nbody_IllustrisTNG.txt", shuffle(1)(published), fmt="%.5f")
    assert ": sigma_8 differ from the latin hypercube of IllustrisTNG, which" in told(tmp_path)


@pytest.mark.parametrize("suite", ["SIMBA", "MockTNG", "Mine"])
def test_tables_of_other_suites_and_parts_of_a_table_are_not_compared(tmp_path, published, suite):
    assert told(write(tmp_path, shuffle(2)(published), suite)) == ""
    assert told(write(tmp_path, shuffle(2)(published[:29]), seed=1)) == ""


def test_digests_of_the_published_tables_are_known_for_each_column():
    digests = [digest for columns in reference.COLUMN_DIGESTS.values() for digest in columns]
    assert tuple(reference.COLUMN_DIGESTS) == ("IllustrisTNG", "SIMBA")
    assert len(set(digests)) == len(digests) == 12
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)


def test_a_column_is_known_by_its_five_decimals():
    written = hashlib.sha256(b"0.30900\n2.00000\n").hexdigest()
    assert reference.column_digest(np.array([0.309, 2.0])) == written
    assert reference.column_digest(np.array([0.309000001, 1.9999999])) == written
    assert reference.column_digest(np.array([0.30901, 2.0])) != written


def test_a_seed_table_beside_the_maps_is_compared(tmp_path):
    theta = np.random.default_rng(0).uniform(*prior("Astrid"), (12, 6)).round(5)
    write(tmp_path, theta, "Astrid")
    assert any("not checkable" in line for line in directory_remarks(tmp_path))
    lines = [f"LH_{n} {' '.join(f'{v:.5f}' for v in row)} {n}" for n, row in enumerate(theta)]
    (tmp_path / "CosmoAstroSeed_Astrid_L25n256_LH.txt").write_text("#Name ...\n" + "\n".join(lines))
    (tmp_path / "params_LH_Astrid.txt").touch()
    assert told(tmp_path) == ""
    np.savetxt(tmp_path / "params_LH_Astrid.txt", shuffle(4)(theta), fmt="%.5f")
    assert "A_SN2 differ from CosmoAstroSeed_Astrid_L25n256_LH.txt" in told(tmp_path)


def test_labels_of_twins_are_compared(tmp_path):
    theta = rows(8)
    write(tmp_path, theta, "Mine")
    write(tmp_path, np.c_[theta[:, 0], np.roll(theta[:, 1], 1), theta[:, 2:]], "Nbody_Mine", seed=1)
    assert "Omega_m and sigma_8 of rows 0, 1, 2" in told(tmp_path)


def test_labels_of_the_mock_suites_are_compared_with_those_of_their_twin(tmp_path):
    theta = rows(8)
    for seed, suite in enumerate(("MockTNG", "MockSIMBA")):
        write(tmp_path, theta, suite, seed=seed)
    twin = write(tmp_path, theta, "Nbody_Mock", seed=2) / "params_LH_Nbody_Mock.txt"
    np.savetxt(twin, theta[:, :2], fmt="%.6f")
    assert told(tmp_path) == ""
    np.savetxt(twin, np.c_[theta[:, 0], np.roll(theta[:, 1], 1)], fmt="%.6f")
    for suite in ("MockTNG", "MockSIMBA"):
        assert f"Nbody_Mock.txt and params_LH_{suite}.txt: Omega_m and sigma_8 of rows 0, 1, 2" in told(tmp_path)


def test_the_twin_of_the_mock_suites_has_two_columns(tmp_path):
    write(tmp_path, rows(8), "Nbody_Mock")
    assert "row 0 has 6 columns; its layout has 2: Omega_m sigma_8" in told(tmp_path)


def test_sets_that_are_done_again_may_share_maps(tmp_path):
    """A kind of particles that was not thinned makes the same maps."""
    write(tmp_path, rows(8), "MockTNG", "LH", "Mgas")
    write(tmp_path, rows(8), "MockTNG", "LHthin2cdm", "Mgas")
    assert told(tmp_path) == ""
    assert any("hold the same maps" in line for line in directory_remarks(tmp_path))


def test_what_no_folder_shows_is_said(write_suite):
    assert any(
        "not checkable: that its maps have the sigma_8, A_SN1" in line for line in directory_remarks(write_suite())
    )


@pytest.mark.parametrize(("suite", "advice"), [("MockTNG", "right unless it was changed"), ("SIMBA", "was published")])
def test_only_tables_that_were_published_are_to_be_compared_with_these(tmp_path, suite, advice):
    write(tmp_path, rows(12), suite)
    assert any("not checkable" in line and advice in line for line in directory_remarks(tmp_path))


def clustered(tmp_path: Path, n: int = 60) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(0)
    theta = np.array([rng.permutation(np.linspace(lo, hi, n)) for lo, hi in zip(*prior("Mine"), strict=True)]).T
    maps = np.exp(rng.normal(size=(n, 3, 5, 16, 16)) * theta[:, 1, None, None, None, None])
    maps *= 5 * CRITICAL_DENSITY * theta[:, 0, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
    np.save(tmp_path / "Maps_Mtot_Mine_LH_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
    np.savetxt(tmp_path / "params_LH_Mine.txt", theta)
    return tmp_path, theta


def test_shuffled_sigma_8_does_not_go_with_the_clustering(tmp_path):
    directory, theta = clustered(tmp_path)
    assert told(directory) == ""
    assert any("have the A_SN1, A_AGN1" in line for line in directory_remarks(directory))
    theta[:, 1] = np.random.default_rng(1).permutation(theta[:, 1])
    np.savetxt(directory / "params_LH_Mine.txt", theta)
    assert "sigma_8 (column 2) does not go with the clustering" in told(directory)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_clustering_is_not_compared_with_what_is_no_number(tmp_path, value):
    directory, theta = clustered(tmp_path)
    theta[5, :2] = value
    np.savetxt(directory / "params_LH_Mine.txt", theta)
    assert "outside its prior range" in told(directory)


def test_maps_without_a_difference_in_clustering_tell_nothing(write_suite):
    assert told(write_suite(n_simulations=60)) == ""


# F9: numbers of simulations


@pytest.mark.parametrize("numbers", [[1.5], [np.nan], [np.inf], [True, False], ["1"], [2**70], [None], [1 + 2j]])
def test_numbers_that_are_not_whole_are_refused(write_suite, numbers):
    with pytest.raises(UserError, match="not whole numbers"):
        open_suite(write_suite(), "MockTNG").maps_of(numbers)


@pytest.mark.parametrize("numbers", [[[1, 2], [3]], np.ma.array([1, 2], mask=[0, 1])])
def test_lists_that_are_no_numbers_are_refused(write_suite, numbers):
    with pytest.raises(UserError, match="numbers"):
        open_suite(write_suite(), "MockTNG").maps_of(numbers)


def test_whole_numbers_of_any_kind_are_taken(write_suite):
    suite = open_suite(write_suite(), "MockTNG")
    for numbers in (3, [3.0], np.uint8([3]), np.int64(3)):
        assert suite.maps_of(numbers).tolist() == list(range(45, 60))
    assert suite.maps_of([]).tolist() == []


# Tables


def test_tables_of_windows_and_old_comments_are_read(write_suite):
    directory = write_suite()
    text = (directory / LH).read_bytes()
    (directory / LH).write_bytes(b"\xef\xbb\xbf# \xe9\r\n" + text.replace(b"\n", b"\r\n"))
    assert check_directory(directory) == []


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0.3,0.8,1,1,1,1", "not commas"),
        ("LH_0 0.3 0.8 1 1 1 1 5", "a name in front and a seed"),
        (" ".join(["1"] * 28), "IllustrisTNG by 3.6, 1, 7.4, 20, SIMBA by 1, 20, 1.6, 7000"),
        ("0.3 0.8 1_0 1 1 1", "'1_0', which is not a number"),
        ("0.3 0.8 \u0663 1 1 1", "not a number"),
        ("0.3 0.8 " + 500 * "x" + " 1 1 1", "xxx...', which is not a number"),
        ("\0" * 50, "1 columns"),
        ("0.3 0.8 1e400 1 1 1", "A_SN1"),
    ],
)
def test_rows_that_cannot_be_labels_are_told(write_suite, row, words):
    directory = write_suite()
    (directory / LH).write_text(row + "\n")
    defects = check_directory(directory)
    assert any(words in defect for defect in defects)
    assert all(len(defect) < 600 and "\n" not in defect for defect in defects)


@pytest.mark.parametrize(
    "row", ["0.3 0.8 1e300 1 1 1", "0.3 0.8 1 1 1 1e-300", "0.3 1e-300 1 1 1 1", "0.3 0.8 1 1 1 1e5"]
)
def test_tables_to_simulate_hold_what_simulations_have(tmp_path, row):
    (tmp_path / "table.txt").write_text(row)
    with pytest.raises(UserError, match="allowed are"):
        read_table(tmp_path / "table.txt")


def test_folders_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "none", "\0"):
        (defect,) = check_directory(folder)
        assert "name the folder that holds the map files" in defect
