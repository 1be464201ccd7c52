"""Of the networks of a robustness study that are there: how do methods compare on suites that they left out?

For a study that is not finished, whose own report has no table yet. Of each method, the RMSE of Omega_m and of sigma_8
on each suite that was left out, the mean over the pairs of training suites, and the geometric mean of its ratio to that
of pooling. Only those training suites count on which every method has been trained.

    python benchmarks/compared_methods.py robustness/runs
"""

from collections import defaultdict
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


@dataclass(frozen=True)
class Arguments:
    """Compare methods by the networks that are there."""

    runs: Annotated[Path, tyro.conf.Positional]
    """The folder `runs` of a robustness study."""
    json: Path | None = None
    """File for the numbers."""


def errors_of(runs: Path) -> dict[tuple[str, ...], dict[str, FloatArray]]:
    """RMSE of the parameters, (2,), by training suites with the tested one last, and by method."""
    found: dict[tuple[str, ...], dict[str, FloatArray]] = defaultdict(dict)
    for path in sorted(runs.glob("test-*/spec.json")):
        spec = read_spec(EvaluateSpec, path)
        network, predictions = spec.network, Predictions.read_csv(path.with_name("predictions.csv"))
        place = (*(source.suite for source in network.all_sources), spec.suite)
        method = MethodOptions(network.method, dict(network.method_options)).label
        found[place][method] = np.array([METRICS["rmse"](*predictions.moments_of(name)) for name in PARAMETERS])
    return found


def main() -> None:
    """Print a line a method."""
    arguments = arguments_of(Arguments)
    found = errors_of(arguments.runs)
    methods = sorted({method for each in found.values() for method in each}, key=lambda each: (each != POOLED, each))
    places = [place for place, each in found.items() if len(each) == len(methods)]
    if POOLED not in methods or not places:
        raise UserError(f"{arguments.runs}: holds no tests of all methods, pooling among them, on the same suites")
    tested = sorted({place[-1] for place in places})
    pairs = sorted({" and ".join(place[:-1]) for place in places})
    print(f"trained on {', '.join(pairs)}; RMSE of {' and '.join(PARAMETERS)}")
    print(f"{'method':34}" + "".join(f"{suite:>18}" for suite in tested) + f"{'ratio to pooling':>20}")
    rows = []
    for method in methods:
        means = {suite: np.mean([found[p][method] for p in places if p[-1] == suite], axis=0) for suite in tested}
        ratio = np.exp(np.mean([np.log(found[place][method] / found[place][POOLED]) for place in places], axis=0))
        cells = "".join(f"{'{:.4f}, {:.4f}'.format(*means[suite]):>18}" for suite in tested)
        print(f"{method:34}{cells}{'{:.2f}, {:.2f}'.format(*ratio):>20}")
        rmse = {suite: each.tolist() for suite, each in means.items()}
        rows.append({"method": method, "rmse": rmse, "ratio_to_pooling": ratio.tolist()})
    write_numbers(arguments.json, {"parameters": PARAMETERS, "rows": rows})


if __name__ == "__main__":
    run(main)
