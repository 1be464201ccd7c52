"""Sources that name their simulations, and suites told in random order: what reaches the weights, and what cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toy import latin_hypercube, toy_maps

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.evaluation import predict_suite
from fieldlevel.inference.predictor import load
from fieldlevel.layout import Layout
from fieldlevel.spec_io import to_json
from fieldlevel.training.settings import refuse_unused
from fieldlevel.training.source_rules import settle_sources
from fieldlevel.training.source_spec import SourceSpec
from fieldlevel.training.sources import load_sets, open_data
from fieldlevel.training.train_spec import TrainSpec
from fieldlevel.training.trainer import train

SUITES = ("MockTNG", "MockSIMBA")
N = 12
SPEC = TrainSpec(
    split=SplitSpec(train=0.67, validation=0.17),
    network=NetworkSpec(hidden=1, dropout=0.0),
    batch_size=16,
    n_steps=6,
    validate_every=3,
    statistics_batches=2,
    head_batches=2,
)
TRAIN = tuple(map(int, SPEC.split.divide(N).train))


def maps_path(folder, suite):
    return folder / f"Maps_Mtot_{suite}_LH_z=0.00.npy"


@pytest.fixture
def folder(tmp_path):
    theta = latin_hypercube(Layout(), N, 0)
    for seed, suite in enumerate(SUITES):
        np.save(maps_path(tmp_path, suite), toy_maps(theta, Layout(), 16, seed))
        np.savetxt(tmp_path / f"params_LH_{suite}.txt", theta, fmt="%.6f")
    return tmp_path


def two(first, second, **changes):
    sources = (SourceSpec(SUITES[0], simulations=first), SourceSpec(SUITES[1], simulations=second, **changes))
    return replace(SPEC, sources=sources)


def weights(spec, folder, name):
    return train(spec, folder, folder / name, "cpu", check=False)


def tensors(path):
    return load(path, "cpu").network.state_dict()


def test_maps_that_are_not_named_reach_nothing(folder):
    spec = two(TRAIN[:4], TRAIN[4:], labelled=False)
    before = tensors(weights(spec, folder, "before"))
    for suite, named in zip(SUITES, (TRAIN[:4], TRAIN[4:]), strict=True):
        maps = np.load(maps_path(folder, suite))
        others = np.setdiff1d(np.arange(N), [*named, *SPEC.split.divide(N).validation])
        maps.reshape(N, 15, 16, 16)[others] = np.nan
        np.save(maps_path(folder, suite), maps)
    np.savetxt(folder / f"params_LH_{SUITES[1]}.txt", latin_hypercube(Layout(), N, 5), fmt="%.6f")
    after = tensors(weights(spec, folder, "after"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_one_source_with_named_simulations_is_seen_as_such_and_the_others_may_be_tested(folder):
    spec = replace(SPEC, sources=(SourceSpec(SUITES[0], simulations=TRAIN[:4]),))
    assert settle_sources(spec).sources == spec.sources
    predictor = load(weights(spec, folder, "one"), "cpu")
    (source,) = predictor.sources
    assert sorted(source.training) == sorted(TRAIN[:4])
    assert predictor.layout.names == Layout().names
    suite = open_suite(folder, SUITES[0])
    assert set(predict_suite(predictor, suite, TRAIN[4:6]).simulation) == set(TRAIN[4:6])
    with pytest.raises(UserError, match="was trained or validated on 1 of the 2 simulations"):
        predict_suite(predictor, suite, TRAIN[3:5])


def test_names_outside_of_the_training_set_are_refused(folder):
    outside = int(SPEC.split.divide(N).test[0])
    with pytest.raises(UserError, match=f"simulations = {outside} of MockTNG, which is not in its training set"):
        open_data(two((*TRAIN[:3], outside), ()), folder, check=False)


def test_specs_of_before_have_the_same_text():
    assert "simulations" not in to_json(two((), ()))
    assert "simulations" in to_json(two((1,), ()))


def test_suites_in_random_order_keep_maps_labels_and_numbers(folder):
    spec = replace(SPEC, sources=(*two((), ()).sources,))
    sources = open_data(spec, folder, check=False)
    _, true, _ = load_sets(spec, sources, torch.device("cpu"))
    _, told, _ = load_sets(replace(spec, labels="permuted suites"), sources, torch.device("cpu"))
    assert torch.equal(true.maps, told.maps)
    assert torch.equal(true.theta.nan_to_num(-1), told.theta.nan_to_num(-1))
    assert torch.equal(true.source.bincount(), told.source.bincount())
    assert not torch.equal(true.source, told.source)
    for suite in (0, 1):
        for number in true.simulation.unique():
            assert len(told.source[(true.source == suite) & (true.simulation == number)].unique()) == 1


def test_a_source_without_labels_keeps_its_name_when_the_others_are_permuted(folder):
    spec = replace(two((), (), labelled=False), labels="permuted suites")
    _, told, _ = load_sets(spec, open_data(spec, folder, check=False), torch.device("cpu"))
    assert (told.source == 1).equal(told.theta.isnan().all(dim=1))


def test_suites_in_random_order_need_two():
    with pytest.raises(UserError, match="labels = permuted suites: would have no effect, as there is one suite alone"):
        refuse_unused(replace(SPEC, labels="permuted suites"))
