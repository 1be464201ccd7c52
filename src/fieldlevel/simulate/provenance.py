"""Where a mock suite comes from: what is written beside its maps, in `provenance.json`."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from fieldlevel import __version__
from fieldlevel.config import SimulateSpec, digest
from fieldlevel.errors import UserError
from fieldlevel.files import write_text
from fieldlevel.parameters import MOCK_MARK, PARAMETER_NAMES
from fieldlevel.simulate.simulation import SIMULATOR_VERSION

PROVENANCE_NAME = "provenance.json"


@dataclass(frozen=True)
class Run:
    """What one process has contributed to a suite, one entry of `runs`.

    Attributes:
        shard: e.g. `"2/8"`.
        hardware: that it computes on.
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


def describe_hardware(devices: Sequence[torch.device]) -> str:
    """Name and number of the devices that simulations run on.

    Example:
        >>> describe_hardware([torch.device("cpu")] * 2)[:15]
        '2 CPU processes'
    """
    if devices[0].type == "cpu":
        processes = "process" if len(devices) == 1 else "processes"
        return f"{len(devices)} CPU {processes}, {platform.processor() or platform.machine()}"
    names = [torch.cuda.get_device_name(device) for device in devices]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))


def is_recorded(spec: SimulateSpec, directory: Path) -> bool:
    """Whether a folder's record names this very suite as finished.

    Args:
        spec: pinned.
        directory: folder of CMD files.

    Raises:
        UserError: it names another one of the same suite and set.
    """
    record = _read(directory).get(_key(spec))
    if record is None:
        return False
    if record.get("spec_digest") != digest(spec, SIMULATOR_VERSION):
        raise UserError(
            f"{directory}: holds {spec.suite} {spec.set_name} made with another spec or simulator; "
            f"choose another directory"
        )
    return True


def record_suite(spec: SimulateSpec, labels: str, directory: Path, runs: Sequence[Mapping[str, Any]]) -> None:
    """Add a finished suite to the record of its folder.

    Args:
        spec: pinned.
        labels: where they come from, in words.
        directory: folder of CMD files.
        runs: fields of every `Run`.
    """
    record = {
        "origin": f"{MOCK_MARK} simulated by fieldlevel, not CAMELS",
        "fieldlevel": __version__,
        "simulator": SIMULATOR_VERSION,
        "torch": torch.__version__,
        "set": spec.set_name,
        "fields": list(spec.fields),
        "spec": asdict(spec),
        "spec_digest": digest(spec, SIMULATOR_VERSION),
        "labels": labels,
        "columns": list(PARAMETER_NAMES),
        "runs": list(runs),
    }
    known = _read(directory) | {_key(spec): record}
    write_text(directory / PROVENANCE_NAME, json.dumps(known, indent=2) + "\n")


def _key(spec: SimulateSpec) -> str:
    return f"{spec.suite}_{spec.set_name}"


def _read(directory: Path) -> dict[str, dict[str, Any]]:
    path = directory / PROVENANCE_NAME
    if not path.exists():
        return {}
    try:
        known: dict[str, dict[str, Any]] = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); take it away, or choose another directory") from None
    return known
