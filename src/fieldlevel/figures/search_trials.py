"""A search for hyper-parameters: what every trial reached, where the good ones lie, and which choices matter."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fieldlevel.arrays import BoolArray, FloatArray
from fieldlevel.errors import UserError
from fieldlevel.figures.style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    SKY_BLUE,
    VERMILLION,
    WIDTH_INCHES,
    mark_mock,
    plot_within,
    refuse_empty,
    styled,
)

STATES = {"COMPLETE": (BLUE, "o", "finished"), "PRUNED": (ORANGE, "D", "pruned"), "FAILED": (VERMILLION, "X", "failed")}
"""Colour, marker and name of the states of a trial."""

UNFINISHED = ("RUNNING", "WAITING")
"""States of trials that are not drawn yet."""

LOGARITHMIC_FROM = 30.0
"""A hyper-parameter whose largest value exceeds its smallest by this factor gets a logarithmic axis."""

PANELS_PER_ROW = 5


def draw_search(
    values: FloatArray,
    states: Sequence[str],
    parameters: Mapping[str, npt.NDArray[np.generic]],
    importance: Mapping[str, float],
    *,
    mock: bool,
) -> Figure:
    """Draw the history of a search with the best so far, the loss against each hyper-parameter, and their importance.

    Losses far above the others are triangles at the edge; failed trials stand there too. Names lose
    their underscores.

    Args:
        values: validation loss of each trial in the order of the trials, shape (n_trials,); NaN where none.
        states: of each trial: complete, pruned or failed, in any case; running or waiting ones are not drawn.
        parameters: value of each hyper-parameter in each trial, shape (n_trials,), by name.
        importance: by name, the PED-ANOVA importance of each hyper-parameter, taken by itself, for a trial to be among
            the best tenth, normalised to a sum of 1; empty after too few trials, when the history has the width of
            both.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no finished trial, no hyper-parameter, an unknown state, or lengths that disagree.

    References:
        Watanabe, Bansal & Hutter 2023, arXiv:2304.10255 (PED-ANOVA).
    """
    loss, state = np.asarray(values, dtype=float), np.array([name.upper() for name in states])
    _check(loss, state, parameters)
    limits = _loss_limits(loss[state == "COMPLETE"])
    n_rows = -(-len(parameters) // PANELS_PER_ROW)
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.8 + 1.9 * n_rows))
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[2.8, 1.9 * n_rows]).ravel()
        widths = [2, 1] if importance else [1]
        history, *bars = upper.subplots(1, len(widths), width_ratios=widths, squeeze=False)[0]
        _draw_trials(history, loss, state, limits)
        for panel in bars:
            _draw_importance(panel, importance)
        panels = lower.subplots(n_rows, min(len(parameters), PANELS_PER_ROW), squeeze=False)
        _draw_slices(panels, parameters, loss, state == "COMPLETE", limits)
        mark_mock(figure, mock)
    return figure


def _check(loss: FloatArray, state: npt.NDArray[np.str_], parameters: Mapping[str, npt.NDArray[np.generic]]) -> None:
    refuse_empty(parameters, "hyper-parameter")
    allowed = (*STATES, *UNFINISHED)
    for name in np.setdiff1d(state, allowed):
        raise UserError(f"search: unknown state {name}; choose from {', '.join(allowed)}")
    for what, n in {"states": len(state), **{name: len(column) for name, column in parameters.items()}}.items():
        if n != len(loss):
            raise UserError(f"search: {n} {what} for {len(loss)} trials; give one a trial")
    refuse_empty(loss[(state == "COMPLETE") & np.isfinite(loss)], "finished trial")


def _loss_limits(finished: FloatArray) -> tuple[float, float]:
    best, usual = np.nanmin(finished), np.nanpercentile(finished, 85)
    reach = max(float(usual - best), 1e-3 * max(abs(float(best)), 1.0))
    return float(best - 0.15 * reach), float(usual + 0.6 * reach)


def running_best(loss: FloatArray, is_complete: BoolArray) -> FloatArray:
    """Lowest loss of the finished trials up to each trial, shape (n_trials,); infinite before the first.

    Example:
        >>> running_best(np.array([3.0, 1.0, 2.0, np.nan]), np.array([True, False, True, False])).tolist()
        [3.0, 3.0, 2.0, 2.0]
    """
    return np.minimum.accumulate(np.where(is_complete & np.isfinite(loss), loss, np.inf))


def _draw_trials(panel: Axes, loss: FloatArray, state: npt.NDArray[np.str_], limits: tuple[float, float]) -> None:
    number = np.arange(len(loss))
    height = np.where(np.isfinite(loss), loss, limits[1] - 0.03 * (limits[1] - limits[0]))
    for key, (colour, marker, name) in STATES.items():
        chosen = state == key
        if chosen.any():
            label = f"{name} ({np.count_nonzero(chosen)})"
            look = {"color": colour, "markersize": 4, "mec": "white", "mew": 0.4, "label": label}
            plot_within(panel, number[chosen], height[chosen], limits, marker, **look)
    best = running_best(loss, state == "COMPLETE")
    known = np.isfinite(best)
    label = f"best so far: {best[-1]:.2f}".replace("-", "−")
    panel.step(number[known], best[known], where="post", color=BLACK, linewidth=1, label=label)
    panel.set(xlabel="trial", ylabel="validation loss")
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.figure.legend(*panel.get_legend_handles_labels(), loc="outside upper left", ncols=4, columnspacing=1.2)


def _draw_importance(panel: Axes, importance: Mapping[str, float]) -> None:
    panel.set_xlabel("importance, best tenth")
    panel.tick_params(axis="y", length=0)
    ordered = sorted(importance.items(), key=lambda item: item[1])
    bars = panel.barh([_in_words(name) for name, _ in ordered], [share for _, share in ordered], color=SKY_BLUE)
    panel.bar_label(bars, fmt="%.2f", padding=2, fontsize=9)
    panel.margins(x=0.2)


def _draw_slices(
    panels: np.ndarray,
    parameters: Mapping[str, npt.NDArray[np.generic]],
    loss: FloatArray,
    is_complete: BoolArray,
    limits: tuple[float, float],
) -> None:
    chosen = is_complete & np.isfinite(loss)
    best = int(np.argmin(np.where(chosen, loss, np.inf)))
    for panel, (name, column) in zip(panels.flat, parameters.items(), strict=False):
        x = np.asarray(column, dtype=float)
        plot_within(panel, x[chosen], loss[chosen], limits, "o", color=BLUE, markersize=3, mec="white", mew=0.3)
        panel.plot(x[best], loss[best], "*", color=GREEN, markersize=9, mec="black", mew=0.5)
        panel.set(xlabel=_in_words(name), xscale="log" if _spans_decades(x[chosen]) else "linear")
        if panel.get_xscale() == "linear":
            panel.xaxis.set_major_locator(MaxNLocator(4, integer=bool((x[chosen] % 1 == 0).all())))
        panel.tick_params(labelleft=panel in panels[:, 0])
    for panel in panels.flat[len(parameters) :]:
        panel.set_visible(False)
    for panel in panels[:, 0]:
        panel.set_ylabel("loss")


def _in_words(name: str) -> str:
    return name.removeprefix("n_").replace("_", " ")


def _spans_decades(x: FloatArray) -> bool:
    return bool((x > 0).all() and x.max() > LOGARITHMIC_FROM * x.min())
