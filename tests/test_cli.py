import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from fieldlevel import spec_io
from fieldlevel.cli import Train, main, parse
from fieldlevel.inference import map_files, packaged
from fieldlevel.inference.outside_prior import outside_maps
from fieldlevel.layout import Layout
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study import scales
from fieldlevel.training import presets

LETTER_FLAGS = [
    "letter", "--device", "cpu",
    "--simulate.n-simulations", "10", "--simulate.n-particles", "16", "--simulate.n-mesh", "16",
    "--simulate.n-pixels", "16",
    "--train.split.train", "0.6", "--train.split.validation", "0.2", "--train.network.hidden", "1",
    "--train.batch-size", "16", "--train.n-steps", "6", "--train.validate-every", "3", "--train.head-batches", "3",
    "--train.statistics-batches", "3",
    "--smoothing", "1", "--k-max", "1", "--summary-trials", "2", "--summary.n-steps", "6",
    "--summary.validate-every", "3", "--summary.split.train", "0.6", "--summary.split.validation", "0.2",
    "--one-parameter-seeds", "1", "--one-parameter-values", "3",
]  # fmt: skip
SOME = ["--only", "mean map", "power spectrum", "smoothing", "one parameter"]
"""Experiments of the letters here; `test_runner` has all of them."""


@pytest.fixture(scope="module", autouse=True)
def one_core():
    """Letters work in this process; `test_runner` has them in several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fieldlevel.cli._cores", lambda: 1)
        yield


@pytest.fixture(scope="module")
def out(one_core, draft_figures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "letter"
    with draft_figures():
        assert main([*LETTER_FLAGS, *SOME, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def data(out):
    return next((out / "data").iterdir())


@pytest.fixture(scope="module")
def weights(out):
    return next((out / "runs").glob("train-MockTNG-*/weights.safetensors"))


def test_one_flag_changes_one_field():
    plain = parse(["train", "--data", "d", "--preset", "released"])
    changed = parse(["train", "--data", "d", "--preset", "released", "--optimiser.weight-decay", "0.5"])
    assert isinstance(plain, Train)
    assert isinstance(changed, Train)
    assert plain.spec == presets.released_preset()
    differences = set(spec_io.to_json(plain.spec).splitlines()) ^ set(spec_io.to_json(changed.spec).splitlines())
    assert len(differences) == 2
    assert all("weight_decay" in line for line in differences)


def test_flag_beats_file_beats_preset(tmp_path):
    path = tmp_path / "train.toml"
    path.write_text("seed = 5\n[network]\nhidden = 9\n")
    command = parse(["train", "--data", "d", "--preset", "released", "--config", str(path), "--network.hidden", "11"])
    assert (command.spec.seed, command.spec.network.hidden, command.spec.network.dropout) == (5, 11, 0.209)


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--suite", "MockSIMBA"], "suites", ("MockSIMBA",)),
        (["--suite=MockSIMBA"], "suites", ("MockSIMBA",)),
        (["--suites", "MockTNG", "MockSIMBA"], "suites", ("MockTNG", "MockSIMBA")),
        (["--no-twin"], "twin", False),
        (["--thin", "0.5", "0.25"], "thin", (0.5, 0.25)),
        (["--thin-training", "0.05", "1"], "thin_training", (0.05, 1.0)),
        (["--n-simulations", "1000"], "n_simulations", 1000),
        (["--fields", "Mtot", "Mgas"], "fields", ("Mtot", "Mgas")),
        (["--parameters", "mine.txt"], "parameters", "mine.txt"),
        (["--step-error", "0.1"], "step_error", 0.1),
    ],
)
@pytest.mark.parametrize("scale", ["laptop", "half", "letter"])
def test_one_flag_of_simulate_changes_one_field(scale, flags, field, value):
    plain, changed = (parse(["simulate", "--scale", scale, *more]).spec for more in ([], flags))
    assert plain == scales.SIMULATION_SCALES[scale]()
    assert changed == replace(plain, **{field: value})


def test_another_set_than_that_of_the_scale_is_taken_whole():
    for arguments in (["--set", "CV"], ["--set=CV"]):
        assert parse(["simulate", *arguments]).spec == replace(
            scales.laptop_scale().simulate, set_name="CV", n_simulations=None
        )
    assert parse(["simulate", "--set", "1P", "--n-simulations", "9"]).spec.n_simulations == 9


def test_the_half_scale_differs_from_the_letter_in_its_particles_alone():
    letter, half = (parse(["simulate", "--scale", scale]).spec for scale in ("letter", "half"))
    assert (letter.n_particles, letter.n_mesh, letter.n_pixels) == (256, 512, 256)
    assert (half.n_particles, half.n_mesh) == (128, 256)
    assert replace(half, n_particles=256, n_mesh=512) == letter == SimulateSpec()
    letters = [parse(["letter", "--scale", scale]).spec for scale in ("letter", "half")]
    assert letters[0] == replace(letters[1], simulate=letter)


def test_the_fine_scale_has_another_name(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["simulate", "--scale", "fine"])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "fine" in line
    assert "letter" in line


TINY_SIMULATIONS = [
    "simulate", "--device", "cpu", "--workers", "1", "--set", "CV", "--n-simulations", "2", "--n-particles", "16",
    "--n-mesh", "16", "--n-pixels", "16", "--fields", "Mtot", "Mgas",
]  # fmt: skip


def test_shards_of_simulate_say_what_is_missing(tmp_path, capsys):
    assert main([*TINY_SIMULATIONS, "--out", str(tmp_path), "--shard", "2/2"]) == 0
    assert "shard 2/2 is done; 1 simulations of other shards are missing" in capsys.readouterr().out
    assert list(tmp_path.glob("Maps_*")) == []
    assert main([*TINY_SIMULATIONS, "--out", str(tmp_path), "--shard", "1/2"]) == 0
    assert str(tmp_path) in capsys.readouterr().out
    assert len(list(tmp_path.glob("Maps_*_CV_z=0.00.npy"))) == 3
    assert main(["check", str(tmp_path)]) == 0
    capsys.readouterr()


def test_simulate_says_what_was_made_and_what_was_there(tmp_path, capsys):
    both = ["--suites", "MockTNG", "MockSIMBA", "--out", str(tmp_path)]
    assert main([*TINY_SIMULATIONS, "--suite", "MockTNG", "--no-twin", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path}: made MockTNG CV\n")
    assert main([*TINY_SIMULATIONS, *both, "--no-twin"]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path}: made MockSIMBA CV; there already MockTNG CV\n")
    assert main([*TINY_SIMULATIONS, *both, "--no-twin"]) == 0
    assert capsys.readouterr().out.endswith(f"{tmp_path}: there already MockTNG CV, MockSIMBA CV\n")
    assert main(["check", str(tmp_path)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--shard", "3/2"], "shard '3/2'"),
        (["--set", "mine"], "set 'mine': unknown"),
        (["--n-simulations", "99"], "n_simulations = 99: allowed are 1 to 27"),
        (["--set", "mine", "--parameters", "no-such-table.txt"], "no-such-table.txt: cannot be read"),
        (["--fields", "Mtot", "Mtot"], "each once"),
        (["--suites", "MockTNG", "MockTNG"], "suites: MockTNG MockTNG: name each once"),
        (["--suites"], "suites: none is named"),
        (["--suite", "MockTNG", "--suites", "MockTNG", "MockSIMBA"], "--suite and --suites: give one of them"),
        (["--suite=MockTNG", "--suites=MockTNG"], "--suite and --suites: give one of them"),
    ],
)
def test_simulate_refuses_in_one_line(tmp_path, capsys, flags, words):
    assert main([*TINY_SIMULATIONS, "--out", str(tmp_path / "out"), *flags]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert words in message
    assert not (tmp_path / "out").exists()


def test_scale_decides_the_defaults():
    assert parse(["letter", "--scale", "letter"]).spec == scales.letter_scale()
    assert parse(["letter"]).spec == scales.laptop_scale()
    assert parse(["letter", "--data", "d"]).spec == scales.letter_scale()
    assert parse(["letter", "--data", "d", "--scale", "laptop"]).spec == scales.laptop_scale()
    assert parse(["simulate", "--suite", "MockSIMBA"]).spec.suites == ("MockSIMBA",)


@pytest.mark.parametrize("arguments", [["nonsense"], ["train"], ["letter", "--scale", "huge"], ["letter", "--no-such"]])
def test_bad_usage_exits_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    capsys.readouterr()


def test_help_does_not_import_torch():
    code = (
        "import sys, fieldlevel.cli\n"
        "try: fieldlevel.cli.main(['--help'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'scipy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_import_of_the_package_is_light():
    code = "import sys, fieldlevel\nassert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_letter_prints_the_four_pairs_and_does_nothing_again(out, capsys):
    stamp = (out / "report.html").stat().st_mtime_ns
    assert main([*LETTER_FLAGS, *SOME, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "MockSIMBA → MockTNG" in printed
    assert "MOCK DATA" in printed
    assert str(out / "report.html") in printed.replace("\n", "")
    assert main(["letter", "--config", str(out), "--out", str(out), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == printed
    assert (out / "report.html").stat().st_mtime_ns == stamp


def test_a_letter_is_of_what_its_flags_say(out):
    document = json.loads((out / "metrics.json").read_text())
    spec = document["spec"]
    assert (spec["smoothing"], spec["k_max"], spec["only"]) == ([1.0], [1.0], SOME[1:])
    assert (spec["summary_trials"], spec["summary"]["n_steps"], spec["train"]["n_steps"]) == (2, 6, 6)
    assert (spec["one_parameter_seeds"], spec["one_parameter_values"]) == (1, 3)
    named = {"mean map", "power spectrum", "smoothing 1 px", "one parameter at a time"}
    assert set(document["experiments"]) == {"four pairs"} | named


def test_letter_on_a_data_folder_equals_the_one_that_simulated_it(out, data, blank_figures, tmp_path):
    with blank_figures():
        assert main([*LETTER_FLAGS, "--only", "mean map", "--data", str(data), "--out", str(tmp_path)]) == 0
    first, second = (json.loads((folder / "metrics.json").read_text()) for folder in (out, tmp_path))
    assert first["pairs"] == second["pairs"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--simulate.n-particles", "32"], "simulate.n_particles = 32: would have no effect, as the maps are those of"),
        (["--simulate.set", "CV"], "simulate.set_name = CV: would have no effect"),
        (["--train.suite", "X"], "train.suite: X"),
        (["--train.perceptron.n-layers", "9"], "train.perceptron.n_layers = 9: would have no effect"),
        (["--summary.network.hidden", "9"], "summary.network.hidden = 9: would have no effect"),
        (["--summary.seed", "9"], "summary.seed: would have no effect, as that of train is taken; give train.seed"),
        (["--suites", "Nbody_Mock", "Nbody_SIMBA"], "name MockTNG MockSIMBA"),
        (["--k-max", "2", "2"], "k_max = (2.0, 2.0)"),
        (["--only", ""], "only: no experiment ''"),
    ],
)
def test_letter_settings_that_would_be_ignored_are_refused(data, tmp_path, capsys, flags, words):
    assert main(["letter", "--data", str(data), "--out", str(tmp_path / "out"), "--device", "cpu", *flags]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_check_says_sound_or_lists_the_defects(data, tmp_path, capsys):
    assert main(["check", str(data)]) == 0
    assert "sound" in capsys.readouterr().out
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    broken = tmp_path / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    maps = np.load(broken)
    maps[7, 0, 0] = np.nan
    np.save(broken, maps)
    assert main(["check", str(tmp_path)]) == 2
    listed = capsys.readouterr().out
    assert "7" in listed
    split = ["--split.train", "0.6", "--split.validation", "0.2"]
    assert main(["train", "--data", str(tmp_path), "--out", str(tmp_path / "network"), *split]) == 2
    assert listed.splitlines()[0] in capsys.readouterr().err


def test_train_then_infer_and_evaluate(data, tmp_path, capsys):
    arguments = ["train", "--data", str(data), "--out", str(tmp_path / "network"), "--device", "cpu"]
    arguments += ["--split.train", "0.6", "--split.validation", "0.2", "--network.hidden", "1", "--n-steps", "3"]
    assert main([*arguments, "--batch-size", "16"]) == 0
    weights = tmp_path / "network" / "weights.safetensors"
    maps = tmp_path / "maps.npy"
    np.save(maps, np.load(data / "Maps_Mtot_MockTNG_LH_z=0.00.npy")[:4])
    assert main(["infer", str(weights), str(maps)]) == 0
    with (tmp_path / "maps.posterior.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 4
    assert {"Omega_m_mean", "Omega_m_std", "A_AGN2_std"} <= set(rows[0])
    assert {row["network"] for row in rows} == {"MockTNG (MOCK DATA)"}
    evaluation = tmp_path / "evaluation"
    assert main(["evaluate", str(weights), "--data", str(data), "--suite", "MockSIMBA", "--out", str(evaluation)]) == 0
    assert json.loads((evaluation / "metrics.json").read_text())["data_mark"] == "MOCK DATA"
    with (evaluation / "predictions.csv").open() as table:
        origins = {(row["data"], row["train_suite"], row["test_suite"], row["seed"]) for row in csv.DictReader(table)}
    assert origins == {("MOCK DATA", "MockTNG", "MockSIMBA", "0")}
    assert main(["evaluate", str(weights), "--data", str(data), "--out", str(tmp_path / "own")]) == 0
    assert json.loads((tmp_path / "own" / "metrics.json").read_text())["tested_on"] == "MockTNG"
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("MOCK DATA", "rms relative", "reduced χ²", "A_AGN2", "metrics.json: "))


def test_one_map_is_inferred_as_an_array_of_one(weights, data, tmp_path, capsys):
    map_ = np.load(data / "Maps_Mtot_MockTNG_LH_z=0.00.npy", mmap_mode="r")[7]
    np.save(tmp_path / "alone.npy", map_)
    np.save(tmp_path / "array.npy", map_[np.newaxis])
    for name in ("alone", "array"):
        assert main(["infer", str(weights), str(tmp_path / f"{name}.npy")]) == 0
        assert "posterior of 1 map (MOCK" in capsys.readouterr().out
    assert (tmp_path / "alone.posterior.csv").read_bytes() == (tmp_path / "array.posterior.csv").read_bytes()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: np.save(path, np.ones((2, 16), np.float32)), "(1, 2, 16)"),
        (lambda path: np.save(path, np.ones(16, np.float32)), "(16,)"),
        (lambda path: np.save(path, np.ones((2, 32, 32), np.float32)), "16"),
        (lambda path: np.save(path, -np.ones((2, 16, 16), np.float32)), "positive"),
        (lambda path: np.save(path, np.ones((0, 16, 16), np.float32)), "has no maps"),
        (lambda path: path.write_text("no maps"), "not an .npy file"),
        (lambda path: None, "cannot be read"),
    ],
)
def test_infer_refuses_what_it_cannot_take(weights, tmp_path, capsys, make, words):
    maps = tmp_path / "maps.npy"
    make(maps)
    assert main(["infer", str(weights), str(maps), "--out", str(tmp_path / "posterior.csv")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("fieldlevel: ")
    assert words in message
    assert str(maps) in message
    assert not (tmp_path / "posterior.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["infer", "{weights}", "{maps}", "--out", "{folder}"], "{folder}: is a folder; name a file"),
        (["infer", "{weights}", "{maps}", "--out", "{maps}/p.csv"], "{maps}: is a file"),
        (["infer", "{weights}", "{maps}", "--out", "{maps}/in/p.csv"], "{maps}/in: is a file, or in one"),
        (["infer", "{weights}", "{maps}", "--out", "{maps}"], "{maps}: is the file to read itself"),
        (["infer", "{weights}", "{maps}", "--out", "{weights}"], "{weights}: is the file to read itself"),
        (["infer", "{weights}", "{maps}", "--out", "{pipe}"], "{pipe}: is a device or a pipe"),
        (["infer", "{weights}", "{maps}", "--out", "/proc/p.csv"], "/proc: a place of devices"),
        (["infer", "{weights}", "{maps}", "--out", "/proc/in/p.csv"], "/proc/in: a place of devices"),
        (["infer", "{folder}", "{maps}"], "{folder}: not a weights file but a folder; give the weights"),
        (["shrink", "{weights}", "{folder}"], "{folder}: is a folder; name a file"),
        (["evaluate", "{weights}", "--data", "d", "--suite", "MockTNG", "--out", "{maps}"], "{maps}: is a file"),
    ],
)
def test_places_that_no_file_or_folder_can_have_are_refused(weights, tmp_path, capsys, arguments, words):
    places = {
        "weights": weights,
        "maps": tmp_path / "maps.npy",
        "folder": tmp_path / "folder",
        "pipe": tmp_path / "pipe",
    }
    places["folder"].mkdir()
    os.mkfifo(places["pipe"])
    np.save(places["maps"], np.ones((1, 16, 16), np.float32))
    assert main([argument.format(**places) for argument in arguments]) == 2
    assert capsys.readouterr().err.startswith(f"fieldlevel: {words.format(**places)}")
    assert not list(places["folder"].iterdir())
    assert np.load(places["maps"]).shape == (1, 16, 16)


def test_torchrun_starts_no_command_that_would_do_its_work_twice(monkeypatch, tmp_path, capsys):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert main(["simulate", "--out", str(tmp_path / "data")]) == 2
    assert capsys.readouterr().err == (
        "fieldlevel: torchrun: only `train` shares its work; start simulate without it\n"
    )
    assert not (tmp_path / "data").exists()


def test_maps_unlike_those_of_the_training_are_told():
    inside = np.array([[0.3, 0.8, 1.0, 1.0, 1.0, 1.0], [0.09, 1.02, 9.0, 1.0, 1.0, 0.1]])
    outside = np.array([[0.05, 0.8, 1.0, 1.0, 1.0, 1.0], [0.3, 1.05, 1.0, 1.0, 1.0, 1.0]])
    mean = np.concatenate([inside, outside])
    std = np.full_like(mean, 0.02)
    assert len(outside_maps(mean, std, Layout())) == 2
    std[0, 0] = 0.21  # half of Omega_m's prior is 0.2
    std[1, 2:] = 9.0  # feedback parameters may be anything
    assert len(outside_maps(mean, std, Layout())) == 3


def test_weights_that_are_none_are_refused(tmp_path, capsys):
    fake = tmp_path / "weights.safetensors"
    fake.write_text("nothing")
    np.save(tmp_path / "maps.npy", np.ones((1, 16, 16), np.float32))
    assert main(["infer", str(fake), str(tmp_path / "maps.npy")]) == 2
    assert str(fake) in capsys.readouterr().err


def test_commands_take_the_name_of_a_network_that_comes_with_the_package(weights, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "package")
    assert main(["shrink", str(weights), "package/Mine.safetensors"]) == 0
    assert "float16: package/Mine.safetensors" in capsys.readouterr().out
    np.save("maps.npy", np.load(data / "Maps_Mtot_MockTNG_LH_z=0.00.npy")[:4])
    assert main(["infer", "Mine", "maps.npy"]) == 0
    printed = capsys.readouterr().out
    assert "4 maps (MOCK DATA" in printed
    assert_first_maps_are_printed(printed, Path("maps.posterior.csv"))
    assert main(["evaluate", "Mine", "--data", str(data), "--suite", "MockSIMBA"]) == 0
    document = json.loads(Path("evaluation/metrics.json").read_text())
    assert (document["weights"], document["data_mark"]) == ("Mine", "MOCK DATA")
    assert "Mine on MockSIMBA MOCK DATA" in " ".join(capsys.readouterr().out.split())
    assert main(["infer", "Nime", "maps.npy"]) == 2
    expected = "fieldlevel: Nime: no such file, and no network of that name comes with fieldlevel (Mine)"
    assert capsys.readouterr().err == f"{expected}\n"


def assert_first_maps_are_printed(printed: str, posterior: Path) -> None:
    header, *rows = [line.split() for line in printed.splitlines()[:5]]
    assert header == ["map", "Omega_m", "sigma_8"]
    for row, expected in zip(rows, csv.DictReader(posterior.read_text().splitlines()), strict=True):
        number, Omega_m, _, Omega_m_std, sigma_8, _, sigma_8_std = row
        assert number == expected["map"]
        for name, mean, std in (("Omega_m", Omega_m, Omega_m_std), ("sigma_8", sigma_8, sigma_8_std)):
            exact = float(expected[f"{name}_std"])
            np.testing.assert_allclose(float(std), exact, rtol=0.05)  # two significant digits
            np.testing.assert_allclose(float(mean), float(expected[f"{name}_mean"]), atol=0.05 * exact)


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a capacity of 8 GiB"),
            1,
            "fieldlevel: CUDA out of memory. Tried to allocate 2.00 GiB: free the GPU of other work, "
            "or lower batch_size; the same command continues\n",
        ),
        (
            torch.AcceleratorError("CUDA error: unspecified launch failure\nSearch for `cudaErrorLaunchFailure' in\n"),
            1,
            "fieldlevel: CUDA error: unspecified launch failure: the GPU gave up; end other work on it, "
            "the same command continues\n",
        ),
        (KeyboardInterrupt(), 130, "fieldlevel: interrupted; the same command continues\n"),
    ],
)
def test_a_full_device_and_an_interrupt_are_told_in_one_line(tmp_path, monkeypatch, capsys, error, code, told):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(map_files, "infer_file", fail)
    np.save(tmp_path / "maps.npy", np.ones((1, 16, 16)))
    assert main(["infer", "MockTNG", str(tmp_path / "maps.npy")]) == code
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    "error", [RuntimeError("a defect"), torch.AcceleratorError("CUDA error: device-side assert: a defect")]
)
def test_any_other_error_keeps_its_traceback(tmp_path, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(map_files, "infer_file", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["infer", "MockTNG", str(tmp_path / "maps.npy")])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError("Unable to allocate 7 TiB"), "not enough memory: ask for smaller sizes"),
        (
            RuntimeError(
                "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 40000000 bytes."
            ),
            "not enough memory for 0.04 GB: ask for smaller sizes",
        ),
    ],
)
def test_a_machine_without_the_memory_is_told_in_one_line(monkeypatch, capsys, error, told):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(map_files, "infer_file", fail)
    assert main(["infer", "MockTNG", "maps.npy"]) == 1
    assert capsys.readouterr().err == f"fieldlevel: {told}, or give the machine more\n"


def test_particles_that_were_not_kept_are_not_promised(tmp_path, capsys):
    assert main([*TINY_SIMULATIONS, "--out", str(tmp_path)]) == 0
    assert main([*TINY_SIMULATIONS, "--out", str(tmp_path), "--keep-snapshots"]) == 2
    assert "holds maps of 2 simulations whose particles were not kept" in capsys.readouterr().err


def test_a_folder_is_no_array_of_maps(capsys):
    assert main(["infer", "MockTNG", "."]) == 2
    assert capsys.readouterr().err.startswith("fieldlevel: .: cannot be read")


def test_no_workers_do_no_work(tmp_path, capsys):
    assert main([*TINY_SIMULATIONS, "--out", str(tmp_path / "out"), "--workers", "0"]) == 2
    assert "workers = 0: allowed are numbers from 1" in capsys.readouterr().err


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    folder = tmp_path_factory.mktemp("snapshots")
    assert main([*TINY_SIMULATIONS, "--out", str(folder), "--keep-snapshots"]) == 0
    return sorted(str(path) for path in (folder / "snapshots" / "MockTNG").iterdir())


PROJECT = ["project", "--suite", "MockTNG", "--set", "CV", "--n-pixels", "16"]


def test_project_makes_sound_maps_of_its_own_snapshots_without_a_table(snapshots, tmp_path, capsys):
    assert main([*PROJECT, *snapshots, "--out", str(tmp_path)]) == 0
    assert "maps of 2 snapshots" in capsys.readouterr().out
    assert main(["check", str(tmp_path)]) == 0
    assert len(np.loadtxt(tmp_path / "params_CV_MockTNG.txt")) == 2
    capsys.readouterr()


def test_project_says_which_parameters_are_missing(snapshots, tmp_path, capsys):
    bare = tmp_path / "bare.hdf5"
    bare.write_bytes(next(Path(snapshots[0]).iterdir()).read_bytes())
    with h5py.File(bare, "r+") as file:
        del file["Header"].attrs["sigma_8"]
    assert main([*PROJECT, str(bare), "--out", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "no params_CV_MockTNG.txt: not every header has sigma_8; give a table with --parameters" in printed


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--suite", "Mine"], "is MOCK DATA"),
        (["--n-pixels", "1048576"], "n_pixels = 1048576"),
        (["--workers", "0"], "workers = 0"),
        (["--workers", "-1"], "workers = -1"),
        (["--fields", "T"], "no temperature"),
    ],
)
def test_project_refuses_in_one_line(snapshots, tmp_path, capsys, flags, words):
    assert main([*PROJECT, *snapshots, "--out", str(tmp_path / "out"), *flags]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert not (tmp_path / "out").exists()


def test_project_needs_snapshots(tmp_path, capsys):
    assert main([*PROJECT, "--out", str(tmp_path / "out")]) == 2
    assert "no snapshots; name files or folders" in capsys.readouterr().err
