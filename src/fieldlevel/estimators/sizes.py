"""Sizes that a network may have: Python's or NumPy's numbers, kept as Python's."""

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
    try:
        number = float("nan") if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = float("nan")
    if not 0.0 <= number < 1.0:
        raise UserError(f"{name} = {value}: must be a probability in [0, 1)")
    return number
