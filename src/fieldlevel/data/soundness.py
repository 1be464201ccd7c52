"""Is a CMD-format folder sound? Every defect in plain words: the file, what is wrong, where, what to do.

What is no defect but worth a line is a remark: files that are not read, zero pixels that may be, and what no folder can
show of itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fieldlevel.data.clustering import clustering_defects, has_clustering
from fieldlevel.data.cmd_format import (
    LAYOUT_FILE,
    MAPS_NAME,
    SuiteFiles,
    list_names,
    list_parameter_files,
    list_suites,
    misspelt,
)
from fieldlevel.data.digests import Stamp, recall, remember
from fieldlevel.data.geometry import RECORD_NAME, count_words, leaves_gaps
from fieldlevel.data.labels import label_remarks, parameter_defects, used_columns
from fieldlevel.data.layout_files import find_layout
from fieldlevel.data.map_headers import hole_defect, inspect_header, resolution_defect
from fieldlevel.data.map_records import recorded_file
from fieldlevel.data.npy_files import MapHeader, read_header
from fieldlevel.data.parameter_tables import Float64Array, read_parameters
from fieldlevel.data.pixels import PixelSurvey, pixel_defects, survey_pixels, zero_remark
from fieldlevel.data.reference import is_verified, seed_tables, table_defects
from fieldlevel.data.twins import label_conflicts, shared_maps
from fieldlevel.data.weighing import is_weighed, mass_defects, unit_defect
from fieldlevel.errors import DataError, UserError, printable
from fieldlevel.layout import Layout
from fieldlevel.progress import Listener, ignore
from fieldlevel.progress_bars import telling
from fieldlevel.suites import is_mock, known_suites, label_suite
from fieldlevel.wording import name_some


class _Verdict(NamedTuple):
    """What was found of one suite; the survey is None where its maps cannot be read.

    Some of the defects are of the unit, as maps have them that are sound but for that; what is hidden by these, only
    `unit_defects` tells.
    """

    defects: list[str]
    remarks: list[str]
    layout: Layout
    theta: Float64Array | None
    survey: PixelSurvey | None
    of_unit: Sequence[str] = ()
    hidden: Sequence[str] = ()


_UNKNOWN = Layout()
_ANSWERS = (".posterior.csv", ".posterior.samples.npz")
"""Ends of the files that `infer` leaves beside maps, where it is told no other place."""
_EXCHANGED = f"not the maps that {RECORD_NAME} tells of, damaged or exchanged since: other data; simulate them again"
_surveys: dict[Stamp, PixelSurvey] = {}
_verdicts: dict[tuple[SuiteFiles, Layout, Stamp, Stamp], _Verdict] = {}


class _Tables(NamedTuple):
    """Header and labels, None where they cannot be used, and every defect that shows without reading a pixel."""

    layout: Layout
    header: MapHeader | None
    theta: Float64Array | None
    defects: list[str]


def check_directory(directory: str | Path, listener: Listener = ignore, *, verbose: bool = False) -> list[str]:
    """Find every defect of a folder of CMD files.

    Args:
        directory: folder of map and parameter files.
        listener: told about maps read.
        verbose: whether to show the progress, too.

    Returns:
        One line a defect; an empty list for a sound folder.

    Example:
        >>> check_directory("no-such-folder")
        ['no-such-folder: no such folder; name the folder that holds the map files']
    """
    with telling(listener, verbose) as told:
        return inspect_directory(directory, told)[0]


def directory_remarks(directory: str | Path, listener: Listener = ignore) -> list[str]:
    """What is no defect of a folder but worth a line; arguments as those of `check_directory`, read only once."""
    return inspect_directory(directory, listener)[1]


def inspect_directory(directory: str | Path, listener: Listener = ignore) -> tuple[list[str], list[str]]:
    """The defects and the remarks of a folder; arguments as those of `check_directory`."""
    folder = Path(directory)
    try:
        names = list_names(folder)
    except DataError as error:
        return error.defects, []
    try:
        suites = list_suites(folder)
    except DataError as error:
        return [*error.defects, *orphan_defects(folder, [])], _file_remarks(folder, names, [])
    verdicts = {files: _inspect_suite(files, listener) for files in suites}
    shared, conflicts = _compare(verdicts)
    defects = [defect for verdict in verdicts.values() for defect in verdict.defects]
    remarks = [remark for verdict in verdicts.values() for remark in verdict.remarks]
    defects += [*shared[0], *conflicts, *orphan_defects(folder, suites)]
    remarks += [*shared[1], *_file_remarks(folder, names, suites)]
    return list(dict.fromkeys(defects)), list(dict.fromkeys(remarks))


def check_distinct(suites: Sequence[SuiteFiles], listener: Listener = ignore) -> None:
    """Refuse suites that are one suite under two names; maps that were checked in this process are not read again.

    Args:
        suites: to compare.
        listener: told about maps read.

    Raises:
        DataError: some of them hold the same maps.
    """
    verdicts = {files: _inspect_suite(files, listener) for files in suites}
    (defects, _), conflicts = _compare(verdicts)
    if defects or conflicts:
        raise DataError([*defects, *conflicts])


def _compare(verdicts: Mapping[SuiteFiles, _Verdict]) -> tuple[tuple[list[str], list[str]], list[str]]:
    """Defects and remarks of maps that occur twice, and conflicts between the labels of twins."""
    layouts = {files: verdict.layout for files, verdict in verdicts.items()}
    surveys = {files: verdict.survey for files, verdict in verdicts.items() if verdict.survey is not None}
    labels = {files: verdict.theta for files, verdict in verdicts.items() if verdict.theta is not None}
    return shared_maps(surveys, layouts), list(label_conflicts(labels, layouts, list(verdicts)))


def orphan_defects(directory: Path, suites: Sequence[SuiteFiles]) -> list[str]:
    """Name the maps of a folder that nobody will read, since they have another name.

    Args:
        directory: folder to look in.
        suites: every map file of it.

    Returns:
        One line a file.
    """
    known = {files.maps_path.name for files in suites}
    maps = [name for name in list_names(directory) if name.startswith("Maps_") and not name.endswith(_ANSWERS)]
    strangers = [name for name in maps if name not in known]
    return [
        f"{directory / printable(name)}: not a name that is read; rename it to {MAPS_NAME} or take it away"
        for name in strangers
    ]


def _file_remarks(directory: Path, names: Sequence[str], suites: Sequence[SuiteFiles]) -> list[str]:
    used = {files.parameters_path for files in suites}
    orphans = [path for path in list_parameter_files(directory) if path not in used]
    grids = [name for name in names if name.startswith("Grids_")]
    twins = [replace(files, suite=label_suite(files.suite)) for files in suites]
    known = {files.layout_path.name for files in (*suites, *twins)}
    layouts = [name for name in names if LAYOUT_FILE.fullmatch(name) and name not in known]
    return [
        *(f"{directory / printable(name)}: says what maps are that are not here; it is not read" for name in layouts),
        *(f"{path}: labels without maps; they are not read" for path in orphans),
        *(f"{directory / printable(name)}: three-dimensional grids, which are not read" for name in grids),
    ]


def check_suite(files: SuiteFiles, listener: Listener = ignore) -> list[str]:
    """Find every defect of one map file and its parameter file, reading the maps in a stream.

    A verdict is remembered while this process lives and both files keep their size and time of change.

    Args:
        files: the suite to check.
        listener: told about maps read.

    Returns:
        One line a defect; an empty list for a sound suite.
    """
    return list(_inspect_suite(files, listener).defects)


def unit_defects(files: SuiteFiles, listener: Listener = ignore) -> tuple[list[str], list[str]]:
    """Tell the defects of maps that are in another unit from those that no unit explains; read once as `check_suite`.

    Args:
        files: the suite to check.
        listener: told about maps read.

    Returns:
        Lines on maps in another unit or with the mass of another geometry; every other defect, such as NaN pixels,
        negative ones, or labels of other maps.
    """
    verdict = _inspect_suite(files, listener)
    others = [defect for defect in verdict.defects if defect not in verdict.of_unit]
    return list(verdict.of_unit), [*others, *verdict.hidden]


def _inspect_suite(files: SuiteFiles, listener: Listener) -> _Verdict:
    try:
        key = files, find_layout(files), Stamp.of(files.maps_path), Stamp.of(files.parameters_path)
    except (OSError, ValueError, UserError):
        return _judge(files, listener)
    if key not in _verdicts:
        _verdicts[key] = _judge(files, listener)
    return _verdicts[key]


def _judge(files: SuiteFiles, listener: Listener) -> _Verdict:
    layout, header, theta, defects = _inspect_tables(files)
    remarks = [] if theta is None or defects else list(label_remarks(files, theta, layout))
    may_have_gaps = leaves_gaps(files)
    if header is None:
        return _Verdict(defects, remarks, layout, theta, None)
    if not may_have_gaps and (hole := hole_defect(files, header)):
        return _Verdict([*defects, hole], remarks, layout, theta, None)
    try:
        survey = survey_maps(files.maps_path, header, listener)
    except DataError as error:
        return _Verdict([*defects, *error.defects], remarks, layout, theta, None)
    if unit := unit_defect(files, theta, survey, layout):
        hidden = list(pixel_defects(files, survey, layout, may_have_gaps=may_have_gaps))
        return _Verdict([*defects, unit], remarks, layout, theta, survey, [unit], hidden)
    defects += pixel_defects(files, survey, layout, may_have_gaps=may_have_gaps)
    of_unit: list[str] = []
    if theta is not None and header.shape[0] == layout.n_maps * len(theta):
        of_unit, of_labels = mass_defects(files, theta, survey.mean, layout)
        defects += [*of_unit, *of_labels]
        defects += clustering_defects(files, theta, survey.contrast, layout)
        remarks += [] if defects else list(_uncheckable(files, theta, survey, layout))
    if zeros := zero_remark(files, survey, may_have_gaps=may_have_gaps):
        remarks.append(zeros)
    if (known := recorded_file(files)) is not None and known.pixels is not None and not known.is_of(survey.digest):
        remarks.append(f"{files.maps_path}: {_EXCHANGED}")
    return _Verdict(defects, remarks, layout, theta, survey, of_unit)


def _uncheckable(files: SuiteFiles, theta: Float64Array, survey: PixelSurvey, layout: Layout) -> Iterator[str]:
    """What nothing in the folder can show to be right."""
    if is_verified(files, theta, layout):
        return
    shown = {"Omega_m"} if is_weighed(files, layout) else set()
    if has_clustering(files, theta, survey.contrast, layout):
        shown.add("sigma_8")
    varied = [layout.names[i] for i in used_columns(files.suite, layout) if np.ptp(theta[:, i]) > 0]
    if files.field == "Mtot" and not layout.fills_box:
        told = f"not all mass of the box is in the maps, they are {layout.slabs}"
        yield f"{files.maps_path}: {told}; only a factor of two would be found"
    if names := [name for name in varied if name not in shown]:
        of_mock, of_others = "right unless it was changed since", "compare with the table that was published"
        yield (
            f"{files.maps_path}: not checkable: that its maps have the {name_some(names)} of their rows in "
            f"{files.parameters_path.name}; {of_mock if is_mock(files.suite) else of_others}"
        )


def survey_maps(path: Path, header: MapHeader, listener: Listener = ignore) -> PixelSurvey:
    """`survey_pixels`, remembered while this process lives and the file is what it was; so is the digest.

    Raises:
        DataError: as `survey_pixels`.
    """
    stamp = Stamp.of(path)
    if stamp not in _surveys:
        survey = survey_pixels(path, header, listener)
        remember(stamp, survey.digest)
        if not stamp.is_settled:
            return survey
        _surveys[stamp] = survey
    return _surveys[stamp]


def digest_of_maps(path: Path, listener: Listener = ignore) -> str:
    """Digest of all pixels of a map file, which is read only if it was not since it last changed.

    Args:
        path: map file with a sound header.
        listener: told about maps read.

    Raises:
        DataError: the file ends before its last map.
    """
    return recall(Stamp.of(path)) or survey_maps(path, read_header(path), listener).digest


def check_tables(files: SuiteFiles) -> list[str]:
    """Find the defects that show without reading a pixel: header, size, number of maps, parameters.

    Args:
        files: the suite to check.

    Returns:
        One line a defect, in the words of `check_suite`.
    """
    return _inspect_tables(files).defects


def _inspect_tables(files: SuiteFiles) -> _Tables:
    if wrong := misspelt(files, [facts.name for facts in known_suites()]):
        return _Tables(_UNKNOWN, None, None, [_told_of_name(files, wrong)])
    try:
        layout = find_layout(files)
    except UserError as error:
        return _Tables(_UNKNOWN, None, None, [str(error)])
    header, defects = inspect_header(files.maps_path)
    if header is not None and (size := resolution_defect(files, header, layout)):
        defects.append(size)
    try:
        theta = read_parameters(files.parameters_path, layout)
    except DataError as error:
        hint = _other_tables(files, layout) if not files.parameters_path.exists() else ""
        return _Tables(layout, header, None, [*defects, *(f"{defect}{hint}" for defect in error.defects)])
    if header is not None:
        defects += _count_defects(files, header.shape[0], len(theta), layout)
    defects += [*parameter_defects(files, theta, layout), *table_defects(files, theta, layout)]
    return _Tables(layout, header, theta, defects)


def _told_of_name(files: SuiteFiles, wrong: dict[str, str]) -> str:
    right = replace(
        files,
        field=wrong.get(files.field, files.field),
        suite=wrong.get(files.suite, files.suite),
        set_name=wrong.get(files.set_name, files.set_name),
    )
    told = ", ".join(f"{given} for {name}" for given, name in wrong.items())
    return f"{files.maps_path}: {told}: upper and lower case count; rename it to {right.maps_path.name}"


def _other_tables(files: SuiteFiles, layout: Layout) -> str:
    """Point to tables that may hold the labels of a suite under another name."""
    old = [files.directory / f"params_{suite}.txt" for suite in (files.suite, files.suite.removeprefix("Nbody_"))]
    found = [
        f"{path.name} is the name of 2021: if it holds the set {files.set_name}, rename it"
        for path in dict.fromkeys(old)
        if path.exists()
    ]
    how_many = "six" if layout.n_parameters == 6 else str(layout.n_parameters)
    found += [f"{path.name} holds them between a name and the seed: keep the {how_many}" for path in seed_tables(files)]
    return "".join(f"; {hint} to {files.own_parameters_path.name}" for hint in found)


def _count_defects(files: SuiteFiles, n_maps: int, n_simulations: int, layout: Layout) -> list[str]:
    expected = layout.n_maps * n_simulations
    if n_maps == expected:
        return []
    what = "not a multiple of" if n_maps % n_simulations else f"not {layout.n_maps} for each of"
    remedy = "fetch the file again or give the labels that belong to it"
    if slabs := count_words(layout, n_maps, n_simulations):
        slabs = f" ({slabs}, its layout has {layout.n_maps} maps, {layout.n_slabs} along each axis)"
        remedy += f", or say n_slabs in {files.layout_path.name}"
    return [
        f"{files.maps_path}: {n_maps} maps, {what} the {n_simulations} simulations of {files.parameters_path.name}, "
        f"which need {expected}{slabs}; {remedy}"
    ]
