"""Outputs of a network by name, and the column of a suite that is the truth of each.

An output `X` stands for the parameter X of every suite that has one, an output `X[A]` for that of suite A alone. A
network that is trained on one suite has its parameters as they are called there. Trained on several, it has one output
for each cosmological parameter, which all of them teach, and one for each other parameter of each suite: feedback of
one suite means something else in another.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout, Parameter

Taught = Sequence[tuple[str, Layout]]
"""Labelled suites by name, each with the parameters that its maps tell something of."""


def pooled_parameters(taught: Taught, names: Sequence[str] = ()) -> tuple[Parameter, ...]:
    """Parameters that a network infers.

    Args:
        taught: the suites that it is trained on.
        names: of its outputs; those that follow from the suites when empty, see above.

    Returns:
        One an output. What several suites teach has the range of all their priors together.

    Raises:
        UserError: a name that is none, or that no suite teaches.

    Example:
        >>> both = [("SIMBA", Layout().select(["Omega_m", "A_SN1"])), ("Mine", Layout().select(["Omega_m", "A_AGN1"]))]
        >>> [parameter.name for parameter in pooled_parameters(both)]
        ['Omega_m', 'A_SN1[SIMBA]', 'A_AGN1[Mine]']
    """
    return tuple(_pooled(Parameter(name), taught) for name in names or _usual_names(taught))


def _usual_names(taught: Taught) -> list[str]:
    if len(taught) == 1:
        return list(taught[0][1].names)
    each = [(suite, parameter) for suite, layout in taught for parameter in layout.parameters]
    shared = [parameter.name for _, parameter in each if parameter.cosmological]
    own = [parameter.of_suite(suite).name for suite, parameter in each if not parameter.cosmological]
    return list(dict.fromkeys([*shared, *own]))


def _pooled(output: Parameter, taught: Taught) -> Parameter:
    columns = [(layout, column_of(output, suite, layout)) for suite, layout in taught]
    known = [layout.parameters[column] for layout, column in columns if column is not None]
    if not known:
        there = ", ".join(_usual_names(taught))
        raise UserError(f"outputs: no labelled source has {output.name}; there are {there}")
    named = known[0] if known[0].name == output.name else known[0].of_suite(output.suite)
    return replace(named, low=min(each.low for each in known), high=max(each.high for each in known))


def column_of(output: Parameter, suite: str, layout: Layout) -> int | None:
    """Column of the table of a suite that an output stands for, None where it has none.

    Example:
        >>> column_of(Parameter("A_SN1[SIMBA]"), "SIMBA", Layout()), column_of(Parameter("A_SN1"), "SIMBA", Layout())
        (2, 2)
        >>> column_of(Parameter("A_SN1[SIMBA]"), "Astrid", Layout()) is None
        True
    """
    if layout.has(output.name):
        return layout.column(output.name)
    belongs = output.suite == suite and layout.has(output.base)
    return layout.column(output.base) if belongs else None


def truths_of(outputs: Layout, suite: str, layout: Layout, parameters: FloatArray) -> FloatArray:
    """Columns of the table of a suite in the order of a network's outputs.

    Args:
        outputs: whose parameters are the outputs.
        suite: name of the suite.
        layout: of the suite; parameters that it lacks are not believed.
        parameters: of its simulations in physical units, (n, P).

    Returns:
        (n, Q) for Q outputs; NaN where the suite has no such parameter.

    Example:
        >>> outputs = Layout(pooled_parameters([("SIMBA", Layout()), ("Mine", Layout().select(["Omega_m"]))]))
        >>> truths_of(outputs, "Mine", Layout().select(["Omega_m"]), np.array([[0.3]]))
        array([[0.3, nan, nan, nan, nan, nan]])
    """
    columns = [column_of(output, suite, layout) for output in outputs.parameters]
    unknown = np.full(len(parameters), np.nan)
    return np.stack([unknown if column is None else parameters[:, column] for column in columns], axis=1)
