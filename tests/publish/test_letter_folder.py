"""The committed folder of a letter: whole, marked as mock, the same each time, and never made of half a letter."""

import csv
import gzip
import hashlib
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fieldlevel.cli import parse
from fieldlevel.layout import Layout
from fieldlevel.publish import letter_folder
from fieldlevel.publish.letter_command import letter_command
from fieldlevel.publish.letter_tables import errors_of_means, seed_table, total_words
from fieldlevel.publish.refusals import exit_on_refusal
from fieldlevel.report.letter_files import write_letter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, evaluate
from fieldlevel.statistics.pairs import PairResult, write_predictions
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.runner import run_letter
from fieldlevel.study.scales import laptop_scale, letter_scale
from fieldlevel.training.train_spec import TrainSpec

PARAMETER_NAMES = Layout().names


@pytest.fixture(scope="module")
def finished(tiny_letter, with_maps, blank_figures, tmp_path_factory) -> Path:
    """A letter of two seeds, with its searches, whose maps are gone, beside a network of an earlier one."""
    few = ("mean map", "power", "hydro", "N-body", "smoothing")
    spec = replace(tiny_letter, seeds=2, only=few, k_max=(), map_trials=0, one_parameter_seeds=0)
    out = with_maps(tmp_path_factory.mktemp("letter") / "out")
    data = prepare_data(spec, None, out, device="cpu")
    with blank_figures():
        write_letter(out, run_letter(spec, data, out, device="cpu"))
    for path in out.glob("data/*/Maps_*.npy"):
        path.unlink()
    shutil.copytree(one(out, "runs/train-MockTNG-*"), out / "runs" / "train-MockTNG-ffffffffffff")
    return out


@pytest.fixture
def gather(monkeypatch):
    def run(folder: Path, out: Path, *flags: str) -> int:
        monkeypatch.setattr(sys, "argv", ["letter_results", str(folder), "--out", str(out), *flags])
        try:
            exit_on_refusal(letter_folder.main)
        except SystemExit as refusal:
            return int(refusal.code)
        return 0

    return run


@pytest.fixture
def committed(gather, finished, tmp_path) -> Path:
    assert gather(finished, tmp_path / "results" / "mock", "--name-of-run", "a tiny letter") == 0
    return tmp_path / "results" / "mock"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_is_whole_small_and_marked(committed, capsys):
    assert {path.name for path in committed.iterdir()} == letter_folder.MADE
    assert [path.name for path in committed.parent.iterdir()] == ["mock"]
    assert {path.suffix for path in (committed / "figures").iterdir()} == {".png"}
    readme = (committed / "README.md").read_text()
    assert readme.startswith("# MOCK DATA: a tiny letter\n\nMOCK DATA: ")
    assert all(name in readme for name in letter_folder.MADE - {"README.md"})


@pytest.mark.parametrize("page", ["README.md", "report.md"])
def test_links_lead_to_files_of_the_folder(committed, page):
    links = re.findall(r"\]\(([^)]+)\)", (committed / page).read_text())
    assert "figures/fig2_four_pairs.png" in links
    assert all((committed / link).is_file() for link in links)


def test_the_same_letter_gives_the_same_bytes(committed, gather, finished):
    before = contents(committed)
    assert gather(finished, committed, "--name-of-run", "a tiny letter") == 0
    assert contents(committed) == before
    assert not any(before["predictions.csv.gz"][4:8])  # the time
    assert gzip.decompress(before["predictions.csv.gz"]) == (finished / "predictions.csv").read_bytes()


def test_a_letter_whose_weights_were_taken_away_gives_the_same_folder(gather, finished, committed, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    for path in (tmp_path / "copy").rglob("weights.safetensors"):
        path.unlink()
    assert gather(tmp_path / "copy", tmp_path / "again", "--name-of-run", "a tiny letter") == 0
    before, after = ({**contents(folder), "README.md": b""} for folder in (committed, tmp_path / "again"))
    assert after == before
    assert b"weights_sha256" in after["networks.csv"]


def test_every_trained_network_has_a_row(committed, finished):
    rows = list(csv.DictReader((committed / "networks.csv").read_text().splitlines()))
    weights = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in finished.glob("runs/train-*/*.s*s")}
    assert sorted(row["weights_sha256"] for row in rows) == sorted(weights)
    for row in rows:
        assert row["data"] == "MOCK DATA"
        folder = weights[row["weights_sha256"]].parent
        *_, last = csv.DictReader((folder / "history.csv").read_text().splitlines())
        assert folder.name.startswith(f"train-{row['suite']}-")
        assert (float(row["seconds"]), row["steps"]) == (float(last["seconds"]), last["step"])
    shared = [row for row in rows if row["experiments"].startswith("four pairs; mean map")]
    assert [(row["suite"], row["seed"]) for row in shared] == [("MockTNG", "0"), ("MockSIMBA", "0")]


def test_readme_has_both_seeds_and_the_letters_networks(committed):
    readme = (committed / "README.md").read_text()
    assert "| MockTNG → MockSIMBA | sigma_8 | 2 |" in readme
    assert "6 of the eight networks of the letter: " in readme
    assert "; not trained: smoothing 2 px, smoothing 3 px\n" in readme
    assert "for 2 trials" in readme


def document_of(rmse: dict[tuple[str, str, int], float]) -> dict:
    def scores(value: float) -> dict:
        estimate = Estimate(value, 0.0, 0.0, 0.0).to_json()
        return {name: dict.fromkeys(METRICS, estimate) for name in PARAMETER_NAMES}

    pairs = [
        {"train_suite": trained, "test_suite": tested, "seed": seed, "scores": scores(value)}
        for (trained, tested, seed), value in rmse.items()
    ]
    return {"experiments": {"four pairs": pairs}, "weights": {"A": "", "B": ""}}


def test_scatter_over_the_seeds_is_that_of_the_ratio_of_each_seed():
    rmse = {("A", "A", 0): 0.1, ("A", "B", 0): 0.2, ("A", "A", 1): 0.2, ("A", "B", 1): 0.8}
    of_means = {("A", tested, name): 0.1234 for tested in "AB" for name in PARAMETER_NAMES}
    own, _, other, _ = seed_table(document_of(rmse), of_means).splitlines()[2:]
    assert own == "| A → A | Omega_m | 2 | 15.0 ± 7.1% | 12.34% | – |"
    assert other == "| A → B | Omega_m | 2 | 50 ± 42% | 12.34% | 3.0 ± 1.4 |"


def test_the_average_of_the_seeds_errs_less(tmp_path):
    """Of two networks that are off by +10% and -10% on every map, and by 4% both on the last."""

    def off_by(off: float, seed: int) -> PairResult:
        theta = np.tile([0.5, 0.8, 1, 1, 1, 1], (4, 1))
        mean = theta.copy()
        mean[:, 0] *= 1 + np.array([off, off, off, 0.04])
        predictions = Predictions(theta, mean, theta, np.arange(4), np.arange(4))
        return PairResult("A", "B", predictions, evaluate(predictions, 2), seed)

    path = tmp_path / "predictions.csv"
    far = {"four pairs": 0.1, "smoothing 1 px": 0.9}
    write_predictions(path, {name: [off_by(off, 0), off_by(-off, 1)] for name, off in far.items()})
    errors = errors_of_means(path)
    assert errors == {("A", "B", "Omega_m"): pytest.approx(0.02), ("A", "B", "sigma_8"): pytest.approx(0.0)}


def test_one_seed_has_no_scatter():
    assert seed_table(document_of({("A", "A", 0): 0.1, ("A", "B", 0): 0.2}), {}) == ""


def trained(seconds: float, experiment: str, suite: str, seed: int = 0) -> SimpleNamespace:
    run = SimpleNamespace(spec=TrainSpec(suite=suite, seed=seed))
    return SimpleNamespace(experiments=(experiment, "mean map"), run=run, seconds=seconds)


def test_the_letters_eight_networks_are_counted_once():
    kinds = ["N-body to hydro", "power spectrum", *(f"smoothing {scale} px" for scale in (1, 2, 3))]
    networks = [trained(2.0**i, "four pairs", "A", seed=i) for i in range(3)] + [trained(8.0, "four pairs", "B")]
    networks += [trained(100.0, kind, "Nbody_A" if kind.startswith("N") else "A") for kind in kinds]
    networks += [trained(1e4, kind, "Nbody_B" if kind.startswith("N") else "B") for kind in kinds]
    words = total_words(networks, ("A", "B"))
    assert "all 14 networks: 50515.0 s" in words
    assert "8 of the eight networks of the letter: 511.0 s\n" in words
    assert "7 of the eight" in total_words([net for net in networks if not net.run.spec.seed], ("A", "B"))


@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize(
    "spec",
    [laptop_scale(), replace(letter_scale(), seeds=3, map_trials=20), LetterSpec(k_max=(), only=("no", "k_max"))],
)
def test_the_command_gives_the_spec(tiny_letter, spec, is_given):
    for each in (spec, replace(tiny_letter, train=replace(tiny_letter.train, seed=4))):
        command = parse(letter_command(each, is_given))
        assert (command.data is not None) == is_given
        assert replace(command.spec, simulate=each.simulate) == each
        assert is_given or command.spec == each
    assert letter_command(laptop_scale(), False) == ["letter", "--scale", "laptop"]


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[0]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def cut_lines(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))


DAMAGES = {
    "the letter is not finished": lambda out: (out / "metrics.json").unlink(),
    "metrics.json: damaged": lambda out: cut(out / "metrics.json"),
    "another version": lambda out: (out / "metrics.json").write_text('{"key": "", "format": "1"}'),
    "a report, a figure or predictions.csv is missing": lambda out: (out / "figures/fig3_nbody.pdf").unlink(),
    "not the figure of report.html": lambda out: cut(out / "figures/fig3_nbody.png"),
    "which is no figure of the letter": lambda out: (out / "report.md").write_text("![](figures/other.png)"),
    "predictions of": lambda out: cut_lines(out / "predictions.csv"),
    "which trains it": lambda out: shutil.rmtree(one(out, "runs/train-Nbody_*")),
    "damaged (history.csv is cut short)": lambda out: cut_lines(one(out, "runs/train-MockTNG-*/history.csv")),
    "damaged (": lambda out: cut(one(out, "runs/train-MockTNG-*/weights.safetensors")),
    "which makes it": lambda out: shutil.rmtree(one(out, "runs/search-*")),
    "damaged (trials.csv is cut short)": lambda out: cut_lines(one(out, "runs/search-*/trials.csv")),
    "0 folders of maps": lambda out: shutil.rmtree(out / "data"),
}


@pytest.mark.parametrize("words", DAMAGES)
def test_half_a_letter_is_refused_in_one_line(gather, finished, committed, tmp_path, capsys, words):
    before = contents(committed)
    shutil.copytree(finished, tmp_path / "copy")
    DAMAGES[words](tmp_path / "copy")
    capsys.readouterr()
    assert gather(tmp_path / "copy", committed) == 2
    printed = capsys.readouterr()
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert printed.out == ""
    assert contents(committed.parent) == {f"mock/{name}": content for name, content in before.items()}


def test_results_on_real_maps_are_not_mock_results(gather, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "copy")
    path = tmp_path / "copy" / "metrics.json"
    path.write_text(path.read_text().replace('"data_mark": "MOCK DATA"', '"data_mark": ""'))
    assert gather(tmp_path / "copy", tmp_path / "mock") == 2
    assert "not on mock suites" in capsys.readouterr().err


def test_folders_of_others_are_not_replaced(gather, finished, tmp_path, capsys):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "precious.txt").write_text("")
    assert gather(finished, tmp_path / "results") == 2
    assert "holds precious.txt, which was not made here" in capsys.readouterr().err
    assert gather(finished, tmp_path / "results" / "precious.txt") == 2
    assert [path.name for path in tmp_path.rglob("*")] == ["results", "precious.txt"]


def test_a_failure_on_the_way_leaves_the_old_folder(gather, finished, committed, monkeypatch):
    before = contents(committed)

    def fail(*_: object) -> str:
        raise OSError("no space")

    monkeypatch.setattr(letter_folder, "readme", fail)
    with pytest.raises(OSError, match="no space"):
        gather(finished, committed)
    assert contents(committed.parent) == {f"mock/{name}": content for name, content in before.items()}


def test_maps_of_another_folder_are_named(gather, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "copy")
    (data,) = (tmp_path / "copy" / "data").iterdir()
    data.rename(tmp_path / "maps")
    assert gather(tmp_path / "copy", tmp_path / "mock", "--data", str(tmp_path / "maps")) == 0
    assert "--data mock-data" in (tmp_path / "mock" / "README.md").read_text()
