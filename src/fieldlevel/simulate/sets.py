"""Which simulations a set holds: a label and a seed for each.

LH, LH<word>: latin hypercubes of any size (`fieldlevel.simulate.designs`), which share nothing with one another.
CV: 27 simulations at the fiducial point that differ in their seed alone.
1P: one parameter at a time, the other five fiducial, one seed for all. The first CAMELS release gave each parameter
eleven values over its prior range, uniform in Omega_m and sigma_8, uniform in the logarithm of the others and rounded
to five decimals; the fiducial simulation, in the middle of each eleven, is the same six times and stands here once,
with Omega_m, so that 61 rows remain (later releases have five values of each parameter). `n_seeds` repeats all rows
with other initial conditions, a block of rows each, and `n_values` takes other numbers of values: k-th among equal rows
are those of the k-th initial conditions.
EX: four extremes of feedback with one seed: the fiducial one, A_AGN1 = 100, A_SN1 = 100, and none. CAMELS writes none
as 0 0 0 0; the models here are powers of the parameters, so it is the weakest feedback that they allow, 0.001 each.

Row i of a set is one universe in all mock suites: Omega_m, sigma_8 and the seed do not depend on the suite, in a table
of the user's own nor the feedback. 1P and the hypercubes vary feedback over the ranges of each suite. A set that is
done again, with other particles (`fieldlevel.suites.base_set`), has the rows of the one that it repeats.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (the sets).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fieldlevel.errors import UserError, shown
from fieldlevel.files import read_bytes
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.simulate.designs import USUAL_ROWS, first_seed, latin_hypercube
from fieldlevel.simulate.simulate_spec import SimulateSpec
from fieldlevel.suites import (
    MOCK_TWIN,
    base_set,
    hydro_twins,
    is_hypercube,
    is_nbody,
    layout_of,
    mock_suites,
    nbody_twin,
    particles_named,
)

_N_CV = 27
VALUES_EACH = 11
MOST_CONDITIONS, MOST_VALUES = 1000, 101
"""Of the set 1P: initial conditions, and values of each parameter."""
_CV_SEED, _1P_SEED, _EX_SEED = 10_001, 10_067, 10_068
_LOWEST_SIGMA_8, _HIGHEST_SIGMA_8 = 0.01, 2.0
_STRONGEST_FEEDBACK = 1000.0
_EXTREME = 100.0
_SIMULATED = tuple(parameter.name for parameter in CAMELS_PARAMETERS)
"""What a simulation follows from: cosmology and feedback, in the order of `Row.parameters`."""
_USUAL, _USUAL_SPEC = Layout(), SimulateSpec()
_SET_NAMES = "LH, LH<word>, CV, 1P, EX"


@dataclass(frozen=True)
class Row:
    """One simulation of a set: its label and its random seed."""

    parameters: tuple[float, ...]
    seed: int


def check_suite(suite: str) -> None:
    """Refuse a suite that is not registered as one to be simulated, among them gravity-only ones.

    Raises:
        UserError: with those that are.
    """
    if suite not in mock_suites():
        raise UserError(f"suite = {shown(suite)}: allowed are {', '.join(mock_suites())}")


def layout_of_spec(spec: SimulateSpec, suite: str) -> Layout:
    """What the maps are of a suite, or of the gravity-only twin of one, that a spec simulates.

    Raises:
        UserError: a suite that is not registered as one to be simulated, or has other parameters than a simulation.
    """
    if suite in map(nbody_twin, mock_suites()):
        return layout_of(suite, spec.set_name)
    check_suite(suite)
    layout = layout_of(suite, spec.set_name)
    if layout.names != _SIMULATED:
        given = ", ".join(layout.names[:10])
        raise UserError(f"suite {suite}: its parameters are {given}; register it with {', '.join(_SIMULATED)}")
    for ours, shared in zip(layout.parameters, layout_of(MOCK_TWIN).parameters, strict=False):
        if (ours.low, ours.high) != (shared.low, shared.high):
            told = f"{ours.name} from {ours.low:g} to {ours.high:g}, but all mock suites have the same universes"
            raise UserError(f"suite {suite}: {told}; register it with {shared.low:g} to {shared.high:g}")
    return layout


def rows_of_set(spec: SimulateSpec, suite: str) -> list[Row]:
    """The simulations of a spec's set, as many as it asks for.

    Args:
        spec: set, table of the user's own, number of simulations.
        suite: whose labels, or the gravity-only twin, whose rows have the cosmology alone.

    Returns:
        The first `n_simulations` rows of the set, all if it is None. A latin hypercube has `n_hypercube` rows, or
        `n_simulations`, or 1,000.

    Raises:
        UserError: unknown suite or set, a table that cannot be used, more simulations than there are.

    Example:
        >>> rows_of_set(SimulateSpec(set_name="1P", n_simulations=2), "MockTNG")[1]
        Row(parameters=(0.14, 0.8, 1.0, 1.0, 1.0, 1.0), seed=10067)
        >>> rows_of_set(SimulateSpec(set_name="1P", n_simulations=2), "Nbody_Mock")[1]
        Row(parameters=(0.14, 0.8), seed=10067)
    """
    layout = layout_of_spec(spec, suite)
    if is_nbody(suite):
        rows = rows_of_set(spec, hydro_twins(suite)[0])
        return [Row(row.parameters[: layout.n_parameters], row.seed) for row in rows]
    _check_name(spec)
    name, n = base_set(spec.set_name), spec.n_simulations
    _refuse_blocks(spec, name)
    if spec.parameters is None and is_hypercube(name):
        table = latin_hypercube(name, n_of_hypercube(spec), suite, layout)
        rows = [Row(tuple(row), seed) for seed, row in enumerate(table.tolist(), start=first_seed(name))]
        return rows[: _checked_number(n, rows)]
    if spec.n_hypercube is not None:
        told = f"set {spec.set_name} is no latin hypercube"
        raise UserError(f"n_hypercube = {spec.n_hypercube}: {told}; leave it out")
    given = spec.parameters
    rows = _made_rows(spec, name, layout) if given is None else read_table(Path(given), layout, name)
    return rows[: _checked_number(n, rows)]


def _made_rows(spec: SimulateSpec, name: str, layout: Layout) -> list[Row]:
    return one_parameter(layout, *_blocks(spec)) if name == "1P" else SETS[name](layout)


def _blocks(spec: SimulateSpec) -> tuple[int, int]:
    """Initial conditions of the set 1P, and values of each parameter."""
    return spec.n_seeds or 1, spec.n_values or VALUES_EACH


def _refuse_blocks(spec: SimulateSpec, name: str) -> None:
    """Refuse numbers of initial conditions or values that cannot be, and those of a set other than 1P."""
    for setting, allowed, words in (
        ("n_seeds", range(1, MOST_CONDITIONS + 1), f"1 to {MOST_CONDITIONS}"),
        ("n_values", range(3, MOST_VALUES + 1, 2), f"3, 5, 7, ... to {MOST_VALUES}"),
    ):
        given = getattr(spec, setting)
        if given is not None and name != "1P":
            raise UserError(f"{setting} = {given}: set {spec.set_name} is not 1P; leave it out")
        if given is not None and given not in allowed:
            raise UserError(f"{setting} = {given}: allowed are {words}")


def n_of_hypercube(spec: SimulateSpec) -> int:
    """Rows of a spec's latin hypercube."""
    given = (each for each in (spec.n_hypercube, spec.n_simulations) if each is not None)
    return next(given, USUAL_ROWS)


def _checked_number(n: int | None, rows: Sequence[Row]) -> int | None:
    if n is not None and not 1 <= n <= len(rows):
        raise UserError(f"n_simulations = {n}: allowed are 1 to {len(rows)}, the rows of the set")
    return n


def pinned(spec: SimulateSpec) -> SimulateSpec:
    """The spec with the number of simulations in place of None and the content of the table in place of its path.

    Two specs give the same maps of a suite if and only if their pinned specs are equal. All suites have as many rows.

    Raises:
        UserError: as `rows_of_set`.
    """
    n_simulations = len(rows_of_set(spec, MOCK_TWIN))
    n_hypercube = None if spec.n_hypercube == n_simulations else spec.n_hypercube
    n_seeds, n_values = (
        n if n != usual else None for n, usual in zip(_blocks(spec), _blocks(_USUAL_SPEC), strict=True)
    )
    return replace(
        spec,
        n_simulations=n_simulations,
        n_hypercube=n_hypercube,
        n_seeds=n_seeds,
        n_values=n_values,
        parameters=_digest_of_table(spec),
    )


def describe_labels(spec: SimulateSpec, suite: str) -> str:
    """Where the labels of a suite come from, in words.

    Example:
        >>> describe_labels(SimulateSpec(n_simulations=10), "MockTNG")
        'rows 0 to 9 of the latin hypercube LH of 10 simulations, with the feedback of MockTNG'
    """
    name, n = base_set(spec.set_name), len(rows_of_set(spec, suite))
    whose = "" if is_nbody(suite) else f", with the feedback of {suite}"
    sources = {
        "CV": "the fiducial point with different seeds",
        "1P": f"{_values_in_words(spec)} of one parameter at a time{whose}",
        "EX": "the extremes of feedback",
    }
    of_set = sources.get(name, f"the latin hypercube {name} of {n_of_hypercube(spec)} simulations{whose}")
    return f"rows 0 to {n - 1} of {Path(spec.parameters).name if spec.parameters else of_set}"


def _values_in_words(spec: SimulateSpec) -> str:
    n_seeds, n_values = _blocks(spec)
    values = "the CAMELS values" if n_values == VALUES_EACH else f"{n_values} values"
    return values if n_seeds == 1 else f"{values}, from {n_seeds} initial conditions each,"


def _digest_of_table(spec: SimulateSpec) -> str | None:
    return spec.parameters and f"sha256:{hashlib.sha256(_read_bytes(Path(spec.parameters))).hexdigest()}"


def _check_name(spec: SimulateSpec) -> None:
    """Refuse a name of a set that does not go with its table, or states another number of particles."""
    base, is_word = base_set(spec.set_name), re.fullmatch(r"[A-Za-z0-9]+", spec.set_name) is not None
    is_made = base in SETS or is_hypercube(base)
    if base_set(base) != base:
        raise UserError(f"set {spec.set_name!r}: its name says twice how {base_set(base)} is done again; say it once")
    if spec.parameters is None and not (is_word and is_made):
        raise UserError(f"set {spec.set_name!r}: unknown; allowed: {_SET_NAMES}, others with parameters=FILE")
    if spec.parameters is not None and (is_made or not is_word):
        raise UserError(
            f"set {spec.set_name!r}: give the simulations of {spec.parameters} a set name of their own, letters and "
            f"digits, other than {_SET_NAMES}"
        )
    if particles_named(spec.set_name) not in (None, spec.n_particles):
        told = f"its name says {particles_named(spec.set_name)} particles a side, n_particles = {spec.n_particles}"
        raise UserError(f"set {spec.set_name!r}: {told}; give another name, or as many particles")


def cosmic_variance(layout: Layout = _USUAL) -> list[Row]:
    """27 simulations at the fiducial point, the same initial conditions in every suite."""
    return [Row(_fiducial(layout), _CV_SEED + number) for number in range(_N_CV)]


def _fiducial(layout: Layout) -> tuple[float, ...]:
    lacking = [parameter.name for parameter in layout.parameters if parameter.fiducial is None]
    if lacking:
        raise UserError(f"no fiducial value of {', '.join(lacking)}; register the suite with one")
    return tuple(parameter.fiducial for parameter in layout.parameters if parameter.fiducial is not None)


def one_parameter(layout: Layout = _USUAL, n_seeds: int = 1, n_values: int = VALUES_EACH) -> list[Row]:
    """Some values of each parameter in turn, the fiducial point only once, in blocks that share their seed.

    Args:
        layout: ranges and fiducial values.
        n_seeds: blocks; the first has the seed that the set has alone.
        n_values: of each parameter, an odd number; 61 simulations a block of eleven.
    """
    fiducial = _fiducial(layout)
    points = [
        (*fiducial[:column], value, *fiducial[column + 1 :])
        for column, parameter in enumerate(layout.parameters)
        for value in _values_of(parameter, n_values)
    ]
    seeds = [_1P_SEED, *(first_seed("1P") + block for block in range(1, n_seeds))]
    return [Row(point, seed) for seed in seeds for point in dict.fromkeys(points)]


def _values_of(parameter: Parameter, n_values: int) -> list[float]:
    spaced = np.geomspace if parameter.logarithmic else np.linspace
    return [round(float(value), 5) for value in spaced(parameter.low, parameter.high, n_values)]


def extremes(layout: Layout = _USUAL) -> list[Row]:
    """The fiducial feedback, the strongest of AGN and of supernovae, and the weakest, with one seed."""
    fiducial = dict(zip(layout.names, _fiducial(layout), strict=True))
    none = {parameter.name: 1 / _STRONGEST_FEEDBACK for parameter in layout.parameters if not parameter.cosmological}
    changes: list[dict[str, float]] = [{}, {"A_AGN1": _EXTREME}, {"A_SN1": _EXTREME}, none]
    return [Row(tuple((fiducial | change).values()), _EX_SEED) for change in changes]


SETS: Mapping[str, Callable[[Layout], list[Row]]] = {"CV": cosmic_variance, "1P": one_parameter, "EX": extremes}
"""The sets that are no latin hypercubes and need no table, by name."""


def read_table(path: Path, layout: Layout = _USUAL, set_name: str = "") -> list[Row]:
    """Read simulations of the user's own.

    Args:
        path: text, a row a simulation: the six parameters in the order of the layout and, if wanted, a seed, between
            blanks or commas; what follows `#` is a comment. Rows without a seed take one from the set and their number.
        layout: of the suite.
        set_name: of the set that the table is.

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
        row = _read_row(words, first_seed(set_name) + number, f"{path}: row {number} (line {line})", layout)
        if row in rows:
            raise UserError(f"{path}: rows {rows[row]} and {number} are the same simulation; take one away")
        rows[row] = number
    return list(rows)


def _read_bytes(path: Path) -> bytes:
    return read_bytes(path, "name a table of parameters")


def _read_row(words: list[str], usual_seed: int, where: str, layout: Layout) -> Row:
    n_columns = layout.n_parameters
    if len(words) not in (n_columns, n_columns + 1):
        raise UserError(f"{where}: {len(words)} columns; give {' '.join(layout.names)} and, if wanted, a seed")
    values = tuple(_read_number(word, where) for word in words[:n_columns])
    for defect in _defects(values, layout):
        raise UserError(f"{where}: {defect}")
    if len(words) == n_columns:
        return Row(values, usual_seed)
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
