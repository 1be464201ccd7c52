"""What mock maps were made from, as the record beside them says: `provenance.json`, one entry a suite and set.

Another kind of device, or another number of threads, simulates the same set with pixels that differ by round-off. So a
set that this package simulated and recorded is known by its record: the version of the simulator, the spec and the rows
of the set, which one digest holds. Beside them stands a digest of all pixels of each file, taken when it got its name:
a file with one other pixel is not the one that was recorded, and is known by its pixels as any other is; nor is a
record believed that was changed itself. This shows damage and exchange; it is no signature.

Records of before there were digests of files tell the version of the simulator alone.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from fieldlevel.data.cmd_format import SuiteFiles
from fieldlevel.data.geometry import RECORD_NAME
from fieldlevel.errors import UserError
from fieldlevel.json_files import read_json_object
from fieldlevel.layout import is_line
from fieldlevel.spec_io import STRICT
from fieldlevel.suites import MOCK_MARK, label_suite

FILES = "files"
"""Key of the digests of files in a record."""
_BESIDE = {"digest", "fieldlevel", "torch", "runs", FILES}
"""What a record holds besides what the maps are made from and how."""


@dataclass(frozen=True)
class MapRecord:
    """What the mock maps of a suite and set were made from.

    Attributes:
        simulator: version of the simulator.
        digest: of version, spec and rows, twelve hexadecimal digits; empty where it is not known.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    simulator: str
    digest: str

    def __post_init__(self) -> None:
        if not (self.simulator and is_line(self.simulator)):
            raise ValueError("simulator: no version")
        if not re.fullmatch("([0-9a-f]{12})?", self.digest):
            raise ValueError("digest: not of twelve hexadecimal digits")


EARLY_VERSIONS = ("1", "2")
"""Of the simulator, from before weights kept that of their maps."""
EARLY = MapRecord(f"{EARLY_VERSIONS[-1]} or before", "")
"""What the mock maps of such weights were made from."""


@dataclass(frozen=True)
class RecordedFile:
    """What the record of a folder says of one of its map files.

    Attributes:
        made_from: what the maps were simulated from.
        pixels: digest of all pixels when the file got its name; None in records of before it was kept.
    """

    made_from: MapRecord
    pixels: str | None

    def is_of(self, pixels: str) -> bool:
        """Whether a file with this digest of its pixels is the one that was recorded."""
        return self.pixels == pixels


def digest_of_record(record: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits of what maps are made from and how."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]


def recorded_file(files: SuiteFiles) -> RecordedFile | None:
    """What is recorded of a map file that this package simulated.

    Args:
        files: names of the map file, which is not read.

    Returns:
        None where the folder has no whole record of it, or one of maps that come from elsewhere.
    """
    try:
        if (record := _find_record(files)) is None:
            return None
        whole = {key: value for key, value in record.items() if key not in _BESIDE}
        if not str(record["origin"]).startswith(MOCK_MARK) or record["digest"] != digest_of_record(whole):
            return None
        pixels = record.get(FILES, {}).get(files.maps_path.name)
        return RecordedFile(MapRecord(record["simulator"], record["digest"]), None if pixels is None else str(pixels))
    except (UserError, LookupError, TypeError, ValueError, AttributeError, RecursionError):
        return None


def _find_record(files: SuiteFiles) -> dict[str, Any] | None:
    """The one that names the file; in a folder of before files were named that of the suite or its twin."""
    known = read_json_object(files.directory / RECORD_NAME)
    name = files.maps_path.name
    found: dict[str, Any] | None = next((each for each in known.values() if name in each.get(FILES, {})), None)
    if found is None:
        names = [f"{suite}_{files.set_name}" for suite in (files.suite, label_suite(files.suite))]
        found = next((known[each] for each in names if each in known and FILES not in known[each]), None)
    return found
