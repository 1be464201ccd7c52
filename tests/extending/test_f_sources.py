"""(f) One training from two suites, one of them unlabelled: whatever it has seen is refused, by every way to it."""

import json

import numpy as np
import pytest

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.layout import Layout

LABELLED, UNLABELLED = "MockTNG", "MockSIMBA"


@pytest.fixture
def trained(page, command, write_suite, place):
    """Trained on two suites; a third shares the initial conditions of the unlabelled one."""
    write_suite(LABELLED, seed=0)
    folder = write_suite(UNLABELLED, seed=1)
    for suite in (f"Nbody_{LABELLED}", f"Nbody_{UNLABELLED}"):
        write_suite(suite, seed=int(suite.endswith(UNLABELLED)))
    write_suite("Sibling", seed=3)
    ours = fieldlevel.open_suite(folder, UNLABELLED).layout.initial_conditions
    (folder / "layout_LH_Sibling.json").write_text(json.dumps({"initial_conditions": ours}))
    write_suite("Stranger", seed=4)
    (text,) = (text for text in page.commands if "adapted.toml" in text)
    assert command(text) == 0
    return place / "adapted" / "weights.safetensors"


def evaluate(weights, suite, simulations="all"):
    arguments = ["--simulations", simulations, "--out", f"tested-{suite}-{simulations}", "--device", "cpu"]
    return main(["evaluate", str(weights), "--data", "cmd", "--suite", suite, *arguments])


def test_every_way_to_what_was_seen_is_refused(trained, place, capsys):
    for suite in (LABELLED, UNLABELLED, f"Nbody_{LABELLED}", f"Nbody_{UNLABELLED}", "Sibling"):
        assert evaluate(trained, suite) == 2, suite
        told = capsys.readouterr()
        assert "was trained or validated on" in (told.out + told.err).replace("\n", " "), suite
        assert evaluate(trained, suite, "test") == 0, suite
    assert evaluate(trained, "Stranger") == 0


def test_under_another_name_and_turned_it_is_known(trained, place, capsys):
    maps = np.load(place / "cmd" / f"Maps_Mtot_{UNLABELLED}_LH_z=0.00.npy")
    theta = np.loadtxt(place / "cmd" / f"params_LH_{UNLABELLED}.txt")
    turned = np.ascontiguousarray(np.rot90(maps.reshape(10, 15, 16, 16)[::-1], axes=(2, 3)).reshape(maps.shape))
    np.save(place / "cmd" / "Maps_Mtot_Renamed_LH_z=0.00.npy", turned)
    np.savetxt(place / "cmd" / "params_LH_Renamed.txt", theta[::-1], fmt="%.8g")
    assert evaluate(trained, "Renamed") == 2
    assert "as their parameters tell" in " ".join(capsys.readouterr().err.split())
    np.savetxt(place / "cmd" / "params_LH_Renamed.txt", theta[::-1] * (1 + 1e-3), fmt="%.8g")
    assert evaluate(trained, "Renamed") == 2
    assert "as their maps tell" in " ".join(capsys.readouterr().err.split())


def test_it_answers_the_parameters_of_the_labelled_suite(trained):
    predictor = fieldlevel.load(trained, "cpu")
    assert predictor.layout.names == Layout().names
    assert [(each.suite, each.labelled) for each in predictor.sources] == [(LABELLED, True), (UNLABELLED, False)]
