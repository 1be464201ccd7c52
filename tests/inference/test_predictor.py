import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import fieldlevel
from fieldlevel.data.normalise import Normaliser
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference.predictor import load
from fieldlevel.layout import Layout
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.weights_file import save_network

MINIMA, MAXIMA = Layout().lows, Layout().highs
# Another batch size lets the convolutions sum in another order.
SINGLE = 1e-5


@pytest.fixture
def network() -> MomentNetwork:
    torch.manual_seed(0)
    network = MomentNetwork(16, 1, dropout=0.5)
    for _ in range(20):
        network(torch.randn(16, 1, 16, 16))
    return network.eval()


@pytest.fixture
def maps() -> np.ndarray:
    return np.random.default_rng(0).lognormal(25.0, 1.0, (30, 16, 16)).astype(np.float32)


def save(path, network, normaliser=Normaliser(11.0, 0.5), spec=TrainSpec()):  # noqa: B008 (frozen)
    save_network(
        path,
        network,
        spec,
        normaliser,
        training_simulations=np.array([5, 2]),
        validation_simulations=np.array([7]),
        provenance={"data_fingerprint": "abc"},
    )
    return path


@pytest.fixture
def weights(tmp_path, network):
    return save(tmp_path / "weights.safetensors", network)


def test_file_carries_what_it_takes_to_predict_and_to_refuse(weights, network):
    predictor = load(weights)
    assert predictor.spec == TrainSpec()
    assert predictor.normaliser == Normaliser(11.0, 0.5)
    assert predictor.training_simulations.tolist() == [5, 2]
    assert predictor.validation_simulations.tolist() == [7]
    assert predictor.provenance == {"data_fingerprint": "abc"}
    assert predictor.is_mock
    assert predictor.network.dropout == 0.5
    assert not predictor.network.training
    for name, value in network.state_dict().items():
        assert torch.equal(predictor.network.state_dict()[name], value)


def test_metadata_can_be_read_without_this_package(weights):
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    assert metadata["fieldlevel_version"] == fieldlevel.__version__
    assert json.loads(metadata["labels"])["names"][3:5] == ["A_AGN1", "A_SN2"]
    assert metadata["suite"] == "MockTNG"
    assert metadata["mock"] == "true"


def test_weights_are_written_aside(weights):
    assert [path.name for path in weights.parent.iterdir()] == ["weights.safetensors"]


def test_prediction_is_that_of_the_network_on_normalised_maps(weights, network, maps):
    mean, std = load(weights).predict(maps)
    with torch.inference_mode():
        outputs = network(((torch.from_numpy(maps).log10() - 11.0) / 0.5)[:, None])
    unit_mean, unit_std = (part.double().numpy() for part in outputs)
    np.testing.assert_allclose(mean, MINIMA + unit_mean * (MAXIMA - MINIMA), rtol=SINGLE)
    np.testing.assert_allclose(std, unit_std * (MAXIMA - MINIMA), rtol=SINGLE)
    assert (std >= 0).all()


def test_columns_are_in_physical_units(tmp_path, network, maps):
    torch.nn.init.zeros_(network.head.FC2.weight)
    network.head.FC2.bias.data = torch.tensor([0.0, 1.0, 0.5, 0.5, 0.5, 0.5, *6 * [-0.5]])
    mean, std = load(save(tmp_path / "constant.safetensors", network)).predict(maps[:1])
    np.testing.assert_allclose(mean, [[0.1, 1.0, 2.125, 2.125, 1.25, 1.25]])
    np.testing.assert_allclose(std, [[0.1, 0.1, 0.9375, 0.9375, 0.375, 0.375]])


@pytest.mark.parametrize("batch_size", [1, 7, 30, 100])
def test_prediction_of_a_map_does_not_depend_on_its_batch_mates(weights, maps, batch_size):
    predictor = load(weights)
    whole = predictor.predict(maps)
    parts = predictor.predict(maps[::-1], batch_size=batch_size)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(other[::-1], one, rtol=SINGLE, atol=10 * SINGLE)


def test_no_map_gives_no_row(weights):
    mean, std = load(weights).predict(np.empty((0, 16, 16), dtype=np.float32))
    assert mean.shape == std.shape == (0, 6)


def test_memory_mapped_maps_are_read_in_blocks(weights, maps, tmp_path):
    class Recorder(np.memmap):
        longest = 0

        def __getitem__(self, index):
            block = super().__getitem__(index)
            Recorder.longest = max(Recorder.longest, len(block))
            return block

    np.save(tmp_path / "maps.npy", maps)
    mapped = np.load(tmp_path / "maps.npy", mmap_mode="r").view(Recorder)
    events = []
    mean, _ = load(weights).predict(mapped, batch_size=8, listener=events.append)
    assert Recorder.longest == 8
    assert [event.done for event in events] == [8, 16, 24, 30]
    np.testing.assert_allclose(mean, load(weights).predict(maps)[0], rtol=SINGLE)


@pytest.mark.parametrize("shape", [(16,), (2, 2, 16, 16), (1, 2, 1, 16, 16), (2, 32, 32), (2, 16, 8), (0,), ()])
def test_maps_of_another_shape_are_refused(weights, shape):
    with pytest.raises(UserError, match=r"takes \(n, 16, 16\)"):
        load(weights).predict(np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize("pixel", [np.nan, np.inf, 0.0, -1.0])
def test_bad_pixels_are_refused_with_the_numbers_of_their_maps(weights, maps, pixel):
    maps[[3, 25], 5, 5] = pixel
    with pytest.raises(UserError, match="maps 3, 25: "):
        load(weights).predict(maps)
    with pytest.raises(UserError, match="maps 25: "):
        load(weights).predict(np.concatenate([maps[:3], maps[4:25], maps[24:]]), batch_size=10)


def test_complex_maps_are_refused(weights, maps):
    with pytest.raises(UserError, match="complex64"):
        load(weights).predict(maps.astype(np.complex64))


def test_empty_pixels_are_welcome_where_the_logarithm_has_an_offset(tmp_path, network, maps):
    maps[0, 0, 0] = 0.0
    path = save(tmp_path / "stars.safetensors", network, normaliser=Normaliser(5.0, 5.0, offset=1.0))
    assert np.isfinite(load(path).predict(maps)[0]).all()


def test_a_full_device_is_no_damage_of_the_file(weights, monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(MomentNetwork, "to", full)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        load(weights)


def test_no_such_file_or_another_kind_of_file_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match="not a weights file"):
        load(path)
    with pytest.raises(UserError, match="not a weights file"):
        load(tmp_path)
    path.write_text("no weights")
    with pytest.raises(UserError, match="not a weights file"):
        load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": "99"}, "format 99"),
        ({"labels": "{}"}, "other parameters"),
        ({"spec": '{"suit": "SIMBA"}'}, "suit"),
        ({"network": '{"n_pixels": 16, "hidden": 2, "dropout": 0.5}'}, "damaged"),
        ({"network": '{"pixels": 16}'}, "damaged"),
        ({"normaliser": "?"}, "damaged"),
    ],
)
def test_changed_metadata_is_refused(weights, change, message):
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    save_file(load_file(weights), weights, metadata | change)
    with pytest.raises(UserError, match=message):
        load(weights)


def test_weights_without_metadata_are_refused(weights):
    save_file(load_file(weights), weights)
    with pytest.raises(UserError, match="format unknown"):
        load(weights)
