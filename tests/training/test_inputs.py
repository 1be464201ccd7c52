"""Networks that read transformed maps, summaries or permuted labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fieldlevel.data.normalise import SummaryNormaliser
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.estimators.bodies.perceptron import MomentPerceptron
from fieldlevel.estimators.network_specs import PerceptronSpec
from fieldlevel.inference.predictor import load
from fieldlevel.numerics.transforms import smooth_gaussian
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.sources import Source, load_sets
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train

SUMMARIES = ["power spectrum", "one-point PDF"]


@pytest.fixture
def suite(directory):
    return open_suite(directory, "MockTNG", check=False)


def loaded(spec, suite):
    split = split_simulations(suite.n_simulations, spec.split.seed, spec.split.train, spec.split.validation)
    source = Source(SourceSpec(spec.suite), suite, split)
    return split, *load_sets(spec, [source], torch.device("cpu"))


def test_a_smoothed_network_takes_raw_maps(spec, directory, suite, tmp_path):
    """Its file smooths by itself: the answer for raw maps is that of the network for smooth ones."""
    smooth = replace(spec, transform=TransformSpec("smoothing", 2.0))
    predictor = load(train(smooth, directory, tmp_path / "network", "cpu"), "cpu")
    maps = np.array(suite.maps[:5])
    by_hand = predictor.normaliser.normalise(smooth_gaussian(torch.from_numpy(maps), 2.0))[:, None]
    with torch.inference_mode():
        expected, _ = predictor.network(by_hand)
    mean, _ = predictor.predict(maps)
    low, high = np.array([0.1, 0.6]), np.array([0.5, 1.0])
    np.testing.assert_allclose((mean[:, :2] - low) / (high - low), expected[:, :2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inputs", SUMMARIES)
def test_a_summary_network_trains_and_predicts_from_its_file(spec, directory, suite, tmp_path, inputs):
    spec = replace(spec, inputs=inputs, perceptron=PerceptronSpec(n_layers=2, n_neurons=8))
    weights = train(spec, directory, tmp_path / "network", "cpu")
    predictor = load(weights, "cpu")
    assert isinstance(predictor.network, MomentPerceptron)
    assert isinstance(predictor.normaliser, SummaryNormaliser)
    assert predictor.n_pixels == 16
    together, _ = predictor.predict(suite.maps)
    alone, _ = predictor.predict(suite.maps[7:8])
    np.testing.assert_allclose(alone[0], together[7], rtol=1e-5)


@pytest.mark.parametrize("inputs", SUMMARIES)
def test_every_number_of_a_summary_is_normalised_over_the_training_maps(spec, suite, inputs):
    _, _, training, _ = loaded(replace(spec, inputs=inputs), suite)
    assert training.maps.ndim == 2
    assert training.n_views == 1
    torch.testing.assert_close(training.maps.mean(0), torch.zeros(training.maps.shape[1]), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        training.maps.std(0, correction=0), torch.ones(training.maps.shape[1]), rtol=0, atol=1e-3
    )


def test_an_interrupted_summary_network_ends_with_the_same_weights(spec, directory, tmp_path):
    spec = replace(spec, inputs="power spectrum")

    def stop(event):
        if event.task == "train MockTNG" and event.done >= 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(spec, directory, tmp_path / "stopped", "cpu", stop)
    continued = load(train(spec, directory, tmp_path / "stopped", "cpu"), "cpu").network.state_dict()
    at_once = load(train(spec, directory, tmp_path / "whole", "cpu"), "cpu").network.state_dict()
    assert all(torch.equal(continued[name], at_once[name]) for name in at_once)


def test_permuted_labels_change_targets_but_not_maps(spec: TrainSpec, suite):
    _, _, training, validation = loaded(spec, suite)
    _, _, permuted, for_choice = loaded(replace(spec, labels="permuted"), suite)
    assert torch.equal(training.maps, permuted.maps)
    before, after = (
        torch.cat([one.theta, other.theta]) for one, other in ((training, validation), (permuted, for_choice))
    )
    assert not torch.equal(before, after)
    assert sorted(map(tuple, before.tolist())) == sorted(map(tuple, after.tolist()))


def test_permuted_labels_are_those_of_training_and_validation_simulations_together(spec: TrainSpec, suite):
    """A checkpoint chosen with true labels would have learnt from them; no label comes from a test simulation."""
    _, _, training, validation = loaded(spec, suite)
    true = sorted(map(tuple, torch.cat([training.theta, validation.theta]).tolist()))
    n_moved = 0
    for seed in range(5):
        _, _, permuted, for_choice = loaded(replace(spec, labels="permuted", seed=seed), suite)
        assert sorted(map(tuple, torch.cat([permuted.theta, for_choice.theta]).tolist())) == true
        n_moved += not torch.equal(for_choice.theta, validation.theta)
    assert n_moved >= 3
