"""Which simulations a set holds: a label and a seed for each.

LH: the 1,000 rows of the real CAMELS latin hypercube that a mock suite borrows, so mock and real share their labels.
CV: 27 simulations at the fiducial point that differ in their seed alone.
1P: one parameter at a time, the other five fiducial, one seed for all. The first CAMELS release gave each parameter
eleven values over its prior range, uniform in Omega_m and sigma_8, uniform in the logarithm of the others and rounded
to five decimals; the fiducial simulation, in the middle of each eleven, is the same six times and stands here once,
with Omega_m, so that 61 rows remain (later releases have five values of each parameter).

Mock CV and 1P simulations have seeds of their own, away from those of LH: CAMELS takes 1 to 27 and 67 there, which
occur in the LH of IllustrisTNG too, and a network would meet initial conditions that it was trained on.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (the sets); the parameter tables of the CAMELS
    repository (`same_seed_params.txt`, `CosmoAstroSeed_*.txt`).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np

from fieldlevel.errors import UserError, shown
from fieldlevel.files import read_bytes
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import facts_of, layout_of, mock_suites

_N_CV = 27
_VALUES_EACH = 11
_CV_SEED, _1P_SEED, _TABLE_SEED = 10_001, 10_067, 1_000_000_000
_LOWEST_SIGMA_8, _HIGHEST_SIGMA_8 = 0.01, 2.0
_STRONGEST_FEEDBACK = 1000.0
_SIMULATED = tuple(parameter.name for parameter in CAMELS_PARAMETERS)
"""What a simulation follows from: cosmology and feedback, in the order of `Row.parameters`."""
_USUAL = Layout()


@dataclass(frozen=True)
class Row:
    """One simulation of a set: its label and its random seed."""

    parameters: tuple[float, ...]
    seed: int


def layout_of_spec(spec: SimulateSpec, suite: str) -> Layout:
    """What the maps of one of a spec's suites are.

    Raises:
        UserError: a suite that is not registered as one to be simulated, or has other parameters than a simulation.
    """
    if suite not in mock_suites():
        raise UserError(f"suite = {shown(suite)}: allowed are {', '.join(mock_suites())}")
    layout = layout_of(suite, spec.set_name)
    if layout.names != _SIMULATED:
        given = ", ".join(layout.names[:10])
        raise UserError(f"suite {suite}: its parameters are {given}; register it with {', '.join(_SIMULATED)}")
    return layout


def rows_of_set(spec: SimulateSpec, suite: str) -> list[Row]:
    """The simulations of a spec's set in one of its suites, as many as it asks for.

    Args:
        spec: set, table of the user's own, number of simulations.
        suite: whose feedback the labels have.

    Returns:
        The first `n_simulations` rows, all if it is None.

    Raises:
        UserError: unknown suite or set, a table that cannot be used, more simulations than there are.

    Example:
        >>> rows_of_set(SimulateSpec(set_name="1P", n_simulations=2), "MockTNG")[1]
        Row(parameters=(0.14, 0.8, 1.0, 1.0, 1.0, 1.0), seed=10067)
    """
    rows = _all_rows(spec, suite)
    if spec.n_simulations is None:
        return rows
    if not 1 <= spec.n_simulations <= len(rows):
        raise UserError(f"n_simulations = {spec.n_simulations}: allowed are 1 to {len(rows)}, the rows of the set")
    return rows[: spec.n_simulations]


def pinned(spec: SimulateSpec) -> SimulateSpec:
    """The spec with the number of simulations in place of None and the content of the table in place of its path.

    Two specs give the same maps if and only if their pinned specs are equal.

    Raises:
        UserError: as `rows_of_set`.
    """
    return replace(spec, n_simulations=len(rows_of_set(spec, spec.suites[0])), parameters=_digest_of_table(spec))


def describe_labels(spec: SimulateSpec, suite: str) -> str:
    """Where the labels of one of a spec's suites come from, in words.

    Example:
        >>> describe_labels(SimulateSpec(n_simulations=10), "MockTNG")
        'rows 0 to 9 of the CAMELS latin hypercube of IllustrisTNG'
    """
    sources = {
        "LH": f"the CAMELS latin hypercube of {facts_of(suite).label_table}",
        "CV": "the fiducial point with different seeds",
        "1P": "the CAMELS values of one parameter at a time",
    }
    source = Path(spec.parameters).name if spec.parameters else sources[spec.set_name]
    return f"rows 0 to {len(rows_of_set(spec, suite)) - 1} of {source}"


def _digest_of_table(spec: SimulateSpec) -> str | None:
    return spec.parameters and f"sha256:{hashlib.sha256(_read_bytes(Path(spec.parameters))).hexdigest()}"


def _all_rows(spec: SimulateSpec, suite: str) -> list[Row]:
    layout = layout_of_spec(spec, suite)
    if spec.parameters is None:
        if spec.set_name not in SETS:
            raise UserError(f"set {spec.set_name!r}: unknown; allowed: {', '.join(SETS)}, others with parameters=FILE")
        return SETS[spec.set_name](suite, layout)
    if spec.set_name in SETS or not re.fullmatch(r"[A-Za-z0-9]+", spec.set_name):
        raise UserError(
            f"set {spec.set_name!r}: give the simulations of {spec.parameters} a set name of their own, letters and "
            f"digits, other than {', '.join(SETS)}"
        )
    return read_table(Path(spec.parameters), layout)


def latin_hypercube(suite: str, _layout: Layout = _USUAL) -> list[Row]:
    """The 1,000 rows of the real CAMELS latin hypercube that a mock suite borrows.

    Raises:
        UserError: the suite was registered with no such table.

    Example:
        >>> latin_hypercube("MockSIMBA")[0]
        Row(parameters=(0.1462, 0.6242, 2.87986, 0.57995, 0.91447, 0.69786), seed=5000)
    """
    whose = facts_of(suite).label_table
    path = resources.files("fieldlevel.simulate") / "data" / f"CosmoAstroSeed_{whose}_L25n256_LH.txt"
    if not (re.fullmatch(r"\w+", whose) and path.is_file()):
        told = f"suite {suite}: no latin hypercube of {shown(whose) or 'any suite'} comes with the package"
        raise UserError(f"{told}; register it with label_table IllustrisTNG or SIMBA, or give parameters=FILE")
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [Row(tuple(float(value) for value in line[1:7]), int(line[7])) for line in lines]


def cosmic_variance(_suite: str, layout: Layout = _USUAL) -> list[Row]:
    """27 simulations at the fiducial point, the same initial conditions in every suite."""
    return [Row(_fiducial(layout), _CV_SEED + number) for number in range(_N_CV)]


def _fiducial(layout: Layout) -> tuple[float, ...]:
    lacking = [parameter.name for parameter in layout.parameters if parameter.fiducial is None]
    if lacking:
        raise UserError(f"no fiducial value of {', '.join(lacking)}; register the suite with one")
    return tuple(parameter.fiducial for parameter in layout.parameters if parameter.fiducial is not None)


def one_parameter(_suite: str, layout: Layout = _USUAL) -> list[Row]:
    """61 simulations that share their seed: eleven values of each parameter in turn, the fiducial point only once."""
    fiducial = _fiducial(layout)
    points = [
        (*fiducial[:column], value, *fiducial[column + 1 :])
        for column, parameter in enumerate(layout.parameters)
        for value in _values_of(parameter)
    ]
    return [Row(point, _1P_SEED) for point in dict.fromkeys(points)]


def _values_of(parameter: Parameter) -> list[float]:
    spaced = np.geomspace if parameter.logarithmic else np.linspace
    return [round(float(value), 5) for value in spaced(parameter.low, parameter.high, _VALUES_EACH)]


SETS: Mapping[str, Callable[[str, Layout], list[Row]]] = {
    "LH": latin_hypercube,
    "CV": cosmic_variance,
    "1P": one_parameter,
}
"""The sets that need no table, by name."""


def read_table(path: Path, layout: Layout = _USUAL) -> list[Row]:
    """Read simulations of the user's own.

    Args:
        path: text, a row a simulation: the six parameters in the order of the layout and, if wanted, a seed, between
            blanks or commas; what follows `#` is a comment. Rows without a seed take one from their number.
        layout: of the suite.

    Returns:
        The rows.

    Raises:
        UserError: no such file or no rows, or a row that cannot be simulated, by number and line.
    """
    lines = _read_bytes(path).decode("utf-8-sig", errors="replace").splitlines()
    stripped = ((line, text.partition("#")[0].replace(",", " ").split()) for line, text in enumerate(lines, start=1))
    filled = [(line, words) for line, words in stripped if words]
    if not filled:
        raise UserError(f"{path}: no rows; one row a simulation is expected: {' '.join(layout.names)} [seed]")
    rows: dict[Row, int] = {}
    for number, (line, words) in enumerate(filled):
        row = _read_row(words, number, f"{path}: row {number} (line {line})", layout)
        if row in rows:
            raise UserError(f"{path}: rows {rows[row]} and {number} are the same simulation; take one away")
        rows[row] = number
    return list(rows)


def _read_bytes(path: Path) -> bytes:
    return read_bytes(path, "name a table of parameters")


def _read_row(words: list[str], number: int, where: str, layout: Layout) -> Row:
    n_columns = layout.n_parameters
    if len(words) not in (n_columns, n_columns + 1):
        raise UserError(f"{where}: {len(words)} columns; give {' '.join(layout.names)} and, if wanted, a seed")
    values = tuple(_read_number(word, where) for word in words[:n_columns])
    for defect in _defects(values, layout):
        raise UserError(f"{where}: {defect}")
    if len(words) == n_columns:
        return Row(values, _TABLE_SEED + number)
    if not re.fullmatch(r"\d{1,18}", words[-1]):
        raise UserError(f"{where}: seed {words[-1]!r}; give a whole number of at most 18 digits")
    return Row(values, int(words[-1]))


def _read_number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise UserError(f"{where}: {word!r} is not a number; mend the row") from None


def _defects(values: tuple[float, ...], layout: Layout) -> Iterator[str]:
    Omega_m, sigma_8, *feedback = values
    lowest, highest = layout.parameters[0].low, layout.parameters[0].high
    if not lowest <= Omega_m <= highest:
        yield f"Omega_m = {Omega_m:g}: allowed are {lowest:g} to {highest:g}, which the linear power spectrum covers"
    if not _LOWEST_SIGMA_8 <= sigma_8 <= _HIGHEST_SIGMA_8:
        yield f"sigma_8 = {sigma_8:g}: allowed are {_LOWEST_SIGMA_8:g} to {_HIGHEST_SIGMA_8:g}"
    weakest, strongest = 1 / _STRONGEST_FEEDBACK, _STRONGEST_FEEDBACK
    for name, value in zip(layout.names[2:], feedback, strict=True):
        if not weakest <= value <= strongest:
            yield f"{name} = {value:g}: allowed are positive numbers from {weakest:g} to {strongest:g}"
