"""Particle snapshots of GADGET, AREPO, GIZMO and SWIFT, all in the same units.

A `Snapshot` knows its box, cosmology and numbers of particles; particles are read by kind, whole or in chunks, as
comoving Mpc/h, Msun/h and peculiar km/s, whatever units the code writes. Types 0, 4 and 5 are gas, stars and black
holes, the others dark matter; type 3 only where it has positions and masses (IllustrisTNG keeps tracers there).

References:
    Springel 2005, arXiv:astro-ph/0505010 (GADGET-2); Nelson et al. 2019, arXiv:1812.05609 (IllustrisTNG data release);
    Villaescusa-Navarro et al. 2021, arXiv:2010.00619 (CAMELS).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fieldlevel.errors import DataError, UserError
from fieldlevel.layout import CRITICAL_DENSITY
from fieldlevel.snapshots.facts import refuse_lacking
from fieldlevel.snapshots.hdf5_files import find_member, open_hdf5
from fieldlevel.snapshots.parts import KINDS, Part, check_shape, check_values, find_dataset, wrap_positions
from fieldlevel.snapshots.quantities import LOWEST, MASS, POSITION, QUANTITIES, Block, FloatArray, Recipe
from fieldlevel.snapshots.units import CodeUnits, Unit

CHUNK = 2**22
"""Particles read at once unless asked otherwise: 100 MB of positions in double precision."""

_VECTORS = ("position", "velocity")


@dataclass(frozen=True)
class Snapshot:
    """A snapshot of a periodic box.

    Attributes:
        path: as the user named it.
        files: all files of the snapshot.
        box_size_mpc_h: side of the box, comoving.
        redshift: of the snapshot.
        Omega_m: matter density today; None where nobody says and nobody needs it.
        Omega_lambda: dark-energy density today; None where the snapshot does not say.
        h: Hubble parameter; likewise.
        n_particles: by kind; kinds without particles have 0.
        is_mock: written by this package's simulator.
        suite: name of the simulations in the header; None where it has none.
        parameters: those of the layout that the header states, by name.
        mass_table: mass of each particle of a type in the code's unit, for types without stored masses.
        units: of the code.
        parts: where the particles are.
    """

    path: Path
    files: tuple[Path, ...]
    box_size_mpc_h: float
    redshift: float
    Omega_m: float | None
    Omega_lambda: float | None
    h: float | None
    n_particles: Mapping[str, int]
    is_mock: bool
    suite: str | None
    parameters: Mapping[str, float]
    mass_table: tuple[float, ...] = field(repr=False)
    units: CodeUnits = field(repr=False)
    parts: tuple[Part, ...] = field(repr=False)

    def read(
        self, kind: str, quantities: Sequence[str], dtype: npt.DTypeLike | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Read all particles of a kind.

        Args:
            kind: one of `KINDS`.
            quantities: names in `fieldlevel.snapshots.quantities.QUANTITIES`.
            dtype: float32 or float64; if None as stored, the widest where types differ.

        Returns:
            By quantity, (n,) or (n, 3) for positions and velocities; a kind without particles gives n = 0.

        Raises:
            UserError: no such kind or quantity.
            DataError: the snapshot does not store what a quantity needs, or holds impossible numbers.
        """
        n, read = self.n_particles.get(kind, 0), 0
        arrays: dict[str, npt.NDArray[Any]] = {}
        for chunk in self.chunks(kind, quantities, dtype=dtype):
            for name, values in chunk.items():
                held = arrays[name] if name in arrays else np.zeros((n, *values.shape[1:]), values.dtype)
                arrays[name] = held.astype(np.promote_types(held.dtype, values.dtype), copy=False)
                arrays[name][read : read + len(values)] = values
            read += len(next(iter(chunk.values()), ()))
        return arrays or {name: np.empty((0, 3) if name in _VECTORS else 0, dtype or np.float32) for name in quantities}

    def chunks(
        self, kind: str, quantities: Sequence[str], max_particles: int = CHUNK, dtype: npt.DTypeLike | None = None
    ) -> Iterator[dict[str, npt.NDArray[Any]]]:
        """Read a kind a few particles at a time; no more than these are in memory.

        Args:
            kind: one of `KINDS`.
            quantities: names in `fieldlevel.snapshots.quantities.QUANTITIES`.
            max_particles: of a chunk.
            dtype: float32 or float64; as stored if None.

        Yields:
            The next particles, as from `read`.

        Raises:
            UserError: no such kind or quantity, or no room for a single particle.
            DataError: the snapshot does not store what a quantity needs, or holds impossible numbers.
        """
        _check_names(kind, quantities)
        if max_particles < 1:
            raise UserError(f"chunks of {max_particles} particles; read at least one at a time")
        for part in self._parts_of(kind):
            for start in range(0, part.n, max_particles):
                yield self.read_slice(part, slice(start, min(start + max_particles, part.n)), quantities, dtype)

    def has(self, kind: str, quantity: str) -> bool:
        """Whether there are particles of a kind, and what is stored of them gives a quantity.

        Raises:
            UserError: no such kind or quantity.
        """
        _check_names(kind, (quantity,))
        first = {part.type: part for part in reversed(self._parts_of(kind))}
        return bool(first) and all(self._stores(part, quantity) for part in first.values())

    def mass_ratio(self) -> float:
        """Mass of all particles over that of the box, Omega_m rho_crit L^3: one unless a unit or the box is wrong.

        Raises:
            DataError: as `read`, or Omega_m is not known.
        """
        if self.Omega_m is None:
            refuse_lacking(self.path, ["Omega_m"])
        total = sum(self._mass_of(part) for part in self.parts)
        return total / ((self.Omega_m or 0.0) * CRITICAL_DENSITY * self.box_size_mpc_h**3)

    def _mass_of(self, part: Part) -> float:
        """Mass of the particles of a part in Msun/h; those of one mass are not looked at."""
        with open_hdf5(part.file) as file:
            is_stored = find_dataset(find_member(file, part.group), MASS.names) is not None
        if not is_stored:
            return part.n * self._table_mass(part) * self._factor(self.units.unit(MASS.dimension), MASS)
        chunks = (slice(start, min(start + CHUNK, part.n)) for start in range(0, part.n, CHUNK))
        return sum(float(self.read_slice(part, which, ["mass"], np.float64)["mass"].sum()) for which in chunks)

    @property
    def scale_factor(self) -> float:
        """Expansion factor."""
        return 1 / (1 + self.redshift)

    def _stores(self, part: Part, quantity: str) -> bool:
        with open_hdf5(part.file) as file:
            return self._recipe(find_member(file, part.group), part, quantity) is not None

    def _parts_of(self, kind: str) -> list[Part]:
        return [part for part in self.parts if part.kind == kind]

    def _table_mass(self, part: Part) -> float:
        return self.mass_table[part.type] if part.type < len(self.mass_table) else 0.0

    def _recipe(self, group: object, part: Part, quantity: str) -> Recipe | None:
        def stored(block: Block) -> bool:
            return find_dataset(group, block.names) is not None or (block is MASS and self._table_mass(part) > 0)

        return next((recipe for recipe in QUANTITIES[quantity] if all(map(stored, recipe.blocks))), None)

    def read_slice(
        self, part: Part, which: slice, quantities: Sequence[str], dtype: npt.DTypeLike | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """Read some particles of one part, with start and stop within it; otherwise as `read`."""
        values: dict[str, npt.NDArray[Any]] = {}
        with open_hdf5(part.file) as file, np.errstate(over="ignore", invalid="ignore"):
            group = find_member(file, part.group)
            for name in quantities:
                recipe = self._recipe(group, part, name)
                if recipe is None:
                    raise DataError([f"{part.file}: no {name} in /{part.group}; it needs {_needs(name)}"])
                arrays = [self._read_block(group, part, block, which, dtype) for block in recipe.blocks]
                values[name] = recipe.formula(*arrays)
                highest = self.box_size_mpc_h if name == "smoothing length" else np.inf
                check_values(values[name], name, part, LOWEST.get(name, -np.inf), highest)
        if "position" in values:
            where = f"{part.file}: /{part.group}/Coordinates"
            values["position"] = wrap_positions(values["position"], self.box_size_mpc_h, where)
        return values

    def _read_block(
        self, group: object, part: Part, block: Block, which: slice, dtype: npt.DTypeLike | None
    ) -> FloatArray:
        dataset = find_dataset(group, block.names)
        if dataset is None:
            mass = self._table_mass(part) * self._factor(self.units.unit(block.dimension), block)
            position = find_dataset(group, POSITION.names)
            stored = _real(np.dtype(np.float32) if position is None else position.dtype)
            return np.full(which.stop - which.start, mass, dtype or stored)
        check_shape(dataset, part, block.shape)
        values: FloatArray = dataset[which].astype(dtype or _real(dataset.dtype))
        values *= self._factor(self.units.unit_of(dataset, block.dimension), block)
        return values

    def _factor(self, unit: Unit, block: Block) -> float:
        if block.unit is None:
            return 1.0
        if self.h is None and unit.h != block.unit.h:
            refuse_lacking(self.path, ["h"])
        return unit.in_units_of(block.unit, self.scale_factor, self.h or 1.0)


def _check_names(kind: str, quantities: Sequence[str]) -> None:
    if kind not in KINDS:
        raise UserError(f"{kind!r} is no kind of particles; choose from {', '.join(KINDS)}")
    for name in quantities:
        if name not in QUANTITIES:
            raise UserError(f"{name!r} is no quantity of particles; choose from {', '.join(QUANTITIES)}")


def _needs(quantity: str) -> str:
    recipes = [" and ".join("/".join(block.names) for block in recipe.blocks) for recipe in QUANTITIES[quantity]]
    return "; or ".join(recipes)


def _real(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    return np.float32 if dtype.kind == "f" and dtype.itemsize <= 4 else np.float64
