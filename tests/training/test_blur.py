"""Maps each smoothed by a Gaussian of their own: in training, calibration and reference, and nowhere else."""

import json

import numpy as np
import pytest
import torch
from toy import latin_hypercube, toy_maps

from fieldlevel.data import transformed
from fieldlevel.data.blur import Blur
from fieldlevel.data.seen import map_digests
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.data.transformed import blur_maps
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.calibrated_training import train
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.layout import Layout
from fieldlevel.numerics.random import uniform
from fieldlevel.numerics.transforms import smooth_gaussian
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.sources import load_sets, open_data
from fieldlevel.training.train_spec import TrainSpec

SPEC = TrainSpec(
    split=SplitSpec(train=0.3, validation=0.15, calibration=0.5),
    network=NetworkSpec(hidden=1),
    batch_size=16,
    n_steps=2,
    validate_every=2,
    blur=1.5,
    transform=TransformSpec("smoothing", 1.0),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("cmd")
    theta = latin_hypercube(Layout(), 40, 0)
    np.save(place / "Maps_Mtot_MockTNG_LH_z=0.00.npy", toy_maps(theta, Layout(), 16, 0))
    np.savetxt(place / "params_LH_MockTNG.txt", theta, fmt="%.6f")
    return place


def test_a_gaussian_for_each_map_is_that_of_the_map_alone():
    maps = torch.rand(5, 16, 16) + 0.1
    sigma = torch.tensor([0.01, 0.4, 1.0, 3.0, 9.0], dtype=torch.float64)
    alone = torch.stack([smooth_gaussian(each, float(width)) for each, width in zip(maps, sigma, strict=True)])
    torch.testing.assert_close(smooth_gaussian(maps, sigma), alone)


def test_draws_follow_the_number_of_the_map_the_suite_and_the_seed():
    maps, numbers = torch.rand(6, 16, 16) + 0.1, np.arange(3, 9)
    blur = Blur(2.0, 5, "MockTNG LH")
    drawn = 2.0 * uniform(torch.from_numpy(numbers), blur.whole_seed, 90)
    assert torch.equal(blur_maps(maps, blur, numbers), smooth_gaussian(maps, drawn))
    others = [Blur(2.0, 6, "MockTNG LH"), Blur(2.0, 5, "MockSIMBA LH"), Blur(2.0, 5, "MockTNG LHnew")]
    assert not any(torch.equal(blur_maps(maps, blur, numbers), blur_maps(maps, each, numbers)) for each in others)


def test_a_network_is_trained_on_what_is_smoothed_twice(folder):
    sources = open_data(SPEC, folder, check=False)
    normaliser, training, _ = load_sets(SPEC, sources, torch.device("cpu"))
    suite, number = sources[0].suite, int(sources[0].split.train[0])
    by_hand = blur_maps(
        torch.from_numpy(suite.read_simulation(number)), Blur(1.5, 0, "MockTNG LH"), suite.maps_of(number)
    )
    torch.testing.assert_close(training.maps[:15], normaliser.normalise(smooth_gaussian(by_hand, 1.0)))


def test_answers_on_given_maps_and_what_is_known_as_seen_are_of_the_maps_as_they_are(folder, tmp_path, monkeypatch):
    blurred, blur = [], transformed.blur_maps

    def record(maps, how, numbers):
        blurred.extend(np.asarray(numbers).tolist() if how.most else [])
        return blur(maps, how, numbers)

    monkeypatch.setattr(transformed, "blur_maps", record)
    weights = train(SPEC, folder, tmp_path / "run", "cpu", check=False)
    predictor, suite = load(weights), open_suite(folder, "MockTNG", check=False)
    of_simulation = {number // 15 for number in blurred}
    parts = predictor.training_simulations, predictor.validation_simulations, predictor.calibration_simulations
    assert of_simulation == {int(number) for part in parts for number in part}
    assert "trained on maps each smoothed by up to 1.5 pixels" in predictor.remarks
    blurred.clear()
    predict_suite(predictor, suite)
    predictor.posterior(suite.maps[:3])
    assert not blurred
    first = int(predictor.training_simulations[0])
    (seen,) = predictor.seen_sources
    assert seen.seen.maps[0] == "".join(map_digests(suite.read_simulation(first)))


def test_a_spec_without_it_is_as_it_was():
    assert "blur" not in json.loads(to_json(TrainSpec()))
    assert from_json(TrainSpec, to_json(SPEC), "spec") == SPEC
    with pytest.raises(UserError, match="blur = -1"):
        check_train_spec(TrainSpec(blur=-1))
