"""Laws that every experiment keeps, and one from outside of the package in a letter of its own."""

from dataclasses import replace

import pytest

from fieldlevel.data import transform_spec
from fieldlevel.data.transform_spec import TransformSpec, register_transform
from fieldlevel.errors import UserError
from fieldlevel.report.letter_files import write_letter
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.study import experiments
from fieldlevel.study.experiment import Experiment
from fieldlevel.study.experiments import EXPERIMENTS, known_experiments, register_experiment
from fieldlevel.study.experiments.null_tests import NullTest
from fieldlevel.study.finished import read_finished
from fieldlevel.study.keys import FIRST, ExperimentKey, pairs_key
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_plan import everything
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.runner import run_letter

SUITES = ("MockTNG", "MockSIMBA")
TWINS = {suite: f"Nbody_{suite}" for suite in SUITES}

WITHOUT_TESTS = {"mean of the map alone"}
"""It needs no network."""


@pytest.fixture
def registries(monkeypatch):
    """What is registered in a test is forgotten afterwards."""
    monkeypatch.setattr(experiments, "_REGISTERED", [])
    monkeypatch.setattr(transform_spec, "_REGISTERED", {})


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda each: each.kind)
@pytest.mark.parametrize("suites", [SUITES, (*SUITES, "Third")], ids=len)
def test_every_experiment_has_typed_keys_of_its_kind_and_tests(experiment, suites):
    sets = dict.fromkeys(suites, ("LH", "LHthin2", "LHthinned", "1P"))
    plan = {**experiment.tests(LetterSpec(), suites, TWINS), **experiment.tests_on_sets(LetterSpec(), sets)}
    assert bool(plan) == (experiment.kind not in WITHOUT_TESTS)
    for key, tests in plan.items():
        assert isinstance(key, ExperimentKey)
        assert key.kind == experiment.kind
        assert key.label
        assert tests
        assert {test.network.suite for test in tests} <= {*suites, *TWINS.values()}


def test_no_two_experiments_share_a_key_or_a_label():
    sets = dict.fromkeys(SUITES, ("LH", "LHthin2", "LHthin4", "CV", "CVthin2", "LHthinned", "LHtracers", "1P"))
    plan = everything(LetterSpec(), SUITES, TWINS, sets)
    assert len({key.label for key in plan}) == len(plan)
    kinds = [experiment.kind for experiment in known_experiments()]
    assert len(set(kinds)) == len(kinds)


def test_scales_stand_in_keys_as_numbers():
    plan = everything(LetterSpec(smoothing=(0.1 + 0.2,), k_max=(2.0,)), SUITES, TWINS)
    scales = {key.kind: key.scale for key in plan if key.scale is not None}
    assert scales == {"smoothing": 0.1 + 0.2, "k_max": 2.0}
    assert [key.label for key in plan if key.scale is not None] == ["smoothing 0.3 px", "k_max 2 h/Mpc"]


def test_a_key_is_its_kind_and_scale_whatever_it_is_called():
    assert pairs_key(("A", "B", "C")) == FIRST
    assert hash(pairs_key(("A", "B", "C"))) == hash(FIRST)
    assert ExperimentKey("smoothing", 1.0, "px") != ExperimentKey("smoothing", 2.0, "px")


@pytest.mark.parametrize("missing", ["tests", "judge", "plates"])
def test_an_experiment_without_one_of_its_parts_is_none(missing):
    """None is forgotten in silence: an experiment says itself that it has no verdict, or no figure."""
    parts = {name: lambda *_: iter(()) for name in ("tests", "judge", "plates") if name != missing}
    with pytest.raises(TypeError, match=f"abstract method '?{missing}'?"):
        type("Half", (Experiment,), {"kind": "half", **parts})()


def test_names_that_are_taken_are_refused(registries):
    for experiment in EXPERIMENTS:
        with pytest.raises(UserError, match="known already; give another"):
            register_experiment(experiment)
    for kind in transform_spec.KINDS:
        with pytest.raises(UserError, match="known already; give another"):
            register_transform(kind, lambda maps, spec, numbers: maps)


def test_a_transform_is_known_only_once_it_is_registered(registries):
    with pytest.raises(UserError, match=r"^run/spec.json: transform.kind = mirrored: input should be one of 'none', "):
        from_json(TransformSpec, '{"kind": "mirrored"}', "run/spec.json")
    register_transform("mirrored", lambda maps, spec, numbers: maps.flip(-1))
    assert from_json(TransformSpec, to_json(TransformSpec("mirrored"))) == TransformSpec("mirrored")


def test_an_experiment_from_outside_is_tested_judged_drawn_and_told(
    registries, tiny_letter, with_maps, draft_figures, tmp_path
):
    with_maps(tmp_path)
    few = replace(tiny_letter, only=("mean map", "halves"), map_trials=0, summary_trials=0)
    with pytest.raises(UserError, match="only: no experiment 'halves'"):
        prepare_data(few, None, tmp_path)
    usual = prepare_data(replace(few, only=("mean map",)), None, tmp_path, device="cpu")

    register_transform("halves", lambda maps, spec, numbers: maps.roll(maps.shape[-1] // 2, -1).flip(-2))
    claim = "A map whose halves are exchanged tells the same."
    register_experiment(NullTest("halves", "halves exchanged", claim, infers=True))
    data = prepare_data(few, usual.directory, tmp_path, device="cpu")
    results = run_letter(few, data, tmp_path, device="cpu")
    with draft_figures():
        document = write_letter(tmp_path, results)

    assert [key.label for key in results.experiments] == ["four pairs", "mean map", "halves"]
    assert {pair.name for pair in results.of("halves")} == {f"{suite} → {suite}" for suite in SUITES}
    assert [verdict.claim for verdict in results.verdicts if verdict.experiment == "halves"] == [claim]
    text = (tmp_path / "report.md").read_text()
    assert f"| halves | {claim} |" in text
    assert "every pixel the mean, halves exchanged. Triangles" in text
    assert "| halves | MockTNG → MockTNG | Omega_m |" in text
    assert len(document["experiments"]["halves"]) == 2
    assert read_finished(tmp_path, data.key) == document


def test_an_experiment_from_outside_makes_another_letter(registries, tiny_letter, with_maps, tmp_path):
    before = prepare_data(tiny_letter, None, with_maps(tmp_path), device="cpu")
    register_experiment(NullTest("no monopole twice", "scaled", "As before.", transform=TransformSpec("no monopole")))
    after = prepare_data(tiny_letter, before.directory, tmp_path, device="cpu")
    assert before.key != after.key
