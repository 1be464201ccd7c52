"""What a letter's predictions tell beyond its report: known answers from few numbers."""

import gzip
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.publish import pair_details
from fieldlevel.publish.refusals import exit_on_refusal
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult, write_predictions
from fieldlevel.statistics.predictions import Predictions

PAIR = "MOCK DATA: MockTNG -> MockTNG"


def network(Omega_m: Sequence[float], errors: Sequence[float], std: float = 0.1, n_maps: int = 2) -> Predictions:
    """Predictions that err by (mu - theta) / theta in every parameter, n_maps maps a simulation."""
    theta = np.ones((len(errors), 6))
    theta[:, 0] = np.repeat(Omega_m, n_maps)
    number = np.arange(len(errors))
    return Predictions(theta, theta * (1 + np.array(errors)[:, None]), 0 * theta + std, number // n_maps, number)


@pytest.fixture
def letter(tmp_path) -> Callable[..., Path]:
    """A folder with the predictions of networks of consecutive seeds, and of another experiment."""

    def write(*seeds: Predictions) -> Path:
        pairs = [PairResult("MockTNG", "MockTNG", one, evaluate(one, 2), seed) for seed, one in enumerate(seeds)]
        other = network([9, 9, 9, 9], [9] * 8)
        experiments = {"four pairs": pairs, "mean map": [PairResult("MockTNG", "MockTNG", other, evaluate(other, 2))]}
        write_predictions(tmp_path / "predictions.csv", experiments)
        return tmp_path

    return write


@pytest.fixture
def told(letter, tmp_path, monkeypatch, capsys):
    """Numbers of Omega_m from the command, and what it prints."""

    def run(*seeds: Predictions) -> tuple[dict, str]:
        monkeypatch.setattr(sys, "argv", ["letter_details", str(letter(*seeds)), "--json", str(tmp_path / "told.json")])
        pair_details.main()
        return json.loads((tmp_path / "told.json").read_text())[PAIR]["Omega_m"], capsys.readouterr().out

    return run


def values(estimates: Sequence[dict]) -> list[float]:
    return [estimate["value"] for estimate in estimates]


def test_quarters_are_of_whole_simulations_of_rising_Omega_m(told):
    Omega_m = [0.4, 0.2, 0.1, 0.3, 0.15]
    numbers, _ = told(network(Omega_m, [0, 0, 0, 0, 1, 1, 0, 0, 0, 2]))  # of 0.1 both maps, of 0.15 the second
    assert [part["n_simulations"] for part in numbers["quarters"]] == [2, 1, 1, 1]
    assert [part["Omega_m"] for part in numbers["quarters"]] == pytest.approx(
        np.array([[0.1, 0.15], [0.2] * 2, [0.3] * 2, [0.4] * 2])
    )
    chi2 = [values(part["reduced_chi2"])[0] for part in numbers["quarters"]]
    assert chi2 == pytest.approx([(1 + 1 + 0 + 9) / 4, 0, 0, 0])
    assert values(numbers["quarters"][0]["relative_bias"]) == pytest.approx([(1 + 1 + 0 + 2) / 4])
    assert values(numbers["reduced_chi2"]) == pytest.approx([11 / 10])
    assert values(numbers["bias"]) == pytest.approx([(0.1 + 0.1 + 0.3) / 10])


def test_opposite_seeds_cancel_in_their_average(told):
    up = [0.1, -0.1] * 4
    numbers, words = told(network([0.1, 0.2, 0.3, 0.4], up), network([0.1, 0.2, 0.3, 0.4], [-error for error in up]))
    assert values(numbers["rms_relative_error"]) == pytest.approx([0.1, 0.1])
    assert numbers["correlation_of_seeds"] == pytest.approx([-1])
    assert values(numbers["rms_relative_error_of_average_over_seeds"]) == pytest.approx([0], abs=1e-12)
    assert values(numbers["rms_relative_error_of_average_over_maps"]) == pytest.approx([0, 0], abs=1e-12)
    assert words.startswith(f"{PAIR}, Omega_m\n")
    assert "correlation of two seeds: -1.000" in words


def test_an_error_of_the_whole_simulation_survives_the_average_over_its_maps(told):
    errors = [0.1, 0.1, -0.1, -0.1, 0.1, 0.1, -0.1, -0.1]
    numbers, _ = told(*[network([0.1, 0.2, 0.3, 0.4], errors)] * 2)
    assert values(numbers["rms_relative_error_of_average_over_maps"]) == pytest.approx([0.1, 0.1])
    assert values(numbers["rms_relative_error_of_average_over_seeds"]) == pytest.approx([0.1])
    assert numbers["correlation_of_seeds"] == pytest.approx([1])


def test_a_vanishing_std_is_told_and_the_json_stays_json(told):
    numbers, words = told(network([0.1, 0.2, 0.3, 0.4], [0.1] * 8, std=0))
    assert values(numbers["reduced_chi2"]) == ["inf"]
    assert "reduced chi^2: ∞" in words
    assert "seeds" not in words  # there is one


@pytest.mark.parametrize("compressed", [False, True], ids=["output folder", "committed"])
@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        ("nothing there", "no predictions.csv"),
        ("truncated", "damaged"),
        ("garbled", "damaged"),
        ("other maps", "tested on different maps"),
        ("other truths", "tested on different maps"),
        ("no four pairs", "no four pairs in it"),
        ("few simulations", "too few for quarters"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(letter, damage, complaint, compressed, monkeypatch, capsys):
    Omega_m, n = ([0.1, 0.2], 4) if damage == "few simulations" else ([0.1, 0.2, 0.3, 0.4], 8)
    other = network([0.2, *Omega_m[1:]] if damage == "other truths" else Omega_m, [0.2] * n)
    if damage == "other maps":
        other = network(Omega_m[:3], [0.2] * 6)
    folder = letter(*([] if damage == "no four pairs" else [network(Omega_m, [0.1] * n), other]))
    path = folder / "predictions.csv"
    if compressed:
        (folder / "predictions.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        path = folder / "predictions.csv.gz"
    content = path.read_bytes()
    if damage == "nothing there":
        path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    if damage == "garbled":
        path.write_bytes(content[:40] + b"\xff" * 60)
    monkeypatch.setattr(sys, "argv", ["letter_details", str(folder)])
    with pytest.raises(SystemExit) as refusal:
        exit_on_refusal(pair_details.main)
    message = capsys.readouterr().err
    assert refusal.value.code == 2
    assert complaint in message
    assert message.count("\n") == 1
