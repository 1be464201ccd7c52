"""What a search found, in files of its folder: `trials.csv`, `importance.json`, and the spec of the best trial."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from optuna.distributions import IntDistribution
from optuna.trial import FrozenTrial, TrialState

from fieldlevel.errors import UserError
from fieldlevel.files import read_table, written_aside
from fieldlevel.json_files import read_json_object
from fieldlevel.search.space import search_space, trial_spec
from fieldlevel.search.tune_spec import TuneSpec
from fieldlevel.spec_io import from_json, read_spec
from fieldlevel.training.train_spec import TrainSpec

BEFORE_IMPORTANCE = 10
"""Trials that run to the end before importances mean anything."""

COLUMNS = ("number", "state", "value", "seconds", "error")
"""Of `trials.csv`, beside those of the hyper-parameters."""

STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def write_trials(path: Path, trials: Sequence[FrozenTrial], names: Sequence[str]) -> None:
    """Write `trials.csv`: a row for each trial, with a column for each of these hyper-parameters."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["number", "state", *names, "value", "seconds", "error"])
        for trial in trials:
            told = [trial.user_attrs.get(name, "") for name in ("seconds", "error")]
            params = [trial.params[name] for name in names]
            writer.writerow([trial.number, STATES[trial.state], *params, trial.value, *told])


def value_of(trial: FrozenTrial) -> float:
    """Validation loss of a complete trial."""
    if trial.value is None:
        raise ValueError(f"trial {trial.number} is not complete")
    return trial.value


def best_trial(out: Path) -> TrainSpec:
    """Spec of the best trial of a finished search: the network to train, with its hyper-parameters.

    Raises:
        UserError: a file of the search is damaged.
    """
    spec = read_spec(TuneSpec, out / "spec.json")
    kinds = {name: int if isinstance(bounds, IntDistribution) else float for name, bounds in search_space(spec).items()}
    try:
        best = best_row(read_trials(out))
        found = {name: kind(best[name]) for name, kind in kinds.items()}
    except (LookupError, TypeError, ValueError):
        raise UserError(f"{out / 'trials.csv'}: damaged; give the command of the search again") from None
    return trial_spec(spec.train, found)


def best_row(trials: Sequence[Mapping[str, str]]) -> Mapping[str, str]:
    """The complete trial with the lowest validation loss among rows of `trials.csv`."""
    return min((row for row in trials if row["state"] == "complete"), key=lambda row: float(row["value"]))


def read_importance(out: Path) -> dict[str, float]:
    """Importance of each hyper-parameter; empty where too few trials ran to the end.

    Raises:
        UserError: a damaged file.
    """
    path = out / "importance.json"
    if not path.exists():
        return {}
    document = read_json_object(path)
    importance: dict[str, float] = from_json(dict[str, float], json.dumps(document.get("importance")), str(path))
    if not all(math.isfinite(share) for share in importance.values()):
        raise UserError(f"{path}: importances that are not finite; take it away")
    return importance


def read_trials(out: Path) -> list[dict[str, str]]:
    """Rows of the `trials.csv` of a search, in the order of their numbers.

    Raises:
        UserError: a damaged file.
    """
    path = out / "trials.csv"
    rows = read_table(path)
    for row in rows:
        numbers = [row.get(name, "") for name in row if name not in ("state", "error", "value", "seconds")]
        if row.get("state") == "complete":
            numbers.append(row.get("value", ""))
        if row.get("state") not in STATES.values() or not all(map(_is_number, numbers)):
            raise UserError(f"{path}: row {row.get('number')!r} is damaged; give the command again")
    return rows


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
