"""What each stage of a robustness study trains, and what the next one takes from it, without training a network."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.layout import Layout
from fieldlevel.study.robustness.choosing import Choice, full_size, without_diverged
from fieldlevel.study.robustness.folds import Folds
from fieldlevel.study.robustness.robust_methods import GRIDS
from fieldlevel.study.robustness.robustness_plan import plan_robustness
from fieldlevel.study.robustness.robustness_scales import robustness_scale
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec, choice_training
from fieldlevel.study.robustness.roles import ALL_TARGET, SHIFTED, ZERO_WEIGHT, Role, k_target
from fieldlevel.study.robustness.rows import Rows
from fieldlevel.study.robustness.stages import Stages
from fieldlevel.study.robustness.step_times import StepTimes
from fieldlevel.training.train_spec import TrainSpec

SUITES = ("A", "B", "C", "D")
ALL_PARTS = RobustnessSpec().parts
N = 120


def stages_of(suites=SUITES, **changes):
    spec = RobustnessSpec(train=TrainSpec(split=SplitSpec(train=0.8, validation=0.1)), **changes)
    rows = {suite: Rows.of(spec.train.split, N, spec.choice_part) for suite in suites}
    cosmology = np.random.default_rng(0).uniform(size=(N, 2))
    return Stages(Folds(spec, suites, rows, dict.fromkeys(suites, cosmology)), Layout().cosmological)


def ranked(suite, *methods):
    """A choice with the last of the hyper-parameters of every method as the best."""
    every = [MethodOptions(name, dict(each)) for name in methods for each in GRIDS.get(name, ({},))]
    best = {each.method: each for each in every}
    return Choice(suite, {each.label: 1.0 for each in every}, tuple(best[name] for name in methods))


ORDER = ("mmd", "adversarial", "pooled", "vrex", "group-dro", "randomised")


def test_the_adaptation_compares_methods_with_what_was_best_of_each_before():
    stages = stages_of()
    candidates = stages.adapting_candidates({suite: ranked(suite, *ORDER) for suite in SUITES})
    for compared in candidates.values():
        assert {each.method: each.options for each in compared} == {
            "mmd": GRIDS["mmd"][-1],
            "adversarial": GRIDS["adversarial"][-1],
            "batch-norms": GRIDS["batch-norms"][0],
        }
        assert len(compared) == 3
    roles = stages.adapting_choice(candidates)
    assert [(role.suites, role.detail) for role in roles if role.method.startswith("mmd")] == [
        (("B", "A"), ALL_TARGET),
        (("C", "B"), ALL_TARGET),
        (("D", "C"), ALL_TARGET),
        (("A", "D"), ALL_TARGET),
    ]


@pytest.mark.parametrize(("suites", "parts"), [(SUITES[:3], ALL_PARTS), (SUITES, ("adaptation",))])
def test_the_adaptation_compares_all_where_nothing_was_chosen_before(suites, parts):
    stages = stages_of(suites, parts=parts)
    candidates = stages.adapting_candidates({suite: ranked(suite, *ORDER) for suite in suites})
    assert set(candidates) == set(suites)
    for compared in candidates.values():
        assert len(compared) == sum(len(GRIDS[name]) for name in ("mmd", "adversarial", "batch-norms"))


def test_nothing_is_chosen_where_nothing_needs_it():
    stages = stages_of(parts=())
    assert stages.choice() == stages.adapting_candidates(stages.choices({})) == {}
    assert {role.kind for role in stages.full_size(stages.choices({}), {})} == {"matrix"}


def test_methods_of_full_size_are_the_best_of_every_fold_then_the_next():
    one, other = ranked("A", "mmd", "pooled", "vrex"), ranked("B", "mmd", "group-dro", "pooled")
    third = ranked("C", "vrex", "mmd", "pooled")
    assert full_size([one, other], 0) == ("pooled",)
    assert full_size([one, other], 1) == ("pooled", "mmd")
    assert full_size([one, other], 2) == ("pooled", "mmd", "vrex")
    assert full_size([one, other, third], 1) == ("pooled", "mmd", "vrex")
    assert full_size([ranked("A", "pooled"), ranked("B", "pooled")], 2) == ("pooled",)


def test_a_method_that_diverged_in_one_fold_is_the_best_of_none():
    one, other = ranked("A", "mmd", "vrex", "pooled"), ranked("B", "pooled", "vrex", "mmd")
    other = replace(other, scores={label: math.inf if "mmd" in label else 1.0 for label in other.scores})
    choices = without_diverged({"A": one, "B": other})
    assert [each.method for each in choices["A"].ranked] == ["vrex", "pooled"]
    assert choices["A"].best.method == "vrex"
    assert full_size([*choices.values()], 2) == ("pooled", "vrex")
    assert without_diverged({"A": one}) == {"A": one}
    alone = Choice("A", {"pooled": math.inf}, (MethodOptions("pooled"),))
    assert without_diverged({"A": alone})["A"].best.method == "pooled"


def test_what_is_shown_once_is_done_for_the_first_suites():
    stages = stages_of(k=(10,), seeds=3)
    choices = {suite: ranked(suite, *ORDER) for suite in SUITES}
    roles = stages.full_size(choices, choices)
    curves = [role.target for role in roles if role.detail in (SHIFTED, k_target(10))]
    assert curves == ["A", "A"]
    assert {role.target for role in roles if role.kind == "control"} == {"A"}
    seeds = {role.kind: len({test.network.seed for test in tests}) for role, tests in roles.items() if not role.detail}
    assert seeds == {"matrix": 3, "all suites": 3, "leave one out": 3, "inner": 1, "oracle": 2}
    assert {len(tests) for role, tests in roles.items() if role.detail == ALL_TARGET} == {2}


def test_a_method_of_weight_zero_is_trained_beside_pooling():
    stages = stages_of()
    choices = {suite: ranked(suite, *ORDER) for suite in SUITES}
    roles = [*stages.full_size(choices, choices)]
    (place,) = (number for number, role in enumerate(roles) if role.detail == ZERO_WEIGHT)
    assert roles[place + 1] == Role("leave one out", "pooled", ("A",))


def test_transfer_error_bars_are_those_of_pooling_and_of_the_best():
    stages = stages_of()
    choices = {suite: ranked(suite, *ORDER) for suite in SUITES}
    roles = stages.full_size(choices, {})
    assert {role.method for role in roles if role.kind == "inner"} == {"pooled", "mmd"}
    assert {role.method for role in roles if role.kind == "leave one out"} == {"pooled", "mmd", "adversarial"}


def test_networks_of_the_choice_are_narrow_short_and_keep_their_standard_deviations():
    spec = robustness_scale("letter")
    train = choice_training(spec)
    assert (train.network.hidden, train.n_steps, train.head_batches) == (4, 2000, 0)
    assert replace(train, network=spec.train.network, n_steps=4000, head_batches=200) == spec.train


def test_a_plan_of_mock_suites_needs_no_maps():
    spec = robustness_scale("letter")
    spec = replace(spec, simulate=replace(spec.simulate, n_simulations=500))
    planned = plan_robustness(spec, StepTimes(9.1, 6.6, 12.0), None, Path("nowhere"))
    assert {each.kind: each.n_networks for each in planned} == {
        "choice": 11 * 6 + 4 + 3 * 4,
        "matrix": 4 * 3,
        "all suites": 3 * 3,
        "leave one out": 3 * 4 * 3,
        "inner": 2 * 6 + 4,
        "oracle": 4 * 2,
        "adaptation": 4 * (1 + 2) + 3,
        "control": 5,
    }
    by_kind = {each.kind: each for each in planned}
    assert by_kind["matrix"].minutes == pytest.approx(12 * (12 + 4000 * 9.1e-3) / 60)
    assert by_kind["adaptation"].minutes == pytest.approx((15 * 12 + (4 + 2 * 11) * 4000 * 9.1e-3) / 60)
    assert all(each.n_left == each.n_networks for each in planned)
