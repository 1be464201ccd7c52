"""What a folder says of its maps: `layout_<set>_<suite>.json`, and tables of ranges as CAMELS publishes them.

The file beside the maps holds any of the settings of a `Layout` over what is known of the suite; whoever makes maps of
her own writes it, as `simulate` and `project` do:

    {"box_size_mpc_h": 50.0, "slab_thickness_mpc_h": 25.0, "n_slabs": 2,
     "parameters": [{"name": "Omega_m", "low": 0.1, "high": 0.5, "cosmological": true}, ...]}

In the place of the list, `parameters` may name a table of ranges in the same folder, e.g. `"Info_SB28.csv"`: a row a
parameter in the order of the columns of the labels, with the columns ParamName, LogFlag, FiducialVal (or Fid), MinVal
and MaxVal (or AbsMaxDiff: the distance from the fiducial value, a factor where LogFlag is 1).
"""

import csv
import io
import json
import math
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.geometry import recorded_layout
from fieldlevel.errors import UserError, shown
from fieldlevel.files import read_text
from fieldlevel.json_files import read_json_object, write_json
from fieldlevel.layout import CAMELS_PARAMETERS, Layout, Parameter
from fieldlevel.spec_io import from_json
from fieldlevel.suites import label_suite, layout_of

_NAMES = {
    **{
        "Omega0": "Omega_m",
        "OmegaMatter": "Omega_m",
        "sigma8": "sigma_8",
        "OmegaBaryon": "Omega_b",
        "OmegaB": "Omega_b",
    },
    **{"HubbleParam": "h", "n_s": "n_s", "ns": "n_s"},
    **{name: f"A_{name[1:]}" for name in ("ASN1", "ASN2", "AAGN1", "AAGN2")},
}
"""What the parameters of the tables of ranges are called here, where they have another name there."""
_COSMOLOGICAL = {"Omega_m", "sigma_8", "Omega_b", "h", "n_s"}
_SYMBOLS = {parameter.name: parameter.symbol for parameter in CAMELS_PARAMETERS}
_ROUND_OFF = 1e-6
_OF_RANGES = ("ParamName", "LogFlag", "FiducialVal or Fid", "MinVal and MaxVal, or AbsMaxDiff")


def find_layout(files: SuiteFiles) -> Layout:
    """What the maps of a suite's set are: as the file beside them says, else the record of their making.

    Where neither says anything it is as is known of the suite. A gravity-only suite without a file shares that of its
    hydrodynamic twin.

    Raises:
        UserError: a file that cannot be read, an unknown setting, a value that cannot be; the file is named.
    """
    paths = (each.layout_path for each in (files, *_twin(files)))
    path = next((path for path in paths if os.path.lexists(path)), None)
    known = layout_of(files.suite, files.set_name)
    if path is None:
        return recorded_layout(files, known) or known
    return _overlay(known, path)


def differences(files: SuiteFiles, layout: Layout) -> dict[str, Any]:
    """Settings of a layout other than those that every process knows of the suite, in types that JSON has.

    The number of pixels does not count, which the maps themselves tell.
    """
    known, given = (layout_to_json(each) for each in (layout_of(files.suite, files.set_name, built_in=True), layout))
    return {key: value for key, value in given.items() if value != known[key] and key != "n_pixels"}


def write_layout(files: SuiteFiles, layout: Layout) -> Path:
    """Write what the maps of a suite's set are beside them: box, slabs, and all that differs from what is known.

    Returns:
        The file.

    Example:
        >>> import tempfile
        >>> files = SuiteFiles(Path(tempfile.mkdtemp()), "Wide")
        >>> write_layout(files, Layout(box_size_mpc_h=50.0, n_slabs=2, slab_thickness_mpc_h=25.0)).name
        'layout_LH_Wide.json'
        >>> find_layout(files).slabs
        '2 slabs of 25 Mpc/h of a box of 50 Mpc/h'
    """
    always = {name: getattr(layout, name) for name in ("box_size_mpc_h", "slab_thickness_mpc_h", "n_slabs")}
    write_json(files.layout_path, always | differences(files, layout))
    return files.layout_path


def layout_to_json(layout: Layout) -> dict[str, Any]:
    """All settings of a layout in types that JSON has; `layout_from_json` reads them."""
    return asdict(layout)


def layout_from_json(document: dict[str, Any], source: str) -> Layout:
    """Read what `layout_to_json` gave.

    Raises:
        UserError: unknown or missing settings, values that cannot be, with the source.
    """
    try:
        return from_json(Layout, json.dumps(document), source)
    except UserError as error:  # of a layout itself without the source
        told = str(error)
        raise UserError(told if told.startswith(source) else f"{source}: {told}") from None


def read_ranges(path: Path) -> tuple[Parameter, ...]:
    """Read a table of ranges, as the `Info_*` tables of CAMELS.

    Raises:
        UserError: no such file, a column that is missing, a row that is no prior.
    """
    text = read_text(path, "give a table of ranges")
    rows = list(csv.DictReader(io.StringIO(text.lstrip("\ufeff")), skipinitialspace=True))
    if not rows:
        raise UserError(f"{path}: no rows; give a row a parameter: {', '.join(_OF_RANGES)}")
    return tuple(_parameter_of(row, f"{path}: row {number}") for number, row in enumerate(rows))


def _parameter_of(row: dict[str, str], where: str) -> Parameter:
    given = (row.get("ParamName") or "").strip()
    name = _NAMES.get(given, given)
    is_log = _number(row, where, "LogFlag") != 0
    fiducial = _number(row, where, "FiducialVal", "Fid")
    if "MinVal" in row and "MaxVal" in row:
        low, high = _number(row, where, "MinVal"), _number(row, where, "MaxVal")
    else:
        reach = _number(row, where, "AbsMaxDiff")
        edges = (fiducial / reach, fiducial * reach) if is_log and reach else (fiducial - reach, fiducial + reach)
        low, high = (float(f"{edge:.12g}") for edge in edges)
    try:
        return Parameter(name, _SYMBOLS.get(name, ""), low, high, is_log, fiducial, name in _COSMOLOGICAL)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _number(row: dict[str, str], where: str, *columns: str) -> float:
    word = next((row[column] for column in columns if row.get(column) is not None), None)
    if not isinstance(word, str):
        raise UserError(f"{where}: no column {' or '.join(columns)}; give {', '.join(_OF_RANGES)}")
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{where}: {columns[0]} {shown(word)} is not a number; mend the row")
    return number


def _twin(files: SuiteFiles) -> list[SuiteFiles]:
    shared = label_suite(files.suite)
    return [replace(files, suite=shared)] if shared != files.suite else []


def _overlay(known: Layout, path: Path) -> Layout:
    given = read_json_object(path)
    if isinstance(table := given.get("parameters"), str):
        given |= {"parameters": [asdict(each) for each in read_ranges(path.parent / _plain_name(table, path))]}
    if isinstance(units := given.get("units"), dict):
        given |= {"units": list(({**dict(known.units), **units}).items())}
    layout = layout_from_json(layout_to_json(known) | given, str(path))
    if layout.n_slabs * layout.slab_thickness_mpc_h > layout.box_size_mpc_h * (1 + _ROUND_OFF):
        raise UserError(f"{path}: {layout.slabs}, which has no room for them; give their number and thickness")
    return layout


def _plain_name(name: str, path: Path) -> str:
    if not name or Path(name).name != name:
        raise UserError(f"{path}: parameters: {shown(name)}; name a table of ranges in the same folder")
    return name
