"""What a network says of the tested maps beside the truth, and its table on the disk.

The table has a row a map: `simulation`, `map`, then `<name>_true`, `<name>_mean` and `<name>_std` of each parameter.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.errors import UserError
from fieldlevel.files import read_table, written_aside
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""How a text begins that spreadsheets take for a formula and run."""

LARGEST_NUMBER = 2**53
"""Of simulations and maps, up to which a double counts."""

NUMBER_COLUMNS = ("simulation", "map")
_MOMENTS = ("true", "mean", "std")


def csv_columns(layout: Layout) -> tuple[str, ...]:
    """Columns of the table of predictions of these parameters.

    Example:
        >>> csv_columns(Layout().select(["sigma_8"]))
        ('simulation', 'map', 'sigma_8_true', 'sigma_8_mean', 'sigma_8_std')
    """
    return _columns(layout.names)


def _columns(names: Sequence[str]) -> tuple[str, ...]:
    return (*NUMBER_COLUMNS, *(f"{name}_{kind}" for name in names for kind in _MOMENTS))


@dataclass(frozen=True)
class Predictions:
    """Posterior moments of every tested map beside the truth, in physical units.

    Attributes:
        theta: true parameters, shape (n, P), columns in the order of the layout's parameters; a column of NaN where
            the tested simulations do not have the parameter, so that there is no truth.
        mean: posterior means, shape (n, P).
        std: posterior standard deviations, shape (n, P), not negative.
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
        unknown = np.isnan(values).all(axis=0) if name == "theta" else np.zeros(shape[1], dtype=bool)
        broken = ~(np.isfinite(values) | unknown).all(axis=1)
        if broken.any():
            first = self.map_index[int(np.argmax(broken))]
            raise UserError(f"predictions: {name} of map {first} is not finite; train the network again")

    def __repr__(self) -> str:
        return (
            f"<Predictions of {self.n_maps} maps of {self.n_simulations} simulations: {', '.join(self.layout.names)}>"
        )

    @property
    def n_maps(self) -> int:
        """Number of tested maps."""
        return len(self.simulation)

    @property
    def n_simulations(self) -> int:
        """Number of simulations that the tested maps were cut from."""
        return len(np.unique(self.simulation))

    def moments_of(self, name: str) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Truth, posterior mean and standard deviation of one parameter, each of shape (n,).

        Raises:
            UserError: there is no parameter of that name.
        """
        column = self.layout.column(name)
        return self.theta[:, column], self.mean[:, column], self.std[:, column]

    def rows(self) -> list[list[float]]:
        """One row a map, in the order of `csv_columns`."""
        moments = np.stack([self.theta, self.mean, self.std], axis=-1).reshape(self.n_maps, -1).astype(float).tolist()
        rows = zip(self.simulation.tolist(), self.map_index.tolist(), moments, strict=True)
        return [[simulation, index, *row] for simulation, index, row in rows]

    def write_csv(self, path: Path) -> None:
        """Write one row a map."""
        write_table(path, csv_columns(self.layout), self.rows())

    @classmethod
    def read_csv(cls, path: Path, layout: Layout | None = None) -> "Predictions":
        """Read what `write_csv` wrote.

        Args:
            path: the table.
            layout: of the tested maps. Without one it is that of CAMELS with the parameters that the header names:
                those that CAMELS has with their priors, others with the span of their truths in the table (of their
                means where there is no truth) in the place of a prior, which no table tells.

        Raises:
            UserError: file missing, other columns, or a row that is not numbers.
        """
        rows = read_table(path, "evaluate the network again", "table of numbers")
        try:
            table = np.array([[float(value) for value in row.values()] for row in rows])
        except ValueError as error:
            raise UserError(f"{path}: not a table of numbers ({error}); evaluate the network again") from None
        header = tuple(rows[0]) if rows else ()
        names = layout.names if layout else _names_in(header)
        if not names or header != _columns(names):
            expected = csv_columns(layout or Layout())
            raise UserError(f"{path}: columns are not {', '.join(expected[:4])}, ...; evaluate the network again")
        if not (np.abs(table[:, :2]) < LARGEST_NUMBER).all():
            raise UserError(f"{path}: numbers of simulations or maps that cannot be; evaluate the network again")
        try:
            return cls.from_table(table, layout or _layout_of(names, table))
        except UserError as error:
            raise UserError(f"{path}: {error}") from None

    @classmethod
    def from_table(cls, table: FloatArray, layout: Layout = Layout()) -> "Predictions":
        """What `rows` gives, shape (n, 2 + 3 P), as predictions again."""
        moments = table[:, len(NUMBER_COLUMNS) :].reshape(len(table), layout.n_parameters, len(_MOMENTS))
        numbers = table[:, :2].astype(np.int64)
        return cls(moments[..., 0], moments[..., 1], moments[..., 2], numbers[:, 0], numbers[:, 1], layout)


def _names_in(header: Sequence[str]) -> tuple[str, ...]:
    """Parameters of a table, by what should be the columns of their truths."""
    return tuple(column.removesuffix("_true") for column in header[len(NUMBER_COLUMNS) :: len(_MOMENTS)])


def _layout_of(names: Sequence[str], table: FloatArray) -> Layout:
    """That of CAMELS with the parameters of a table."""
    moments = table[:, len(NUMBER_COLUMNS) :].reshape(len(table), len(names), len(_MOMENTS))
    parameters = (_parameter(name, moments[:, column]) for column, name in enumerate(names))
    return replace(Layout(), parameters=tuple(parameters))


def _parameter(name: str, moments: FloatArray) -> Parameter:
    """One that CAMELS has, maybe of a suite alone, else one of unknown prior with the span of its truths or means."""
    base, _, suite = name.partition("[")
    if (known := next((each for each in CAMELS_PARAMETERS if each.name == base), None)) is not None:
        return known.of_suite(suite.removesuffix("]")) if suite else known
    told = moments[:, 0] if np.isfinite(moments[:, 0]).all() else moments[:, 1]
    low, high = (float(edge) for edge in (told.min(), told.max()))
    return Parameter(name, low=low, high=high if high > low else np.nextafter(low, np.inf))


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file; every number reads back to the same double, and no text is taken for a formula."""
    with written_aside(path) as aside, aside.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([columns, *(map(_cell, row) for row in rows)])


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
