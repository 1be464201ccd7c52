"""Where maps come from: what is written beside them, in `provenance.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fieldlevel import __version__
from fieldlevel.data.geometry import RECORD_NAME
from fieldlevel.errors import UserError
from fieldlevel.json_files import read_json, write_json


@dataclass(frozen=True)
class Run:
    """What one process has contributed, one entry of `runs`.

    Attributes:
        shard: e.g. `"2/8"`.
        hardware: that it computes on; of a cluster that of the workers that made the maps.
        started: UTC, ISO 8601.
        finished: when the last of its simulations was stored.
        seconds: between the two.
        simulations: that it has stored.
    """

    shard: str
    hardware: str
    started: str
    finished: str
    seconds: float
    simulations: int


def utc_now() -> str:
    """The time in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def is_recorded(directory: Path, name: str, digest: str) -> bool:
    """Whether a folder's record names these very maps as finished.

    Args:
        directory: folder of CMD files.
        name: of the suite and set, e.g. `"MockTNG_LH"`.
        digest: of what the maps are made from and how.

    Raises:
        UserError: it names other maps of the same suite and set.
    """
    record = _read(directory).get(name)
    if record is None:
        return False
    if record.get("digest") != digest:
        raise UserError(f"{directory}: holds {name} made with another spec or version; choose another directory")
    return True


def record_maps(directory: Path, name: str, record: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> None:
    """Add finished maps to the record of their folder.

    Args:
        directory: folder of CMD files.
        name: of the suite and set.
        record: what the maps are made from and how, with its `digest`.
        runs: fields of every `Run`.
    """
    software = {"fieldlevel": __version__, "torch": torch.__version__}
    known = _read(directory) | {name: {**record, **software, "runs": list(runs)}}
    write_json(directory / RECORD_NAME, known)


def _read(directory: Path) -> dict[str, dict[str, Any]]:
    path = directory / RECORD_NAME
    if not path.exists():
        return {}
    known = read_json(path, "take it away, or choose another directory")
    if not isinstance(known, dict) or not all(isinstance(record, dict) for record in known.values()):
        raise UserError(f"{path}: not a record of maps; take it away, or choose another directory")
    return known
