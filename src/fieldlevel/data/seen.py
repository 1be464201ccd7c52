"""What a network has seen, so that it is known again under another name, number or order.

Of every simulation in training and validation the weights file keeps the row of parameters and a digest of each map.
A digest is made of the pixels whatever their order: a map that was turned, mirrored, shifted or shuffled has that of
its original. Digests of the check (`data.pixels`) tell such maps apart, as the fingerprint of the data must.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fieldlevel.data.suite import Suite
from fieldlevel.data.transform_spec import TransformSpec
from fieldlevel.parameters import COSMOLOGICAL_COLUMNS, PARAMETER_NAMES, FloatArray
from fieldlevel.progress import Listener, Progress, ignore
from fieldlevel.spec_io import STRICT

N_DIGITS = 12
"""Hexadecimal, of a map: among 15,000 maps and 15,000 others 1e-6 pairs agree by chance."""
_SAME = 1e-5
"""Parameters this near are equal: tables are printed to five decimals."""
_COARSE = 100
"""Multiples of 1/100 in Omega_m or sigma_8 are those of grids, fiducial points and one-parameter sets, which
simulations of different seeds share."""

_recorded: dict[tuple[str, int], str] = {}
"""Digests of the maps of a simulation, by the fingerprint of its suite and its number: many networks are trained on one
suite, whose maps are read for this once in a process."""


@dataclass(frozen=True)
class SeenMaps:
    """Simulations that a network was trained or validated on.

    Attributes:
        parameters: rows of the table, in physical units, (n, 6).
        maps: digests of the maps of each simulation, one after the other, (n,).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    parameters: tuple[tuple[float, ...], ...]
    maps: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.parameters) != len(self.maps):
            raise ValueError(f"parameters of {len(self.parameters)} simulations but maps of {len(self.maps)}")
        if any(len(row) != len(PARAMETER_NAMES) for row in self.parameters):
            raise ValueError(f"rows that have not {len(PARAMETER_NAMES)} parameters")
        if not all(re.fullmatch(f"([0-9a-f]{{{N_DIGITS}}})*", digests) for digests in self.maps):
            raise ValueError("digests of maps that are none")

    @cached_property
    def digests(self) -> frozenset[str]:
        """Of all maps."""
        starts = range(0, max(map(len, self.maps), default=0), N_DIGITS)
        return frozenset(each for maps in self.maps for start in starts if (each := maps[start : start + N_DIGITS]))

    def has_maps(self, maps: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Which of some maps were seen, (n, N, N) to (n,)."""
        return np.array([digest in self.digests for digest in map_digests(maps)], dtype=bool)

    def has_rows(self, parameters: FloatArray, *, cosmology_only: bool) -> npt.NDArray[np.bool_]:
        """Which rows of a table are those of simulations that were seen, (n, 6) to (n,).

        Rows that occur twice in the table, or whose Omega_m or sigma_8 is a multiple of 0.01, prove nothing.

        Args:
            parameters: of all simulations of a suite.
            cosmology_only: compare Omega_m and sigma_8 alone, as with a gravity-only twin.
        """
        columns = COSMOLOGICAL_COLUMNS if cosmology_only else list(range(len(PARAMETER_NAMES)))
        known = np.array(self.parameters, dtype=float).reshape(-1, len(PARAMETER_NAMES))[:, columns]
        rows = parameters[:, columns]
        cells = _COARSE * parameters[:, COSMOLOGICAL_COLUMNS]
        is_telling = (np.abs(cells - cells.round()) > _COARSE * _SAME).all(axis=1) & (_matches(rows, rows) == 1)
        found: npt.NDArray[np.bool_] = is_telling & (_matches(rows, known) > 0)
        return found


def record_seen(suite: Suite, simulations: npt.NDArray[np.integer], listener: Listener = ignore) -> SeenMaps:
    """What there is to keep of the simulations that a network is trained and validated on.

    Args:
        suite: with their true labels.
        simulations: their numbers.
        listener: told about simulations read.
    """
    raw, fingerprint = suite.transformed(TransformSpec()), suite.fingerprint
    digests = []
    for done, number in enumerate(map(int, simulations), start=1):
        if (fingerprint, number) not in _recorded:
            _recorded[fingerprint, number] = "".join(map_digests(raw.read_simulation(number)))
        digests.append(_recorded[fingerprint, number])
        listener(Progress(f"remember {suite.suite}", done, len(simulations), "simulations"))
    rows = tuple(tuple(row) for row in suite.parameters[simulations].tolist())
    return SeenMaps(rows, tuple(digests))


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
