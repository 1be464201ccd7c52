import numpy as np
import pytest

from fieldlevel.errors import UserError
from fieldlevel.statistics.predictions import Predictions


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
