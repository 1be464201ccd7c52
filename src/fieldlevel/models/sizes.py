"""Sizes that a network may have: Python's or NumPy's numbers, kept as Python's."""

import numbers
import operator

from fieldlevel.errors import UserError


def whole_number(name: str, value: object) -> int:
    """A number of layers, channels, pixels.

    Raises:
        UserError: not a whole number, or below one.

    Example:
        >>> import numpy as np
        >>> whole_number("hidden", np.int64(6))
        6
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None:
        raise UserError(f"{name} = {value!r}: must be a whole number of at least 1")
    if number < 1:
        raise UserError(f"{name} = {number}: must be at least 1")
    return number


def probability(name: str, value: object) -> float:
    """A probability that is not one.

    Raises:
        UserError: not a number, or outside [0, 1).
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not 0.0 <= value < 1.0:
        raise UserError(f"{name} = {value}: must be a probability in [0, 1)")
    return float(value)
