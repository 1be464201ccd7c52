"""Are the labels sound: in range, in order, in the unit and with the columns of CMD?"""

from collections.abc import Iterator

import numpy as np

from fieldlevel.arrays import BoolArray
from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.parameter_tables import Float64Array, describe_units
from fieldlevel.layout import Layout, Parameter
from fieldlevel.suites import facts_of, is_nbody, keeps_to_priors
from fieldlevel.wording import equal_pairs, name_some

_PRIOR_TOLERANCE, _UNIT_TOLERANCE = 1e-6, 1e-3
_PLAUSIBLE = {"Omega_m": (0.01, 1.0), "sigma_8": (0.1, 2.0)}
_FEEDBACK = ("A_SN1", "A_AGN1", "A_SN2", "A_AGN2")
"""In the order of `SuiteFacts.feedback_units`."""
_PLAUSIBLE_FEEDBACK = (0.0, 1000.0)
"""Multiples of the fiducial value: EX switches feedback off, and takes a hundredfold."""
_PLAUSIBLE_WIDTHS = 1000.0
"""Beyond its prior: of any other parameter."""
_FAR = 4.0
"""A unit above it puts a whole prior range outside itself."""

_Bounds = tuple[float, float]


def used_columns(suite: str, layout: Layout) -> list[int]:
    """Columns that mean something in a suite: the feedback of gravity-only suites does not."""
    return layout.cosmological_columns if is_nbody(suite) else list(range(layout.n_parameters))


def parameter_defects(files: SuiteFiles, theta: Float64Array, layout: Layout) -> Iterator[str]:
    """Compare the parameters with their priors and with one another.

    Gravity-only suites carry the feedback columns of their twins, which mean nothing there and are not looked at.

    Args:
        files: where the parameters come from.
        theta: parameters, shape (n_simulations, P).
        layout: whose they are.

    Yields:
        One line a kind of defect and column.
    """
    if not is_nbody(files.suite) and facts_of(files.suite).foreign_order not in ((), layout.names):
        yield _told_of_order(files, layout)
        return
    judged = used_columns(files.suite, layout)
    if not is_nbody(files.suite) and (told := _told_of_columns(files, theta, layout)):
        yield told[0]
        judged = [column for column in judged if layout.names[column] not in told[1]]
    for column in judged:
        yield from _range_defects(files, column, theta[:, column], layout.parameters[column])
    used = theta[:, used_columns(files.suite, layout)]
    if files.set_name == "LH" and judged and (pairs := equal_pairs([row.tobytes() for row in used])):
        yield (
            f"{files.parameters_path}: rows {name_some(pairs)} are the same, which a latin hypercube never has; "
            f"mend the table"
        )


def _told_of_order(files: SuiteFiles, layout: Layout) -> str:
    order = " ".join(facts_of(files.suite).foreign_order)
    return (
        f"{files.parameters_path}: tables of {files.suite} have the columns {order} and physical numbers, which are "
        f"not read; put them in the order {' '.join(layout.names)}, and give the suite and the set names of your own"
    )


def _told_of_columns(files: SuiteFiles, theta: Float64Array, layout: Layout) -> tuple[str, tuple[str, ...]] | None:
    """What explains several columns at once, with their names: another unit, another order."""
    if _has_physical_numbers(files, theta, layout):
        told = f"the feedback columns are physical numbers; divide {', '.join(_FEEDBACK)} by the fiducial values"
        return f"{files.parameters_path}: {told} of {files.suite}: {describe_units(files.suite)}", _FEEDBACK
    if keeps_to_priors(files.set_name) and _has_swapped_columns(theta, layout):
        order = ", ".join(layout.names)
        told = f"columns A_AGN1 and A_SN2 are swapped; put the columns in the order {order}"
        return f"{files.parameters_path}: {told}", ("A_AGN1", "A_SN2")
    return None


def _has_physical_numbers(files: SuiteFiles, theta: Float64Array, layout: Layout) -> bool:
    """Whether all feedback columns are in their priors once divided, and some of them never were before."""
    units = facts_of(files.suite).feedback_units
    if not units or not layout.has(*_FEEDBACK):
        return False
    columns = [(unit, *_column(theta, layout, name)) for unit, name in zip(units, _FEEDBACK, strict=True)]
    are_inside = [not _outside(values / unit, bounds, _UNIT_TOLERANCE).any() for unit, values, bounds in columns]
    are_outside = [_outside(values, bounds).all() for unit, values, bounds in columns if unit > _FAR]
    return all(are_inside) and all(are_outside)


def _column(theta: Float64Array, layout: Layout, name: str) -> tuple[Float64Array, _Bounds]:
    """Values of a parameter and its prior."""
    column = layout.column(name)
    return theta[:, column], _prior(layout.parameters[column])


def _prior(parameter: Parameter) -> _Bounds:
    return parameter.low, parameter.high


def _has_swapped_columns(theta: Float64Array, layout: Layout) -> bool:
    if not layout.has("A_AGN1", "A_SN2"):
        return False
    (A_AGN1, wide), (A_SN2, narrow) = (_column(theta, layout, name) for name in ("A_AGN1", "A_SN2"))
    is_narrow = not _outside(A_AGN1, narrow).any()
    is_wide = bool(_outside(A_SN2, narrow).any())
    return is_narrow and is_wide and not _outside(A_SN2, wide).any()


def _outside(values: Float64Array, bounds: _Bounds, tolerance: float = _PRIOR_TOLERANCE) -> BoolArray:
    slack = tolerance * max(map(abs, bounds))
    is_inside: BoolArray = (values >= bounds[0] - slack) & (values <= bounds[1] + slack)
    return ~is_inside


def _range_defects(files: SuiteFiles, column: int, values: Float64Array, parameter: Parameter) -> Iterator[str]:
    """Outside its prior range; in a set that may leave the priors, outside what any simulation has."""
    bounds, what = _bounds(files, parameter)
    rows = np.flatnonzero(_outside(values, bounds))
    if rows.size:
        listed = name_some([f"{row} ({values[row]:g})" for row in rows])
        is_feedback = parameter.name in _FEEDBACK
        unit = (
            "; divide physical numbers by their fiducial values"
            if is_feedback and (values[rows] > bounds[1]).sum() > 1
            else ""
        )
        yield (
            f"{files.parameters_path}: {parameter.name} (column {column + 1}) outside {what} "
            f"[{bounds[0]:g}, {bounds[1]:g}] in rows {listed}; mend the table{unit}"
        )


def _bounds(files: SuiteFiles, parameter: Parameter) -> tuple[_Bounds, str]:
    if keeps_to_priors(files.set_name):
        return _prior(parameter), "its prior range"
    low, high = _prior(parameter)
    reach = _PLAUSIBLE_WIDTHS * (high - low)
    elsewhere = _PLAUSIBLE_FEEDBACK if parameter.name in _FEEDBACK else (low - reach, high + reach)
    lowest, highest = _PLAUSIBLE.get(parameter.name, elsewhere)
    return (min(low, lowest), max(high, highest)), "what any simulation has,"


def label_remarks(files: SuiteFiles, theta: Float64Array, layout: Layout) -> Iterator[str]:
    """Name columns that a network cannot learn, since all simulations have the same value."""
    if len(theta) < 2:
        return
    used = used_columns(files.suite, layout)
    constant = [layout.names[i] for i in used if np.ptp(theta[:, i]) == 0]
    if constant:
        which = "all parameters are" if len(constant) == len(used) else f"{', '.join(constant)}:"
        yield f"{files.parameters_path}: {which} the same in all simulations; a network learns nothing of them"
