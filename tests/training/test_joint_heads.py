"""Networks with the heads of joint posteriors train, go on after a stop, are saved and loaded by their names."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from stopping import InterruptionError, interrupt_at

from fieldlevel.cli import main
from fieldlevel.data.batches import MapSet
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec, PerceptronSpec
from fieldlevel.inference.predictor import load
from fieldlevel.inference.shrink import shrink_weights
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.state import validation_loss
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train, train_network
from fieldlevel.training.weights_file import content_of, read_parts

SPEC = TrainSpec(
    split=SplitSpec(train=0.75, validation=0.125),
    network=NetworkSpec(hidden=1),
    optimiser=OptimiserSpec(learning_rate=1e-2),
    batch_size=16,
    n_steps=30,
    validate_every=8,
    statistics_batches=3,
    head_batches=3,
    joint_steps=100,
)
KINDS = {
    "gaussian": replace(SPEC, head="gaussian", head_options={"dropout": 0.1}, squared_error_steps=5),
    "flow": replace(SPEC, head="flow", head_options={"n_hidden": 8}),
    "affine": replace(
        SPEC, head="flow", head_options={"n_hidden": 8, "kind": "affine", "frozen": True}, squared_error_steps=5
    ),
}


@pytest.fixture(params=KINDS)
def spec(request) -> TrainSpec:
    if request.param != "gaussian":
        pytest.importorskip("zuko")
    return KINDS[request.param]


def map_set(n_maps: int, seed: int) -> MapSet:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator)
    maps = torch.randn(n_maps, 16, 16, generator=generator) + theta[:, :1, None]
    return MapSet(maps, theta, torch.arange(n_maps))


def weights_of(path) -> dict[str, torch.Tensor]:
    return load(path, "cpu").network.state_dict()


def test_spec_survives_json(spec):
    assert from_json(TrainSpec, to_json(spec), "spec") == check_train_spec(spec) == spec


def test_saved_and_loaded_it_has_the_same_density(spec, directory, tmp_path):
    weights = train(spec, directory, tmp_path / "run", "cpu")
    first, second = (load(weights, "cpu") for _ in range(2))
    x = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    ours, theirs = first.network.density(x), second.network.density(x)
    assert first.spec == spec
    assert ours.is_joint
    assert ours.covariance.shape == (4, 6, 6)
    assert torch.equal(ours.sample(20, seed=3), theirs.sample(20, seed=3))
    mean, std = first.predict(open_suite(directory, "MockTNG").maps[:20])
    assert mean.shape == std.shape == (20, 6)
    assert (std > 0).all()
    small = load(shrink_weights(weights, tmp_path / "small.safetensors"), "cpu")
    assert torch.allclose(small.network.density(x).mean, ours.mean, atol=0.02)


def test_a_damaged_file_is_told_as_such(spec, directory, tmp_path):
    """Nobody's own class is to blame, and no memory is taken for sizes that are none."""
    weights = train(replace(spec, n_steps=8), directory, tmp_path / "run", "cpu")
    metadata, state = read_parts(weights)
    for n_outputs in (5, 2**27):
        sizes = json.dumps({"shape": [1, 16, 16], "n_outputs": n_outputs})
        (tmp_path / "damaged.safetensors").write_bytes(content_of(state, metadata | {"network": sizes}))
        with pytest.raises(UserError, match=f"damaged weights file .n_outputs = {n_outputs}, not 6"):
            load(tmp_path / "damaged.safetensors", "cpu")
    name = next(name for name in state if name.startswith("head.layers.2"))
    (tmp_path / "damaged.safetensors").write_bytes(content_of({**state, name: torch.zeros(2, 2)}, metadata))
    with pytest.raises(UserError, match=r"damaged weights file \(head.layers.2"):
        load(tmp_path / "damaged.safetensors", "cpu")


def test_an_interrupted_run_ends_with_the_same_bits(spec, directory, tmp_path):
    whole = train(spec, directory, tmp_path / "whole", "cpu")
    for step in (10, 24):
        with pytest.raises(InterruptionError):
            train(spec, directory, tmp_path / "run", "cpu", interrupt_at(step))
    resumed = train(spec, directory, tmp_path / "run", "cpu")
    ours, theirs = weights_of(whole), weights_of(resumed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_loss_that_is_told_is_that_of_what_predicts(spec):
    training, validation = map_set(60, 1), map_set(20, 2)
    validation.theta[:7, 3] = torch.nan
    trained = train_network(spec, training, validation)
    assert trained.validation_loss == validation_loss(trained.network, validation, spec.batch_size)
    losses = [validation_loss(trained.network, validation, size) for size in (8, 24, 1000)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_a_target_that_is_not_known_spoils_nothing(spec):
    training, validation = map_set(60, 1), map_set(20, 2)
    training.theta[::2, 5] = torch.nan
    training.theta[::3] = torch.nan
    trained = train_network(spec, training, validation)
    assert all(torch.isfinite(value).all() for value in trained.network.state_dict().values())
    assert np.isfinite(trained.validation_loss)


def test_the_network_and_the_moments_are_those_of_any_number_of_joint_steps(spec):
    first, second = (
        train_network(replace(spec, joint_steps=n), map_set(60, 1), map_set(20, 2)).network for n in (1, 100)
    )
    ours, theirs = first.state_dict(), second.state_dict()
    changed = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert changed
    assert changed <= {f"head.{name}" for name in first.head.state_dict() if not name.startswith("moments")}


def test_summaries_have_these_heads_too(spec):
    narrow = PerceptronSpec(n_layers=1, n_neurons=8, dropout=0.0)
    spec = replace(spec, inputs="power spectrum", perceptron=narrow, squared_error_steps=0)
    sets = [replace(each, maps=each.maps[:, :, 0].contiguous()) for each in (map_set(60, 1), map_set(20, 2))]
    density = train_network(check_train_spec(spec), *sets).network.density(sets[1].maps[:, None])
    assert density.sample(3).shape == (3, 20, 6)


@pytest.mark.parametrize("name", ["gaussian", "flow"])
def test_the_command_line_knows_them(name, directory, tmp_path):
    if name == "flow":
        pytest.importorskip("zuko")
    options = ["--n-steps", "4", "--validate-every", "2", "--batch-size", "8", "--network.hidden", "1"]
    options += ["--statistics-batches", "3", "--joint-steps", "50"]
    split = ["--split.train", "0.75", "--split.validation", "0.125"]
    command = ["train", "--data", str(directory), "--out", str(tmp_path / "run"), "--device", "cpu", "--head", name]
    assert main([*command, "--head-options", "dropout", "0.1", *options, *split]) == 0
    loaded = load(tmp_path / "run" / "weights.safetensors", "cpu")
    assert loaded.spec.head == name
    assert loaded.spec.head_options == {"dropout": 0.1}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": "flow", "joint_steps": 0}, "joint_steps = 0: must be at least 1"),
        ({"head": "gaussian", "squared_error_steps": 30}, "leave no step"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings, message):
    pytest.importorskip("zuko")
    with pytest.raises(UserError, match=message):
        check_train_spec(replace(SPEC, **settings))


def test_the_moments_have_nothing_to_join(spec):
    check_train_spec(spec, refuse_idle=True)
    with pytest.raises(UserError, match="joint_steps = 100: would have no effect, as head = moments has nothing"):
        check_train_spec(replace(spec, head="moments", head_options={}), refuse_idle=True)


def test_the_means_of_all_of_them_may_be_warmed_up(spec):
    check_train_spec(replace(spec, squared_error_steps=5), refuse_idle=True)


def test_a_file_of_a_flow_names_the_extra_that_is_missing(directory, tmp_path, monkeypatch):
    pytest.importorskip("zuko")
    weights = train(replace(KINDS["flow"], n_steps=8), directory, tmp_path / "run", "cpu")
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(UserError, match=rf"^{weights}: head = flow: needs the package zuko; pip install"):
        load(weights, "cpu")
