"""Maps unlike those of the training are told, with the reason; its own are left in peace; files are read with care."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import fieldlevel
from fieldlevel.cli import main
from fieldlevel.data.normalise import Normaliser, fit_inputs
from fieldlevel.data.seen import record_seen
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference import packaged, reference_making
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.evaluation import evaluate_suite, predict_suite
from fieldlevel.inference.predictor import Predictor, load
from fieldlevel.inference.reference_making import (
    complete_reference,
    kept_reference,
    make_reference,
    write_reference,
)
from fieldlevel.inference.shrink import shrink_weights
from fieldlevel.inference.trust.judging import LEVEL, Judging, Trust, judge, judge_suite, reference_of
from fieldlevel.inference.trust.map_sets import N_NEAR
from fieldlevel.inference.trust.map_statistics import measure
from fieldlevel.inference.trust.reference_file import (
    MOST_BYTES,
    find_reference,
    read_reference_file,
    reference_path,
    write_reference_file,
)
from fieldlevel.inference.trust.units import POWERS
from fieldlevel.layout import Layout
from fieldlevel.numerics.transforms import smooth_gaussian
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.study.jobs import train_missing, weights_of
from fieldlevel.study.keys import FIRST, ExperimentKey
from fieldlevel.study.store import Store
from fieldlevel.suites import HUBBLE
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import content_of, save_network

CMD = Layout()
N_PIXELS, N_SIMULATIONS, N_UNSEEN = 16, 60, 30
SPEC = TrainSpec(split=SplitSpec(train=0.6, validation=0.3))
SPLIT = split_simulations(N_SIMULATIONS, SPEC.split.seed, SPEC.split.train, SPEC.split.validation)


def toy_maps(rng, theta):
    """Lognormal maps of some structure, whose mean is that of Omega_m."""
    noise = torch.from_numpy(rng.normal(size=(len(theta) * 15, N_PIXELS, N_PIXELS)))
    field = smooth_gaussian(noise, 0.8).numpy().reshape(len(theta), 15, N_PIXELS, N_PIXELS)
    maps = np.exp(2.0 * theta[:, 1, None, None, None] * field / field.std())
    of_axis = maps.reshape(len(theta), 3, 5, -1).mean((2, 3)).repeat(5, 1)
    maps *= (CMD.mean_density(1) * theta[:, :1] / of_axis)[..., None, None]
    return maps.reshape(-1, N_PIXELS, N_PIXELS).astype("<f4")


def write_set(folder, set_name, n, seed, theta=None):
    rng = np.random.default_rng(seed)
    theta = CMD.lows + rng.random((n, 6)) * (CMD.highs - CMD.lows) if theta is None else theta
    np.save(folder / f"Maps_Mtot_MockTNG_{set_name}_z=0.00.npy", toy_maps(rng, theta))
    np.savetxt(folder / f"params_{set_name}_MockTNG.txt", theta, fmt="%.6f")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_set(folder, "LH", N_SIMULATIONS, 0)
    write_set(folder, "LHnew", N_UNSEEN, 1)
    write_set(folder, "CV", 10, 2, np.tile([0.3, 0.8, 1.0, 1.0, 1.0, 1.0], (10, 1)))
    return folder


@pytest.fixture(scope="module")
def weights(data, tmp_path_factory) -> Path:
    """A network of random weights, which answers something of every map."""
    torch.manual_seed(0)
    suite, path = open_suite(data, "MockTNG", check=False), tmp_path_factory.mktemp("net") / "weights.safetensors"
    normaliser = Normaliser(float(np.log10(suite.maps).mean()), float(np.log10(suite.maps).std()))
    network = MomentNetwork(N_PIXELS, 1, dropout=0.0)
    some = torch.from_numpy(suite.maps[suite.maps_of(SPLIT.train)[::5]])
    for _ in range(20):
        network(normaliser.normalise(some)[:, None])
    seen = record_seen(suite, np.concatenate([SPLIT.train, SPLIT.validation]))
    save_network(
        path,
        network.eval(),
        SPEC,
        normaliser,
        training_simulations=SPLIT.train,
        validation_simulations=SPLIT.validation,
        provenance={},
        seen=seen,
    )
    write_reference(path, data, device="cpu")
    return path


@pytest.fixture(scope="module")
def predictor(weights):
    return load(weights, "cpu")


@pytest.fixture(scope="module")
def own(data):
    """Of 30 simulations that the network has not seen."""
    return np.array(open_suite(data, "MockTNG", set_name="LHnew", check=False).maps)


ALTERED = {
    "smoothed": lambda maps: smooth_gaussian(torch.from_numpy(maps), 0.9).numpy(),
    "noisy": lambda maps: maps * np.exp(0.5 * np.random.default_rng(0).normal(size=maps.shape)).astype("f4"),
    "shuffled": lambda maps: np.random.default_rng(0).permuted(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape),
}


def smoothed_by(maps, width):
    return smooth_gaussian(torch.from_numpy(maps), width).numpy()


def test_unseen_maps_of_the_own_suite_are_flagged_at_most_at_the_stated_rate(predictor, own):
    p = judge(predictor, own).p_value
    error = (LEVEL * (1 - LEVEL) / N_UNSEEN) ** 0.5
    assert p.shape == (len(own),)
    assert (p < LEVEL).mean() <= LEVEL + 2 * error
    assert 0.3 < np.median(p) < 0.7


def test_sets_of_the_own_suite_are_seldom_flagged(predictor, own):
    sets = [own[15 * first : 15 * (first + n)] for n in (1, 5) for first in range(0, N_UNSEEN, 5)]
    assert np.mean([judge(predictor, each).is_unlike for each in sets]) <= 0.17


def test_a_set_at_one_cosmology_is_not_unlike_by_itself(predictor, data):
    suite = open_suite(data, "MockTNG", set_name="CV", check=False)
    assert not judge_suite(predictor, suite, np.arange(10)).is_unlike
    assert not judge_suite(predictor, suite, np.arange(1)).is_unlike


@pytest.mark.parametrize("alter", ALTERED.values(), ids=ALTERED)
def test_unlike_maps_are_caught_with_a_reason(predictor, own, alter):
    trust = judge(predictor, alter(own[:150]))
    assert trust.is_unlike
    assert trust.set_p_value < 0.01
    assert trust.reasons
    assert trust.sentence.startswith("unlike the training's (p ")
    assert trust.sentence.endswith("; error bars do not hold")
    assert np.median(trust.p_value) < np.median(judge(predictor, own[:150]).p_value)


def test_smoothed_maps_are_said_to_be_of_lower_resolution_and_to_lack_power(predictor, own):
    told = judge(predictor, ALTERED["smoothed"](own[:150])).sentence
    assert "resolution is lower" in told
    assert "power at k > " in told
    assert "% lower than the answers imply" in told


@pytest.mark.parametrize(("factor", "remedy"), [(HUBBLE**2, "1/h^2"), (HUBBLE**-2, "h^2")])
def test_a_forgotten_power_of_h_is_named(predictor, own, factor, remedy):
    trust = judge(predictor, np.float32(factor) * own[:150])
    assert trust.is_unlike
    assert f"multiplied by {remedy} they would be like the training's" in trust.sentence


def test_one_map_is_judged_by_itself(predictor, own):
    trust = judge(predictor, own[0])
    assert trust.set_p_value is None
    assert trust.sentence == f"this map is like the training's (p = {trust.p_value[0]:.2g})"
    assert judge(predictor, ALTERED["shuffled"](own[:1])).is_unlike


def test_tensors_and_shares_of_simulations_may_be_given(predictor, own):
    order = np.random.default_rng(0).permutation(60)
    simulations = np.repeat([7, 3, 9, 1], 15)
    usual = judge(predictor, torch.from_numpy(own[:60]), simulations)
    assert judge(predictor, own[:60]).set_p_value == usual.set_p_value
    np.testing.assert_allclose(judge(predictor, own[:60][order], simulations[order]).p_value, usual.p_value[order])
    with pytest.raises(UserError, match=r"simulations of shape \(3,\).*each of the 60 maps"):
        judge(predictor, own[:60], [1, 2, 3])


def test_absurd_maps_are_flagged_where_they_are_let_through(predictor, own):
    for absurd in (np.log10(own[:15]), own[:15] / own[:15].mean(), 1e10 * own[:15]):
        assert judge(predictor, absurd).set_p_value < LEVEL


def test_a_network_on_summaries_has_a_reference_too(data, own):
    torch.manual_seed(0)
    suite = open_suite(data, "MockTNG", check=False)
    spectrum = fit_inputs("power spectrum", [(suite, SPLIT.train)])
    network = MomentPerceptron(n_inputs=len(spectrum.mean), n_layers=2, n_neurons=16, dropout=0.1).eval()
    spec = replace(SPEC, inputs="power spectrum")
    predictor = Predictor(network, spec, spectrum, SPLIT.train, SPLIT.validation, {}, layout=suite.layout)
    reference = make_reference(predictor, [(suite, SPLIT.train)], [(suite, SPLIT.validation)])
    assert not judge(predictor, own[:150], reference=reference).is_unlike
    assert judge(predictor, ALTERED["noisy"](own[:150]), reference=reference).is_unlike


def test_an_ensemble_is_as_unlike_as_its_most_unlike_member_finds(predictor, own):
    like, unlike = judge(predictor, own[:45]), judge(predictor, ALTERED["shuffled"](own[:45]))
    together = Trust.of_members([like, unlike])
    assert together.is_unlike
    assert together.reasons == unlike.reasons
    assert together.set_p_value == pytest.approx(2 * unlike.set_p_value)
    assert not Trust.of_members([like, like]).is_unlike


def test_without_a_reference_nothing_is_claimed(weights, own, tmp_path):
    copy = tmp_path / "bare.safetensors"
    copy.write_bytes(weights.read_bytes())
    trust = judge(load(copy, "cpu"), own[:4])
    assert not trust.is_known
    assert not trust.is_unlike
    assert np.isnan(trust.p_value).all()
    assert trust.set_p_value is None
    assert "fieldlevel trust" in trust.sentence


def test_a_reference_is_small_and_comes_back_as_it_was(weights, predictor, data, own):
    assert find_reference(weights) == reference_path(weights)
    assert reference_path(weights).stat().st_size < MOST_BYTES
    suite = open_suite(data, "MockTNG", check=False)
    made = make_reference(predictor, [(suite, SPLIT.train)], [(suite, SPLIT.validation)])
    fresh, read = judge(predictor, own[:45], reference=made), judge(predictor, own[:45])
    np.testing.assert_allclose(fresh.p_value, read.p_value, atol=0.02)
    assert fresh.set_p_value == pytest.approx(read.set_p_value, abs=0.02)


@pytest.fixture(scope="module")
def of_any_width(predictor, tmp_path_factory):
    """A reference of training maps that were each smoothed by up to 1.5 pixels."""
    folder = tmp_path_factory.mktemp("many")
    write_set(folder, "LH", 120, 5)  # enough of them for a regression on the answers and the widths
    suite = open_suite(folder, "MockTNG", check=False)
    blurred = replace(predictor, spec=replace(predictor.spec, blur=1.5))
    return make_reference(blurred, [(suite, np.arange(80))], [(suite, np.arange(80, 120))])


def sets_of_five(maps):
    return [maps[start : start + 75] for start in range(0, len(maps), 75)]


@pytest.mark.parametrize("width", [0.0, 0.3, 0.5, 0.7, 1.0, 1.3, 1.5])
def test_maps_of_a_width_of_the_training_are_not_unlike_for_it(predictor, own, of_any_width, width):
    smoothed = smoothed_by(own, width)
    assert np.mean(judge(predictor, smoothed, reference=of_any_width).p_value < LEVEL) < 0.15
    found = [judge(predictor, each, reference=of_any_width) for each in sets_of_five(smoothed)]
    assert np.mean([each.is_unlike for each in found]) <= 0.17
    if width > 0.3:
        assert judge(predictor, smoothed).is_unlike


@pytest.mark.parametrize("width", [2.0, 3.0])
def test_maps_beyond_the_widths_of_the_training_are_unlike(predictor, own, of_any_width, width):
    smoothed = smoothed_by(own, width)
    assert np.mean(judge(predictor, smoothed, reference=of_any_width).p_value < LEVEL) > 0.9
    assert all(judge(predictor, each, reference=of_any_width).is_unlike for each in sets_of_five(smoothed))


@pytest.mark.parametrize("alter", [ALTERED["noisy"], ALTERED["shuffled"]], ids=["noisy", "shuffled"])
def test_maps_of_a_known_width_may_be_unlike_otherwise(predictor, own, of_any_width, alter):
    altered = alter(smoothed_by(own, 0.5))
    assert all(judge(predictor, each, reference=of_any_width).is_unlike for each in sets_of_five(altered))


def test_widths_are_found_within_those_of_the_training(predictor, own, of_any_width):
    for width in (0.7, 1.0, 1.5):
        squares = of_any_width.widths.squares(measure(predictor, smoothed_by(own, width)))
        assert squares.mean() == pytest.approx(width**2, abs=0.05)
        assert squares.std() < 0.1
    most = of_any_width.widths.squares(measure(predictor, smoothed_by(own, 4.0)))
    assert most.max() <= of_any_width.widths.high < 2.0**2


def test_widths_end_where_those_of_the_training_do(predictor, own, of_any_width):
    widths, measured = of_any_width.widths, measure(predictor, own[:15])
    assert -0.5 < widths.low < 0 and 1.65**2 < widths.high < 2.0**2
    endless = replace(widths, low=-np.inf, high=np.inf)
    far = [replace(measured, power=factor * measured.power) for factor in (-3, 3)]
    bounded, found = (np.concatenate([each.squares(maps) for maps in far]) for each in (widths, endless))
    assert (bounded == found.clip(widths.low, widths.high)).all()
    assert (bounded != found).any()


def test_every_simulation_has_maps_of_all_widths(of_any_width):
    held_out = of_any_width.held_out
    for number in np.unique(held_out.simulation):
        own = np.sort(held_out.width[held_out.simulation == number])
        assert len(own) == 15
        assert np.diff(own).max() < 0.5
    near = held_out.chosen(held_out.near(1.0))
    assert np.unique(near.simulation, return_counts=True)[1].tolist() == [N_NEAR] * 40
    assert np.abs(near.width - 1.0).max() < 0.4


def test_groups_and_widths_come_back_from_the_file(weights, predictor, own, of_any_width, tmp_path):
    told = replace(of_any_width.held_out, group=of_any_width.held_out.simulation % 2)
    path = write_reference_file(tmp_path / "any.trust.safetensors", replace(of_any_width, held_out=told), "of weights")
    read = read_reference_file(path, "of weights")
    assert np.bincount(read.held_out.group).tolist() == [300, 300]
    maps = smoothed_by(own[:60], 0.7)
    fresh, again = (judge(predictor, maps, reference=each) for each in (replace(of_any_width, held_out=told), read))
    np.testing.assert_allclose(fresh.p_value, again.p_value, atol=0.03)
    assert fresh.set_p_value == pytest.approx(again.set_p_value, abs=0.05)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("width_limits", lambda values: values.flip(0)),
        ("width_scale", lambda values: 0 * values),
        ("width_centre", lambda values: values[:-1]),
        ("width_coefficients", lambda values: values[:-1]),
        ("width", lambda values: values[:-1]),
        ("width", None),
        ("group", lambda values: values - 9),
        ("group", lambda values: values[:-1]),
    ],
)
def test_widths_and_groups_that_fit_nothing_are_refused(of_any_width, tmp_path, name, change):
    told = replace(of_any_width.held_out, group=of_any_width.held_out.simulation % 2)
    path = write_reference_file(tmp_path / "any.trust.safetensors", replace(of_any_width, held_out=told), "of weights")
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {each: file.get_tensor(each) for each in file.keys()}  # noqa: SIM118
    value = tensors.pop(name)
    tensors |= {} if change is None else {name: change(value).contiguous()}
    path.write_bytes(content_of(tensors, {each: text for each, text in metadata.items() if each != "checksum"}))
    with pytest.raises(UserError, match=r"any\.trust\.safetensors: damaged .*fieldlevel trust"):
        read_reference_file(path, "of weights")


def test_maps_are_compared_with_those_of_validation_simulations_alone(predictor, data):
    suite, held_out = open_suite(data, "MockTNG", check=False), reference_of(predictor).held_out
    assert held_out.n_simulations == len(SPLIT.validation)
    of_validation = measure(predictor, suite.maps[suite.maps_of(np.sort(SPLIT.validation))])
    np.testing.assert_allclose(held_out.answers, of_validation.answers, atol=1e-4)


def test_test_maps_make_no_difference(weights, data, tmp_path):
    """Nor do their labels: the reference is the same to the bit where all of them are others."""
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    maps = np.load(tmp_path / "Maps_Mtot_MockTNG_LH_z=0.00.npy")
    maps[(15 * SPLIT.test[:, None] + np.arange(15)).reshape(-1)] = np.nan
    np.save(tmp_path / "Maps_Mtot_MockTNG_LH_z=0.00.npy", maps)
    again = write_reference(weights, tmp_path, device="cpu", out=tmp_path / "again.safetensors")
    assert again.read_bytes() == reference_path(weights).read_bytes()


DAMAGE = {
    "a byte": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "its end": lambda content: content[:-100],
    "all": lambda content: b"no reference",
    "its size": lambda content: content + bytes(MOST_BYTES),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_reference_is_refused_in_a_line(weights, own, tmp_path, damage):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    reference_path(copy).write_bytes(damage(reference_path(weights).read_bytes()))
    with pytest.raises(UserError, match=r"weights\.trust\.safetensors: .*fieldlevel trust") as trouble:
        judge(load(copy, "cpu"), own[:4])
    assert len(str(trouble.value).splitlines()) == 1


def test_the_reference_of_other_weights_is_refused(weights, tmp_path):
    other = tmp_path / "weights.safetensors"
    torch.manual_seed(1)
    save_network(other, MomentNetwork(N_PIXELS, 1, 0.0).eval(), SPEC, Normaliser(11.0, 0.5), provenance={})
    reference_path(other).write_bytes(reference_path(weights).read_bytes())
    with pytest.raises(UserError, match="belongs to other weights"):
        reference_of(load(other, "cpu"))


def test_a_network_in_float16_keeps_its_reference(weights, tmp_path, own):
    small = shrink_weights(weights, tmp_path / "small.safetensors")
    ours, theirs = judge(load(small, "cpu"), own[:45]), judge(load(weights, "cpu"), own[:45])
    assert ours.is_known
    np.testing.assert_allclose(ours.p_value, theirs.p_value, atol=0.1)


def test_other_simulations_than_those_of_the_training_are_refused(weights, data, tmp_path):
    write_set(tmp_path, "LH", N_SIMULATIONS, 5)
    with pytest.raises(UserError, match="not the simulations that the network was trained on, as their parameters"):
        write_reference(weights, tmp_path, device="cpu")
    write_set(tmp_path, "LH", 20, 5)
    with pytest.raises(UserError, match="it has 20"):
        write_reference(weights, tmp_path, device="cpu")
    with pytest.raises(UserError, match="not trained on SIMBA but on MockTNG LH"):
        write_reference(weights, data, "SIMBA", device="cpu")
    with pytest.raises(UserError, match="was trained or validated on"):
        write_reference(weights, data, unseen="LH", device="cpu", out=tmp_path / "out.safetensors")


def test_other_maps_of_the_right_parameters_are_refused(weights, data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    np.save(path, np.float32(HUBBLE) * np.load(path))
    with pytest.raises(UserError, match="not the simulations that the network was trained on, as their maps") as told:
        write_reference(weights, tmp_path / "data", device="cpu", out=tmp_path / "t.safetensors")
    assert len(str(told.value).splitlines()) == 1


def test_thresholds_may_come_from_another_set(weights, data, tmp_path):
    path = write_reference(weights, data, unseen="LHnew", device="cpu", out=tmp_path / "weights.trust.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(weights.read_bytes())
    assert path == reference_path(tmp_path / "weights.safetensors")
    assert reference_of(load(tmp_path / "weights.safetensors", "cpu")).held_out.n_simulations == N_UNSEEN


def test_maps_that_p_values_are_compared_with_are_known_again(weights, data, own, tmp_path, capsys):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    write_reference(copy, data, unseen="LHnew", device="cpu")
    predictor, told = load(copy, "cpu"), r"of these maps are among those of MockTNG LHnew .*p means nothing"
    turned = torch.from_numpy(own[:30].copy()).flip(1)
    for maps in (own[:30], turned):
        assert len(judge(predictor, maps).remarks) == 1
    flags = ["--data", str(data), "--suite", "MockTNG", "--set", "LHnew", "--simulations", "all", "--device", "cpu"]
    assert main(["evaluate", str(copy), *flags, "--out", str(tmp_path / "out")]) == 0
    assert re.search(f"note: {len(own)} {told}", capsys.readouterr().out)
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["trust"]["remarks"]) == 1
    np.save(tmp_path / "own.npy", own[:30])
    assert main(["infer", str(copy), str(tmp_path / "own.npy"), "--device", "cpu"]) == 0
    assert re.search(f"note: 30 {told}", capsys.readouterr().out)
    assert judge(load(weights, "cpu"), own[:30]).remarks == ()
    small = shrink_weights(copy, tmp_path / "small.safetensors")
    assert judge(load(small, "cpu"), own[:1]).remarks[0].startswith("1 of these maps is among")
    assert judge(predictor, toy_maps(np.random.default_rng(9), np.tile(CMD.lows, (2, 1)))).remarks == ()


def test_test_simulations_under_another_name_are_no_thresholds(weights, data, tmp_path):
    suite = open_suite(data, "MockTNG", check=False)
    shutil.copytree(data, tmp_path / "data")
    write_set(tmp_path / "data", "LHtest", len(SPLIT.test), 3, suite.parameters[SPLIT.test])
    with pytest.raises(UserError, match="test simulations of the network"):
        write_reference(weights, tmp_path / "data", unseen="LHtest", device="cpu", out=tmp_path / "t.safetensors")


def test_a_set_at_one_cosmology_gives_no_thresholds(weights, data, tmp_path):
    with pytest.raises(UserError, match="MockTNG CV: its simulations hardly differ in their cosmology"):
        write_reference(weights, data, unseen="CV", device="cpu", out=tmp_path / "t.safetensors")


def test_few_held_out_simulations_are_told_of(weights, data, own, tmp_path, capsys):
    shutil.copytree(data, tmp_path / "data")
    write_set(tmp_path / "data", "LHfew", 10, 6)
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    flags = ["trust", str(copy), "--data", str(tmp_path / "data"), "--device", "cpu"]
    for set_name, few in (("LHnew", 0), ("LHfew", 1)):
        assert main([*flags, "--unseen", set_name]) == 0
        assert capsys.readouterr().out.count("compared with 10 held-out simulations, fewer than 20") == few
    predictor = load(copy, "cpu")
    assert len(judge(predictor, ALTERED["shuffled"](own[:30])).remarks) == 1


def test_siblings_count_as_one_simulation(predictor, data):
    suite = open_suite(data, "MockTNG", check=False)
    stranger = replace(suite, layout=replace(suite.layout, initial_conditions="elsewhere"))
    unknown = replace(suite, layout=replace(suite.layout, initial_conditions=""))
    for other, n in ((replace(suite, suite="MockSIMBA"), 1), (stranger, 2), (unknown, 2)):
        held_out = [(each, SPLIT.validation) for each in (suite, other)]
        reference = make_reference(predictor, [(suite, SPLIT.train)], held_out)
        assert reference.held_out.n_simulations == n * len(SPLIT.validation)
        assert len(reference.held_out.rows) == 2 * 15 * len(SPLIT.validation)
        of_each = 15 * len(SPLIT.validation)
        assert np.bincount(reference.held_out.group).tolist() == [of_each, of_each]


def test_a_good_reference_is_kept_unless_another_is_asked_for(weights, data, tmp_path, capsys):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    good, path = reference_path(weights).read_bytes(), reference_path(copy)
    flags = ["trust", str(copy), "--data", str(data), "--device", "cpu"]
    assert main([*flags, "--unseen", "LHnew"]) == 0
    other = path.read_bytes()
    capsys.readouterr()
    assert main(flags) == 0
    told = capsys.readouterr().out
    assert "is kept" in told
    assert len(told.splitlines()) == 1
    assert path.read_bytes() == other
    path.write_bytes(DAMAGE["a byte"](good))
    assert main(flags) == 0
    assert path.read_bytes() == good


def test_a_reference_that_knows_neither_suites_nor_widths_of_its_network_is_made_again(weights, tmp_path, monkeypatch):
    copy, read = tmp_path / "weights.safetensors", reference_making.read_weights_file
    copy.write_bytes(weights.read_bytes())
    reference_path(copy).write_bytes(reference_path(weights).read_bytes())
    assert kept_reference(copy) == reference_path(copy)
    known = read(weights)
    for now in (
        replace(known, spec=replace(known.spec, blur=1.0)),
        replace(known, sources=(known.sources[0], replace(known.sources[0], suite="MockSIMBA"))),
    ):
        monkeypatch.setattr(reference_making, "read_weights_file", lambda path, now=now: now)
        assert kept_reference(copy) is None


def test_a_damaged_reference_is_told_of_before_the_network_runs(weights, data, own, tmp_path, capsys, monkeypatch):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    reference_path(copy).write_bytes(DAMAGE["a byte"](reference_path(weights).read_bytes()))
    np.save(tmp_path / "own.npy", own[:2])
    monkeypatch.setattr(MomentNetwork, "forward", lambda *_: pytest.fail("the network ran"))
    flags = ["--data", str(data), "--suite", "MockTNG", "--set", "LHnew", "--simulations", "all", "--device", "cpu"]
    evaluate = ["evaluate", str(copy), *flags, "--out", str(tmp_path / "out")]
    infer = ["infer", str(weights), str(tmp_path / "own.npy"), "--members", str(copy), "--device", "cpu"]
    for arguments in (evaluate, infer):
        assert main(arguments) == 2
        assert capsys.readouterr().err.strip().startswith(f"fieldlevel: {reference_path(copy)}: ")
    with pytest.raises(UserError, match="its checksum is another"):
        load(copy, "cpu").posterior(own[:2])


def test_a_finished_training_is_completed_once(weights, data, tmp_path):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    assert complete_reference(copy, data, "cpu") == ()
    made = reference_path(copy)
    assert made.read_bytes() == reference_path(weights).read_bytes()
    first = made.stat().st_mtime_ns
    assert complete_reference(copy, data, "cpu") == ()
    assert made.stat().st_mtime_ns == first
    made.write_bytes(b"killed")
    assert complete_reference(copy, data, "cpu") == ()
    assert made.read_bytes() == reference_path(weights).read_bytes()


def test_the_command_line_says_whether_maps_are_like_the_trainings(weights, data, own, tmp_path, capsys):
    for name, maps in {"own": own[:30], "unlike": ALTERED["smoothed"](own[:30])}.items():
        np.save(tmp_path / f"{name}.npy", maps)
        assert main(["infer", str(weights), str(tmp_path / f"{name}.npy"), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "these maps are like the training's (p = " in told
    assert "resolution is lower" in told
    flags = ["--data", str(data), "--suite", "MockTNG", "--set", "LHnew", "--simulations", "all", "--device", "cpu"]
    assert main(["evaluate", str(weights), *flags, "--out", str(tmp_path / "out")]) == 0
    kept = json.loads((tmp_path / "out" / "metrics.json").read_text())["trust"]
    assert kept["sentence"] in capsys.readouterr().out
    assert len(kept["p_values"]) == len(own)
    assert main(["trust", str(weights), "--data", str(data), "--out", str(tmp_path / "t.safetensors")]) == 0
    assert (tmp_path / "t.safetensors").read_bytes() == reference_path(weights).read_bytes()


@pytest.mark.parametrize("victim", ["weights", "maps", "notes", "link"])
def test_no_other_file_is_replaced_by_a_reference(weights, data, tmp_path, victim, capsys):
    copy = tmp_path / "weights.safetensors"
    copy.write_bytes(weights.read_bytes())
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(copy)
    maps = data / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    path = {"weights": copy, "maps": maps, "notes": tmp_path / "notes.txt", "link": tmp_path / "link"}[victim]
    before = path.read_bytes()
    assert main(["trust", str(copy), "--data", str(data), "--out", str(path), "--device", "cpu"]) == 2
    told = capsys.readouterr().err
    assert path.name in told
    assert "measured" not in told
    assert path.read_bytes() == before
    assert find_reference(copy) is None


def test_a_reference_in_the_package_is_no_network_of_its_own(weights, own, tmp_path, monkeypatch):
    monkeypatch.setattr(packaged, "FOLDER", tmp_path)
    (tmp_path / "Mine.safetensors").write_bytes(weights.read_bytes())
    reference_path(tmp_path / "Mine.safetensors").write_bytes(reference_path(weights).read_bytes())
    assert packaged.trained_names() == ["Mine"]
    assert judge(load("Mine", "cpu"), own[:15]).is_known


def test_a_training_writes_its_reference_or_says_why_not(data, tmp_path, capsys):
    small = ["--batch-size", "16", "--n-steps", "4", "--validate-every", "2", "--network.hidden", "1"]
    split = ["--split.train", "0.6", "--split.validation", "0.3", "--head-batches", "2", "--statistics-batches", "2"]
    flags = ["train", "--data", str(data), "--device", "cpu", *small]
    assert main([*flags, *split, "--out", str(tmp_path / "net")]) == 0
    assert (tmp_path / "net" / "weights.trust.safetensors").exists()
    assert "note" not in capsys.readouterr().out
    split[3] = "0.05"
    assert main([*flags, *split, "--out", str(tmp_path / "few")]) == 0
    assert "no reference is kept" in capsys.readouterr().out
    assert not (tmp_path / "few" / "weights.trust.safetensors").exists()


TOY = replace(
    SPEC,
    network=NetworkSpec(hidden=1),
    batch_size=16,
    n_steps=4,
    validate_every=2,
    head_batches=2,
    statistics_batches=2,
)


def test_a_training_in_python_writes_its_reference_too(data, tmp_path):
    path = fieldlevel.train(TOY, data, tmp_path / "net", "cpu", check=False)
    assert kept_reference(path) == reference_path(path)
    first = reference_path(path).read_bytes()
    reference_path(path).unlink()
    assert fieldlevel.train(TOY, data, tmp_path / "net", "cpu", check=False) == path
    assert reference_path(path).read_bytes() == first
    other = fieldlevel.train(TOY, data, tmp_path / "other", "cpu", check=False, reference=False)
    assert find_reference(other) is None


def test_the_best_networks_of_a_search_get_references(data, tmp_path):
    paths = fieldlevel.tune(TuneSpec(TOY, n_trials=2, n_kept=1), data, tmp_path / "search", "cpu", check=False)
    assert [kept_reference(path) for path in paths] == [reference_path(path) for path in paths]


def test_too_few_simulations_are_told_before_any_map_is_looked_at(predictor, data):
    suite, looked = open_suite(data, "MockTNG", check=False), []
    with pytest.raises(UserError, match="4 simulations that it has not seen"):
        make_reference(predictor, [(suite, SPLIT.train)], [(suite, SPLIT.validation[:4])], looked.append)
    assert not looked


@pytest.fixture
def passes(monkeypatch):
    """Maps that went through a network, block by block."""
    seen, forward = [], MomentNetwork.forward
    monkeypatch.setattr(MomentNetwork, "forward", lambda self, x: seen.append(len(x)) or forward(self, x))
    return seen


def test_a_posterior_is_judged_on_the_way_of_its_maps_through_the_network(predictor, own, passes):
    found = predictor.posterior(own[:150])
    assert sum(passes) == 150
    known, (mean, std) = judge(predictor, own[:150]), predictor.predict(own[:150])
    np.testing.assert_allclose(found.trust.p_value, known.p_value, rtol=1e-3)
    assert found.trust.set_p_value == pytest.approx(known.set_p_value, rel=1e-3)
    assert (found.trust.sentence, found.trust.remarks) == (known.sentence, known.remarks)
    np.testing.assert_array_equal(found.moments, (mean, std))
    unlike = ALTERED["smoothed"](own[:150])
    assert predictor.posterior(unlike).trust.reasons == judge(predictor, unlike).reasons != ()


def test_an_evaluation_takes_one_pass_for_answers_and_p_values(predictor, data, passes):
    suite, reference = open_suite(data, "MockTNG", set_name="LHnew", check=False), reference_of(predictor)
    found = evaluate_suite(predictor, suite, "all", reference=reference)
    assert sum(passes) == 15 * N_UNSEEN
    predictions = predict_suite(predictor, suite, "all")
    np.testing.assert_array_equal(found.predictions.mean, predictions.mean)
    np.testing.assert_array_equal(found.predictions.std, predictions.std)
    known = judge_suite(predictor, suite, np.arange(N_UNSEEN))
    np.testing.assert_array_equal(found.trust.p_value, known.p_value)
    assert found.trust.set_p_value == known.set_p_value and found.samples is None
    assert not evaluate_suite(predictor, suite, "all").trust.is_known


def test_samples_of_joint_posteriors_come_from_the_same_pass(toy, data):
    suite, joint = open_suite(data, "MockTNG", set_name="CV", check=False), toy(joint=True)
    found = evaluate_suite(joint, suite, [2, 5], anyway=True, n_samples=20)
    drawn = [
        joint.density(suite.read_simulation(number), anyway=True).sample(20, seed=number).numpy() for number in (2, 5)
    ]
    np.testing.assert_array_equal(found.samples, np.concatenate(drawn, axis=1))
    np.testing.assert_array_equal(found.predictions.simulation, np.repeat([2, 5], 15))


def test_the_networks_of_the_pairs_of_a_letter_get_references(data, tmp_path):
    suites = {("MockTNG", "LH"): open_suite(data, "MockTNG", check=False)}
    other, store = replace(TOY, seed=1), Store(tmp_path / "runs")
    plan = {FIRST: (EvaluateSpec(network=TOY),), ExperimentKey("other"): (EvaluateSpec(network=other),)}
    train_missing(store, plan, suites, [torch.device("cpu")])
    of_pairs, of_other = (weights_of(store, each, suites) for each in (TOY, other))
    assert kept_reference(of_pairs) == reference_path(of_pairs)
    assert of_other.exists() and find_reference(of_other) is None


def test_a_forgotten_factor_is_looked_for_in_maps_of_several_blocks(predictor, own, monkeypatch):
    """On a CPU blocks are small, and a factor shows in many maps alone."""
    given = []
    monkeypatch.setattr(
        "fieldlevel.inference.trust.judging.forgotten_factor",
        lambda reader, reference, maps, numbers, p: given.append((len(maps), np.unique(numbers).tolist(), p)) or "",
    )
    judging = Judging(predictor, reference_of(predictor))
    for start in range(0, 150, 10):
        block = slice(start, start + 10)
        maps = np.float32(100.0) * own[block]
        judging.add(maps, np.arange(150)[block] // 15, measure(predictor, maps))
    assert judging.verdict().is_unlike
    ((n, simulations, p),) = given
    assert (n, simulations) == (120, list(range(8)))
    assert p == judge(predictor, np.float32(100.0) * own[:120]).set_p_value < 0.05


def test_where_no_factor_helps_a_few_maps_tell_so(predictor, own, passes):
    unlike = ALTERED["smoothed"](own[:150])
    assert predictor.posterior(unlike).trust.is_unlike
    assert sum(passes) == 150 + len(POWERS) * 30
    passes.clear()
    assert "1/h^2" in predictor.posterior(np.float32(HUBBLE**2) * own[:150], anyway=True).trust.sentence
    assert 150 + len(POWERS) * 30 < sum(passes) <= 150 + len(POWERS) * 30 + 2 * 120
