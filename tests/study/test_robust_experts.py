"""Networks of one suite each, mixed: their moments, what they may see, and where they stand in a study."""

from dataclasses import replace

import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.statistics.metrics import evaluate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.robustness.choosing import Choice
from fieldlevel.study.robustness.experts import mixed, mixed_choice, mixed_full_size, mixed_set_p
from fieldlevel.study.robustness.folds import Folds
from fieldlevel.study.robustness.robust_methods import EXPERTS, candidates_of, methods_of
from fieldlevel.study.robustness.robustness_checks import check_robustness
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.study.robustness.roles import SINGLE, Role
from fieldlevel.study.robustness.rows import Rows
from fieldlevel.study.robustness.set_tests import of_all_seeds
from fieldlevel.study.robustness.stages import Stages
from fieldlevel.training.train_spec import TrainSpec

SUITES = ("A", "B", "C", "D")
NAMES = ("Omega_m", "sigma_8")
N = 120


def pair(trained, tested, shift=0.0, std=0.01, seed=0, n=6, first=0):
    layout = Layout()
    theta = np.repeat(layout.lows + 0.5 * (layout.highs - layout.lows)[None], n, axis=0)
    numbers = np.arange(first, first + n)
    predictions = Predictions(theta, theta + shift, np.full_like(theta, std), numbers // 2, numbers)
    return PairResult(trained, tested, predictions, evaluate(predictions), seed)


def singles(kind, shifts, seeds=1):
    """Networks of one suite each, whose answers are off by as much on all suites."""
    return {
        Role(kind, SINGLE, (suite,)): tuple(
            pair(suite, other, shift, seed=seed)
            for seed in range(seeds)
            for other in SUITES
            if kind == "matrix" or other != suite
        )
        for suite, shift in zip(SUITES, shifts, strict=True)
    }


def stages_of(**changes):
    spec = RobustnessSpec(train=TrainSpec(split=SplitSpec(train=0.8, validation=0.1)), **changes)
    rows = {suite: Rows.of(spec.train.split, N, spec.choice_part) for suite in SUITES}
    cosmology = np.random.default_rng(0).uniform(size=(N, 2))
    return Stages(Folds(spec, SUITES, rows, dict.fromkeys(SUITES, cosmology)), Layout().cosmological)


def test_a_mixture_has_the_moments_of_its_members_together():
    """Means of -3 and 1 with deviations of 2: -1, and 4 + 4."""
    found = mixed([pair("A", "C", -0.03, 0.02), pair("B", "C", 0.01, 0.02)], NAMES).predictions
    assert found.layout.names == NAMES
    np.testing.assert_allclose(found.mean - found.theta, -0.01)
    np.testing.assert_allclose(found.std, 0.01 * np.sqrt(8))


def test_a_mixture_of_one_is_that_network():
    alone = pair("A", "B", 0.02)
    np.testing.assert_array_equal(mixed([alone], NAMES).predictions.mean, alone.predictions.mean[:, :2])
    np.testing.assert_allclose(mixed([alone], NAMES).predictions.std, alone.predictions.std[:, :2])


def test_other_maps_are_refused():
    with pytest.raises(UserError, match="experts: networks of A and B were not tested on the same maps of C"):
        mixed([pair("A", "C"), pair("B", "C", first=2)], NAMES)


def test_no_member_is_of_a_suite_that_is_left_out():
    shifts = (1e-3, 2e-3, 4e-3, 8e-3)
    of = dict(zip(SUITES, shifts, strict=True))
    found = mixed_choice(singles("choice", shifts), SUITES, NAMES)
    assert len(found) == 12
    for role, (each,) in found.items():
        members = [shift for suite, shift in of.items() if suite not in role.suites]
        np.testing.assert_allclose(each.predictions.mean - each.predictions.theta, np.mean(members))
        assert each.test_suite == role.suites[0]
    tested = {**singles("matrix", shifts, seeds=2), **singles("inner", shifts)}
    full = mixed_full_size(tested, SUITES, NAMES, {})
    assert {(role.kind, role.method) for role in full} == {
        (kind, EXPERTS) for kind in ("leave one out", "all suites", "inner")
    }
    for role, pairs in full.items():
        if role.kind == "leave one out":
            assert [(each.test_suite, each.seed) for each in pairs] == [(role.target, 0), (role.target, 1)]
            members = [shift for suite, shift in of.items() if suite != role.target]
            np.testing.assert_allclose(pairs[1].predictions.mean - pairs[1].predictions.theta, np.mean(members))
        if role.kind == "all suites":
            assert [each.test_suite for each in pairs] == [suite for suite in SUITES for _ in range(2)]
            np.testing.assert_allclose(pairs[0].predictions.mean - pairs[0].predictions.theta, np.mean(shifts))


def test_there_is_no_mixture_where_a_member_is_lacking():
    lacking = singles("choice", np.zeros(4))
    lacking[Role("choice", SINGLE, ("B",))] = ()
    assert mixed_choice(lacking, SUITES, NAMES) == {}
    assert mixed_choice({}, SUITES, NAMES) == {}
    assert mixed_full_size(singles("matrix", np.zeros(4)), SUITES, NAMES, {}) == {}


def set_tests(of):
    """Set tests of the networks of the matrix, by trained and tested suite, of seeds 0 and 1."""
    return {
        (Role("matrix", SINGLE, (trained,)), tested): dict(enumerate(each)) for (trained, tested), each in of.items()
    }


def test_members_that_find_the_maps_unlike_answer_only_where_all_do():
    """Of seed 0 A knows its own maps and B does not call them unlike; of seed 1 nobody knows any of them."""
    shifts = (1e-3, 2e-3, 4e-3, 8e-3)
    tested = {**singles("matrix", shifts, seeds=2), **singles("inner", shifts)}
    p = {(trained, "A"): (1e-9, 1e-9) for trained in SUITES} | {("A", "A"): (0.7, 0.01), ("B", "A"): (0.05, 0.04)}
    full = mixed_full_size(tested, SUITES, NAMES, set_tests(p))
    offs = [each.predictions.mean - each.predictions.theta for each in full[Role("all suites", EXPERTS)]]
    np.testing.assert_allclose(offs[0], (1e-3 + 2e-3) / 2)
    np.testing.assert_allclose(offs[1], np.mean(shifts))
    of_b = [each for each in full[Role("all suites", EXPERTS)] if each.test_suite == "B"]
    np.testing.assert_allclose(of_b[0].predictions.mean - of_b[0].predictions.theta, np.mean(shifts))
    left_out = [each.predictions.mean - each.predictions.theta for each in full[Role("leave one out", EXPERTS, ("A",))]]
    np.testing.assert_allclose(left_out[0], 2e-3)
    np.testing.assert_allclose(left_out[1], np.mean(shifts[1:]))
    for role, (each, *_) in full.items():
        if role.kind == "inner":
            members = [shift for suite, shift in zip(SUITES, shifts, strict=True) if suite not in role.suites]
            np.testing.assert_allclose(each.predictions.mean - each.predictions.theta, np.mean(members))


def test_a_mixture_is_as_unlike_as_its_most_alike_member_finds():
    role = Role("leave one out", EXPERTS, ("A",))
    tested = {role: tuple(pair("B", "A", seed=seed) for seed in range(2))}
    p = {("A", "A"): (0.9, 0.9), ("B", "A"): (0.01, 0.2), ("C", "A"): (0.03, 1e-6), ("D", "A"): (1e-9, 1e-9)}
    of_pooling = {(Role("leave one out", "pooled", ("A",)), "A"): {0: 0.8, 1: 0.8}}
    found = mixed_set_p({**set_tests(p), **of_pooling}, tested)
    assert found == {(role, "A"): {0: 0.03, 1: 0.2}}
    assert of_all_seeds(found) == {(role, "A"): pytest.approx(0.06)}


def test_members_of_the_choice_are_taught_inner_rows_and_tested_on_the_others_of_other_suites():
    folds = stages_of().folds
    for roles in (folds.choice_experts(), folds.inner_experts()):
        assert [role.target for role in roles] == list(SUITES)
        for role, tests in roles.items():
            assert [test.suite for test in tests] == [suite for suite in SUITES if suite != role.target]
            for test in tests:
                (source,) = test.network.all_sources
                assert source.suite == role.target
                assert set(source.simulations) == set(folds.rows[role.target].inner)
                assert not set(source.simulations) & set(test.numbers)


def test_they_are_compared_and_told_but_nothing_else_is_trained_for_them():
    stages = stages_of(methods=("mmd", EXPERTS))
    assert methods_of(stages.folds.spec) == ("pooled", "mmd", EXPERTS)
    assert [role.target for role in stages.choice() if role.method == SINGLE] == list(SUITES)
    assert not [role for role in stages.choice() if role.method == EXPERTS]
    compared = {each.method: each for each in stages.compared}
    ranked = tuple(compared[name] for name in (EXPERTS, "pooled", "mmd"))
    choices = {suite: Choice(suite, {each.label: 1.0 for each in stages.compared}, ranked) for suite in SUITES}
    assert stages.methods(choices) == ("pooled", "mmd", EXPERTS)
    roles = stages.full_size(choices, {})
    assert not [role for role in roles if role.method == EXPERTS]
    assert {role.method for role in roles if role.kind == "inner"} == {"pooled", SINGLE}
    assert {role.method for role in roles if role.kind == "leave one out"} == {"pooled", "mmd"}
    fewer = {suite: replace(choice, ranked=ranked[1:]) for suite, choice in choices.items()}
    assert stages.methods(fewer) == ("pooled", "mmd")


def test_they_have_no_hyper_parameters():
    given = RobustnessSpec(candidates=(MethodOptions(EXPERTS, {"weight": 1.0}),))
    with pytest.raises(UserError, match="candidates: experts has no hyper-parameters; leave it out there"):
        candidates_of(given, EXPERTS)
    with pytest.raises(UserError, match="candidates: experts has no hyper-parameters"):
        check_robustness(given)
    check_robustness(RobustnessSpec(methods=(EXPERTS,)))
