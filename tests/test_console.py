import math
from dataclasses import replace

import numpy as np
import pytest

from fieldlevel import console, progress_bars
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.progress import Progress


def test_without_a_terminal_a_task_reports_now_and_then_and_at_its_end(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 16.0, 17.0, 18.0])
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: next(clock))
    with console.progress_display() as listener:
        for done in range(1, 6):
            listener(Progress("simulate", done, 5, "simulations", "x" if done == 5 else ""))
    assert capsys.readouterr().err.splitlines() == [
        "simulate: 3/5 simulations 0:00:16 left",
        "simulate: 5/5 simulations x",
    ]


def test_a_task_that_begins_again_is_timed_anew(monkeypatch, capsys):
    clock = iter([0.0, 100.0, 200.0, 201.0, 216.0])
    monkeypatch.setattr(progress_bars.time, "monotonic", lambda: next(clock))
    with console.progress_display() as listener:
        for done in (1, 5, 1, 2, 3):
            listener(Progress("train", done, 5, "steps"))
    assert capsys.readouterr().err.splitlines() == ["train: 5/5 steps", "train: 3/5 steps 0:00:16 left"]


def test_an_error_is_one_line(capsys):
    console.error("first\n  second")
    assert capsys.readouterr().err == "fieldlevel: first second\n"


def test_a_score_of_too_few_simulations_has_no_error(capsys, tmp_path):
    scores = {key: {"value": 0.5, "error": math.nan} for key in console._MEASURES}
    console.print_scores("a test", {"Omega_m": scores}, tmp_path)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["Omega_m", "50.0%", "50.0%", "0.50", "0.50"] in rows


@pytest.mark.parametrize("width", ["80", "200"])
def test_pair_table_fits_a_terminal(monkeypatch, capsys, tmp_path, width):
    monkeypatch.setenv("COLUMNS", width)
    estimate = {"value": 0.123, "error": 0.011}
    scores = {
        name: dict.fromkeys(("rms_relative_error", "mean_relative_std", "r2", "reduced_chi2"), estimate)
        for name in ("Omega_m", "sigma_8")
    }
    pair = {"train_suite": "MockSIMBA", "test_suite": "Nbody_MockSIMBA", "scores": scores}
    console.print_letter({"pairs": [pair], "verdicts": [], "data_mark": "MOCK DATA"}, tmp_path)
    printed = capsys.readouterr().out
    assert "MockSIMBA → Nbody_MockSIMBA" in printed
    assert printed.count("12.3 ± 1.1%") == 4
    assert printed.count("0.12 ± 0.01") == 4
    assert "MOCK DATA" in printed


def estimates(names):
    return {name: {key: {"value": 0.123, "error": 0.011} for key in console._MEASURES} for name in names}


def test_pairs_are_told_of_the_cosmological_parameters_of_the_document(capsys, tmp_path):
    pair = {"train_suite": "A", "test_suite": "B", "scores": estimates(("Omega_m", "A_SN1[MockTNG]", "h"))}
    whole = {"pairs": [pair], "verdicts": [], "data_mark": ""}
    for extra, shown in (({}, ["Omega_m"]), ({"cosmological": ["Omega_m", "h"]}, ["Omega_m", "h"])):
        console.print_letter(whole | extra, tmp_path)
        rows = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "12.3" in line]
        assert rows == shown
    alone = {**whole, "pairs": [{**pair, "scores": estimates(["A_SN1[MockTNG]"])}]}
    console.print_letter(alone, tmp_path)
    printed = capsys.readouterr().out
    assert "A_SN1[MockTNG]" in printed
    assert printed.startswith("1 pair")


def test_a_score_without_a_truth_is_undefined(capsys, tmp_path):
    scores = {key: {"value": "nan", "error": "nan"} for key in console._MEASURES}
    console.print_scores("a test", {"A_SN1[MockTNG]": scores}, tmp_path)
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("A_SN1[MockTNG]"))
    assert row.split()[1:] == ["undefined"] * 4


@pytest.mark.parametrize(
    ("parameters", "names"),
    [
        (CAMELS_PARAMETERS, ["Omega_m", "sigma_8"]),
        ((CAMELS_PARAMETERS[2].of_suite("MockTNG"),), ["A_SN1[MockTNG]"]),
        ((*CAMELS_PARAMETERS, Parameter("h", cosmological=True)), ["Omega_m", "sigma_8", "h"]),
    ],
)
def test_posteriors_are_those_of_the_cosmological_columns(capsys, parameters, names):
    layout = replace(Layout(), parameters=parameters)
    mean = np.arange(2 * len(parameters), dtype=float).reshape(2, -1) + 1
    console.print_posteriors(mean, 0.1 + 0 * mean, layout)
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["map", *names]
    told = [f"{mean[0, layout.column(name)]:.2f}" for name in names]
    assert rows[0].replace(" ± 0.10", "").split() == ["0", *told]


def test_maps_outside_the_prior_are_told_with_the_parameters_that_tell_it(capsys):
    for names, words in ((["h"], "h"), (["a", "b"], "a or b"), (["a", "b", "c"], "a, b or c")):
        console.print_outside([3], names)
        assert f"with {words} wider than or outside the prior: 1 map (3)" in capsys.readouterr().out


@pytest.mark.parametrize("n", [2, 5, 35])
def test_posteriors_of_many_parameters_fit_80_columns(monkeypatch, capsys, n):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"parameter_{number}" for number in range(n)]
    layout = replace(Layout(), parameters=tuple(Parameter(name, cosmological=True) for name in names))
    mean = np.arange(2 * n, dtype=float).reshape(2, n) / n
    console.print_posteriors(mean, 0.01 + 0 * mean, layout)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    headings = [line.split() for line in lines if line.startswith("map")]
    assert [name for each in headings for name in each[1:]] == names
    assert len([line for line in lines if line.startswith("1 ")]) == len(headings)
    assert sum(line.count("±") for line in lines) == 2 * n


def test_trials_of_many_settings_fit_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    names = [f"a_long_setting_{number}" for number in range(9)]
    trials = [
        {"number": str(i), "value": str(-i), **dict.fromkeys(names, "0.123456"), "state": "complete", "error": ""}
        for i in range(3)
    ]
    console.print_trials("MockTNG", trials, 2)
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == "MockTNG: best of 3 trials, 3 of them complete · MOCK DATA"
    assert all(name.replace("_", " ") in " ".join(lines) for name in names)
    assert [line.split()[:2] for line in lines[2:4]] == [["2", "-2"], ["1", "-1"]]


def test_error_bars_of_long_names_fit_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    estimate = {"value": 0.68, "error": 0.02}
    row = {
        "coverage": {"0.68": estimate, "0.95": estimate},
        "quarters": [{"0.68": estimate}] * 4,
        "uniformity": {"p_value": 0.5},
    }
    console.print_error_bars({"error_bars": {"A_AGN1[IllustrisTNG]": row}})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[-2].split() == ["A_AGN1[IllustrisTNG]", *2 * ["0.68", "±", "0.02"], *4 * ["0.68"], "0.50"]


def correlation(pair, claimed, found, error=0.02):
    estimates = {"claimed": {"value": claimed, "error": error}, "found": {"value": found, "error": error}}
    return {"parameters": list(pair), **estimates}


def test_correlations_are_told_of_the_cosmology_and_of_what_is_above_the_noise(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    pairs = [
        correlation(("Omega_m", "sigma_8"), 0.01, 0.0),
        correlation(("Omega_m", "A_SN1"), 0.2, 0.21),
        correlation(("sigma_8", "A_SN1"), 0.02, 0.05),
        correlation(("sigma_8", "A_AGN1[IllustrisTNG]"), -0.5, 0.0),
    ]
    console.print_error_bars({"error_bars": {}, "correlations": pairs})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    told = [line.partition("  ")[0] for line in lines if "±" in line]
    assert told == ["Omega_m, sigma_8", "sigma_8, A_AGN1[IllustrisTNG]", "Omega_m, A_SN1"]
    assert lines[-1] == "1 other pair, weaker or within the noise: metrics.json"
    assert max(map(len, lines)) <= 80


def test_correlations_of_many_parameters_are_not_all_told(capsys):
    pairs = [correlation((f"a{i}", f"a{j}"), 0.3, 0.3) for i in range(8) for j in range(i)]
    console.print_error_bars({"error_bars": {}, "correlations": pairs, "cosmological": ["a0", "a7"]})
    rows = [line for line in capsys.readouterr().out.splitlines() if "±" in line]
    assert len(rows) == console.N_PAIRS_SHOWN
    assert rows[0].startswith("a7, a0 ")


def test_what_the_scores_say_fits_80_columns_and_small_p_values_are_not_zero(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    console.print_scores("a test", estimates(["A_AGN1[IllustrisTNG]"]), tmp_path)
    estimate = {"value": -0.02, "error": 0.01}
    row = {
        "coverage": {"0.68": estimate, "0.95": estimate},
        "quarters": [{"0.68": estimate}] * 4,
        "uniformity": {"p_value": 1e-4},
    }
    console.print_error_bars({"error_bars": {"Omega_m": row}, "tarp": {"area": estimate, "width": estimate}})
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines() if str(tmp_path) not in line]
    assert max(map(len, lines)) <= 80
    assert sum(line.endswith("<0.01") for line in lines) == 1
    headings = " ".join(lines)
    assert all(each in headings for each in ("rms relative", "reduced χ²", "coverage", "at 68%", "R²: 1 is perfect"))
