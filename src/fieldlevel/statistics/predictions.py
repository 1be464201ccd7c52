"""What a network says of the tested maps beside the truth, and its table on the disk."""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import UserError
from fieldlevel.files import read_table, written_aside
from fieldlevel.layout import Layout
from fieldlevel.parameters import PARAMETER_NAMES, FloatArray

IntArray = npt.NDArray[np.integer]

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets take for a formula and run."""

LARGEST_NUMBER = 2**53
"""Of simulations and maps, up to which a double counts."""

CSV_COLUMNS = ("simulation", "map", *(f"{name}_{kind}" for name in PARAMETER_NAMES for kind in ("true", "mean", "std")))


@dataclass(frozen=True)
class Predictions:
    """Posterior moments of every tested map beside the truth, in physical units.

    Attributes:
        theta: true parameters, shape (n, 6), columns in the order of `PARAMETERS`.
        mean: posterior means, shape (n, 6).
        std: posterior standard deviations, shape (n, 6), not negative.
        simulation: number of the simulation that each map was cut from, shape (n,).
        map_index: number of each map in its file, shape (n,).
        layout: of the tested maps; its parameters are those of the columns.

    Raises:
        UserError: no map, shapes that disagree, a value that is not finite or a negative standard deviation.
    """

    theta: FloatArray
    mean: FloatArray
    std: FloatArray
    simulation: IntArray
    map_index: IntArray
    layout: Layout = field(default_factory=Layout)

    def __post_init__(self) -> None:
        n = len(self.simulation)
        if n == 0:
            raise UserError("predictions: no map was tested; give a suite with at least one test simulation")
        if len(self.map_index) != n:
            raise UserError(f"predictions: {len(self.map_index)} map numbers for {n} maps; give one a map")
        for name in ("theta", "mean", "std"):
            self._check_moments(name, (n, self.layout.n_parameters))
        if (self.std < 0).any():
            row = int(np.argmax((self.std < 0).any(axis=1)))
            raise UserError(f"predictions: std of map {self.map_index[row]} is negative; give standard deviations")

    def _check_moments(self, name: str, shape: tuple[int, int]) -> None:
        values = getattr(self, name)
        if values.shape != shape:
            raise UserError(f"predictions: {name} has shape {values.shape}, not {shape}; give one row a map")
        broken = ~(np.isfinite(values) | (np.isnan(values) & (name == "theta"))).all(axis=1)
        if broken.any():
            first = self.map_index[int(np.argmax(broken))]
            raise UserError(f"predictions: {name} of map {first} is not finite; train the network again")

    @property
    def n_maps(self) -> int:
        """Number of tested maps."""
        return len(self.simulation)

    @property
    def n_simulations(self) -> int:
        """Number of simulations that the tested maps were cut from."""
        return len(np.unique(self.simulation))

    def rows(self) -> list[list[float]]:
        """One row a map, in the order of `CSV_COLUMNS`."""
        moments = np.stack([self.theta, self.mean, self.std], axis=-1).reshape(self.n_maps, -1).astype(float).tolist()
        rows = zip(self.simulation.tolist(), self.map_index.tolist(), moments, strict=True)
        return [[simulation, index, *row] for simulation, index, row in rows]

    def write_csv(self, path: Path) -> None:
        """Write one row a map."""
        write_table(path, CSV_COLUMNS, self.rows())

    @classmethod
    def read_csv(cls, path: Path) -> "Predictions":
        """Read what `write_csv` wrote.

        Raises:
            UserError: file missing, other columns, or a row that is not numbers.
        """
        rows = read_table(path, "evaluate the network again", "table of numbers")
        try:
            table = np.array([[float(value) for value in row.values()] for row in rows])
        except ValueError as error:
            raise UserError(f"{path}: not a table of numbers ({error}); evaluate the network again") from None
        if not rows or tuple(rows[0]) != CSV_COLUMNS:
            raise UserError(f"{path}: columns are not {', '.join(CSV_COLUMNS[:4])}, ...; evaluate the network again")
        if not (np.abs(table[:, :2]) < LARGEST_NUMBER).all():
            raise UserError(f"{path}: numbers of simulations or maps that cannot be; evaluate the network again")
        try:
            return cls.from_table(table)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def from_table(cls, table: FloatArray) -> "Predictions":
        """What `rows` gives, shape (n, 20), as predictions again."""
        moments = table[:, 2:].reshape(len(table), len(PARAMETER_NAMES), 3)
        numbers = table[:, :2].astype(np.int64)
        return cls(moments[..., 0], moments[..., 1], moments[..., 2], numbers[:, 0], numbers[:, 1])


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file; every number reads back to the same double, and no text is taken for a formula."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([columns, *(map(_cell, row) for row in rows)])


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
