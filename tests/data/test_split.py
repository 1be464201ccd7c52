"""Simulations set apart for calibration."""

import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec, split_simulations
from fieldlevel.errors import UserError
from fieldlevel.spec_io import digest, from_json, to_json
from fieldlevel.training.settings import check_train_spec
from fieldlevel.training.train_spec import TrainSpec


def test_the_four_sets_hold_every_simulation_once():
    split = split_simulations(1000, train=0.8, validation=0.05, calibration=0.1)
    assert [len(part) for part in split] == [800, 50, 50, 100]
    assert sorted(np.concatenate(split)) == list(range(1000))


def test_what_is_taken_from_the_training_leaves_the_test_set_as_it_is():
    before, after = SplitSpec().divide(1000), SplitSpec(train=0.8, calibration=0.1).divide(1000)
    assert after.test.tolist() == before.test.tolist()
    assert after.train.tolist() == before.train[:800].tolist()


def test_without_a_fraction_there_are_none():
    assert split_simulations(1000).calibration.size == 0
    assert SplitSpec(seed=3, train=0.7).divide(20).train.tolist() == split_simulations(20, 3, 0.7).train.tolist()


def test_specs_and_digests_of_before_stay():
    assert digest(SplitSpec()) == "5233fadf1580"
    assert digest(TrainSpec()) == "36817d0ff37c"
    assert "calibration" not in to_json(TrainSpec())


def test_a_fraction_is_read_back():
    spec = TrainSpec(split=SplitSpec(train=0.8, calibration=0.1), calibration="none")
    assert from_json(TrainSpec, to_json(spec)) == spec
    assert digest(spec) != digest(TrainSpec(split=SplitSpec(train=0.8)))


@pytest.mark.parametrize(("calibration", "n"), [(0.05, 100), (0.001, 100)])
def test_empty_sets_are_refused(calibration, n):
    with pytest.raises(UserError, match=r"calibration=.* each needs one at least"):
        split_simulations(n, calibration=calibration)


@pytest.mark.parametrize("calibration", [-0.1, 1.0, float("nan")])
def test_no_fraction_is_refused_in_a_spec(calibration):
    with pytest.raises(UserError, match="calibration"):
        check_train_spec(TrainSpec(split=SplitSpec(calibration=calibration)))


def test_fractions_that_leave_no_test_are_refused_with_all_of_them():
    with pytest.raises(UserError, match=r"split\.calibration = 0\.05 leave nothing to test on; lower split\.train"):
        check_train_spec(TrainSpec(split=SplitSpec(calibration=0.05)))


def test_a_calibration_without_simulations_is_refused():
    with pytest.raises(UserError, match=r"calibration = none: would have no effect"):
        check_train_spec(TrainSpec(calibration="none"), refuse_idle=True)
    check_train_spec(TrainSpec(split=SplitSpec(0, 0.8, 0.05, 0.1), calibration="none"), refuse_idle=True)
