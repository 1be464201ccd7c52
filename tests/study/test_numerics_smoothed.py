"""Letters whose networks are trained on smoothed maps too: thinning takes out contrast, more particles bring detail."""

from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from test_numerics import LAYOUT, SUITES, N, done, flattened, outcomes, theta_of, training_of_means, write

from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.errors import UserError
from fieldlevel.json_files import write_json
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.publish.finished_letter import read_letter
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.study.keys import FIRST, ExperimentKey, numerics_key, remedied_pairs_key
from fieldlevel.study.letter_checks import check_letter
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_plan import experiments
from fieldlevel.study.letter_spec import LetterSpec

PART = 0.08
"""Of the contrast that goes with half of the particles."""
DETAIL = 0.8
"""Amplitude of what only twice as many particles a side resolve, from one pixel to the next."""
BLOCKS = np.array([NormalDist().inv_cdf((i + 0.5) / 16) for i in range(16)])
SMOOTHING = 1.0
"""In pixels."""
CHECKED = 1 + DETAIL * (-1.0) ** np.add.outer(np.arange(16), np.arange(16))


def maps_of(theta: np.ndarray, seed: int) -> np.ndarray:
    """Shuffled blocks of 4 x 4 pixels, of the mass of Omega_m and nearly one contrast, (n, 3, 5, 16, 16)."""
    Omega_m, sigma_8 = (theta[:, column].reshape(-1, 1, 1, 1, 1) for column in (0, 1))
    blocks = np.random.default_rng(seed).permuted(np.broadcast_to(BLOCKS, (len(theta), 3, 5, 16)), axis=-1)
    maps = np.exp((0.7 + 0.1 * sigma_8) * blocks.reshape(-1, 3, 5, 4, 4).repeat(4, -1).repeat(4, -2))
    return maps * CRITICAL_DENSITY * LAYOUT.slab_thickness_mpc_h * Omega_m / maps.mean((2, 3, 4), keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smoothed") / "cmd"
    folder.mkdir()
    theta, few = theta_of(N, 1), theta_of(12, 2)
    write_json(folder / "provenance.json", {f"{suite}_LH": {"spec": {"n_particles": 64}} for suite in SUITES})
    for place, suite in enumerate(SUITES):
        maps, tests, rng = maps_of(theta, place), maps_of(few, 10 + place), np.random.default_rng(place)
        write(folder, suite, "LH", maps, theta)
        write(folder, suite, "LHthinned", flattened(maps, rng.random((N, 3, 5, 1, 1))), theta)
        write(folder, suite, "LHtest", tests, few)
        write(folder, suite, "LHtestthin2", flattened(tests, PART), few)
        write(folder, suite, "LHtestn128", tests * CHECKED, few)
    return folder


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    with training_of_means(tmp_path_factory.mktemp("bodies"), "mean_log_of_smoothed") as train:
        only = ("numerics", "four pairs")
        yield LetterSpec(only=only, summary_trials=0, numerics_smoothing=(SMOOTHING,), train=train)


@pytest.fixture(scope="module")
def both(spec, folder, blank_figures, tmp_path_factory):
    out = tmp_path_factory.mktemp("both") / "out"
    with blank_figures():
        return out, *done(spec, folder, out)


def test_random_parts_and_smoothing_hold_together_alone(both):
    _, results, _ = both
    for suite in SUITES:
        halved, doubled = (
            {
                (row.smoothing, row.train_set): abs(row.parameters["Omega_m"].shift_in_std.value)
                for row in results.weighed
                if row.suite == suite and row.test_set == test_set
            }
            for test_set in ("LHtestthin2", "LHtestn128")
        )
        assert halved[0, "LH"] > 2 * halved[SMOOTHING, "LH"] > 2
        assert max(halved[0, "LHthinned"], halved[SMOOTHING, "LHthinned"]) < 0.8
        assert doubled[0, "LH"] > doubled[0, "LHthinned"] > 2
        assert max(doubled[SMOOTHING, "LH"], doubled[SMOOTHING, "LHthinned"]) < 0.1
    found = outcomes(results)
    assert found["numerics"] == found["numerics, LHthinned"] == "fails"
    assert found["numerics smoothed 1 px"] != "holds"
    assert found["numerics smoothed 1 px, LHthinned"] == "holds"


def test_each_set_is_beside_its_base_of_the_same_smoothing(both):
    _, results, _ = both
    rows = {(row.suite, row.smoothing, row.train_set, row.test_set): row for row in results.weighed}
    assert len(rows) == len(results.weighed) == 2 * 2 * 2 * 3
    for row in results.weighed:
        if row.is_base:
            assert {each.shift.value for each in row.parameters.values()} == {0.0}
    assert {each.test_set for each in results.numerics} == {"LHtest", "LHtestthin2", "LHtestn128"}
    assert len(results.numerics) == len(results.weighed) / 2


def test_networks_smooth_the_maps_themselves(spec, folder):
    plan = experiments(spec, SUITES, folder)
    key = numerics_key("LHthinned → LHtestthin2", SMOOTHING)
    assert {test.network.transform for test in plan[key]} == {TransformSpec("smoothing", SMOOTHING)}
    assert {test.transform for test in plan[key]} == {TransformSpec()}
    assert {(test.network.set_name, test.simulations) for test in plan[key]} == {("LHthinned", "unseen")}


def test_all_else_is_as_without_smoothing(spec, folder):
    """The same tests by the same keys, so that runs of before are found again; the default is not in the JSON."""
    plain = experiments(replace(spec, numerics_smoothing=()), SUITES, folder)
    plan = experiments(spec, SUITES, folder)
    assert {key: tests for key, tests in plan.items() if not key.scale} == plain
    text = to_json(replace(spec, numerics_smoothing=()))
    assert "numerics" not in text.replace('"numerics",', "")
    assert from_json(LetterSpec, to_json(spec)) == spec


def test_smoothed_pairs_are_shown_both_ways(both):
    out, results, document = both
    assert list(results.remedied_pairs) == ["LHthinned"]
    assert list(results.smoothed_pairs) == [(SMOOTHING, "LH"), (SMOOTHING, "LHthinned")]
    for pairs in results.smoothed_pairs.values():
        assert [pair.name for pair in pairs] == [pair.name for pair in results.pairs]
    assert {"four pairs smoothed 1 px, LH", "four pairs smoothed 1 px, LHthinned"} <= set(document["experiments"])
    text, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    assert text.partition("## Are the error bars honest?")[0].count("| MockTNG → MockSIMBA | Omega_m |") == 4
    ending = "tested on the same maps, all of them smoothed by 1 px:"
    assert f"trained on LH, {ending}" in text
    assert f"trained on LHthinned, maps from random parts of the particles, {ending}" in text
    assert "The same, trained on LHthinned, smoothed by 1 px</h3>" in page
    told = "Trained on MockTNG LHthinned, maps from random parts of the particles, smoothed by 1 px, and tested on maps"
    assert f"{told} that are smoothed alike, the network infers" in text
    assert "it does not weigh particles, so this is what Omega_m is honestly known to" in text


def test_tables_and_figures_name_the_smoothing(both):
    out, _, document = both
    text = (out / "report.md").read_text()
    assert "| MockTNG LH, smoothed by 1 px | LHtestthin2 | 1/2 of the particles | 12 | Omega_m |" in text
    assert "| MockTNG LH | LHtestthin2 | 1/2 of the particles | 12 | Omega_m |" in text
    assert [row.get("smoothing", 0.0) for row in document["numerics"]] == [0.0] * 12 + [SMOOTHING] * 12
    assert {"figures/numerics.png", "figures/numerics_smoothing_1.png"} <= set(document["figures"])
    assert "Number of particles, smoothed by 1 px" in text


def test_a_finished_letter_is_read_with_its_smoothed_networks(both, folder):
    out, *_ = both
    read = [(each.run.spec.set_name, each.run.spec.transform.scale) for each in read_letter(out, folder).networks]
    assert sorted(read) == sorted([(name, scale) for name in ("LH", "LHthinned") for scale in (0.0, SMOOTHING)] * 2)


@pytest.mark.parametrize("chosen", [("LH",), ("LHthinned",)])
def test_chosen_sets_alone_are_trained_on(spec, folder, chosen):
    plan = experiments(replace(spec, numerics_train=chosen), SUITES, folder)
    trained = {key.sets.partition(" → ")[0] for key in plan if key.kind == "numerics"}
    assert trained == set(chosen)
    remedied = {key for key in plan if key.kind == FIRST.kind} - {FIRST}
    keys = {remedied_pairs_key(SUITES, "LHthinned", smoothing) for smoothing in (0.0, SMOOTHING)}
    assert remedied == (keys if chosen == ("LHthinned",) else set())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"numerics_train": ("LHthin2",)}, "numerics_train.*some of LH, LHthinned, LHtracers, LHsmoothed, each once"),
        ({"numerics_train": ("LH", "LH")}, "numerics_train"),
        ({"numerics_smoothing": (0.0,)}, "numerics_smoothing.*positive numbers, each once"),
        ({"numerics_smoothing": (2.0,), "numerics": False, "only": ()}, "numerics_smoothing = 2.0: would have no"),
        ({"numerics_train": ("LH",), "numerics": False, "only": ()}, "numerics_train = LH: would have no effect"),
    ],
)
def test_what_no_letter_can_do_is_refused(spec, changes, words):
    with pytest.raises(UserError, match=words):
        check_letter(replace(spec, **{"numerics_smoothing": ()} | changes))


def test_sets_that_are_not_there_are_refused(spec, folder, tmp_path):
    asked = replace(spec, numerics_train=("LH", "LHtracers"))
    with pytest.raises(UserError, match=r"numerics_train: LHtracers, which no suite of .*cmd has; choose from LH, "):
        prepare_data(asked, folder, tmp_path / "out", "cpu")
    with pytest.raises(UserError, match="LHtracers, which no suite of those to be simulated has; choose from LH, LHth"):
        prepare_data(asked, None, tmp_path / "out", "cpu")
    with pytest.raises(UserError, match=r"numerics_smoothing: 9 pixels, but .* with --numerics-smoothing"):
        prepare_data(replace(spec, numerics_smoothing=(9.0,)), folder, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_smoothed_ones_alone_can_be_asked_for(spec, folder):
    plan = experiments(replace(spec, only=("numerics smoothed",)), SUITES, folder)
    assert {key.scale for key in plan if key != FIRST} == {SMOOTHING}
    assert ExperimentKey("numerics", SMOOTHING, sets="LH → LHtest") in plan
