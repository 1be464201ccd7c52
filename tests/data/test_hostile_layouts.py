"""Layout files that nobody should write: each is refused in a line that names the file, or harms nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.labels import parameter_defects
from fieldlevel.data.layout_files import find_layout
from fieldlevel.errors import UserError
from fieldlevel.layout import CMD_UNITS, Layout, Parameter
from fieldlevel.mapmaking.fields import FIELDS


def parameter(**given):
    return {"name": "Omega_m", "low": 0.1, "high": 0.5} | given


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"n_slabs": 5, "n_slabs": 3}', "n_slabs twice"),
        (json.dumps({"units": [["Mtot", "kg"], ["Mtot", "g"]]}), "unit of Mtot twice"),
        (json.dumps({"units": {"Mtot": "k\ng"}}), "characters of one line"),
        (json.dumps({"initial_conditions": "x" * 1000}), "characters of one line"),
        (json.dumps({"n_slabs": 15}), "15 slabs of 5 Mpc/h of a box of 25 Mpc/h"),
        (json.dumps({"parameters": [parameter(low=-1e308, high=1e308)]}), "low < high, a finite way apart"),
        ('{"parameters": [{"name": "Omega_m", "fiducial": NaN}]}', "fiducial = nan"),
        (json.dumps({"parameters": [parameter(name="a" * 51)]}), "at most 50"),
        (json.dumps({"parameters": [parameter(symbol="x" * 1000)]}), "symbol .* at most 80 characters"),
        (json.dumps({"parameters": [parameter(symbol="a\nb")]}), "in one line"),
        (json.dumps({"parameters": "../x.csv"}), "in the same folder"),
    ],
)
def test_a_hostile_file_is_refused_in_a_line_that_names_it(tmp_path, text, words):
    files = SuiteFiles(tmp_path, "Mine")
    files.layout_path.write_text(text)
    with pytest.raises(UserError, match=words) as refusal:
        find_layout(files)
    assert str(refusal.value).startswith(str(files.layout_path))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("target", ["nowhere.json", "layout_LH_Mine.json"])
def test_a_link_to_nothing_is_no_missing_file(tmp_path, target):
    files = SuiteFiles(tmp_path, "Mine")
    files.layout_path.symlink_to(target)
    with pytest.raises(UserError, match="cannot be read"):
        find_layout(files)


def test_a_parameter_of_a_suite_alone_has_a_symbol_that_fits_whatever_the_names():
    longest = Parameter("A_" + "x" * 48, symbol="x" * 80)
    assert longest.of_suite("_".join("S" * 50)).symbol.count(r"\_") == 49


def test_projected_fields_have_the_units_of_cmd():
    assert {name: CMD_UNITS[name] for name in ("P", "Z", "ne")} == {
        "P": "h^2 Msun (km/s)^2/kpc^3",
        "Z": "mass fraction",
        "ne": "h^2/cm^3 (Mpc/h)",
    }
    assert dict(Layout().units).keys() >= FIELDS.keys()


def test_gravity_alone_without_cosmological_parameters_has_no_rows_that_are_the_same():
    knobs = Layout((Parameter("Knob_1"), Parameter("Knob_2")))
    theta = np.random.default_rng(0).uniform(size=(10, 2))
    assert not list(parameter_defects(SuiteFiles(Path("cmd"), "Nbody_Mine"), theta, knobs))
