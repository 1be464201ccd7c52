"""What a folder of maps of snapshots is to hold: everything that can be refused before a particle is read.

A snapshot is known by its content, wherever it lies. The snapshots of a folder are of one box and one redshift.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np

from fieldlevel.config import ProjectSpec, refuse_values
from fieldlevel.errors import UserError
from fieldlevel.maps.cmd_format import Float64Array, read_parameters
from fieldlevel.maps.fields import FIELDS, POINTS
from fieldlevel.maps.ledger import Plan, SuiteField
from fieldlevel.maps.project import Slabs
from fieldlevel.maps.snapshot_files import find_files, fingerprint, open_hdf5, read_header
from fieldlevel.maps.snapshots import Snapshot, open_snapshot
from fieldlevel.parameters import MOCK_MARK, MOCK_SUITES, NBODY_PREFIX, PARAMETER_NAMES, is_mock

PROJECTION_VERSION = "1"
"""Raised whenever the same spec gives other maps."""

_NOT_OF_THE_MAPS = ("parameters", "any_redshift", "check_mass")
_OMEGA_M_TOLERANCE = 1e-3
_REDSHIFT_TOLERANCE = 5e-3
"""Names of files have two decimals."""
_BOX_TOLERANCE = 1e-3
_MOST_PIXELS, _MOST_SLABS = 8192, 1024


def plan_projection(paths: Sequence[Path], spec: ProjectSpec) -> Plan:
    """What the folder is to hold; opens every snapshot, reads few particles.

    Raises:
        UserError: no snapshots, one that cannot be used, some that do not belong together, a table that does not fit
            them.
    """
    if not paths:
        raise UserError("no snapshots; name files or folders")
    snapshots = [open_snapshot(path, spec.length_unit) for path in paths]
    for snapshot in snapshots:
        _check_snapshot(snapshot, spec)
    contents = [fingerprint(snapshot.files) for snapshot in snapshots]
    _check_together(snapshots, contents)
    rows = _parameters(snapshots, spec)
    record = {
        "origin": f"{MOCK_MARK} " * is_mock(spec.suite) + "projected from snapshots by fieldlevel",
        "projection": PROJECTION_VERSION,
        "spec": {name: value for name, value in asdict(spec).items() if name not in _NOT_OF_THE_MAPS},
        "snapshots": [_describe(*snapshot) for snapshot in zip(snapshots, contents, strict=True)],
        "parameters": None if rows is None else rows.tolist(),
        "units": {field: FIELDS[field].unit for field in spec.fields},
    }
    return Plan(
        keys=map_keys(spec),
        set_name=spec.set_name,
        parameters=None if rows is None else tuple(tuple(row) for row in rows.tolist()),
        n_simulations=len(snapshots),
        maps_each=3 * spec.n_slabs,
        n_pixels=spec.n_pixels,
        record=record,
    )


def _check_snapshot(snapshot: Snapshot, spec: ProjectSpec) -> None:
    """Refuse false names, slabs that do not fit, and fields that one particle of each kind shows not to be there."""
    cut_slabs(snapshot, spec)
    if snapshot.redshift > _REDSHIFT_TOLERANCE and not spec.any_redshift:
        told = f"redshift {snapshot.redshift:.4g}, but the names of the files say z=0.00"
        raise UserError(f"{snapshot.path}: {told}; leave it out, or take --any-redshift")
    if snapshot.is_mock != is_mock(spec.suite):
        names = " or ".join(f"{prefix}{name}" for prefix in ("", NBODY_PREFIX) for name in MOCK_SUITES)
        told = f"is {MOCK_MARK}: name its suite {names}" if snapshot.is_mock else f"is no mock: not {spec.suite}"
        raise UserError(f"{snapshot.path}: {told}; choose with --suite")
    for name in spec.fields:
        kinds = [kind for kind in FIELDS[name].kinds if snapshot.n_particles.get(kind, 0)]
        if not kinds:
            wanted = " or ".join(FIELDS[name].kinds)
            raise UserError(f"{snapshot.path}: no particles of {wanted}, which make {name}; leave it out of --fields")
        for kind in kinds:
            next(snapshot.chunks(kind, FIELDS[name].stored, max_particles=1))
            n = snapshot.n_particles[kind]
            if source_of_radius(snapshot, kind, spec) == "neighbours" and n <= spec.n_neighbours:
                raise UserError(
                    f"{snapshot.path}: {n} particles of {kind}; neighbour {spec.n_neighbours} "
                    f"needs {spec.n_neighbours + 1}; lower --n-neighbours or take --radius points"
                )


def _check_together(snapshots: Sequence[Snapshot], contents: Sequence[str]) -> None:
    """Refuse one snapshot under two names, and two boxes or redshifts in one folder."""
    first = snapshots[0]
    for number, snapshot in enumerate(snapshots):
        twin = snapshots[contents.index(contents[number])]
        if twin is not snapshot:
            raise UserError(f"{twin.path} and {snapshot.path} are one snapshot; name it once")
        has_same_redshift = abs(snapshot.redshift - first.redshift) <= _REDSHIFT_TOLERANCE
        if not has_same_redshift or abs(snapshot.box_size_mpc_h / first.box_size_mpc_h - 1) > _BOX_TOLERANCE:
            one, other = (f"{s.path} ({s.box_size_mpc_h:g} Mpc/h, redshift {s.redshift:g})" for s in (first, snapshot))
            raise UserError(f"{one} and {other} differ; give each box and redshift a folder of its own")


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


def _parameters(snapshots: Sequence[Snapshot], spec: ProjectSpec) -> Float64Array | None:
    """Rows of the user's table, checked against Omega_m of the headers; without one those of the headers, if whole."""
    if spec.parameters is None:
        if any(_lacking(snapshot.parameters) for snapshot in snapshots):
            return None
        return np.array([[snapshot.parameters[name] for name in PARAMETER_NAMES] for snapshot in snapshots])
    rows = read_parameters(Path(spec.parameters))
    if len(rows) != len(snapshots):
        raise UserError(f"{spec.parameters}: {len(rows)} rows for {len(snapshots)} snapshots; give a row for each")
    for number, (row, snapshot) in enumerate(zip(rows, snapshots, strict=True)):
        if not np.isfinite(row).all():
            raise UserError(f"{spec.parameters}: row {number} has numbers that are not finite; mend the row")
        if abs(row[0] - snapshot.Omega_m) > _OMEGA_M_TOLERANCE:
            raise UserError(
                f"{spec.parameters}: row {number} has Omega_m = {row[0]:g}, but {snapshot.path} has "
                f"{snapshot.Omega_m:g}; put the rows in the order of the snapshots"
            )
    return rows


def _lacking(parameters: Mapping[str, float]) -> list[str]:
    return [name for name in PARAMETER_NAMES if name not in parameters]


def lacking_parameters(paths: Sequence[Path]) -> list[str]:
    """Names of the parameters that not every header states, so that a table is needed."""
    lacking: set[str] = set()
    for path in paths:
        with open_hdf5(find_files(path)[0]) as file:
            lacking.update(_lacking(read_header(file).parameters))
    return [name for name in PARAMETER_NAMES if name in lacking]


def check_project_spec(spec: ProjectSpec) -> None:
    """Refuse names, fields and sizes that cannot be.

    Raises:
        UserError: with what is allowed.
    """
    fields, n_pixels = spec.fields, spec.n_pixels
    is_power_of_two = n_pixels & (n_pixels - 1) == 0
    allowed = {
        "suite": (bool(re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", spec.suite)), "letters, digits and _"),
        "set_name": (bool(re.fullmatch(r"[A-Za-z0-9]+", spec.set_name)), "letters and digits"),
        "fields": (len(fields) == len(set(fields) & set(FIELDS)) > 0, f"{', '.join(FIELDS)}, each once"),
        "n_pixels": (16 <= n_pixels <= _MOST_PIXELS and is_power_of_two, f"16, 32, 64, ..., {_MOST_PIXELS}"),
        "n_slabs": (1 <= spec.n_slabs <= _MOST_SLABS, f"1 to {_MOST_SLABS}"),
        "n_neighbours": (spec.n_neighbours >= 1, "numbers from 1"),
    }
    refuse_values(spec, allowed)


def cut_slabs(snapshot: Snapshot, spec: ProjectSpec) -> Slabs:
    """How the box of a snapshot is cut.

    Raises:
        UserError: the slabs do not fit into it.
    """
    if spec.slab_thickness_mpc_h is None:
        return Slabs(spec.n_slabs, 1 / spec.n_slabs)
    thickness = spec.slab_thickness_mpc_h / snapshot.box_size_mpc_h
    if not 0 < spec.n_slabs * thickness <= 1 + 1e-6:
        raise UserError(
            f"{snapshot.path}: {spec.n_slabs} slabs of {spec.slab_thickness_mpc_h:g} Mpc/h do not fit into "
            f"{snapshot.box_size_mpc_h:g} Mpc/h; take fewer or thinner ones"
        )
    return Slabs(spec.n_slabs, thickness)


def map_keys(spec: ProjectSpec) -> tuple[SuiteField, ...]:
    """Suite and field of every map file."""
    return tuple((spec.suite, field) for field in spec.fields)


def source_of_radius(
    snapshot: Snapshot, kind: str, spec: ProjectSpec
) -> Literal["points", "smoothing length", "neighbours"]:
    """What the discs of a kind reach to: where the snapshot has no smoothing lengths, to the neighbours."""
    if kind in POINTS:
        return "points"
    if spec.radius == "smoothing length" and not snapshot.has(kind, "smoothing length"):
        return "neighbours"
    return spec.radius
