"""Are the files of a folder different from one another where they ought to be?

Two suites that hold the same maps are one suite under two names: a network tested on "the other" is tested on its own.
Labels of a gravity-only suite are those of its hydrodynamic twin.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from fieldlevel.data.camels_sets import fills_priors, is_of_camels
from fieldlevel.data.cmd_format import Float64Array, SuiteFiles
from fieldlevel.data.pixels import PixelSurvey
from fieldlevel.parameters import COSMOLOGICAL_COLUMNS, KNOWN_SUITES, SURFACE_DENSITIES, hydro_twin, is_nbody
from fieldlevel.wording import name_some

_TOLERANCE = 1e-4


def shared_maps(surveys: Mapping[SuiteFiles, PixelSurvey]) -> tuple[list[str], list[str]]:
    """Compare the maps of files with one another.

    Args:
        surveys: of every map file.

    Returns:
        Defects, and what may be so on purpose.
    """
    owners = {files: _numbers_by_digest(survey) for files, survey in surveys.items()}
    defects, remarks = [], []
    for one, other in combinations(surveys, 2):
        shared = sorted((owners[one][key], owners[other][key]) for key in owners[one].keys() & owners[other].keys())
        if not shared or _may_share(one, other, len(shared) == len(owners[one]) == len(owners[other])):
            continue
        pairs = name_some([f"{a} = {b}" for a, b in shared])
        line = f"{one.maps_path} and {other.maps_path.name} hold the same maps: {pairs}"
        if _must_differ(one, other):
            defects.append(f"{line}; one of them is a copy under another name, take it away or fetch it again")
        else:
            remarks.append(line)
    return defects, remarks


def _numbers_by_digest(survey: PixelSurvey) -> dict[bytes, int]:
    """Number of a map by its content; maps of one value are all alike and are left out."""
    with np.errstate(invalid="ignore"):
        varied = np.flatnonzero(survey.maximum > survey.minimum)
    return {survey.digests[number].tobytes(): int(number) for number in varied}


def _may_share(one: SuiteFiles, other: SuiteFiles, is_whole: bool) -> bool:
    """Gravity alone makes the same maps in every suite, and one kind of particles the same ones in every field."""
    if one.field != other.field:
        return one.field in SURFACE_DENSITIES and other.field in SURFACE_DENSITIES
    both_nbody = is_nbody(one.suite) and is_nbody(other.suite)
    return both_nbody and one.suite != other.suite and one.set_name == other.set_name and not fills_priors(one.set_name)


def _must_differ(one: SuiteFiles, other: SuiteFiles) -> bool:
    if one.field != other.field:
        return True
    if one.suite == other.suite:
        both_known = is_of_camels(one.set_name) and is_of_camels(other.set_name)
        return both_known and (fills_priors(one.set_name) or fills_priors(other.set_name))
    if is_nbody(one.suite) and is_nbody(other.suite):
        return all(hydro_twin(files.suite) in KNOWN_SUITES for files in (one, other))
    return True


def label_conflicts(labels: Mapping[SuiteFiles, Float64Array], suites: Sequence[SuiteFiles]) -> Iterator[str]:
    """Compare Omega_m and sigma_8 of gravity-only suites with those of their hydrodynamic twins.

    Args:
        labels: of every suite whose labels can be read.
        suites: of one folder.

    Yields:
        One line a pair of tables that differ.
    """
    tables = {(files.suite, files.set_name): files for files in suites if files in labels}
    for (suite, set_name), files in tables.items():
        twin = tables.get((hydro_twin(suite), set_name)) if is_nbody(suite) else None
        if twin is None or files.parameters_path == twin.parameters_path:
            continue
        ours, theirs = (labels[each][:, COSMOLOGICAL_COLUMNS] for each in (files, twin))
        if len(ours) != len(theirs):
            continue
        wrong = np.flatnonzero(~np.isclose(ours, theirs, rtol=_TOLERANCE, atol=1e-5).all(axis=1))
        if wrong.size:
            yield (
                f"{files.parameters_path} and {twin.parameters_path.name}: Omega_m and sigma_8 of rows "
                f"{name_some(wrong)} differ, though both suites have the same simulations; mend one of the tables"
            )
