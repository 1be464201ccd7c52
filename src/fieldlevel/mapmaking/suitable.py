"""Whether a snapshot can make the maps of a spec, as far as it shows before its particles are read."""

from typing import Literal

from fieldlevel.errors import UserError
from fieldlevel.mapmaking.belonging import check_named_suite
from fieldlevel.mapmaking.fields import FIELDS, POINTS
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.mapmaking.slabs import Slabs
from fieldlevel.numerics.memory import check_fits
from fieldlevel.snapshots.facts import REDSHIFT_TOLERANCE
from fieldlevel.snapshots.snapshot import Snapshot

_BYTES_A_PARTICLE = 16
"""A position and a mass in single precision."""


def check_snapshot(snapshot: Snapshot, spec: ProjectSpec) -> None:
    """Refuse false names, slabs that do not fit, and fields that one particle of each kind shows not to be there.

    Raises:
        UserError: with what to do.
    """
    cut_slabs(snapshot, spec)
    if snapshot.redshift > REDSHIFT_TOLERANCE and not spec.any_redshift:
        told = f"redshift {snapshot.redshift:.4g}, but the names of the files say z=0.00"
        raise UserError(f"{snapshot.path}: {told}; leave it out, or take --any-redshift")
    check_named_suite(snapshot, spec.suite)
    for name in spec.fields:
        kinds = [kind for kind in FIELDS[name].kinds if snapshot.n_particles.get(kind, 0)]
        if not kinds:
            wanted = " or ".join(FIELDS[name].kinds)
            raise UserError(f"{snapshot.path}: no particles of {wanted}, which make {name}; leave it out of --fields")
        for kind in kinds:
            n = snapshot.n_particles[kind]
            what = f"{snapshot.path}: {n} particles of {kind}, which are read at once,"
            check_fits(n * _BYTES_A_PARTICLE, what, f"leave {name} out of --fields, or take a larger machine")
            next(snapshot.chunks(kind, FIELDS[name].stored, max_particles=1))
            if source_of_radius(snapshot, kind, spec) == "neighbours":
                _check_neighbours(snapshot, kind, spec)


def _check_neighbours(snapshot: Snapshot, kind: str, spec: ProjectSpec) -> None:
    n, remedy = snapshot.n_particles[kind], "lower --n-neighbours or take --radius points"
    if n <= spec.n_neighbours:
        told = f"{n} particles of {kind}; neighbour {spec.n_neighbours} needs {spec.n_neighbours + 1}"
        raise UserError(f"{snapshot.path}: {told}; {remedy}")
    for fraction in spec.thin:
        if n * fraction <= spec.n_neighbours:
            told = f"{fraction:g} of {n} particles of {kind} has no neighbour {spec.n_neighbours}"
            raise UserError(f"{snapshot.path}: {told}; keep a larger fraction, {remedy}")


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


def source_of_radius(
    snapshot: Snapshot, kind: str, spec: ProjectSpec
) -> Literal["points", "smoothing length", "neighbours"]:
    """What the discs of a kind reach to: where the snapshot has no smoothing lengths, to the neighbours."""
    if kind in POINTS:
        return "points"
    if spec.radius == "smoothing length" and not snapshot.has(kind, "smoothing length"):
        return "neighbours"
    return spec.radius
