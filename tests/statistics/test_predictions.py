import dataclasses

import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.statistics.predictions import Predictions, csv_columns


def test_csv_reads_back_to_the_same_doubles(tmp_path, gaussian_posterior):
    predictions = gaussian_posterior(n_simulations=7, maps_each=3)
    predictions.write_csv(tmp_path / "predictions.csv")
    again = Predictions.read_csv(tmp_path / "predictions.csv")
    for name in ("theta", "mean", "std", "simulation", "map_index"):
        assert np.array_equal(getattr(again, name), getattr(predictions, name))
    assert [p.name for p in tmp_path.iterdir()] == ["predictions.csv"]


def test_csv_names_its_columns(tmp_path, gaussian_posterior):
    gaussian_posterior(n_simulations=1).write_csv(tmp_path / "predictions.csv")
    header = (tmp_path / "predictions.csv").read_text().splitlines()[0].split(",")
    assert header[:6] == ["simulation", "map", "Omega_m_true", "Omega_m_mean", "Omega_m_std", "sigma_8_true"]
    assert len(header) == 20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "cannot be read"),
        ("", "not a table of numbers"),
        ("simulation,map\n0,0\n", "columns are not simulation, map, Omega_m_true"),
        ("simulation,map\n0,zero\n", "not a table of numbers"),
        ("simulation,map\n0,0\n1\n", "not a table of numbers"),
    ],
)
def test_broken_csv_is_refused(tmp_path, text, complaint):
    path = tmp_path / "predictions.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=complaint):
        Predictions.read_csv(path)


def test_impossible_predictions_are_refused(one_column):
    good = one_column([1, 2], [1, 2], [1, 1])
    with pytest.raises(UserError, match="mean of map 1 is not finite"):
        one_column([1, 2], [1, np.nan], [1, 1])
    with pytest.raises(UserError, match="std of map 0 is negative"):
        one_column([1, 2], [1, 2], [-1, 1])
    with pytest.raises(UserError, match=r"theta has shape \(2, 5\)"):
        Predictions(good.theta[:, :5], good.mean, good.std, good.simulation, good.map_index)
    with pytest.raises(UserError, match="no map was tested"):
        one_column([], [], [])
    with pytest.raises(UserError, match="1 map numbers for 2 maps"):
        Predictions(good.theta, good.mean, good.std, good.simulation, good.map_index[:1])


@pytest.mark.parametrize("number", ["1e999", "-inf", "nan"])
def test_numbers_that_are_not_finite_name_their_file(tmp_path, gaussian_posterior, number):
    path = tmp_path / "predictions.csv"
    gaussian_posterior(n_simulations=1).write_csv(path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[1].rpartition(",")[0] + f",{number}", *lines[2:]]))
    with pytest.raises(UserError, match=r"predictions\.csv: .*not finite"):
        Predictions.read_csv(path)


ARRAYS = ("theta", "mean", "std", "simulation", "map_index")


@pytest.mark.parametrize("is_given", [True, False])
def test_csv_of_any_parameters_reads_back(tmp_path, unit_errors, layout, is_given):
    path = tmp_path / "predictions.csv"
    unit_errors.write_csv(path)
    again = Predictions.read_csv(path, layout if is_given else None)
    assert again.layout.names == layout.names
    assert all(np.array_equal(getattr(again, name), getattr(unit_errors, name)) for name in ARRAYS)
    assert path.read_text().splitlines()[0] == ",".join(csv_columns(layout))


def test_without_a_layout_the_parameters_of_camels_have_their_priors_and_others_the_span_of_their_truths(tmp_path):
    parameters = (CAMELS_PARAMETERS[0], CAMELS_PARAMETERS[2].of_suite("MockTNG"), Parameter("Mine", low=-9.0, high=9.0))
    theta = np.array([[0.2, 1.0, -3.0], [0.3, 2.0, 5.0]])
    layout = dataclasses.replace(Layout(), parameters=parameters)
    Predictions(theta, theta, theta * 0, np.arange(2), np.arange(2), layout).write_csv(tmp_path / "p.csv")
    again = Predictions.read_csv(tmp_path / "p.csv")
    assert again.layout.parameters == (*parameters[:2], Parameter("Mine", low=-3.0, high=5.0))


def test_a_parameter_without_a_truth_is_a_column_of_nan(tmp_path, unit_errors, layout):
    theta = unit_errors.theta.copy()
    theta[:, -1] = np.nan
    unknown = dataclasses.replace(unit_errors, theta=theta)
    unknown.write_csv(tmp_path / "p.csv")
    for given in (layout, None):
        again = Predictions.read_csv(tmp_path / "p.csv", given)
        assert np.array_equal(again.theta, theta, equal_nan=True)
        assert np.array_equal(again.mean, unknown.mean)
    theta[0, -1] = 1.0
    with pytest.raises(UserError, match="theta of map 1 is not finite"):
        dataclasses.replace(unit_errors, theta=theta)
    with pytest.raises(UserError, match="mean of map 0 is not finite"):
        dataclasses.replace(unit_errors, mean=np.full_like(theta, np.nan))


def test_a_table_of_other_parameters_than_those_asked_for_is_refused(tmp_path, gaussian_posterior):
    gaussian_posterior(n_simulations=2).write_csv(tmp_path / "p.csv")
    with pytest.raises(UserError, match=r"p\.csv: columns are not simulation, map, sigma_8_true"):
        Predictions.read_csv(tmp_path / "p.csv", Layout().select(["sigma_8"]))


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        ("simulation,map,Omega_m_true,Omega_m_mean,sigma_8_std", "columns are not"),
        ("simulation,map,Omega_m_true,Omega_m_mean", "columns are not"),
        ("simulation,map,2nd_true,2nd_mean,2nd_std", "parameter 2nd"),
    ],
)
def test_headers_that_name_no_parameters_are_refused(tmp_path, header, complaint):
    (tmp_path / "p.csv").write_text(f"{header}\n{','.join('1' for _ in header.split(','))}\n")
    with pytest.raises(UserError, match=complaint):
        Predictions.read_csv(tmp_path / "p.csv")
