"""A body and a head of somebody's own train, go on after a stop, are saved and loaded, by nothing but their paths."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from optuna.distributions import FloatDistribution
from stopping import InterruptionError, interrupt_at

from fieldlevel.cli import main
from fieldlevel.data.batches import MapSet
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.predictor import load
from fieldlevel.inference.shrink import shrink_weights
from fieldlevel.search.space import search_space, starting_points, trial_spec
from fieldlevel.search.tune import tune
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import digest, from_json, overlay_file, to_json
from fieldlevel.training.settings import check_train_spec, refuse_unused
from fieldlevel.training.state import validation_loss
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec
from fieldlevel.training.trainer import train, train_network

MODULE = "somebodys_networks"
BODY, HEAD = f"{MODULE}:Body", f"{MODULE}:GaussianHead"


@pytest.fixture(autouse=True)
def module(bring_own_parts) -> Path:
    """A module of somebody's own, on the path of Python for a test."""
    return bring_own_parts(MODULE)


@pytest.fixture
def own() -> TrainSpec:
    return TrainSpec(
        split=SplitSpec(train=0.75, validation=0.125),
        optimiser=OptimiserSpec(learning_rate=1e-2),
        batch_size=16,
        n_steps=30,
        validate_every=8,
        statistics_batches=3,
        head_batches=3,
        body=BODY,
        body_options={"n_features": 5, "dropout": 0.3},
        head=HEAD,
        head_options={"n_hidden": 7},
    )


def lose(module: Path) -> None:
    module.unlink()
    sys.modules.pop(MODULE, None)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return load(path, "cpu").network.state_dict()


def map_set(n_maps: int, seed: int) -> MapSet:
    generator = torch.Generator().manual_seed(seed)
    theta = torch.rand(n_maps, 6, generator=generator)
    maps = torch.randn(n_maps, 16, 16, generator=generator) + theta[:, :1, None]
    return MapSet(maps, theta, torch.arange(n_maps))


@pytest.mark.parametrize("method", ["AdamW", "Muon"])
def test_an_interrupted_run_of_ones_own_network_ends_with_the_same_bits(own, directory, tmp_path, method):
    own = replace(own, optimiser=replace(own.optimiser, method=method))
    whole = train(own, directory, tmp_path / "whole", "cpu")
    for step in (10, 24):
        with pytest.raises(InterruptionError):
            train(own, directory, tmp_path / "run", "cpu", interrupt_at(step))
    resumed = train(own, directory, tmp_path / "run", "cpu")
    assert resumed.read_bytes()[-1000:] == whole.read_bytes()[-1000:]
    ours, theirs = weights_of(whole), weights_of(resumed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_class_that_was_changed_since_the_stop_is_told(own, directory, tmp_path, module):
    with pytest.raises(InterruptionError):
        train(own, directory, tmp_path / "run", "cpu", interrupt_at(24))
    resume = tmp_path / "run" / "resume.pt"
    state = resume.read_bytes()
    text = module.read_text()
    module.write_text(text.replace("nn.Linear(n_features, n_hidden)", "nn.Linear(n_features, n_hidden, bias=False)"))
    assert module.read_text() != text
    sys.modules.pop(MODULE, None)
    with pytest.raises(UserError, match=r"of other layers; or a class of one's own was changed since.*delete it"):
        train(own, directory, tmp_path / "run", "cpu")
    assert resume.read_bytes() == state


KINDS = {
    "both": {},
    "body": {"head": "moments", "head_options": {"dropout": 0.1, "std_from": "square"}},
    "head": {"body": "", "body_options": {}, "network": NetworkSpec(hidden=1)},
    "head with a norm": {"head": f"{MODULE}:HeadWithNorm", "head_options": {}},
    "body of summaries": {"inputs": "power spectrum"},
    "head of summaries": {"inputs": "power spectrum", "body": "", "body_options": {}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_knows_what_its_network_is_made_of(own, directory, tmp_path, kind):
    spec = replace(own, **KINDS[kind])
    weights = train(spec, directory, tmp_path / "run", "cpu")
    predictor = load(weights, "cpu")
    assert predictor.spec == spec
    assert predictor.n_pixels == 16
    mean, std = predictor.predict(open_suite(directory, "MockTNG").maps[:20])
    assert mean.shape == std.shape == (20, 6)
    assert (std >= 0).all()
    assert float(np.abs(mean[0] - mean[1]).max()) > 0
    assert train(spec, directory, tmp_path / "run", "cpu") == weights


def test_what_was_trained_is_what_predicts(own):
    training, validation = map_set(60, 1), map_set(20, 2)
    trained = train_network(own, training, validation)
    assert trained.validation_loss == validation_loss(trained.network, validation, own.batch_size)
    first, *_, last = trained.history
    assert last.validation_loss < first.validation_loss


def test_weights_of_five_axes_are_trained(own):
    spec = replace(own, body=f"{MODULE}:Deep", body_options={}, n_steps=2, validate_every=1)
    assert np.isfinite(train_network(spec, map_set(20, 1), map_set(10, 2)).validation_loss)


def test_statistics_of_a_head_are_measured_too(own):
    spec = replace(own, head=f"{MODULE}:HeadWithNorm", head_options={}, head_batches=0)
    moving, measured = (
        train_network(replace(spec, statistics_batches=n), map_set(60, 1), map_set(20, 2)).network.state_dict()
        for n in (0, 5)
    )
    others = {name for name, value in moving.items() if not torch.equal(value, measured[name])}
    assert {"features.norm.running_mean", "features.last_norm.running_var", "head.norm.running_mean"} <= others
    assert all(name.endswith(("running_mean", "running_var", "num_batches_tracked")) for name in others)


def test_a_target_that_is_not_known_trains_no_output(own):
    """Half of the maps do not know the last parameter, of which their own values mean something else."""
    training, validation = map_set(60, 1), map_set(20, 2)
    training.theta[::2, 5] = torch.nan
    for spec in (own, replace(own, head="moments", head_options={})):
        trained = train_network(spec, training, validation)
        assert all(torch.isfinite(value).all() for value in trained.network.state_dict().values())
    training.theta[:, 5] = torch.nan
    spec = replace(own, head="moments", head_options={}, optimiser=OptimiserSpec(weight_decay=0.0), head_batches=0)
    last = [
        train_network(replace(spec, n_steps=n), training, validation).network.head.FC2.weight[[5, 11]] for n in (1, 20)
    ]
    assert torch.equal(*last)


def test_the_loss_of_a_set_is_that_of_all_its_chunks(own):
    training, validation = map_set(60, 1), map_set(20, 2)
    validation.theta[:7, 3] = torch.nan
    network = train_network(own, training, validation).network
    losses = [validation_loss(network, validation, size) for size in (8, 24, 1000)]
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_a_shrunk_file_is_loaded_too(own, directory, tmp_path):
    weights = train(own, directory, tmp_path / "run", "cpu")
    small = shrink_weights(weights, tmp_path / "small.safetensors")
    maps = open_suite(directory, "MockTNG").maps[:5]
    (mean, _), (near, _) = load(weights, "cpu").predict(maps), load(small, "cpu").predict(maps)
    assert np.allclose(mean, near, rtol=0.02)


def test_a_network_that_is_gone_is_told_in_a_line(own, directory, tmp_path, module, capsys):
    weights = train(own, directory, tmp_path / "run", "cpu")
    lose(module)
    told = rf"body = {BODY}: cannot be imported \(No module named '{MODULE}'\); put the module on PYTHONPATH"
    with pytest.raises(UserError, match=f"^{weights}: {told}$"):
        load(weights, "cpu")
    with pytest.raises(UserError, match=f"^{told}$"):
        train(own, directory, tmp_path / "other", "cpu")
    np.save(tmp_path / "maps.npy", np.array(open_suite(directory, "MockTNG").maps[:2]))
    assert main(["infer", str(weights), str(tmp_path / "maps.npy"), "--device", "cpu"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "other").exists()


def test_a_network_that_was_changed_since_is_told_as_such(own, directory, tmp_path, module):
    weights = train(own, directory, tmp_path / "run", "cpu")
    text = module.read_text()
    for old, new, words in (
        ("nn.Linear(6, n_features)", "nn.Linear(6, 2 * n_features)", "fails on an input"),
        ("n_hidden: int = 5", "width: int = 5", "see head_options"),
        ("nn.Conv2d(shape[0], 3, 3,", "nn.Conv2d(shape[0], 3, 5,", "features.convolution.weight has shape"),
        (
            "self.layers = nn.Sequential(nn.Linear(n_f",
            "self.others = nn.Sequential(nn.Linear(n_f",
            "unknown tensor head",
        ),
    ):
        assert old in text
        module.write_text(text.replace(old, new))
        sys.modules.pop(MODULE, None)
        with pytest.raises(UserError, match=f"does not fit body = .*{words}.*; bring back the module") as refused:
            load(weights, "cpu")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body": f"{MODULE}:Nobody"}, f"body = {MODULE}:Nobody: {MODULE} has no Nobody"),
        ({"body": f"{MODULE}:torch"}, "no torch.nn.Module"),
        ({"body": "json:dumps"}, "no torch.nn.Module"),
        ({"body": "Body"}, "body = Body: must be an import path, module:Class"),
        ({"body": "../x:Body"}, "must be an import path"),
        ({"body": "no.such:Body"}, "cannot be imported"),
        ({"head": "gauss"}, "head = gauss: must be moments, gaussian, flow or an import path, module:Class"),
        ({"head": BODY}, f"head = {BODY}: has no method sums; a head needs forward, sums, loss, posterior"),
        ({"penalty": HEAD}, f"penalty = {HEAD}: has no method update"),
    ],
)
def test_what_is_no_network_is_refused_before_anything_is_loaded(own, change, words):
    with pytest.raises(UserError) as refused:
        check_train_spec(replace(own, **change))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"body_options": {"depth": 3}}, r"Body cannot be made \(.*depth'\); see body_options"),
        ({"body_options": {"n_features": 0.5}}, "see body_options"),
        ({"body_options": {"dropout": 1.5}}, "see body_options"),
        ({"head": "moments", "head_options": {"depth": 3}}, "head_options = {'depth': 3}: those of head = moments"),
        ({"head": "moments", "head_options": {"dropout": 3}}, "dropout = 3: must be a probability"),
    ],
)
def test_options_that_a_class_does_not_take_are_refused(own, change, words):
    with pytest.raises(UserError, match=words):
        train_network(replace(own, **change), map_set(60, 1), map_set(20, 2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network": NetworkSpec(hidden=3)}, f"network.hidden = 3: .* maps are read by body = {BODY}"),
        ({"body": "", "body_options": {}, "network": NetworkSpec(dropout=0.4)}, "network.dropout = 0.4: .*head = "),
        ({"squared_error_steps": 3}, f"squared_error_steps = 3: .*head = {HEAD} has a loss of its own"),
        ({"body": ""}, "body_options = .*there is no body"),
        ({"body": "", "body_options": {}, "head": "moments"}, "head_options = "),
        ({"penalty_options": {"weight": 1.0}}, "penalty_options = {'weight': 1.0}: .*no penalty"),
    ],
)
def test_settings_without_effect_beside_ones_own_network_are_refused(own, change, words):
    refuse_unused(own)
    with pytest.raises(UserError, match=words):
        refuse_unused(replace(own, **change))


def test_settings_of_ones_own_network_are_used_on_summaries_too(own):
    refuse_unused(replace(own, inputs="power spectrum", statistics_batches=7, head_batches=8, precision="bfloat16"))


def test_a_spec_keeps_its_text_and_digest_where_nothing_is_ones_own(own):
    assert not {"body", "head", "penalty"} & json.loads(to_json(TrainSpec())).keys()
    assert from_json(TrainSpec, to_json(own)) == own
    assert digest(own) != digest(replace(own, body_options={"n_features": 6}))
    assert len({own, replace(own, seed=1)}) == 2


def test_options_come_from_a_file_or_the_command_line(own, directory, tmp_path):
    (tmp_path / "own.toml").write_text(f'body = "{BODY}"\n[body_options]\nn_features = 3\n')
    spec = overlay_file(replace(own, body_options={"dropout": 0.5}), tmp_path / "own.toml")
    assert spec.body_options == {"dropout": 0.5, "n_features": 3}
    sizes = ["--split.train", "0.75", "--split.validation", "0.125", "--n-steps", "2", "--batch-size", "16"]
    options = ["--body", BODY, "--body-options", "n_features", "3", "dropout", "0.5"]
    arguments = ["train", "--data", str(directory), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*arguments, *sizes, *options, "--head-batches", "2"]) == 0
    assert load(tmp_path / "run" / "weights.safetensors").spec.body_options == {"n_features": 3, "dropout": 0.5}


def test_a_search_varies_what_ones_own_network_has(own, directory, tmp_path):
    spec = TuneSpec(train=replace(own, n_steps=8), n_trials=2, n_kept=1)
    assert list(search_space(spec)) == ["learning_rate", "weight_decay"]
    assert all(isinstance(bounds, FloatDistribution) for bounds in search_space(spec).values())
    assert starting_points(spec) == [{"learning_rate": 1e-2, "weight_decay": 2e-4}]
    assert trial_spec(own, {"learning_rate": 0.1, "weight_decay": 0.2}).body_options == own.body_options
    assert list(search_space(TuneSpec(train=TrainSpec(head=HEAD)))) == ["learning_rate", "weight_decay", "hidden"]
    (best,) = tune(spec, directory, tmp_path / "search", "cpu")
    assert load(best, "cpu").spec.body == BODY


@pytest.mark.parametrize("method", ["AdamW", "Muon"])
def test_a_network_of_matrices_alone_trains(own, module, method):
    module.write_text(f"{module.read_text()}\n\nclass Plain(nn.Sequential):\n{PLAIN}")
    spec = replace(own, body=f"{MODULE}:Plain", body_options={}, head_batches=0, n_steps=8)
    spec = replace(spec, optimiser=OptimiserSpec(method=method), head=f"{MODULE}:PlainHead", head_options={})
    module.write_text(f"{module.read_text()}\n\nclass PlainHead(GaussianHead):\n{PLAIN_HEAD}")
    assert np.isfinite(train_network(spec, map_set(60, 1), map_set(20, 2)).validation_loss)


PLAIN = """    def __init__(self, shape):
        super().__init__(nn.Flatten(), nn.Linear(256, 4, bias=False))
"""
PLAIN_HEAD = """    def __init__(self, n_features, n_outputs):
        super().__init__(n_features, n_outputs)
        self.layers = nn.Linear(n_features, 2 * n_outputs, bias=False)
"""
