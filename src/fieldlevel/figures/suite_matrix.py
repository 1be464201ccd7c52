"""How every network does on every suite: bias, RMSE and the RMSE relative to that on the network's own suite."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from fieldlevel.arrays import FloatArray
from fieldlevel.figures.parameter_panels import choose_parameters
from fieldlevel.figures.style import WIDTH_INCHES, mark_mock, refuse_empty, styled, turn_labels, typeset_parameter
from fieldlevel.layout import Parameter
from fieldlevel.statistics.metrics import METRICS
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.ratios import TransferRatios
from fieldlevel.statistics.shared_parameters import main_parameters
from fieldlevel.suites import NBODY_PREFIX, is_nbody

MATRIX = 0.68
"""Of the width of a figure: what names and colour bar leave for the cells."""

LETTER_SIZE, SMALLEST_LETTERS = 9.0, 4.0
"""In the cells, in points."""
CELL_INCHES = 0.72
"""Width of a cell whose lines have room in letters of the usual size."""

CELL_METRICS = ("bias", "rmse")
"""Measures written into a cell, in units of the parameter; the ratio of the second follows."""

SMALLEST_REACH, LARGEST_REACH = 4.0, 16.0
"""Ratios where the colours end, at the earliest and at the latest."""
RATIO_TICKS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16)

MOST_WITH_ERRORS = 4
"""Suites abreast in whose cells errors have room."""


def draw_robustness_matrix(pairs: Sequence[PairResult], transfer: TransferRatios, *, mock: bool) -> Figure:
    """Draw a matrix of training suites by test suites for each cosmological parameter.

    A cell holds bias, RMSE and the ratio of this RMSE to that on the network's own suite, each with its bootstrap
    error where no more than four suites stand abreast, and is coloured by the ratio on a logarithmic scale: 1, perfect
    robustness, is white.

    Args:
        pairs: tested networks; a combination that is missing leaves its cell empty.
        transfer: ratio of the RMSE of each pair that crosses suites, by `PairResult.name`, then by parameter name.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no pair, or no parameter that all of them have.
    """
    refuse_empty(pairs, "pair of suites")
    parameters = choose_parameters(main_parameters(pair.layout for pair in pairs))
    refuse_empty(parameters, "parameter that all pairs have")
    trained = list(dict.fromkeys(pair.train_suite for pair in pairs))
    tested = list(dict.fromkeys(pair.test_suite for pair in pairs))
    ratios = [_ratios(pairs, transfer, parameter, trained, tested) for parameter in parameters]
    reach = _reach(np.concatenate(ratios))
    cell = MATRIX * WIDTH_INCHES / len(tested)
    size = float(np.clip(LETTER_SIZE * cell / CELL_INCHES, SMALLEST_LETTERS, LETTER_SIZE))
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, len(parameters) * (0.62 * len(trained) + 0.4) + 0.6))
        axes = figure.subplots(len(parameters), 1, sharex=True, squeeze=False)[:, 0]
        for panel, parameter, ratio in zip(axes, parameters, ratios, strict=True):
            image = panel.imshow(ratio, cmap="PuOr_r", norm=LogNorm(1 / reach, reach), aspect="auto")
            frame_matrix(panel, *(list(map(suite_in_words, suites)) for suites in (trained, tested)))
            panel.set_title(typeset_parameter(parameter), loc="left", pad=4)
            for pair in pairs:
                place = trained.index(pair.train_suite), tested.index(pair.test_suite)
                text = _cell_text(pair, transfer, parameter, with_error=len(tested) <= MOST_WITH_ERRORS)
                write_cell(panel, place, text, shade(image, ratio[place]), size)
        axes[-1].set_xlabel("tested on")
        turn_labels(axes[-1], [suite_in_words(suite) for suite in tested], cell)
        _draw_ratio_bar(figure, image, np.concatenate(ratios), reach)
        mark_mock(figure, mock)
    return figure


def _ratios(
    pairs: Sequence[PairResult], transfer: TransferRatios, parameter: Parameter, trained: list[str], tested: list[str]
) -> FloatArray:
    """Ratio to the own suite, shape (n_trained, n_tested); NaN where it is not known."""
    ratios = np.full((len(trained), len(tested)), np.nan)
    for pair in pairs:
        place = trained.index(pair.train_suite), tested.index(pair.test_suite)
        estimate = transfer.get(pair.name, {}).get(parameter.name)
        ratios[place] = estimate.value if estimate else (np.nan if pair.crosses_suites else 1.0)
    return ratios


def _reach(ratios: FloatArray) -> float:
    """Ratio where the colours end; they begin at its inverse."""
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    return float(np.clip(np.exp(np.abs(np.log(known)).max(initial=0)), SMALLEST_REACH, LARGEST_REACH))


def frame_matrix(panel: Axes, trained: Sequence[str], tested: Sequence[str]) -> None:
    """Name rows and columns, draw gaps between the cells, hatch those without a colour."""
    panel.patch.set(facecolor="white", edgecolor="0.8", hatch="///")
    panel.set_xticks(range(len(tested)), tested)
    panel.set_yticks(range(len(trained)), trained)
    panel.tick_params(length=0)
    panel.set_ylabel("trained on")
    for edge in range(1, len(tested)):
        panel.axvline(edge - 0.5, color="white", linewidth=2)
    for edge in range(1, len(trained)):
        panel.axhline(edge - 0.5, color="white", linewidth=2)


def suite_in_words(suite: str) -> str:
    """Name of a suite in lines that are short enough to stand beside a row."""
    return suite.replace(NBODY_PREFIX, "N-body\n", 1) if is_nbody(suite) else suite


def _cell_text(pair: PairResult, transfer: TransferRatios, parameter: Parameter, *, with_error: bool) -> str:
    scores = pair.scores[parameter.name]
    lines = [f"{METRICS[key].label} {scores[key].text(METRICS[key].percent, with_error)}" for key in CELL_METRICS]
    ratio = transfer.get(pair.name, {}).get(parameter.name)
    if ratio:
        lines.append(f"ratio {ratio.text(with_error=with_error)}")
    elif not pair.crosses_suites:
        lines.append("own suite")
    return "\n".join(lines)


def shade(image: AxesImage, value: float) -> float:
    """Luminance of the colour of a value; 1, white, where there is none."""
    if not np.isfinite(value):
        return 1.0
    return float(np.dot(image.to_rgba(np.array([value]))[0, :3], (0.299, 0.587, 0.114)))


def write_cell(panel: Axes, place: tuple[int, int], text: str, luminance: float, size: float = LETTER_SIZE) -> None:
    """Write into the cell of a row and a column, in white where its colour is dark."""
    row, column = place
    colour = "white" if luminance < 0.5 else "black"
    panel.text(column, row, text, color=colour, ha="center", va="center", fontsize=size, linespacing=1.15)


def _draw_ratio_bar(figure: Figure, image: AxesImage, ratios: FloatArray, high: float) -> None:
    """Beside the matrices, their colours from the power of two below all ratios, 1 at most, to where they end."""
    known = ratios[np.isfinite(ratios) & (ratios > 0)]
    low = max(2.0 ** np.floor(np.log2(known.min(initial=1))), 1 / high)
    colours = ListedColormap(image.cmap(image.norm(np.geomspace(low, high, 256))))
    shown = ScalarMappable(LogNorm(low, high), colours)
    extend = ("neither", "min", "max", "both")[bool(known.min(initial=1) < low) + 2 * bool(known.max(initial=1) > high)]
    bar = figure.colorbar(shown, ax=figure.axes, extend=extend, aspect=35, pad=0.01)
    bar.set_label("ratio = RMSE / RMSE on own suite")
    ticks = [tick for tick in RATIO_TICKS if low <= tick <= high]
    bar.set_ticks(ticks, labels=[f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
    bar.minorticks_off()
