"""Every network on every suite, a matrix for each measure: what N suites say of one another.

Rows are the suites trained on, columns those tested on. Colours are those of a diverging map that colour-blind readers
can tell apart; its middle, white, is the ideal: no bias, the error of the suite's own network, honest error bars.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure, FigureBase

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError, shown
from fieldlevel.figures.parameter_panels import blocks_of, choose_parameters, n_blocks
from fieldlevel.figures.style import WIDTH_INCHES, mark_mock, refuse_empty, styled, turn_labels, typeset_parameter
from fieldlevel.figures.suite_matrix import MATRIX, frame_matrix, shade, suite_in_words, write_cell
from fieldlevel.layout import Parameter
from fieldlevel.statistics.estimates import Estimate
from fieldlevel.statistics.pairs import PairResult
from fieldlevel.statistics.shared_parameters import main_parameters, shared_parameters
from fieldlevel.statistics.transfer_matrix import IDEALS, TransferCell, TransferMatrix, transfer_matrix

PER_CENT_OF_PRIOR = 100.0

MOST_WITH_ERRORS = 4
"""Suites abreast in whose cells errors have room."""

COLOURS = "PuOr_r"


@dataclass(frozen=True)
class _Measure:
    """What the cells of a matrix hold.

    Attributes:
        label: beside the colours.
        of: what is written of a cell, ideal where `ideal`.
        ideal: middle of the colours.
        reaches: smallest and largest distance from it where the colours end, a factor where it is 1.
        decimals: that are written of numbers below 10.
    """

    label: str
    of: Callable[[TransferCell, Parameter], Estimate]
    ideal: float
    reaches: tuple[float, float]
    decimals: int

    def norm(self, values: FloatArray) -> Normalize:
        """From values to colours: linear about 0, logarithmic about 1, white in the middle."""
        if self.ideal == 0:
            reach = float(np.clip(np.abs(values[np.isfinite(values)]).max(initial=0), *self.reaches))
            return Normalize(-reach, reach)
        known = values[np.isfinite(values) & (values > 0)]
        reach = float(np.clip(np.exp(np.abs(np.log(known)).max(initial=0)), *self.reaches))
        return LogNorm(1 / reach, reach)


_MEASURES = (
    _Measure("bias\n[% of prior]", lambda cell, p: _scaled(cell.bias_of_prior(p)), IDEALS["bias"], (2, 25), 1),
    _Measure("RMSE over\nown network's", lambda cell, _: cell.rmse_ratio, IDEALS["rmse_ratio"], (2, 16), 2),
    _Measure(r"$\chi^2_\nu$", lambda cell, _: cell.reduced_chi2, IDEALS["reduced_chi2"], (2, 16), 2),
)


def draw_suite_matrices(
    pairs: Sequence[PairResult],
    matrix: TransferMatrix | None = None,
    *,
    names: Sequence[str] | None = None,
    mock: bool,
) -> Figure:
    """Draw bias, RMSE over that of the tested suite's own network and reduced chi^2 of every pair of suites.

    A row of matrices a measure, a column a cosmological parameter; where there are more than two, blocks of such rows.
    Numbers have their bootstrap errors where no more than four suites stand abreast. What was not tested is hatched.

    Args:
        pairs: tested networks of one seed, for the suites, their order and the parameters.
        matrix: their numbers (`statistics.transfer_matrix`); measured here by default.
        names: of the parameters; the cosmological ones by default.
        mock: whether to write MOCK DATA into the figure.

    Raises:
        UserError: no pair, no parameter or not that one in all of them, or two networks for one pair.
    """
    refuse_empty(pairs, "pair of suites")
    parameters = _parameters(pairs, names)
    refuse_empty(parameters, "parameter that all pairs have")
    cells = transfer_matrix(pairs) if matrix is None else matrix
    trained, tested = (list(dict.fromkeys(suites)) for suites in zip(*(pair.key[:2] for pair in pairs), strict=True))
    height = 3 * (_cell_height(tested) * len(trained) + 0.15) + 0.9
    with styled():
        figure = Figure(figsize=(WIDTH_INCHES, n_blocks(parameters) * height + 0.3))
        for place, block in blocks_of(figure, parameters):
            _draw_block(place, cells, block, (trained, tested))
        mark_mock(figure, mock)
    return figure


def _cell_height(tested: Sequence[str]) -> float:
    """In inches: two lines of text, or one."""
    return 0.4 if len(tested) <= MOST_WITH_ERRORS else 0.27


def _parameters(pairs: Sequence[PairResult], names: Sequence[str] | None) -> Sequence[Parameter]:
    layouts = [pair.layout for pair in pairs]
    if names is None:
        return choose_parameters(main_parameters(layouts))
    shared = {parameter.name: parameter for parameter in shared_parameters(layouts)}
    for name in names:
        if name not in shared:
            told = f"suite matrices: not all networks infer {shown(name)}"
            raise UserError(f"{told}; choose from {', '.join(shared)}")
    return [shared[name] for name in names]


def _draw_block(
    place: FigureBase, cells: TransferMatrix, parameters: Sequence[Parameter], suites: tuple[list[str], list[str]]
) -> None:
    """A row a measure, a column a parameter; the matrices of a row share their colours."""
    axes = place.subplots(len(_MEASURES), len(parameters), squeeze=False, sharex=True, sharey=True)
    for row, measure in zip(axes, _MEASURES, strict=True):
        found = [_estimates(cells, measure, parameter) for parameter in parameters]
        norm = measure.norm(np.stack([_grid(estimates, *suites) for estimates in found]))
        for panel, estimates in zip(row, found, strict=True):
            _draw_matrix(panel, estimates, suites, norm, measure.decimals)
        row[0].set_ylabel("trained on")
        _label_colours(place, row, measure)
    for panel, parameter in zip(axes[0], parameters, strict=True):
        panel.set_title(typeset_parameter(parameter), pad=4)
    for panel in axes[-1]:
        panel.set_xlabel("tested on")
        cell = MATRIX * WIDTH_INCHES / len(parameters) / len(suites[1])
        turn_labels(panel, [suite_in_words(suite) for suite in suites[1]], cell)


def _draw_matrix(
    panel: Axes,
    estimates: Mapping[tuple[str, str], Estimate],
    suites: tuple[list[str], list[str]],
    norm: Normalize,
    decimals: int,
) -> None:
    """Colour the cells and write their numbers into them."""
    trained, tested = suites
    image = panel.imshow(_grid(estimates, trained, tested), cmap=COLOURS, norm=norm, aspect="auto")
    frame_matrix(panel, *(list(map(suite_in_words, side)) for side in suites))
    panel.set_ylabel("")
    for (train, test), estimate in estimates.items():
        text = _written(estimate, decimals, with_error=len(tested) <= MOST_WITH_ERRORS)
        write_cell(panel, (trained.index(train), tested.index(test)), text, shade(image, estimate.value))


def _estimates(cells: TransferMatrix, measure: _Measure, parameter: Parameter) -> dict[tuple[str, str], Estimate]:
    """What is written, by the suites trained and tested on."""
    return {at: measure.of(cell[parameter.name], parameter) for at, cell in cells.items() if parameter.name in cell}


def _grid(estimates: Mapping[tuple[str, str], Estimate], trained: list[str], tested: list[str]) -> FloatArray:
    """Values, shape (n_trained, n_tested); NaN where there is none."""
    values = np.full((len(trained), len(tested)), np.nan)
    for (row, column), estimate in estimates.items():
        values[trained.index(row), tested.index(column)] = estimate.value
    return values


def _label_colours(place: FigureBase, row: Sequence[Axes], measure: _Measure) -> None:
    bar = place.colorbar(row[0].images[0], ax=list(row), extend="both", aspect=12, pad=0.01)
    bar.set_label(measure.label)
    if measure.ideal != 0:
        low, high = row[0].images[0].get_clim()
        ticks = [tick for tick in (1 / 16, 1 / 4, 1 / 2, 1, 2, 4, 16) if low <= tick <= high]
        bar.set_ticks(ticks, labels=[f"{tick:g}" if tick >= 1 else f"1/{1 / tick:g}" for tick in ticks])
        bar.minorticks_off()


def _scaled(estimate: Estimate) -> Estimate:
    """In per cent."""
    parts = (estimate.value, estimate.error, estimate.low, estimate.high)
    return Estimate(*(PER_CENT_OF_PRIOR * part for part in parts))


def _written(estimate: Estimate, decimals: int, *, with_error: bool) -> str:
    """Value, and below it the error; short enough for a cell.

    Example:
        >>> _written(Estimate(-0.123, 0.456, 0, 0), 1, with_error=False)
        '−0.1'
    """
    if not np.isfinite(estimate.value):
        return {"inf": "∞", "-inf": "−∞"}.get(str(estimate.value), "–")
    value = _short(estimate.value, estimate.value, decimals)
    has_error = with_error and np.isfinite(estimate.error) and estimate.error > 0
    return f"{value}\n± {_short(estimate.error, estimate.value, decimals)}" if has_error else value


def _short(number: float, like: float, decimals: int) -> str:
    """Four characters or so: fewer decimals where a number like it is large, a power of ten where it is very large."""
    size = abs(like)
    if size >= 1000:
        return f"{number:.0e}".replace("e+0", "e").replace("e+", "e").replace("-", "−")
    kept = decimals if size < 9.995 else max(decimals - 1, 0) if size < 99.95 else 0
    return f"{round(number, kept) + 0.0:.{kept}f}".replace("-", "−")
