"""A search whose trials are given to workers, one a piece."""

import threading
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import torch
from counting import Counting

from fieldlevel.clusters import on_cluster
from fieldlevel.estimators.bodies.cnn import MomentNetwork
from fieldlevel.pieces import Order, _Worker, do_ordered, kept_for_others
from fieldlevel.progress import ignore
from fieldlevel.search import tune
from fieldlevel.search.journal import open_journal
from fieldlevel.search.trial_tables import read_trials
from fieldlevel.search.trials import STUDY_NAME
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.training.state import HistoryRow, TrainedNetwork


class InterruptionError(Exception):
    pass


def told(out: Path) -> list[dict[str, str]]:
    return [row | {"seconds": ""} for row in read_trials(out)]


def outcome(out: Path) -> tuple[list[dict[str, str]], dict[str, bytes]]:
    """The table but for the seconds, and the weights that were kept."""
    return told(out), {
        str(path.relative_to(out)): path.read_bytes() for path in out.glob("trial-*/weights.safetensors")
    }


def fake_trial(trial, spec, training, validation, file, listener) -> TrainedNetwork:
    """A trial without any training."""
    trial.set_user_attr("seconds", 1.0)
    loss = spec.optimiser.learning_rate
    return TrainedNetwork(MomentNetwork(16, 1, dropout=0.0), (HistoryRow(spec.n_steps, 0.0, 0.0, loss, 1.0),), loss)


@pytest.fixture
def short(spec) -> TuneSpec:
    return TuneSpec(train=replace(spec, n_steps=16), n_trials=3, n_kept=2)


@pytest.fixture
def loads(monkeypatch):
    """How often the maps are loaded."""
    found, real = [], tune.load_sets
    monkeypatch.setattr(tune, "load_sets", lambda *given: found.append(1) or real(*given))
    return found


def test_the_search_of_one_worker_is_the_local_one_to_the_bit(short, directory, tmp_path, loads):
    tune.tune(short, directory, tmp_path / "local", "cpu")
    loads.clear()
    with Counting(1) as threads, on_cluster(threads, "cpu"):
        tune.tune(short, directory, tmp_path / "workers")
    assert outcome(tmp_path / "workers") == outcome(tmp_path / "local")
    assert len(threads.given) == short.n_trials + 1
    assert len(loads) == 1
    assert _Worker.kept is None
    assert [path.name for path in (tmp_path / "workers").rglob(".*")] == []


def test_more_trials_are_that_many_pieces(short, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "train_trial", fake_trial)
    with Counting(2) as threads, on_cluster(threads, "cpu"):
        for n_trials in (5, 7, 7):
            tune.tune(replace(short, n_trials=n_trials), directory, tmp_path / "out", to_use=False)
    assert len(threads.given) == 5 + 1 + 2 + 1 + 1
    assert [int(row["number"]) for row in read_trials(tmp_path / "out")] == list(range(7))


def test_a_trial_that_a_worker_left_is_done_by_the_next(short, directory, tmp_path, monkeypatch):
    tune.tune(short, directory, tmp_path / "local", "cpu")
    with monkeypatch.context() as patch, Counting(1) as threads, on_cluster(threads, "cpu"):
        real, calls = tune._report, []

        def report(*given):
            calls.append(real(*given))
            if len(calls) == 3:  # in the midst of the second trial
                raise InterruptionError

        patch.setattr(tune, "_report", report)
        with pytest.raises(InterruptionError):
            tune.tune(short, directory, tmp_path / "workers")
    assert len(told(tmp_path / "workers")) == 1
    with Counting(1) as threads, on_cluster(threads, "cpu"):
        tune.tune(short, directory, tmp_path / "workers")
    assert len(threads.given) == 2 + 1
    assert outcome(tmp_path / "workers") == outcome(tmp_path / "local")


def test_a_trial_tells_what_it_ran_on(short, directory, tmp_path, monkeypatch):
    monkeypatch.setattr(tune, "train_trial", fake_trial)
    tune.tune(short, directory, tmp_path / "out", "cpu")
    study = optuna.load_study(study_name=STUDY_NAME, storage=open_journal(tmp_path / "out" / "journal.log"))
    assert {trial.user_attrs["hardware"][:15] for trial in study.trials} == {"1 CPU process, "}


def test_pieces_of_one_work_share_what_one_of_them_made():
    made = []

    def make():
        made.append(threading.get_ident())
        return len(made)

    def piece(number: int, device: torch.device) -> int:
        return kept_for_others(number, make)

    def order() -> Order:
        return Order(str(Path.cwd()), "cpu", "", lambda: ignore)

    one, other = order(), order()
    assert [do_ordered(piece, number, one).take() for number in (0, 0, 1, 1, 0)] == [1, 1, 2, 2, 3]
    assert do_ordered(piece, 0, other).take() == 4
