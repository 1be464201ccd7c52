"""Who sees what in a robustness study: laws over all networks of all parts, without training one."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.study.robustness.controls import controls_of
from fieldlevel.study.robustness.folds import Folds, check_folds
from fieldlevel.study.robustness.robust_methods import (
    EXPERTS,
    POOLED,
    candidates_of,
    methods_of,
    with_method,
    without_effect,
)
from fieldlevel.study.robustness.robustness_checks import check_robustness
from fieldlevel.study.robustness.robustness_data import choose_suites
from fieldlevel.study.robustness.robustness_scales import robustness_scale
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.study.robustness.roles import EQUAL_MAPS, NO_SHARED_ROWS, PERMUTED_SUITES, SHIFTED, ZERO_WEIGHT
from fieldlevel.study.robustness.rows import Rows
from fieldlevel.training.train_spec import TrainSpec

SUITES = ("A", "B", "C", "D")
N = 120
OWN = MethodOptions("test_robust_folds_toy:Apart", {"weight": 2.0})

TOY = """
from fieldlevel.training.penalty import Penalty


class Apart(Penalty):
    def __init__(self, n_features, n_sources, weight=1.0):
        super().__init__()
        self.weight = weight

    def loss(self, features, source, theta):
        return self.weight * features.square().mean()
"""


@pytest.fixture(autouse=True)
def toy_penalty(tmp_path, monkeypatch):
    (tmp_path / "test_robust_folds_toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(tmp_path))


def folds_of(suites=SUITES, **changes):
    """By default with everything that is done for some left-out suites alone, for all."""
    changes = {"curve_folds": 4, "control_folds": 4, "adaptation_inner": 3, **changes}
    spec = RobustnessSpec(train=TrainSpec(split=SplitSpec(train=0.8, validation=0.1)), **changes)
    cosmology = np.random.default_rng(0).uniform(size=(N, 2))
    rows = {suite: Rows.of(spec.train.split, N, spec.choice_part) for suite in suites}
    return Folds(spec, suites, rows, dict.fromkeys(suites, cosmology))


def everything(folds):
    """All roles of all parts."""
    methods = (MethodOptions(), OWN)
    roles = {**folds.matrix(), **folds.all_suites(methods)}
    for target in folds.suites:
        roles |= {**folds.leave_one_out(target, methods), **folds.inner(target, methods)}
        roles |= {**folds.choice(target, methods), **folds.adapting_choice(target, methods)}
        roles |= {**folds.adaptation(target, OWN), **controls_of(folds, target, methods)}
    return roles


def taught(folds, network):
    """Rows of each source."""
    return [(source, set(source.simulations or folds.rows[source.suite].train)) for source in network.all_sources]


@pytest.mark.parametrize("suites", [SUITES, SUITES[:3]])
def test_no_row_is_shown_without_a_label_and_taught_or_tested_as_well(suites):
    folds = folds_of(suites)
    split = folds.spec.train.split.divide(N)
    seen_kinds = set()
    for role, tests in everything(folds).items():
        seen_kinds.add(role.kind)
        for test in tests:
            sources = taught(folds, test.network)
            labelled = set().union(*(rows for source, rows in sources if source.labelled))
            shown = set().union(*(rows for source, rows in sources if not source.labelled))
            tested = set(test.numbers) or set(split.test.tolist())
            assert not labelled & shown
            assert not (labelled | shown) & tested
            assert (labelled | shown) <= set(split.train.tolist())
            assert not tested & set(split.validation.tolist())
    assert seen_kinds == {
        *("matrix", "all suites", "choice", "leave one out", "inner", "adaptation", "oracle", "control")
    }


def test_no_label_of_a_left_out_suite_is_taught_and_none_of_its_maps_seen_in_the_choice():
    folds = folds_of()
    for role, tests in everything(folds).items():
        if role.kind in ("matrix", "oracle", "all suites"):
            continue
        for test in tests:
            with_labels = {source.suite for source in test.network.all_sources if source.labelled}
            assert not with_labels & set(role.suites), role.label
            others = {source.suite for source in test.network.all_sources} - with_labels
            assert others <= {role.suites[0]}, role.label
            if role.kind in ("choice", "inner"):
                assert role.suites[1] not in {test.suite, *with_labels, *others}


def test_the_oracle_has_recipe_rows_and_steps_of_what_is_compared_with_it():
    folds = folds_of()
    for target in SUITES:
        pooled, oracle = folds.leave_one_out(target, [MethodOptions()]), folds.matrix()
        (loo,) = {replace(test.network, suite="", sources=(), seed=0) for tests in pooled.values() for test in tests}
        assert loo in {replace(t.network, suite="", sources=(), seed=0) for tests in oracle.values() for t in tests}
        adapted = folds.adaptation(target, OWN)
        rows = {role: taught(folds, tests[0].network) for role, tests in adapted.items()}
        (of_oracle,) = (each for role, each in rows.items() if role.kind == "oracle")
        for role, each in rows.items():
            if role.kind != "oracle":
                assert all(taken == of_oracle[0][1] for source, taken in each if source.labelled)


def test_a_network_that_two_folds_share_is_one():
    """Without A and B, it is the same whichever of the two is the target."""
    folds = folds_of()
    networks = [
        test.network
        for target in SUITES
        for tests in folds.choice(target, [MethodOptions()]).values()
        for test in tests
    ]
    assert len(networks) == 12
    assert len(set(networks)) == 6


def test_controls_are_what_their_names_say():
    folds = folds_of()
    roles = controls_of(folds, "A", (OWN, MethodOptions()))
    n_train = len(folds.rows["A"].train)

    def rows_of(detail, method=POOLED):
        (tests,) = (tests for role, tests in roles.items() if (role.detail, role.method) == (detail, method))
        return [rows for _, rows in taught(folds, tests[0].network)]

    same, own = rows_of(EQUAL_MAPS), rows_of(NO_SHARED_ROWS)
    assert same[0] == same[1] == same[2]
    assert sum(map(len, same)) == sum(map(len, own)) == n_train
    assert not any(one & other for one, other in combinations(own, 2))
    assert set().union(*own) == set(folds.rows["A"].train)
    by_detail = {role.detail: tests[0].network for role, tests in roles.items() if role.method == OWN.method}
    (pooled,) = {t[0].network for t in folds.leave_one_out("A", [MethodOptions()]).values()}
    zero = by_detail[ZERO_WEIGHT]
    assert replace(zero, penalty="", penalty_options={}) == pooled
    assert zero.penalty_options == {"weight": 0.0}
    assert by_detail[PERMUTED_SUITES].labels == "permuted suites"


def test_a_shifted_target_is_half_of_the_prior():
    folds = folds_of()
    (tests,) = (tests for role, tests in folds.adaptation("A", OWN).items() if role.detail == SHIFTED)
    (shown,) = (rows for source, rows in taught(folds, tests[0].network) if not source.labelled)
    assert 0 < len(shown) < len(folds.rows["A"].train) / 2
    assert (folds.cosmology["A"][sorted(shown)].mean(axis=1) < 0.5).all()


def test_a_batch_of_an_adaptation_holds_as_many_labels_as_any_other():
    folds = folds_of()
    for role, tests in folds.adaptation("A", OWN).items():
        network = tests[0].network
        n_unlabelled = sum(source.share or 0 for source in network.sources if not source.labelled)
        assert network.batch_size * (1 - n_unlabelled) == folds.spec.train.batch_size, role.label


def test_methods_are_pooling_first_and_unknown_ones_are_refused():
    spec = RobustnessSpec(methods=(OWN.method,), candidates=(OWN,))
    assert methods_of(spec) == (POOLED, OWN.method)
    assert candidates_of(spec, OWN.method) == (OWN,)
    assert with_method(TrainSpec(), OWN).penalty == OWN.method
    assert without_effect(OWN) == MethodOptions(OWN.method, {"weight": 0.0})
    assert without_effect(MethodOptions()) is None
    check_robustness(spec)
    with pytest.raises(UserError, match="methods: no method magic; choose from pooled"):
        methods_of(RobustnessSpec(methods=("magic",)))
    with pytest.raises(UserError, match="candidates: mine:Own is not among the methods"):
        check_robustness(RobustnessSpec(candidates=(MethodOptions("mine:Own"),)))


def test_a_method_of_siblings_is_left_out_where_suites_have_none(monkeypatch):
    known = (POOLED, "vrex", "randomised", "batch-norms")
    monkeypatch.setattr("fieldlevel.study.robustness.robust_methods.known_methods", lambda: known)
    assert methods_of(RobustnessSpec()) == (POOLED, "vrex", "randomised", EXPERTS)
    assert methods_of(RobustnessSpec(), have_siblings=False) == (POOLED, "vrex", EXPERTS)
    with pytest.raises(UserError, match="randomised needs suites that share their initial conditions"):
        methods_of(RobustnessSpec(methods=("randomised",)), have_siblings=False)
    with pytest.raises(UserError, match="batch-norms needs maps of the left-out suite; give it with --adapt-with"):
        methods_of(RobustnessSpec(methods=("batch-norms",)))
    monkeypatch.setattr("fieldlevel.study.robustness.folds.with_method", lambda train, chosen: train)
    roles = controls_of(folds_of(), "A", (MethodOptions("randomised", {"weight": 0.5}),))
    assert {role.detail for role in roles if role.method == "randomised"} == {ZERO_WEIGHT}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target_part": 1.0}, "target_part = 1.0: allowed are numbers between 0 and 1"),
        ({"k": (10, 10)}, "k = .*each once"),
        ({"seeds": 0}, "seeds = 0"),
        ({"test_set": "LH"}, "test_set = LH: the set of the training"),
        ({"choice_hidden": 0}, "choice_hidden = 0"),
        ({"adaptation_seeds": 0}, "adaptation_seeds = 0"),
        ({"adaptation_inner": 0}, "adaptation_inner = 0"),
        ({"control_folds": -1}, "control_folds = -1: allowed are numbers from 0"),
        ({"train": TrainSpec(suite="MockSIMBA")}, "train.suite: MockSIMBA; a robustness study sets it itself"),
        ({"train": TrainSpec(labels="permuted")}, "train.labels: permuted; a robustness study sets it itself"),
        ({"train": TrainSpec(method="mmd")}, "train.method: mmd; name methods to compare with --methods"),
        ({"train": TrainSpec(transform=TransformSpec("smoothing"))}, "smoothing needs a positive number"),
    ],
)
def test_what_cannot_be_is_refused_first(changes, told):
    with pytest.raises(UserError, match=told):
        check_robustness(RobustnessSpec(**changes))


def test_two_suites_and_few_rows_are_refused():
    with pytest.raises(UserError, match="leaves one suite out and trains on the others, so three are needed"):
        choose_suites(RobustnessSpec(suites=("A", "B")), None)
    few = folds_of()
    rows = {suite: replace(each, train=each.train[:6], inner=each.inner[:6]) for suite, each in few.rows.items()}
    with pytest.raises(UserError, match=r"too few for train\.batch_size"):
        check_folds(replace(few, rows=rows))


@pytest.mark.parametrize("scale", ["laptop", "half", "letter"])
def test_every_scale_can_be_done(scale):
    spec = robustness_scale(scale)
    check_robustness(spec)
    n = spec.simulate.n_simulations or 1000
    rows = {suite: Rows.of(spec.train.split, n, spec.choice_part) for suite in SUITES}
    check_folds(Folds(spec, SUITES, rows, dict.fromkeys(SUITES, np.zeros((n, 2)))))
