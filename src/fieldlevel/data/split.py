"""Division of the simulations into training, validation and test sets.

Maps of one simulation share its initial conditions and labels, so a split by map would show the network its own test
set: only whole simulations are ever divided.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import UserError
from fieldlevel.spec_io import STRICT

IndexArray = npt.NDArray[np.int64]

_MOST_SIMULATIONS = 10**7


@dataclass(frozen=True)
class SplitSpec:
    """Division of the simulations (never of the maps) into training, validation and test sets.

    The defaults are the released split of the CAMELS benchmark.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    seed: int = 1
    """Seed of the legacy NumPy shuffle."""
    train: float = 0.90
    """Fraction of the simulations to train on."""
    validation: float = 0.05
    """Fraction to choose the checkpoint with; the rest is the test set."""


class Split(NamedTuple):
    """Numbers of the simulations in each set; the three are disjoint and hold every simulation once."""

    train: IndexArray
    validation: IndexArray
    test: IndexArray


def split_simulations(n_simulations: int, seed: int = 1, train: float = 0.90, validation: float = 0.05) -> Split:
    """Shuffle the simulations with NumPy's legacy generator and cut: first, next and last part.

    With 1,000 simulations and the defaults this is the released split of the CAMELS Multifield Dataset
    (arXiv:2109.10915).

    Args:
        n_simulations: number of simulations.
        seed: seed of the shuffle, from 0 to 2^32 - 1.
        train: fraction of the simulations to train on.
        validation: fraction to validate on; the rest is the test set.

    Returns:
        Three index arrays in shuffled order.

    Raises:
        UserError: fractions that are none, one of the sets would be empty, or the seed is out of range.

    Example:
        >>> split_simulations(1000).test[:5].tolist()
        [264, 209, 316, 896, 513]
    """
    if not all(_is_number(fraction) and abs(fraction) <= 1 for fraction in (train, validation)):
        raise UserError(f"split: train={train}, validation={validation}; give fractions between 0 and 1")
    is_whole = isinstance(n_simulations, int | np.integer) and not isinstance(n_simulations, bool)
    if not is_whole or n_simulations > _MOST_SIMULATIONS:
        raise UserError(f"split: {n_simulations} simulations; give a whole number, at most {_MOST_SIMULATIONS}")
    n_train, n_validation = round(train * n_simulations), round(validation * n_simulations)
    n_test = n_simulations - n_train - n_validation
    if min(n_train, n_validation, n_test) < 1:
        raise UserError(
            f"split: {n_simulations} simulations with train={train:g}, validation={validation:g} give sets of "
            f"{n_train}, {n_validation} and {n_test}; each needs one at least: take more simulations or other fractions"
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise UserError(f"split: seed {seed} is out of range; give a whole number from 0 to 4294967295")
    order = np.arange(n_simulations, dtype=np.int64)
    np.random.RandomState(seed).shuffle(order)
    return Split(*np.split(order, [n_train, n_train + n_validation]))


def _is_number(value: object) -> bool:
    return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
