"""Maps of anybody's snapshots in CMD format: snapshot -> particles -> neighbour radius -> discs -> slabs -> files.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2; 2022, arXiv:2109.10915.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.config import ProjectSpec, refuse_values
from fieldlevel.errors import UserError
from fieldlevel.maps.cmd_format import Float64Array, read_parameters
from fieldlevel.maps.fields import FIELDS, POINTS, Field
from fieldlevel.maps.ledger import Plan, SuiteField
from fieldlevel.maps.production import Maps, choose_devices, produce_maps
from fieldlevel.maps.project import Discs, Slabs, project_slabs
from fieldlevel.maps.shards import Shard
from fieldlevel.maps.snapshots import Snapshot, open_snapshot
from fieldlevel.numerics.neighbours import neighbour_distance
from fieldlevel.parameters import MOCK_MARK, MOCK_SUITES, NBODY_PREFIX, is_mock
from fieldlevel.progress import Listener, ignore

PROJECTION_VERSION = "1"
"""Raised whenever the same spec gives other maps."""

_AT_ONCE = 1 << 22
"""Particles projected at a time."""

_WHOLE = Shard()
_OMEGA_M_TOLERANCE = 1e-3


def project_snapshots(
    paths: Sequence[Path | str],
    spec: ProjectSpec,
    directory: Path | str,
    device: str = "cpu",
    workers: int = 1,
    listener: Listener = ignore,
    shard: Shard = _WHOLE,
) -> list[int]:
    """Project snapshots into a folder of CMD files, one simulation each in their order; resumable.

    Args:
        paths: snapshots: files, one of several files, or folders of files.
        spec: names, fields, slabs, resolution.
        directory: where the files go.
        device: `"cpu"`, `"cuda"`, `"auto"`, see `choose_devices`.
        workers: processes on the CPU; each holds one snapshot in memory.
        listener: hears of every snapshot.
        shard: which part of the snapshots to project.

    Returns:
        Numbers of the snapshots that are still missing, those of other shards.

    Raises:
        UserError: a spec or a snapshot that cannot be used.
    """
    devices = choose_devices(device, workers)
    check_project_spec(spec)
    files = [Path(path) for path in paths]
    make = partial(_project_number, files, spec)
    return produce_maps(plan_projection(files, spec), Path(directory), make, devices, shard, "project", listener)


def plan_projection(paths: Sequence[Path], spec: ProjectSpec) -> Plan:
    """What the folder is to hold; opens every snapshot, reads no particles.

    Raises:
        UserError: no snapshots, one that cannot be used, a table that does not fit them.
    """
    if not paths:
        raise UserError("no snapshots; name files or folders")
    snapshots = [open_snapshot(path, spec.length_unit) for path in paths]
    for snapshot in snapshots:
        _check_snapshot(snapshot, spec)
    rows = _parameters(snapshots, spec)
    record = {
        "origin": f"{MOCK_MARK} " * is_mock(spec.suite) + "projected from snapshots by fieldlevel",
        "projection": PROJECTION_VERSION,
        "spec": asdict(spec) | {"fields": list(spec.fields), "parameters": None},
        "snapshots": [_describe(snapshot) for snapshot in snapshots],
        "parameters": None if rows is None else rows.tolist(),
        "units": {field: FIELDS[field].unit for field in spec.fields},
    }
    return Plan(
        keys=_keys(spec),
        set_name=spec.set_name,
        parameters=None if rows is None else tuple(tuple(row) for row in rows.tolist()),
        n_simulations=len(snapshots),
        maps_each=3 * spec.n_slabs,
        n_pixels=spec.n_pixels,
        record=record,
    )


def _check_snapshot(snapshot: Snapshot, spec: ProjectSpec) -> None:
    """Refuse false names, slabs that do not fit, and fields that one particle of each kind shows not to be there."""
    _slabs(snapshot, spec)
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
            next(snapshot.chunks(kind, _stored(FIELDS[name].quantity), max_particles=1))
            if kind not in POINTS and spec.radius != "points" and snapshot.n_particles[kind] <= spec.n_neighbours:
                raise UserError(
                    f"{snapshot.path}: {snapshot.n_particles[kind]} particles of {kind}; neighbour {spec.n_neighbours} "
                    f"needs {spec.n_neighbours + 1}; lower --n-neighbours or take --radius points"
                )


def _describe(snapshot: Snapshot) -> dict[str, object]:
    return {
        "name": snapshot.path.name,
        "bytes": sum(file.stat().st_size for file in snapshot.files),
        "box_size_mpc_h": snapshot.box_size_mpc_h,
        "redshift": snapshot.redshift,
        "Omega_m": snapshot.Omega_m,
        "particles": dict(snapshot.n_particles),
    }


def _parameters(snapshots: Sequence[Snapshot], spec: ProjectSpec) -> Float64Array | None:
    """Rows of the user's table, checked against Omega_m of the headers; None without a table."""
    if spec.parameters is None:
        return None
    rows = read_parameters(Path(spec.parameters))
    if len(rows) != len(snapshots):
        raise UserError(f"{spec.parameters}: {len(rows)} rows for {len(snapshots)} snapshots; give a row for each")
    for number, (row, snapshot) in enumerate(zip(rows, snapshots, strict=True)):
        if abs(row[0] - snapshot.Omega_m) > _OMEGA_M_TOLERANCE:
            raise UserError(
                f"{spec.parameters}: row {number} has Omega_m = {row[0]:g}, but {snapshot.path} has "
                f"{snapshot.Omega_m:g}; put the rows in the order of the snapshots"
            )
    return rows


def check_project_spec(spec: ProjectSpec) -> None:
    """Refuse names, fields and sizes that cannot be.

    Raises:
        UserError: with what is allowed.
    """
    fields = spec.fields
    allowed = {
        "suite": (bool(re.fullmatch(r"[A-Za-z0-9]+(_[A-Za-z0-9]+)*", spec.suite)), "letters, digits and _"),
        "set_name": (bool(re.fullmatch(r"[A-Za-z0-9]+", spec.set_name)), "letters and digits"),
        "fields": (len(fields) == len(set(fields) & set(FIELDS)) > 0, f"{', '.join(FIELDS)}, each once"),
        "n_pixels": (spec.n_pixels >= 16 and spec.n_pixels & (spec.n_pixels - 1) == 0, "16, 32, 64, 128, 256, ..."),
        "n_slabs": (spec.n_slabs >= 1, "numbers from 1"),
        "n_neighbours": (spec.n_neighbours >= 1, "numbers from 1"),
    }
    refuse_values(spec, allowed)


def _slabs(snapshot: Snapshot, spec: ProjectSpec) -> Slabs:
    if spec.slab_thickness_mpc_h is None:
        return Slabs(spec.n_slabs, 1 / spec.n_slabs)
    thickness = spec.slab_thickness_mpc_h / snapshot.box_size_mpc_h
    if not 0 < spec.n_slabs * thickness <= 1 + 1e-6:
        raise UserError(
            f"{snapshot.path}: {spec.n_slabs} slabs of {spec.slab_thickness_mpc_h:g} Mpc/h do not fit into "
            f"{snapshot.box_size_mpc_h:g} Mpc/h; take fewer or thinner ones"
        )
    return Slabs(spec.n_slabs, thickness)


def _project_number(paths: Sequence[Path], spec: ProjectSpec, number: int, device: torch.device) -> Maps:
    snapshot = open_snapshot(paths[number], spec.length_unit)
    maps = project_snapshot(snapshot, spec, device)
    return {key: maps[key[1]] for key in _keys(spec)}


def _keys(spec: ProjectSpec) -> tuple[SuiteField, ...]:
    return tuple((spec.suite, field) for field in spec.fields)


def project_snapshot(snapshot: Snapshot, spec: ProjectSpec, device: torch.device) -> dict[str, npt.NDArray[np.float32]]:
    """Maps of every field of one snapshot.

    Args:
        snapshot: opened.
        spec: fields, slabs, resolution.
        device: where to compute.

    Returns:
        By field, (3 * n_slabs, n_pixels, n_pixels) float32 in the unit of the field.

    Raises:
        UserError: a quantity that the snapshot has not, or too few particles of a kind.
    """
    sums: dict[tuple[str, bool], Tensor] = {}
    for kind in {kind: None for field in spec.fields for kind in FIELDS[field].kinds}:
        if not snapshot.n_particles.get(kind, 0):
            continue
        wanted = [(name, FIELDS[name]) for name in spec.fields if kind in FIELDS[name].kinds]
        for key, maps in _project_kind(snapshot, kind, wanted, spec, device).items():
            _add(sums, key, maps)
    empty = torch.zeros(3 * spec.n_slabs, spec.n_pixels, spec.n_pixels, dtype=torch.float64, device=device)
    finished = {}
    for name in spec.fields:
        total = sums.get((name, False), empty)
        if FIELDS[name].averaged:
            weight = sums.get((name, True), empty)
            total = torch.where(weight > 0, total / weight.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
        finished[name] = total.to(torch.float32).cpu().numpy()
    return finished


def _project_kind(
    snapshot: Snapshot, kind: str, wanted: Sequence[tuple[str, Field]], spec: ProjectSpec, device: torch.device
) -> dict[tuple[str, bool], Tensor]:
    """Surface densities of the weights of each field, and for averaged ones (field, True) of the mass, float64."""
    slabs, box = _slabs(snapshot, spec), snapshot.box_size_mpc_h
    needed = {quantity for _, field in wanted for quantity in _stored(field.quantity)} | {"position", "mass"}
    values = {name: torch.from_numpy(array).to(device) for name, array in snapshot.read(kind, sorted(needed)).items()}
    position = values.pop("position")
    radius = _radius(snapshot, kind, position, spec)
    sums: dict[tuple[str, bool], Tensor] = {}
    for first in range(0, len(position), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        place = position[part].double() / box
        reach = None if radius is None else radius[part].double() / box
        chunk = {name: array[part].double() for name, array in values.items()}
        mass_maps: Tensor | None = None
        for name, field in wanted:
            weight = _weight(field, chunk)
            maps = project_slabs([Discs(place, reach, weight)], spec.n_pixels, box, slabs, exact=True)
            _add(sums, (name, False), maps)
            if field.averaged:
                if mass_maps is None:
                    mass_maps = project_slabs(
                        [Discs(place, reach, chunk["mass"])], spec.n_pixels, box, slabs, exact=True
                    )
                _add(sums, (name, True), mass_maps)
    return sums


def _add(sums: dict[tuple[str, bool], Tensor], key: tuple[str, bool], maps: Tensor) -> None:
    sums[key] = sums[key] + maps if key in sums else maps


def _radius(snapshot: Snapshot, kind: str, position: Tensor, spec: ProjectSpec) -> Tensor | None:
    """Radius (n,) in Mpc/h of each particle's disc; None for points."""
    if kind in POINTS or spec.radius == "points":
        return None
    if spec.radius == "smoothing length" and snapshot.has(kind, "smoothing length"):
        return torch.from_numpy(snapshot.read(kind, ["smoothing length"])["smoothing length"]).to(position.device)
    box = snapshot.box_size_mpc_h
    distance: Tensor = neighbour_distance(position, box, spec.n_neighbours, workers=torch.get_num_threads())
    return distance


def _stored(quantity: str) -> tuple[str, ...]:
    """What a snapshot must give for a quantity."""
    derived = {"speed": ("velocity",), "electron column": ("electron density", "density", "mass")}
    return derived.get(quantity, (quantity,))


def _weight(field: Field, values: Mapping[str, Tensor]) -> Tensor:
    """What the particles spread over their discs."""
    if field.quantity == "electron column":
        return values["electron density"] * values["mass"] / values["density"]
    quantity = values["velocity"].norm(dim=1) if field.quantity == "speed" else values[field.quantity]
    return quantity * values["mass"] if field.averaged else quantity
