"""Latin hypercubes of any size, and the seeds of initial conditions.

A latin hypercube of n rows has one value of each parameter in each of n equally likely parts of its range, in the
logarithm where its prior is uniform in that, as CAMELS'. Values have five decimals, as tables of labels do, and stay in
their parts. Omega_m and sigma_8 follow from the name of the set and n alone, so that row i is one universe in all
suites; the feedback of a suite follows from its name too. Another n is another design.

Seeds of initial conditions follow from the name of the set and the number of the row: a set has a block of a million
numbers, and which one is told by a digest of its name. Numbers below the first block are those of CV, 1P and EX
(`fieldlevel.simulate.sets`), so no two sets share a seed. Numbers have 18 digits at most, as seeds in tables.

References:
    McKay, Beckman & Conover 1979, Technometrics 21, 239 (latin hypercubes); `scipy.stats.qmc`.
"""

import hashlib
import math

import numpy as np
from scipy.stats import qmc

from fieldlevel.arrays import FloatArray
from fieldlevel.errors import UserError
from fieldlevel.layout import Layout, Parameter

USUAL_ROWS = 1000
"""Of a latin hypercube, as those of CAMELS have."""
BLOCK = 10**6
"""Seeds that are kept for a set."""
_BLOCKS = 10**12
_STEP = 1e-5
"""Between values of five decimals."""
_ROUND_OFF = 1e-6
"""Of an edge in these steps: an edge with five decimals belongs to the part above it."""


def latin_hypercube(set_name: str, n_rows: int, suite: str, layout: Layout) -> FloatArray:
    """Parameters of a latin hypercube.

    Args:
        set_name: what the cosmology is drawn from, with n_rows.
        n_rows: how many; another number is another design.
        suite: what the feedback is drawn from besides.
        layout: ranges of the parameters, the cosmological ones first.

    Returns:
        Shape (n_rows, P), columns in the order of the layout.

    Raises:
        UserError: no rows, or more than there are values of five decimals in the range of a parameter.

    Example:
        >>> latin_hypercube("LH", 4, "MockTNG", Layout())[:, 0].round(1).tolist()
        [0.4, 0.4, 0.1, 0.2]
    """
    narrowest = min(layout.parameters, key=_most_rows)
    if not 1 <= n_rows <= _most_rows(narrowest):
        told = f"allowed are 1 to {_most_rows(narrowest)}, as {narrowest.name} is written with five decimals"
        raise UserError(f"n_simulations = {n_rows}: {told}")
    n_shared = len(layout.cosmological)
    shared = _unit_hypercube(n_rows, n_shared, set_name)
    own = _unit_hypercube(n_rows, layout.n_parameters - n_shared, set_name, suite)
    columns = zip(np.hstack([shared, own]).T, layout.parameters, strict=True)
    return np.stack([_in_range(unit, parameter) for unit, parameter in columns], axis=1)


def first_seed(set_name: str) -> int:
    """The seed of row 0 of a set; those of the other rows follow on it.

    Example:
        >>> first_seed("LH") % 10**6, first_seed("LH") == first_seed("LHtest")
        (0, False)
    """
    return BLOCK * (1 + _digest(set_name) % (_BLOCKS - 1))


def _unit_hypercube(n_rows: int, n_columns: int, *names: str) -> FloatArray:
    """One value in each of n_rows equal parts of [0, 1), (n_rows, n_columns)."""
    random = np.random.default_rng(_digest(*names))
    unit: FloatArray = qmc.LatinHypercube(n_columns, seed=random).random(n_rows)
    return unit


def _in_range(unit: FloatArray, parameter: Parameter) -> FloatArray:
    """Values of a parameter with five decimals, each in its part of the range, (n,)."""
    part = np.floor(unit * len(unit)).astype(int)
    edges = np.ceil(_quantile(np.linspace(0, 1, len(unit) + 1), parameter) / _STEP - _ROUND_OFF)
    steps = np.rint(_quantile(unit, parameter) / _STEP).clip(edges[part], edges[part + 1] - 1)
    values: FloatArray = np.round(steps * _STEP, 5)
    return values


def _quantile(unit: FloatArray, parameter: Parameter) -> FloatArray:
    low, high = parameter.low, parameter.high
    values: FloatArray = low * (high / low) ** unit if parameter.logarithmic else low + (high - low) * unit
    return values


def _most_rows(parameter: Parameter) -> int:
    """Parts of the range of which the smallest still holds a value of five decimals."""
    low, high = parameter.low, parameter.high
    smallest = low * math.log(high / low) if parameter.logarithmic else high - low
    return math.floor(smallest / _STEP + _ROUND_OFF)


def _digest(*names: str) -> int:
    text = "\n".join(names).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:16], "big")
