"""What a letter's predictions tell beyond its report: known answers from few numbers."""

import csv
import gzip
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def letter_details() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
        import letter_details  # noqa: PLC0415
    return letter_details


@pytest.fixture
def table(tmp_path):
    """Write predictions of two seeds, eight maps of four simulations: (seed, map, Omega_m, its mean)."""

    def write(means: dict[int, list[float]], maps: dict[int, list[int]] | None = None) -> Path:
        truth = [0.4, 0.4, 0.2, 0.2, 0.1, 0.1, 0.3, 0.3]
        header = ["data", "experiment", "train_suite", "test_suite", "seed", "simulation", "map"]
        header += [f"{name}_{kind}" for name in ("Omega_m", "sigma_8") for kind in ("true", "mean", "std")]
        with gzip.open(tmp_path / "predictions.csv.gz", "wt", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(header)
            rows.writerow(["MOCK DATA", "mean map", "A", "A", 0, 0, 0, *[9.0] * 6])
            for seed, values in means.items():
                for place, (theta, mean) in enumerate(zip(truth, values, strict=True)):
                    number = (maps or {}).get(seed, range(8))[place]
                    rows.writerow(
                        ["MOCK DATA", "four pairs", "A", "A", seed, place // 2, number, *[theta, mean, 0.1] * 2]
                    )
        return tmp_path

    return write


def test_quarters_are_of_rising_Omega_m(letter_details, table):
    means = [0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.3, 0.3]
    numbers = letter_details.read_pairs(table({0: means}))["MOCK DATA: A -> A"]["Omega_m"].numbers()
    assert numbers["largest Omega_m of each quarter"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert np.ravel(numbers["reduced chi^2 by quarters"]) == pytest.approx([1, 0, 0, 0])
    assert np.ravel(numbers["relative bias by quarters"]) == pytest.approx([1, 0, 0, 0])
    assert numbers["reduced chi^2"] == pytest.approx([1 / 4])
    assert numbers["bias"] == pytest.approx([0.1 / 4])


def test_opposite_seeds_cancel_in_their_average(letter_details, table):
    up, down = [0.44, 0.36, 0.22, 0.18, 0.11, 0.09, 0.33, 0.27], [0.36, 0.44, 0.18, 0.22, 0.09, 0.11, 0.27, 0.33]
    numbers = letter_details.read_pairs(table({0: up, 1: down}))["MOCK DATA: A -> A"]["Omega_m"].numbers()
    assert numbers["rms relative error"] == pytest.approx([0.1, 0.1])
    assert numbers["correlation of the errors of two seeds"] == pytest.approx([-1])
    assert numbers["rms relative error of the seeds' average"] == pytest.approx(0, abs=1e-12)
    assert numbers["rms relative error of simulations"] == pytest.approx([0, 0], abs=1e-12)  # maps err up and down


def test_an_error_of_the_whole_simulation_survives_the_average_over_its_maps(letter_details, table):
    means = [0.44, 0.44, 0.18, 0.18, 0.11, 0.11, 0.27, 0.27]
    numbers = letter_details.read_pairs(table({0: means, 1: means}))["MOCK DATA: A -> A"]["sigma_8"].numbers()
    assert numbers["rms relative error of simulations"] == pytest.approx([0.1, 0.1])
    assert numbers["rms relative error of the seeds' average"] == pytest.approx(0.1)
    assert numbers["correlation of the errors of two seeds"] == pytest.approx([1])


@pytest.mark.parametrize("damage", ["nothing there", "truncated", "garbled", "other maps", "no four pairs"])
def test_what_cannot_be_read_is_refused_in_one_line(letter_details, table, damage, monkeypatch, capsys):
    maps = {1: list(range(8, 16))} if damage == "other maps" else None
    folder = table({0: [0.1] * 8, 1: [0.2] * 8} if damage != "no four pairs" else {}, maps)
    path = folder / "predictions.csv.gz"
    if damage == "nothing there":
        path.unlink()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-20])
    if damage == "garbled":
        path.write_bytes(path.read_bytes()[:40] + b"\xff" * 60)
    monkeypatch.setattr(sys, "argv", ["letter_details", str(folder)])
    with pytest.raises(SystemExit) as refusal:
        letter_details.run(letter_details.main)
    assert refusal.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
