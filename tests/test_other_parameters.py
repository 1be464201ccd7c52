"""Files of answers whose parameters are not those of CAMELS: columns, scores and flags follow the layout."""

import csv
import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fieldlevel.data.normalise import Normaliser
from fieldlevel.errors import UserError
from fieldlevel.estimators.densities import TruncatedNormal
from fieldlevel.inference import evaluation_files
from fieldlevel.inference.evaluation_files import EVALUATION_FILES
from fieldlevel.inference.level import likely_unit, refuse_far_levels
from fieldlevel.inference.map_files import infer_file
from fieldlevel.inference.posterior import Posterior
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.training.train_spec import TrainSpec

H = Parameter("h", low=0.6, high=0.8, cosmological=True)
LAYOUT = replace(Layout(), parameters=(CAMELS_PARAMETERS[0], CAMELS_PARAMETERS[2].of_suite("MockTNG"), H))
MEAN, STD = np.array([[0.3, 1.0, 0.7], [0.3, 1.0, 0.9]]), np.array([[0.01, 0.5, 0.01]] * 2)


@pytest.fixture
def predictor():
    """A network that answers `MEAN` and `STD`, alone or as the one member of an ensemble."""
    unit = torch.from_numpy(LAYOUT.to_unit_interval(MEAN)), torch.from_numpy(STD / (LAYOUT.highs - LAYOUT.lows))
    network = SimpleNamespace(
        source="weights.safetensors",
        spec=TrainSpec(suite="Mine", seed=3),
        field="Mtot",
        layout=LAYOUT,
        n_pixels=8,
        is_mock=False,
        seen_sources=(),
        calibration=None,
        transfer_errors=None,
        transfer_guarantee="nothing",
        remarks_on=lambda made_from: (),
        posterior=lambda maps, **options: Posterior(TruncatedNormal(*unit), LAYOUT, (MEAN, STD)),
    )
    network.members = (network,)
    return network


def rows_of(path):
    with path.open() as table:
        return list(csv.DictReader(table))


def evaluate(folder, predictor, suite):
    theta = np.array([[0.31, np.nan, 0.7], [0.29, np.nan, 0.7]])
    predictions = Predictions(theta, MEAN, STD, np.arange(2), np.array([30, 45]), LAYOUT)
    tested = SimpleNamespace(suite=suite, is_mock=False, fingerprint="0", made_from=None)
    pair = evaluation_files.tested_pair(predictor, tested, predictions)
    document = evaluation_files.describe_evaluation(predictor, tested, pair, "weights", "cpu")
    evaluation_files.store_evaluation(folder, pair, document)
    return document


def test_an_evaluation_scores_the_parameters_of_the_network(tmp_path, predictor):
    document = evaluate(tmp_path, predictor, "Other")
    assert document == json.loads((tmp_path / "metrics.json").read_text())
    assert list(document["scores"]) == ["Omega_m", "A_SN1[MockTNG]", "h"]
    assert document["scores"]["A_SN1[MockTNG]"]["rmse"]["value"] == "nan"
    assert document["outside_prior"] == {"n_maps": 1, "maps": [45], "parameters": ["Omega_m", "h"]}
    rows = rows_of(tmp_path / "predictions.csv")
    assert [row["h_mean"] for row in rows] == ["0.7", "0.9"]
    assert {row["A_SN1[MockTNG]_true"] for row in rows} == {"nan"}
    assert all(is_ours(tmp_path / name) for name, is_ours in EVALUATION_FILES.items())


def test_gravity_only_maps_score_cosmology_alone(tmp_path, predictor):
    assert list(evaluate(tmp_path, predictor, "Nbody_Other")["scores"]) == ["Omega_m", "h"]


def test_a_table_of_posteriors_has_the_columns_of_the_network(tmp_path, predictor, monkeypatch):
    monkeypatch.setattr("fieldlevel.inference.map_files.load", lambda *_, **__: predictor)
    np.save(tmp_path / "maps.npy", np.ones((2, 8, 8)))
    found = infer_file(tmp_path / "weights.safetensors", tmp_path / "maps.npy", tmp_path / "p.csv")
    assert found.layout == LAYOUT
    assert found.outside.tolist() == [1]
    rows = rows_of(tmp_path / "p.csv")
    names = [f"{name}_{moment}" for name in LAYOUT.names for moment in ("mean", "std")]
    assert list(rows[0]) == ["map", "network", *names, "outside_prior"]
    assert [row["outside_prior"] for row in rows] == ["", "h"]


@pytest.mark.parametrize("box", [25.0, 50.0])
def test_mass_a_pixel_is_known_in_any_box(box):
    maps = torch.full((1, 64, 64), 10**11.0 * (box / 64) ** 2)
    layout = replace(Layout(), box_size_mpc_h=box)
    shift = 2 * np.log10(box / 64)
    assert likely_unit(maps, 11.0, "Mtot", layout).startswith(f"mass a pixel, numbers of some 10^{shift:.1f}")


@pytest.mark.parametrize(("field", "words"), [("Mtot", "training, (Msun/h)/(Mpc/h)^2, or"), ("T", "training, K, or")])
def test_a_refusal_names_the_unit_of_the_field(field, words):
    maps = torch.full((1, 4, 4), 1e20)
    normaliser = Normaliser(5.0, 0.5)
    normalised = (maps.log10() - normaliser.mean) / normaliser.std
    with pytest.raises(UserError) as refusal:
        refuse_far_levels(normaliser, normalised, maps, np.arange(1), TrainSpec(field=field), Layout())
    assert words in str(refusal.value)
