"""Features of a trained network as a module for other methods."""

import numpy as np
import pytest
import torch

from fieldlevel.data.normalise import Normaliser
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.inference.predictor import Predictor
from fieldlevel.training.train_spec import TrainSpec

NOBODY = np.empty(0, dtype=np.int64)


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    spec = TrainSpec(transform=TransformSpec("smoothing", 1.0))
    return Predictor(MomentNetwork(16, 1, 0.0).eval(), spec, Normaliser(11.1, 0.48), NOBODY, NOBODY, {})


@pytest.fixture(scope="module")
def maps():
    return torch.from_numpy(np.random.default_rng(0).lognormal(25.5, 1.0, (5, 16, 16)).astype(np.float32))


def test_the_head_of_the_network_reads_its_features(predictor, maps):
    features = predictor.embedding(maps)
    assert features.shape == (5, predictor.embedding.n_features)
    mean, _ = predictor.network.head(features)
    expected = predictor.layout.to_unit_interval(predictor.predict(maps)[0])
    np.testing.assert_allclose(mean.detach(), expected, atol=1e-5)


def test_maps_are_taken_with_a_channel_and_alone(predictor, maps):
    embedding = predictor.embedding
    torch.testing.assert_close(embedding(maps[:, None]), embedding(maps))
    assert embedding(maps[0]).shape == (1, embedding.n_features)


def test_it_is_held_unless_it_is_let_go(predictor, maps):
    embedding = predictor.embedding.train()
    before = {name: value.clone() for name, value in embedding.state_dict().items()}
    assert not any(module.training for module in embedding.modules())
    assert not embedding(maps).requires_grad
    embedding.requires_grad_(True)
    embedding(maps).sum().backward()
    assert all(weight.grad is not None for weight in embedding.parameters())
    torch.optim.SGD(embedding.parameters(), 1.0).step()
    assert any(not torch.equal(value, before[name]) for name, value in embedding.state_dict().items())
    torch.testing.assert_close(dict(predictor.embedding.state_dict()), before)


def test_scaled_maps_have_no_features(predictor, maps):
    mixed = torch.cat([maps[:2], (maps[2:3].log10() - 11.1) / 0.48])
    features = predictor.embedding(mixed)
    assert features[2].isnan().all()
    torch.testing.assert_close(features[:2], predictor.embedding(maps[:2]))
    with pytest.raises(UserError, match="this network takes"):
        predictor.embedding(torch.ones(2, 8, 8))
