"""`fieldlevel.evaluate`: a network on a suite, with or without files."""

import json
from dataclasses import replace

import numpy as np
import pytest

import fieldlevel
from fieldlevel.data.split import SplitSpec
from fieldlevel.errors import UserError
from fieldlevel.inference.evaluating import evaluate
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec

SPEC = TrainSpec(suite="Toy", split=SplitSpec(train=0.25, validation=0.25))
N_SIMULATIONS = 8
MADE = ["metrics.json", "predictions.csv"]


@pytest.fixture
def folder(tmp_path, toy_maps):
    """Maps that the toy reads Omega_m and sigma_8 off, with its own error."""
    rng, layout = np.random.default_rng(3), Layout()
    unit = 0.2 + 0.6 * rng.random((N_SIMULATIONS, 6))
    told = np.repeat(unit[:, :2], 15, axis=0) + 0.05 * rng.standard_normal((15 * N_SIMULATIONS, 2))
    np.save(tmp_path / "Maps_Mtot_Toy_LH_z=0.00.npy", toy_maps(told))
    theta = layout.lows + unit * (layout.highs - layout.lows)
    np.savetxt(tmp_path / "params_LH_Toy.txt", theta, fmt="%.5f")
    return tmp_path


def test_scores_are_those_of_unseen_maps_beside_the_truth(toy, folder):
    predictor = toy(spec=SPEC)
    suite = fieldlevel.open_suite(folder, "Toy", check=False)
    found = evaluate(predictor, suite)
    assert set(found.predictions.simulation) == set(SPEC.split.divide(N_SIMULATIONS).test)
    rows = suite.maps_of(SPEC.split.divide(N_SIMULATIONS).test)
    mean, _ = predictor.predict(suite.maps[rows])
    np.testing.assert_allclose(np.sort(found.predictions.mean[:, 0]), np.sort(mean[:, 0]), rtol=1e-6)
    width = 0.4
    assert found.scores["Omega_m"]["rmse"].value == pytest.approx(0.05 * width, rel=0.3)
    assert list(found.scores) == ["Omega_m", "sigma_8"]
    assert any(remark.startswith("tested on 4 simulations: errors") for remark in found.document["remarks"])
    assert repr(found).startswith("<Evaluation of Toy → Toy: 60 maps, rms error of Omega_m ")


def test_files_are_written_where_they_are_asked_for(toy, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("fieldlevel.inference.evaluating.open_suite", opened_unchecked)
    found = evaluate(toy(spec=SPEC), folder, out=tmp_path / "out", verbose=True)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == MADE
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == found.document
    assert "test on Toy: 4/4 simulations" in capsys.readouterr().err


def opened_unchecked(*arguments, listener):
    return fieldlevel.open_suite(*arguments, check=False)


def test_simulations_are_chosen_by_a_known_word_or_by_number(toy, folder):
    suite = fieldlevel.open_suite(folder, "Toy", check=False)
    with pytest.raises(UserError, match="simulations = tests: give test, all, unseen, or their numbers"):
        evaluate(toy(spec=SPEC), suite, simulations="tests")
    unseen = int(SPEC.split.divide(N_SIMULATIONS).test[0])
    assert set(evaluate(toy(spec=SPEC), suite, simulations=[unseen]).predictions.simulation) == {unseen}


def test_files_of_somebody_else_stay(toy, folder, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text("mine")
    with pytest.raises(UserError, match="was not written by this command"):
        evaluate(toy(spec=SPEC), folder, out=tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").read_text() == "mine"


def test_networks_and_suites_are_told_in_a_line(toy, folder):
    suite = fieldlevel.open_suite(folder, "Toy", check=False)
    assert repr(suite) == "<Suite Toy LH: 120 Mtot maps of 16 x 16 pixels, 8 simulations of 6 parameters>"
    predictor = toy(spec=SPEC)
    assert repr(predictor) == "<Predictor of Toy: Omega_m, sigma_8 from Mtot maps of 16 x 16>"
    mock = toy(spec=replace(SPEC, suite="MockTNG"))
    assert "MOCK DATA" in repr(mock)
    both = fieldlevel.Ensemble.of([predictor, predictor])
    assert repr(both) == f"<Ensemble of 2: {predictor!r}, {predictor!r}>"
    assert len(repr(evaluate(predictor, suite).trust)) < 200
