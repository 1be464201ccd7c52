"""How much of a measured error is the luck of one training run: the same network from several seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.errors import UserError
from fieldlevel.figures.parameter_panels import blocks_of, choose_parameters, n_blocks
from fieldlevel.figures.style import (
    BLACK,
    WIDTH_INCHES,
    colours_and_markers,
    mark_mock,
    refuse_empty,
    styled,
    typeset_parameter,
)
from fieldlevel.layout import Layout, Parameter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS, Metric, Scores
from fieldlevel.statistics.shared_parameters import main_parameters

SEEDS_BELOW, SEEDS_REACH = 0.14, 0.34
"""Of the distance of two rows: mean above and seeds below the middle, and how far seeds spread about theirs."""


def draw_seed_spread(
    scores: Mapping[str, Sequence[Scores]],
    metric: str = "rms_relative_error",
    layout: Layout = Layout(),
    *,
    mock: bool,
) -> Figure:
    """Draw the error of every seed of every pair, with mean and standard deviation over the seeds.

    Each seed has its own height, so that none covers another; the numbers stand beside the panel.

    Args:
        scores: by the name of the pair, what each seed scored.
        metric: key of the measure.
        layout: of the maps; of its cosmological parameters those are drawn that all networks have.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no pair, a pair without a seed, no parameter that all have, or an unknown measure.
    """
    refuse_empty(scores, "pair of suites")
    if metric not in METRICS:
        raise UserError(f"seeds: no measure {metric!r}; choose from {', '.join(METRICS)}")
    for name, seeds in scores.items():
        refuse_empty(seeds, f"seed of {name}")
    drawn = [name for name in layout.names if all(name in seed for seeds in scores.values() for seed in seeds)]
    refuse_empty(drawn, "parameter that all networks have")
    parameters = choose_parameters(main_parameters([layout.select(drawn)]))
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, n_blocks(parameters) * (0.55 * len(scores) + 0.9)))
        for place, block in blocks_of(figure, parameters):
            axes = place.subplots(1, len(block), sharey=True, squeeze=False)[0]
            for panel, parameter in zip(axes, block, strict=True):
                _draw_seeds(panel, scores, parameter, METRICS[metric])
            axes[0].set_yticks(range(len(scores)), list(scores))
            axes[0].set_ylim(len(scores) - 0.5, -0.6)
        mark_mock(figure, mock)
    return figure


def _draw_seeds(panel: Axes, scores: Mapping[str, Sequence[Scores]], parameter: Parameter, metric: Metric) -> None:
    factor = 100 if metric.percent else 1
    looks = colours_and_markers(len(scores))
    for row, (seeds, (colour, marker)) in enumerate(zip(scores.values(), looks, strict=True)):
        values = np.array([seed[parameter.name][metric.key].value for seed in seeds])
        spread = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        summary = Estimate(float(values.mean()), spread, np.nan, np.nan)
        below = row + SEEDS_REACH * np.linspace(-1, 1, len(values) + 2)[1:-1] + SEEDS_BELOW
        panel.plot(factor * values, below, marker, color=colour, markersize=4.5, mec="white", mew=0.4)
        bar: dict[str, Any] = {"color": BLACK, "capsize": 3, "markersize": 9}
        panel.errorbar(factor * summary.value, row - SEEDS_BELOW, xerr=factor * spread, fmt="|", **bar)
        beside = panel.get_yaxis_transform()
        panel.text(1.02, row, summary.text(metric.percent), transform=beside, va="center", fontsize=9)
    panel.set_xlabel(f"{typeset_parameter(parameter)}:  {metric.latex}" + ("  [%]" if metric.percent else ""))
    panel.margins(x=0.08)
    panel.tick_params(axis="y", length=0)
