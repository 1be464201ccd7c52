"""Networks trained on smoothed maps: the letter's Fig. 4, and the information left against the smallest scale.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import LogLocator, StrMethodFormatter

from fieldlevel.arrays import BoolArray, FloatArray
from fieldlevel.errors import UserError
from fieldlevel.figures.parameter_panels import blocks_of, choose_parameters, n_blocks
from fieldlevel.figures.residuals import draw_error_bars, frame_residuals, parameters_of, residual_limits
from fieldlevel.figures.style import (
    BLACK,
    WIDTH_INCHES,
    colours_and_markers,
    columns_that_fit,
    ink,
    mark_mock,
    refuse_empty,
    styled,
    typeset_parameter,
)
from fieldlevel.layout import Layout, Parameter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.suites import MOCK_MARK

N_SMOOTHED_SHOWN = 20
"""Maps drawn with error bars, each once for every smoothing."""

LETTER_ACCURACY = "mean_relative_std"
"""The accuracy that the letter writes into its Fig. 4."""

Curve = Sequence[tuple[float, Mapping[str, Estimate]]]
"""Scales, and the error of each parameter at each of them."""

BETWEEN_CURVES = 0.018
"""Distance of the error bars that belong to one scale, as a fraction of the width of a panel."""
MOST_BESIDE = 0.3
"""Of the width of a panel: from the first to the last of many curves."""
BESIDE_OF_NEAREST = 0.3
"""The same, of the distance of two neighbouring scales: curves of one scale never reach to those of the next."""
USUAL_ROWS, ROW_INCHES = 2, 0.2
"""Rows of a legend below panels of the usual height; what each further one adds to the figure."""
MARKER = 0.025
"""Half a marker, of the width of a panel."""

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
        UserError: no pair, or no parameter that all of them have.
    """
    refuse_empty(results, "pair of suites")
    parameters = parameters_of(pair for scales in results.values() for pair in scales.values())
    refuse_empty(parameters, "parameter that all pairs have")
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, n_blocks(parameters) * (2.2 * len(results) + 0.6)))
        for place, block in blocks_of(figure, parameters):
            _draw_pairs_of_scales(place, results, block)
        mark_mock(figure, mock)
    return figure


def _draw_pairs_of_scales(
    place: FigureBase,
    results: Mapping[tuple[str, str], Mapping[float, PairResult]],
    parameters: Sequence[Parameter],
) -> None:
    """A row a pair, a column a parameter."""
    tested = [pair.predictions for row in results.values() for pair in row.values()]
    n_lines = (max(map(len, results.values())) + 1) // 2
    axes = place.subplots(len(results), len(parameters), squeeze=False, sharex="col", sharey="col")
    for row, ((train_suite, test_suite), scales) in zip(axes, results.items(), strict=True):
        row[0].set_title(f"trained on {train_suite}, tested on {test_suite}", loc="left", pad=4)
        for panel, parameter in zip(row, parameters, strict=True):
            _draw_scales(panel, scales, parameter)
    for column, parameter in zip(axes.T, parameters, strict=True):
        column[0].set_ylim(*residual_limits(tested, parameter, n=N_SMOOTHED_SHOWN, n_lines=n_lines))
        column[-1].set_xlabel(f"{typeset_parameter(parameter)}  (truth)")


def _draw_scales(panel: Axes, scales: Mapping[float, PairResult], parameter: Parameter) -> None:
    frame_residuals(panel, parameter)
    spacing = 0.006 * (parameter.high - parameter.low)
    shifts = spacing * (np.arange(len(scales)) - (len(scales) - 1) / 2)
    looks = colours_and_markers(len(scales))
    for (pixels, pair), shift, look in zip(sorted(scales.items()), shifts, looks, strict=True):
        accuracy = pair.scores[parameter.name][LETTER_ACCURACY].text(METRICS[LETTER_ACCURACY].percent, with_error=False)
        label = f"{pixels:g} px:  {METRICS[LETTER_ACCURACY].latex} = {accuracy}"
        draw_error_bars(panel, pair.predictions, parameter, look, n=N_SMOOTHED_SHOWN, shift=float(shift), label=label)
    layout = {"handlelength": 0.8, "borderaxespad": 0.2, "columnspacing": 1.0, "labelspacing": 0.3}
    legend = panel.legend(loc="upper center", ncols=2, fontsize=9, **layout)
    for text, (colour, _) in zip(legend.get_texts(), looks, strict=True):
        text.set_color(ink(colour))


def draw_information(
    curves: Mapping[str, Curve],
    scale: Literal["smoothing", "k_max"] = "smoothing",
    metric: str = "rms_relative_error",
    published: Mapping[str, Mapping[str, float]] | None = None,
    *,
    layout: Layout = Layout(),
    k_end: float = np.nan,
    mock: bool,
) -> Figure:
    """Draw the error of the cosmological parameters against the smallest scale that a network was shown.

    Curves stand a little beside one another, so that their error bars can be told apart.

    Args:
        curves: by name, e.g. own suite and other suite, scales and the error of each parameter at each of them; a
            scale of infinity is a map without any cut. An estimate without an error gets no bar.
        scale: what the scales are: the standard deviation of the smoothing [pixels] or a cut in wavenumber [h/Mpc].
        metric: key of the measure that the errors are, for the label.
        published: by name, values of each parameter to draw as horizontal lines; fractions where the measure is one.
        layout: of the maps; of its cosmological parameters those are drawn that all curves have.
        k_end: wavenumber where the maps end [h/Mpc]; there stand those without a cut, open and not joined.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no curve, no parameter that all curves have, unknown scale or measure, or a map without a cut of
            which nobody says where it ends.
    """
    refuse_empty(curves, "curve")
    if scale not in SCALE_AXES or metric not in METRICS:
        raise UserError(f"information: {scale}, {metric}: choose from {', '.join(SCALE_AXES)} and {', '.join(METRICS)}")
    parameters = _parameters_of_curves(curves, layout)
    refuse_empty(parameters, "parameter that all curves have")
    scales = {name: [at for at, _ in curve] for name, curve in curves.items()}
    ends = _ends_of(scales, dict.fromkeys(scales, k_end))
    with styled():
        names = [*curves, *(published or {})]
        more = max(-(-len(names) // _n_columns(names)) - USUAL_ROWS, 0)
        figure = Figure(figsize=(WIDTH_INCHES, 2.8 * n_blocks(parameters) + 0.4 + ROW_INCHES * more))
        for place, block in blocks_of(figure, parameters):
            axes = place.subplots(1, len(block), squeeze=False)[0]
            for panel, parameter in zip(axes, block, strict=True):
                panel.text(0.04, 0.06, typeset_parameter(parameter), transform=panel.transAxes, fontsize=11)
                _frame_scales(panel, scale, scales.values(), ends.values(), len(curves))
                if scale == "smoothing":
                    _draw_lengths(panel, layout.box_size_mpc_h / layout.n_pixels if layout.n_pixels else np.nan)
                _draw_curves(panel, curves, parameter, METRICS[metric].percent, k_end)
                _draw_published(panel, published or {}, parameter, METRICS[metric].percent)
                panel.set_ylim(bottom=0)
            axes[0].set_ylabel(METRICS[metric].latex + ("  [%]" if METRICS[metric].percent else ""))
        _draw_legend(figure, names)
        mark_mock(figure, mock)
    return figure


def _draw_lengths(panel: Axes, pixel_mpc_h: float) -> None:
    """Write the smoothing above a panel as a length, where the size of a pixel is known."""
    if not np.isfinite(pixel_mpc_h):
        return
    panel.tick_params(which="both", top=False)
    there, back = (partial(np.multiply, factor) for factor in (pixel_mpc_h, 1 / pixel_mpc_h))
    top = panel.secondary_xaxis("top", functions=(there, back))
    top.set_xlabel(r"smoothing  [Mpc/$h$]")


def _parameters_of_curves(curves: Mapping[str, Curve], layout: Layout) -> tuple[Parameter, ...]:
    rows = [row for curve in curves.values() for _, row in curve]
    drawn = [name for name in layout.names if all(name in row for row in rows)]
    return choose_parameters(main_parameters([layout.select(drawn)])) if drawn else ()


def draw_losses(
    curves: Mapping[str, Mapping[float, float]],
    published: Mapping[str, Mapping[float, float]],
    ends: Mapping[str, float],
    *,
    mock: bool,
) -> Figure:
    """Draw the validation loss of networks against the cut in wavenumber of their maps.

    Args:
        curves: by name, loss by cut [h/Mpc]; an infinite cut is a map without any.
        published: the same from elsewhere, drawn dashed.
        ends: by name, wavenumber where the maps of a curve end [h/Mpc]; there stand those without a cut, open and not
            joined.
        mock: whether to write MOCK DATA into the figure: beside the names of the curves, where there are published
            ones, which are of other data.

    Raises:
        UserError: no curve, or a map without a cut of which nobody says where it ends.
    """
    refuse_empty(curves, "curve")
    drawn = {**curves, **published}
    known = _ends_of(drawn, ends)
    looks = [(*look, "-") for look in colours_and_markers(len(curves))] + [(BLACK, "v", "--")] * len(published)
    mark = f" ({MOCK_MARK})" if mock and published else ""
    labels = {name: name + (mark if name in curves else "") for name in drawn}
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, 3.4))
        panel = figure.subplots()
        _frame_scales(panel, "k_max", drawn.values(), known.values())
        for (name, curve), (colour, marker, dashes) in zip(drawn.items(), looks, strict=True):
            cuts = np.array(sorted(curve))
            place = np.where(np.isinf(cuts), known.get(name, np.nan), cuts)
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": dashes, "label": labels[name]}
            _draw_scale_curve(panel, place, np.array([curve[cut] for cut in cuts]), None, np.isinf(cuts), look)
        panel.set_ylabel("validation loss")
        figure.legend(loc="outside lower center", ncols=columns_that_fit(list(labels.values())))
        mark_mock(figure, mock and not published)
    return figure


def _ends_of(scales: Mapping[str, Iterable[float]], ends: Mapping[str, float]) -> dict[str, float]:
    """Where the maps without a cut stand, by the name of their curve."""
    uncut = [name for name, curve in scales.items() if np.isinf(list(curve)).any()]
    for name in uncut:
        if not np.isfinite(ends.get(name, np.nan)):
            raise UserError(f"{name}: maps without a cut; give the wavenumber where they end, in h/Mpc")
    return {name: ends[name] for name in uncut}


def _draw_scale_curve(
    panel: Axes,
    place: FloatArray,
    value: FloatArray,
    error: FloatArray | None,
    is_uncut: BoolArray,
    look: Mapping[str, Any],
) -> None:
    """Draw and join what was cut or smoothed; what was not cut is open and stands alone."""
    joined = {"mec": "white", "mew": 0.5, "markersize": 5, "linewidth": 1, "capsize": 2, **look}
    alone = joined | {"mec": look["color"], "mfc": "white", "mew": 1, "linestyle": "", "label": None}

    def draw(chosen: BoolArray, drawn: Mapping[str, Any]) -> None:
        panel.errorbar(place[chosen], value[chosen], None if error is None else error[chosen], **drawn)

    draw(~is_uncut, joined)
    if is_uncut.any():
        draw(is_uncut, alone)


def _draw_curves(panel: Axes, curves: Mapping[str, Curve], parameter: Parameter, percent: bool, k_end: float) -> None:
    factor = 100 if percent else 1
    looks = colours_and_markers(len(curves))
    nearest = _nearest(panel, {k_end if np.isinf(at) else at for curve in curves.values() for at, _ in curve})
    for number, ((name, curve), (colour, marker)) in enumerate(zip(curves.items(), looks, strict=True)):
        points = sorted(curve, key=lambda point: point[0])
        estimates = [row[parameter.name] for _, row in points]
        value, error = (factor * np.array([getattr(e, part) for e in estimates]) for part in ("value", "error"))
        at = np.array([at for at, _ in points])
        distance = _between(len(curves), nearest) * (number - (len(curves) - 1) / 2)
        place = _beside(panel, np.where(np.isinf(at), k_end, at), distance)
        look: dict[str, Any] = {"color": colour, "marker": marker, "label": name}
        _draw_scale_curve(panel, place, value, error, np.isinf(at), look)


def _between(n_curves: int, nearest: float = 1.0) -> float:
    """Distance of curves that stand beside one another, smaller where they are many or scales are near."""
    return min(BETWEEN_CURVES, min(MOST_BESIDE, BESIDE_OF_NEAREST * nearest) / max(n_curves - 1, 1))


def _nearest(panel: Axes, scales: Iterable[float]) -> float:
    """Smallest distance of two scales, of the width of a panel; 1 where there is one."""
    to_panel = panel.transScale + panel.transLimits
    places = to_panel.transform([(at, 0.0) for at in sorted(scales)])[:, 0]
    return float(np.diff(places).min(initial=1.0))


def _beside(panel: Axes, at: FloatArray, distance: float) -> FloatArray:
    """Places to the right of others by a fraction of the width of a panel, whatever the scale of its axis."""
    to_panel = panel.transScale + panel.transLimits
    there = to_panel.transform(np.stack([at, np.zeros_like(at)], axis=1)) + np.array([distance, 0.0])
    return np.asarray(to_panel.inverted().transform(there)[:, 0])


def _draw_legend(figure: Figure, names: Sequence[str]) -> None:
    handles: dict[str, Artist] = {}
    for panel in figure.axes:
        found, labels = panel.get_legend_handles_labels()
        handles |= dict(zip(labels, found, strict=True))
    drawn = [name for name in names if name in handles]
    n_columns = _n_columns(drawn)
    figure.legend([handles[name] for name in drawn], drawn, loc="outside lower center", ncols=n_columns)


def _n_columns(names: Sequence[str]) -> int:
    return columns_that_fit(names, 2 if len(names) == 4 else 3)


def _draw_published(
    panel: Axes, published: Mapping[str, Mapping[str, float]], parameter: Parameter, percent: bool
) -> None:
    for (name, values), dashes in zip(published.items(), ("--", ":", "-.") * len(published), strict=False):
        if parameter.name in values:
            height = values[parameter.name] * (100 if percent else 1)
            panel.axhline(height, color=BLACK, linestyle=dashes, linewidth=0.9, label=name, zorder=1)


def _frame_scales(
    panel: Axes, scale: str, scales: Iterable[Iterable[float]], ends: Iterable[float], n_beside: int = 1
) -> None:
    """Let the horizontal axis span all scales, and write above it where maps end that are not cut."""
    label, kind = SCALE_AXES[scale]
    panel.set(xlabel=label, xscale=kind)
    drawn = sorted({at for curve in scales for at in curve if np.isfinite(at)} | set(ends))
    panel.set_xlim(*_span(drawn, kind, _between(n_beside) * (n_beside - 1) / 2))
    if kind == "log":
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        panel.minorticks_off()
    else:
        panel.set_xticks(drawn, [f"{at:g}" for at in drawn])
    places = sorted(set(ends))
    if places:
        panel.tick_params(which="both", top=False)
        top = panel.secondary_xaxis("top")
        top.set_xticks(places, [f"no cut: {k:.3g}" for k in places])
        top.set_xticks([], minor=True)


def _span(drawn: Sequence[float], kind: str, reach: float) -> tuple[float, float]:
    """Ends of a horizontal axis, a little beyond what is drawn, which reaches so far of its length to both sides."""
    low, high = np.log([drawn[0], drawn[-1]]) if kind == "log" else np.array([drawn[0], drawn[-1]])
    room = reach + MARKER
    margin = max(0.07, room / (1 - 2 * room)) * (high - low) if high > low else 0.5
    return tuple(np.exp([low - margin, high + margin])) if kind == "log" else (low - margin, high + margin)
