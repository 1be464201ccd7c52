"""A letter of three suites: a network of each, tested on all."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from fieldlevel.console import print_letter
from fieldlevel.data.suite import Suite
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout, Parameter
from fieldlevel.report.letter_files import write_letter
from fieldlevel.report.sentences import open_questions
from fieldlevel.study.experiments.four_pairs import FourPairs
from fieldlevel.study.finished import read_finished
from fieldlevel.study.keys import FIRST
from fieldlevel.study.letter_data import LetterData, check_layouts, describe_data, prepare_data
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.runner import run_letter

SUITES = ("MockTNG", "MockSIMBA", "Third")
NAMES = ("Maps_Mtot_{}_LH_z=0.00.npy", "params_LH_{}.txt")


def add_third(directory):
    """A suite half way between the others: the mean of their maps has the mean of their labels."""
    maps, labels = (str(directory / name) for name in NAMES)
    np.save(maps.format("Third"), np.mean([np.load(maps.format(suite)) for suite in SUITES[:2]], axis=0))
    np.savetxt(labels.format("Third"), np.mean([np.loadtxt(labels.format(suite)) for suite in SUITES[:2]], axis=0))


@pytest.fixture(scope="module")
def letter(tiny_letter, with_maps, draft_figures, tmp_path_factory):
    out = with_maps(tmp_path_factory.mktemp("letter"))
    few = ("mean map", "power", "hydro", "smoothing")
    spec = replace(tiny_letter, suites=SUITES, only=few, map_trials=0, summary_trials=0)
    directory = prepare_data(replace(tiny_letter, suites=SUITES[:2]), None, out, device="cpu").directory
    add_third(directory)
    data = prepare_data(spec, directory, out, device="cpu")
    results = run_letter(spec, data, out, device="cpu")
    with draft_figures():
        return out, data, results, write_letter(out, results)


def test_every_network_is_tested_on_every_suite_its_own_first(letter):
    _, data, results, _ = letter
    assert data.suites == results.suites == SUITES
    assert [(pair.train_suite, pair.test_suite) for pair in results.pairs[:3]] == [
        ("MockTNG", "MockTNG"),
        ("MockTNG", "MockSIMBA"),
        ("MockTNG", "Third"),
    ]
    assert {(pair.train_suite, pair.test_suite) for pair in results.pairs} == set(product(SUITES, repeat=2))
    for kind in ("power spectrum", "smoothing"):
        results_of = next(tested for key, tested in results.experiments.items() if key.kind == kind)
        assert len(results_of) == 9


def test_ratios_and_verdict_are_those_of_every_ordered_pair(letter):
    _, _, results, _ = letter
    crossing = {f"{a} → {b}" for a, b in product(SUITES, repeat=2) if a != b}
    assert crossing < set(results.transfer)
    verdict = results.verdicts[0]
    assert verdict.experiment == results.first_label == "all pairs"
    assert all(f"{pair} {name}: " in verdict.measured for pair in crossing for name in ("Omega_m", "sigma_8"))
    assert "each other suite" in verdict.criterion


def test_suites_without_a_twin_have_no_gravity_only_test(letter):
    _, _, results, _ = letter
    assert {pair.train_suite for pair in results.of("hydro to N-body")} == set(SUITES[:2])


def test_the_report_has_the_matrix_and_speaks_of_no_other_suite(letter):
    out, data, results, document = letter
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "the other suite" not in text
    assert "The four pairs" not in text
    assert "## All pairs" in text
    assert "3 suites are 3 models of feedback" in text
    assert page.count(" from suite to suite</h3>") == 2
    rows = [line for line in text.splitlines() if line.startswith(("| MockTNG | ", "| Third | ")) and "own" in line]
    assert len(rows) == 4
    for pair in results.pairs:
        assert pair.scores["Omega_m"]["reduced_chi2"].text() in text
    assert len(document["pairs"]) == len(document["experiments"]["all pairs"]) == 9
    assert read_finished(out, data.key) == document


def test_the_terminal_shows_all_pairs(letter, capsys):
    out, *_, document = letter
    print_letter(document, out)
    printed = capsys.readouterr().out
    assert all(f"{a} → {b}" in printed for a, b in product(SUITES, repeat=2))


def test_predictions_name_the_experiment_as_the_report_does(letter):
    out, _, results, _ = letter
    lines = (out / "predictions.csv").read_text().splitlines()
    assert sum(line.startswith("MOCK DATA,all pairs,") for line in lines) + sum(
        line.startswith("CMD files,all pairs,") for line in lines
    ) == sum(pair.predictions.n_maps for pair in results.experiments[FIRST])


def test_suites_that_no_network_can_go_between_are_refused():
    usual = Layout()
    check_layouts({"A": usual, "B": replace(usual, parameters=usual.parameters[:2])})
    with pytest.raises(UserError, match="slabs of different size: A 5 of 25 Mpc/h, B 5 of 50 Mpc/h"):
        check_layouts({"A": usual, "B": replace(usual, box_size_mpc_h=50.0)})
    with pytest.raises(UserError, match=r"maps of different redshift: A 0\.00, B 1\.00"):
        check_layouts({"A": usual, "B": replace(usual, redshift=1.0)})
    other = replace(usual, parameters=(Parameter("Omega_M", low=0.1, high=0.5, cosmological=True),))
    with pytest.raises(UserError, match="A, B: no cosmological parameter in common"):
        check_layouts({"A": usual, "B": other})


def test_data_of_different_sizes_are_described_with_both(tmp_path):
    labels = np.full((30, 6), [0.3, 0.8, 1, 1, 1, 1])
    opened = {
        (name, "LH"): Suite(tmp_path, name, "Mtot", "LH", np.zeros((15 * n, 4, 4), np.float32), labels[:n])
        for name, n in (("A", 20), ("B", 30))
    }
    for suite in opened.values():
        suite.__dict__.update(fingerprint="0", pixel_fingerprint="0")
    facts = describe_data(LetterSpec(), LetterData(tmp_path, ("A", "B"), opened, "key"))
    assert facts["maps"] == "300 to 450 of 4 x 4 pixels a suite"
    assert facts["simulations"] == "20 to 30 a suite"
    assert facts["split"] == "18 to 27 training, 1 to 2 validation, 1 test simulations"
    assert "tested on" not in facts
    few = describe_data(LetterSpec(), LetterData(tmp_path, ("A", "B"), opened, "key"), n_tested=29)
    assert few["tested on"].startswith("29 simulations: errors")


def test_texts_follow_the_parameters_and_the_mock_suites(letter):
    """A letter whose maps lack Omega_m does not speak of it."""
    _, _, results, _ = letter
    only = [
        replace(pair, scores={name: scores for name, scores in pair.scores.items() if name != "Omega_m"})
        for pair in results.pairs
    ]
    without = replace(results, experiments={key: tuple(only) for key in results.experiments if key == FIRST})
    assert results.cosmology == "Omega_m and sigma_8"
    assert without.cosmology == "sigma_8"
    told = [plate.caption + plate.description for plate in FourPairs().plates(without)]
    assert not any("Omega_m" in text for text in told)
    assert next(open_questions(results)).startswith("The maps of MockTNG and MockSIMBA are mock data")
