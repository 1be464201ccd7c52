import math

import pytest

from fieldlevel import console
from fieldlevel.progress import Progress


def test_without_a_terminal_a_task_reports_now_and_then_and_at_its_end(monkeypatch, capsys):
    clock = iter([0.0, 1.0, 16.0, 17.0, 18.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    with console.progress_display() as listener:
        for done in range(1, 6):
            listener(Progress("simulate", done, 5, "simulations", "x" if done == 5 else ""))
    assert capsys.readouterr().err.splitlines() == [
        "simulate: 3/5 simulations 0:00:16 left",
        "simulate: 5/5 simulations x",
    ]


def test_a_task_that_begins_again_is_timed_anew(monkeypatch, capsys):
    clock = iter([0.0, 100.0, 200.0, 201.0, 216.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
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
    assert "Omega_m      50.0%     50.0%  0.50  0.50" in capsys.readouterr().out


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
