"""Maps of anybody's snapshots in CMD format: snapshot -> particles -> neighbour radius -> discs -> slabs -> files.

References:
    Villaescusa-Navarro et al. 2021, arXiv:2109.10360, section 2; 2022, arXiv:2109.10915.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fieldlevel.errors import DataError, UserError
from fieldlevel.mapmaking.fields import FIELDS, Field
from fieldlevel.mapmaking.plan import (
    check_project_spec,
    map_keys,
    open_for,
    plan_projection,
    sets_of,
)
from fieldlevel.mapmaking.production import Maps, MapsOfPlans, produce_maps
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.shards import Shard
from fieldlevel.mapmaking.slabs import Discs, project_slabs
from fieldlevel.mapmaking.suitable import cut_slabs, source_of_radius
from fieldlevel.mapmaking.thinning import Thinning, check_enough, mass_given_back
from fieldlevel.numerics.neighbours import neighbour_distance
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.snapshots.identities import particle_numbers
from fieldlevel.snapshots.opening import MASS_TOLERANCE
from fieldlevel.snapshots.snapshot import Snapshot
from fieldlevel.spec_io import in_plain_types
from fieldlevel.workers import choose_devices

_Weight = tuple[str, bool]
"""A quantity of the particles, and whether it is multiplied with their mass."""
_MASS: _Weight = ("mass", False)

_AT_ONCE = 1 << 22
"""Particles projected at a time."""

_MOST_AT_ORIGIN = 8
"""Particles of a kind that may be there."""

_WHOLE = Shard()


def project_snapshots(
    paths: Sequence[Path | str],
    spec: ProjectSpec,
    directory: Path | str,
    device: str = "cpu",
    workers: int = 1,
    listener: Listener = ignore,
    shard: Shard = _WHOLE,
    *,
    verbose: bool = False,
) -> list[int]:
    """Project snapshots into a folder of CMD files, one simulation each in their order; resumable.

    With `spec.thin` each fraction of the particles makes a set of its own beside that of all particles; a set that is
    there is not made again.

    Args:
        paths: snapshots: files, one of several files, or folders of files.
        spec: names, fields, slabs, resolution.
        directory: where the files go.
        device: `"cpu"`, `"cuda"`, `"auto"`, see `choose_devices`.
        workers: processes on the CPU; each holds one snapshot in memory.
        listener: hears of every snapshot.
        shard: which part of the snapshots to project.
        verbose: whether to show the progress, too.

    Returns:
        Numbers of the snapshots that are still missing, those of other shards.

    Raises:
        UserError: a spec or a snapshot that cannot be used.
    """
    devices = choose_devices(device, workers)
    spec = in_plain_types(ProjectSpec, spec)
    check_project_spec(spec)
    files, folder = _as_paths(paths), Path(directory)
    plans = plan_projection(files, spec, folder)
    fractions = dict(zip((plan.name for plan in plans), sets_of(spec).values(), strict=True))
    make = partial(_project_number, files, spec, fractions)
    with _not_left_empty(folder), telling(listener, verbose) as told:
        return produce_maps(plans, folder, make, devices, shard, "project", told)


def _as_paths(paths: Sequence[Path | str] | Path | str) -> list[Path]:
    try:
        return [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    except TypeError as error:
        raise UserError(f"snapshots: {error}; give names of files or folders") from None


@contextmanager
def _not_left_empty(folder: Path) -> Iterator[None]:
    """Take a folder, and those above it, away again if an error ends the work before anything is in it."""
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError, ValueError):  # the latter of names that no file can have
            for place in made:
                place.rmdir()
        raise


def _project_number(
    paths: Sequence[Path],
    spec: ProjectSpec,
    fractions: Mapping[str, float | None],
    number: int,
    device: torch.device,
    names: Sequence[str],
) -> MapsOfPlans:
    """Maps of one snapshot for the plans of these names, each from a fraction of the particles or from all."""
    snapshot, made = open_for(paths[number], spec), dict[str, Maps]()
    for name in names:
        fraction = fractions[name]
        thinning = None if fraction is None else Thinning(fraction, spec.thin_seed + number)
        maps = project_snapshot(snapshot, spec, device, thinning)
        made[name] = {key: maps[key[1]] for key in map_keys(spec)}
    return made


def project_snapshot(
    snapshot: Snapshot, spec: ProjectSpec, device: torch.device, thinning: Thinning | None = None
) -> dict[str, npt.NDArray[np.float32]]:
    """Maps of every field of one snapshot.

    Args:
        snapshot: opened.
        spec: fields, slabs, resolution.
        device: where to compute.
        thinning: the part of the particles that makes the maps; all of them when omitted.

    Returns:
        By field, (3 * n_slabs, n_pixels, n_pixels) float32 in the unit of the field.

    Raises:
        UserError: a quantity that the snapshot has not, too few particles of a kind, another mass than that of the box,
            or pixels that are not finite.
    """
    if spec.check_mass:
        _check_mass(snapshot)
    sums: dict[tuple[str, bool], Tensor] = {}
    for kind in {kind: None for field in spec.fields for kind in FIELDS[field].kinds}:
        if not snapshot.n_particles.get(kind, 0):
            continue
        wanted = {name: FIELDS[name] for name in spec.fields if kind in FIELDS[name].kinds}
        painted = _paint_kind(snapshot, kind, tuple(wanted.values()), spec, device, thinning)
        for name, field in wanted.items():
            _add(sums, (name, False), painted[field.quantity, field.averaged])
            if field.averaged:
                _add(sums, (name, True), painted[_MASS])
    empty = torch.zeros(3 * spec.n_slabs, spec.n_pixels, spec.n_pixels, dtype=torch.float64, device=device)
    finished = {}
    for name in spec.fields:
        total = sums.get((name, False), empty)
        if FIELDS[name].averaged:
            weight = sums.get((name, True), empty)
            total = torch.where(weight > 0, total / weight.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
        finished[name] = total.to(torch.float32).cpu().numpy()
        if not np.isfinite(finished[name]).all():
            raise DataError([f"{snapshot.path}: maps of {name} are not finite; leave it out of --fields"])
    return finished


def _check_mass(snapshot: Snapshot) -> None:
    """Refuse particles that, with dark matter among them, have not the mass of the box."""
    if snapshot.n_particles["dark matter"] and abs((ratio := snapshot.mass_ratio()) - 1) > MASS_TOLERANCE:
        raise DataError(
            [
                f"{snapshot.path}: the particles have {ratio:.3g} of the mass of Omega_m = {snapshot.Omega_m:g} in "
                f"{snapshot.box_size_mpc_h:.4g} Mpc/h; mend BoxSize or units, or take --no-check-mass for a cut-out"
            ]
        )


def _paint_kind(
    snapshot: Snapshot,
    kind: str,
    fields: Sequence[Field],
    spec: ProjectSpec,
    device: torch.device,
    thinning: Thinning | None,
) -> dict[_Weight, Tensor]:
    """Surface densities, float64, of each weight that some field needs, once, and of the mass where one is averaged."""
    slabs, box = cut_slabs(snapshot, spec), snapshot.box_size_mpc_h
    weights = dict.fromkeys((field.quantity, field.averaged) for field in fields)
    if any(field.averaged for field in fields):
        weights[_MASS] = None
    needed = {quantity for field in fields for quantity in field.stored} | {"position", "mass"}
    if (source := source_of_radius(snapshot, kind, spec)) == "smoothing length":
        needed.add(source)
    values = {name: torch.from_numpy(array).to(device) for name, array in snapshot.read(kind, sorted(needed)).items()}
    _refuse_unwritten(snapshot, kind, values["position"])
    values, factor = (values, 1.0) if thinning is None else _thin(snapshot, kind, values, thinning)
    position = values.pop("position")
    radius = _radius(snapshot, kind, values, position, spec)
    sums: dict[_Weight, Tensor] = {}
    for first in range(0, len(position), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        place = position[part].double() / box
        reach = None if radius is None else radius[part].double() / box
        chunk = {name: array[part].double() for name, array in values.items()}
        for weight in weights:
            discs = Discs(place, reach, _weigh(weight, chunk) * factor)
            _add(sums, weight, project_slabs([discs], spec.n_pixels, box, slabs, exact=True))
    return sums


def _refuse_unwritten(snapshot: Snapshot, kind: str, position: Tensor) -> None:
    """Refuse zeros in place of positions: what was allocated and never written, or lost."""
    n_zeros = int((position == 0).all(dim=1).sum())
    if n_zeros > max(_MOST_AT_ORIGIN, len(position) // 1000):
        told = f"{n_zeros} of {len(position)} particles of {kind} stand exactly at the origin"
        raise DataError([f"{snapshot.path}: {told}; the snapshot is damaged, write it again"])


def _add(sums: dict[tuple[str, bool], Tensor], key: tuple[str, bool], maps: Tensor) -> None:
    sums[key] = sums[key] + maps if key in sums else maps


def _thin(
    snapshot: Snapshot, kind: str, values: Mapping[str, Tensor], thinning: Thinning
) -> tuple[dict[str, Tensor], float]:
    """The kept particles, and how many times as much each stands for.

    A smoothing length reaches to a number of neighbours, so with fewer particles it is longer.
    """
    number = torch.from_numpy(particle_numbers(snapshot, kind)).to(values["mass"].device)
    kept = thinning.kept(number, kind)
    factor, longer = mass_given_back(values["mass"], kept), (len(kept) / max(int(kept.sum()), 1)) ** (1 / 3)
    part = {name: array[kept] for name, array in values.items()}
    if "smoothing length" in part:
        part["smoothing length"] *= longer
    return part, factor


def _radius(
    snapshot: Snapshot, kind: str, values: dict[str, Tensor], position: Tensor, spec: ProjectSpec
) -> Tensor | None:
    """Radius (n,) in Mpc/h of each particle's disc; None for points."""
    source = source_of_radius(snapshot, kind, spec)
    if source == "points":
        return None
    if source == "smoothing length":
        return values.pop(source)
    check_enough(len(position), kind, spec.n_neighbours, str(snapshot.path))
    box = snapshot.box_size_mpc_h
    distance: Tensor = neighbour_distance(position, box, spec.n_neighbours, workers=torch.get_num_threads())
    return distance


def _weigh(weight: _Weight, values: Mapping[str, Tensor]) -> Tensor:
    """What the particles spread over their discs."""
    name, times_mass = weight
    if name == "electron column":
        return values["electron density"] * values["mass"] / values["density"]
    quantity = values["velocity"].norm(dim=1) if name == "speed" else values[name]
    return quantity * values["mass"] if times_mass else quantity
