"""Weights files in float16.

A rounding to nearest moves a normal number w by at most 2^-11 |w| =: e |w|. To first order an output y then moves by
sum_i dy/dw_i d_i with |d_i| <= e |w_i|. Roundings are as good as independent and uniform, so the sum has a standard
deviation of at most e |g| / sqrt(3), where |g| is the norm of the g_i = w_i dy/dw_i; 2 e |g| is 3.5 of them. bfloat16
would move weights eight times as far.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import fieldlevel
from fieldlevel.data.normalise import Normaliser, SummaryNormaliser
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.estimators.estimator import Estimator
from fieldlevel.inference import packaged as trained
from fieldlevel.inference.predictor import load
from fieldlevel.inference.shrink import shrink_weights
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network

ROUNDING = 2.0**-11
SPACING_OF_SUBNORMALS = 2.0**-24


def network_on_maps() -> MomentNetwork:
    network = MomentNetwork(16, 4, dropout=0.5)
    for _ in range(20):
        network(torch.randn(16, 1, 16, 16))
    return network


def network_on_summaries() -> MomentPerceptron:
    return MomentPerceptron(n_inputs=7, n_layers=3, n_neurons=64, dropout=0.5)


def save(path: Path, network: Estimator) -> Path:
    on_maps = isinstance(network, MomentNetwork)
    save_network(
        path,
        network,
        TrainSpec(inputs="maps" if on_maps else "power spectrum"),
        Normaliser(25.0, 1.0) if on_maps else SummaryNormaliser("power spectrum", 16, 7 * (1.0,), 7 * (2.0,)),
        training_simulations=np.array([5, 2]),
        validation_simulations=np.array([7]),
        provenance={"data_fingerprint": "abc", "validation_loss": -12.5},
    )
    return path


@pytest.fixture(params=[network_on_maps, network_on_summaries])
def weights(request, tmp_path) -> Path:
    torch.manual_seed(0)
    return save(tmp_path / "weights.safetensors", request.param())


@pytest.fixture
def small(weights, tmp_path) -> Path:
    return shrink_weights(weights, tmp_path / "small.safetensors")


def metadata_of(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return file.metadata()


def layer_weights(network: Estimator) -> dict[str, nn.Parameter]:
    kinds = (nn.Conv2d, nn.Linear)
    return {f"{name}.weight": module.weight for name, module in network.named_modules() if isinstance(module, kinds)}


def test_weights_of_convolutions_and_linear_layers_are_float16_and_all_else_is_as_it_was(weights, small):
    before, after, halved = load_file(weights), load_file(small), layer_weights(load(weights).network)
    assert list(after) == sorted(before, key=list(after).index)
    assert halved
    for name, value in before.items():
        if name in halved:
            assert after[name].dtype == torch.float16
            bound = torch.maximum(ROUNDING * value.abs(), torch.tensor(SPACING_OF_SUBNORMALS / 2))
            assert ((after[name].float() - value).abs() <= bound).all()
        else:
            assert after[name].dtype == value.dtype
            assert torch.equal(after[name], value)


def test_metadata_are_the_same_but_for_the_provenance_and_the_checksum(weights, small):
    before, after = metadata_of(weights), metadata_of(small)
    assert before.pop("checksum") != after.pop("checksum")
    provenance = json.loads(after.pop("provenance"))
    source = {"stored_as": "float16", "source_sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert provenance == json.loads(before.pop("provenance")) | source
    assert after == before


def test_the_network_computes_in_float32_and_knows_what_it_knew(weights, small):
    original, shrunk = load(weights), load(small)
    assert {value.dtype for value in shrunk.network.parameters()} == {torch.float32}
    assert shrunk.is_mock
    assert (shrunk.spec, shrunk.normaliser) == (original.spec, original.normaliser)
    assert shrunk.training_simulations.tolist() == [5, 2]
    assert shrunk.validation_simulations.tolist() == [7]


def test_two_bytes_are_saved_for_each_of_these_weights(weights, small):
    n_weights = sum(weight.numel() for weight in layer_weights(load(weights).network).values())
    before, after = (sum(value.nbytes for value in load_file(path).values()) for path in (weights, small))
    assert before - after == 2 * n_weights
    assert n_weights > 0.9 * before / 4


def outputs(network: Estimator, x: Tensor) -> Tensor:
    return torch.cat(network(x), dim=1)


def test_predictions_move_as_little_as_the_rounding_of_the_weights_lets_them(weights, small):
    original, shrunk = load(weights, "cpu").network, load(small, "cpu").network
    x = torch.randn(8, 1, 16, 16) if isinstance(original, MomentNetwork) else torch.randn(8, 7)
    before = outputs(original, x)
    moved = (outputs(shrunk, x) - before).abs()
    halved = list(layer_weights(original).values())
    for y, distance in zip(before.flatten(), moved.flatten(), strict=True):
        slopes = torch.autograd.grad(y, halved, retain_graph=True)
        g = torch.cat([(slope * weight).flatten() for slope, weight in zip(slopes, halved, strict=True)])
        assert distance <= 2 * ROUNDING * g.norm() + 1e-6
    assert moved.max() > 0


def test_the_file_shrunk_is_left_as_it_is(weights, tmp_path):
    before = weights.read_bytes()
    shrink_weights(weights, tmp_path / "small.safetensors")
    assert weights.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.safetensors", "weights.safetensors"]


def test_shrinking_again_changes_no_bit(weights, small, tmp_path):
    assert shrink_weights(weights, tmp_path / "other.safetensors").read_bytes() == small.read_bytes()
    assert shrink_weights(small, tmp_path / "twice.safetensors").read_bytes() == small.read_bytes()


def test_the_same_network_is_the_same_file(weights, tmp_path):
    assert save(tmp_path / "again.safetensors", load(weights).network).read_bytes() == weights.read_bytes()


def test_folders_are_made_and_a_file_that_stood_there_is_replaced(weights, small, tmp_path):
    out = tmp_path / "new" / "folder" / "small.safetensors"
    assert shrink_weights(str(weights), str(out)) == out
    out.write_text("something else")
    assert shrink_weights(weights, out).read_bytes() == small.read_bytes()


def test_a_network_that_comes_with_the_package_may_be_named(weights, small, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trained, "FOLDER", tmp_path)
    assert fieldlevel.shrink_weights("weights", "named.safetensors").read_bytes() == small.read_bytes()


@pytest.mark.parametrize("value", [65_520.0, -1e6])
def test_weights_beyond_float16_are_refused(tmp_path, value):
    network = network_on_maps()
    with torch.no_grad():
        network.features.C12.weight[0, 0, 0, 0] = value
    weights = save(tmp_path / "weights.safetensors", network)
    with pytest.raises(UserError, match=r"weights.safetensors: features.C12 has weights up to \S+, float16 holds"):
        shrink_weights(weights, tmp_path / "small.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize(("scale", "fits"), [(65_504.0, True), (2.0**-14, True), (2.0**-15, False), (0.0, True)])
def test_a_layer_fits_if_its_largest_weight_does(tmp_path, scale, fits):
    network = network_on_summaries()
    with torch.no_grad():
        weight = network.layers[0].weight
        weight /= weight.abs().max()
        weight *= scale
    weights, out = save(tmp_path / "weights.safetensors", network), tmp_path / "small.safetensors"
    if fits:
        after = load_file(shrink_weights(weights, out))["layers.0.weight"].float()
        assert (after - weight).abs().max() <= ROUNDING * scale
    else:
        with pytest.raises(UserError, match=r"layers.0 has weights up to 3.05e-05"):
            shrink_weights(weights, out)


def test_a_file_is_not_shrunk_onto_itself(weights, tmp_path):
    before = weights.read_bytes()
    (tmp_path / "link.safetensors").symlink_to(weights)
    for out in (weights, tmp_path / "link.safetensors"):
        with pytest.raises(UserError, match="is the file to read itself"):
            shrink_weights(weights, out)
    assert weights.read_bytes() == before


@pytest.mark.parametrize("name", ["none.safetensors", "text.safetensors"])
def test_only_weights_files_are_shrunk(tmp_path, name):
    (tmp_path / "text.safetensors").write_text("no weights")
    (tmp_path / "small.safetensors").write_text("as it was")
    with pytest.raises(UserError, match="not a weights file"):
        shrink_weights(tmp_path / name, tmp_path / "small.safetensors")
    assert (tmp_path / "small.safetensors").read_text() == "as it was"
