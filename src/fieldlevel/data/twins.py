"""Are the files of a folder different from one another where they ought to be?

Two suites that hold the same maps are one suite under two names: a network tested on "the other" is tested on its own.
Not so two mock suites whose records tell of these very maps: with so few particles that there are no haloes, models of
baryons may do the same.
Labels of a gravity-only suite are those of its hydrodynamic twin.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations

import numpy as np

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.map_records import recorded_file
from fieldlevel.data.parameter_tables import Float64Array
from fieldlevel.data.pixels import PixelSurvey
from fieldlevel.layout import Layout
from fieldlevel.suites import are_twins, fills_priors, is_known, is_nbody, is_of_camels
from fieldlevel.wording import name_some

_TOLERANCE = 1e-4


def shared_maps(
    surveys: Mapping[SuiteFiles, PixelSurvey], layouts: Mapping[SuiteFiles, Layout]
) -> tuple[list[str], list[str]]:
    """Compare the maps of files with one another.

    Args:
        surveys: of every map file.
        layouts: of their maps.

    Returns:
        Defects, and what may be so on purpose.
    """
    owners = {files: _numbers_by_digest(survey) for files, survey in surveys.items()}
    defects, remarks = [], []
    for one, other in combinations(surveys, 2):
        shared = sorted((owners[one][key], owners[other][key]) for key in owners[one].keys() & owners[other].keys())
        are_masses = all(layouts[files].is_surface_density(files.field) for files in (one, other))
        if not shared or _may_share(one, other, are_masses=are_masses):
            continue
        pairs = name_some([f"{a} = {b}" for a, b in shared])
        line = f"{one.maps_path} and {other.maps_path.name} hold the same maps: {pairs}"
        if _were_simulated_alike(one, other, surveys):
            remarks.append(f"{line}; so they were simulated: nothing tells these suites apart, ask for more particles")
        elif _must_differ(one, other):
            defects.append(f"{line}; one of them is a copy under another name, take it away or fetch it again")
        else:
            remarks.append(line)
    return defects, remarks


def _numbers_by_digest(survey: PixelSurvey) -> dict[bytes, int]:
    """Number of a map by its content; maps of one value are all alike and are left out."""
    with np.errstate(invalid="ignore"):
        varied = np.flatnonzero(survey.maximum > survey.minimum)
    return {survey.digests[number].tobytes(): int(number) for number in varied}


def _may_share(one: SuiteFiles, other: SuiteFiles, *, are_masses: bool) -> bool:
    """Gravity alone makes the same maps in every suite, and one kind of particles the same ones in every field."""
    if one.field != other.field:
        return are_masses
    both_nbody = is_nbody(one.suite) and is_nbody(other.suite)
    return both_nbody and one.suite != other.suite and one.set_name == other.set_name and not fills_priors(one.set_name)


def _were_simulated_alike(one: SuiteFiles, other: SuiteFiles, surveys: Mapping[SuiteFiles, PixelSurvey]) -> bool:
    """Whether these are two suites, and the record of each tells that this package simulated these very maps."""
    records = [recorded_file(files) for files in (one, other)]
    are_recorded = all(
        record is not None and record.is_of(surveys[files].digest)
        for files, record in zip((one, other), records, strict=True)
    )
    return one.suite != other.suite and are_recorded


def _must_differ(one: SuiteFiles, other: SuiteFiles) -> bool:
    if one.field != other.field:
        return True
    if one.suite == other.suite:
        both_known = is_of_camels(one.set_name) and is_of_camels(other.set_name)
        return both_known and (fills_priors(one.set_name) or fills_priors(other.set_name))
    if is_nbody(one.suite) and is_nbody(other.suite):
        return is_known(one.suite) and is_known(other.suite)
    return True


def label_conflicts(
    labels: Mapping[SuiteFiles, Float64Array], layouts: Mapping[SuiteFiles, Layout], suites: Sequence[SuiteFiles]
) -> Iterator[str]:
    """Compare the cosmology of gravity-only suites, Omega_m and sigma_8, with that of their hydrodynamic twins.

    Args:
        labels: of every suite whose labels can be read.
        layouts: of these suites.
        suites: of one folder.

    Yields:
        One line a pair of tables that differ.
    """
    tables = {(files.suite, files.set_name): files for files in suites if files in labels}
    for files, twin in permutations(tables.values(), 2):
        if not _is_twin_of(files, twin) or files.parameters_path == twin.parameters_path:
            continue
        names = [name for name in _cosmology(layouts[files]) if name in _cosmology(layouts[twin])]
        ours, theirs = (labels[each][:, [layouts[each].column(name) for name in names]] for each in (files, twin))
        if len(ours) != len(theirs):
            continue
        wrong = np.flatnonzero(~np.isclose(ours, theirs, rtol=_TOLERANCE, atol=1e-5).all(axis=1))
        if wrong.size:
            yield (
                f"{files.parameters_path} and {twin.parameters_path.name}: {' and '.join(names)} of rows "
                f"{name_some(wrong)} differ, though both suites have the same simulations; mend one of the tables"
            )


def _is_twin_of(files: SuiteFiles, other: SuiteFiles) -> bool:
    """Whether the first is gravity-only and has the simulations of the other."""
    is_pair = is_nbody(files.suite) and not is_nbody(other.suite) and are_twins(files.suite, other.suite)
    return is_pair and files.set_name == other.set_name


def _cosmology(layout: Layout) -> tuple[str, ...]:
    return tuple(parameter.name for parameter in layout.cosmological)
