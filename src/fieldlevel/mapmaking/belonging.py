"""Whether snapshots belong together in one folder, and to the suite that it is named after."""

from collections.abc import Sequence

from fieldlevel.errors import UserError
from fieldlevel.mapmaking.project_spec import ProjectSpec
from fieldlevel.snapshots.facts import BOX_TOLERANCE, REDSHIFT_TOLERANCE
from fieldlevel.snapshots.snapshot import Snapshot
from fieldlevel.suites import MOCK_MARK, is_mock, is_nbody, mock_suites, nbody_twin, suite_named_in, varies_hubble

_HUBBLE_TOLERANCE = 1e-3


def check_named_suite(snapshot: Snapshot, suite: str) -> None:
    """Refuse a name that is not that of the simulation: a mock's, another suite's, a gravity-only one's."""
    told = None
    is_gravity_only = not any(n for kind, n in snapshot.n_particles.items() if kind != "dark matter")
    if snapshot.is_mock != is_mock(suite):
        names = " or ".join(dict.fromkeys([*mock_suites(), *map(nbody_twin, mock_suites())]))
        told = f"is {MOCK_MARK}: name its suite {names}" if snapshot.is_mock else f"is no mock: not {suite}"
    elif snapshot.suite is not None and _is_another(snapshot.suite, suite):
        told = f"is of {snapshot.suite}, not of {suite}"
    elif is_nbody(suite) and not is_gravity_only:
        told = f"has other particles than dark matter, so it is not gravity-only: not {suite}"
    elif is_gravity_only and not is_nbody(suite) and (is_mock(suite) or suite_named_in(suite)):
        told = f"has dark matter only, so it is gravity-only: name its suite {nbody_twin(suite)}"
    if told is not None:
        raise UserError(f"{snapshot.path}: {told}; choose with --suite")


def _is_another(stated: str, suite: str) -> bool:
    """Whether the name in a header and that of the maps cannot mean one suite."""
    if is_mock(stated) or is_mock(suite):
        return stated != suite
    known, wanted = suite_named_in(stated), suite_named_in(suite)
    return known is not None and wanted is not None and known != wanted


def check_together(snapshots: Sequence[Snapshot], contents: Sequence[str], spec: ProjectSpec) -> None:
    """Refuse one snapshot under two names, and two kinds of simulations in one folder."""
    first = snapshots[0]
    for number, snapshot in enumerate(snapshots):
        twin = snapshots[contents.index(contents[number])]
        if twin is not snapshot:
            raise UserError(f"{twin.path} and {snapshot.path} are one snapshot; name it once")
        has_same_redshift = abs(snapshot.redshift - first.redshift) <= REDSHIFT_TOLERANCE
        if not has_same_redshift or abs(snapshot.box_size_mpc_h / first.box_size_mpc_h - 1) > BOX_TOLERANCE:
            one, other = (f"{s.path} ({s.box_size_mpc_h:g} Mpc/h, redshift {s.redshift:g})" for s in (first, snapshot))
            raise UserError(f"{one} and {other} differ; give each box and redshift a folder of its own")
        if bool(first.n_particles["gas"]) != bool(snapshot.n_particles["gas"]):
            one, other = (f"{s.path} ({s.n_particles['gas']} particles of gas)" for s in (first, snapshot))
            raise UserError(f"{one} and {other} differ; give gravity-only simulations a suite of their own")
        is_fixed = not varies_hubble(spec.set_name)
        if first.h and snapshot.h and is_fixed and abs(snapshot.h - first.h) > _HUBBLE_TOLERANCE:
            one, other = (f"{s.path} (h = {s.h:g})" for s in (first, snapshot))
            raise UserError(f"{one} and {other} differ; name a set in which h varies SB<number> with --set")
