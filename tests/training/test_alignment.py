"""Suites by name, one of them without labels: which simulations take part, and what can reach a network."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_sources import write

from fieldlevel.arguments import parse
from fieldlevel.cli import main
from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.predictor import load
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.sources import load_sets, open_data
from fieldlevel.training.trainer import train

N_SIMULATIONS = 16
SUITES, TARGET = ("MockTNG", "MockSIMBA"), "MockAstrid"
NAMES = ["--suites", *SUITES, "--align-with", TARGET, "--method", "mmd"]


@pytest.fixture
def folder(tmp_path):
    for seed, suite in enumerate((*SUITES, TARGET)):
        write(tmp_path / "data", suite, seed, n_simulations=N_SIMULATIONS)
    return tmp_path / "data"


@pytest.fixture
def aligned(spec):
    command = parse(["train", "--data", "data", *NAMES])
    return replace(spec, sources=command.spec.sources, method="mmd", batch_size=12, network=NetworkSpec(1, 0.0))


def test_suites_by_name_are_sources_in_equal_shares():
    spec = parse(["train", "--data", "data", "--suites", "IllustrisTNG", "SIMBA", "--set", "CV"]).spec
    assert spec.sources == (SourceSpec("IllustrisTNG", "CV"), SourceSpec("SIMBA", "CV"))
    assert spec.method == "pooled"
    spec = parse(["train", "--data", "data", "--suite", "SIMBA", "--align-with", "Astrid"]).spec
    assert spec.sources == (SourceSpec("SIMBA"), SourceSpec("Astrid", labelled=False, apart=True))


def test_where_initial_conditions_are_shared_the_last_part_is_kept_for_the_target():
    spec = parse(["train", "--data", "data", *NAMES, "--align-part", "0.25"]).spec
    assert [source.part for source in spec.sources] == [(0.0, 0.75), (0.0, 0.75), (0.75, 1.0)]
    assert [source.labelled for source in spec.sources] == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--suites", "SIMBA", "Astrid", "--align-with", "SIMBA"], "--align-with SIMBA: is trained on with labels"),
        (["--suite", "SIMBA", "--align-with", "SIMBA"], "--align-with SIMBA: is trained on with labels"),
        (["--suites", "SIMBA", "--align-part", "0.3"], "--align-part: would have no effect without --align-with"),
        ([*NAMES, "--align-part", "1"], "--align-part 1: give a fraction"),
        (["--suites", "SIMBA", "Astrid", "--align-with", "EAGLE"], "method = pooled: makes no use of EAGLE"),
        (["--suites", "SIMBA", "Astrid", "--method", "irm"], "method = irm: must be pooled, group-dro, vrex"),
        (["--suites", "SIMBA", "--suite", "Astrid"], "suite = Astrid: beside sources"),
    ],
)
def test_the_command_line_refuses_in_one_line(arguments, words, folder, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--data", str(folder), "--out", str(out), "--device", "cpu", *arguments]) == 2
    told = capsys.readouterr().err
    assert words in " ".join(told.split())
    assert not (out / "spec.json").exists()


def test_suites_beside_sources_of_a_file_are_refused(folder, tmp_path, capsys):
    given = tmp_path / "given.toml"
    given.write_text('[[sources]]\nsuite = "SIMBA"\n[[sources]]\nsuite = "Astrid"\n')
    assert main(["train", "--data", str(folder), "--config", str(given), *NAMES]) == 2
    assert "beside sources" in capsys.readouterr().err


def test_no_sibling_of_a_target_simulation_has_a_label(aligned, folder):
    one, other, target = open_data(aligned, folder, check=False)
    whole = aligned.split.divide(N_SIMULATIONS)
    assert one.split.train.tolist() == other.split.train.tolist()
    assert sorted([*one.split.train, *target.split.train]) == sorted(whole.train)
    assert not {*target.seen} & {*one.seen, *other.seen, *whole.test}


def test_siblings_are_left_out_whatever_the_parts_say(aligned, folder):
    *labelled, last = aligned.sources
    spec = replace(aligned, sources=(*labelled, replace(last, part=(0.0, 1.0))))
    *_, target = open_data(spec, folder, check=False)
    assert target.split.train.tolist() == open_data(aligned, folder, check=False)[2].split.train.tolist()
    whole = replace(aligned, sources=(*(replace(each, part=(0.0, 1.0)) for each in labelled), last))
    with pytest.raises(UserError, match="all training simulations of MockAstrid have siblings with labels in MockTNG"):
        open_data(whole, folder, check=False)
    kept = replace(whole, sources=(*whole.sources[:2], replace(last, apart=False, part=(0.0, 1.0))))
    assert len(open_data(kept, folder, check=False)[2].split.train) == len(whole.split.divide(N_SIMULATIONS).train)


def test_a_part_is_of_the_training_simulations_in_their_order(spec, folder):
    parts = (0.0, 0.5), (0.5, 1.0)
    sources = tuple(SourceSpec(suite, part=part) for suite, part in zip(SUITES, parts, strict=True))
    spec = replace(spec, sources=sources)
    one, other = open_data(spec, folder, check=False)
    order = spec.split.divide(N_SIMULATIONS).train
    assert [*one.split.train, *other.split.train] == order.tolist()
    training = load_sets(spec, (one, other), torch.device("cpu"))[1]
    assert training.n_maps == 15 * len(order)
    assert (training.seeds == 0).all()
    tiny = replace(spec, sources=(replace(sources[0], part=(0.0, 0.01)), sources[1]))
    with pytest.raises(UserError, match=r"part = 0 to 0.01 of MockTNG: none of its"):
        open_data(tiny, folder, check=False)


def test_a_part_of_one_suite_alone_is_no_other_suite(spec, folder, tmp_path):
    spec = replace(spec, sources=(SourceSpec("MockTNG", part=(0.0, 0.5)),))
    predictor = load(train(spec, folder, tmp_path / "half", "cpu"), "cpu")
    assert len(predictor.training_simulations) == len(spec.split.divide(N_SIMULATIONS).train) // 2


def weights_of(spec, folder, out):
    return load(train(spec, folder, out, "cpu", check=False), "cpu").network.state_dict()


def fill(folder, suite, simulations):
    path = SuiteFiles(folder, suite).maps_path
    maps = np.load(path)
    maps.reshape(N_SIMULATIONS, -1)[simulations] = np.nan
    np.save(path, maps)


@pytest.mark.parametrize("method", ["mmd", "adversarial", "batch-norms"])
def test_labels_and_test_maps_of_the_target_reach_nothing(method, aligned, folder, tmp_path):
    """Nor do siblings of test simulations, nor maps of the target whose siblings have labels."""
    spec = replace(aligned, method=method)
    before = weights_of(spec, folder, tmp_path / "before")
    one, other, target = open_data(spec, folder, check=False)
    not_seen = np.setdiff1d(np.arange(N_SIMULATIONS), target.seen)
    assert len(not_seen) > len(target.split.test)
    fill(folder, TARGET, not_seen)
    for source in (one, other):
        fill(folder, source.spec.suite, np.setdiff1d(np.arange(N_SIMULATIONS), source.seen))
    path = SuiteFiles(folder, TARGET).own_parameters_path
    np.savetxt(path, np.loadtxt(path)[::-1], fmt="%.6f")
    after = weights_of(spec, folder, tmp_path / "after")
    assert all(torch.equal(before[name], after[name]) for name in before)
    fill(folder, TARGET, target.seen[:1])
    with pytest.raises(UserError):
        weights_of(spec, folder, tmp_path / "seen")


def test_labels_of_the_target_may_be_no_numbers(aligned, folder):
    *labelled, target = open_data(aligned, folder, check=False)
    unknown = replace(target, suite=replace(target.suite, parameters=np.full_like(target.suite.parameters, np.nan)))
    cpu = torch.device("cpu")
    (one, training, _), (other, plain, _) = (load_sets(aligned, (*labelled, each), cpu) for each in (unknown, target))
    assert one == other
    assert all(torch.equal(getattr(training, name), getattr(plain, name)) for name in ("maps", "simulation"))
    assert torch.equal(training.theta.nan_to_num(nan=-1), plain.theta.nan_to_num(nan=-1))


def test_the_command_line_trains_on_suites_by_name(folder, tmp_path):
    sizes = ["--network.hidden", "1", "--batch-size", "12", "--n-steps", "6", "--validate-every", "3"]
    brief = ["--statistics-batches", "2", "--head-batches", "2", "--split.train", "0.5", "--split.validation", "0.25"]
    out = tmp_path / "run"
    arguments = ["train", "--data", str(folder), "--out", str(out), "--device", "cpu", *NAMES, *sizes, *brief]
    assert main([*arguments, "--method-options", "weight", "2.0"]) == 0
    predictor = load(out / "weights.safetensors", "cpu")
    assert predictor.spec.method_options == {"weight": 2.0}
    assert [len(source.training) for source in predictor.sources] == [4, 4, 4]
    assert predictor.layout.names[:3] == ("Omega_m", "sigma_8", "A_SN1[MockTNG]")


def test_a_network_says_what_it_was_aligned_with(aligned, folder, tmp_path):
    weights = train(replace(aligned, method="batch-norms"), folder, tmp_path / "run", "cpu")
    predictor = load(weights, "cpu")
    assert predictor.remarks == (
        "trained on MockTNG, MockSIMBA and MockAstrid (unlabelled), mock suites alone: it has seen no real simulation",
    )
    assert [source.labelled for source in predictor.sources] == [True, True, False]
    told = json.loads((tmp_path / "run" / "spec.json").read_text())
    assert told["method"] == "batch-norms"
    assert [source["share"] for source in told["sources"]] == [None, None, 0.0]
    assert train(replace(aligned, method="batch-norms"), folder, tmp_path / "run", "cpu") == weights
