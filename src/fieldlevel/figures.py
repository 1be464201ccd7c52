"""Figures of the letter: a table in, a matplotlib Figure out.

No figure touches pyplot or the caller's rcParams, so they can be drawn on a machine without a display and beside any
other plot. Colours are those of Okabe & Ito, which colour-blind readers can tell apart.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, Figs. 1 and 2. Okabe & Ito 2008, Color Universal Design.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from fieldlevel.experiments.metrics import METRICS, PairResult, Predictions
from fieldlevel.files import written_aside
from fieldlevel.parameters import (
    BOX_SIZE_MPC_H,
    PARAMETERS,
    SURFACE_DENSITIES,
    SURFACE_DENSITY_UNIT,
    FloatArray,
    Parameter,
)

BLACK, ORANGE, SKY_BLUE, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

OWN_SUITE_COLOUR, OTHER_SUITE_COLOUR = BLUE, VERMILLION
NETWORK_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY_BLUE)

WIDTH_INCHES = 7.1
"""Text width of a two-column journal page."""

STYLE: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9.5,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.5,
    "axes.linewidth": 0.7,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.2,
    "image.cmap": "inferno",
    "figure.constrained_layout.use": True,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
}

PANEL_METRICS = {(0.02, "left"): "rms_relative_error", (0.56, "center"): "r2", (0.98, "right"): "reduced_chi2"}
"""Measures written into a panel by their place along its width; their errors stand in the tables."""

N_SHOWN = 40
"""Maps drawn with error bars, as many as the letter shows of a suite that the network has not seen."""


@contextmanager
def _styled() -> Iterator[None]:
    with matplotlib.style.context(["default", STYLE]):
        yield


def draw_maps(
    maps: Mapping[str, FloatArray], box_size_mpc_h: float = BOX_SIZE_MPC_H, field: str = "Mtot", *, mock: bool
) -> Figure:
    """Draw example maps in columns, one row a suite, on one colour scale (the letter's Fig. 1).

    Args:
        maps: surface densities of each suite, shape (n_examples, N, N) [(Msun/h) / (Mpc/h)^2], positive.
        box_size_mpc_h: side of a map [Mpc/h].
        field: name of the field, for the unit.
        mock: whether to write MOCK DATA into the figure.
    """
    logarithms = {suite: np.log10(examples + (field == "Mstar")) for suite, examples in maps.items()}
    lowest, highest = np.percentile(np.concatenate([x.ravel() for x in logarithms.values()]), [0.5, 99.7])
    n_columns = max(len(examples) for examples in maps.values())
    with _styled():
        height = (WIDTH_INCHES - 1.0) / n_columns * len(maps) + 0.25
        tight = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
        figure = Figure(figsize=(WIDTH_INCHES, height), layout=tight)
        axes = figure.subplots(len(maps), n_columns, squeeze=False)
        for row, (suite, examples) in zip(axes, logarithms.items(), strict=True):
            for panel, example in zip(row, examples, strict=False):
                side = (0, box_size_mpc_h)
                image = panel.imshow(example.T, origin="lower", extent=(*side, *side), vmin=lowest, vmax=highest)
            for panel in row:
                panel.set(xticks=[], yticks=[])
                panel.set_visible(panel.has_data())
            row[0].set_ylabel(suite)
        _draw_scale_bar(axes[0, 0])
        bar = figure.colorbar(image, ax=axes, extend="both", aspect=30, pad=0.01, ticks=MaxNLocator(6))
        bar.set_label(_colour_label(field))
        _mark_mock(figure, mock)
    return figure


def _colour_label(field: str) -> str:
    if field in SURFACE_DENSITIES:
        return rf"$\log_{{10}}\,\Sigma_{{\rm {field.removeprefix('M')}}}$  [{SURFACE_DENSITY_UNIT}]"
    return rf"$\log_{{10}}$ {field}  [CMD units]"


def _draw_scale_bar(panel: Axes, length_mpc_h: float = 5.0) -> None:
    side = panel.get_xlim()[1]
    left, height = 0.09 * side, 0.07 * side
    panel.plot([left, left + length_mpc_h], [height, height], color="white", linewidth=2, solid_capstyle="butt")
    label = rf"${length_mpc_h:g}\,{{\rm Mpc}}/h$"
    panel.text(left + length_mpc_h / 2, height + 0.025 * side, label, color="white", ha="center", va="bottom")


def draw_four_pairs(pairs: Sequence[PairResult], *, mock: bool) -> Figure:
    """Draw posterior mean minus truth against truth, a row for each pair of suites (the letter's Fig. 2).

    Faint dots are all tested maps; error bars are the posterior standard deviations of `N_SHOWN` of them, from as many
    simulations as possible. The numbers in a panel are over all tested maps.

    Args:
        pairs: tested networks, from top to bottom.
        mock: whether to write MOCK DATA into the figure.
    """
    shown = [p for p in PARAMETERS if p.cosmological]
    with _styled():
        figure = Figure(figsize=(WIDTH_INCHES, 1.7 * len(pairs) + 0.6))
        axes = figure.subplots(len(pairs), len(shown), squeeze=False, sharex="col", sharey="col")
        for row, pair in zip(axes, pairs, strict=True):
            for panel, parameter in zip(row, shown, strict=True):
                _draw_residuals(panel, pair, parameter)
            row[0].set_title(rf"trained on {pair.train_suite}, tested on {pair.test_suite}", loc="left", pad=4)
        for column, parameter in zip(axes.T, shown, strict=True):
            column[0].set_ylim(*_residual_limits(pairs, parameter))
            column[-1].set_xlabel(rf"${parameter.latex}$  (truth)")
        _mark_mock(figure, mock)
    return figure


def _draw_residuals(panel: Axes, pair: PairResult, parameter: Parameter) -> None:
    predictions, column = pair.predictions, PARAMETERS.index(parameter)
    theta, mean, std = (x[:, column] for x in (predictions.theta, predictions.mean, predictions.std))
    colour = OTHER_SUITE_COLOUR if pair.crosses_suites else OWN_SUITE_COLOUR
    marker = "s" if pair.crosses_suites else "o"
    chosen = choose_maps(predictions, N_SHOWN)
    panel.axhline(0, color=BLACK, linewidth=0.8, zorder=1)
    panel.plot(theta, mean - theta, ".", color=colour, alpha=0.18, markersize=3, mew=0, rasterized=True, zorder=2)
    panel.errorbar(
        theta[chosen],
        (mean - theta)[chosen],
        std[chosen],
        fmt=marker,
        color=colour,
        markersize=3,
        elinewidth=0.8,
        mew=0.4,
        mec="white",
        zorder=3,
    )
    margin = 0.03 * (parameter.maximum - parameter.minimum)
    panel.set_xlim(parameter.minimum - margin, parameter.maximum + margin)
    panel.set_ylabel(rf"${parameter.latex}$:  mean $-$ truth")
    for (place, alignment), key in PANEL_METRICS.items():
        text = f"{METRICS[key].latex} = {pair.scores[parameter.name][key].text(METRICS[key].percent, with_error=False)}"
        panel.text(place, 0.88, text, transform=panel.transAxes, ha=alignment, fontsize=9)


def _residual_limits(pairs: Sequence[PairResult], parameter: Parameter) -> tuple[float, float]:
    column = PARAMETERS.index(parameter)
    reaches = []
    for predictions in (pair.predictions for pair in pairs):
        chosen = choose_maps(predictions, N_SHOWN)
        residual = np.abs(predictions.mean - predictions.theta)[:, column]
        reaches += [float(np.percentile(residual, 99)), float((residual + predictions.std[:, column])[chosen].max())]
    reach = max(*reaches, 1e-6)
    return -1.1 * reach, 1.45 * reach


def choose_maps(predictions: Predictions, n: int, seed: int = 0) -> npt.NDArray[np.integer]:
    """Choose maps to draw: always the same ones, one a simulation as long as there are simulations left.

    Args:
        predictions: tested maps.
        n: how many to choose; all of them where there are fewer.
        seed: of the choice.

    Returns:
        Rows of the predictions in ascending order, shape (min(n, n_maps),).
    """
    order = np.random.default_rng(seed).permutation(predictions.n_maps)
    turn = _occurrence(predictions.simulation[order])
    return np.sort(order[np.argsort(turn, kind="stable")[:n]])


def _occurrence(labels: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """How often each label has occurred before, e.g. [7, 3, 7, 7] -> [0, 0, 1, 2]."""
    grouped = np.argsort(labels, kind="stable")
    _, first, count = np.unique(labels[grouped], return_index=True, return_counts=True)
    turn = np.empty(len(labels), dtype=int)
    turn[grouped] = np.arange(len(labels)) - np.repeat(first, count)
    return turn


def draw_training_history(histories: Mapping[str, Mapping[str, FloatArray]], *, mock: bool) -> Figure:
    """Draw the loss of each network against its optimiser steps: training thin, validation thick.

    Args:
        histories: columns `step`, `training_loss` and `validation_loss` of each network, shape (n_validations,).
        mock: whether to write MOCK DATA into the figure.
    """
    with _styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.9))
        panel = figure.subplots()
        for (name, history), colour in zip(histories.items(), _cycle(len(histories)), strict=True):
            step, validation = history["step"], history["validation_loss"]
            best = int(np.argmin(validation))
            panel.plot(step, history["training_loss"], color=colour, linewidth=0.8, alpha=0.55)
            panel.plot(step, validation, color=colour, label=f"{name}: lowest {validation[best]:.2f}".replace("-", "−"))
            panel.plot(step[best], validation[best], "o", color=colour, markersize=5, mec="white", zorder=3)
        panel.plot([], [], color="0.35", linewidth=0.8, alpha=0.7, label="thin: training, thick: validation")
        panel.set(xlabel="optimiser steps", ylabel="loss, mean over parameters")
        panel.margins(x=0.01)
        panel.legend(loc="upper right")
        _mark_mock(figure, mock)
    return figure


def _cycle(n: int) -> list[str]:
    return [NETWORK_COLOURS[i % len(NETWORK_COLOURS)] for i in range(n)]


def _mark_mock(figure: Figure, mock: bool) -> None:
    if mock:
        figure.suptitle("MOCK DATA", color=VERMILLION, fontsize=10, fontweight="bold", x=0.995, ha="right")


def save_figure(figure: Figure, path_stem: Path) -> tuple[Path, Path]:
    """Write a figure as vector PDF and as PNG; the same figure gives the same bytes on any day.

    Args:
        figure: what a `draw_*` function returned.
        path_stem: where to write, without suffix.

    Returns:
        Paths of the PDF and the PNG.
    """
    metadata: dict[str, dict[str, str | None]] = {"pdf": {"CreationDate": None}, "png": {"Software": None}}
    paths = []
    for suffix, entries in metadata.items():
        path = path_stem.with_name(f"{path_stem.name}.{suffix}")
        with _styled(), written_aside(path) as aside:
            figure.savefig(aside, format=suffix, metadata=entries)
        paths.append(path)
    return paths[0], paths[1]
