"""What the record beside projected maps says of their slabs: `provenance.json`, as far as it can be read.

Folders of before there was a file that says it (`fieldlevel.data.layout_files`) have no other.
"""

import math
from dataclasses import replace
from typing import Any

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.errors import UserError
from fieldlevel.json_files import read_json_object
from fieldlevel.layout import Layout

RECORD_NAME = "provenance.json"
_UNREADABLE = (UserError, KeyError, TypeError, ValueError, IndexError, OverflowError)
_ROUND_OFF = 1e-9
"""Relative: boxes in kpc/h come back from their units with it."""


def recorded_layout(files: SuiteFiles, known: Layout) -> Layout | None:
    """The layout with box and slabs that the record of a folder gives for a suite.

    Args:
        files: the suite.
        known: what is known of it otherwise.

    Returns:
        None where the record gives none that can be understood.
    """
    try:
        record = _record(files)
        spec, box = record["spec"], float(record["snapshots"][0]["box_size_mpc_h"])
        n_slabs, given = spec["n_slabs"], spec["slab_thickness_mpc_h"]
        if type(n_slabs) is not int:
            return None
        thickness = float(given or box / n_slabs)
        recorded = replace(known, box_size_mpc_h=box, slab_thickness_mpc_h=thickness, n_slabs=n_slabs)
        is_as_known = math.isclose(box, known.box_size_mpc_h, rel_tol=_ROUND_OFF) and recorded.n_slabs == known.n_slabs
        is_as_thick = math.isclose(thickness, known.slab_thickness_mpc_h, rel_tol=_ROUND_OFF)
    except _UNREADABLE:
        return None
    return known if is_as_known and is_as_thick else recorded


def leaves_gaps(files: SuiteFiles) -> bool:
    """Whether the record says that there may be pixels that no particle reaches."""
    try:
        radius = _record(files)["spec"]["radius"]
    except _UNREADABLE:
        return False
    return str(radius) != "neighbours"


def _record(files: SuiteFiles) -> Any:
    return read_json_object(files.directory / RECORD_NAME)[f"{files.suite}_{files.set_name}"]


def count_words(layout: Layout, n_maps: int, n_simulations: int) -> str:
    """Why the maps of a file are not as many to a simulation as its layout says, as far as slabs explain it.

    Example:
        >>> count_words(Layout(), 60, 10)
        '6 each would be 2 slabs along each axis'
    """
    each, rest = divmod(n_maps, n_simulations)
    if rest or each % layout.n_axes or each // layout.n_axes in (0, layout.n_slabs):
        return ""
    along = "each axis" if layout.n_axes > 1 else "the axis"
    return f"{each} each would be {each // layout.n_axes} slabs along {along}"
