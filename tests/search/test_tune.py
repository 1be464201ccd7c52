import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import Trial, TrialState

from fieldlevel.cli import Tune, main, parse
from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite, split_simulations
from fieldlevel.errors import DataError, TrainingError, UserError
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.estimators.network_specs import PerceptronSpec
from fieldlevel.inference.predictor import load
from fieldlevel.search import trials as search
from fieldlevel.search import tune
from fieldlevel.search.journal import open_journal
from fieldlevel.search.space import PUBLISHED, pruner, sampler, search_space, starting_points, trial_spec
from fieldlevel.search.trial_tables import best_trial, read_trials
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import from_json, to_json
from fieldlevel.training.presets import modern_preset, released_preset
from fieldlevel.training.state import HistoryRow, TrainedNetwork
from fieldlevel.training.train_spec import TrainSpec


class InterruptionError(Exception):
    pass


@pytest.fixture
def tuning(spec) -> TuneSpec:
    return TuneSpec(train=spec, n_trials=5, n_kept=2)


def distance(spec: TrainSpec) -> float:
    """Lowest where the learning rate is 3e-3 and the dropout 0.2."""
    return math.log10(spec.optimiser.learning_rate / 3e-3) ** 2 + (spec.network.dropout - 0.2) ** 2


def fake_trial(trial, spec, training, validation, file, listener) -> TrainedNetwork:
    file.path.touch()
    trial.set_user_attr("seconds", 1.0)
    network = MomentNetwork(16, 1, dropout=0.0)
    return TrainedNetwork(network, (HistoryRow(spec.n_steps, 0.0, 0.0, distance(spec), 1.0),), distance(spec))


def refuse_trial(*arguments) -> None:
    raise AssertionError("a trial was run")


@pytest.fixture
def quick(monkeypatch) -> None:
    """Trials without any training."""
    monkeypatch.setattr(tune, "train_trial", fake_trial)


def told(out: Path) -> list[dict[str, str]]:
    return [row | {"seconds": ""} for row in read_trials(out)]


def hidden_files(out: Path) -> list[str]:
    return [path.name for path in out.rglob(".*")]


# What is searched.


def test_released_search_is_that_of_the_released_scripts(spec):
    space = search_space(TuneSpec(train=spec, search="released"))
    bounds = {name: (d.low, d.high, d.log) for name, d in space.items()}
    assert bounds == {
        "learning_rate": (1e-5, 5e-3, True),
        "weight_decay": (1e-8, 1e-1, True),
        "dropout": (0.0, 0.9, False),
        "hidden": (6, 12, False),
    }
    assert starting_points(TuneSpec(train=spec, search="released")) == []


@pytest.mark.parametrize(("hidden", "around"), [(1, (1, 2)), (4, (2, 6)), (8, (4, 12)), (7, (3, 10))])
def test_default_search_looks_around_the_width_of_the_spec(spec, hidden, around):
    train = replace(spec, network=replace(spec.network, hidden=hidden))
    width = search_space(TuneSpec(train=train))["hidden"]
    assert (width.low, width.high) == around


def test_search_begins_at_the_spec_and_at_the_published_values():
    own, published = starting_points(TuneSpec())
    assert own == {"learning_rate": 4e-3, "weight_decay": 2e-4, "dropout": 0.2, "hidden": 8}
    assert published == PUBLISHED


def test_starting_points_outside_the_space_are_moved_to_its_edge(spec):
    train = replace(spec, optimiser=replace(spec.optimiser, learning_rate=0.5, weight_decay=0.0))
    space = search_space(TuneSpec(train=train))
    for point in starting_points(TuneSpec(train=train)):
        assert all(space[name].low <= value <= space[name].high for name, value in point.items())


def test_muon_is_searched_around_its_own_rates():
    modern = modern_preset()
    (own, second), space = starting_points(TuneSpec(train=modern)), search_space(TuneSpec(train=modern))
    assert (own["learning_rate"], own["weight_decay"]) == (
        modern.optimiser.learning_rate,
        modern.optimiser.weight_decay,
    )
    assert second == own | {"dropout": PUBLISHED["dropout"], "hidden": PUBLISHED["hidden"]}
    assert (space["learning_rate"].low, space["learning_rate"].high) == (4e-3, 0.2)
    assert (space["weight_decay"].low, space["weight_decay"].high) == (1e-5, 1.0)
    assert search_space(TuneSpec(train=modern, search="released")) == search_space(TuneSpec(search="released"))


def test_perceptron_is_searched_over_layers_and_neurons(spec):
    tuning = TuneSpec(train=replace(spec, inputs="power spectrum", perceptron=PerceptronSpec(2, 64, 0.3)))
    space = search_space(tuning)
    assert set(space) == {"learning_rate", "weight_decay", "dropout", "n_layers", "n_neurons"}
    assert (space["n_layers"].low, space["n_layers"].high) == (1, 5)
    assert (space["n_neurons"].low, space["n_neurons"].high, space["n_neurons"].log) == (16, 4 * 64, True)
    (own,) = starting_points(tuning)
    assert (own["n_layers"], own["n_neurons"], own["dropout"]) == (2, 64, 0.3)
    assert trial_spec(tuning.train, own | {"n_neurons": 99}).perceptron == PerceptronSpec(2, 99, 0.3)


def test_trial_changes_only_what_is_searched(spec):
    params = {"learning_rate": 0.1, "weight_decay": 0.2, "dropout": 0.05, "hidden": 3}
    before, after = (to_json(one).splitlines() for one in (spec, trial_spec(spec, params)))
    changed = [line.split('"')[1] for line, other in zip(before, after, strict=True) if line != other]
    assert sorted(changed) == ["dropout", "hidden", "learning_rate", "weight_decay"]


def run_curve(study: optuna.Study, losses: dict[int, float], n_steps: int) -> int | None:
    """Step at which a trial with these validation losses is stopped."""
    trial = study.ask()
    for step, loss in losses.items():
        trial.report(loss, step)
        if step < n_steps and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step
    study.tell(trial, min(losses.values()))
    return None


def test_trials_are_stopped_from_one_half_of_the_steps_on_and_only_below_the_median(tuning):
    tuning = replace(tuning, train=replace(tuning.train, n_steps=100))
    study = optuna.create_study(pruner=pruner(tuning))
    steps = range(10, 101, 10)
    falling = {step: -step / 10 for step in steps}
    assert [run_curve(study, {s: v + shift for s, v in falling.items()}, 100) for shift in range(5)] == [None] * 5
    assert run_curve(study, {s: v + 1.0 for s, v in falling.items()}, 100) is None
    assert run_curve(study, {s: v + 2.5 for s, v in falling.items()}, 100) == 50
    assert run_curve(study, {s: v + (2.5 if s > 50 else 0.0) for s, v in falling.items()}, 100) == 80
    late = {step: 0.0 if step < 50 else -20.0 for step in steps}
    assert run_curve(study, late, 100) is None


def test_released_search_stops_no_trial(tuning):
    study = optuna.create_study(pruner=pruner(replace(tuning, search="released")))
    assert [run_curve(study, dict.fromkeys((10, 20, 30), float(n)), 30) for n in range(30)] == [None] * 30


def test_random_numbers_of_a_trial_depend_on_seed_and_number_only(tuning):
    def draw(tuning: TuneSpec, number: int) -> float:
        return optuna.create_study(sampler=sampler(tuning, number)).ask().suggest_float("x", 0.0, 1.0)

    assert draw(tuning, 3) == draw(replace(tuning, n_trials=9), 3)
    assert len({draw(replace(tuning, seed=seed), number) for seed in range(3) for number in range(3)}) == 9


# A whole search.


def test_best_networks_are_kept_and_the_others_deleted(tuning, directory, tmp_path, quick):
    paths = tune.tune(tuning, directory, tmp_path / "out", "cpu")
    rows = read_trials(tmp_path / "out")
    assert [int(row["number"]) for row in rows] == list(range(5))
    assert {row["state"] for row in rows} == {"complete"}
    best = sorted(rows, key=lambda row: float(row["value"]))[:2]
    assert paths == [tmp_path / "out" / f"trial-{row['number']}" / "weights.safetensors" for row in best]
    assert sorted((tmp_path / "out").glob("trial-*/*")) == sorted(paths)
    assert hidden_files(tmp_path / "out") == []
    first = load(paths[0])
    assert first.provenance["validation_loss"] == float(best[0]["value"]) == distance(first.spec)
    assert first.provenance["trial"] == int(best[0]["number"])
    assert first.spec.optimiser.learning_rate == float(best[0]["learning_rate"])


def test_trials_train_and_their_value_is_the_loss_of_the_network_as_it_predicts(tuning, directory, tmp_path):
    (path, _) = tune.tune(replace(tuning, n_trials=2), directory, tmp_path / "out", "cpu")
    predictor = load(path)
    study = optuna.load_study(study_name=search.STUDY_NAME, storage=open_journal(tmp_path / "out" / "journal.log"))
    trial = study.trials[predictor.provenance["trial"]]
    assert list(trial.intermediate_values) == [8, 16, 24, 30]
    assert trial.value == predictor.provenance["validation_loss"] == study.best_value
    assert predictor.spec == trial_spec(tuning.train, trial.params)
    split = split_simulations(8, train=0.75, validation=0.125)
    assert predictor.training_simulations.tolist() == split.train.tolist()
    assert predictor.validation_simulations.tolist() == split.validation.tolist()
    assert float(read_trials(tmp_path / "out")[0]["seconds"]) > 0
    assert np.isfinite(predictor.predict(open_suite(directory, "MockTNG").maps)).all()


def test_search_of_a_perceptron_trains(tuning, directory, tmp_path):
    short = replace(tuning, n_trials=1, train=replace(tuning.train, inputs="power spectrum"))
    (path,) = tune.tune(short, directory, tmp_path / "out", "cpu")
    assert load(path).spec.inputs == "power spectrum"


def test_finished_search_is_not_done_again(tuning, directory, tmp_path, quick, monkeypatch):
    paths = tune.tune(tuning, directory, tmp_path / "out", "cpu")
    rows = read_trials(tmp_path / "out")
    monkeypatch.setattr(tune, "train_trial", refuse_trial)
    monkeypatch.setattr(tune, "load_sets", refuse_trial)
    assert tune.tune(tuning, directory, tmp_path / "out", "cpu") == paths
    assert read_trials(tmp_path / "out") == rows


def test_more_trials_go_on_as_if_they_had_been_asked_for_at_once(tuning, directory, tmp_path, quick):
    longer = replace(tuning, n_trials=14)
    tune.tune(longer, directory, tmp_path / "whole", "cpu")
    tune.tune(tuning, directory, tmp_path / "parts", "cpu")
    tune.tune(longer, directory, tmp_path / "parts", "cpu")
    assert told(tmp_path / "parts") == told(tmp_path / "whole")
    assert len({row["learning_rate"] for row in told(tmp_path / "parts")}) == 14


def test_search_finds_better_trials_than_chance(tuning, directory, tmp_path, quick):
    tune.tune(replace(tuning, n_trials=30, search="released"), directory, tmp_path / "out", "cpu")
    values = [float(row["value"]) for row in read_trials(tmp_path / "out")]
    assert np.median(values[20:]) < np.median(values[:20]) / 2


def test_importance_is_written_once_there_are_enough_trials(tuning, directory, tmp_path, quick):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    assert not (tmp_path / "out" / "importance.json").exists()
    tune.tune(replace(tuning, n_trials=30), directory, tmp_path / "out", "cpu")
    document = json.loads((tmp_path / "out" / "importance.json").read_text())
    assert document["n_trials"] == 30
    assert set(document["importance"]) == {"learning_rate", "weight_decay", "dropout", "hidden"}
    assert sum(document["importance"].values()) == pytest.approx(1.0)
    assert max(document["importance"], key=document["importance"].get) == "learning_rate"


def test_trials_of_equal_value_have_no_importance(tuning, directory, tmp_path, quick, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "distance", lambda spec: 1.0)
    tune.tune(replace(tuning, n_trials=11), directory, tmp_path / "out", "cpu")
    assert not (tmp_path / "out" / "importance.json").exists()


def failing_at(numbers: set[int], error: Exception):
    def train(trial, *arguments) -> TrainedNetwork:
        if trial.number in numbers:
            raise error
        return fake_trial(trial, *arguments)

    return train


@pytest.mark.parametrize("error", [TrainingError("loss is nan\nat step 3"), torch.OutOfMemoryError("too wide")])
def test_failed_trials_count_and_the_search_goes_on(tuning, directory, tmp_path, monkeypatch, error):
    monkeypatch.setattr(tune, "train_trial", failing_at({0, 3}, error))
    paths = tune.tune(tuning, directory, tmp_path / "out", "cpu")
    rows = read_trials(tmp_path / "out")
    assert [row["state"] for row in rows] == ["failed", "complete", "complete", "failed", "complete"]
    assert rows[3]["value"] == ""
    assert rows[3]["error"] == " ".join(str(error).split())
    assert len(paths) == len(list((tmp_path / "out").glob("trial-*"))) == 2


@pytest.mark.parametrize("best", range(5))
def test_best_trial_is_the_complete_one_with_the_lowest_loss(tuning, directory, tmp_path, monkeypatch, best):
    def train(trial, *arguments) -> TrainedNetwork | None:
        trained = fake_trial(trial, *arguments)
        loss = 9.5 + abs(trial.number - best)  # "10.5" < "9.5" as text
        return None if trial.number == (best + 1) % 5 else replace(trained, validation_loss=loss)

    monkeypatch.setattr(tune, "train_trial", train)
    (first, _) = tune.tune(tuning, directory, tmp_path / "out", "cpu")
    assert first.parent.name == f"trial-{best}"
    assert best_trial(tmp_path / "out") == load(first, "cpu").spec


def test_loss_that_is_not_finite_fails_the_trial(tuning, directory, tmp_path, monkeypatch):
    load = tune._load

    def poisoned(*arguments, **options):
        data = load(*arguments, **options)
        data.validation.maps[3, 4, 4] = torch.nan
        return data

    monkeypatch.setattr(tune, "_load", poisoned)
    with pytest.raises(TrainingError, match="validation loss is nan at step 8"):
        tune.tune(replace(tuning, n_trials=2), directory, tmp_path / "out", "cpu")
    assert [row["state"] for row in read_trials(tmp_path / "out")] == ["failed", "failed"]


def test_maps_without_a_logarithm_end_a_search_before_its_first_trial(tuning, directory, tmp_path):
    path = directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    maps = np.load(path)
    maps[open_suite(directory, "MockTNG").maps_of(split_simulations(8, train=0.75, validation=0.125).validation)] = -1.0
    np.save(path, maps)
    with pytest.raises(DataError, match="have no logarithm"):
        tune.tune(tuning, directory, tmp_path / "out", "cpu", check=False)


def test_search_in_which_every_trial_failed_says_why(tuning, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "train_trial", failing_at(set(range(5)), TrainingError("loss is nan at step 3")))
    for _ in range(2):
        with pytest.raises(TrainingError, match=r"every trial .* failed; the first: loss is nan at step 3"):
            tune.tune(tuning, directory, tmp_path / "out", "cpu")


def test_stopped_trials_count_and_keep_no_weights(tuning, directory, tmp_path, monkeypatch):
    def train(trial, *arguments) -> TrainedNetwork | None:
        return None if trial.number % 2 else fake_trial(trial, *arguments)

    monkeypatch.setattr(tune, "train_trial", train)
    tune.tune(replace(tuning, n_kept=5), directory, tmp_path / "out", "cpu")
    assert [row["state"] for row in read_trials(tmp_path / "out")] == ["complete", "pruned"] * 2 + ["complete"]
    assert {path.name for path in (tmp_path / "out").glob("trial-*")} == {"trial-0", "trial-2", "trial-4"}


def test_trial_that_the_pruner_stops_trains_no_further(tuning, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(Trial, "should_prune", lambda trial: trial.number == 1 and trial._get_latest_trial().last_step)
    events = []
    tune.tune(replace(tuning, n_trials=2), directory, tmp_path / "out", "cpu", events.append)
    assert [row["state"] for row in read_trials(tmp_path / "out")] == ["complete", "pruned"]
    assert max(event.done for event in events if event.detail.startswith("trial 1: ")) == 30 + 8


def test_progress_counts_the_steps_of_all_trials(tuning, directory, tmp_path):
    events = []
    tune.tune(replace(tuning, n_trials=2), directory, tmp_path / "out", "cpu", events.append)
    of_search = [event for event in events if event.task == "tune MockTNG"]
    assert [event.done for event in of_search] == [8, 10, 16, 20, 24, 30, 30, 38, 40, 46, 50, 54, 60, 60]
    assert {(event.total, event.unit) for event in of_search} == {(60, "steps")}
    assert {event.numbers["trial"] for event in of_search if "loss" in event.numbers} == {0, 1}
    assert of_search[-1].detail.startswith("trial 1 complete, best ")


def test_no_test_map_is_reachable(tuning, directory, tmp_path):
    tune.tune(replace(tuning, n_trials=2), directory, tmp_path / "whole", "cpu")
    suite = open_suite(directory, "MockTNG")
    maps = suite.maps.copy()
    maps[suite.maps_of(split_simulations(8, train=0.75, validation=0.125).test)] = np.nan
    np.save(suite.files.maps_path, maps)
    tune.tune(replace(tuning, n_trials=2), directory, tmp_path / "poisoned", "cpu", check=False)
    assert told(tmp_path / "poisoned") == told(tmp_path / "whole")


@pytest.mark.parametrize("change", [{"seed": 1}, {"search": "released"}, {"n_kept": 3}])
def test_folder_of_another_search_is_refused(tuning, directory, tmp_path, quick, change):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    with pytest.raises(UserError, match="another spec"):
        tune.tune(replace(tuning, **change), directory, tmp_path / "out", "cpu")


def test_folder_of_a_search_for_another_network_is_refused(tuning, directory, tmp_path, quick):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    with pytest.raises(UserError, match="another spec"):
        tune.tune(replace(tuning, train=replace(tuning.train, seed=5)), directory, tmp_path / "out", "cpu")


def test_folder_of_a_search_on_other_data_is_refused(tuning, directory, tmp_path, quick):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    path = directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    np.save(path, np.flip(np.load(path), axis=1).copy())
    with pytest.raises(UserError, match="other data"):
        tune.tune(tuning, directory, tmp_path / "out", "cpu", check=False)


@pytest.mark.parametrize(("field", "value"), [("n_trials", 0), ("n_kept", 0), ("seed", -1)])
def test_impossible_settings_are_refused_by_name(tuning, directory, tmp_path, field, value):
    with pytest.raises(UserError, match=f"{field} = {value}"):
        tune.tune(replace(tuning, **{field: value}), directory, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_impossible_training_is_refused_before_anything_is_done(tuning, directory, tmp_path):
    with pytest.raises(UserError, match="batch_size = 1"):
        tune.tune(replace(tuning, train=replace(tuning.train, batch_size=1)), directory, tmp_path / "out", "cpu")


def test_split_without_a_validation_set_is_refused_before_a_search_is_begun(tuning, directory, tmp_path):
    train = replace(tuning.train, split=SplitSpec(validation=0.05))
    with pytest.raises(UserError, match="each needs one at least"):
        tune.tune(replace(tuning, train=train), directory, tmp_path / "out", "cpu")
    assert not (tmp_path / "out").exists()


def test_optuna_keeps_its_verbosity(tuning, directory, tmp_path, quick, capfd):
    before = optuna.logging.get_verbosity()
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


# Interruptions.


def interrupt(monkeypatch, owner, name: str, at: int, *, before: bool = True) -> None:
    """Make the n-th call of a function end the search, before or after it has done its work."""
    real, calls = getattr(owner, name), []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == at and before:
            raise InterruptionError
        result = real(*arguments, **options)
        if len(calls) == at:
            raise InterruptionError
        return result

    monkeypatch.setattr(owner, name, interrupted)


MOMENTS = [
    (optuna.Study, "enqueue_trial", 1, False),
    (optuna.Study, "ask", 2, False),
    (Trial, "suggest_float", 5, False),
    (search, "_living_workers", 3, True),
    (Path, "write_bytes", 6, False),
    (tune, "_report", 7, False),
    (tune, "_save", 1, True),
    (tune, "_save", 2, False),
    (optuna.Study, "tell", 2, False),
    (search.Search, "tidy", 3, False),
    (search, "write_trials", 4, True),
]


@pytest.fixture
def short(tuning) -> TuneSpec:
    return replace(tuning, n_trials=3, train=replace(tuning.train, n_steps=16))


def outcome(out: Path) -> tuple[list[dict[str, str]], dict[str, list[float]]]:
    """The table but for the seconds, and all numbers of the weights that were kept."""
    weights = {path.parent.name: load(path, "cpu").network.state_dict() for path in out.glob("trial-*/*")}
    return told(out), {name: [v.double().sum().item() for v in state.values()] for name, state in weights.items()}


@pytest.fixture
def whole(short, directory, tmp_path):
    """Outcome of the short search without interruption."""
    if not UNINTERRUPTED:
        tune.tune(short, directory, tmp_path / "whole", "cpu")
        UNINTERRUPTED.append(outcome(tmp_path / "whole"))
    return UNINTERRUPTED[0]


UNINTERRUPTED = []


@pytest.mark.parametrize(("owner", "name", "at", "before"), MOMENTS)
def test_interrupted_search_ends_as_if_it_had_not_been(
    short, whole, directory, tmp_path, monkeypatch, owner, name, at, before
):
    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        interrupt(patch, owner, name, at, before=before)
        tune.tune(short, directory, tmp_path / "parts", "cpu")
    tune.tune(short, directory, tmp_path / "parts", "cpu")
    assert outcome(tmp_path / "parts") == whole
    assert hidden_files(tmp_path / "parts") == []


def test_trial_interrupted_while_its_values_are_drawn_is_done_once(short, directory, tmp_path, monkeypatch, quick):
    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        interrupt(patch, Trial, "suggest_float", 8, before=False)
        tune.tune(short, directory, tmp_path / "out", "cpu")
    tune.tune(short, directory, tmp_path / "out", "cpu")
    rows = read_trials(tmp_path / "out")
    assert [(row["number"], row["state"]) for row in rows] == [(str(n), "complete") for n in range(3)]
    assert all(float(rows[2][name]) > 0 for name in search_space(short))


def test_interrupted_trial_goes_on_from_its_last_validation(short, directory, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        interrupt(patch, tune, "_report", 5)
        tune.tune(short, directory, tmp_path / "out", "cpu")
    events = []
    tune.tune(replace(short, n_trials=2), directory, tmp_path / "out", "cpu", events.append)
    assert [event.done for event in events if event.task == "tune MockTNG"] == [26, 32, 32]


WORKER = """
import os, signal, sys, time, torch
from pathlib import Path
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import from_json
from fieldlevel.search import tune

spec, directory, out, marks, habit = sys.argv[1:]
mark = lambda name: (Path(marks) / name).touch(exist_ok=False)
torch.set_num_threads(1)
real = tune.train_trial

def train(trial, *arguments):
    mark(f"{os.getpid()}-began-{trial.number}")
    while habit == "sleeper":
        time.sleep(0.01)
    trained = real(trial, *arguments)
    if habit == "suicide" and trial.number == 1:
        with open(Path(out) / "journal.log", "a") as journal:
            journal.write('{"op_code": 6, "half a li')
        os.kill(os.getpid(), signal.SIGKILL)
    mark(f"ended-{trial.number}")
    return trained

tune.train_trial = train
while habit == "worker" and not list(Path(marks).glob("*-began-*")):
    time.sleep(0.01)
tune.tune(from_json(TuneSpec, spec), directory, out, "cpu")
"""


@pytest.fixture
def start(short, directory, tmp_path):
    """Start a process that works on the search in tmp_path / "out" and leaves marks of what it does."""
    processes = []
    (tmp_path / "marks").mkdir()

    def start(spec: TuneSpec, habit: str) -> subprocess.Popen[bytes]:
        paths = [directory, tmp_path / "out", tmp_path / "marks"]
        arguments = [to_json(spec), *map(str, paths), habit]
        processes.append(subprocess.Popen([sys.executable, "-c", WORKER, *arguments], env=os.environ))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


def wait_until(condition) -> None:
    while not condition():
        time.sleep(0.02)


def ended(tmp_path: Path) -> int:
    return len(list((tmp_path / "marks").glob("ended-*")))


def test_search_killed_with_a_half_written_event_goes_on(short, whole, directory, tmp_path, start):
    assert start(short, "suicide").wait() == -signal.SIGKILL
    assert not (tmp_path / "out" / "journal.log").read_bytes().endswith(b"\n")
    tune.tune(short, directory, tmp_path / "out", "cpu")
    assert outcome(tmp_path / "out") == whole
    assert hidden_files(tmp_path / "out") == []


def test_processes_share_a_search_and_one_takes_over_from_another_that_dies(short, tmp_path, start):
    spec = replace(short, n_trials=6)
    sleeper = start(spec, "sleeper")
    others = [start(spec, "worker") for _ in range(2)]
    wait_until(lambda: ended(tmp_path) == 5)
    assert [process.poll() for process in others] == [None, None]
    sleeper.kill()
    assert [process.wait() for process in others] == [0, 0]
    rows = read_trials(tmp_path / "out")
    assert [(int(row["number"]), row["state"]) for row in rows] == [(n, "complete") for n in range(6)]
    assert ended(tmp_path) == 6
    assert len({row["learning_rate"] for row in rows}) == 6
    assert hidden_files(tmp_path / "out") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("name", ["resume.pt", "weights.safetensors"])
def test_search_on_a_full_disk_goes_on_when_there_is_room(short, whole, directory, tmp_path, full_disk, name):
    folder = tmp_path / "out" / "trial-0"
    with full_disk(name), pytest.raises(OSError, match="No space left") as error:
        tune.tune(short, directory, tmp_path / "out", "cpu")
    assert error.value.filename == str(folder / name)
    assert not (folder / name).exists()
    tune.tune(short, directory, tmp_path / "out", "cpu")
    assert outcome(tmp_path / "out") == whole


def test_state_of_a_trial_on_other_data_is_refused(short, directory, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        interrupt(patch, tune, "_report", 5)
        tune.tune(short, directory, tmp_path / "out", "cpu")
    (begun,) = (tmp_path / "out").glob("trial-*/resume.pt")
    maps = directory / "Maps_Mtot_MockTNG_LH_z=0.00.npy"
    other = np.load(maps)
    shutil.copytree(directory, tmp_path / "other")
    np.save(tmp_path / "other" / maps.name, np.roll(other, 1, axis=1))
    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        interrupt(patch, tune, "_report", 5)
        tune.tune(short, tmp_path / "other", tmp_path / "of others", "cpu")
    shutil.copy(begun, tmp_path / "of others" / begun.relative_to(tmp_path / "out"))
    with pytest.raises(UserError, match=r"resume.pt: belongs to another spec or other data"):
        tune.tune(short, tmp_path / "other", tmp_path / "of others", "cpu")


def test_unreadable_state_of_a_trial_is_refused(short, whole, directory, tmp_path, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(InterruptionError):
        interrupt(patch, tune, "_report", 5)
        tune.tune(short, directory, tmp_path / "out", "cpu")
    (path,) = (tmp_path / "out").glob("trial-*/resume.pt")
    path.write_bytes(b"no state")
    with pytest.raises(UserError, match=r"resume.pt: cannot be read; delete it"):
        tune.tune(short, directory, tmp_path / "out", "cpu")
    path.unlink()
    tune.tune(short, directory, tmp_path / "out", "cpu")
    assert outcome(tmp_path / "out") == whole


@pytest.mark.parametrize("junk", [b"junk", b"\xff\xfe", b"42", b"{}", b""])
@pytest.mark.parametrize("place", [0, 5, None])
def test_foreign_line_of_the_journal_is_named_and_can_be_deleted(tuning, directory, tmp_path, quick, junk, place):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    path = tmp_path / "out" / "journal.log"
    sound = path.read_bytes()
    lines = sound.splitlines()
    number = len(lines) if place is None else place
    path.write_bytes(b"\n".join([*lines[:number], junk, *lines[number:]]) + b"\n")
    with pytest.raises(UserError, match=rf"journal.log: line {number + 1} is damaged; delete that line .*, or .*out"):
        tune.tune(tuning, directory, tmp_path / "out", "cpu")
    path.write_bytes(sound)
    assert len(tune.tune(tuning, directory, tmp_path / "out", "cpu")) == 2


@pytest.mark.parametrize(
    "event", [b'{"op_code": 99}', b'{"op_code": 6}', b'{"op_code": "x"}', b'{"op_code": 4, "worker_id": 1}']
)
def test_journal_of_strange_events_is_refused(tuning, directory, tmp_path, quick, event):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    with (tmp_path / "out" / "journal.log").open("ab") as journal:
        journal.write(event + b"\n")
    with pytest.raises(UserError, match=r"journal.log: not the journal of a search, .*; .*or delete .*out"):
        tune.tune(tuning, directory, tmp_path / "out", "cpu")


# The command.


def test_command_takes_preset_file_and_flags(tmp_path):
    path = tmp_path / "tune.toml"
    path.write_text("n_trials = 9\nn_kept = 3\n[train]\nsuite = 'SIMBA'\n[train.network]\nhidden = 9\n")
    flags = ["--preset", "released", "--config", str(path), "--n-trials", "7", "--seed", "4", "--search-seed", "5"]
    command = parse(["tune", "--data", "d", *flags])
    assert isinstance(command, Tune)
    train = replace(released_preset(), suite="SIMBA", seed=4, network=replace(released_preset().network, hidden=9))
    assert command.spec == TuneSpec(train=train, n_trials=7, seed=5, n_kept=3)


def test_unknown_key_of_the_file_is_refused_with_what_is_allowed(tmp_path):
    path = tmp_path / "tune.toml"
    path.write_text("[train.network]\nwidth = 9\n")
    with pytest.raises(UserError, match=r"train\.network\.width: .*allowed: hidden, dropout"):
        parse(["tune", "--data", "d", "--config", str(path)])


def test_command_prints_the_best_trials(directory, tmp_path, quick, capsys, spec):
    sizes = ["--split.train", "0.75", "--split.validation", "0.125", "--network.hidden", "1"]
    flags = ["--n-trials", "3", "--n-kept", "1", "--device", "cpu"]
    assert main(["tune", "--data", str(directory), "--out", str(tmp_path / "out"), *sizes, *flags]) == 0
    printed = capsys.readouterr().out
    assert "best of 3 trials" in printed
    assert "MOCK DATA" in printed
    assert printed.count("weights.safetensors") == 1
    stored = from_json(TuneSpec, (tmp_path / "out" / "spec.json").read_text())
    assert asdict(stored)["n_trials"] == 3


def test_trials_table_is_plain_csv(tuning, directory, tmp_path, quick):
    tune.tune(tuning, directory, tmp_path / "out", "cpu")
    with (tmp_path / "out" / "trials.csv").open(newline="") as file:
        assert next(csv.reader(file)) == [
            "number", "state", "learning_rate", "weight_decay", "dropout", "hidden", "value", "seconds", "error"
        ]  # fmt: skip
