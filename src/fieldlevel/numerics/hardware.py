"""What work is done on, in words: processors and GPUs, those of other machines included."""

import os
import platform
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch


class Unit(NamedTuple):
    """A process on a CPU, or a GPU, on whatever machine.

    Attributes:
        kind: `"cpu"` or `"cuda"`.
        name: of the model.
        place: tells it from others of its name; processes that share a GPU have one.
    """

    kind: str
    name: str
    place: str


def unit_of(device: torch.device) -> Unit:
    """What a device of this process is."""
    host = socket.gethostname()
    if device.type != "cuda":
        return Unit("cpu", processor(), f"{host} {os.getpid()}")
    properties = torch.cuda.get_device_properties(device)
    return Unit("cuda", properties.name, f"{host} {getattr(properties, 'uuid', torch.device(device).index)}")


def in_words(units: Iterable[Unit]) -> str:
    """Name and number of units, each counted once.

    Example:
        >>> in_words([Unit("cuda", "H200", "a 0"), Unit("cuda", "H200", "b 0"), Unit("cuda", "H200", "a 0")])
        '2 H200'
        >>> in_words([Unit("cpu", "EPYC", "a 7"), Unit("cuda", "H200", "b 0")])
        '1 CPU process, EPYC; 1 H200'
    """
    counts = Counter(unit[:2] for unit in sorted(set(units)))
    return "; ".join(_counted(kind, name, n) for (kind, name), n in counts.items())


def _counted(kind: str, name: str, n: int) -> str:
    if kind != "cpu":
        return f"{n} {name}"
    return f"{n} CPU {'process' if n == 1 else 'processes'}, {name}"


def describe_hardware(devices: Sequence[torch.device]) -> str:
    """Name and number of the devices of processes of this machine; they may share a GPU.

    Example:
        >>> describe_hardware([torch.device("cpu")] * 2)[:15]
        '2 CPU processes'
    """
    units = [(unit_of(device), number) for number, device in enumerate(devices)]
    return in_words(
        unit._replace(place=f"{unit.place} {number}") if unit.kind == "cpu" else unit for unit, number in units
    )


@cache
def processor() -> str:
    """Model of the processor."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text().splitlines() if listing.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
