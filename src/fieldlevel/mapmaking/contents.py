"""What a folder of maps is to hold of a suite, whoever makes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fieldlevel.data.map_records import digest_of_record
from fieldlevel.layout import Layout

SuiteField = tuple[str, str]
"""Suite and field of a map file, e.g. `("MockTNG", "Mgas")`."""


def plan_name(suite: str, set_name: str) -> str:
    """What a plan of a suite's set is called, in the record of its folder too.

    Example:
        >>> plan_name("MockTNG", "LH")
        'MockTNG_LH'
    """
    return f"{suite}_{set_name}"


@dataclass(frozen=True)
class Plan:
    """What a folder is to hold of one suite and set; the same whenever the work is taken up.

    Attributes:
        keys: suite and field of every map file, those of one suite.
        set_name: e.g. `"LH"`.
        parameters: a row for each simulation, or None if they are not known.
        n_simulations: how many there are.
        maps_each: maps of a simulation in one file.
        n_pixels: pixels a side.
        record: what the maps are made from and how: equal if and only if the maps are.
        layout: what is to be said of the maps beside them; None where everybody knows.
    """

    keys: tuple[SuiteField, ...]
    set_name: str
    parameters: tuple[tuple[float, ...], ...] | None
    n_simulations: int
    maps_each: int
    n_pixels: int
    record: Mapping[str, Any]
    layout: Layout | None = None

    @property
    def suite(self) -> str:
        """Whose maps these are."""
        return self.keys[0][0]

    @property
    def name(self) -> str:
        """Of the suite and set."""
        return plan_name(self.suite, self.set_name)

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that identify the record."""
        return digest_of_record(self.record)
