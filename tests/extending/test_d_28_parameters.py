"""(d) A set of 28 parameters, told by a table of ranges beside the maps: check, train, evaluate, report."""

import csv
import json
from dataclasses import replace

import numpy as np
from toy import TOY_LETTER, TOY_TRAIN

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter

KNOBS = (Parameter(f"Knob_{number}", low=0.5, high=2.0, logarithmic=True, fiducial=1.0) for number in range(26))
LAYOUT = replace(Layout(), parameters=(*CAMELS_PARAMETERS[:2], *KNOBS))


def write_ranges(path):
    rows = [[each.name, int(each.logarithmic), each.fiducial, each.low, each.high] for each in LAYOUT.parameters]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["ParamName", "LogFlag", "FiducialVal", "MinVal", "MaxVal"], *rows])


def write_suites(write_suite, page):
    for seed, suite in enumerate(("Mine", "Yours")):
        folder = write_suite(suite, LAYOUT, "SB28", seed=seed)
        (folder / f"layout_SB28_{suite}.json").write_text(page.layout)
    write_ranges(folder / "Info_SB28.csv")
    return folder


def test_check_train_and_evaluate(write_suite, page, place, capsys):
    folder = write_suites(write_suite, page)
    assert main(["check", "cmd"]) == 0
    suite = fieldlevel.open_suite(folder, "Mine", set_name="SB28")
    assert suite.parameters.shape == (10, 28)
    assert suite.layout.names == LAYOUT.names
    small = ("--network.hidden", "1", "--suite", "Mine", "--set", "SB28")
    assert main(["train", "--data", "cmd", "--out", "run", *small, *TOY_TRAIN]) == 0
    weights = "run/weights.safetensors"
    mean, std = fieldlevel.load(weights, "cpu").predict(suite.maps[:3])
    assert mean.shape == std.shape == (3, 28)
    evaluate = ["evaluate", weights, "--data", "cmd", "--suite", "Yours", "--set", "SB28", "--out", "tested"]
    assert main([*evaluate, "--device", "cpu"]) == 0
    columns = (place / "tested" / "predictions.csv").read_text().splitlines()[0].split(",")
    assert {"Omega_m_true", "Knob_25_mean", "Knob_25_std"} <= set(columns)
    scores = json.loads((place / "tested" / "metrics.json").read_text())["scores"]
    assert tuple(scores) == LAYOUT.names
    np.save("maps.npy", suite.maps[:2])
    assert main(["infer", weights, "maps.npy", "--device", "cpu"]) == 0
    assert "Knob_25" in capsys.readouterr().out


def test_a_letter_of_28_parameters_has_a_report(write_suite, page, place):
    write_suites(write_suite, page)
    arguments = ("--suites", "Mine", "Yours", "--train.set", "SB28", "--only", "mean map")
    assert main(["letter", "--data", "cmd", "--out", "letter", *arguments, *TOY_LETTER]) == 0
    document = json.loads((place / "letter" / "metrics.json").read_text())
    assert tuple(document["pairs"][0]["scores"]) == LAYOUT.names
    assert "<i>Knob</i><sub>25</sub>" in (place / "letter" / "report.html").read_text()
