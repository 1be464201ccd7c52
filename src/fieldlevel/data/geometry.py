"""What the record beside projected maps says of their slabs: `provenance.json`, as far as it can be read."""

import math
from dataclasses import dataclass
from typing import Any

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.errors import UserError
from fieldlevel.json_files import read_json_object
from fieldlevel.parameters import SLABS_PER_AXIS

RECORD_NAME = "provenance.json"
_MOST_SLABS = 1_000_000


@dataclass(frozen=True)
class Geometry:
    """How snapshots became maps.

    Attributes:
        box_size_mpc_h: of the snapshots.
        n_slabs: along each axis.
        thickness_mpc_h: of a slab.
        radius: what the discs of gas and dark matter reach to, as in `ProjectSpec.radius`.
    """

    box_size_mpc_h: float
    n_slabs: int
    thickness_mpc_h: float
    radius: str

    @property
    def leaves_gaps(self) -> bool:
        """Whether there may be pixels that no particle reaches."""
        return self.radius != "neighbours"

    @property
    def fills_box(self) -> bool:
        """Whether the slabs of an axis hold all the mass of the box."""
        return math.isclose(self.n_slabs * self.thickness_mpc_h, self.box_size_mpc_h, rel_tol=1e-6)

    def __str__(self) -> str:
        """In words."""
        return f"{self.n_slabs} slabs of {self.thickness_mpc_h:g} Mpc/h of a box of {self.box_size_mpc_h:g} Mpc/h"


def recorded_geometry(files: SuiteFiles) -> Geometry | None:
    """The geometry that the record of a folder gives for a suite; None where it gives none that can be understood."""
    try:
        record = read_json_object(files.directory / RECORD_NAME).get(f"{files.suite}_{files.set_name}")
        return _geometry(record)
    except (UserError, KeyError, TypeError, ValueError, IndexError, OverflowError):
        return None


def _geometry(record: Any) -> Geometry:
    spec, box = record["spec"], float(record["snapshots"][0]["box_size_mpc_h"])
    n_slabs, given = spec["n_slabs"], spec["slab_thickness_mpc_h"]
    if type(n_slabs) is not int or not 1 <= n_slabs <= _MOST_SLABS:
        raise ValueError("not a number of slabs")
    thickness = float(given or box / n_slabs)
    if not (0 < box < math.inf and 0 < thickness < math.inf):
        raise ValueError("not a length")
    return Geometry(box, n_slabs, thickness, str(spec["radius"]))


def count_words(files: SuiteFiles, n_maps: int, n_simulations: int) -> tuple[str, str]:
    """Why the maps of a file are not 15 to a simulation, as far as slabs explain it, and what to do.

    Example:
        >>> from pathlib import Path
        >>> count_words(SuiteFiles(Path("nowhere"), "Mine"), 60, 10)
        ('6 each would be 2 slabs along each axis', 'fetch the file again or give the labels that belong to it')
    """
    remedy = "fetch the file again or give the labels that belong to it"
    each, rest = divmod(n_maps, n_simulations)
    if rest or each % 3 or each // 3 in (0, SLABS_PER_AXIS):
        return "", remedy
    known = recorded_geometry(files)
    if known is not None and known.n_slabs == each // 3:
        told = f"they are made of {known.n_slabs} slabs along each axis, as {RECORD_NAME} says"
        return told, f"project the snapshots again with --n-slabs {SLABS_PER_AXIS}"
    return f"{each} each would be {each // 3} slabs along each axis", remedy
