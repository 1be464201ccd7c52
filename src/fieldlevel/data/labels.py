"""Are the labels sound: in range, in order, in the unit and with the columns of CMD?"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fieldlevel.data.camels_sets import keeps_to_priors
from fieldlevel.data.cmd_format import Float64Array, SuiteFiles, describe_units
from fieldlevel.parameters import (
    COSMOLOGICAL_COLUMNS,
    FEEDBACK_UNITS,
    PARAMETER_NAMES,
    PARAMETERS,
    UNSUPPORTED_ORDERS,
    Parameter,
    is_nbody,
    prior_range,
)
from fieldlevel.wording import equal_pairs, name_some

_PRIOR_TOLERANCE, _UNIT_TOLERANCE = 1e-6, 1e-3
_PLAUSIBLE = {"Omega_m": (0.01, 1.0), "sigma_8": (0.1, 2.0)}
_PLAUSIBLE_FEEDBACK = (0.0, 1000.0)
"""Multiples of the fiducial value: EX switches feedback off, and takes a hundredfold."""
_FAR = 4.0
"""A unit above it puts a whole prior range outside itself."""

_A_AGN1, _A_SN2 = PARAMETER_NAMES.index("A_AGN1"), PARAMETER_NAMES.index("A_SN2")


def used_columns(suite: str) -> list[int]:
    """Columns that mean something in a suite: the feedback of gravity-only suites does not."""
    return COSMOLOGICAL_COLUMNS if is_nbody(suite) else list(range(len(PARAMETERS)))


def parameter_defects(files: SuiteFiles, theta: Float64Array) -> Iterator[str]:
    """Compare the parameters with their priors and with one another.

    Gravity-only suites carry the feedback columns of their twins, which mean nothing there and are not looked at.

    Args:
        files: where the parameters come from.
        theta: parameters, shape (n_simulations, 6).

    Yields:
        One line a kind of defect and column.
    """
    if files.suite in UNSUPPORTED_ORDERS:
        yield _told_of_order(files)
        return
    judged = used_columns(files.suite)
    if not is_nbody(files.suite) and (told := _told_of_columns(files, theta)):
        yield told[0]
        judged = [column for column in judged if column not in told[1]]
    for column in judged:
        yield from _range_defects(files, column, theta[:, column])
    used = theta[:, used_columns(files.suite)]
    if files.set_name == "LH" and (pairs := equal_pairs([row.tobytes() for row in used])):
        yield (
            f"{files.parameters_path}: rows {name_some(pairs)} are the same, which a latin hypercube never has; "
            f"mend the table"
        )


def _told_of_order(files: SuiteFiles) -> str:
    order = " ".join(UNSUPPORTED_ORDERS[files.suite])
    return (
        f"{files.parameters_path}: tables of {files.suite} have the columns {order} and physical numbers, which are "
        f"not read; put them in the order {' '.join(PARAMETER_NAMES)}, and give the suite and the set names of your own"
    )


def _told_of_columns(files: SuiteFiles, theta: Float64Array) -> tuple[str, tuple[int, ...]] | None:
    """What explains several columns at once, with these columns: another unit, another order."""
    if _has_physical_numbers(files, theta):
        told = (
            f"the feedback columns are physical numbers; divide {', '.join(PARAMETER_NAMES[2:])} by the fiducial values"
        )
        return f"{files.parameters_path}: {told} of {files.suite}: {describe_units(files.suite)}", (2, 3, 4, 5)
    if keeps_to_priors(files.set_name) and _has_swapped_columns(theta):
        order = ", ".join(PARAMETER_NAMES)
        told = f"columns A_AGN1 and A_SN2 are swapped; put the columns in the order {order}"
        return f"{files.parameters_path}: {told}", (_A_AGN1, _A_SN2)
    return None


def _has_physical_numbers(files: SuiteFiles, theta: Float64Array) -> bool:
    """Whether all feedback columns are in their priors once divided, and some of them never were before."""
    if (units := FEEDBACK_UNITS.get(files.suite)) is None:
        return False
    columns = [(unit, theta[:, i], prior_range(files.suite, PARAMETERS[i])) for i, unit in enumerate(units, start=2)]
    are_inside = [not _outside(values / unit, bounds, _UNIT_TOLERANCE).any() for unit, values, bounds in columns]
    are_outside = [_outside(values, bounds).all() for unit, values, bounds in columns if unit > _FAR]
    return all(are_inside) and all(are_outside)


def _has_swapped_columns(theta: Float64Array) -> bool:
    is_narrow = not _outside_prior(theta[:, _A_AGN1], _A_SN2).any()
    is_wide = bool(_outside_prior(theta[:, _A_SN2], _A_SN2).any())
    return is_narrow and is_wide and not _outside_prior(theta[:, _A_SN2], _A_AGN1).any()


def _outside_prior(values: Float64Array, column: int) -> npt.NDArray[np.bool_]:
    return _outside(values, (PARAMETERS[column].minimum, PARAMETERS[column].maximum))


def _outside(
    values: Float64Array, bounds: tuple[float, float], tolerance: float = _PRIOR_TOLERANCE
) -> npt.NDArray[np.bool_]:
    slack = tolerance * bounds[1]
    is_inside: npt.NDArray[np.bool_] = (values >= bounds[0] - slack) & (values <= bounds[1] + slack)
    return ~is_inside


def _range_defects(files: SuiteFiles, column: int, values: Float64Array) -> Iterator[str]:
    """Outside its prior range; in a set that may leave the priors, outside what any simulation has."""
    parameter = PARAMETERS[column]
    bounds, what = _bounds(files, parameter)
    rows = np.flatnonzero(_outside(values, bounds))
    if rows.size:
        listed = name_some([f"{row} ({values[row]:g})" for row in rows])
        is_feedback = not parameter.cosmological
        unit = (
            "; divide physical numbers by their fiducial values"
            if is_feedback and (values[rows] > bounds[1]).sum() > 1
            else ""
        )
        yield (
            f"{files.parameters_path}: {parameter.name} (column {column + 1}) outside {what} "
            f"[{bounds[0]:g}, {bounds[1]:g}] in rows {listed}; mend the table{unit}"
        )


def _bounds(files: SuiteFiles, parameter: Parameter) -> tuple[tuple[float, float], str]:
    if keeps_to_priors(files.set_name):
        return prior_range(files.suite, parameter), "its prior range"
    return _PLAUSIBLE.get(parameter.name, _PLAUSIBLE_FEEDBACK), "what any simulation has,"


def label_remarks(files: SuiteFiles, theta: Float64Array) -> Iterator[str]:
    """Name columns that a network cannot learn, since all simulations have the same value."""
    if len(theta) < 2:
        return
    constant = [PARAMETER_NAMES[i] for i in used_columns(files.suite) if np.ptp(theta[:, i]) == 0]
    if constant:
        which = "all parameters are" if len(constant) == len(used_columns(files.suite)) else f"{', '.join(constant)}:"
        yield f"{files.parameters_path}: {which} the same in all simulations; a network learns nothing of them"
