"""`infer` and `evaluate`: what they flag, what they say, and whose files they replace."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fieldlevel.cli import main
from fieldlevel.data.normalise import Normaliser
from fieldlevel.data.seen import record_seen
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference.map_files import infer_file
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network

N_SIMULATIONS = 8
SPEC = TrainSpec(suite="IllustrisTNG", split=SplitSpec(train=0.5, validation=0.25))
SPLIT = split_simulations(N_SIMULATIONS, SPEC.split.seed, SPEC.split.train, SPEC.split.validation)
SUITES = ("IllustrisTNG", "SIMBA", "Nbody_IllustrisTNG")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A folder of three sound suites, 16 x 16 pixels."""
    folder = tmp_path_factory.mktemp("data")
    for seed, suite in enumerate(SUITES):
        rng = np.random.default_rng(seed)
        strata = np.array([rng.permutation(N_SIMULATIONS) for _ in Layout().names]).T
        width = Layout().highs - Layout().lows
        theta = Layout().lows + (strata + 0.5 + 0.1 * seed) / N_SIMULATIONS * width
        maps = rng.lognormal(0.0, 1.0, (N_SIMULATIONS, 3, 5, 16, 16))
        mean = Layout().mean_density(1) * theta[:, 0]
        maps *= mean[:, None, None, None, None] / maps.mean((2, 3, 4), keepdims=True)
        np.save(folder / f"Maps_Mtot_{suite}_LH_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
        np.savetxt(folder / f"params_LH_{suite}.txt", theta, fmt="%.6f")
    return folder


def save(path: Path, data: Path, spec=SPEC, mean=0.5, std=0.1) -> Path:
    """A network that answers the same for all maps: these numbers, in widths of the prior."""
    network = MomentNetwork(16, 1, 0.0, std_from="square")
    torch.nn.init.zeros_(network.head.FC2.weight)
    network.head.FC2.bias.data = torch.tensor([*6 * [mean], *6 * [std**0.5]])
    save_network(
        path,
        network,
        spec,
        Normaliser(11.3, 0.5),
        training_simulations=SPLIT.train,
        validation_simulations=SPLIT.validation,
        provenance={},
        seen=record_seen(
            open_suite(data, "IllustrisTNG", check=False), np.concatenate([SPLIT.train, SPLIT.validation])
        ),
    )
    return path


@pytest.fixture
def weights(tmp_path, data) -> Path:
    return save(tmp_path / "weights.safetensors", data)


@pytest.fixture
def maps(tmp_path, data) -> Path:
    """Four maps of a simulation that the network has not seen."""
    path = tmp_path / "maps.npy"
    first = 15 * SPLIT.test[0]
    np.save(path, np.load(data / "Maps_Mtot_IllustrisTNG_LH_z=0.00.npy")[first : first + 4])
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as table:
        return list(csv.DictReader(table))


@pytest.mark.parametrize(
    ("mean", "std", "flag"),
    [
        (0.5, 0.1, ""),
        (1.07, 0.01, "Omega_m sigma_8"),  # beyond by less than a tenth of the prior, but by seven sigma
        (1.07, 0.05, ""),
        (1.2, 0.1, "Omega_m sigma_8"),
        (-0.07, 0.01, "Omega_m sigma_8"),
        (0.5, 0.6, "Omega_m sigma_8"),
    ],
)
def test_answers_outside_the_prior_are_flagged(tmp_path, data, maps, capsys, mean, std, flag):
    weights = save(tmp_path / "weights.safetensors", data, mean=mean, std=std)
    out = tmp_path / "p.csv"
    assert main(["infer", str(weights), str(maps), "--out", str(out)]) == 0
    assert [row["outside_prior"] for row in rows_of(out)] == 4 * [flag]
    told = "unlike those of the training, with Omega_m or sigma_8 wider than or outside the prior: 4 maps (0, 1, 2, 3)"
    assert (told in capsys.readouterr().out) == bool(flag)
    assert infer_file(weights, maps, out).outside.tolist() == (list(range(4)) if flag else [])


def test_an_evaluation_counts_answers_outside_the_prior(tmp_path, data, capsys):
    weights, out = save(tmp_path / "weights.safetensors", data, mean=1.2), tmp_path / "out"
    assert main(["evaluate", str(weights), "--data", str(data), "--suite", "SIMBA", "--out", str(out)]) == 0
    assert json.loads((out / "metrics.json").read_text())["outside_prior"]["n_maps"] == 15 * len(SPLIT.test)
    assert "outside the prior: 30 maps (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": "permuted"}, "permuted labels"),
        ({"transform": TransformSpec("shuffled pixels")}, "shuffled pixels"),
        ({"transform": TransformSpec("smoothing", 2.0)}, "smoothed by 2 pixels"),
        ({"suite": "Nbody_IllustrisTNG"}, "gravity-only"),
    ],
)
def test_what_a_network_was_trained_on_is_said(tmp_path, data, maps, capsys, change, words):
    weights, out = save(tmp_path / "weights.safetensors", data, replace(SPEC, **change)), tmp_path / "out"
    assert main(["infer", str(weights), str(maps)]) == 0
    assert words in capsys.readouterr().out
    assert all(words in row["network"] for row in rows_of(maps.with_name("maps.posterior.csv")))
    assert main(["evaluate", str(weights), "--data", str(data), "--suite", "SIMBA", "--out", str(out)]) == 0
    assert words in capsys.readouterr().out
    assert words in " ".join(json.loads((out / "metrics.json").read_text())["remarks"])


def test_maps_of_the_training_are_said_to_be_that(weights, tmp_path, data, capsys):
    seen, unseen = 15 * int(SPLIT.train[0]), 15 * int(SPLIT.test[0])
    all_maps = np.load(data / "Maps_Mtot_IllustrisTNG_LH_z=0.00.npy")
    np.save(tmp_path / "mixed.npy", np.rot90(all_maps[[unseen, seen + 3, unseen + 1]], axes=(1, 2)))
    assert main(["infer", str(weights), str(tmp_path / "mixed.npy")]) == 0
    assert "note: the network was trained or validated on 1 map: 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("convert", [np.log10, lambda maps: maps / maps.mean(), lambda maps: maps * np.float32(1e-6)])
def test_maps_in_another_unit_are_refused_unless_told_otherwise(weights, maps, tmp_path, capsys, convert):
    np.save(maps, convert(np.load(maps)))
    out = tmp_path / "p.csv"
    assert main(["infer", str(weights), str(maps), "--out", str(out)]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith(f"fieldlevel: {maps}: maps 0, 1, 2, 3: mean log10 of the pixels is ")
    assert not out.exists()
    assert main(["infer", str(weights), str(maps), "--out", str(out), "--anyway"]) == 0
    assert len(rows_of(out)) == 4


def test_an_evaluation_in_another_unit_is_refused_unless_told_otherwise(tmp_path, data, weights, capsys):
    for path in data.glob("params_*"):
        (tmp_path / path.name).symlink_to(path)
    maps = np.load(data / "Maps_Mtot_SIMBA_LH_z=0.00.npy")
    np.save(tmp_path / "Maps_Mgas_SIMBA_LH_z=0.00.npy", maps * np.float32(1e-6))  # whose mass no check knows
    gas = save(tmp_path / "gas.safetensors", data, replace(SPEC, field="Mgas"))
    arguments = ["evaluate", str(gas), "--data", str(tmp_path), "--suite", "SIMBA", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "look like Msun/kpc^2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--anyway"]) == 0


def change_maps(folder: Path, data: Path, change) -> Path:
    """A folder of SIMBA alone, with these maps in the place of its own."""
    (folder / "params_LH_SIMBA.txt").symlink_to(data / "params_LH_SIMBA.txt")
    np.save(folder / "Maps_Mtot_SIMBA_LH_z=0.00.npy", change(np.load(data / "Maps_Mtot_SIMBA_LH_z=0.00.npy")))
    return folder


def of_one_simulation(factor: float):
    """These maps of simulation 3 times a factor."""
    return lambda maps: maps * np.where(np.arange(len(maps)) // 15 == 3, factor, 1).astype("<f4")[:, None, None]


OTHER_UNITS = {
    "factor": (lambda maps: maps * np.float32(0.67), "every map holds 0.67 times the mass of a slab"),
    "large factor": (lambda maps: maps * np.float32(1e-6), "every map holds 1e-06 times the mass of a slab"),
    "log10": (np.log10, "these are the log10 of the maps"),
    "overdensities": (lambda maps: maps / maps.mean(), "these are overdensities"),
    "of one": (of_one_simulation(1e-3), "another unit than the others in the maps of simulations 3"),
}


@pytest.mark.parametrize(("change", "words"), OTHER_UNITS.values(), ids=OTHER_UNITS)
def test_maps_that_do_not_hold_the_mass_of_their_labels_are_tested_anyway(
    weights, tmp_path, data, capsys, change, words
):
    arguments = evaluate_command(weights, change_maps(tmp_path, data, change), tmp_path / "out")
    assert main(arguments) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert words in message and message.endswith(", or override with --anyway (anyway=True)")
    assert main([*arguments, "--anyway"]) == 0
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: the network was tested")]
    of_unit, of_few = notes
    assert words in of_unit and ": Maps_Mtot_SIMBA_LH_z=0.00.npy: " in of_unit and " 2 simulations: " in of_few
    document = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [f"note: the network was {remark}" for remark in document["remarks"]] == notes
    assert list(document["scores"])[:2] == ["Omega_m", "sigma_8"]


def with_nan(maps):
    maps[7, 2, 5] = np.nan
    return maps * np.float32(0.67)


NO_UNIT = {
    "NaN": (with_nan, "NaN pixels in maps 7"),
    "logarithms below zero": (lambda maps: 2 * (np.log10(maps) - 11.3), "negative pixels in maps"),
    "shape": (lambda maps: 0.67 * maps[:, :8], "maps of 8 x 16 pixels"),
    "count": (lambda maps: maps[:-1] * np.float32(0.67), "119 maps, not a multiple"),
    "other labels": (lambda maps: maps[::-1], "labels of another suite or shuffled rows"),
}


@pytest.mark.parametrize(("change", "words"), NO_UNIT.values(), ids=NO_UNIT)
def test_maps_that_no_unit_explains_are_never_tested(weights, tmp_path, data, capsys, change, words):
    arguments = evaluate_command(weights, change_maps(tmp_path, data, change), tmp_path / "out")
    assert main(arguments) == 2
    assert "--anyway" not in capsys.readouterr().err
    assert main([*arguments, "--anyway"]) == 2
    assert words in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("suite", "spec"), [("Nbody_SIMBA", SPEC), ("SIMBA", replace(SPEC, suite="Nbody_Mine"))])
def test_gravity_only_maps_are_scored_in_cosmology_alone(tmp_path, data, capsys, suite, spec):
    for path in (*data.glob("*_SIMBA_LH*"), *data.glob("*LH_SIMBA*")):
        (tmp_path / path.name.replace("Mtot_SIMBA", f"Mtot_{suite}")).symlink_to(path)
    weights, out = save(tmp_path / "weights.safetensors", data, spec), tmp_path / "out"
    assert main(["evaluate", str(weights), "--data", str(tmp_path), "--suite", suite, "--out", str(out)]) == 0
    assert list(json.loads((out / "metrics.json").read_text())["scores"]) == ["Omega_m", "sigma_8"]
    assert "A_SN1" not in capsys.readouterr().out


def evaluate_command(weights: Path, data: Path, out: Path) -> list[str]:
    return ["evaluate", str(weights), "--data", str(data), "--suite", "SIMBA", "--out", str(out), "--device", "cpu"]


def test_an_evaluation_is_replaced_by_another(weights, tmp_path, data):
    out = tmp_path / "out"
    for _ in range(2):
        assert main(evaluate_command(weights, data, out)) == 0
    assert sorted(path.name for path in out.iterdir()) == ["metrics.json", "predictions.csv"]


@pytest.mark.parametrize("name", ["metrics.json", "predictions.csv"])
@pytest.mark.parametrize("content", ["", "{}", "map,mine\n1,2\n", '{"mine": 1}', "\0\xff"])
def test_files_of_somebody_else_are_left_alone(weights, tmp_path, data, capsys, name, content):
    path = tmp_path / "out" / name
    path.parent.mkdir()
    path.write_text(content, encoding="latin-1")
    assert main(evaluate_command(weights, data, path.parent)) == 2
    assert f"{path}: is there already and was not written by this command" in capsys.readouterr().err
    assert path.read_text(encoding="latin-1") == content
    assert [each.name for each in path.parent.iterdir()] == [name]


def test_a_link_or_a_pipe_in_the_place_of_a_file_is_left_alone(weights, tmp_path, data, capsys):
    out = tmp_path / "out"
    out.mkdir()
    os.mkfifo(out / "predictions.csv")
    assert main(evaluate_command(weights, data, out)) == 2
    assert "was not written by this command" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_told_before_the_work(weights, tmp_path, data, monkeypatch, capsys):
    def no_work(*arguments, **options):
        raise AssertionError

    monkeypatch.setattr("fieldlevel.inference.evaluation.evaluate_suite", no_work)
    monkeypatch.setattr("fieldlevel.data.suite.open_suite", no_work)
    monkeypatch.setattr(
        "filelock.FileLock.acquire", lambda self, **options: (_ for _ in ()).throw(PermissionError(13, "no"))
    )
    assert main(evaluate_command(weights, data, tmp_path / "out")) == 2
    assert f"{tmp_path / 'out'}: cannot be written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_stops_between_the_files_leaves_no_document_of_other_predictions(weights, tmp_path, data, monkeypatch):
    out = tmp_path / "out"
    assert main(evaluate_command(weights, data, out)) == 0
    monkeypatch.setattr(
        "fieldlevel.inference.evaluation_files.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    assert main(evaluate_command(weights, data, out)) != 0
    assert [path.name for path in out.iterdir()] == ["predictions.csv"]


def test_a_refused_evaluation_leaves_what_was_there(weights, tmp_path, data):
    out = tmp_path / "out"
    assert main(evaluate_command(weights, data, out)) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert main([*evaluate_command(weights, data, out), "--suite", "IllustrisTNG", "--simulations", "all"]) == 2
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.slow
@pytest.mark.parametrize("command", ["evaluate", "infer"])
def test_two_at_once_into_one_place_make_no_mixture(tmp_path, data, maps, command):
    """Twenty pairs of networks of different answers: each place holds what one of them says, and who loses says why."""
    networks = [save(tmp_path / f"{mean}.safetensors", data, mean=mean) for mean in (0.25, 0.75)]
    for number in range(20):
        out = tmp_path / f"out-{number}"
        arguments = [
            evaluate_command(network, data, out) if command == "evaluate"
            else ["infer", str(network), str(maps), "--out", str(out / "p.csv"), "--device", "cpu"]
            for network in networks
        ]  # fmt: skip
        runs = [
            subprocess.Popen(
                [sys.executable, "-m", "fieldlevel", *each], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            for each in arguments
        ]
        ends = [(run.communicate()[1].decode(), run.returncode) for run in runs]
        assert {code for _, code in ends} <= {0, 2}
        assert 0 in {code for _, code in ends}
        assert all("another run works in it" in told for told, code in ends if code == 2)
        (answer,) = {row["Omega_m_mean"] for row in rows_of(next(out.glob("p*.csv")))}
        if command == "evaluate":
            document = json.loads((out / "metrics.json").read_text())
            assert Path(document["weights"]).stem == {"0.2": "0.25", "0.4": "0.75"}[f"{float(answer):.1f}"]
        names = ["metrics.json", "predictions.csv"] if command == "evaluate" else ["p.csv"]
        assert sorted(path.name for path in out.iterdir()) == names


NOT_MAPS = {
    "negative shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 16, 16), }",
    "boolean shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 16, 16), }",
    "huge shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': (1180591620717411303424, 16, 16), }",
    "long shape": b"{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 16, 16), }",
    "objects": b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 16, 16), }",
    "text": b"{'descr': '<U9', 'fortran_order': False, 'shape': (1, 16, 16), }",
    "unhashable": b"{[]: 1}",
    "deep": b"(" * 5000,
    "no header": b"",
    "another": b"[1, 2]",
}


@pytest.mark.parametrize("header", NOT_MAPS.values(), ids=NOT_MAPS)
def test_headers_of_no_maps_are_refused_in_one_line(weights, tmp_path, capsys, header):
    path = tmp_path / "maps.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header + b"\n").to_bytes(2, "little") + header + b"\n" + 1024 * b"\0")
    assert main(["infer", str(weights), str(path)]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"fieldlevel: {path}: ")
    assert message.count("\n") == 1
    assert not path.with_name("maps.posterior.csv").exists()


@pytest.mark.parametrize("version", [0, 2, 3, 9])
def test_other_versions_of_the_format_are_read_or_refused(weights, maps, tmp_path, capsys, version):
    path = tmp_path / "other.npy"
    with path.open("wb") as file:
        if version in (2, 3):
            np.lib.format.write_array(file, np.load(maps), (version, 0))
        else:
            file.write(b"\x93NUMPY" + bytes([version, 0]) + 100 * b"\0")
    assert main(["infer", str(weights), str(path)]) == (0 if version in (2, 3) else 2)
    assert "Traceback" not in capsys.readouterr().err


def test_a_pipe_is_no_file_of_maps(weights, tmp_path, capsys):
    os.mkfifo(tmp_path / "maps.npy")
    assert main(["infer", str(weights), str(tmp_path / "maps.npy")]) == 2
    assert "is a pipe or a device" in capsys.readouterr().err


@pytest.mark.parametrize("change", [np.asfortranarray, lambda maps: maps.astype(">f8"), lambda maps: maps.astype("u8")])
def test_maps_of_other_kinds_of_numbers_are_read(weights, maps, change):
    np.save(maps, change(np.load(maps)))
    assert main(["infer", str(weights), str(maps)]) == 0
    assert len(rows_of(maps.with_name("maps.posterior.csv"))) == 4


def test_a_link_to_a_table_stays_a_link(weights, maps, tmp_path):
    (tmp_path / "p.csv").symlink_to(tmp_path / "real.csv")
    assert main(["infer", str(weights), str(maps), "--out", str(tmp_path / "p.csv")]) == 0
    assert (tmp_path / "p.csv").is_symlink()
    assert len(rows_of(tmp_path / "real.csv")) == 4
