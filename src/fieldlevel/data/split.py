"""Division of the simulations into training, validation, calibration and test sets.

Maps of one simulation share its initial conditions and labels, so a split by map would show the network its own test
set: only whole simulations are ever divided.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import UserError
from fieldlevel.spec_io import STRICT
from fieldlevel.wording import joined

IndexArray = npt.NDArray[np.int64]

_MOST_SIMULATIONS = 10**7


@dataclass(frozen=True)
class SplitSpec:
    """Division of the simulations (never of the maps) into training, validation, calibration and test sets.

    The defaults are the released split of the CAMELS benchmark.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT
    __omitted__: ClassVar[tuple[str, ...]] = ("calibration",)

    seed: int = 1
    """Seed of the legacy NumPy shuffle."""
    train: float = 0.90
    """Fraction of the simulations to train on."""
    validation: float = 0.05
    """Fraction to choose the checkpoint with; the rest is the test set."""
    calibration: float = 0.0
    """Fraction to calibrate the standard deviations with once the network is trained, apart from all others; taken from
    what would be the test set, so take as much from `train` to keep that as it is. 0: none."""

    def divide(self, n_simulations: int) -> "Split":
        """The simulations of each set: `split_simulations` with these fractions and this seed."""
        return split_simulations(n_simulations, self.seed, self.train, self.validation, self.calibration)


class Split(NamedTuple):
    """Numbers of the simulations in each set; the four are disjoint and hold every simulation once."""

    train: IndexArray
    validation: IndexArray
    test: IndexArray
    calibration: IndexArray = np.zeros(0, dtype=np.int64)

    def __repr__(self) -> str:
        sizes = (f"{len(numbers)} {name}" for name, numbers in zip(self._fields, self, strict=True))
        return f"<Split of simulations: {', '.join(sizes)}>"


def split_simulations(
    n_simulations: int, seed: int = 1, train: float = 0.90, validation: float = 0.05, calibration: float = 0.0
) -> Split:
    """Shuffle the simulations with NumPy's legacy generator and cut: training, validation, calibration, test.

    With 1,000 simulations and the defaults this is the released split of the CAMELS Multifield Dataset
    (arXiv:2109.10915).

    Args:
        n_simulations: number of simulations.
        seed: seed of the shuffle, from 0 to 2^32 - 1.
        train: fraction of the simulations to train on.
        validation: fraction to validate on.
        calibration: fraction to calibrate with; what is left is the test set, the last simulations of the shuffle.

    Returns:
        Four index arrays in shuffled order; that of the calibration is empty where its fraction is 0.

    Raises:
        UserError: fractions that are none, one of the sets would be empty, or the seed is out of range.

    Example:
        >>> split_simulations(1000)
        <Split of simulations: 900 train, 50 validation, 50 test, 0 calibration>
        >>> split_simulations(1000).test[:5].tolist()
        [264, 209, 316, 896, 513]
    """
    told = f"train={train}, validation={validation}"
    told += "" if _is_number(calibration) and calibration == 0 else f", calibration={calibration}"
    if not all(_is_number(fraction) and abs(fraction) <= 1 for fraction in (train, validation, calibration)):
        raise UserError(f"split: {told}; give fractions between 0 and 1")
    is_whole = isinstance(n_simulations, int | np.integer) and not isinstance(n_simulations, bool)
    if not is_whole or n_simulations > _MOST_SIMULATIONS:
        raise UserError(f"split: {n_simulations} simulations; give a whole number, at most {_MOST_SIMULATIONS}")
    n_train, n_validation = round(train * n_simulations), round(validation * n_simulations)
    n_calibration = round(calibration * n_simulations)
    sizes = [n_train, n_validation, *([n_calibration] if calibration else [])]
    sizes.append(n_simulations - sum(sizes))
    if min(sizes) < 1:
        given = f"train={train:g}, validation={validation:g}{f', calibration={calibration:g}' if calibration else ''}"
        raise UserError(
            f"split: {n_simulations} simulations with {given} give sets of "
            f"{joined([*map(str, sizes)])}; "
            "each needs one at least: take more simulations or other fractions"
        )
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise UserError(f"split: seed {seed} is out of range; give a whole number from 0 to 4294967295")
    order = np.arange(n_simulations, dtype=np.int64)
    np.random.RandomState(seed).shuffle(order)
    trained, validated, calibrated, tested = np.split(order, np.cumsum([n_train, n_validation, n_calibration]))
    return Split(trained, validated, tested, calibrated)


def _is_number(value: object) -> bool:
    return isinstance(value, float | int | np.floating | np.integer) and not isinstance(value, bool)
