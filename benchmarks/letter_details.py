"""What the report of a letter does not show of its four pairs: error bars along Omega_m, and what averages leave.

    python benchmarks/letter_details.py results/letter-mock

From the predictions alone, for each pair of suites and for Omega_m and sigma_8, seed by seed: bias and reduced chi^2,
both also in quarters of the test simulations ordered by the true Omega_m; the correlation of the relative errors of two
seeds on the same maps, each about its mean; and the error of the average answer of the seeds, and of the average answer
to the maps of a simulation. An error that all seeds share, or all maps of a simulation, stays in these averages.

Errors are bootstrap errors over the simulations, as in the report.
"""

import csv
import gzip
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import tyro
from measuring import arguments_of, run, write_numbers

from fieldlevel.arrays import IntArray
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout
from fieldlevel.parameters import COSMOLOGICAL_NAMES, PARAMETER_NAMES, FloatArray
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import Scores, evaluate
from fieldlevel.statistics.predictions import Predictions, csv_columns
from fieldlevel.study.plan import FIRST

N_PARTS = 4
"""Of the test simulations: quarters."""


@dataclass(frozen=True)
class Arguments:
    """Tell more of the four pairs of a finished letter."""

    letter: Annotated[Path, tyro.conf.Positional]
    """Output folder of `fieldlevel letter`, or what `letter_results.py` kept of one."""
    json: Path | None = None
    """Write the numbers here too."""


def predictions_of(folder: Path) -> Path:
    """File of the predictions of a letter.

    Raises:
        UserError: there is none.
    """
    for path in (folder / "predictions.csv", folder / "predictions.csv.gz"):
        if path.exists():
            return path
    raise UserError(f"{folder}: no predictions.csv or predictions.csv.gz; give the folder of a finished letter")


def read_pairs(path: Path) -> dict[tuple[str, str, str], list[Predictions]]:
    """Predictions of the four pairs, a network a seed, by origin of the data, trained and tested suite.

    Raises:
        UserError: a damaged file, none of the four pairs, or seeds that were tested on different maps.
    """
    rows: dict[tuple[str, str, str], dict[str, list[list[str]]]] = defaultdict(lambda: defaultdict(list))
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["experiment"] == FIRST:
                    seeds = rows[row["data"], row["train_suite"], row["test_suite"]]
                    seeds[row["seed"]].append([row[column] for column in csv_columns(Layout())])
        tables = {pair: [np.array(table, float) for table in seeds.values()] for pair, seeds in rows.items()}
    except (OSError, EOFError, zlib.error, LookupError, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); give the command of the letter again") from None
    if not tables:
        raise UserError(f"{path}: no {FIRST} in it; give the folder of a finished letter")
    pairs = {pair: [Predictions.from_table(table) for table in seeds] for pair, seeds in tables.items()}
    for (_, trained, tested), (first, *others) in pairs.items():
        if not all(same_maps(first, other) for other in others):
            told = f"{path}: the seeds of {trained} -> {tested} were tested on different maps"
            raise UserError(f"{told}; give the command of the letter again")
    return pairs


def same_maps(first: Predictions, second: Predictions) -> bool:
    """Whether two networks were tested on the same maps with the same truths, in the same order."""
    return np.array_equal(first.map_index, second.map_index) and np.array_equal(first.theta, second.theta)


def part_of(predictions: Predictions, maps: IntArray | npt.NDArray[np.bool_]) -> Predictions:
    """Some of the maps, by their places or by True and False."""
    fields = ("theta", "mean", "std", "simulation", "map_index")
    return replace(predictions, **{name: getattr(predictions, name)[maps] for name in fields})


def quarters(predictions: Predictions) -> list[Predictions]:
    """The maps in quarters of the simulations, lowest Omega_m first.

    Raises:
        UserError: fewer simulations than quarters.
    """
    simulations, first = np.unique(predictions.simulation, return_index=True)
    if len(simulations) < N_PARTS:
        raise UserError(
            f"predictions: {len(simulations)} test simulations, too few for quarters; test at least {N_PARTS}"
        )
    order = np.argsort(predictions.theta[first, PARAMETER_NAMES.index("Omega_m")], kind="stable")
    parts = np.array_split(simulations[order], N_PARTS)
    return [part_of(predictions, np.isin(predictions.simulation, part)) for part in parts]


def averaged_over_seeds(seeds: Sequence[Predictions]) -> Predictions:
    """Average of what the networks say of each map."""
    mean, std = (np.mean([getattr(seed, name) for seed in seeds], axis=0) for name in ("mean", "std"))
    return replace(seeds[0], mean=mean, std=std)


def averaged_over_maps(predictions: Predictions) -> Predictions:
    """Average of what a network says of the maps of each simulation: a row a simulation."""
    _, first, group = np.unique(predictions.simulation, return_index=True, return_inverse=True)
    n_maps = np.bincount(group)[:, None]

    def average(moments: FloatArray) -> FloatArray:
        return np.stack([np.bincount(group, weights=column) for column in moments.T], axis=1) / n_maps

    rows = part_of(predictions, first)
    return replace(rows, mean=average(predictions.mean), std=average(predictions.std))


def correlations(seeds: Sequence[Predictions], name: str) -> list[float]:
    """Correlation of the relative errors of each two seeds on the same maps."""
    errors = [((seed.mean - seed.theta) / seed.theta)[:, PARAMETER_NAMES.index(name)] for seed in seeds]
    return [float(np.corrcoef(first, second)[0, 1]) for first, second in combinations(errors, 2)]


def details(seeds: Sequence[Predictions]) -> dict[str, dict[str, Any]]:
    """Everything that is told of a pair of suites, by parameter; lists run over the seeds."""
    whole, of_seeds = scores_of(seeds), scores_of([averaged_over_seeds(seeds)])
    of_maps = scores_of([averaged_over_maps(seed) for seed in seeds])
    parts = [(part, scores_of(part)) for part in zip(*map(quarters, seeds), strict=True)]
    return {
        name: {
            "bias": column(whole, name, "bias"),
            "reduced_chi2": column(whole, name, "reduced_chi2"),
            "quarters": [
                {
                    "n_simulations": part[0].n_simulations,
                    "Omega_m": limits(part[0]),
                    "reduced_chi2": column(scores, name, "reduced_chi2"),
                    "relative_bias": column(scores, name, "relative_bias"),
                }
                for part, scores in parts
            ],
            "rms_relative_error": column(whole, name, "rms_relative_error"),
            "correlation_of_seeds": correlations(seeds, name),
            "rms_relative_error_of_average_over_seeds": column(of_seeds, name, "rms_relative_error"),
            "rms_relative_error_of_average_over_maps": column(of_maps, name, "rms_relative_error"),
        }
        for name in COSMOLOGICAL_NAMES
    }


def scores_of(networks: Sequence[Predictions]) -> list[Scores]:
    """Every measure of each network."""
    return [evaluate(network) for network in networks]


def column(networks: Sequence[Scores], name: str, metric: str) -> list[Estimate]:
    """One measure of one parameter of each network."""
    return [scores[name][metric] for scores in networks]


def limits(predictions: Predictions) -> list[float]:
    """Lowest and highest true Omega_m."""
    Omega_m = predictions.theta[:, PARAMETER_NAMES.index("Omega_m")]
    return [float(Omega_m.min()), float(Omega_m.max())]


def in_words(told: Mapping[str, Any]) -> str:
    """`details` in lines, the seeds of a line parted by commas."""

    def seeds(key: str, part: Mapping[str, Any] = told, percent: bool = False) -> str:
        return ", ".join(estimate.text(percent) for estimate in part[key])

    lines = [f"bias: {seeds('bias')}", f"reduced chi^2: {seeds('reduced_chi2')}"]
    for part in told["quarters"]:
        low, high = part["Omega_m"]
        lines += [f"  Omega_m {low:.3f} to {high:.3f}, {part['n_simulations']} simulations"]
        lines += [f"    reduced chi^2: {seeds('reduced_chi2', part)}"]
        lines += [f"    relative bias: {seeds('relative_bias', part, percent=True)}"]
    lines += [f"rms relative error: {seeds('rms_relative_error', percent=True)}"]
    if told["correlation_of_seeds"]:
        pairs = ", ".join(f"{correlation:.3f}" for correlation in told["correlation_of_seeds"])
        lines += [f"  correlation of two seeds: {pairs}"]
        lines += [f"  of the average over seeds: {seeds('rms_relative_error_of_average_over_seeds', percent=True)}"]
    lines += [f"  of the average over maps: {seeds('rms_relative_error_of_average_over_maps', percent=True)}"]
    return "\n".join(f"  {line}" for line in lines)


def to_json(value: Any) -> Any:
    """Estimates as plain JSON types, wherever they are."""
    if isinstance(value, Estimate):
        return value.to_json()
    if isinstance(value, dict):
        return {key: to_json(inner) for key, inner in value.items()}
    return [to_json(inner) for inner in value] if isinstance(value, list) else value


def main() -> None:
    """Read the predictions, print the numbers."""
    arguments = arguments_of(Arguments)
    pairs = read_pairs(predictions_of(arguments.letter))
    told = {f"{data}: {trained} -> {tested}": details(seeds) for (data, trained, tested), seeds in pairs.items()}
    write_numbers(arguments.json, to_json(told))
    for pair, parameters in told.items():
        for name, numbers in parameters.items():
            print(f"{pair}, {name}\n{in_words(numbers)}")


if __name__ == "__main__":
    run(main)
