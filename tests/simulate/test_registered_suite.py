"""A mock suite that somebody registered is simulated, checked and opened as those of the package."""

import json
import sys

import numpy as np
import pytest

from fieldlevel import suites
from fieldlevel.cli import main
from fieldlevel.data.suite import check_directory, open_suite
from fieldlevel.errors import UserError
from fieldlevel.layout import CAMELS_PARAMETERS, Parameter
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.sets import rows_of_set
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import SuiteFacts, register_suite

TOY = SimulateSpec(("MockMine",), n_simulations=2, n_particles=16, n_mesh=16, n_pixels=16)
MODEL = '''"""Gas where it was, no stars but one."""

from fieldlevel.simulate.mock_tng import mock_tng


def my_model(run, feedback):
    return mock_tng(run, feedback)
'''


@pytest.fixture
def registered(tmp_path, monkeypatch) -> SuiteFacts:
    """MockMine, whose baryons are those of MockTNG by another name."""
    (tmp_path / "my_baryons.py").write_text(MODEL)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(suites, "_SUITES", dict(suites._SUITES))
    facts = SuiteFacts("MockMine", is_mock=True, model="my_baryons:my_model")
    register_suite(facts)
    yield facts
    sys.modules.pop("my_baryons", None)


def test_it_is_simulated_like_the_others(registered, tmp_path):
    folder = simulate_suite(TOY, tmp_path / "out", device="cpu")
    assert check_directory(folder) == []
    suite = open_suite(folder, "MockMine")
    assert suite.is_mock
    assert suite.parameters.tolist() == [list(row.parameters) for row in rows_of_set(TOY, "MockMine")]
    assert open_suite(folder, "Nbody_Mock").is_mock
    assert suite.fingerprint != open_suite(folder, "Nbody_Mock").fingerprint
    assert suite.layout.initial_conditions == open_suite(folder, "Nbody_Mock").layout.initial_conditions == "mock LH"


def test_its_twin_is_that_of_all_mock_suites(registered, tmp_path):
    ours = simulate_suite(TOY, tmp_path / "ours", device="cpu")
    theirs = simulate_suite(
        SimulateSpec(("MockSIMBA",), n_simulations=2, n_particles=16, n_mesh=16, n_pixels=16),
        tmp_path / "theirs",
        device="cpu",
    )
    np.testing.assert_array_equal(
        np.load(ours / "Maps_Mtot_Nbody_Mock_LH_z=0.00.npy"),
        np.load(theirs / "Maps_Mtot_Nbody_Mock_LH_z=0.00.npy"),
    )
    table = "params_LH_Nbody_Mock.txt"
    assert (ours / table).read_text() == (theirs / table).read_text()
    assert np.loadtxt(ours / table).tolist() == [list(row.parameters) for row in rows_of_set(TOY, "Nbody_Mock")]


def test_processes_of_their_own_hear_of_it(registered, tmp_path):
    one = simulate_suite(TOY, tmp_path / "one", device="cpu")
    two = simulate_suite(TOY, tmp_path / "two", device="cpu", workers=2)
    for path in one.glob("*.npy"):
        np.testing.assert_array_equal(np.load(path), np.load(two / path.name))


def test_it_is_marked_as_mock_for_those_who_have_not_heard_of_it(registered, tmp_path, monkeypatch):
    folder = simulate_suite(TOY, tmp_path / "out", device="cpu")
    known = open_suite(folder, "MockMine")
    assert json.loads((folder / "layout_LH_MockMine.json").read_text())["is_mock"] is True
    monkeypatch.setattr(suites, "_SUITES", {name: suites._SUITES[name] for name in suites._BUILT_IN})
    unknown = open_suite(folder, "MockMine")
    assert unknown.is_mock
    assert unknown.layout.initial_conditions == "mock LH"
    assert open_suite(folder, "Nbody_Mock").is_mock
    assert unknown.fingerprint == known.fingerprint
    assert check_directory(folder) == []


def test_the_command_takes_it_too(registered, tmp_path):
    arguments = ["simulate", "--suite", "MockMine", "--out", str(tmp_path / "out"), "--device", "cpu", "--workers", "1"]
    sizes = ["--n-simulations", "1", "--n-particles", "16", "--n-mesh", "16", "--n-pixels", "16"]
    assert main([*arguments, *sizes]) == 0
    assert main(["check", str(tmp_path / "out")]) == 0


def test_own_suites_need_no_file_beside_their_maps(tmp_path):
    spec = SimulateSpec(n_simulations=1, n_particles=16, n_mesh=16, n_pixels=16)
    assert not list(simulate_suite(spec, tmp_path / "out", device="cpu").glob("layout_*"))


@pytest.mark.parametrize("suite", ["Nonsense", "IllustrisTNG", "Nbody_Mock", "Nbody_MockTNG", "MockMine", ""])
def test_other_names_are_refused_in_a_line(tmp_path, suite, capsys):
    spec = SimulateSpec((suite,), n_simulations=1)
    with pytest.raises(UserError, match=r"suite = .*: allowed are MockTNG, MockSIMBA, MockAstrid, MockEAGLE$"):
        simulate_suite(spec, tmp_path / "out", device="cpu")
    assert main(["simulate", "--suite", suite, "--out", str(tmp_path / "out")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "allowed are MockTNG, MockSIMBA, MockAstrid, MockEAGLE" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": ""}, "suite = MockMine: allowed are MockTNG, "),
        ({"model": "no_such_module:model"}, "no baryon model 'no_such_module:model'"),
        ({"model": "fieldlevel.simulate.mock_tng:nothing"}, "nothing"),
        ({"parameters": CAMELS_PARAMETERS[:5]}, "its parameters are Omega_m, sigma_8, A_SN1, A_AGN1, A_SN2;"),
        ({"parameters": (*CAMELS_PARAMETERS, Parameter("h"))}, "A_AGN2, h; register it with"),
    ],
)
def test_suites_that_cannot_be_simulated_are_refused(tmp_path, monkeypatch, change, words):
    monkeypatch.setattr(suites, "_SUITES", dict(suites._SUITES))
    usual = {"model": "fieldlevel.simulate.mock_tng:mock_tng"}
    register_suite(SuiteFacts("MockMine", is_mock=True, **{**usual, **change}))
    with pytest.raises(UserError, match=words):
        simulate_suite(TOY, tmp_path / "out", device="cpu")
    assert not (tmp_path / "out").exists()
