"""Networks that are calibrated after their training or later: what is written, known again, refused and said."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.calibrated_training import train
from fieldlevel.inference.calibrating import calibrate, calibrate_trained
from fieldlevel.inference.calibration import calibration_path, write_calibration
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.inference.shrink import shrink_weights
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.training import trainer
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.train_spec import TrainSpec

N = 40
SPEC = TrainSpec(
    split=SplitSpec(train=0.3, validation=0.1, calibration=0.4),
    network=NetworkSpec(hidden=1, std_from="softplus"),
    batch_size=16,
    n_steps=4,
    validate_every=2,
)
SPLIT = SPEC.split.divide(N)
CALIBRATION = "weights.calibration.json"


def write(folder: Path, suite: str = "MockTNG", set_name: str = "LH", seed: int = 0, rows: int = 0) -> Path:
    """Maps that tell Omega_m alone; universes of one `rows` are the same."""
    folder.mkdir(exist_ok=True)
    layout = Layout()
    theta = layout.lows + np.random.default_rng(rows).random((N, 6)) * (layout.highs - layout.lows)
    maps = np.random.default_rng(seed).lognormal(0.0, 1.0, (N, 3, 5, 16, 16))
    maps *= (CRITICAL_DENSITY * layout.slab_thickness_mpc_h * theta[:, 0])[:, None, None, None, None]
    maps /= np.random.default_rng(seed).lognormal(0.0, 1.0, (N, 3, 5, 16, 16)).mean((2, 3, 4), keepdims=True)
    np.save(folder / f"Maps_Mtot_{suite}_{set_name}_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
    columns = 2 if suite == "Nbody_Mock" else 6
    np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta[:, :columns], fmt="%.6f")
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = write(tmp_path_factory.mktemp("calibrated") / "data")
    write(folder, set_name="LHtest", seed=1, rows=1)
    write(folder, "Nbody_Mock", seed=2)
    write(folder, "MockSIMBA", seed=3)
    train(SPEC, folder, folder / "network", "cpu", check=False)
    return folder


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "data"))


def cut(folder: Path, suite: str, n: int) -> None:
    """Keep the first simulations of a suite."""
    path, table = folder / f"Maps_Mtot_{suite}_LH_z=0.00.npy", folder / f"params_LH_{suite}.txt"
    np.save(path, np.load(path)[: 15 * n])
    np.savetxt(table, np.loadtxt(table)[:n], fmt="%.6f")


def raw(predictor, maps):
    return replace(predictor, calibration=None).predict(maps)


def maps_of(folder, numbers, suite="MockTNG", set_name="LH"):
    opened = open_suite(folder, suite, set_name=set_name, check=False)
    return np.concatenate([opened.read_simulation(int(number)) for number in numbers])


def chi2(predictor, folder, numbers, set_name="LH"):
    opened = open_suite(folder, "MockTNG", set_name=set_name, check=False)
    mean, std = predictor.predict(maps_of(folder, numbers, set_name=set_name))
    theta = np.repeat(opened.parameters[numbers], 15, axis=0)
    return (np.square((theta - mean) / std)).mean(axis=0)


def test_training_calibrates_on_simulations_of_its_own(folder):
    predictor = load(folder / "network/weights.safetensors", "cpu")
    found = predictor.calibration
    assert (found.fitted_on, found.n_simulations) == (("MockTNG", "LH"), 16)
    assert found.weights == predictor.checksum and found.names == predictor.layout.names
    assert predictor.calibration_simulations.tolist() == SPLIT.calibration.tolist()
    assert found.rescaling.changes.any() and not predictor.remarks
    before = chi2(replace(predictor, calibration=None), folder, SPLIT.calibration)
    np.testing.assert_allclose(chi2(predictor, folder, SPLIT.calibration)[found.rescaling.changes], 1, atol=0.3)
    assert (np.abs(before - 1)[found.rescaling.changes] > 0.1).all()


def test_predictions_are_those_of_the_network_times_the_scale(folder):
    predictor, maps = load(folder / "network/weights.safetensors", "cpu"), maps_of(folder, SPLIT.test[:2])
    mean, std = predictor.predict(maps)
    raw_mean, raw_std = raw(predictor, maps)
    np.testing.assert_array_equal(mean, raw_mean)
    scale = predictor.calibration.rescaling.scale(predictor.layout.to_unit_interval(mean))
    np.testing.assert_allclose(std, scale * raw_std, rtol=1e-12)
    np.testing.assert_allclose(predictor.calibrated(raw_mean, raw_std), std, rtol=1e-9)
    uncalibrated = replace(predictor, calibration=None)
    assert uncalibrated.calibrated(raw_mean, raw_std) is raw_std


def test_the_network_never_saw_the_maps_that_it_is_calibrated_with(folder):
    path = folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    maps = np.load(path)
    for number in (*SPLIT.calibration, *SPLIT.test):
        maps[15 * number : 15 * (number + 1)] *= np.float32(1.5)
    np.save(path, maps)
    again = trainer.train(SPEC, folder, folder / "again", "cpu", check=False)
    one, other = load_file(folder / "network/weights.safetensors"), load_file(again)
    assert all((one[name] == other[name]).all() for name in one)


def test_calibration_does_not_look_at_test_maps(folder):
    path = folder / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    maps, known = np.load(path), (folder / "network" / CALIBRATION).read_bytes()
    for number in SPLIT.test:
        maps[15 * number : 15 * (number + 1)] = np.nan
    np.save(path, maps)
    (folder / "network" / CALIBRATION).unlink()
    calibrate_trained(folder / "network/weights.safetensors", folder, "cpu")
    assert (folder / "network" / CALIBRATION).read_bytes() == known


def test_a_finished_run_keeps_its_calibration_and_makes_a_missing_one_again(folder):
    path = folder / "network" / CALIBRATION
    known, modified = path.read_bytes(), path.stat().st_mtime_ns
    train(SPEC, folder, folder / "network", "cpu", check=False)
    assert path.stat().st_mtime_ns == modified
    path.unlink()
    (remark,) = load(folder / "network/weights.safetensors", "cpu").remarks
    assert CALIBRATION in remark and "as trained" in remark
    train(SPEC, folder, folder / "network", "cpu", check=False)
    assert path.read_bytes() == known


def test_the_calibration_of_another_network_is_refused_and_replaced_by_a_training(folder):
    path = folder / "network" / CALIBRATION
    known, weights = path.read_bytes(), folder / "network/weights.safetensors"
    write_calibration(weights, replace(load(weights, "cpu").calibration, weights="0" * 32))
    with pytest.raises(UserError, match=f"{CALIBRATION}: of another network than weights.safetensors; take it away"):
        load(weights, "cpu")
    train(SPEC, folder, folder / "network", "cpu", check=False)
    assert path.read_bytes() == known


def with_coefficients(text: str, rows: list[list[float]]) -> str:
    rescaling = {"coefficients": rows, "ranges": len(rows) * [[0.0, 1.0]]}
    return json.dumps(json.loads(text) | {"rescaling": rescaling})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: "[1]",
        lambda text: text.replace('"coefficients"', '"koefficients"'),
        lambda text: with_coefficients(text, [[0.0] * 4]),
        lambda text: with_coefficients(text, 6 * [[1e300] * 4]),
        lambda text: json.dumps(json.loads(text) | {"extra": 1}),
        lambda text: json.dumps(json.loads(text) | {"names": ["Omega_m"]}),
    ],
)
def test_damaged_calibrations_are_refused_in_one_line(folder, damage):
    path = folder / "network" / CALIBRATION
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=f"{CALIBRATION}: no calibration") as refused:
        load(folder / "network/weights.safetensors", "cpu")
    assert "\n" not in str(refused.value)


def changed(text: str, *keys: str | int, value: object) -> str:
    record = json.loads(text)
    part = record
    for key in keys[:-1]:
        part = part[key]
    assert part[keys[-1]] != value
    part[keys[-1]] = value
    return json.dumps(record)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: changed(text, "rescaling", "coefficients", 0, 0, value=3.0),
        lambda text: changed(text, "rescaling", "ranges", 0, 1, value=0.98),
        lambda text: changed(text, "fitted_on", 1, value="LHtest"),
        lambda text: changed(text, "n_simulations", value=1000),
        lambda text: changed(text, "sources", value=[]),
        lambda text: changed(text, "transfer", "tau", 0, value=0.001),
        lambda text: changed(text, "transfer", value=None),
        lambda text: changed(text, "digest", value="0" * 32),
        lambda text: changed(text, "weights", value="0" * 32),
    ],
)
def test_calibrations_in_which_anything_was_changed_are_refused_in_one_line(folder, damage):
    path, weights = folder / "network" / CALIBRATION, folder / "network/weights.safetensors"
    calibrate(weights, folder, transfer=["MockSIMBA"], device="cpu")
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=f"{CALIBRATION}: its digest is another, .* take it away and calibrate") as told:
        load(weights, "cpu")
    assert "\n" not in str(told.value)


def test_a_calibration_without_its_digest_is_refused_and_made_again_by_a_training(folder):
    path = folder / "network" / CALIBRATION
    known = path.read_bytes()
    record = json.loads(known)
    del record["digest"]
    path.write_text(json.dumps(record))
    with pytest.raises(UserError, match=f"{CALIBRATION}: no calibration .*digest.* take it away and calibrate"):
        load(folder / "network/weights.safetensors", "cpu")
    train(SPEC, folder, folder / "network", "cpu", check=False)
    assert path.read_bytes() == known


def test_a_calibration_may_be_laid_out_in_another_way(folder):
    path = folder / "network" / CALIBRATION
    known = load(folder / "network/weights.safetensors", "cpu").calibration
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert load(folder / "network/weights.safetensors", "cpu").calibration == known


@pytest.mark.parametrize("suite", ["MockTNG", "Nbody_Mock", "MockSIMBA"])
def test_calibration_simulations_twins_and_siblings_count_as_seen(folder, suite):
    predictor = load(folder / "network/weights.safetensors", "cpu")
    with pytest.raises(UserError, match=f"{N - len(SPLIT.test)} of the {N} simulations asked for"):
        predict_suite(predictor, open_suite(folder, suite, check=False), "all")
    unseen = predict_suite(predictor, open_suite(folder, suite, check=False), "unseen")
    assert set(unseen.simulation) == set(SPLIT.test)


def test_their_maps_are_known_under_another_name(folder):
    predictor = load(folder / "network/weights.safetensors", "cpu")
    maps = np.random.default_rng(5).lognormal(25, 1, (N, 15, 16, 16)).astype("<f4")
    maps[0] = maps_of(folder, SPLIT.calibration[:1])[:, ::-1]
    np.save(folder / "Maps_Mtot_Mine_LH_z=0.00.npy", maps.reshape(-1, 16, 16))
    shutil.copy(folder / "params_LHtest_MockTNG.txt", folder / "params_LH_Mine.txt")
    with pytest.raises(UserError, match=r"1 of the 40 simulations asked for, as their maps tell \(first: 0\)"):
        predict_suite(predictor, open_suite(folder, "Mine", check=False), "all", anyway=True)


def test_weights_without_calibration_simulations_have_the_keys_of_before(folder, tmp_path):
    plain = replace(SPEC, split=replace(SPEC.split, calibration=0.0))
    weights = train(plain, folder, tmp_path / "plain", "cpu", check=False)
    with safe_open(weights, "numpy") as file:
        assert "calibration" not in " ".join(file.metadata()) and "calibration" not in file.metadata()["spec"]
    assert not (tmp_path / "plain" / CALIBRATION).exists() and load(weights, "cpu").calibration is None


def test_simulations_may_be_set_apart_for_nothing(folder, tmp_path):
    weights = train(replace(SPEC, calibration="none"), folder, tmp_path / "none", "cpu", check=False)
    predictor = load(weights, "cpu")
    assert predictor.calibration is None and len(predictor.calibration_simulations) == 16 and not predictor.remarks


def test_too_few_simulations_are_refused_before_the_training(folder, tmp_path):
    few = replace(SPEC, split=replace(SPEC.split, calibration=0.1))
    with pytest.raises(UserError, match=r"split.calibration = 0.1: 4 simulations to calibrate with; take 10 at least"):
        train(few, folder, tmp_path / "few", "cpu", check=False)
    assert not (tmp_path / "few/weights.safetensors").exists()


def test_a_shrunk_network_keeps_its_calibration(folder):
    weights, small = folder / "network/weights.safetensors", folder / "small.safetensors"
    shrink_weights(weights, small)
    one, other = load(weights, "cpu"), load(small, "cpu")
    assert other.calibration.rescaling == one.calibration.rescaling and other.checksum != one.checksum
    plain = folder / "plain.safetensors"
    shutil.copy(weights, plain)
    shrink_weights(plain, small)
    assert load(small, "cpu").calibration is None


# Later, on other simulations


def test_a_network_is_calibrated_on_another_set_which_it_then_has_seen(folder):
    weights = folder / "network/weights.safetensors"
    found = calibrate(weights, folder, "MockTNG", "LHtest", device="cpu")
    predictor = load(weights, "cpu")
    assert predictor.calibration == found and found.fitted_on == ("MockTNG", "LHtest")
    assert [(each.suite, each.set_name, len(each.calibration)) for each in found.sources] == [("MockTNG", "LHtest", N)]
    np.testing.assert_allclose(chi2(predictor, folder, np.arange(N), "LHtest")[found.rescaling.changes], 1, atol=0.2)
    with pytest.raises(UserError, match="40 of the 40 simulations asked for"):
        predict_suite(predictor, open_suite(folder, "MockTNG", set_name="LHtest", check=False), "all")
    with pytest.raises(UserError, match="40 of the 40 simulations asked for"):
        calibrate(weights, folder, "MockTNG", "LHtest", device="cpu")


def test_a_network_is_not_calibrated_on_its_own_set(folder):
    weights, known = folder / "network/weights.safetensors", (folder / "network" / CALIBRATION).read_bytes()
    for suite, words in [
        ("MockTNG", "simulations asked for"),
        ("MockSIMBA", "not trained"),
        ("Nbody_Mock", "not trained"),
    ]:
        with pytest.raises(UserError, match=words):
            calibrate(weights, folder, suite, device="cpu")
    assert (folder / "network" / CALIBRATION).read_bytes() == known


def test_a_suite_of_no_training_is_not_calibrated_on(folder):
    weights, known = folder / "network/weights.safetensors", (folder / "network" / CALIBRATION).read_bytes()
    write(folder, "MockSIMBA", "LHtest", seed=4, rows=2)
    write(folder, "Nbody_Mock", "LHtest", seed=5, rows=2)
    for suite in ("MockSIMBA", "Nbody_Mock"):
        with pytest.raises(UserError, match=f"{suite}: the network was not trained on .* MockTNG, .* --transfer"):
            calibrate(weights, folder, suite, "LHtest", device="cpu")
    assert (folder / "network" / CALIBRATION).read_bytes() == known


def test_a_source_without_labels_is_not_calibrated_on(folder, tmp_path):
    sources = (SourceSpec("MockTNG"), SourceSpec("MockSIMBA", labelled=False))
    weights = train(replace(SPEC, sources=sources), folder, tmp_path / "adapted", "cpu", check=False)
    write(folder, "MockSIMBA", "LHtest", seed=4, rows=2)
    with pytest.raises(UserError, match="MockSIMBA: the network was not trained on its parameters"):
        calibrate(weights, folder, "MockSIMBA", "LHtest", device="cpu")


def test_networks_of_the_package_are_left_alone(folder):
    with pytest.raises(UserError, match=r"MockTNG: comes with the package, .* `fieldlevel shrink MockTNG"):
        calibrate("MockTNG", folder, "MockTNG", "LHtest")


def test_a_file_that_is_no_calibration_is_not_replaced(folder):
    weights = folder / "plain.safetensors"
    shutil.copy(folder / "network/weights.safetensors", weights)
    (folder / "plain.calibration.json").write_text('{"mine": 1}')
    with pytest.raises(UserError, match=r"plain.calibration.json"):
        load(weights, "cpu")
    assert (folder / "plain.calibration.json").read_text() == '{"mine": 1}'


# Other suites


@pytest.mark.parametrize(
    ("suites", "words"),
    [
        (["Nbody_Mock"], r"gravity-only maps \(Nbody_Mock\): on another suite nothing is guaranteed"),
        (["MockSIMBA"], "the errors on 1 suite .* at most 1/2, and that only if"),
        (["MockSIMBA", "Nbody_Mock"], "the errors on 1 suite and gravity-only maps .* at most 1/2"),
    ],
)
def test_errors_on_other_suites_are_measured(folder, suites, words):
    weights = folder / "network/weights.safetensors"
    with pytest.raises(UserError, match=r"not measured; measure them with `fieldlevel calibrate"):
        load(weights, "cpu").transfer_std(np.zeros((1, 6)), np.ones((1, 6)))
    before = load(weights, "cpu")
    assert "nothing is guaranteed" in before.transfer_guarantee
    calibrate(weights, folder, transfer=suites, device="cpu")
    predictor = load(weights, "cpu")
    assert predictor.calibration.rescaling == before.calibration.rescaling
    mean, std = predictor.predict(maps_of(folder, SPLIT.test[:2]))
    wider = predictor.transfer_std(mean, std)
    assert (wider[:, :2] >= std[:, :2]).all() and np.isnan(wider[:, 2:]).all()
    assert fieldlevel.load(weights, "cpu").transfer_guarantee == predictor.calibration.transfer.guarantee
    assert re.search(words, predictor.transfer_guarantee)


def test_one_command_calibrates_and_measures_on_siblings_and_may_be_given_again(folder):
    write(folder, "Nbody_Mock", "LHtest", seed=5, rows=1)
    weights = folder / "network/weights.safetensors"
    one = calibrate(weights, folder, "MockTNG", "LHtest", transfer=["Nbody_Mock"], device="cpu")
    assert [each.suite for each in one.sources] == ["MockTNG", "Nbody_Mock"]
    assert one.transfer.origin == "twin" and not one.transfer.widening.changes.any()
    assert calibrate(weights, folder, set_name="LHtest", transfer=["Nbody_Mock"], device="cpu") == one


def test_a_suite_of_the_training_is_no_other_suite(folder):
    with pytest.raises(UserError, match="MockTNG: the network was trained on it"):
        calibrate(folder / "network/weights.safetensors", folder, transfer=["MockTNG"], device="cpu")


def test_networks_that_lack_a_source_each_tell_what_leaving_one_out_costs(folder, tmp_path):
    both = ("MockTNG", "MockSIMBA")
    pooled = train(replace(SPEC, sources=tuple(map(SourceSpec, both))), folder, tmp_path / "pooled", "cpu", check=False)
    single = train(replace(SPEC, suite="MockSIMBA"), folder, tmp_path / "single", "cpu", check=False)
    alone = [folder / "network/weights.safetensors", single]
    assert load(pooled, "cpu").calibration.n_simulations == len(SPLIT.calibration)
    found = calibrate(pooled, folder, without=alone, device="cpu")
    assert found.transfer.suites == ("MockSIMBA", "MockTNG") and found.transfer.origin == "leave one out"
    names = load(pooled, "cpu").layout.names
    assert [name for name, tau in zip(names, found.transfer.tau, strict=True) if tau is not None] == [*names[:2]]
    assert "at most 2/3" in load(pooled, "cpu").transfer_guarantee
    seen = [(each.suite, each.set_name, sorted(each.calibration)) for each in found.sources]
    assert seen == [(suite, "LH", sorted(SPLIT.calibration)) for suite in ("MockSIMBA", "MockTNG")]
    assert load(pooled, "cpu").seen_sources[-2:] == found.sources
    kept = json.loads(calibration_path(pooled).read_text())
    for source, plain in zip(kept["sources"], found.sources, strict=True):
        assert all(digests.startswith("=") for digests in source["seen"]["maps"])
        source["seen"]["maps"] = plain.seen.maps  # as earlier versions wrote them
    calibration_path(pooled).write_text(json.dumps(kept))
    assert load(pooled, "cpu").calibration == found
    assert calibrate(pooled, folder, without=alone, device="cpu") == found
    with pytest.raises(UserError, match=r"trained on MockTNG; give networks that lack one of MockTNG"):
        calibrate(alone[0], folder, without=alone[:1], device="cpu")
    with pytest.raises(UserError, match="--transfer and --without: give one of them"):
        calibrate(pooled, folder, transfer=["Nbody_Mock"], without=alone, device="cpu")


def test_simulations_that_tell_of_other_suites_are_no_test_ones(folder):
    path = folder / "Maps_Mtot_MockSIMBA_LH_z=0.00.npy"
    maps = np.load(path)
    for number in range(N):
        if number not in SPLIT.calibration:
            maps[15 * number : 15 * (number + 1)] = np.nan
    np.save(path, maps)
    found = calibrate(folder / "network/weights.safetensors", folder, transfer=["MockSIMBA"], device="cpu")
    assert [each.calibration for each in found.sources] == [tuple(SPLIT.calibration)]


@pytest.mark.parametrize("share", [0.4, 0.0])
def test_other_suites_of_another_length_tell_by_the_numbers_of_the_training(folder, share):
    weights = folder / "network/weights.safetensors"
    if not share:
        plain = replace(SPEC, split=replace(SPEC.split, calibration=0.0))
        weights = train(plain, folder, folder / "plain", "cpu", check=False)
    split = replace(SPEC.split, calibration=share).divide(N)
    numbers, n = (split.calibration if share else split.validation), 32
    cut(folder, "MockSIMBA", n)
    found = calibrate(weights, folder, transfer=["MockSIMBA"], device="cpu")
    assert [each.calibration for each in found.sources] == [tuple(numbers[numbers < n])]
    predict_suite(load(weights, "cpu"), open_suite(folder, "MockTNG", check=False), "test")
    cut(folder, "MockSIMBA", int(numbers.min()))
    with pytest.raises(UserError, match=r"MockSIMBA LH: none of its \d+ simulations .* calibrated or validated with"):
        calibrate(weights, folder, transfer=["MockSIMBA"], device="cpu")


def test_the_commands_tell_what_they_did(folder, capsys):
    weights = str(folder / "network/weights.safetensors")
    words = ["calibrate", weights, "--data", str(folder), "--device", "cpu"]
    assert main(words) == 2
    assert "nothing to do; give --suite" in capsys.readouterr().err
    assert main([*words, "--suite", "MockTNG", "--set", "LHtest"]) == 0
    assert "calibrated on 40 simulations of MockTNG LHtest: standard deviations of" in capsys.readouterr().out
    assert main([*words, "--transfer", "MockSIMBA"]) == 0
    assert "at most 1/2" in capsys.readouterr().out
    out = folder / "evaluation"
    arguments = ["evaluate", weights, "--data", str(folder), "--suite", "MockSIMBA", "--out", str(out)]
    assert main([*arguments, "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "at 68%, by quarter" in told and "χ² with transfer errors: Omega_m" in told and "1/2" in told
    document = json.loads((out / "metrics.json").read_text())
    assert document["calibration"]["fitted_on"] == "MockTNG LHtest"
    found = document["error_bars"]["Omega_m"]
    assert len(found["quarters"]) == 4 and 0 <= found["coverage"]["0.68"]["value"] <= 1
    assert document["transfer"]["scores"].keys() == {"Omega_m", "sigma_8"}
