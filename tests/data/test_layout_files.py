"""What a folder says of its maps is read, written and obeyed: other boxes, other slabs, other parameters."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldlevel.cli import main
from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import find_layout, layout_from_json, layout_to_json, read_ranges, write_layout
from fieldlevel.data.parameter_tables import read_parameters
from fieldlevel.data.suite import check_directory, directory_remarks, open_suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import CAMELS_PARAMETERS, CRITICAL_DENSITY, Layout, Parameter
from fieldlevel.suites import layout_of

MAPS = "Maps_Mtot_Mine_LH_z=0.00.npy"
THICK = {"box_size_mpc_h": 50.0, "slab_thickness_mpc_h": 25.0, "n_slabs": 2}

RANGES = (
    "ParamName,AbsMaxDiff,LogFlag,FiducialVal,MinVal,MaxVal,Description\nOmega0,0.2,0,0.3,0.1,0.5,matter\n"
    + "".join(f"P{number},2,1,{number},{number / 2},{2 * number},number {number}\n" for number in range(1, 28))
)
"""Twenty-eight rows in the form of the tables of CAMELS."""


def files_in(folder: Path, suite: str = "Mine", set_name: str = "LH") -> SuiteFiles:
    return SuiteFiles(folder, suite, set_name=set_name)


def say(folder: Path, document: object, suite: str = "Mine", set_name: str = "LH") -> Path:
    path = files_in(folder, suite, set_name).layout_path
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def write(folder: Path, layout: Layout, n: int = 8, suite: str = "Mine", set_name: str = "LH", seed: int = 0) -> None:
    """Sound maps and labels of a layout whose slabs fill the box."""
    rng = np.random.default_rng(seed)
    strata = np.array([rng.permutation(n) for _ in layout.names]).T
    theta = layout.lows + (strata + 0.5) / n * (layout.highs - layout.lows)
    maps = rng.lognormal(0.0, 1.0, (n, layout.n_axes, layout.n_slabs, 16, 16))
    mean = layout.mean_density(1.0) * theta[:, layout.column("Omega_m")]
    maps *= mean[:, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
    np.save(folder / f"Maps_Mtot_{suite}_{set_name}_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
    np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta)


# Reading and writing


@pytest.mark.parametrize("suite", ["Mine", "MockTNG", "Astrid"])
def test_a_layout_comes_back_as_it_was_written(tmp_path, suite):
    layout = replace(layout_of(suite), **THICK, redshift=0.5, units=(("Mtot", "g/cm^2"), ("X", "keV")))
    write_layout(files_in(tmp_path, suite), layout)
    assert find_layout(files_in(tmp_path, suite)) == layout
    assert layout_from_json(json.loads(json.dumps(layout_to_json(layout))), "test") == layout


def test_only_what_differs_is_written_besides_box_and_slabs(tmp_path):
    path = write_layout(files_in(tmp_path), replace(layout_of("Mine"), **THICK, n_pixels=64))
    assert json.loads(path.read_text()) == THICK
    assert path.name == "layout_LH_Mine.json"


def test_settings_that_are_not_given_stay_those_of_the_suite(tmp_path):
    say(tmp_path, {"redshift": 1.0, "units": {"HI": "g"}}, "Astrid")
    layout = find_layout(files_in(tmp_path, "Astrid"))
    assert layout.parameters == layout_of("Astrid").parameters
    assert (layout.redshift, layout.unit("HI"), layout.unit("T")) == (1.0, "g", "K")


def test_gravity_only_twins_share_the_file_unless_they_have_their_own(tmp_path):
    say(tmp_path, THICK)
    assert find_layout(files_in(tmp_path, "Nbody_Mine")).n_slabs == 2
    say(tmp_path, {"n_slabs": 1, "slab_thickness_mpc_h": 25.0}, "Nbody_Mine")
    assert find_layout(files_in(tmp_path, "Nbody_Mine")).n_slabs == 1


def test_the_file_stands_above_the_record_and_the_record_above_the_registry(tmp_path):
    assert find_layout(files_in(tmp_path)) == layout_of("Mine")
    spec = {"n_slabs": 4, "slab_thickness_mpc_h": None, "radius": "neighbours"}
    record = {"Mine_LH": {"spec": spec, "snapshots": [{"box_size_mpc_h": 100.0}]}}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert find_layout(files_in(tmp_path)).slabs == "4 slabs of 25 Mpc/h of a box of 100 Mpc/h"
    say(tmp_path, THICK)
    assert find_layout(files_in(tmp_path)).slabs == "2 slabs of 25 Mpc/h of a box of 50 Mpc/h"


def test_a_record_of_cmds_own_geometry_changes_nothing(tmp_path):
    spec = {"n_slabs": 5, "slab_thickness_mpc_h": 5.0, "radius": "points"}
    record = {"SIMBA_LH": {"spec": spec, "snapshots": [{"box_size_mpc_h": 25.000000000000004}]}}
    (tmp_path / "provenance.json").write_text(json.dumps(record))
    assert find_layout(files_in(tmp_path, "SIMBA")) == layout_of("SIMBA")


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        ({"boxsize": 50.0}, "boxsize: unexpected keyword argument"),
        ({"n_slabs": "two"}, "n_slabs"),
        ({"n_slabs": 0}, "n_slabs = 0"),
        ({"box_size_mpc_h": -1.0}, "box_size_mpc_h = -1"),
        ({"box_size_mpc_h": 2.0}, "in a box of 2"),
        ({"parameters": []}, "0 parameters"),
        ({"parameters": [{"name": "A", "low": 1.0, "high": 0.0}]}, "give low < high"),
        ({"parameters": [{"name": "A"}, {"name": "A"}]}, "parameter A twice"),
        ({"parameters": "no-such-table.csv"}, "no-such-table.csv"),
        ({"parameters": "../table.csv"}, "in the same folder"),
        ({"parameters": ""}, "in the same folder"),
    ],
)
def test_files_that_cannot_be_are_refused_in_one_line_that_names_them(tmp_path, document, words):
    write(tmp_path, Layout())
    path = say(tmp_path, document)
    (defect,) = check_directory(tmp_path)
    assert words in defect
    assert str(tmp_path) in defect
    assert "\n" not in defect
    with pytest.raises(DataError, match=r"layout_LH_Mine|no-such-table"):
        open_suite(tmp_path, "Mine")
    assert main(["check", str(tmp_path)]) == 2
    path.unlink()
    assert check_directory(tmp_path) == []


def test_a_file_that_no_maps_have_is_a_remark(tmp_path):
    write(tmp_path, Layout())
    say(tmp_path, THICK, set_name="SB28")
    assert check_directory(tmp_path) == []
    assert any("layout_SB28_Mine.json: says what maps are that are not here" in r for r in directory_remarks(tmp_path))


# Tables of ranges


def table(folder: Path, text: str) -> Path:
    path = folder / "Info.csv"
    path.write_text(text)
    return path


def test_ranges_are_read_with_the_names_and_edges_of_the_table(tmp_path):
    text = (
        "ParamName, LogFlag, FiducialVal, MinVal, MaxVal, Description\n"
        "Omega0,    0,       0.3,         0.1,    0.5,    matter\n"
        "ASN2,      1,       0.5,         0.05,   5.0,    efficiency\n"
        "IMFslope,  0,       -2.3,        -2.8,   -1.8,   slope\n"
    )
    Omega_m, A_SN2, slope = read_ranges(table(tmp_path, text))
    assert Omega_m == CAMELS_PARAMETERS[0]
    assert Parameter("A_SN2", r"A_{\rm SN2}", 0.05, 5.0, logarithmic=True, fiducial=0.5) == A_SN2
    assert (slope.name, slope.low, slope.high, slope.cosmological) == ("IMFslope", -2.8, -1.8, False)


def test_ranges_follow_from_the_distance_to_the_fiducial_value(tmp_path):
    text = "ParamName,Fid,AbsMaxDiff,LogFlag,Meaning\nsigma8,0.8,0.2,0,s\nBH_JET,7000,2,1,speed\n"
    sigma_8, jet = read_ranges(table(tmp_path, text))
    assert (sigma_8.low, sigma_8.high) == (0.6, 1.0)
    assert (jet.low, jet.high, jet.logarithmic) == (3500.0, 14000.0, True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no rows"),
        ("ParamName,LogFlag\nA,0\n", "no column FiducialVal or Fid"),
        ("ParamName,LogFlag,Fid\nA,0,1\n", "no column AbsMaxDiff"),
        ("ParamName,LogFlag,Fid,MinVal,MaxVal\nA,0,1,zero,2\n", "MinVal 'zero'|MinVal zero"),
        ("ParamName,LogFlag,Fid,MinVal,MaxVal\nA,0,1,2,2\n", "give low < high"),
        ("ParamName,LogFlag,Fid,MinVal,MaxVal\nA,1,1,-1,2\n", "give low > 0"),
        ("ParamName,LogFlag,Fid,MinVal,MaxVal\n1 2,0,1,0,2\n", "give letters"),
    ],
)
def test_tables_that_hold_no_ranges_are_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as refusal:
        read_ranges(table(tmp_path, text))
    assert str(tmp_path / "Info.csv") in str(refusal.value)


# Other parameters


@pytest.fixture
def of_28(tmp_path) -> Path:
    """A Sobol sequence of 28 parameters, the ranges in a table."""
    parameters = read_ranges(table(tmp_path, RANGES))
    say(tmp_path, {"parameters": "Info.csv"}, "IllustrisTNG", "SB28")
    write(tmp_path, replace(layout_of("IllustrisTNG", "SB28"), parameters=parameters), 6, "IllustrisTNG", "SB28")
    return tmp_path


def test_a_suite_of_28_parameters_is_sound_and_opened(of_28):
    assert check_directory(of_28) == []
    suite = open_suite(of_28, "IllustrisTNG", set_name="SB28")
    assert suite.parameters.shape == (6, 28)
    assert suite.layout.names[:3] == ("Omega_m", "P1", "P2")
    unit = suite.layout.to_unit_interval(suite.parameters)
    assert 0 < unit.min() < unit.max() < 1


def test_ranges_in_the_file_itself_do_as_well(of_28):
    layout = open_suite(of_28, "IllustrisTNG", set_name="SB28").layout
    plain = layout_to_json(layout)["parameters"]
    say(of_28, {"parameters": list(plain)}, "IllustrisTNG", "SB28")
    assert open_suite(of_28, "IllustrisTNG", set_name="SB28").layout == layout


def test_without_its_layout_the_table_is_refused_and_with_it_one_of_six(of_28):
    path = of_28 / "params_SB28_IllustrisTNG.txt"
    rows = np.loadtxt(path)
    np.savetxt(path, rows[:, :6])
    (defect,) = check_directory(of_28)
    assert "row 0 has 6 columns; its layout has 28: Omega_m, P1, P2" in defect
    np.savetxt(path, rows)
    (of_28 / "layout_SB28_IllustrisTNG.json").unlink()
    (defect,) = check_directory(of_28)
    assert "row 0 has 28 columns" in defect
    assert "layout_<set>_<suite>.json" in defect


@pytest.mark.parametrize(("column", "value", "name"), [(0, 0.6, "Omega_m"), (5, 100.0, "P5"), (27, np.nan, "P27")])
def test_every_parameter_keeps_to_its_own_prior(of_28, column, value, name):
    path = of_28 / "params_SB28_IllustrisTNG.txt"
    rows = np.loadtxt(path)
    rows[3, column] = value
    np.savetxt(path, rows)
    assert f"{name} (column {column + 1}) outside its prior range" in "\n".join(check_directory(of_28))


def test_maps_of_28_parameters_are_weighed_by_their_own_omega_m(tmp_path):
    """Wherever its column stands."""
    parameters = (*read_ranges(table(tmp_path, RANGES))[1:4], CAMELS_PARAMETERS[0])
    write(tmp_path, replace(layout_of("Mine"), parameters=parameters))
    say(tmp_path, {"parameters": [layout_to_json(Layout(parameters))["parameters"][i] for i in range(4)]})
    assert check_directory(tmp_path) == []
    np.save(tmp_path / MAPS, 2 * np.load(tmp_path / MAPS))
    assert "every map holds 2 times the mass" in "\n".join(check_directory(tmp_path))


def test_tables_of_a_published_order_are_read_once_the_layout_gives_it(tmp_path):
    """Ramses, whose tables are refused otherwise."""
    names = ("Omega_m", "sigma_8", "A_SN1", "A_SN2", "A_AGN1", "A_AGN2")
    edges = ((0.1, 0.5), (0.6, 1.0), (0.1, 10.0), (0.05, 5.0), (2.0, 8.0), (1.0, 4.0))
    rows = [{"name": name, "low": low, "high": high} for name, (low, high) in zip(names, edges, strict=True)]
    layout = replace(layout_of("Ramses", "SB5"), parameters=tuple(Parameter(**row) for row in rows))
    write(tmp_path, layout, suite="Ramses", set_name="SB5")
    assert "physical numbers, which are not read" in "\n".join(check_directory(tmp_path))
    say(tmp_path, {"parameters": rows}, "Ramses", "SB5")
    assert check_directory(tmp_path) == []


def test_columns_of_a_table_are_those_of_the_layout_that_is_given(tmp_path):
    path = tmp_path / "table"
    path.write_text("0.3 0.8 # Omega_m sigma_8\n")
    assert read_parameters(path, Layout(CAMELS_PARAMETERS[:2])).tolist() == [[0.3, 0.8]]
    with pytest.raises(DataError, match="row 0 has 2 columns"):
        read_parameters(path)


# Other boxes and slabs


@pytest.fixture
def thick(tmp_path) -> Path:
    """Two slabs of 25 Mpc/h of a box of 50 Mpc/h."""
    write(tmp_path, replace(layout_of("Mine"), **THICK))
    say(tmp_path, THICK)
    return tmp_path


def test_two_slabs_of_another_box_are_sound_and_opened(thick):
    assert check_directory(thick) == []
    suite = open_suite(thick, "Mine")
    assert (suite.n_maps, suite.layout.n_maps, suite.layout.n_pixels) == (48, 6, 16)
    assert suite.simulation_of_map.tolist() == np.arange(8).repeat(6).tolist()
    assert suite.maps_of([1, 0]).tolist() == [*range(6, 12), *range(6)]
    np.testing.assert_array_equal(suite.read_simulation(3), suite.maps[18:24])


def test_another_box_is_weighed_by_its_own_slabs(thick):
    np.save(thick / MAPS, np.load(thick / MAPS) / 5)
    assert "every map holds 0.2 times the mass of a slab of 25 Mpc/h" in "\n".join(check_directory(thick))


def test_maps_of_another_size_than_said_are_refused(thick):
    say(thick, {**THICK, "n_pixels": 32})
    assert "maps of 16 x 16 pixels, where layout_LH_Mine.json says 32" in "\n".join(check_directory(thick))


def test_wavenumbers_are_those_of_the_box(thick):
    """The fundamental mode of 50 Mpc/h has 2 pi / 50 = 0.126 h/Mpc, half of that of 25 Mpc/h."""
    suite = open_suite(thick, "Mine")
    flat = torch.from_numpy(suite.read_simulation(0)).log10().mean((1, 2))
    for k_max, is_flat in ((0.125, True), (0.127, False)):
        cut = suite.transformed(TransformSpec("k_max", k_max)).load_simulation(0).log10()
        assert torch.allclose(cut, flat[:, None, None].expand_as(cut), rtol=1e-6) == is_flat
    with pytest.raises(UserError, match=r"end at 1\.42 h/Mpc"):
        suite.transformed(TransformSpec("k_max", 1.5)).load_simulation(0)


def test_no_monopole_leaves_the_mean_of_a_slab_as_thick(thick):
    suite = open_suite(thick, "Mine").transformed(TransformSpec("no monopole"))
    means = suite.read_simulation(0).mean((1, 2), dtype=np.float64)
    np.testing.assert_allclose(means, 0.3 * CRITICAL_DENSITY * 25, rtol=1e-6)


# Fingerprints


def fingerprint(folder: Path, **words: str) -> str:
    return open_suite(folder, "Mine", check=False, **words).fingerprint


def test_a_file_that_says_what_is_known_leaves_the_fingerprint(tmp_path):
    write(tmp_path, Layout())
    before = fingerprint(tmp_path)
    say(tmp_path, {"box_size_mpc_h": 25.0, "n_slabs": 5, "slab_thickness_mpc_h": 5.0, "n_pixels": 16})
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    "document",
    [
        {"parameters": [{"name": f"P{i}", "low": 0.0, "high": 4.0} for i in range(6)]},
        {"redshift": 0.5},
        {"box_size_mpc_h": 30.0, "slab_thickness_mpc_h": 6.0},
        {"initial_conditions": "CAMELS CV"},
    ],
)
def test_another_prior_or_geometry_is_other_data(tmp_path, document):
    write(tmp_path, Layout())
    before = fingerprint(tmp_path)
    say(tmp_path, document)
    assert fingerprint(tmp_path) != before
    other = json.loads(json.dumps(document))
    say(tmp_path, other)
    assert fingerprint(tmp_path) == fingerprint(tmp_path)


def test_fingerprints_of_camels_are_as_they_always_were(tmp_path):
    """A known answer, of before there were layouts."""
    layout = layout_of("IllustrisTNG")
    theta = np.linspace(layout.lows, layout.highs, 2)
    maps = np.arange(30 * 256, dtype="<f4").reshape(30, 16, 16) + 1
    np.save(tmp_path / "Maps_Mcdm_IllustrisTNG_LH_z=0.00.npy", maps)
    np.savetxt(tmp_path / "params_LH_IllustrisTNG.txt", theta, fmt="%.6f")
    assert open_suite(tmp_path, "IllustrisTNG", "Mcdm", check=False).fingerprint == "f2d854163c5f6ee1cdf7af8c9a697d6b"
