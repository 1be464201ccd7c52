"""What the report of a letter does not show of its four pairs: error bars along Omega_m, and what limits the errors.

    python benchmarks/letter_details.py results/letter-mock

From the predictions alone, for each pair of suites and for Omega_m and sigma_8, seed by seed: bias and reduced chi^2,
both also in quarters of the test maps ordered by the true Omega_m; how far the errors of two seeds on the same map go
together; and the error that is left when the answers are averaged over seeds, or over the maps of a simulation. What
averaging over seeds removes is scatter of training; what averaging over maps removes is what one map does not tell.
"""

import csv
import gzip
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from measuring import arguments_of, run, write_numbers

from fieldlevel.errors import UserError
from fieldlevel.experiments.letter import FIRST
from fieldlevel.experiments.metrics import METRICS
from fieldlevel.experiments.predictions import IntArray
from fieldlevel.experiments.verdicts import COSMOLOGICAL
from fieldlevel.parameters import FloatArray

N_QUARTERS = 4


@dataclass(frozen=True)
class Arguments:
    """Tell more of the four pairs of a finished letter."""

    letter: Annotated[Path, tyro.conf.Positional]
    """Output folder of `fieldlevel letter`, or what `letter_results.py` kept of one."""
    json: Path | None = None
    """Write the numbers here too."""


@dataclass(frozen=True)
class Answers:
    """What the networks of one suite, a seed a row, say of one parameter of the same maps.

    Attributes:
        theta: truths, shape (n,).
        Omega_m: true Omega_m, by which maps are ordered, shape (n,).
        simulation: of each map, shape (n,).
        mean: posterior means, shape (n_seeds, n).
        std: posterior standard deviations, shape (n_seeds, n).
    """

    theta: FloatArray
    Omega_m: FloatArray
    simulation: FloatArray
    mean: FloatArray
    std: FloatArray

    @property
    def relative_error(self) -> FloatArray:
        """(mu - theta) / theta, shape (n_seeds, n)."""
        return np.asarray((self.mean - self.theta) / self.theta)

    def by_seed(self, metric: str) -> list[float]:
        """A measure of the network of each seed."""
        return [METRICS[metric](self.theta, mean, std) for mean, std in zip(self.mean, self.std, strict=True)]

    def of(self, chosen: IntArray) -> "Answers":
        """Some of the maps, by their places."""
        return Answers(
            self.theta[chosen], self.Omega_m[chosen], self.simulation[chosen], self.mean[:, chosen], self.std[:, chosen]
        )

    def quarters(self) -> list["Answers"]:
        """The maps in quarters, lowest Omega_m first."""
        return [self.of(part) for part in np.array_split(np.argsort(self.Omega_m, kind="stable"), N_QUARTERS)]

    def correlations(self) -> list[float]:
        """Correlation of the relative errors of each two seeds."""
        return [float(np.corrcoef(first, second)[0, 1]) for first, second in combinations(self.relative_error, 2)]

    def error_of_average(self) -> float:
        """Rms relative error of the average over the seeds."""
        return float(np.sqrt((self.relative_error.mean(axis=0) ** 2).mean()))

    def errors_of_simulations(self) -> list[float]:
        """Rms relative error, of each seed, of the average over the maps of a simulation."""
        _, group = np.unique(self.simulation, return_inverse=True)
        each = [np.bincount(group, weights=row) / np.bincount(group) for row in self.relative_error]
        return [float(np.sqrt((row**2).mean())) for row in each]

    def numbers(self) -> dict[str, Any]:
        """Everything that is told of them."""
        quarters = self.quarters()
        return {
            "bias": self.by_seed("bias"),
            "reduced chi^2": self.by_seed("reduced_chi2"),
            "largest Omega_m of each quarter": [float(quarter.Omega_m.max()) for quarter in quarters],
            "reduced chi^2 by quarters": [quarter.by_seed("reduced_chi2") for quarter in quarters],
            "relative bias by quarters": [quarter.by_seed("relative_bias") for quarter in quarters],
            "rms relative error": self.by_seed("rms_relative_error"),
            "correlation of the errors of two seeds": self.correlations(),
            "rms relative error of the seeds' average": self.error_of_average(),
            "rms relative error of simulations": self.errors_of_simulations(),
        }


def read_pairs(folder: Path) -> dict[str, dict[str, Answers]]:
    """Answers by pair of suites, whose name begins with the origin of the data, then by parameter.

    Raises:
        UserError: no predictions, damaged ones, none of the four pairs, or seeds that were tested on different maps.
    """
    path = next((folder / name for name in ("predictions.csv", "predictions.csv.gz") if (folder / name).exists()), None)
    if path is None:
        raise UserError(f"{folder}: no predictions.csv or predictions.csv.gz; give the folder of a finished letter")
    tables: dict[str, dict[str, list[Mapping[str, str]]]] = defaultdict(lambda: defaultdict(list))
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["experiment"] == FIRST:
                    pair = f"{row['data']}: {row['train_suite']} -> {row['test_suite']}"
                    tables[pair][row["seed"]].append(row)
        pairs = {
            pair: {name: answers(list(seeds.values()), name) for name in COSMOLOGICAL} for pair, seeds in tables.items()
        }
    except (OSError, EOFError, zlib.error, LookupError, ValueError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error}); give the command of the letter again") from None
    if not pairs:
        raise UserError(f"{path}: no {FIRST} in it; give the folder of a finished letter")
    return pairs


def answers(seeds: Sequence[Sequence[Mapping[str, str]]], name: str) -> Answers:
    """One parameter from the rows of each seed."""

    def column(kind: str) -> FloatArray:
        return np.array([[float(row[kind]) for row in rows] for rows in seeds])

    if (column("map") != column("map")[0]).any():
        raise ValueError("seeds were tested on different maps")
    theta, Omega_m, simulation = (column(kind)[0] for kind in (f"{name}_true", "Omega_m_true", "simulation"))
    return Answers(theta, Omega_m, simulation, column(f"{name}_mean"), column(f"{name}_std"))


def words(values: float | Sequence[Any]) -> str:
    """Numbers in a line; quarters are parted by semicolons."""
    if isinstance(values, float):
        return f"{values:.4f}"
    nested = any(isinstance(value, list) for value in values)
    return ("; " if nested else ", ").join(words(value) for value in values)


def main() -> None:
    """Read the predictions and print the numbers."""
    arguments = arguments_of(Arguments)
    numbers = {
        pair: {name: answer.numbers() for name, answer in parameters.items()}
        for pair, parameters in read_pairs(arguments.letter).items()
    }
    for pair, parameters in numbers.items():
        for name, values in parameters.items():
            print(f"{pair}, {name}")
            for kind, value in values.items():
                print(f"  {kind}: {words(value) or '-'}")
    write_numbers(arguments.json, numbers)


if __name__ == "__main__":
    run(main)
