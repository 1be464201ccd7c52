"""`infer` beyond the table of means: quantiles, samples, plots and ensembles."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.data.normalise import Normaliser
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference import predictor as predictor_module
from fieldlevel.inference.calibration import Calibration, write_calibration
from fieldlevel.inference.transfer_errors import TransferErrors
from fieldlevel.inference.trust.judging import Judging
from fieldlevel.statistics.rescaling import Rescaling
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network


def save(path: Path, mean: float, suite: str = "IllustrisTNG") -> Path:
    """A network that answers the same for all maps: this mean and a standard deviation of 0.1, in prior widths."""
    network = MomentNetwork(16, 1, 0.0, std_from="square")
    torch.nn.init.zeros_(network.head.FC2.weight)
    network.head.FC2.bias.data = torch.tensor([*6 * [mean], *6 * [0.1**0.5]])
    nobody = np.empty(0, dtype=np.int64)
    seen = {"training_simulations": nobody, "validation_simulations": nobody}
    save_network(path, network, TrainSpec(suite=suite), Normaliser(11.0, 0.5), provenance={}, **seen)
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    return save(tmp_path / "weights.safetensors", 0.5)


@pytest.fixture
def maps(tmp_path) -> Path:
    path = tmp_path / "maps.npy"
    np.save(path, 10 ** np.random.default_rng(0).normal(11, 0.5, (4, 16, 16)))
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as table:
        return list(csv.DictReader(table))


def test_quantiles_stand_beside_the_moments(weights, maps, tmp_path):
    out = tmp_path / "p.csv"
    assert main(["infer", str(weights), str(maps), "--out", str(out), "--quantiles", "0.16", "0.5"]) == 0
    (row, *_), found = rows_of(out), fieldlevel.load(weights, "cpu").posterior(np.load(maps))
    assert list(row)[-13:-1] == [f"{name}_q{p}" for name in found.names for p in ("0.16", "0.5")]
    assert float(row["sigma_8_q0.16"]) == pytest.approx(found.quantile(0.16)[0, 1])
    assert float(row["A_SN1_q0.5"]) == pytest.approx(0.25 + 3.75 / 2, abs=1e-6)


def test_without_being_asked_the_table_is_the_old_one(weights, maps):
    assert main(["infer", str(weights), str(maps)]) == 0
    columns = list(rows_of(maps.with_name("maps.posterior.csv"))[0])
    assert columns[:4] == ["map", "network", "Omega_m_mean", "Omega_m_std"]
    assert len(columns) == 15
    assert {path.name for path in maps.parent.iterdir()} == {"weights.safetensors", "maps.npy", "maps.posterior.csv"}


def measure(weights: Path, tau: float) -> str:
    """Give a network errors on another suite, those of Omega_m and sigma_8 in prior widths; what they guarantee."""
    predictor, none = fieldlevel.load(weights, "cpu"), Rescaling.none(6)
    errors = TransferErrors("other suites", ("SIMBA",), none, (tau, tau, None, None, None, None))
    write_calibration(weights, Calibration(predictor.checksum, predictor.layout.names, none, (), 0, transfer=errors))
    return errors.guarantee


@pytest.mark.parametrize("n_networks", [1, 2])
def test_error_bars_for_other_suites_are_told_where_they_were_measured(weights, maps, capsys, n_networks):
    """Standard deviations of 0.1 and tau of 0.075 of the prior, whose root sum of squares is 0.125, so 0.05 of 0.4."""
    guarantee, members = measure(weights, 0.075), [str(weights)] * (n_networks - 1)
    assert main(["infer", str(weights), str(maps), *(["--members", *members] if members else [])]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed.count("error bars if the maps are of another suite: Omega_m ± 0.050, sigma_8 ± 0.050") == 1
    assert printed.count(f"note: {guarantee}") == 1
    row = rows_of(maps.with_name("maps.posterior.csv"))[0]
    assert list(row)[-3:] == ["Omega_m_transfer_std", "sigma_8_transfer_std", "outside_prior"]
    assert float(row["Omega_m_transfer_std"]) == pytest.approx(0.05, rel=1e-5)


def test_an_ensemble_without_error_bars_for_other_suites_says_which_members_lack_them(weights, maps, tmp_path, capsys):
    """Where none has them there is nothing to say, as of a network without."""
    other = save(tmp_path / "other.safetensors", 0.7)
    assert main(["infer", str(weights), str(maps), "--members", str(other)]) == 0
    assert "other suite" not in capsys.readouterr().out
    measure(weights, 0.075)
    assert main(["infer", str(weights), str(maps), "--members", str(other)]) == 0
    told = f"note: no error bars for maps of another suite: 1 of 2 members lack them ({other})"
    assert [line for line in capsys.readouterr().out.splitlines() if "another suite" in line] == [told]
    assert "transfer" not in "".join(rows_of(maps.with_name("maps.posterior.csv"))[0])


@pytest.mark.parametrize(("field", "is_told"), [("Mtot", False), ("Mgas", True)])
def test_a_file_of_another_field_is_told(weights, maps, capsys, field, is_told):
    path = maps.rename(maps.with_name(f"Maps_{field}_Mine_CV_z=0.00.npy"))
    assert main(["infer", str(weights), str(path)]) == 0
    told = "note: the network was trained on Mtot, and the name of the file tells Mgas"
    assert (told in capsys.readouterr().out.splitlines()) == is_told


def test_of_many_maps_the_first_are_printed(weights, maps, capsys):
    np.save(maps, np.concatenate([np.load(maps)] * 3))
    assert main(["infer", str(weights), str(maps)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[10].startswith("9 ")
    assert lines[11] == "... and 2 more"


def test_samples_lie_beside_the_table(tmp_path, maps, capsys):
    weights, out = save(tmp_path / "mock.safetensors", 0.5, "MockTNG"), tmp_path / "p.csv"
    assert main(["infer", str(weights), str(maps), "--out", str(out), "--samples", "50", "--seed", "3"]) == 0
    assert f"samples: {tmp_path / 'p.samples.npz'}" in capsys.readouterr().out
    with np.load(tmp_path / "p.samples.npz", allow_pickle=False) as file:
        assert file["samples"].shape == (50, 4, 6)
        expected = fieldlevel.load(weights, "cpu").posterior(np.load(maps)).sample(50, seed=3)
        np.testing.assert_allclose(file["samples"], expected, rtol=1e-6)
        assert file["names"].tolist()[:2] == ["Omega_m", "sigma_8"]
        assert (str(file["network"]), bool(file["joint"]), int(file["seed"])) == ("MockTNG (MOCK DATA)", False, 3)


@pytest.mark.parametrize(("name", "beginning"), [("plot.png", b"\x89PNG"), ("plot.PDF", b"%PDF")])
def test_a_plot_has_the_format_of_its_name(weights, maps, tmp_path, capsys, name, beginning):
    assert main(["infer", str(weights), str(maps), "--plot", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes().startswith(beginning)
    assert f"plot: {tmp_path / name}" in capsys.readouterr().out


def test_several_networks_answer_as_an_ensemble(weights, maps, tmp_path):
    other, out = save(tmp_path / "other.safetensors", 0.7), tmp_path / "p.csv"
    assert main(["infer", str(weights), str(maps), "--out", str(out), "--members", str(other)]) == 0
    row = rows_of(out)[0]
    assert row["network"] == "2 networks on IllustrisTNG"
    assert float(row["Omega_m_mean"]) == pytest.approx(0.1 + 0.4 * 0.6, abs=1e-6)
    assert float(row["Omega_m_std"]) == pytest.approx(0.4 * (0.1**2 + 0.1**2) ** 0.5, rel=1e-5)


def test_some_parameters_are_answered_alone(weights, maps, tmp_path, capsys):
    out = tmp_path / "p.csv"
    assert main(["infer", str(weights), str(maps), "--out", str(out), "--outputs", "sigma_8", "--samples", "3"]) == 0
    assert "Omega_m" not in capsys.readouterr().out
    row = rows_of(out)[0]
    assert [name for name in row if name.endswith("_mean")] == ["sigma_8_mean"]
    with np.load(tmp_path / "p.samples.npz", allow_pickle=False) as file:
        assert file["names"].tolist() == ["sigma_8"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--quantiles", "16"], "--quantiles 16.0: give probabilities between 0 and 1"),
        (["--samples", "0"], "--samples 0: give the number of samples"),
        (["--samples", str(10**20)], "--samples 100000000000000000000: give the number"),
        (["--seed", str(2**70)], "--seed 1180591620717411303424: give a whole number"),
        (["--quantiles", "nan"], "--quantiles nan: give probabilities"),
        (["--seed", "-1"], "--seed -1: give a whole number"),
        (["--plot", "plot.txt"], "plot.txt: a figure is .pdf or .png"),
        (["--plot", "maps.npy"], "maps.npy: a figure is"),
        (["--members", "none.safetensors"], "none.safetensors: "),
        (["--outputs", "h"], "outputs = h: "),
        (["--quantiles", "0.5", "0.5"], "--quantiles: two of them are 0.5 in the names of the columns"),
        (["--quantiles", "0.1", "0.5000001", "0.5"], "--quantiles: two of them are 0.5 in the names of the columns"),
        (["--out", "q.png", "--plot", "q.png"], "q.png: two files of one name, q.png too"),
        (["--out", "q.png", "--plot", "./new/../q.png"], "new/../q.png: two files of one name, q.png too"),
        (["--out", "linked.png", "--plot", "q.png"], "q.png: two files of one name, linked.png too"),
        (["--out", "weights.calibration.json"], "weights.calibration.json: is read with the weights beside it"),
        (["--out", "weights.trust.safetensors"], "weights.trust.safetensors: is read with the weights beside it"),
        (["--out", "linked.csv"], "linked.csv: is read with the weights beside it"),
        (["--samples", str(10**9)], "1000000000 samples of 4 maps need at least 1.34e+03 GB of memory"),
    ],
)
def test_what_cannot_be_is_refused_before_the_network_runs(weights, maps, capsys, monkeypatch, more, words):
    monkeypatch.chdir(maps.parent)
    Path("new").mkdir()
    Path("linked.png").symlink_to("q.png")
    Path("linked.csv").symlink_to("weights.trust.safetensors")
    monkeypatch.setattr(predictor_module.Predictor, "posterior", lambda *given, **named: pytest.fail("runs"))
    assert main(["infer", str(weights), str(maps), *more]) == 2
    assert capsys.readouterr().err.startswith(f"fieldlevel: {words}")
    assert not maps.with_name("maps.posterior.csv").exists()


def test_what_lies_beside_the_weights_of_any_member_stays(weights, maps, tmp_path, capsys):
    other, reference = save(tmp_path / "other.safetensors", 0.7), tmp_path / "other.trust.safetensors"
    (tmp_path / "hard.csv").write_text("{}")
    reference.hardlink_to(tmp_path / "hard.csv")
    for out in (reference.name, "hard.csv", "other.calibration.json"):
        given = ["infer", str(weights), str(maps), "--members", str(other), "--out", str(tmp_path / out)]
        assert main(given) == 2
        told = capsys.readouterr().err
        assert told == f"fieldlevel: {given[-1]}: is read with the weights beside it; give the new file another name\n"
    assert reference.read_text() == "{}"
    assert not (tmp_path / "other.calibration.json").exists()


def test_what_trust_says_stands_beside_the_numbers(weights, maps, capsys, monkeypatch):
    class Trust:
        sentence = "these maps are like the training's (p = 0.4)"
        remarks = ()

    monkeypatch.setattr(Judging, "verdict", lambda self: Trust())
    assert main(["infer", str(weights), str(maps)]) == 0
    assert "like the training's (p = 0.4)\n" in capsys.readouterr().out
