from pathlib import Path

import numpy as np
import pytest

from fieldlevel.cli import main
from fieldlevel.demo import EXAMPLES, NETWORK, SUITES, in_characters, run_demo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return run_demo(tmp_path_factory.mktemp("demo") / "figure.pdf", "cpu")


@pytest.mark.parametrize("suite", SUITES)
def test_the_maps_of_the_package_are_those_of_the_examples(suite):
    assert (EXAMPLES / f"{suite}.npy").read_bytes() == (ROOT / "examples" / f"{suite}.npy").read_bytes()


def test_the_truth_is_within_the_error_bars_on_the_networks_own_suite(found):
    mean, std = found.moments(NETWORK)
    assert mean.shape == std.shape == (len(found.maps[NETWORK]), 2)
    assert (abs(mean - [0.3, 0.8]) < 3 * std).all()
    assert (abs(found.sigmas_off(NETWORK)) < 2).all()
    assert found.sigmas_off(NETWORK) == pytest.approx(((mean - [0.3, 0.8]) / std).mean(0))


def test_it_tells_maps_truth_and_trust_in_80_columns_and_draws_one_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    path = tmp_path / "figure.png"
    assert main(["demo", "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert lines[0].startswith("MOCK DATA: ")
    assert [line.split() for line in lines if line.startswith("truth")] == [["truth", "0.3", "0.8"]]
    assert sum(line.startswith("trust: ") for line in lines) == len(SUITES)
    assert all(f"{suite} {number}  " in printed for suite in SUITES for number in range(3))
    assert max(len(line) for line in lines if str(tmp_path) not in line and "/" not in line) <= 80
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


def test_a_figure_of_another_format_is_refused_before_the_network_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fieldlevel.demo.run_demo", None)
    assert main(["demo", "--out", str(tmp_path / "figure.jpg")]) == 2
    assert "a figure is .pdf or .png" in capsys.readouterr().err


def test_characters_show_where_the_mass_is():
    image = np.ones((64, 64))
    image[48:, :8] = 100.0  # at the right, at the bottom
    lines = in_characters(image, 16)
    assert len(lines) == 8
    assert {len(line) for line in lines} == {16}
    assert lines[-1] == 12 * " " + 4 * "@"
    assert set("".join(lines[:-1])) == {" "}
    assert in_characters(7 * image, 16) == lines
