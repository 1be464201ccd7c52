"""What the report of a letter does not show of its four pairs: error bars along Omega_m, and what averages leave.

    python -m fieldlevel.publish.pair_details results/letter-mock

From the predictions alone, for each pair of suites and for Omega_m and sigma_8, seed by seed: bias and reduced chi^2,
both also in quarters of the test simulations ordered by the true Omega_m; the correlation of the relative errors of two
seeds on the same maps, each about its mean; and the error of the average answer of the seeds, and of the average answer
to the maps of a simulation. An error that all seeds share, or all maps of a simulation, stays in these averages.

Errors are bootstrap errors over the simulations, as in the report.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from fieldlevel.console import say
from fieldlevel.errors import UserError
from fieldlevel.files import make_place_for
from fieldlevel.json_files import write_json
from fieldlevel.publish.pair_predictions import (
    averaged_over_maps,
    averaged_over_seeds,
    part_of,
    predictions_of,
    read_pairs,
)
from fieldlevel.publish.refusals import exit_on_refusal
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import Scores, evaluate
from fieldlevel.statistics.predictions import Predictions

N_PARTS = 4
"""Of the test simulations: quarters."""

ORDERED_BY = "Omega_m"
"""Parameter that the quarters are of."""


@dataclass(frozen=True)
class Arguments:
    """Tell more of the pairs of a finished letter."""

    letter: Annotated[Path, tyro.conf.Positional]
    """Output folder of `fieldlevel letter`, or what `fieldlevel.publish.letter_folder` kept of one."""
    json: Path | None = None
    """Write the numbers here too."""


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
    order = np.argsort(predictions.theta[first, predictions.layout.column(ORDERED_BY)], kind="stable")
    parts = np.array_split(simulations[order], N_PARTS)
    return [part_of(predictions, np.isin(predictions.simulation, part)) for part in parts]


def correlations(seeds: Sequence[Predictions], name: str) -> list[float]:
    """Correlation of the relative errors of each two seeds on the same maps."""
    errors = [((seed.mean - seed.theta) / seed.theta)[:, seed.layout.column(name)] for seed in seeds]
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
        for name in told_parameters(seeds[0])
    }


def told_parameters(predictions: Predictions) -> list[str]:
    """Those that mean something in gravity-only simulations too."""
    return [parameter.name for parameter in predictions.layout.cosmological]


def scores_of(networks: Sequence[Predictions]) -> list[Scores]:
    """Every measure of each network."""
    return [evaluate(network) for network in networks]


def column(networks: Sequence[Scores], name: str, metric: str) -> list[Estimate]:
    """One measure of one parameter of each network."""
    return [scores[name][metric] for scores in networks]


def limits(predictions: Predictions) -> list[float]:
    """Lowest and highest true Omega_m."""
    Omega_m = predictions.theta[:, predictions.layout.column(ORDERED_BY)]
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
    arguments = tyro.cli(Arguments)
    if arguments.json is not None:
        make_place_for(arguments.json)
    pairs = read_pairs(predictions_of(arguments.letter))
    told = {f"{data}: {trained} -> {tested}": details(seeds) for (data, trained, tested), seeds in pairs.items()}
    if arguments.json is not None:
        write_json(arguments.json, to_json(told))
    for pair, parameters in told.items():
        for name, numbers in parameters.items():
            say(f"{pair}, {name}", *in_words(numbers).splitlines())


if __name__ == "__main__":
    exit_on_refusal(main)
