"""Which rows (simulations) each network is taught with, shown without labels, and compared on.

    training rows of the split = { labelled | target }              of the adaptation,
                               = { inner = { labelled | target } | inner test }     of the choice.

Rows of one number may be siblings, of the same initial conditions and cosmology, in all suites: so what a network sees
of one suite without labels has other numbers than what it is taught of any other, and what it is compared on others
than both.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fieldlevel.arrays import FloatArray
from fieldlevel.data.split import SplitSpec
from fieldlevel.errors import UserError

Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Rows:
    """Numbers of the training simulations of a suite, in the order of the split.

    Attributes:
        train: all of them.
        inner: those that networks of the choice may see.
        inner_test: those that they are compared on.
    """

    train: Numbers
    inner: Numbers
    inner_test: Numbers

    @classmethod
    def of(cls, split: SplitSpec, n_simulations: int, choice_part: float) -> "Rows":
        """Divide the training set of a split.

        Raises:
            UserError: nothing would be left.

        Example:
            >>> rows = Rows.of(SplitSpec(), 100, 0.1)
            >>> len(rows.train), len(rows.inner), len(rows.inner_test)
            (90, 81, 9)
        """
        train = tuple(map(int, split.divide(n_simulations).train))
        return cls(train, *cut(train, choice_part, "choice_part"))


def cut(rows: Numbers, part: float, setting: str) -> tuple[Numbers, Numbers]:
    """Some rows without their last part, and that part.

    Args:
        rows: numbers.
        part: of them, between 0 and 1.
        setting: by whose name it is told that one of the two would be empty.

    Raises:
        UserError: one would be.

    Example:
        >>> cut((4, 2, 7, 1), 0.5, "target_part")
        ((4, 2), (7, 1))
    """
    n = round(part * len(rows))
    if not 0 < n < len(rows):
        raise UserError(f"{setting} = {part:g}: {n} of {len(rows)} training rows; take other fractions or more rows")
    return rows[:-n], rows[-n:]


def thirds(rows: Numbers, n_parts: int) -> tuple[Numbers, ...]:
    """Rows in so many parts, none of which shares a row with another.

    Example:
        >>> thirds((4, 2, 7, 1, 5), 2)
        ((4, 7, 5), (2, 1))
    """
    return tuple(rows[place::n_parts] for place in range(n_parts))


def in_half_of_prior(rows: Numbers, cosmology: FloatArray) -> Numbers:
    """Those whose cosmology lies in the lower half of the prior: the mean of its parameters, in units of it, below 1/2.

    Args:
        rows: numbers of simulations.
        cosmology: of all simulations of the suite, in units of the prior, (n, P).

    Example:
        >>> import numpy as np
        >>> in_half_of_prior((0, 2), np.array([[0.1, 0.7], [0.2, 0.2], [0.9, 0.4]]))
        (0,)
    """
    below: Sequence[bool] = (cosmology[list(rows)].mean(axis=1) < 0.5).tolist()
    return tuple(row for row, is_below in zip(rows, below, strict=True) if is_below)
