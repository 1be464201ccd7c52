"""Letters on folders with sets of other numbers of particles, on toy maps that thinning does this or that to."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import split_simulations
from fieldlevel.errors import UserError
from fieldlevel.json_files import write_json
from fieldlevel.layout import CRITICAL_DENSITY, Layout
from fieldlevel.publish.finished_letter import read_letter
from fieldlevel.report.letter_files import write_letter
from fieldlevel.study.keys import FIRST, ExperimentKey
from fieldlevel.study.letter_data import prepare_data
from fieldlevel.study.letter_plan import experiments, searches, used_sets
from fieldlevel.study.letter_spec import LetterSpec
from fieldlevel.study.results import LetterResults
from fieldlevel.study.runner import run_letter
from fieldlevel.training.train_spec import OptimiserSpec, TrainSpec

LAYOUT, SUITES, N = Layout(), ("MockTNG", "MockSIMBA"), 80
BODY = '''
import torch
from torch import nn


class MeanLog(nn.Module):
    """The mean of the logarithm of a map, and its square: all that this network reads."""

    def __init__(self, shape):
        super().__init__()

    def forward(self, x):
        mean = x.mean((1, 2, 3))
        return torch.stack([mean, mean.square()], 1)
'''


def theta_of(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    strata = np.array([rng.permutation(n) for _ in LAYOUT.names]).T
    return LAYOUT.lows + (strata + 0.37) / n * (LAYOUT.highs - LAYOUT.lows)


def maps_of(theta: np.ndarray, seed: int) -> np.ndarray:
    """Lognormal maps whose boxes hold the mass of Omega_m and that scatter more with sigma_8, (n, 3, 5, 16, 16)."""
    Omega_m, sigma_8 = (theta[:, column].reshape(-1, 1, 1, 1, 1) for column in (0, 1))
    maps = np.exp(sigma_8 * np.random.default_rng(seed).standard_normal((len(theta), 3, 5, 16, 16)))
    return maps * CRITICAL_DENSITY * LAYOUT.slab_thickness_mpc_h * Omega_m / maps.mean((2, 3, 4), keepdims=True)


def flattened(maps: np.ndarray, part: np.ndarray | float) -> np.ndarray:
    """The same mass with less contrast: the logarithm grows, as if there were more of it."""
    return (1 - part) * maps + part * maps.mean((3, 4), keepdims=True)


def write(folder: Path, suite: str, set_name: str, maps: np.ndarray, theta: np.ndarray) -> None:
    np.save(folder / f"Maps_Mtot_{suite}_{set_name}_z=0.00.npy", maps.reshape(-1, 16, 16).astype("<f4"))
    np.savetxt(folder / f"params_{set_name}_{suite}.txt", theta, fmt="%.8g")


def write_folder(folder: Path, part: float, *, is_remedied: bool = True) -> Path:
    """Two suites whose thinned sets are flattened by so much, finer ones not at all; one of all to train on."""
    folder.mkdir()
    theta, few = theta_of(N, 1), theta_of(6, 2)
    record = {f"{suite}_LH": {"spec": {"n_particles": 64}} for suite in SUITES}
    write_json(folder / "provenance.json", record)
    for place, suite in enumerate(SUITES):
        maps, tests = maps_of(theta, place), maps_of(few, 10 + place)
        rng = np.random.default_rng(place)
        noise = 1 + 1e-3 * rng.standard_normal(maps.shape)
        write(folder, suite, "LH", maps, theta)
        write(folder, suite, "LHthin2", flattened(maps, part) * noise, theta)
        write(folder, suite, "LHtest", tests, few)
        write(folder, suite, "LHtestthin2", flattened(tests, part) * noise[:6], few)
        write(folder, suite, "LHtestn128", (tests * noise[:6])[:4], few[:4])
        if is_remedied:
            write(folder, suite, "LHthinned", flattened(maps, rng.random((N, 3, 5, 1, 1))), theta)
    return folder


SPLIT = SplitSpec(seed=2, train=0.5, validation=0.1)
TEST_ROWS = sorted(split_simulations(N, SPLIT.seed, SPLIT.train, SPLIT.validation).test)


@contextmanager
def training_of_means(place: Path, module: str) -> Iterator[TrainSpec]:
    """Of networks that read the mean logarithm, which a class of somebody's own is, in a module of this name."""
    (place / f"{module}.py").write_text(BODY)
    sys.path.insert(0, str(place))
    yield TrainSpec(
        split=SPLIT,
        body=f"{module}:MeanLog",
        optimiser=OptimiserSpec(learning_rate=3e-2),
        batch_size=64,
        n_steps=250,
        validate_every=50,
        statistics_batches=2,
        head_batches=4,
    )
    sys.path.remove(str(place))
    sys.modules.pop(module)


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    with training_of_means(tmp_path_factory.mktemp("bodies"), "mean_log_body") as train:
        yield LetterSpec(only=("numerics", "four pairs"), summary_trials=0, train=train)


def done(spec: LetterSpec, folder: Path, out: Path) -> tuple[LetterResults, dict]:
    results = run_letter(spec, prepare_data(spec, folder, out, "cpu"), out, "cpu")
    return results, write_letter(out, results)


@pytest.fixture(scope="module")
def weighing(spec, tmp_path_factory):
    """A letter whose maps change as they are thinned."""
    place = tmp_path_factory.mktemp("weighing")
    folder = write_folder(place / "cmd", 0.4)
    return folder, place / "out", *done(spec, folder, place / "out")


@pytest.fixture(scope="module")
def honest(spec, blank_figures, tmp_path_factory):
    """One whose maps do not."""
    place = tmp_path_factory.mktemp("honest")
    with blank_figures():
        return done(spec, write_folder(place / "cmd", 0.0, is_remedied=False), place / "out")


def outcomes(results: LetterResults) -> dict[str, str]:
    return {verdict.experiment: verdict.outcome for verdict in results.verdicts}


def test_networks_that_weigh_fail_and_those_of_thinned_maps_are_right_on_them(weighing):
    *_, results, _ = weighing
    assert outcomes(results)["numerics"] == "fails"
    found = {(row.suite, row.train_set): row.parameters["Omega_m"] for row in results.weighed if row.is_halved}
    for suite in SUITES:
        assert found[suite, "LH"].shift_in_std.value > 1.3
        assert found[suite, "LH"].bias.value > 0.04
        assert abs(found[suite, "LHthinned"].bias.value) < 0.02


def test_networks_that_do_not_weigh_hold(honest):
    results, document = honest
    assert outcomes(results)["numerics"] == "holds"
    assert "numerics, LHthinned" not in outcomes(results)
    assert {row["train_set"] for row in document["numerics"]} == {"LH"}
    assert results.remedied_pairs == {}


def test_only_unseen_simulations_are_tested(weighing):
    *_, results, _ = weighing
    tested = {
        (each.train_set, each.test_set): sorted(set(each.predictions.simulation.tolist())) for each in results.numerics
    }
    for train_set in ("LH", "LHthinned"):
        assert tested[train_set, "LH"] == tested[train_set, "LHthin2"] == TEST_ROWS
        assert tested[train_set, "LHtest"] == tested[train_set, "LHtestthin2"] == list(range(6))
        assert tested[train_set, "LHtestn128"] == list(range(4))


def test_a_base_does_not_shift_and_the_doubled_one_is_judged(weighing):
    *_, results, _ = weighing
    for row in results.weighed:
        if row.is_base:
            assert {each.shift.value for each in row.parameters.values()} == {0.0}
        assert row.is_doubled == (row.test_set == "LHtestn128")
        assert row.is_halved == row.test_set.endswith("thin2")
    assert {row.density for row in results.weighed if row.is_doubled} == {8.0}
    (verdict,) = (each for each in results.verdicts if each.experiment == "numerics")
    for suite in SUITES:
        for set_name in ("LHthin2", "LHtestthin2", "LHtestn128"):
            assert f"{suite} {set_name}: Omega_m " in verdict.measured


def test_shifts_are_those_of_the_predictions(weighing):
    *_, results, _ = weighing
    row = next(row for row in results.weighed if (row.train_set, row.test_set) == ("LH", "LHthin2"))
    one, other = (
        next(each for each in results.numerics if (each.train_set, each.test_set) == ("LH", name)).predictions
        for name in ("LH", "LHthin2")
    )
    moved = (other.mean - one.mean)[:, 0]
    assert row.parameters["Omega_m"].shift.value == pytest.approx(moved.mean())
    assert row.parameters["Omega_m"].shift_in_std.value == pytest.approx(moved.mean() / one.std[:, 0].mean())
    inside = np.abs(other.mean - other.theta)[:, 0] <= other.std[:, 0]
    assert row.parameters["Omega_m"].coverage.value == pytest.approx(inside.mean())


def test_pairs_are_shown_both_ways(weighing):
    _, out, results, document = weighing
    pairs = results.remedied_pairs["LHthinned"]
    assert [pair.name for pair in pairs] == [pair.name for pair in results.pairs]
    for plain, other in zip(results.pairs, pairs, strict=True):
        np.testing.assert_array_equal(plain.predictions.theta, other.predictions.theta)
        assert not np.array_equal(plain.predictions.mean, other.predictions.mean)
    told = document["experiments"]["four pairs, LHthinned"]
    assert [(each["train_set"], each["test_set"]) for each in told] == [("LHthinned", "LH")] * 4
    assert "train_set" not in document["pairs"][0]
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert "The same, trained on LHthinned" in page
    tables = text.partition("## Are the error bars honest?")[0]
    assert tables.count("| MockTNG → MockSIMBA | Omega_m |") == 2
    assert "Trained on MockTNG LHthinned, maps from random parts of the particles, and tested on maps as they" in text
    assert "| MockTNG LH | LHthin2 | 1/2 of the particles | 32 | Omega_m |" in text
    assert 'alt="Markers of the mean error' in page


def test_the_figure_has_the_sets_of_the_base_with_most(weighing):
    _, out, _, document = weighing
    assert "figures/numerics.png" in document["figures"]
    assert (out / "figures" / "numerics.pdf").stat().st_size > 1000


def test_predictions_are_stored_and_found_again(spec, weighing):
    folder, out, results, document = weighing
    stamps = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    data = prepare_data(spec, folder, out, "cpu")
    assert data.key == document["key"]
    again = run_letter(spec, data, out, "cpu")
    assert stamps == {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}
    assert outcomes(again) == outcomes(results)


def test_facts_name_the_other_sets(weighing):
    *_, document = weighing
    facts = document["data_facts"]
    assert facts["suites"] == "MockSIMBA, MockTNG"
    assert facts["other sets"].split(", ") == ["LHtest", "LHtestn128", "LHtestthin2", "LHthin2", "LHthinned"]
    assert {"fingerprint of MockTNG", "fingerprint of MockTNG LHtestthin2"} <= set(facts)
    assert json.loads(json.dumps(document)) == document


def without_sets(folder: Path, place: Path) -> Path:
    place.mkdir()
    for path in folder.glob("*LH_*"):
        (place / path.name).symlink_to(path)
    (place / "provenance.json").symlink_to(folder / "provenance.json")
    return place


def test_a_folder_without_sets_is_the_letter_of_before(spec, weighing, tmp_path):
    """Nothing in its plan, its data or its key knows of them; one that leaves them out is the same on the others."""
    folder, *_ = weighing
    bare = without_sets(folder, tmp_path / "bare")
    every = replace(spec, only=(), k_max=(1.0,), smoothing=(1.0,))
    plain = experiments(every, SUITES, bare)
    assert used_sets(plain) == {(suite, "LH") for suite in SUITES}
    assert not any("numerics" in key.label for key in plain)
    left_out = replace(every, numerics=False)
    assert experiments(left_out, SUITES, folder) == plain
    assert searches(every, plain) == searches(left_out, plain)
    data = prepare_data(every, bare, tmp_path / "out", "cpu")
    assert list(data.opened) == [(suite, "LH") for suite in sorted(SUITES)]
    with pytest.raises(UserError, match="only: 'numerics' needs sets with other numbers of particles, as LHthin2"):
        prepare_data(replace(spec, only=("numerics",)), bare, tmp_path / "out", "cpu")


def test_tests_name_their_sets(spec, weighing):
    folder, *_ = weighing
    plan = experiments(spec, SUITES, folder)
    key = ExperimentKey("numerics", sets="LHthinned → LHtestthin2")
    for test in plan[key]:
        assert (test.network.set_name, test.set_name, test.simulations) == ("LHthinned", "LHtestthin2", "unseen")
        assert test.network.suite == test.suite
    own = plan[ExperimentKey("numerics", sets="LH → LH")]
    assert set(own) <= set(plan[FIRST])


@pytest.mark.parametrize(
    ("set_name", "rows", "words"),
    [
        ("LHthin4", slice(1, 4), "MockTNG LHthin4: row 0 of its table is not that of LH"),
        ("LHthin4", slice(0, 1), r"MockTNG LHthin4: none of its 1 simulations is a test simulation of LH \(the first"),
        ("LHthinned", slice(0, 20), "MockTNG LHthinned: 20 simulations, but LH has 80; both must have the same"),
    ],
)
def test_sets_that_do_not_fit_are_refused_before_any_training(spec, weighing, tmp_path, set_name, rows, words):
    folder = without_sets(weighing[0], tmp_path / "cmd")
    theta = theta_of(N, 1)[rows]
    write(folder, "MockTNG", set_name, maps_of(theta, 5), theta)
    asked = replace(spec, only=("four pairs",) if set_name == "LHthinned" else ("numerics",))
    with pytest.raises(UserError, match=words):
        prepare_data(asked, folder, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_a_finished_letter_is_read_with_its_sets(weighing):
    folder, out, *_ = weighing
    letter = read_letter(out, folder)
    assert [(each.run.spec.suite, each.run.spec.set_name) for each in letter.networks] == [
        (suite, set_name) for set_name in ("LH", "LHthinned") for suite in SUITES
    ]
