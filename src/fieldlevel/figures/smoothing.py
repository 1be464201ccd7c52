"""Networks trained on smoothed maps: the letter's Fig. 4, and the information left against the smallest scale.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fieldlevel.errors import UserError
from fieldlevel.experiments.metrics import METRICS, Estimate, PairResult
from fieldlevel.figures.residuals import draw_error_bars, frame_residuals, residual_limits
from fieldlevel.figures.style import (
    BLACK,
    COSMOLOGICAL,
    WIDTH_INCHES,
    colours_and_markers,
    mark_mock,
    refuse_empty,
    styled,
)
from fieldlevel.parameters import FloatArray, Parameter

N_SMOOTHED_SHOWN = 20
"""Maps drawn with error bars, each once for every smoothing."""

LETTER_ACCURACY = "mean_relative_std"
"""The accuracy that the letter writes into its Fig. 4."""

Curve = Sequence[tuple[float, Mapping[str, Estimate]]]
"""Scales, and the error of each parameter at each of them."""

SCALE_AXES = {
    "smoothing": ("smoothing  [pixels]", "linear"),
    "k_max": (r"$k_{\rm max}$  [$h$/Mpc]", "log"),
}
"""Label and kind of the horizontal axis by the kind of transform."""


def draw_smoothing(results: Mapping[float, PairResult], *, mock: bool) -> Figure:
    """Draw the residuals of networks trained and tested on equally smoothed maps (the letter's Fig. 4).

    The same `N_SMOOTHED_SHOWN` maps are drawn for every smoothing, side by side around their truth. The accuracy
    <sigma/mu> over all tested maps is written in the colour of the smoothing.

    Args:
        results: the tested network of each smoothing [pixels].
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no result.
    """
    refuse_empty(results, "smoothing")
    first = next(iter(results.values()))
    return draw_smoothing_pairs({(first.train_suite, first.test_suite): results}, mock=mock)


def draw_smoothing_pairs(results: Mapping[tuple[str, str], Mapping[float, PairResult]], *, mock: bool) -> Figure:
    """Draw `draw_smoothing` for several pairs of suites, a row each.

    Args:
        results: by training and test suite, the tested network of each smoothing [pixels].
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no pair.
    """
    refuse_empty(results, "pair of suites")
    tested = [pair.predictions for row in results.values() for pair in row.values()]
    n_lines = (max(map(len, results.values())) + 1) // 2
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 2.2 * len(results) + 0.6))
        axes = figure.subplots(len(results), len(COSMOLOGICAL), squeeze=False, sharex="col", sharey="col")
        for row, ((train_suite, test_suite), scales) in zip(axes, results.items(), strict=True):
            row[0].set_title(f"trained on {train_suite}, tested on {test_suite}", loc="left", pad=4)
            for panel, parameter in zip(row, COSMOLOGICAL, strict=True):
                _draw_scales(panel, scales, parameter)
        for column, parameter in zip(axes.T, COSMOLOGICAL, strict=True):
            column[0].set_ylim(*residual_limits(tested, parameter, n=N_SMOOTHED_SHOWN, n_lines=n_lines))
            column[-1].set_xlabel(rf"${parameter.latex}$  (truth)")
        mark_mock(figure, mock)
    return figure


def _draw_scales(panel: Axes, scales: Mapping[float, PairResult], parameter: Parameter) -> None:
    frame_residuals(panel, parameter)
    spacing = 0.006 * (parameter.maximum - parameter.minimum)
    shifts = spacing * (np.arange(len(scales)) - (len(scales) - 1) / 2)
    looks = colours_and_markers(len(scales))
    for (pixels, pair), shift, look in zip(sorted(scales.items()), shifts, looks, strict=True):
        accuracy = pair.scores[parameter.name][LETTER_ACCURACY].text(METRICS[LETTER_ACCURACY].percent, with_error=False)
        label = f"{pixels:g} px:  {METRICS[LETTER_ACCURACY].latex} = {accuracy}"
        draw_error_bars(panel, pair.predictions, parameter, look, n=N_SMOOTHED_SHOWN, shift=float(shift), label=label)
    layout = {"handlelength": 0.8, "borderaxespad": 0.2, "columnspacing": 1.0, "labelspacing": 0.3}
    panel.legend(loc="upper center", ncols=2, fontsize=9, labelcolor="linecolor", **layout)


def draw_information(
    curves: Mapping[str, Curve],
    scale: Literal["smoothing", "k_max"] = "smoothing",
    metric: str = "rms_relative_error",
    published: Mapping[str, Mapping[str, float]] | None = None,
    *,
    mock: bool,
) -> Figure:
    """Draw the error of Omega_m and sigma_8 against the smallest scale that a network was shown.

    Args:
        curves: by name, e.g. own suite and other suite, scales and the error of each parameter at each of them; a
            scale of infinity is a map without any cut. An estimate without an error gets no bar.
        scale: what the scales are: the standard deviation of the smoothing [pixels] or a cut in wavenumber [h/Mpc].
        metric: key of the measure that the errors are, for the label.
        published: by name, values of each parameter to draw as horizontal lines; fractions where the measure is one.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no curve, unknown scale or measure.
    """
    refuse_empty(curves, "curve")
    if scale not in SCALE_AXES or metric not in METRICS:
        raise UserError(f"information: {scale}, {metric}: choose from {', '.join(SCALE_AXES)} and {', '.join(METRICS)}")
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.2))
        axes = figure.subplots(1, len(COSMOLOGICAL))
        for panel, parameter in zip(axes, COSMOLOGICAL, strict=True):
            _draw_curves(panel, curves, parameter, METRICS[metric].percent)
            _draw_published(panel, published or {}, parameter, METRICS[metric].percent)
            _frame_scales(panel, curves, scale)
            panel.set_title(f"${parameter.latex}$", loc="left", pad=4)
        axes[0].set_ylabel(METRICS[metric].latex + ("  [%]" if METRICS[metric].percent else ""))
        _draw_legend(figure, [*curves, *(published or {})])
        mark_mock(figure, mock)
    return figure


def draw_losses(
    curves: Mapping[str, Mapping[float, float]], published: Mapping[str, Mapping[float, float]], *, mock: bool
) -> Figure:
    """Draw the validation loss of networks against the cut in wavenumber of their maps.

    Args:
        curves: by name, loss by cut [h/Mpc]; an infinite cut is a map without any.
        published: the same from elsewhere, drawn dashed.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no curve.
    """
    refuse_empty(curves, "curve")
    cuts = np.unique([cut for curve in (*curves.values(), *published.values()) for cut in curve])
    finite = cuts[np.isfinite(cuts)]
    beyond = 1.6 * float(finite.max(initial=1.0))
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.4))
        panel = figure.subplots()
        for (name, curve), (colour, marker) in zip(curves.items(), colours_and_markers(len(curves)), strict=True):
            panel.plot(*_points(curve, beyond), color=colour, marker=marker, label=name)
        for name, curve in published.items():
            panel.plot(*_points(curve, beyond), color=BLACK, marker="s", linestyle="--", label=name)
        panel.set(xlabel=SCALE_AXES["k_max"][0], ylabel="validation loss", xscale=SCALE_AXES["k_max"][1])
        panel.set_xticks([*finite, beyond], [*(f"{cut:g}" for cut in finite), "no cut"])
        panel.set_xticks([], minor=True)
        figure.legend(loc="outside lower center", ncols=3)
        mark_mock(figure, mock)
    return figure


def _points(curve: Mapping[float, float], beyond: float) -> tuple[list[float], list[float]]:
    """Places and heights of a curve; what has no cut stands at `beyond`."""
    return [min(cut, beyond) for cut in sorted(curve)], [curve[cut] for cut in sorted(curve)]


def _draw_curves(panel: Axes, curves: Mapping[str, Curve], parameter: Parameter, percent: bool) -> None:
    factor, beyond = (100 if percent else 1), _beyond(curves)
    for (name, curve), (colour, marker) in zip(curves.items(), colours_and_markers(len(curves)), strict=True):
        points = sorted(curve, key=lambda point: point[0])
        place = [min(at, beyond) for at, _ in points]
        estimates = [row[parameter.name] for _, row in points]
        value, error = (factor * np.array([getattr(e, part) for e in estimates]) for part in ("value", "error"))
        look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "mec": "white", "mew": 0.5}
        panel.errorbar(place, value, error, linewidth=1, capsize=2, label=name, **look)


def _draw_legend(figure: Figure, names: Sequence[str]) -> None:
    handles: dict[str, Artist] = {}
    for panel in figure.axes:
        found, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    drawn = [name for name in names if name in handles]
    figure.legend([handles[name] for name in drawn], drawn, loc="outside lower center", ncols=min(len(drawn), 3))


def _finite_scales(curves: Mapping[str, Curve]) -> FloatArray:
    return np.unique([at for curve in curves.values() for at, _ in curve if np.isfinite(at)])


def _beyond(curves: Mapping[str, Curve]) -> float:
    """Where to draw the maps without any cut."""
    return 1.6 * float(max(_finite_scales(curves), default=1.0))


def _draw_published(
    panel: Axes, published: Mapping[str, Mapping[str, float]], parameter: Parameter, percent: bool
) -> None:
    for (name, values), dashes in zip(published.items(), ("--", ":", "-.") * len(published), strict=False):
        if parameter.name in values:
            height = values[parameter.name] * (100 if percent else 1)
            panel.axhline(height, color=BLACK, linestyle=dashes, linewidth=0.9, label=name, zorder=1)


def _frame_scales(panel: Axes, curves: Mapping[str, Curve], scale: str) -> None:
    label, kind = SCALE_AXES[scale]
    places = {at: f"{at:g}" for at in _finite_scales(curves)}
    if any(np.isinf(at) for curve in curves.values() for at, _ in curve):
        places[_beyond(curves)] = "no cut"
    panel.set(xlabel=label, xscale=kind)
    panel.set_xticks(list(places), list(places.values()))
    panel.set_xticks([], minor=True)
    panel.margins(x=0.06)
    panel.set_ylim(bottom=0)
