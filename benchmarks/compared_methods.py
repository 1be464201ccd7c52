"""Of the networks of a robustness study that are there: how do methods compare on suites that they left out?

For a study that is not finished, whose own report has no table yet. Of each method, the RMSE of Omega_m and of sigma_8
on each suite that was left out, the mean over the training suites, and the geometric mean of its ratio to the first
method of the table. Methods that see maps of the suite that is left out have a table of their own. Each table is of
the training suites on which most of its methods have been trained; a method that was not trained on all of them has
its ratio alone, with the number of its tests.

    python benchmarks/compared_methods.py robustness/runs
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from measuring import arguments_of, run, write_numbers

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.inference.evaluate_spec import EvaluateSpec
from fieldlevel.spec_io import read_spec
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.predictions import Predictions
from fieldlevel.study.robustness.robust_methods import POOLED
from fieldlevel.study.robustness.robustness_spec import MethodOptions

PARAMETERS = ("Omega_m", "sigma_8")
TABLES = ("without maps of the left-out suite", "with unlabelled maps of the left-out suite")

Place = tuple[str, ...]
"""Labelled training suites, with the tested one last."""
Found = Mapping[str, Mapping[Place, FloatArray]]
"""RMSE of the parameters, (2,), by method and place."""


@dataclass(frozen=True)
class Arguments:
    """Compare methods by the networks that are there."""

    runs: Annotated[Path, tyro.conf.Positional]
    """The folder `runs` of a robustness study."""
    json: Path | None = None
    """File for the numbers."""


def errors_of(runs: Path) -> dict[str, Found]:
    """What was found of the networks of the choice, by table."""
    found: dict[str, dict[str, dict[Place, FloatArray]]] = {table: defaultdict(dict) for table in TABLES}
    for path in sorted(runs.glob("test-*/spec.json")):
        spec = read_spec(EvaluateSpec, path)
        network = spec.network
        if not spec.numbers:  # of full size: tested on a set of its own
            continue
        predictions = Predictions.read_csv(path.with_name("predictions.csv"))
        labelled = [source.suite for source in network.all_sources if source.labelled]
        adapts = len(labelled) < len(network.all_sources)
        table = TABLES[adapts]
        options = {} if adapts else dict(network.method_options)  # then those that were best for each left-out suite
        method = MethodOptions(network.method, options).label
        rmse = [METRICS["rmse"](*predictions.moments_of(name)) for name in PARAMETERS]
        found[table][method][(*labelled, spec.suite)] = np.array(rmse)
    return {table: methods for table, methods in found.items() if methods}


def compared(found: Found) -> tuple[list[Place], list[str]]:
    """The places that a table is of, and its methods: pooling or the first of them, then the others.

    The places are those of the method with the most tests.
    """
    methods = sorted(found, key=lambda each: (each != POOLED, each))
    return sorted(max(found.values(), key=len)), methods


def show(table: str, found: Found) -> list[dict[str, object]]:
    """Print a table, a line a method; the same as numbers."""
    places, methods = compared(found)
    tested = sorted({place[-1] for place in places})
    width = 2 + max(map(len, methods))
    print(f"{table}; {len(places)} tests; RMSE of {' and '.join(PARAMETERS)}")
    told = f"ratio to {methods[0]}"
    print(f"{'method':{width}}" + "".join(f"{suite:>18}" for suite in tested) + f"{told:>{len(told) + 2}}")
    rows: list[dict[str, object]] = []
    for method in methods:
        mine = found[method]
        shared = [place for place in places if place in mine and place in found[methods[0]]]
        ratio = np.exp(np.mean([np.log(mine[place] / found[methods[0]][place]) for place in shared], axis=0))
        rmse = {}
        if is_whole := len(shared) == len(places):
            rmse = {suite: np.mean([mine[p] for p in places if p[-1] == suite], axis=0).tolist() for suite in tested}
        cells = "".join(f"{'{:.4f}, {:.4f}'.format(*rmse[suite]) if is_whole else '':>18}" for suite in tested)
        others = "" if is_whole else f" in {len(shared)} tests"
        print(f"{method:{width}}{cells}{'{:.2f}, {:.2f}'.format(*ratio):>{len(told) + 2}}{others}")
        rows.append({"method": method, "n_tests": len(shared), "rmse": rmse, "ratio": ratio.tolist()})
    return rows


def main() -> None:
    """Print a table of each kind that is there."""
    arguments = arguments_of(Arguments)
    if not (found := errors_of(arguments.runs)):
        raise UserError(f"{arguments.runs}: holds no tests of a choice of methods")
    tables = {table: show(table, each) for table, each in found.items()}
    write_numbers(arguments.json, {"parameters": PARAMETERS, **tables})


if __name__ == "__main__":
    run(main)
