"""Are the error bars honest? Coverage, by quarters of the prior too, and uniformity of each parameter, for files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.statistics.coverage import LEVELS, coverage, coverage_by_quarter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.sbc import Uniformity, judge_uniformity, pit_histogram
from fieldlevel.statistics.tarp import Tarp

DEFINITIONS: Mapping[str, str] = {
    "coverage": "Part of the truths inside the central interval of the marginal posterior of 68 or 95%, of all maps "
    "and of those whose mean lies in each quarter of the prior: 0.68 and 0.95 for honest error bars, less where they "
    "are too small.",
    "uniformity": "Kuiper's V of the marginal distribution functions at the truths (PIT), 0 where they are uniform, "
    "and the probability of as large a one for honest posteriors, by bootstrap over simulations.",
    "tarp": "Expected coverage of the joint posteriors around random points (TARP, arXiv:2302.03026): area between the "
    "curve and the diagonal, 0 for exact posteriors; width, below 0 where posteriors are too narrow.",
    "correlations": "Of two parameters: the mean over maps of the correlation that joint posteriors claim, and that of "
    "the errors in units of sigma, its equal for exact posteriors.",
}


@dataclass(frozen=True)
class ErrorBars:
    """How honest the posteriors of one parameter are.

    Attributes:
        coverage: of the intervals of each of `LEVELS`.
        quarters: the same by quarters of the prior in which the posterior mean lies.
        uniformity: of the distribution functions at the truths.
        histogram: of these, 1 in each bin where they are uniform.
    """

    coverage: Sequence[Estimate]
    quarters: Sequence[Sequence[Estimate]]
    uniformity: Uniformity
    histogram: Sequence[Estimate]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        levels = [f"{level:g}" for level in LEVELS]
        p_value = Estimate(self.uniformity.p_value, 0.0, 0.0, 0.0).to_json()["value"]
        statistic = Estimate(self.uniformity.statistic, 0.0, 0.0, 0.0).to_json()["value"]
        return {
            "coverage": {level: each.to_json() for level, each in zip(levels, self.coverage, strict=True)},
            "quarters": [
                {level: each.to_json() for level, each in zip(levels, row, strict=True)} for row in self.quarters
            ],
            "uniformity": {"statistic": statistic, "p_value": p_value},
        }


def judge_error_bars(
    pit: FloatArray, mean: FloatArray, simulation: IntArray, names: Sequence[str], n_bootstrap: int = 1000
) -> dict[str, ErrorBars]:
    """Every diagnostic of marginal posteriors, of the parameters that have truths.

    Args:
        pit: distribution functions at the truths, (n, P); NaN where there is no truth.
        mean: posterior means in units of the prior, (n, P).
        simulation: number of the simulation of each map, (n,).
        names: of the parameters, (P,).
        n_bootstrap: resamplings of the simulations.
    """
    whole = coverage(pit, simulation, n_bootstrap=n_bootstrap)
    parts = coverage_by_quarter(pit, mean, simulation, n_bootstrap=n_bootstrap)
    uniform = judge_uniformity(pit, simulation, n_bootstrap)
    return {
        name: ErrorBars(
            [row[column] for row in whole],
            [[row[column] for row in part] for part in parts],
            uniform[column],
            pit_histogram(pit[:, column], simulation),
        )
        for column, name in enumerate(names)
        if not np.isnan(pit[:, column]).any()
    }


def tarp_to_json(found: Tarp) -> dict[str, Any]:
    """Plain JSON types."""
    curves = {name: getattr(found, name).tolist() for name in ("alpha", "ecp")}
    return {"area": found.area.to_json(), "width": found.width.to_json(), **curves}
