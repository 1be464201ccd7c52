"""Networks and searches that are found again where their folders are whole, refused where they are damaged."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fieldlevel.data.split import SplitSpec
from fieldlevel.data.suite import open_suite
from fieldlevel.errors import TrainingError, UserError
from fieldlevel.estimators.network_specs import NetworkSpec
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.inference.predictor import load
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.simulate.mock_suite import simulate_suite
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.study import jobs as networks
from fieldlevel.study import searches
from fieldlevel.study.jobs import divergence_of, train_missing, trained_network, weights_of
from fieldlevel.study.keys import FIRST
from fieldlevel.study.searches import search_missing
from fieldlevel.study.store import Store
from fieldlevel.training.train_spec import TrainSpec

CPU = [torch.device("cpu")]

SPEC = TrainSpec(
    split=SplitSpec(train=0.5, validation=0.25),
    network=NetworkSpec(hidden=1),
    batch_size=16,
    n_steps=4,
    validate_every=2,
    statistics_batches=3,
    head_batches=3,
)
PLAN = {FIRST: (EvaluateSpec(network=SPEC),)}
PLACE = ("maps", "MockTNG")


def cut_last_line(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: content[:-1].rfind(b"\n") + 1])


DAMAGES = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "junk": lambda path: path.write_bytes(b"\xff\xfe junk"),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "cut by its last line": cut_last_line,
}


@pytest.fixture(scope="module")
def suites(tmp_path_factory):
    toy = SimulateSpec(n_simulations=8, n_particles=16, n_mesh=16, n_pixels=16)
    directory = simulate_suite(toy, tmp_path_factory.mktemp("data"), device="cpu")
    return {("MockTNG", "LH"): open_suite(directory, "MockTNG", check=False)}


@pytest.fixture(scope="module")
def trained(suites, tmp_path_factory):
    """Runs with one trained network."""
    root = tmp_path_factory.mktemp("runs")
    train_missing(Store(root), PLAN, suites, CPU)
    return root


@pytest.fixture
def store(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs")
    return Store(tmp_path / "runs")


def test_trained_network_is_found_again(store, suites):
    events = []
    train_missing(store, PLAN, suites, CPU, events.append)
    found = trained_network(store, SPEC, suites)
    assert events == []
    assert found.history["step"].tolist() == [2, 4]
    assert found.validation_loss == load(found.weights, "cpu").provenance["validation_loss"]


@pytest.mark.parametrize("name", ["weights.safetensors", "history.csv", "provenance.json"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folder_of_a_network_is_refused_and_made_again_once_deleted(store, suites, name, damage):
    path = weights_of(store, SPEC, suites).parent / name
    DAMAGES[damage](path)
    with pytest.raises(UserError, match=rf"{path.parent}: damaged \(.*\); delete it, and the same command") as error:
        train_missing(store, PLAN, suites, CPU)
    assert "\n" not in str(error.value)
    shutil.rmtree(path.parent)
    train_missing(store, PLAN, suites, CPU)
    assert trained_network(store, SPEC, suites).weights.exists()


def search(store, suites, n_trials, listener=lambda event: None):
    plan = {PLACE: TuneSpec(train=SPEC, n_trials=n_trials)}
    return search_missing(store, plan, suites, CPU, listener)[PLACE]


@pytest.fixture(scope="module")
def searched(suites, tmp_path_factory):
    """Runs with one finished search."""
    root = tmp_path_factory.mktemp("searches")
    search(Store(root), suites, 2)
    return root


def told(run):
    return [{**trial, "seconds": ""} for trial in run.trials]


def trials_done(events):
    return sum(" complete" in event.detail for event in events)


@pytest.mark.parametrize("is_interrupted", [False, True])
def test_search_for_more_trials_goes_on_from_a_shorter_one(suites, tmp_path, monkeypatch, is_interrupted):
    store, events = Store(tmp_path / "parts"), []
    shorter = search(store, suites, 2)
    if is_interrupted:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(searches, "write_bytes", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            search(store, suites, 3)
        assert list(store.root.glob(".*/journal.log")) == []
    longer = search(store, suites, 3, events.append)
    assert trials_done(events) == 1
    assert longer.trials[:2] == shorter.trials
    assert told(longer) == told(search(Store(tmp_path / "whole"), suites, 3))
    assert search(store, suites, 2) == shorter
    assert len(list(store.root.iterdir())) == 2


@pytest.mark.parametrize("change", [{"seed": 1}, {"train": replace(SPEC, seed=1)}, {"n_kept": 1}])
def test_search_does_not_go_on_from_another(suites, tmp_path, change):
    store, events = Store(tmp_path), []
    search(store, suites, 1)
    plan = {PLACE: TuneSpec(**({"train": SPEC, "n_trials": 2} | change))}
    search_missing(store, plan, suites, CPU, events.append)
    assert trials_done(events) == 2


@pytest.mark.parametrize("name", ["spec.json", "trials.csv"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_folder_of_a_search_is_refused(suites, searched, tmp_path, name, damage):
    shutil.copytree(searched, tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    DAMAGES[damage](folder / name)
    with pytest.raises(UserError, match=rf"{folder}: damaged \(.*\); delete it, and the same command"):
        search(Store(tmp_path / "runs"), suites, 2)


def test_a_network_that_diverged_is_kept_as_such_where_it_may(suites, tmp_path, monkeypatch):
    def diverge(spec, directory, out, *_, **__):
        (Path(out) / "resume.pt").touch()
        raise TrainingError("step 3: the loss is not finite")

    monkeypatch.setattr(networks, "train", diverge)
    store = Store(tmp_path)
    with pytest.raises(TrainingError):
        train_missing(store, PLAN, suites, CPU)
    for _ in range(2):
        train_missing(store, PLAN, suites, CPU, may_diverge=True)
        assert divergence_of(store, SPEC, suites) == "step 3: the loss is not finite"
    assert not weights_of(store, SPEC, suites).with_name("resume.pt").exists()
    assert divergence_of(store, replace(SPEC, seed=1), suites) is None
    with pytest.raises(UserError, match="damaged"):
        train_missing(store, PLAN, suites, CPU)
