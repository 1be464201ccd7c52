"""What a folder of maps of snapshots is to hold: everything that can be refused before a particle is read.

A snapshot is known by its content, wherever it lies. The snapshots of a folder are of one box and one redshift.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.layout_files import differences, find_layout
from fieldlevel.data.parameter_tables import Float64Array, read_parameters
from fieldlevel.errors import UserError
from fieldlevel.files import check_regular
from fieldlevel.layout import CMD_UNITS, Layout
from fieldlevel.mapmaking.belonging import check_together
from fieldlevel.mapmaking.contents import Plan, SuiteField
from fieldlevel.mapmaking.fields import FIELDS
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.slabs import MOST_PIXELS, MOST_SLABS
from fieldlevel.mapmaking.suitable import check_snapshot
from fieldlevel.mapmaking.thinning import FRACTIONS_IN_WORDS, are_fractions, set_name_of
from fieldlevel.numerics.memory import check_fits
from fieldlevel.snapshots.facts import OMEGA_M_TOLERANCE, REDSHIFT_TOLERANCE, Given
from fieldlevel.snapshots.hdf5_files import open_hdf5
from fieldlevel.snapshots.headers import read_header
from fieldlevel.snapshots.members import find_files, fingerprint
from fieldlevel.snapshots.opening import open_snapshot
from fieldlevel.snapshots.snapshot import Snapshot
from fieldlevel.spec_io import refuse_values
from fieldlevel.suites import (
    MOCK_MARK,
    SUITE_NAME,
    SUITE_NAME_IN_WORDS,
    is_known,
    is_mock,
    is_nbody,
    is_thinned,
    layout_of,
)

PROJECTION_VERSION = "1"
"""Raised whenever the same spec gives other maps."""

_FACTS = ("box_size_mpc_h", "Omega_m", "redshift")
"""Recorded with each snapshot, whoever told them."""
_NOT_OF_THE_MAPS = ("parameters", "any_redshift", "check_mass", "thin", "thin_seed", *_FACTS)
_PARAMETER_TOLERANCE = 1e-3
"""Relative, above one: tables have five decimals."""
_THINNEST_SLAB_MPC_H = 1e-3
_LENGTH_TOLERANCE = 1e-6
"""Relative, of box and slabs: units of length are known this well."""
_USUAL = Layout()


def open_for(path: Path, spec: ProjectSpec, layout: Layout = _USUAL) -> Snapshot:
    """Open a snapshot with the facts that a spec gives.

    Args:
        path: of the snapshot.
        spec: the facts.
        layout: whose parameters its header may state.

    Raises:
        UserError: it cannot be used.
    """
    return open_snapshot(
        path,
        spec.length_unit,
        box_size_mpc_h=spec.box_size_mpc_h,
        Omega_m=spec.Omega_m,
        redshift=spec.redshift,
        is_whole=spec.check_mass,
        layout=layout,
    )


def plan_projection(paths: Sequence[Path], spec: ProjectSpec, directory: Path) -> tuple[Plan, ...]:
    """What the folder is to hold, a plan a set; opens every snapshot, reads few particles.

    The set of the maps from all particles comes first, one for each fraction of `spec.thin` follows. What the snapshots
    and the fraction make is in the record of a set, so that fractions can be asked for later.

    With the maps goes a file that says what they are (`data.layout_files`), for suites that are not registered, and
    where anything is other than is known of the suite: with the slabs of another box, nobody else could tell. Suites of
    CMD in its own box and slabs need none, so that such folders are as they always were. A file that lies there already
    gives the parameters, so that suites of more than six can be projected too; its box and slabs must be these.

    Args:
        paths: of the snapshots.
        spec: names, fields, slabs, resolution.
        directory: the folder.

    Returns:
        The plans, in the order of `sets_of`.

    Raises:
        UserError: no snapshots, one that cannot be used, some that do not belong together, a table that does not fit
            them, a file of the layout that says otherwise.
    """
    if not paths:
        raise UserError("no snapshots; name files or folders")
    wanted = _wanted_layout(spec, directory)
    snapshots = [open_for(path, spec, wanted) for path in paths]
    for snapshot in snapshots:
        check_snapshot(snapshot, spec)
    contents = [fingerprint(snapshot.files) for snapshot in snapshots]
    check_together(snapshots, contents, spec)
    layout = _measure(wanted, snapshots[0], spec, directory)
    rows = _parameters(snapshots, spec, layout)
    record = {
        "origin": f"{MOCK_MARK} " * is_mock(spec.suite) + "projected from snapshots by fieldlevel",
        "projection": PROJECTION_VERSION,
        "spec": {name: value for name, value in asdict(spec).items() if name not in _NOT_OF_THE_MAPS},
        "snapshots": [_describe(*snapshot) for snapshot in zip(snapshots, contents, strict=True)],
        "parameters": None if rows is None else rows.tolist(),
        "units": {field: CMD_UNITS[field] for field in spec.fields},
    }
    return tuple(
        _plan_set(replace(spec, set_name=name), layout, rows, record | _thinning(spec, fraction), directory)
        for name, fraction in sets_of(spec).items()
    )


def sets_of(spec: ProjectSpec) -> dict[str, float | None]:
    """Fraction of the particles that makes the maps of each set, None for all of them.

    Example:
        >>> sets_of(ProjectSpec(thin=(0.5, 0.25)))
        {'LH': None, 'LHthin2': 0.5, 'LHthin4': 0.25}
    """
    return {spec.set_name: None} | {set_name_of(spec.set_name, fraction): fraction for fraction in spec.thin}


def _thinning(spec: ProjectSpec, fraction: float | None) -> dict[str, object]:
    """What the record of a set says besides, nothing where all particles make the maps."""
    return {} if fraction is None else {"thinning": {"fraction": fraction, "seed": spec.thin_seed}}


def _plan_set(
    spec: ProjectSpec, layout: Layout, rows: Float64Array | None, record: Mapping[str, Any], directory: Path
) -> Plan:
    """Of one set, from what is recorded of it; of its layout is written down what is not known by its name."""
    known = is_known(spec.suite) and not differences(_files(spec, directory), layout)
    return Plan(
        keys=map_keys(spec),
        set_name=spec.set_name,
        parameters=None if rows is None else tuple(tuple(row) for row in rows.tolist()),
        n_simulations=len(record["snapshots"]),
        maps_each=layout.n_maps,
        n_pixels=spec.n_pixels,
        record=record,
        layout=None if known else layout,
    )


def _files(spec: ProjectSpec, directory: Path) -> SuiteFiles:
    return SuiteFiles(directory, spec.suite, set_name=spec.set_name)


def _wanted_layout(spec: ProjectSpec, directory: Path) -> Layout:
    """As a file in the folder says, else as is known of the suite; box and slabs will be those of the snapshots."""
    files = _files(spec, directory)
    return find_layout(files) if files.layout_path.exists() else layout_of(spec.suite, spec.set_name)


def _measure(wanted: Layout, snapshot: Snapshot, spec: ProjectSpec, directory: Path) -> Layout:
    """The layout with the box and redshift of a snapshot, and the slabs and units of its maps."""
    path = _files(spec, directory).layout_path
    box, thickness = snapshot.box_size_mpc_h, spec.slab_thickness_mpc_h or snapshot.box_size_mpc_h / spec.n_slabs
    measured = replace(
        wanted,
        box_size_mpc_h=_settled(box, wanted.box_size_mpc_h),
        slab_thickness_mpc_h=_settled(thickness, wanted.slab_thickness_mpc_h),
        n_slabs=spec.n_slabs,
        n_axes=3,
        redshift=snapshot.redshift if snapshot.redshift > REDSHIFT_TOLERANCE else 0.0,
        units=tuple((dict(wanted.units) | {field: CMD_UNITS[field] for field in spec.fields}).items()),
    )
    if path.exists() and (measured.slabs, measured.n_maps) != (wanted.slabs, wanted.n_maps):
        raise UserError(f"{path}: says {wanted.slabs}, but these would be {measured.slabs}; mend it, or take it away")
    return measured


def _settled(length: float, expected: float) -> float:
    """The length that is expected where it differs by round-off alone."""
    return expected if abs(length / expected - 1) <= _LENGTH_TOLERANCE else float(f"{length:.9g}")


def _describe(snapshot: Snapshot, content: str) -> dict[str, object]:
    return {
        "name": snapshot.files[0].name,
        "content": content,
        "bytes": sum(file.stat().st_size for file in snapshot.files),
        "box_size_mpc_h": snapshot.box_size_mpc_h,
        "redshift": snapshot.redshift,
        "Omega_m": snapshot.Omega_m,
        "particles": dict(snapshot.n_particles),
    }


def _parameters(snapshots: Sequence[Snapshot], spec: ProjectSpec, layout: Layout) -> Float64Array | None:
    """Rows of the user's table, checked against Omega_m of the headers; without one those of the headers, if whole."""
    if spec.parameters is None:
        if any(_lacking(snapshot.parameters, layout) for snapshot in snapshots):
            return None
        return np.array([[snapshot.parameters[name] for name in layout.names] for snapshot in snapshots])
    check_regular(Path(spec.parameters), "give a table of parameters")
    rows = read_parameters(Path(spec.parameters), layout)
    if len(rows) != len(snapshots):
        raise UserError(f"{spec.parameters}: {len(rows)} rows for {len(snapshots)} snapshots; give a row for each")
    judged = [each.name for each in layout.parameters if each.cosmological or not is_nbody(spec.suite)]
    for number, (row, snapshot) in enumerate(zip(rows, snapshots, strict=True)):
        if not np.isfinite(row).all():
            raise UserError(f"{spec.parameters}: row {number} has numbers that are not finite; mend the row")
        for name, value in zip(layout.names, row.tolist(), strict=True):
            if name in judged and not _agrees(value, stated := snapshot.parameters.get(name, value), name):
                raise UserError(
                    f"{spec.parameters}: row {number} has {name} = {value:g}, but {snapshot.path} has "
                    f"{stated:g}; put the rows in the order of the snapshots"
                )
    return rows


def _agrees(value: float, stated: float, name: str) -> bool:
    tolerance = OMEGA_M_TOLERANCE if name == "Omega_m" else _PARAMETER_TOLERANCE * max(1.0, abs(stated))
    return abs(value - stated) <= tolerance


def _lacking(parameters: Mapping[str, float], layout: Layout) -> list[str]:
    return [name for name in layout.names if name not in parameters]


def lacking_parameters(paths: Sequence[Path], spec: ProjectSpec | None = None, layout: Layout = _USUAL) -> list[str]:
    """Names of the parameters of a layout that neither every header nor the spec states: a table is needed."""
    given = {"Omega_m"} if spec is not None and spec.Omega_m is not None else set()
    lacking: set[str] = set()
    for path in paths:
        with open_hdf5(find_files(path)[0]) as file:
            lacking.update(_lacking(read_header(file, layout.names).parameters, layout))
    return [name for name in layout.names if name in lacking - given]


def check_project_spec(spec: ProjectSpec) -> None:
    """Refuse names, fields and sizes that cannot be.

    Raises:
        UserError: with what is allowed.
    """
    fields, n_pixels, thickness = spec.fields, spec.n_pixels, spec.slab_thickness_mpc_h
    is_power_of_two = n_pixels & (n_pixels - 1) == 0
    allowed = {
        "suite": (re.fullmatch(SUITE_NAME, spec.suite) is not None, SUITE_NAME_IN_WORDS),
        "set_name": (re.fullmatch(r"[A-Za-z0-9]{1,80}", spec.set_name) is not None, "letters and digits"),
        "parameters": (spec.parameters != "", "names of files"),
        "fields": (len(fields) == len(set(fields) & set(FIELDS)) > 0, f"{', '.join(FIELDS)}, each once"),
        "n_pixels": (16 <= n_pixels <= MOST_PIXELS and is_power_of_two, f"16, 32, 64, ..., {MOST_PIXELS}"),
        "n_slabs": (1 <= spec.n_slabs <= MOST_SLABS, f"1 to {MOST_SLABS}"),
        "slab_thickness_mpc_h": (
            thickness is None or _THINNEST_SLAB_MPC_H <= thickness < np.inf,
            f"numbers from {_THINNEST_SLAB_MPC_H:g}",
        ),
        "n_neighbours": (spec.n_neighbours >= 1, "numbers from 1"),
        "thin": (are_fractions(spec.thin), FRACTIONS_IN_WORDS),
        "thin_seed": (0 <= spec.thin_seed < 2**31, "whole numbers from 0"),
    }
    refuse_values(spec, allowed)
    if spec.thin and is_thinned(spec.set_name):
        raise UserError(f"set {spec.set_name!r}: its name says that it is thinned already; give another, or no --thin")
    Given(spec.box_size_mpc_h, spec.Omega_m, spec.redshift, spec.length_unit)
    n_bytes = 8 * 3 * spec.n_slabs * n_pixels**2 * len(fields)
    check_fits(n_bytes, f"{3 * spec.n_slabs} maps of {n_pixels}^2 pixels of each field", "lower n_pixels or n_slabs")


def map_keys(spec: ProjectSpec) -> tuple[SuiteField, ...]:
    """Suite and field of every map file."""
    return tuple((spec.suite, field) for field in spec.fields)
