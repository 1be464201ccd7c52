"""What a network has seen, so that it is known again under another name, number or order.

Of every simulation in training, validation and calibration, labelled or not, the weights file keeps the row of
parameters and a digest of each map, by the source that it came from. A digest is made of the pixels whatever their
order: a map that was turned, mirrored, shifted or shuffled has that of its original. Digests of the check
(`data.pixels`) tell such maps apart, as the fingerprint of the data must.

In memory a digest is a text of hexadecimal digits; files have those of a simulation packed, in base64 behind a mark.
"""

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fieldlevel.arrays import FloatArray, IntArray
from fieldlevel.data.digests import Stamp
from fieldlevel.data.map_records import MapRecord
from fieldlevel.data.suite import Suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.layout import Layout, Parameter
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import STRICT
from fieldlevel.suites import are_twins, base_set

N_DIGITS = 12
"""Hexadecimal, of a map: among 15,000 maps and 15,000 others 1e-6 pairs agree by chance."""
_PACKED = "="
"""Before packed digests: neither a hexadecimal digit nor one of base64."""
_SAME = 1e-5
"""Parameters this near are equal: tables are printed to five decimals."""
_COARSE = 100
"""Multiples of 1/100 in Omega_m or sigma_8 are those of grids, fiducial points and one-parameter sets, which
simulations of different seeds share."""

_MOST_SIMULATIONS = 2**31
_AT_A_TIME, _MOST_THREADS = 32, 16
"""Maps whose digests a thread makes at a time, and threads."""

_known: dict[tuple[Stamp, int], str] = {}
"""Digests of the maps of a simulation, by its file and number: many networks are trained and tested on one suite, whose
maps are read for this once in a process."""


@dataclass(frozen=True)
class SeenMaps:
    """Simulations that a network was trained or validated on.

    Attributes:
        parameters: rows of the table, in physical units, (n, P).
        maps: digests of the maps of each simulation, one after the other, (n,); packed ones are unpacked.
        names: of the parameters, (P,).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    parameters: tuple[tuple[float, ...], ...]
    maps: tuple[str, ...]
    names: tuple[str, ...] = Layout().names

    def __post_init__(self) -> None:
        if len(self.parameters) != len(self.maps):
            raise ValueError(f"parameters of {len(self.parameters)} simulations but maps of {len(self.maps)}")
        Layout(tuple(map(Parameter, self.names)))
        if any(len(row) != len(self.names) for row in self.parameters):
            raise ValueError(f"rows that have not {len(self.names)} parameters")
        object.__setattr__(self, "maps", tuple(map(_unpacked, self.maps)))

    @cached_property
    def digests(self) -> frozenset[str]:
        """Of all maps."""
        return frozenset(each for maps in self.maps for each in split_digests(maps))

    def has_maps(self, maps: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which of some maps were seen, (n, N, N) to (n,)."""
        return np.array([digest in self.digests for digest in map_digests(maps)], dtype=bool)

    def has_rows(self, parameters: FloatArray, layout: Layout, *, cosmology_only: bool) -> npt.NDArray[np.bool_]:
        """Which rows of a table are those of simulations that were seen, (n, P) to (n,).

        Compared are the parameters that both have. Rows that occur twice in the table, or one of whose cosmological
        parameters is a multiple of 0.01, prove nothing, nor does the cosmology alone where both have other parameters.

        Args:
            parameters: of all simulations of a suite.
            layout: of the suite.
            cosmology_only: compare the cosmological parameters alone, as with a gravity-only twin.
        """
        cosmological = [parameter.name for parameter in layout.cosmological if parameter.name in self.names]
        shared = cosmological if cosmology_only else [name for name in layout.names if name in self.names]
        both_have_more = min(len(self.names), layout.n_parameters) > len(shared)
        if not shared or (shared == cosmological and both_have_more and not cosmology_only):
            return np.zeros(len(parameters), dtype=bool)
        known = np.array(self.parameters, dtype=float).reshape(-1, len(self.names))
        known = known[:, [self.names.index(name) for name in shared]]
        rows = parameters[:, [layout.column(name) for name in shared]]
        cells = _COARSE * parameters[:, [layout.column(name) for name in cosmological]]
        is_telling = (np.abs(cells - cells.round()) > _COARSE * _SAME).all(axis=1) & (_matches(rows, rows) == 1)
        found: npt.NDArray[np.bool_] = is_telling & (_matches(rows, known) > 0)
        return found


@dataclass(frozen=True)
class SeenSource:
    """What a network has seen of one of the sources that it was trained on.

    Attributes:
        suite: its name.
        set_name: of its simulations.
        labelled: whether the network was told the parameters.
        initial_conditions: whose they are (`Layout.initial_conditions`), empty where nobody knows.
        training: numbers of the simulations in the training set.
        validation: numbers of those that its checkpoint was chosen with; none of a source without labels.
        seen: what all are known by, training first, calibration last; None of weights from before that was kept.
        made_from: what its mock maps were simulated from; None where that is not known, and of others.
        calibration: numbers of the simulations that its standard deviations were calibrated with; labelled ones.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    suite: str
    set_name: str
    labelled: bool
    initial_conditions: str
    training: tuple[int, ...]
    validation: tuple[int, ...]
    seen: SeenMaps | None
    made_from: MapRecord | None = None
    calibration: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= number < _MOST_SIMULATIONS for number in self.numbers):
            raise ValueError("simulations: numbers below zero, or larger than any")
        if len(set(self.numbers)) < len(self.numbers):
            raise ValueError("simulations: one stands there twice")
        if self.calibration and not self.labelled:
            raise ValueError("simulations: nothing can be calibrated with those of a source without labels")
        if self.validation and not self.labelled:
            raise ValueError("simulations: a checkpoint cannot be chosen with those of a source without labels")
        if self.seen is not None and len(self.seen.parameters) != len(self.numbers):
            raise ValueError(f"seen: {len(self.seen.parameters)} simulations, not {len(self.numbers)}")

    @property
    def numbers(self) -> tuple[int, ...]:
        """Of all simulations that were seen."""
        return self.training + self.validation + self.calibration

    def is_twin(self, suite: Suite) -> bool:
        """Whether the suite holds the same simulations, or their gravity-only or hydrodynamic twins."""
        return are_twins(suite.suite, self.suite) and base_set(suite.set_name) == base_set(self.set_name)

    def is_sibling(self, suite: Suite) -> bool:
        """Whether simulations of one number have the same initial conditions."""
        return self.initial_conditions != "" and suite.layout.initial_conditions == self.initial_conditions


def source_in_file(source: SeenSource) -> dict[str, Any]:
    """In types that JSON has, with packed digests: eight characters a map in the place of twelve.

    Example:
        >>> seen = SeenMaps(((0.3, 0.8),), ("0123456789ab",), ("Omega_m", "sigma_8"))
        >>> source_in_file(SeenSource("MockTNG", "LH", True, "", (5,), (), seen))["seen"]["maps"]
        ['=ASNFZ4mr']
    """
    plain = asdict(source)
    if source.seen is not None:
        plain["seen"]["maps"] = [_PACKED + b64encode(bytes.fromhex(digests)).decode() for digests in source.seen.maps]
    return plain


def _unpacked(digests: str) -> str:
    """Hexadecimal digits of the maps of a simulation, given as such or packed."""
    try:
        plain = b64decode(digests[1:], validate=True).hex() if digests.startswith(_PACKED) else digests
    except ValueError:
        plain = digests
    if not re.fullmatch(f"([0-9a-f]{{{N_DIGITS}}})*", plain):
        raise ValueError("digests of maps that are none")
    return plain


def seen_digests(sources: Iterable[SeenSource]) -> frozenset[str]:
    """Digests of all maps of some sources, as far as they were kept."""
    return frozenset().union(*(source.seen.digests for source in sources if source.seen is not None))


def record_seen(suite: Suite, simulations: npt.NDArray[np.integer], listener: Listener = ignore) -> SeenMaps:
    """What there is to keep of the simulations that a network is trained and validated on.

    Args:
        suite: with their true labels.
        simulations: their numbers.
        listener: told about simulations read.
    """
    digests = []
    for each in simulation_digests(suite, simulations):
        digests.append(each)
        listener(Progress(f"record what is seen of {suite.suite}", len(digests), len(simulations), "simulations"))
    rows = tuple(tuple(row) for row in suite.parameters[simulations].tolist())
    return SeenMaps(rows, tuple(digests), suite.layout.names)


def simulation_digests(suite: Suite, simulations: npt.NDArray[np.integer]) -> Iterator[str]:
    """Digests of the maps of each simulation as they are in the file, one after the other (`split_digests`).

    They are made once in a process of a file that stays as it is.
    """
    raw, stamp = suite.transformed(TransformSpec()).blurred(0.0, 0), Stamp.of(suite.files.maps_path)
    for number in map(int, simulations):
        if (digests := _known.get((stamp, number))) is None:
            digests = "".join(map_digests(raw.read_simulation(number)))
            if stamp.is_settled:
                _known[stamp, number] = digests
        yield digests


def split_digests(digests: str) -> list[str]:
    """Those of the single maps, of the digests of a simulation.

    Example:
        >>> split_digests("0123456789abba9876543210")
        ['0123456789ab', 'ba9876543210']
    """
    return [digests[start : start + N_DIGITS] for start in range(0, len(digests), N_DIGITS)]


def find_digests(known: frozenset[str], maps: npt.NDArray[Any]) -> IntArray:
    """Numbers of the maps whose digests are known, of (n, N, N) on disk or in memory, by several threads.

    Example:
        >>> maps = np.random.default_rng(0).random((300, 8, 8))
        >>> find_digests(frozenset(map_digests(maps[[3, 299]])), maps).tolist()
        [3, 299]
    """
    blocks = (maps[start : start + _AT_A_TIME] for start in range(0, len(maps), _AT_A_TIME))
    with ThreadPoolExecutor(min(_MOST_THREADS, os.cpu_count() or 1)) as pool:
        digests = [digest for block in pool.map(map_digests, blocks) for digest in block]
    return np.flatnonzero([digest in known for digest in digests])


def map_digests(maps: npt.NDArray[Any]) -> list[str]:
    """Of each map twelve hexadecimal digits that do not depend on the order of its pixels; empty of a flat map.

    Args:
        maps: (n, N, N); compared as float32.

    Example:
        >>> maps = np.random.default_rng(0).random((2, 8, 8))
        >>> map_digests(maps) == map_digests(np.rot90(maps, axes=(1, 2))), len(set(map_digests(maps)))
        (True, 2)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        pixels = np.ascontiguousarray(maps, dtype="<f4").reshape(len(maps), -1)
    return [_digest(bits) for bits in pixels.view("<u4")]


def _digest(bits: npt.NDArray[np.uint32]) -> str:
    """Of the sums of the bits of the pixels, their squares and their cubes, the latter two modulo 2^32 each."""
    if (bits == bits[0]).all():
        return ""
    squares = bits * bits
    sums = np.array([powers.sum(dtype=np.uint64) for powers in (bits, squares, squares * bits)], dtype="<u8")
    return blake2b(sums.tobytes(), digest_size=N_DIGITS // 2).hexdigest()


def _matches(rows: FloatArray, known: FloatArray) -> npt.NDArray[np.int64]:
    """For each row the number of known ones that are equal to it, (n, P) and (m, P) to (n,)."""
    return np.array([(np.abs(known - row) <= _SAME).all(axis=1).sum() for row in rows], dtype=np.int64)
