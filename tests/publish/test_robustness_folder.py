"""The committed folder of a robustness study: whole, marked as mock, and never made of half a study."""

import json
import sys

import numpy as np
import pytest
from toy import latin_hypercube, toy_maps

from fieldlevel.cli import main
from fieldlevel.layout import Layout
from fieldlevel.publish import robustness_folder
from fieldlevel.publish.refusals import exit_on_refusal
from fieldlevel.publish.results_folder import replaced_whole

SUITES = ("MockTNG", "MockSIMBA", "MockAstrid")
SETTINGS = """
methods = ["pooled"]
adapt_with = ["pooled"]
parts = ["leave one out"]
seeds = 1
choice_part = 0.2
[train]
batch_size = 8
n_steps = 2
validate_every = 2
statistics_batches = 1
head_batches = 1
[train.split]
train = 0.8
validation = 0.1
[train.network]
hidden = 1
"""


def study(place, suites):
    theta = latin_hypercube(Layout(), 20, 0)
    folder = place / "cmd"
    folder.mkdir()
    for number, suite in enumerate(suites):
        np.save(folder / f"Maps_Mtot_{suite}_LH_z=0.00.npy", toy_maps(theta, Layout(), 16, number))
        np.savetxt(folder / f"params_LH_{suite}.txt", theta, fmt="%.6f")
    (place / "settings.toml").write_text(SETTINGS)
    return ["robustness", "--data", str(folder), "--out", str(place / "out"), "--device", "cpu"]


@pytest.fixture
def gather(monkeypatch):
    def run(folder, out):
        monkeypatch.setattr(sys, "argv", ["robustness_folder", str(folder), "--out", str(out)])
        try:
            exit_on_refusal(robustness_folder.main)
        except SystemExit as refusal:
            return refusal.code
        return 0

    return run


def test_the_folder_is_whole_small_and_marked_and_its_spec_is_the_study(tmp_path, gather, capsys):
    command, out = study(tmp_path, SUITES), tmp_path / "results" / "robustness"
    assert main([*command, "--config", str(tmp_path / "settings.toml")]) == 0
    assert gather(tmp_path / "out", out) == 0
    assert {path.name for path in out.iterdir()} == robustness_folder.MADE
    assert not list(out.rglob("*.pdf"))
    readme = (out / "README.md").read_text()
    assert readme.startswith("# MOCK DATA")
    assert all(name in readme for name in robustness_folder.MADE - {"README.md"})
    document = json.loads((out / "summary.json").read_text())
    assert f"| {document['worst_ratio_leave_one_out']:.2f} |" in readme
    assert readme.count("| not done |") == 1
    capsys.readouterr()
    assert main([*command, "--config", str(out / "spec.json"), "--plan"]) == 0
    row = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("together"))
    assert row[2] == "0"
    assert gather(tmp_path / "out", out) == 0
    assert (out / "README.md").read_text() == readme
    (out / "mine.txt").touch()
    assert gather(tmp_path / "out", out) == 2
    assert "mine.txt, which was not made here" in capsys.readouterr().err
    (out / "mine.txt").unlink()
    with pytest.raises(KeyboardInterrupt), replaced_whole(out, robustness_folder.MADE):
        out.rename(out.with_name(".before.robustness"))  # as if it were interrupted between the two names
        raise KeyboardInterrupt
    assert (out / "README.md").read_text() == readme
    (tmp_path / "out" / "report.html").unlink()
    assert gather(tmp_path / "out", tmp_path / "new") == 2
    assert "not of a finished study" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
