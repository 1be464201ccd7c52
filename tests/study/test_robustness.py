"""A robustness study from the command line: whole, killed and continued, told; on lognormal maps of three suites."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toy import latin_hypercube, toy_maps

from fieldlevel.cli import main
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.layout import Layout
from fieldlevel.report.robustness_page import read_finished_robustness, write_robustness
from fieldlevel.study.robustness.fold_measures import measure_all
from fieldlevel.study.robustness.robustness_data import choose_suites, prepare_robustness
from fieldlevel.study.robustness.robustness_plan import plan_robustness
from fieldlevel.study.robustness.robustness_runner import run_robustness
from fieldlevel.study.robustness.robustness_spec import MethodOptions, RobustnessSpec
from fieldlevel.study.robustness.roles import SINGLE, Role
from fieldlevel.study.robustness.step_times import StepTimes
from fieldlevel.training.presets import modern_preset

SUITES = ("MockTNG", "MockSIMBA", "MockAstrid", "MockEAGLE")
METHOD = "test_robustness_toy:Apart"
TOY = """
from fieldlevel.training.penalty import Penalty


class Apart(Penalty):
    def __init__(self, n_features, n_sources, weight=1.0):
        super().__init__()
        self.weight, self.n_sources = weight, n_sources

    def loss(self, features, source, theta):
        means = [features[source == number].mean(0) for number in range(self.n_sources)]
        return self.weight * sum((mean - means[0]).square().sum() for mean in means)


class Diverging(Apart):
    def loss(self, features, source, theta):
        return features.sum() * float("nan")
"""
DIVERGING = "test_robustness_toy:Diverging"
SPEC = RobustnessSpec(
    methods=(METHOD,),
    candidates=(MethodOptions(METHOD, {"weight": 1.0}),),
    seeds=1,
    k=(1, 5),
    choice_hidden=1,
    choice_steps=2,
    choice_part=0.2,
    train=replace(
        modern_preset(),
        split=SplitSpec(train=0.8, validation=0.1),
        network=NetworkSpec(hidden=1),
        batch_size=8,
        n_steps=4,
        validate_every=2,
        statistics_batches=1,
        head_batches=1,
    ),
)


@pytest.fixture(scope="module", autouse=True)
def toy_penalty(tmp_path_factory):
    place = tmp_path_factory.mktemp("penalty")
    (place / "test_robustness_toy.py").write_text(TOY)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(place))
        patched.setenv("PYTHONPATH", str(place), prepend=":")
        yield


def write_suites(folder, suites, n=20, set_name="LH", seed=0):
    theta = latin_hypercube(Layout(), n, seed)
    folder.mkdir(exist_ok=True)
    for number, suite in enumerate(suites):
        maps = toy_maps(theta, Layout(), 16, 100 * seed + number)
        np.save(folder / f"Maps_Mtot_{suite}_{set_name}_z=0.00.npy", maps)
        np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta, fmt="%.6f")
    return folder


def study(spec, folder, out, listener=lambda event: None):
    data = prepare_robustness(spec, folder, out, "cpu")
    return data, run_robustness(spec, data, out, "cpu", listener)


@pytest.fixture(scope="module")
def small(draft_figures, tmp_path_factory):
    """Leave-one-out of three suites by pooling alone: seconds."""
    place = tmp_path_factory.mktemp("small")
    folder = write_suites(place / "cmd", SUITES[:3])
    spec = replace(SPEC, methods=("pooled",), candidates=(), adapt_with=("pooled",), parts=("leave one out",))
    data, results = study(spec, folder, place / "out")
    with draft_figures():
        return place, spec, data, results, write_robustness(place / "out", results)


def test_three_suites_of_a_folder_make_a_study(small):
    place, _, data, results, document = small
    assert results.suites == SUITES[:3]
    assert results.told_methods == ("pooled",)
    assert document["data_mark"] == "MOCK DATA"
    keys = ("worst_ratio_leave_one_out", "worst_ratio_adapted", "coverage68_by_fold", "own_cost")
    assert all(key in document for key in keys)
    assert document["worst_ratio_adapted"] is None
    assert set(document["coverage68_by_fold"]) == set(SUITES[:3])
    assert json.loads((place / "out" / "summary.json").read_text()) == document
    assert read_finished_robustness(place / "out", data.key) == document
    assert read_finished_robustness(place / "out", "another") is None


def test_the_report_tells_the_verdicts_first_and_marks_mock_data(small):
    place, *_ = small
    for name in ("report.md", "report.html"):
        text = (place / "out" / name).read_text()
        verdict = text.index("Do networks hold on a suite of simulations that they have never seen?")
        assert text.index("MOCK DATA") < verdict < text.index("Every suite against every suite")
        figures, verdicts = (
            text.index(f"## {title}" if name == "report.md" else f'id="{title.lower()}"')
            for title in ("Figures", "Verdicts")
        )
        assert verdict < figures < verdicts
        assert "Three suites leave one to train on" in text
        assert "silent failure" in text.lower()
    markdown = (place / "out" / "report.md").read_text()
    assert all((place / "out" / part).exists() for part in ("figures/matrix.png", "figures/leave_one_out.pdf"))
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in rows)


def test_no_figure_or_table_has_a_gap_for_what_was_not_done(small):
    place, *_ = small
    text = (place / "out" / "report.md").read_text()
    assert "Adaptation (transductive)" not in text
    assert "## Controls" not in text


def test_a_killed_study_continues_to_the_same_answers(small, tmp_path):
    place, spec, _, results, _ = small
    n_done = 0

    def stop(event):
        nonlocal n_done
        n_done += event.task == "test networks"
        if n_done == 4 or event.task.startswith("all suites"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(spec, place / "cmd", tmp_path / "out", stop)
    assert list((tmp_path / "out" / "runs").iterdir())
    _, again = study(spec, place / "cmd", tmp_path / "out")
    assert list(again.tested) == list(results.tested)
    for role, pairs in results.tested.items():
        for one, other in zip(pairs, again.tested[role], strict=True):
            np.testing.assert_array_equal(one.predictions.mean, other.predictions.mean)


def trained(listener_of):
    """Names of the networks that are trained, by what the listener is told."""
    return {event.task for event in listener_of if ": train " in event.task}


def without_weights(out):
    for path in out.glob("runs/*/*"):
        if path.name.startswith("weights") or path.name == "resume.pt":
            path.unlink()


def test_a_network_is_tested_before_its_folder_is_complete_so_that_weights_may_be_lost(small, tmp_path):
    place, spec, _, results, _ = small
    first, second = [], []

    def stop(event):
        first.append(event)
        if event.task.startswith("leave one out") and event.task.endswith("train MockTNG"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study(spec, place / "cmd", tmp_path / "out", stop)
    done = {path.name for path in (tmp_path / "out" / "runs").iterdir() if path.name.startswith("train-")}
    assert done
    without_weights(tmp_path / "out")
    _, again = study(spec, place / "cmd", tmp_path / "out", second.append)
    stopped = {event.task for event in first[-1:]}
    assert trained(first) & trained(second) <= stopped
    assert trained(second) >= stopped
    for role, pairs in results.tested.items():
        for one, other in zip(pairs, again.tested[role], strict=True):
            np.testing.assert_array_equal(one.predictions.mean, other.predictions.mean)


def test_set_tests_are_known_where_the_weights_are_gone(small, tmp_path, monkeypatch):
    place, spec, _, _, _ = small
    monkeypatch.setattr("fieldlevel.study.robustness.set_tests.set_p_value", lambda *_: 0.25)
    spec, out, events = replace(spec, parts=()), tmp_path / "out", []
    _, results = study(spec, place / "cmd", out)
    assert set(results.set_p.values()) == {0.25}
    assert len(results.set_p) == 9
    without_weights(out)
    monkeypatch.setattr("fieldlevel.study.robustness.set_tests.set_p_value", lambda *_: 0.75)
    assert study(spec, place / "cmd", out, events.append)[1].set_p == results.set_p
    assert not trained(events)
    (lost, *_) = out.glob("runs/set-test-MockTNG-on-MockSIMBA-*")
    (lost / "set_test.json").unlink()
    with pytest.raises(UserError, match=r"set_test\.json: damaged"):
        study(spec, place / "cmd", out)
    lost.rmdir()
    known = study(spec, place / "cmd", out)[1].set_p
    assert {suite for place in results.set_p.keys() - known.keys() for suite in place[1:]} == {"MockSIMBA"}


def test_a_plan_counts_what_is_left(small, capsys):
    place, spec, data, *_ = small
    kinds = plan_robustness(spec, StepTimes(beside_s=6.0), data, place / "out")
    assert [(each.kind, each.n_networks, each.n_left, each.minutes) for each in kinds] == [
        ("matrix", 3, 0, 0.0),
        ("all suites", 1, 0, 0.0),
        ("leave one out", 3, 0, 0.0),
        ("inner", 3, 0, 0.0),
    ]
    (matrix, *_) = plan_robustness(spec, StepTimes(1000.0, 1000.0, 6.0), data, place / "empty")
    assert (matrix.n_left, matrix.steps, matrix.minutes) == (3, 12, pytest.approx(3 * (6 + 4) / 60))
    assert len(list((place / "out" / "runs").glob("train-*"))) == sum(each.n_networks for each in kinds)
    config = place / "plan.toml"
    config.write_text(
        'methods = ["pooled"]\nadapt_with = ["pooled"]\nparts = ["leave one out"]\nseeds = 1\nchoice_part = 0.2\n'
        "[train]\nbatch_size = 8\n[train.split]\ntrain = 0.8\nvalidation = 0.1\n"
    )
    command = ["robustness", "--data", str(place / "cmd"), "--out", str(place / "new"), "--config", str(config)]
    assert main([*command, "--plan", "--times.beside-s", "3"]) == 0
    told = capsys.readouterr().out
    assert "leave one out  3       3     12,000" in told
    assert not (place / "new").exists()


def test_a_matrix_alone_is_tested_on_a_set_of_its_own(draft_figures, tmp_path):
    folder = write_suites(tmp_path / "cmd", SUITES[:3])
    write_suites(folder, SUITES[:3], n=7, set_name="LHtest", seed=1)
    spec = replace(SPEC, methods=("pooled",), candidates=(), parts=(), test_set="LHtest")
    _, results = study(spec, folder, tmp_path / "out")
    with draft_figures():
        document = write_robustness(tmp_path / "out", results)
    assert {role.kind for role in results.tested} == {"matrix"}
    assert all(pair.predictions.n_simulations == 7 for pairs in results.tested.values() for pair in pairs)
    assert document["worst_ratio_leave_one_out"] is document["own_cost"] is None
    assert document["coverage68_by_fold"] == document["folds"] == {}
    assert "Leave one suite out was not done" in document["sentences"][0]


def test_a_study_of_smoothed_maps_and_one_parameter_says_so(draft_figures, small, tmp_path):
    place, spec, _, sharp, _ = small
    smoothed = replace(spec.train, transform=TransformSpec("smoothing", 2.0), outputs=("Omega_m",))
    _, results = study(replace(spec, train=smoothed), place / "cmd", tmp_path / "out")
    with draft_figures():
        document = write_robustness(tmp_path / "out", results)
    told = [json.loads(path.read_text()) for path in (tmp_path / "out" / "runs").glob("train-*/spec.json")]
    assert told
    assert all(each["transform"]["scale"] == 2.0 for each in told)
    assert results.names == ("Omega_m",)
    assert all(list(fold) == ["Omega_m"] for fold in document["leave_one_out"]["pooled"].values())
    assert results.facts["networks read maps"] == "smoothed by a Gaussian of 2 pixels (3.12 Mpc/h)"
    assert "networks read maps" not in sharp.facts
    distances = [max(each.distances.values()) for each in (results, sharp)]
    assert distances[0] != distances[1]
    bad = replace(spec, train=replace(spec.train, outputs=("A_SN1[MockTNG]",)))
    with pytest.raises(UserError, match=r"nothing of what all suites have in common; name some of Omega_m sigma_8"):
        prepare_robustness(bad, place / "cmd", tmp_path / "bad", "cpu")


def test_two_suites_are_too_few_by_every_way(tmp_path, capsys):
    folder = write_suites(tmp_path / "cmd", SUITES[:2])
    with pytest.raises(UserError, match="MockTNG, MockSIMBA in Mtot LH; robustness leaves one suite out"):
        choose_suites(SPEC, folder)
    assert main(["robustness", "--data", str(folder), "--out", str(tmp_path / "a"), "--device", "cpu"]) == 2
    only = ["--only", "robustness", "--device", "cpu"]
    assert main(["letter", "--data", str(folder), "--out", str(tmp_path / "b"), *only]) == 2
    assert main(["letter", "--out", str(tmp_path / "c"), *only, "--suites", *SUITES[:2]]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert told.count("name them with --suites") == 3
    assert not (tmp_path / "c").exists()


def test_real_suites_go_before_mock_ones(tmp_path):
    real = ("IllustrisTNG", "SIMBA", "Astrid")
    folder = write_suites(tmp_path / "cmd", (*real, *SUITES))
    assert choose_suites(RobustnessSpec(), folder) == real
    few = write_suites(tmp_path / "few", (*real[:2], *SUITES))
    with pytest.raises(UserError, match="holds mock suites and others"):
        choose_suites(RobustnessSpec(), few)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_whole_study_from_the_command_line(tmp_path, capsys):
    folder, out = write_suites(tmp_path / "cmd", SUITES), tmp_path / "out"
    config = tmp_path / "toy.toml"
    train = "batch_size = 8\nn_steps = 4\nvalidate_every = 2\nstatistics_batches = 1\nhead_batches = 1\n"
    config.write_text(
        f'methods = ["{METHOD}", "{DIVERGING}"]\nseeds = 1\nk = [1, 5]\n'
        "choice_hidden = 1\nchoice_steps = 2\nchoice_part = 0.2\n"
        f'[[candidates]]\nmethod = "{METHOD}"\noptions = {{weight = 1.0}}\n'
        f"[train]\n{train}[train.split]\ntrain = 0.8\nvalidation = 0.1\n[train.network]\nhidden = 1\n"
    )
    command = ["robustness", "--data", str(folder), "--out", str(out), "--config", str(config), "--device", "cpu"]
    assert main(command) == 0
    document = json.loads((out / "summary.json").read_text())
    assert document["suites"] == list(SUITES)
    assert document["worst_ratio_adapted"] > 0
    assert document["own_cost"] > 0
    assert set(document["leave_one_out"]) == {"pooled", METHOD} | ({"chosen"} & set(document["leave_one_out"]))
    for scores in (*document["choices"].values(), *document["adapting_choices"].values()):
        assert [label for label, score in scores.items() if score is None] == [DIVERGING]
    assert "| diverged |" in (out / "report.md").read_text()
    verdicts = {verdict["experiment"]: verdict["outcome"] for verdict in document["verdicts"]}
    assert verdicts["control: weight zero"] == "holds"
    assert "control: permuted suite labels" in verdicts
    details = {name.partition(", ")[2] for name in document["adaptation"]["MockTNG"]}
    assert details == {
        "no target maps",
        "all target maps",
        "shifted target",
        "1 target simulations",
        "5 target simulations",
    }
    n_runs, time = len(list((out / "runs").iterdir())), (out / "summary.json").stat().st_mtime_ns
    capsys.readouterr()
    assert main(command) == 0
    assert "Left out in turn" in capsys.readouterr().out
    assert (len(list((out / "runs").iterdir())), (out / "summary.json").stat().st_mtime_ns) == (n_runs, time)


def test_networks_of_one_suite_each_are_mixed_and_told_beside_the_others(small, tmp_path):
    folder = write_suites(tmp_path / "cmd", SUITES)
    spec = replace(small[1], methods=("experts",), choice_part=0.3)
    _, results = study(spec, folder, tmp_path / "out")
    assert results.told_methods[:2] == ("pooled", "experts")
    for target in SUITES:
        role = results.left_out("experts", target)
        members = [
            results.predictions(Role("matrix", SINGLE, (suite,)), target).mean for suite in SUITES if suite != target
        ]
        np.testing.assert_allclose(results.predictions(role, target).mean, np.mean(members, axis=0))
        assert any(each.startswith("experts") for each in results.choices[target].scores)
    measures = measure_all(results)
    assert set(measures.left_out["experts"]) == set(measures.own_cost["experts"]) == set(SUITES)
    assert all(each.tau is not None for fold in measures.left_out["experts"].values() for each in fold.values())
